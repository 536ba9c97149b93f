"""Speed and energy of a sample, ours against digital, with the paper's claims marked as such (paper, Fig. 3f, 3g)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from analysis.claims import CLAIMS, Claim
from analysis.cost import Comparison, si
from analysis.figures.style import BLUE, GREEN, GREY, ORANGE, caption, figure, save
from analysis.projection import Band, Projection


@dataclass(frozen=True)
class _Bar:
    name: str
    value: float
    colour: str
    claimed: bool = False
    band: Band | None = None


def draw_cost(
    comparison: Comparison,
    folder: Path,
    *,
    label: str,
    projections: Sequence[Projection] = (),
    claims: Sequence[Claim] = CLAIMS,
) -> Path:
    """Draw both panels into `folder`.

    Args:
        comparison: ours and the digital baselines.
        folder: where `cost.png` goes.
        label: which run, which world.
        projections: of them the corners are drawn on the bars of the same name.
        claims: the paper's; those that state a time or an energy get grey hatched bars of their own.
    """
    seconds, joules = _speed_bars(comparison, projections, claims), _energy_bars(comparison, projections, claims)
    with figure(12.5, 1.6 + 0.3 * max(len(seconds), len(joules))) as fig:
        left, right = fig.subplots(1, 2)
        _panel(left, seconds, "s", "time a sample (s)", "f  speed")
        _panel(right, joules, "J", "energy a sample (J)", "g  energy")
        handles = [
            Patch(color=BLUE, label="ours, as run"),
            Patch(color=GREEN, label="ours, projected (corners of all assumptions)"),
            Patch(color=ORANGE, label="digital, this machine"),
            Patch(facecolor="white", edgecolor=GREY, hatch="///", label="the paper's claims, not ours"),
        ]
        fig.legend(handles=handles, loc="outside upper right", ncols=4, fontsize=8.5)
        caption(fig, label)
        return save(fig, folder / "cost.png")


def _speed_bars(comparison: Comparison, projections: Sequence[Projection], claims: Sequence[Claim]) -> list[_Bar]:
    bands = {p.entry.name: p.latency for p in projections}
    bars = [_Bar(o.name, o.seconds, _colour(o.how), band=bands.get(o.name)) for o in comparison.ours]
    bars += [
        _Bar(b.name + (f", {b.batch} at once" if b.batch > 1 else ", one by one"), b.seconds, ORANGE)
        for b in comparison.baselines
    ]
    for claim in claims:
        if claim.seconds is not None and claim.baseline_seconds is not None:
            bars.append(_Bar(f"paper, {claim.source}: analog", claim.seconds, GREY, True))
            bars.append(
                _Bar(f"paper, {claim.source}: GPU ({claim.speedup:g} times)", claim.baseline_seconds, GREY, True)
            )
    return bars


def _energy_bars(comparison: Comparison, projections: Sequence[Projection], claims: Sequence[Claim]) -> list[_Bar]:
    bands = {p.entry.name: p.energy for p in projections}
    bars = [_Bar(o.name, e.joules, _colour(o.how), band=bands.get(o.name)) for o in comparison.ours for e in o.energies]
    # The arithmetic is the same for all; time-based accounts are shown for the fastest single and batched sampler.
    baselines = comparison.baselines
    single = min((b for b in baselines if b.batch == 1), key=lambda b: b.seconds)
    chosen = [single] + [b for b in [min(baselines, key=lambda b: b.seconds)] if b is not single]
    seen: set[tuple[str, float]] = set()
    for b in chosen:
        for e in b.energies:
            if (e.label, e.joules) not in seen:
                seen.add((e.label, e.joules))
                name = e.label if e.label.startswith("arithmetic") else f"{b.name}: {e.label}"
                bars.append(_Bar(f"{name} ({e.how})", e.joules, ORANGE))
    for claim in claims:
        if claim.joules is not None and claim.baseline_joules is not None:
            bars.append(_Bar(f"paper, {claim.source}: analog", claim.joules, GREY, True))
            bars.append(_Bar(f"paper, {claim.source}: its baseline", claim.baseline_joules, GREY, True))
    return bars


def _colour(how: str) -> str:
    return GREEN if how == "projected" else BLUE


def _panel(ax: Axes, bars: Sequence[_Bar], unit: str, axis: str, title: str) -> None:
    """Horizontal bars on a logarithmic axis, first on top, each with its number."""
    low = min(min(b.value, b.band.low if b.band else b.value) for b in bars) / 3.0
    high = max(max(b.value, b.band.high if b.band else b.value) for b in bars)
    for row, bar in enumerate(bars):
        bars_of = ax.barh(row, bar.value - low, left=low, height=0.7, color=bar.colour)
        if bar.claimed:
            for patch in bars_of:
                patch.set(facecolor="white", edgecolor=bar.colour, hatch="///")
        end = bar.value
        if bar.band is not None:
            below, above = bar.value - bar.band.low, bar.band.high - bar.value
            ax.errorbar(bar.value, row, xerr=[[below], [above]], color="black", capsize=3, linewidth=1)
            end = max(end, bar.band.high)
        ax.text(end * 1.25, row, si(bar.value, unit), va="center", fontsize=8)
    ax.set_xscale("log")
    ax.set_xlim(low, high * 30.0)
    ax.set_yticks(range(len(bars)), [bar.name for bar in bars], fontsize=8)
    ax.invert_yaxis()
    ax.set_xlabel(axis)
    ax.set_title(title)
