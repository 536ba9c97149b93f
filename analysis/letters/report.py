"""A run that generated letters as one page, from its file alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from analysis.circle import slices
from analysis.circle_cost import CircleCost, circle_cost
from analysis.claims import CLAIMS
from analysis.cost import si
from analysis.diffusion.hardware import UNIT_VOLT
from analysis.figures import letters as figures
from analysis.figures.cost import draw_cost
from analysis.figures.programming import label
from analysis.letters.data import CLASSES
from analysis.letters.summary import LettersRun, LettersSummary, summarise_letters
from analysis.page import Rows, metric_text
from analysis.records import RunFile
from analysis.report import cost_rows, result_page

Array = npt.NDArray[np.float64]

_INSTANTS = (0.02, 0.3, 0.6, 0.8, 0.9, 0.98)
"""s of a solution's 1 s, for Fig. 4e."""
_SHOWN = 2000


def report_letters(run: RunFile, folder: Path) -> Path:
    """Draw the figures into `folder`/figures and write `folder`/report.html; gives the page's path."""
    summary = summarise_letters(run)
    cost = circle_cost(run, summary)
    pictures = draw_letters(run, summary, folder / "figures")
    if cost.comparison is not None:
        pictures.append(draw_cost(cost.comparison, folder / "figures", label=label(run), projections=cost.projections))
    path = folder / "report.html"
    path.write_text(letters_page(run, summary, cost, pictures), encoding="utf-8")
    return path


def draw_letters(run: RunFile, summary: LettersSummary, folder: Path) -> list[Path]:
    """The panels of Fig. 4, a contact sheet first."""
    folder.mkdir(parents=True, exist_ok=True)
    opened = LettersRun(run)
    note = f"{label(run)} · trained on {summary.source}"
    latents, images = opened.latents, opened.images
    names = [CLASSES[k] for k in opened.labels]
    made = [figures.contact_sheet(images, folder / "letters.png", note, names=names)]
    middle = latents[0][len(latents[0]) // 2]
    made.append(figures.feature_maps(opened.vae.decoder.feature_maps(middle), middle, folder / "decoder.png", note))
    if len(opened.labels) == len(CLASSES) and all(len(x) >= 2 for x in latents):
        rng = np.random.default_rng(1)
        encoded = [opened.vae.draw_latents(opened.letters.of(k), rng)[:_SHOWN] for k in opened.labels]
        made.append(figures.latent_clouds(latents, encoded, summary.classes, folder / "latents.png", note))
        n = opened.samples
        clouds = [[cloud[i * n : (i + 1) * n] for i in range(len(CLASSES))] for cloud in slices(run, _INSTANTS)]
        made.append(figures.latent_evolution(clouds, _INSTANTS, folder / "evolution.png", note))
        made.append(_one_start(run, opened, folder / "one-start.png", note))
    grid = figures.grid_points()
    by_class = [np.zeros((0, 2)) for _ in CLASSES]
    for k, cloud in zip(opened.labels, latents, strict=True):
        by_class[k] = cloud
    side = round(len(grid) ** 0.5)
    plane = opened.decoder.decode(grid).reshape(side, side, *images[0].shape[1:])
    made.append(figures.latent_grid(plane, by_class, folder / "plane.png", note))
    if summary.curve:
        made.append(figures.guidance_figure(summary.curve, folder / "guidance.png", note))
    points = np.concatenate(latents)[:_SHOWN]
    error = figures.decoder_error(
        opened.vae.decode(points), opened.decoder.decode(points), folder / "decoder-error.png", note
    )
    return [*made, error]


def _one_start(run: RunFile, opened: LettersRun, path: Path, note: str) -> Path:
    time = run.data("one_start/time")
    inside = (time >= 0) & (time <= 1.0)
    paths = [run.data(f"one_start/{CLASSES[k].lower()}")[:, inside] / UNIT_VOLT for k in opened.labels]
    ends = np.stack([p[:, -3:].mean(axis=1) for p in paths])
    return figures.one_start_three_letters(time[inside], paths, opened.decoder.decode(ends), path, note)


def letters_page(run: RunFile, summary: LettersSummary, cost: CircleCost, pictures: Sequence[Path]) -> str:
    """The page's HTML, pictures included."""
    costs = [*cost_rows(summary, cost), *letter_cost_rows(run, summary, cost)]
    claims = [c for c in CLAIMS if c.task == "letters"]
    return result_page(run, "letters", "Letters out of noise", quality_rows(summary), pictures, costs, cost, claims)


def quality_rows(s: LettersSummary) -> Rows:
    """How good the letters are, and the decoder."""
    rows = [
        ("trained on", s.source),
        ("read by a classifier trained on", s.judge),
        ("read as what they should be", f"{s.accuracy:.1%} of {sum(q.samples for q in s.classes)} letters"),
    ]
    for q in s.classes:
        said = f"read {q.accuracy:.1%}, KL2 {metric_text(q.kl)} against the encoded data; mean distance of two "
        said += f"{q.diversity:.3f} (data {q.diversity_data:.3f}, decoded again {q.diversity_decoded:.3f})"
        rows.append((f"letter {q.name}, {q.samples}", said))
    if s.uncalibrated is not None:
        mean = float(np.mean([q.kl.value for q in s.classes]))
        rows.append(("offset calibration", f"mean KL2 {s.uncalibrated:.3f} before, {mean:.3f} after"))
    error = f"{s.decoder_error:.4f} of full scale as programmed, {s.ideal_error:.4f} with ideal cells at 64 levels"
    d, p = s.decoder, s.programming
    rows += [
        ("decoder against digital", f"mean absolute pixel error {error}"),
        (
            "decoder on arrays",
            f"{d.arrays} arrays, {d.cells} cells, {d.utilisation:.0%} used; kernels {d.scheme}; "
            f"passes a layer {', '.join(map(str, d.passes))}; {d.input_conversions} input and "
            f"{d.output_conversions} output conversions a letter",
        ),
        (
            "arrays",
            f"{p.cells} cells, {p.inside:.2%} within ±{p.tolerance * 1e6:g} µS, error σ {p.sigma * 1e6:.2f} µS, "
            f"{p.pulses_mean:.1f} pulses a cell",
        ),
    ]
    return rows


def letter_cost_rows(run: RunFile, s: LettersSummary, c: CircleCost) -> Rows:
    """A whole letter: solving and decoding, projected and digital."""
    d, projection = s.decoder, c.projections[0]
    seconds, joules = projection.latency.nominal + d.seconds, projection.energy.nominal + d.energy
    rows = [
        ("decoding a letter on arrays, projected", f"{si(d.seconds, 's')}, {si(d.energy, 'J')}"),
        ("a letter, solved and decoded, projected", f"{si(seconds, 's')}, {si(joules, 'J')}"),
    ]
    names = run.names("data")
    if c.baseline is not None and "decoding" in names:
        decoding = float(run.data("decoding")[0])
        single = [m for m in c.baseline.measurements if m.batch == 1 and m.seconds is not None]
        for m in sorted(single, key=lambda m: m.seconds or 0.0)[:1]:
            digital = (m.seconds or 0.0) + decoding
            rows.append(
                (
                    "a letter, solved and decoded, digital",
                    f"{si(digital, 's')}: {m.name} {si(m.seconds or 0.0, 's')}, decoding {si(decoding, 's')}; "
                    f"the projection takes {digital / seconds:.3g} times less",
                )
            )
    return rows


def letters_rows(run: RunFile, summary: LettersSummary) -> Rows:
    """The closing table."""
    cost = circle_cost(run, summary)
    shown = [
        (name, value)
        for name, value in cost_rows(summary, cost)
        if not name.startswith(("digital, torch", "digital, numpy"))
    ]
    return [*quality_rows(summary), *shown, *letter_cost_rows(run, summary, cost)]
