"""A run as one self-contained page: outcome first, figures, cost, provenance, how to make it again."""

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from analysis.circle import CircleSummary, summarise_circle
from analysis.circle_cost import CircleCost, circle_cost
from analysis.claims import CLAIMS
from analysis.cost import Entry, si
from analysis.figures.circle import draw_circle
from analysis.figures.cost import draw_cost
from analysis.figures.programming import draw, label
from analysis.metrics import Metric
from analysis.records import RunFile

Rows = list[tuple[str, str]]

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1080px;margin:2em auto;padding:0 1em;color:#222;background:#fff}
h1{font-size:1.6em;margin-bottom:.2em}h2{font-size:1.2em;margin-top:2em;border-bottom:1px solid #ccc}
table{border-collapse:collapse;margin:.6em 0;display:block;overflow-x:auto}
td,th{padding:.25em .8em .25em 0;text-align:left;vertical-align:top;border-bottom:1px solid #eee}
img{max-width:100%;height:auto;margin:.8em 0}.world{color:#D55E00;font-weight:600}.twin{color:#8a2a6b}
.paper{color:#555;font-style:italic}code{background:#f4f4f4;padding:.1em .3em;word-break:break-all}
@media print{body{max-width:none;font-size:11px}h2{break-after:avoid}img{break-inside:avoid}}
"""


def report_circle(run: RunFile, folder: Path) -> Path:
    """Draw a circle run's figures into `folder`/figures and write `folder`/report.html; gives the page's path."""
    summary = summarise_circle(run)
    cost = circle_cost(run, summary)
    figures = folder / "figures"
    pictures = draw_circle(run, summary, figures)
    if cost.comparison is not None:
        pictures.append(draw_cost(cost.comparison, figures, label=label(run), projections=cost.projections))
    pictures += draw(run, figures)
    page = folder / "report.html"
    page.write_text(circle_page(run, summary, cost, pictures), encoding="utf-8")
    return page


def circle_page(run: RunFile, summary: CircleSummary, cost: CircleCost, pictures: Sequence[Path]) -> str:
    """The page's HTML, pictures included."""
    world = "SIMULATED on a twin" if run.world == "simulated" else "measured on real instruments"
    parts = [
        f"<h1>A circle out of noise</h1><p>{_text(run.header.run_id)} · <span class=world>{world}</span> · "
        f"{_text(run.status)} · chip {_text(run.header.chip)}</p>",
        "<h2>Outcome</h2>", _table(quality_rows(summary)),
        "<h2>Figures</h2>", *(_picture(p) for p in pictures),
        "<h2>What it cost</h2>", _table(cost_rows(summary, cost)),
    ]  # fmt: skip
    if cost.comparison is not None:
        parts += [f"<p>{_text(cost.comparison.verdict)}</p>"]
    parts += [
        "<h3>What the projection hangs on</h3>", _table(sensitivity_rows(cost)),
        "<h2>What the paper says</h2>",
        "<p class=paper>The publication's numbers, for comparison; nothing above is computed from them.</p>",
        _table([(f"{c.source}, {c.task}", c.explain()) for c in CLAIMS]),
        "<h2>Provenance</h2>", _table(provenance_rows(run)),
        f"<p>Make it again: <code>{_text(run.header.command_line or 'ohmflow demo')}</code>; "
        f"this page: <code>ohmflow summary {_text(str(run.header.run_id))}</code></p>",
    ]  # fmt: skip
    title = f"{run.header.run_id}: circle"
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{_text(title)}</title>"
    body = "".join(parts)
    return f"<!doctype html><html lang=en><head>{head}<style>{_STYLE}</style></head><body>{body}</body></html>"


def quality_rows(s: CircleSummary) -> Rows:
    """How good the samples are, and what the calibration was worth."""
    rows = [
        ("samples", f"{s.calibrated.samples} solutions of {s.run_seconds:g} s"),
        ("KL2 (2-D Kullback-Leibler)", _metric(s.calibrated.metrics["kl_2d"])),
        ("sliced Wasserstein", _metric(s.calibrated.metrics["sliced_wasserstein"], 4)),
        ("mean radius", f"{_metric(s.calibrated.metrics['radius_mean'], 4)}; the truth has 0.7"),
        ("radius, standard deviation", f"{_metric(s.calibrated.metrics['radius_std'], 4)}; the truth has 0.04"),
        ("angular coverage", _metric(s.calibrated.metrics["angular_coverage"])),
        ("the authors' KL", f"{_metric(s.calibrated.metrics['kl_authors'], 4)} (nearly blind: never judged by)"),
    ]
    if s.uncalibrated is not None:
        kl = s.uncalibrated.metrics["kl_2d"]
        rows.append(("before offset calibration", f"KL2 {_metric(kl)} ({s.uncalibrated.samples} solutions)"))
    p = s.programming
    inside = f"{p.inside:.2%} within ±{p.tolerance * 1e6:g} µS, error σ {p.sigma * 1e6:.2f} µS"
    rows.append(("arrays", f"{p.cells} cells, {inside}, {p.pulses_mean:.1f} pulses a cell"))
    return rows


def cost_rows(s: CircleSummary, c: CircleCost) -> Rows:
    """Energy and time of programming, of a sample as run, projected, and digital."""
    busy = f"{c.programming.busy:.0f} s of reads and pulses on the lab's clock"
    rows = [
        ("programming", f"{si(c.programming.energy, 'J')} in the cells, {busy}"),
        ("power in the arrays during a solution", si(s.array_power, "W")),
        ("a sample, " + c.board.name, _entry(c.board)),
    ]
    if s.true_array_energy is not None:
        rows.append(("twin only: true energy in the arrays, a sample", si(s.true_array_energy, "J")))
    for p in c.projections:
        low, high = p.energy.low, p.energy.high
        rows.append((f"a sample, {p.entry.name}", f"{_entry(p.entry)}, corners {si(low, 'J')} to {si(high, 'J')}"))
    if c.baseline is None:
        return [*rows, ("digital baseline", "not measured in this run")]
    b = c.baseline
    chosen = f"{b.chosen.method} with {b.chosen.steps} steps, KL2 {b.chosen.kl_2d:.3f} (limit {b.limit:.3f})"
    rows.append(("digital baseline", f"{b.cpu}, {b.threads} thread, {b.gpu or 'no GPU'}; {chosen}"))
    for m in b.measurements:
        name = f"digital, {m.name}" + (f", {m.batch} at once" if m.batch > 1 else ", one by one")
        rows.append((name, f"not measured: {m.skipped}" if m.seconds is None else f"{si(m.seconds, 's')} a sample"))
    return rows


def sensitivity_rows(c: CircleCost, most: int = 8) -> Rows:
    """Energy of the projection at both ends of its parameters' ranges, the largest swing first."""
    rows = []
    for s in c.projections[0].sensitivities[:most]:
        span = f"{s.bounds[0]:.3g} to {s.bounds[1]:.3g} {s.unit} (nominal {s.value:.3g}): "
        rows.append((s.name.replace("_", " "), span + f"{si(s.energy[0], 'J')} to {si(s.energy[1], 'J')} a sample"))
    return rows


def provenance_rows(run: RunFile) -> Rows:
    """With what, from what, when."""
    h = run.header
    return [
        ("started", h.started), ("operator", h.operator or "not given"), ("chip seed", str(h.seed)),
        *((f"{i.role} at {i.resource}", i.idn) for i in h.instruments),
        ("code", h.git_commit or "not a checkout"),
        ("packages", ", ".join(f"{k} {v}" for k, v in h.packages.items())),
        ("records", str(run.path.name)),
    ]  # fmt: skip


def _entry(e: Entry) -> str:
    return f"{si(e.seconds, 's')}, {si(e.energies[0].joules, 'J')} ({e.how})"


def _metric(m: Metric, digits: int = 3) -> str:
    floor = "" if not np.isfinite(m.floor) else f", as many true points {m.floor:.{digits}f}"
    return f"{m.value:.{digits}f} (95 %: {m.low:.{digits}f} to {m.high:.{digits}f}{floor})"


def _table(rows: Iterable[tuple[str, str]]) -> str:
    lines = "".join(
        f"<tr{' class=twin' if name.startswith('twin only') else ''}><th>{_text(name)}</th><td>{_text(value)}</td></tr>"
        for name, value in rows
    )
    return f"<table>{lines}</table>"


def _picture(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{_text(path.stem)}" src="data:image/png;base64,{data}">'


def _text(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")
