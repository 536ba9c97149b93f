"""A run as one self-contained page: outcome first, figures, cost, provenance, how to make it again."""

from collections.abc import Sequence
from pathlib import Path

from analysis.circle import CircleSummary, summarise_circle
from analysis.circle_cost import CircleCost, Solved, circle_cost
from analysis.claims import CLAIMS, Claim
from analysis.cost import Entry, si
from analysis.figures.circle import draw_circle
from analysis.figures.cost import draw_cost
from analysis.figures.programming import draw, label
from analysis.page import Rows, metric_text, page, picture, provenance_rows, table, text
from analysis.records import RunFile


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
    return result_page(
        run, "circle", "A circle out of noise", quality_rows(summary), pictures, cost_rows(summary, cost), cost, CLAIMS
    )


def result_page(
    run: RunFile,
    name: str,
    heading: str,
    outcome: Rows,
    pictures: Sequence[Path],
    costs: Rows,
    cost: CircleCost,
    claims: Sequence[Claim],
) -> str:
    """A page of a run that solved the loop's equation: outcome first, then figures, costs, claims, provenance."""
    world = "SIMULATED on a twin" if run.world == "simulated" else "measured on real instruments"
    parts = [
        f"<h1>{text(heading)}</h1><p>{text(run.header.run_id)} · <span class=world>{world}</span> · "
        f"{text(run.status)} · chip {text(run.header.chip)}</p>",
        "<h2>Outcome</h2>", table(outcome),
        "<h2>Figures</h2>", *(picture(p) for p in pictures),
        "<h2>What it cost</h2>", table(costs),
    ]  # fmt: skip
    if cost.comparison is not None:
        parts += [f"<p>{text(cost.comparison.verdict)}</p>"]
    parts += [
        "<h3>What the projection hangs on</h3>", table(sensitivity_rows(cost)),
        "<h2>What the paper says</h2>",
        "<p class=paper>The publication's numbers, for comparison; nothing above is computed from them.</p>",
        table([(f"{c.source}, {c.task}", c.explain()) for c in claims]),
        "<h2>Provenance</h2>", table(provenance_rows(run)),
        f"<p>Make it again: <code>{text(run.header.command_line or f'ohmflow {run.header.procedure}')}</code>; "
        f"this page: <code>ohmflow summary {text(str(run.header.run_id))}</code></p>",
    ]  # fmt: skip
    return page(f"{run.header.run_id}: {name}", parts)


def quality_rows(s: CircleSummary) -> Rows:
    """How good the samples are, and what the calibration was worth."""
    rows = [
        ("samples", f"{s.calibrated.samples} solutions of {s.run_seconds:g} s"),
        ("KL2 (2-D Kullback-Leibler)", metric_text(s.calibrated.metrics["kl_2d"])),
        ("sliced Wasserstein", metric_text(s.calibrated.metrics["sliced_wasserstein"], 4)),
        ("mean radius", f"{metric_text(s.calibrated.metrics['radius_mean'], 4)}; the truth has 0.7"),
        ("radius, standard deviation", f"{metric_text(s.calibrated.metrics['radius_std'], 4)}; the truth has 0.04"),
        ("angular coverage", metric_text(s.calibrated.metrics["angular_coverage"])),
        ("the authors' KL", f"{metric_text(s.calibrated.metrics['kl_authors'], 4)} (nearly blind: never judged by)"),
    ]
    if s.uncalibrated is not None:
        kl = s.uncalibrated.metrics["kl_2d"]
        rows.append(("before offset calibration", f"KL2 {metric_text(kl)} ({s.uncalibrated.samples} solutions)"))
    p = s.programming
    inside = f"{p.inside:.2%} within ±{p.tolerance * 1e6:g} µS, error σ {p.sigma * 1e6:.2f} µS"
    rows.append(("arrays", f"{p.cells} cells, {inside}, {p.pulses_mean:.1f} pulses a cell"))
    return rows


def cost_rows(s: Solved, c: CircleCost) -> Rows:
    """Energy and time of programming, of a sample as run, projected, and digital."""
    busy = f"{c.programming.busy:.0f} s of reads and pulses on the lab's clock"
    rows = [
        ("programming", f"{si(c.programming.energy, 'J')} in the cells, {busy}"),
        ("power in the arrays during a solution", si(s.array_power, "W")),
        ("a sample, " + c.board.name, entry_text(c.board)),
    ]
    if s.true_array_energy is not None:
        rows.append(("twin only: true energy in the arrays, a sample", si(s.true_array_energy, "J")))
    for p in c.projections:
        low, high = p.energy.low, p.energy.high
        rows.append((f"a sample, {p.entry.name}", f"{entry_text(p.entry)}, corners {si(low, 'J')} to {si(high, 'J')}"))
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


def entry_text(e: Entry) -> str:
    """Time and energy of a sample, and how they are known."""
    return f"{si(e.seconds, 's')}, {si(e.energies[0].joules, 'J')} ({e.how})"
