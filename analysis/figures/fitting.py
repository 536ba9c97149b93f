"""Figures of a fit: what was seen against what the fitted law makes, and against a run on the fitted twin."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from analysis.figures.style import BLUE, GREEN, GREY, ORANGE, caption, figure, save
from analysis.fitting.estimate import Fit
from analysis.fitting.model import LATENT
from analysis.fitting.observations import Observations, Steps
from analysis.fitting.predictive import Prediction

Floats = npt.NDArray[np.float64]

_TITLES = {
    "k_g": "gate slope k_g (µS/V)", "v_t": "V_t (V)", "v_s": "V_s (V)", "g_max": "G_max (µS)", "v_r": "V_r (V)",
    "g_min": "G_min (µS)",
}  # fmt: skip


def draw_fit(fit: Fit, prediction: Prediction | None, folder: Path, twin: Observations | None = None) -> list[Path]:
    """Draw a fit's figures into `folder`.

    Args:
        fit: the fit.
        prediction: of `analysis.fitting.predictive.predict`.
        folder: made if need be.
        twin: what runs of the same procedures on the fitted twin recorded, to be laid over the measured.

    Returns:
        The files: posterior-predictive panels, and the cells' own constants where pulses were fitted.
    """
    paths = [_predictive(fit, prediction, folder, twin)]
    if fit.pulses is not None:
        paths.append(_cells(fit, folder))
    return paths


def _predictive(fit: Fit, prediction: Prediction | None, folder: Path, twin: Observations | None) -> Path:
    with figure(12.5, 10.2) as fig:
        axes = fig.subplots(3, 3).ravel()
        twins = None if twin is None else twin.steps
        if prediction is not None:
            _ladder(axes[0], prediction, twins, reset=False)
            _ladder(axes[1], prediction, twins, reset=True)
            _gates(axes[2], prediction, twins)
            _ranks(axes[3], prediction)
            _bottom(axes[4], prediction, twins)
        else:
            for ax in axes[:5]:
                _nothing(ax, "too few pulses were fitted")
        _relaxation(axes[5], fit)
        _noise(axes[6], fit)
        _pulses(axes[7], fit.observations, twin)
        _traps(axes[8], fit)
        handles, labels = axes[0].get_legend_handles_labels()
        if handles:
            fig.legend(handles, labels, loc="outside upper right", ncols=3, fontsize=9)
        wrong = [c.name for c in prediction.checks if c.contradicts] if prediction else []
        verdict = f"contradicted by: {', '.join(wrong)}" if wrong else "explains what was seen"
        fig.suptitle(f"The fitted law {verdict}", x=0.01, ha="left", fontsize=13)
        caption(fig, f"chip {fit.observations.chip or 'unnamed'} · {len(fit.observations.runs)} runs")
        return save(fig, folder / "fit-predictive.png")


def _nothing(ax: Axes, text: str) -> None:
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", color=GREY)
    ax.set_xticks([])
    ax.set_yticks([])


def _bands(ax: Axes, x: Floats, seen: Floats, simulated: Floats, other: tuple[Floats, Floats] | None) -> None:
    """Medians and 10-90 % of what was seen and of what the law makes, over the values of x."""
    places = np.unique(x)
    if len(places) > 24:
        edges = np.quantile(x, np.linspace(0, 1, 17))
        which = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, 15)
        x = np.array([np.median(x[which == i]) if np.any(which == i) else np.nan for i in range(16)])[which]
        places = np.unique(x)
    rows = []
    for place in places:
        here = x == place
        if here.sum() >= 5:
            rows.append(
                [place, *np.quantile(seen[here], [0.1, 0.5, 0.9]), *np.quantile(simulated[:, here], [0.1, 0.5, 0.9])]
            )
    if not rows:
        _nothing(ax, "no such pulses")
        return
    r = np.array(rows)
    ax.fill_between(r[:, 0], r[:, 4], r[:, 6], color=ORANGE, alpha=0.25, linewidth=0, label="fitted law, 10-90 %")
    ax.plot(r[:, 0], r[:, 5], color=ORANGE, linewidth=1.2)
    ax.errorbar(
        r[:, 0], r[:, 2], yerr=[r[:, 2] - r[:, 1], r[:, 3] - r[:, 2]], fmt="o", color=BLUE, markersize=4, linewidth=1,
        label="measured, 10-90 %",
    )  # fmt: skip
    if other is not None and len(other[0]):
        points = [(p, np.median(other[1][other[0] == p])) for p in np.unique(other[0]) if (other[0] == p).sum() >= 5]
        if points:
            ax.plot(*zip(*points, strict=True), "x", color=GREEN, label="run on the fitted twin, median")


def _usual(steps: Steps) -> npt.NDArray[np.bool_]:
    """Pulses with the gate and width that most of them have."""
    keys = np.round(np.stack([steps.gate, np.log(steps.width)]), 3)
    values, count = np.unique(keys, axis=1, return_counts=True)
    best = values[:, int(np.argmax(count))]
    return np.asarray(np.all(np.abs(keys.T - best) < 1e-9, axis=1))


def _ladder(ax: Axes, p: Prediction, twin: Steps | None, *, reset: bool) -> None:
    kind = p.steps.reset == reset
    ax.set_title(f"what one {'RESET' if reset else 'SET'} moves")
    ax.set_xlabel("pulse (V)")
    ax.set_ylabel("change of G (µS)")
    if not kind.any():
        _nothing(ax, "no such pulses")
        return
    mine = np.flatnonzero(kind)[_usual(p.steps.only(kind))]
    steps = p.steps.only(mine)  # type: ignore[arg-type]  # an index array selects as a mask does
    moved = (steps.after - steps.before) * 1e6
    law = (p.simulated[:, mine] - steps.before) * 1e6
    other = None
    if twin is not None and (twin.reset == reset).any():
        t = twin.only(twin.reset == reset)
        t = t.only(_usual(t))
        other = np.round(t.volts, 3), (t.after - t.before) * 1e6
    _bands(ax, np.round(steps.volts, 3), moved, law, other)


def _gates(ax: Axes, p: Prediction, twin: Steps | None) -> None:
    ax.set_title("SETs that go all the way")
    ax.set_xlabel("gate (V)")
    ax.set_ylabel("G after (µS)")
    mask = p.kinds["SET to the gate's ceiling"] & (p.steps.before < 0.7 * p.steps.after)
    if not mask.any():
        _nothing(ax, "no such pulses")
        return
    other = None
    if twin is not None:
        strong = ~twin.reset & (twin.volts >= p.steps.volts[mask].min()) & (twin.before < 0.7 * twin.after)
        other = np.round(twin.gate[strong], 3), twin.after[strong] * 1e6
    _bands(ax, np.round(p.steps.gate[mask], 3), p.steps.after[mask] * 1e6, p.simulated[:, mask] * 1e6, other)


def _ranks(ax: Axes, p: Prediction) -> None:
    ax.set_title("ranks among simulations: even if the law is right")
    ax.set_xlabel("rank of what was seen")
    ax.set_ylabel("density")
    edges = np.linspace(0, 1, 21)
    for (name, mask), colour in zip(p.kinds.items(), (BLUE, GREEN, GREY, ORANGE, "#CC79A7"), strict=True):
        if mask.sum() >= 30:
            ax.hist(p.ranks[mask], edges.tolist(), histtype="step", density=True, color=colour, label=name)
    ax.axhline(1.0, color=GREY, linestyle="--", linewidth=0.8)
    ax.set_ylim(0, max(2.0, ax.get_ylim()[1]))
    ax.legend(fontsize=7, loc="lower center")


def _bottom(ax: Axes, p: Prediction, twin: Steps | None) -> None:
    ax.set_title("after RESETs to the bottom")
    ax.set_xlabel("G after (µS)")
    ax.set_ylabel("density")
    mask = p.kinds["RESET to the bottom"]
    if mask.sum() < 5:
        _nothing(ax, "no such pulses")
        return
    edges = np.linspace(0, float(np.quantile(p.steps.after[mask], 0.99)) * 1e6, 50).tolist()
    ax.hist(p.steps.after[mask] * 1e6, edges, density=True, color=BLUE, alpha=0.5, label="measured")
    ax.hist(p.simulated[:, mask].ravel() * 1e6, edges, density=True, histtype="step", color=ORANGE, label="fitted law")
    if twin is not None:
        strong = twin.reset & (twin.volts >= p.steps.volts[mask].min())
        if strong.sum() >= 5:
            ax.hist(twin.after[strong] * 1e6, edges, density=True, histtype="step", color=GREEN, label="fitted twin")
    ax.legend(fontsize=8)


def _relaxation(ax: Axes, fit: Fit) -> None:
    ax.set_title("change since the first read after a move")
    ax.set_xlabel("age (s)")
    ax.set_ylabel("change of G (µS)")
    rows = fit.relaxation.scatter
    if not len(rows):
        _nothing(ax, "no reads on log time")
        return
    age, mean, sd, law_mean, law_sd, _ = rows.T
    ax.semilogx(age, sd * 1e6, "o", color=BLUE, label="σ measured")
    ax.semilogx(age, law_sd * 1e6, color=ORANGE, label="σ fitted law")
    ax.semilogx(age, mean * 1e6, "s", color=BLUE, markerfacecolor="none", label="mean measured")
    ax.semilogx(age, law_mean * 1e6, color=ORANGE, linestyle="--", label="mean fitted law")
    ax.legend(fontsize=8)


def _noise(ax: Axes, fit: Fit) -> None:
    ax.set_title("read noise of quiet cells")
    ax.set_xlabel("integration time (s)")
    ax.set_ylabel("σ (nS)")
    rows = fit.noise.spectrum
    if not len(rows):
        _nothing(ax, "no repeated reads")
        return
    ax.loglog(rows[:, 0], rows[:, 1] * 1e9, "o", color=BLUE, label="measured")
    ax.loglog(rows[:, 0], rows[:, 2] * 1e9, "-", color=ORANGE, label="fitted law")
    ax.legend(fontsize=8)


def _pulses(ax: Axes, seen: Observations, twin: Observations | None) -> None:
    ax.set_title("pulses per cell")
    ax.set_xlabel("pulses with a read on both sides")
    ax.set_ylabel("share of cells")
    sets: Sequence[tuple[Observations, str, str]] = [(seen, BLUE, "measured")]
    if twin is not None:
        sets = [*sets, (twin, GREEN, "fitted twin")]
    counts = [np.bincount(o.steps.cell, minlength=len(o.cells)) for o, _, _ in sets]
    if not max(int(c.max(initial=0)) for c in counts):
        _nothing(ax, "no pulses")
        return
    edges = np.arange(max(int(c.max()) for c in counts) + 2) - 0.5
    if len(edges) > 60:
        edges = np.linspace(edges[0], edges[-1], 41)
    for (_, colour, name), count in zip(sets, counts, strict=True):
        weights = np.full(len(count), 1 / len(count))
        ax.hist(count, edges.tolist(), weights=weights, histtype="step", color=colour, label=name)
    ax.legend(fontsize=8)


def _traps(ax: Axes, fit: Fit) -> None:
    ax.set_title("telegraph noise: how sure, cell by cell")
    ax.set_xlabel("probability that the cell has a trap")
    ax.set_ylabel("cells")
    if not fit.noise.telegraph:
        _nothing(ax, "no repeated reads")
        return
    ax.hist(fit.noise.reads.telegraph, np.linspace(0, 1, 21).tolist(), color=BLUE, alpha=0.7)
    ax.set_yscale("log")


def _cells(fit: Fit, folder: Path) -> Path:
    """Histograms of the cells' own constants, with the population that the fit found."""
    draws = fit.pulses
    assert draws is not None
    with figure(11, 6) as fig:
        for ax, (i, name) in zip(fig.subplots(2, 3).ravel(), enumerate(LATENT), strict=True):
            ax.set_title(_TITLES[name])
            unit = 1e6 if name in ("k_g", "g_max", "g_min") else 1.0
            if not draws.informed.get(name):
                _nothing(ax, "not informed")
                continue
            values = draws.cell_mean[:, i] * unit
            ax.hist(values, 30, color=BLUE, alpha=0.6, density=True, label="cells' estimates")
            mean, spread = (float(np.median(d[name])) * unit for d in (draws.mean, draws.spread))
            spread = spread / unit * mean if name == "k_g" else spread
            x = np.linspace(mean - 4 * spread, mean + 4 * spread, 200)
            bell = np.exp(-0.5 * ((x - mean) / spread) ** 2) / (spread * np.sqrt(2 * np.pi))
            ax.plot(x, bell, color=ORANGE, label="fitted population")
            ax.plot([], [], " ", label=f"a cell is known to ±{np.median(draws.cell_sd[:, i]) * unit:.2g}")
            ax.legend(fontsize=7.5)
        fig.suptitle("Constants cell by cell", x=0.01, ha="left", fontsize=13)
        caption(fig, f"chip {fit.observations.chip or 'unnamed'} · {len(draws.cells)} cells")
        return save(fig, folder / "fit-cells.png")
