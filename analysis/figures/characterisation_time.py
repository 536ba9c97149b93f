"""Figures of what time and use do to cells: read noise, retention (Fig. 2e), endurance, disturb."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from analysis.characterisation import paper
from analysis.characterisation.disturb import summarise_disturb
from analysis.characterisation.endurance import summarise_endurance
from analysis.characterisation.noise import NoiseSummary, TimeNoise, summarise_noise
from analysis.characterisation.retention import Retention, summarise_retention
from analysis.characterisation.telegraph import VISITS
from analysis.cost import si
from analysis.figures.programming import label
from analysis.figures.style import BLUE, CONDUCTANCE, GREEN, GREY, ORANGE, caption, figure, save
from analysis.records import RunFile

COLOURS = (BLUE, ORANGE, GREEN, GREY)
SHOWN = 250
"""Reads of a trace that is drawn."""


def draw_noise(run: RunFile, folder: Path) -> list[Path]:
    """Size against integration time, spectra, the telegraph cells, and one trace of each kind."""
    s = summarise_noise(run)
    with figure(10.5, 7.0) as fig:
        (size, spectrum), (map_, trace) = fig.subplots(2, 2)
        _size(size, s)
        for t, colour in zip(s.times, COLOURS * 3, strict=False):
            name = si(t.seconds, "s").replace("u", "µ")
            spectrum.loglog(t.frequency, t.quiet, color=colour, linewidth=1.2, label=f"{name}, quiet")
            spectrum.loglog(
                t.frequency, t.noisy, color=colour, linewidth=1.2, linestyle=":", label=f"{name}, telegraph"
            )
        spectrum.set_xlabel("frequency (Hz)")
        spectrum.set_ylabel("noise of G/mean G (1/Hz)")
        spectrum.set_title("spectra")
        spectrum.legend(fontsize=7.5, ncols=2)
        best = s.best
        assert best is not None
        _telegraphs(map_, best)
        _trace(trace, best)
        share = f"{best.share.value:.0%} ± {best.share.error:.0%} of {best.share.count} cells with telegraph noise"
        fig.suptitle(f"Read noise: {share}", x=0.01, ha="left", fontsize=13)
        caption(fig, label(run))
        return [save(fig, folder / "noise.png")]


def _size(ax: Axes, s: NoiseSummary) -> None:
    for t in s.times:
        quiet = ~t.telegraph.found & ~t.telegraph.jumped
        ax.plot(np.full(quiet.sum(), t.seconds * 1e3), t.sigmas[quiet] * 1e9, ".", color=BLUE, alpha=0.3, markersize=4)
        ax.plot(
            np.full((~quiet).sum(), t.seconds * 1e3 * 1.08), t.sigmas[~quiet] * 1e9, "x", color=ORANGE, markersize=4
        )
    seconds = [t.seconds * 1e3 for t in s.times]
    means = [t.sigma.value * 1e9 for t in s.times]
    ax.errorbar(
        seconds, means, yerr=[t.sigma.error * 1e9 for t in s.times], fmt="o-", color="black", label="quiet cells"
    )
    ax.plot([], [], "x", color=ORANGE, label="telegraph cells, and cells that jumped")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("integration time (ms)")
    ax.set_ylabel("σ of a read (nS)")
    ax.set_title("size")
    ax.legend(fontsize=9)


def _telegraphs(ax: Axes, t: TimeNoise) -> None:
    found = t.telegraph.found
    apart = (t.telegraph.high - t.telegraph.low) / np.maximum(t.telegraph.sigma, 1e-12)
    one = ~found & ~t.telegraph.jumped
    ax.plot(apart[one], t.telegraph.gain[one], ".", color=GREY, label="one level")
    jumped = t.telegraph.jumped
    ax.plot(apart[jumped], t.telegraph.gain[jumped], "+", color=BLUE, label=f"two levels, fewer than {VISITS} changes")
    ax.plot(apart[found], t.telegraph.gain[found], "x", color=ORANGE, label="telegraph")
    ax.axhline(0, color=GREY, linewidth=0.6)
    ax.set_yscale("symlog", linthresh=10)
    ax.set_xlabel("distance of the levels (widths)")
    ax.set_ylabel("BIC gained by two levels")
    ax.set_title(f"telegraph noise at {si(t.seconds, 's')}")
    ax.legend(fontsize=9, loc="center right")


def _trace(ax: Axes, t: TimeNoise) -> None:
    found = np.flatnonzero(t.telegraph.found & (t.mean > 0))
    quiet = np.flatnonzero(~t.telegraph.found & ~t.telegraph.jumped & (t.mean > 0))
    chosen = [(found[np.argmax(t.telegraph.gain[found])], ORANGE)] if found.size else []
    if quiet.size:
        chosen.append((quiet[np.argmin(np.abs(t.sigmas[quiet] - np.median(t.sigmas[quiet])))], BLUE))
    for i, colour in chosen:
        g = t.traces[i][:SHOWN] / t.mean[i] * 100 - 100
        row, col = t.places[i]
        ax.plot(np.arange(len(g)) * t.interval, g, color=colour, linewidth=0.9, label=f"cell ({row},{col})")
    ax.set_xlabel("time (s)")
    ax.set_ylabel("G − mean (%)".replace("-", "−"))
    ax.set_title("a telegraph cell and a quiet one" if found.size else "a quiet cell")
    ax.legend(fontsize=9, loc="upper right")


def draw_retention(run: RunFile, folder: Path) -> list[Path]:
    """Every cell's conductance over log time, and the drift's mean and spread with their laws."""
    s = summarise_retention(run)
    with figure(10.5, 5.6) as fig:
        wide, stack = np.ravel(fig.subfigures(1, 2, width_ratios=[1.5, 1], squeeze=False))
        ax = wide.subplots()
        colours = mpl.colormaps[CONDUCTANCE]
        if len(s.target):
            norm = Normalize(s.target.min() * 1e6, s.target.max() * 1e6)
            for times, g, target in zip(s.times, s.conductance, s.target, strict=True):
                ax.plot(times, g * 1e6, color=colours(norm(target * 1e6)), linewidth=0.8, alpha=0.8)
            wide.colorbar(ScalarMappable(norm, CONDUCTANCE), ax=ax, label="target (µS)", shrink=0.85)
        ax.set_xscale("log")
        ax.set_xlabel("time since programming (s)")
        ax.set_ylabel("conductance (µS)")
        ax.set_title(f"{s.cells} cells")
        mean, sigma = stack.subplots(2, 1, sharex=True)
        _laws(mean, sigma, s)
        last = f" to {s.ages[-1]:.2g} s" if len(s.ages) else ""
        fig.suptitle(f"Retention{last}", x=0.01, ha="left", fontsize=13)
        caption(fig, f"{label(run)} · {paper.RETENTION}")
        return [save(fig, folder / "retention.png")]


def _laws(mean: Axes, sigma: Axes, s: Retention) -> None:
    for ax, name, estimates, slope in (
        (mean, "mean", [a.mean for a in s.drift], s.mean_slope),
        (sigma, "σ", [a.sigma for a in s.drift], s.sigma_slope),
    ):
        values = np.array([e.value for e in estimates]) * 1e6
        ax.errorbar(s.ages, values, yerr=[e.error * 1e6 for e in estimates], fmt="o", color=BLUE, markersize=4)
        if len(s.ages) > 2:
            x = np.log(s.ages)
            if ax is mean:
                law = values.mean() + slope.value * 1e6 * (x - x.mean())
            else:
                law = np.hypot(s.read_sigma, np.maximum(s.sigma_offset.value + slope.value * x, 0)) * 1e6
            text = f"{slope.value * 1e9:+.1f} ± {slope.error * 1e9:.1f} nS per ln t".replace("-", "−")
            ax.plot(s.ages, law, color=ORANGE, label=text if ax is mean else f"{text}, net of read noise")
            ax.legend(fontsize=9, loc="best")
        ax.set_xscale("log")
        ax.set_ylabel(f"{name} of the drift (µS)")
    sigma.set_xlabel("time since programming (s)")


def draw_endurance(run: RunFile, folder: Path) -> list[Path]:
    """Both states of each cell against the number of cycles."""
    s = summarise_endurance(run)
    with figure(8.5, 5.0) as fig:
        ax = fig.subplots()
        markers = "osD^vP*X<>"
        for k, c in enumerate(s.cells):
            marker = markers[k % len(markers)]
            name = f"cell ({c.place[0]},{c.place[1]})" + (", stuck" if c.stuck else "")
            ax.plot(c.counts, c.high * 1e6, marker + "-", color=BLUE, markersize=4, linewidth=0.7, alpha=0.8)
            ax.plot(c.counts, c.low * 1e6, marker + "-", color=ORANGE, markersize=4, linewidth=0.7, alpha=0.8)
            if k < 10:
                ax.plot([], [], marker, color=GREY, markersize=4, label=name)
        ax.plot([], [], color=BLUE, label="after SET")
        ax.plot([], [], color=ORANGE, label="after RESET")
        ax.set_xscale("log")
        ax.set_ylim(bottom=0)
        ax.set_xlabel("cycles")
        ax.set_ylabel("conductance (µS)")
        ax.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
        stuck = sum(c.stuck for c in s.cells)
        title = f"Endurance: {len(s.cells)} cells, up to {s.cycles} cycles, {stuck} stuck"
        fig.suptitle(title, x=0.01, ha="left", fontsize=13)
        caption(fig, label(run))
        return [save(fig, folder / "endurance.png")]


def draw_disturb(run: RunFile, folder: Path) -> list[Path]:
    """Shift of the neighbours against pulses on the aggressor, and of a cell against its reads."""
    s = summarise_disturb(run)
    kinds = ("reset", "set", "read")
    titles = {"reset": "RESET pulses beside", "set": "SET pulses beside", "read": "reads of the cell itself"}
    with figure(10.5, 4.4) as fig:
        for ax, kind in zip(fig.subplots(1, 3, sharey=True), kinds, strict=True):
            for t, colour in zip((t for t in s.tests if t.kind == kind), COLOURS, strict=False):
                mean, error = t.mean * 1e6, np.nan_to_num(t.error) * 1e6
                ax.errorbar(
                    np.maximum(t.counts, 0.5), mean, yerr=error, fmt="o-", color=colour, markersize=3.5, capsize=2,
                    label=t.group,
                )  # fmt: skip
            ax.axhline(0, color=GREY, linewidth=0.6)
            ax.set_xscale("log")
            ax.set_title(titles[kind])
            ax.set_xlabel("pulses" if kind != "read" else "reads")
            ax.legend(fontsize=8.5, loc="lower left")
            ax.tick_params(labelleft=True)
            ax.set_ylabel("shift (µS)" if kind == "reset" else "")
        sure = [f"{t.kind.upper()}, {t.group}" for t in s.tests if t.significant]
        title = f"Disturb: {'; '.join(sure) if sure else 'no effect seen'}"
        fig.suptitle(title, x=0.01, ha="left", fontsize=13)
        caption(fig, f"{label(run)} · left-most points: before the first pulse or read")
        return [save(fig, folder / "disturb.png")]
