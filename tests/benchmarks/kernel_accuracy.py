"""Is the kernel's law the reference loop's? Moments and KL2 of many trajectories, and the strong order of its steps."""

import numpy as np
import numpy.typing as npt
from kernel_report import Report

from analysis.diffusion.data import Ring
from analysis.diffusion.hardware import AnalogNetwork, Drive
from analysis.diffusion.samplers import run_drive
from analysis.kernel.counter import draw_keys
from analysis.kernel.equation import Equation
from analysis.kernel.solve import solve, trajectories
from analysis.metrics import Truth, kl_2d

Array = npt.NDArray[np.float64]

_GROUP = 20_000


def agreement(report: Report, network: AnalogNetwork, drive: Drive, n: int) -> None:
    """Compare with `samplers.run_drive` (double precision, numpy's generator), differences in standard errors."""
    ring = Ring()
    truth = Truth.from_points(ring.draw(200_000, np.random.default_rng(5)), ring.density)
    rng = np.random.default_rng(6)
    reference = np.concatenate([run_drive(network, drive, min(_GROUP, n - k), rng) for k in range(0, n, _GROUP)])
    equation = Equation.of_drive(network, drive, heun=True)
    ours = solve(equation, n, np.random.default_rng(7)).astype(np.float64)
    report.remark("agreement", f"{n} trajectories each, Heun drift with diffusion: reference loop, kernel, difference")
    for name, power in (("<x>", (1, 0)), ("<y>", (0, 1)), ("<x^2>", (2, 0)), ("<y^2>", (0, 2)), ("<x y>", (1, 1)),
                        ("<x^4>", (4, 0)), ("<x^2 y^2>", (2, 2)), ("<y^4>", (0, 4))):  # fmt: skip
        a, b = (x[:, 0] ** power[0] * x[:, 1] ** power[1] for x in (reference, ours))
        report.add("agreement", f"{name}, reference", a.mean(), "units to that power")
        report.add("agreement", f"{name}, kernel", b.mean(), "units to that power")
        z = (b.mean() - a.mean()) / np.sqrt((a.var() + b.var()) / n)
        report.add("agreement", f"{name}, difference", z, "standard errors")
    # Both KL have the bias of n points; its spread comes from ten parts of each.
    parts = [np.array([kl_2d(p, truth) for p in np.array_split(x, 10)]) for x in (reference, ours)]
    error = np.sqrt(sum(p.var(ddof=1) / 10 for p in parts))
    for name, value in (("reference", kl_2d(reference, truth)), ("kernel", kl_2d(ours, truth)),
                        ("reference, mean of tenths", parts[0].mean()), ("kernel, mean of tenths", parts[1].mean()),
                        ("error of the tenths' difference", error)):  # fmt: skip
        report.add("agreement", f"KL2, {name}", value, "nat")
    report.add("agreement", "KL2, difference", (parts[1].mean() - parts[0].mean()) / error, "standard errors")


def strong_order(report: Report, equation: Equation, n: int = 20_000) -> None:
    """Root mean square distance of coarse paths from a fine one over the same Wiener process, and its slope.

    The rates are made continuous in time first: with rates that jump at a tick the step size would decide which of them
    a step sees. Additive noise: Euler and Maruyama's method has strong order 1.
    """
    fine, coarsest = 6400, 100
    keys = draw_keys(np.random.default_rng(8))
    ends, sizes = [], []
    steps = coarsest
    while steps <= fine:
        ends.append(trajectories(smooth(equation, steps), n, keys, draws=fine // steps)[-1].astype(np.float64))
        sizes.append(1.0 / steps)
        steps *= 2
    errors = [float(np.sqrt(((e - ends[-1]) ** 2).sum(axis=1).mean())) for e in ends[:-2]]
    slope = np.polyfit(np.log(sizes[: len(errors)]), np.log(errors), 1)[0]
    for size, error in zip(sizes, errors, strict=False):
        report.add("order", f"{1 / size:.0f}", error, "distance")
    report.add("order", "strong order", slope, "(1 for Euler-Maruyama with additive noise)")


def smooth(equation: Equation, steps: int) -> Equation:
    """Return the equation with its tables interpolated linearly at the beginnings of `steps` steps."""
    old, new = np.arange(equation.steps) / equation.steps, np.arange(steps) / steps
    ratio = equation.steps / steps

    def at(table: Array) -> Array:
        return np.stack([np.interp(new, old, column) for column in table.T], axis=1)

    keep, gain, spread = at(equation.rates).T
    rates = np.stack([1.0 + (keep - 1.0) * ratio, gain * ratio, spread * np.sqrt(ratio)], axis=1)
    shift = (equation.shift[0] * ratio, equation.shift[1] * ratio)
    return type(equation)(equation.weights, at(equation.embedding), rates, equation.prior, shift, equation.clamp)
