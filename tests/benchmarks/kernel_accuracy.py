"""Is the kernel's law the reference loop's? Moments and KL2 of many trajectories, and the strong order of its steps."""

import numpy as np
import numpy.typing as npt

from analysis.diffusion.data import Ring
from analysis.diffusion.hardware import AnalogNetwork, Drive
from analysis.diffusion.samplers import run_drive
from analysis.kernel.counter import draw_keys
from analysis.kernel.equation import Equation
from analysis.kernel.solve import solve, trajectories
from analysis.metrics import Truth, kl_2d

Array = npt.NDArray[np.float64]

_GROUP = 20_000


def agreement(network: AnalogNetwork, drive: Drive, n: int) -> list[str]:
    """Compare with `samplers.run_drive` (double precision, numpy's generator), differences in standard errors."""
    ring = Ring()
    truth = Truth.from_points(ring.draw(200_000, np.random.default_rng(5)), ring.density)
    rng = np.random.default_rng(6)
    reference = np.concatenate([run_drive(network, drive, min(_GROUP, n - k), rng) for k in range(0, n, _GROUP)])
    equation = Equation.of_drive(network, drive, heun=True)
    ours = solve(equation, n, np.random.default_rng(7)).astype(np.float64)
    lines = [f"{n} trajectories each, Heun drift with diffusion"]
    lines.append(f"{'':12s} {'reference':>10s} {'kernel':>10s} {'z':>6s}")
    for name, power in (("<x>", (1, 0)), ("<y>", (0, 1)), ("<x^2>", (2, 0)), ("<y^2>", (0, 2)), ("<x y>", (1, 1)),
                        ("<x^4>", (4, 0)), ("<x^2 y^2>", (2, 2)), ("<y^4>", (0, 4))):  # fmt: skip
        a, b = (x[:, 0] ** power[0] * x[:, 1] ** power[1] for x in (reference, ours))
        z = (b.mean() - a.mean()) / np.sqrt((a.var() + b.var()) / n)
        lines.append(f"{name:12s} {a.mean():10.5f} {b.mean():10.5f} {z:6.2f}")
    # Both KL have the bias of n points; its spread comes from ten parts of each.
    parts = [np.array([kl_2d(p, truth) for p in np.array_split(x, 10)]) for x in (reference, ours)]
    error = np.sqrt(sum(p.var(ddof=1) / 10 for p in parts))
    lines.append(
        f"{'KL2':12s} {kl_2d(reference, truth):10.5f} {kl_2d(ours, truth):10.5f} "
        f"{(parts[1].mean() - parts[0].mean()) / error:6.2f}  (tenths: {parts[0].mean():.5f} and "
        f"{parts[1].mean():.5f}, error of their difference {error:.5f})"
    )
    return lines


def strong_order(equation: Equation, n: int = 20_000) -> list[str]:
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
    lines = [f"{'steps':>8s} {'distance':>10s}"]
    lines += [f"{round(1 / h):8d} {e:10.2e}" for h, e in zip(sizes, errors, strict=False)]
    return [*lines, f"strong order {slope:.2f} (1 for Euler-Maruyama with additive noise)"]


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
