"""Offset calibration of the closed loop: what its multipliers and amplifiers add, from waveforms of the loop itself.

The loop should solve dV/dt = -Kx V_fx V + Kn A V_g2 n (V the integrators' voltages, n the network's outputs, A the
output gain). A multiplier with input offsets (ox, oy) and output offset oz makes (X + ox)(Y + oy) + oz out of X Y, so
what the real loop does beyond the equation is, for each axis,

    c0 + c_fx V_fx(t) + c_g2 V_g2(t) + c_x V + c_n n .

V and n are on the oscilloscope, so the five coefficients follow from a linear fit, in integral form because scopes have
noise. The first three vary with the tables alone: a trim that follows the run takes them away (and a constant one, the
published board's `O` command, the first). The last two are errors of the tables' zeros, common to both axes as far as a
shared table can mend them. Offsets inside the network show in n itself and are fitted to the model of the network.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from analysis.diffusion.hardware import UNIT_VOLT, AnalogNetwork

Array = npt.NDArray[np.float64]

TERMS = ("constant", "fx", "g2", "x", "n")


@dataclass(frozen=True)
class LoopTables:
    """What the board played: tables (ticks,) V, tick in s, loop gains 1/(V s), output gain."""

    fx: Array
    g2: Array
    tick: float
    kx: float
    kn: float
    output_gain: float

    def at(self, times: Array) -> tuple[Array, Array]:
        """(fx, g2) at instants, s."""
        index = np.clip((times / self.tick).astype(np.int64), 0, len(self.fx) - 1)
        return self.fx[index], self.g2[index]


@dataclass(frozen=True)
class LoopErrors:
    """Fitted coefficients, (5, 2): rows `TERMS`, columns x and y; V/s per V, or V/s for the constant.

    `sigma` are their standard errors, `residual` the scatter of the fit over one window, V.
    """

    coefficients: Array
    sigma: Array
    residual: float

    def plus(self, other: "LoopErrors | None") -> "LoopErrors":
        """What is left after a correction, added to what was corrected."""
        if other is None:
            return self
        return LoopErrors(self.coefficients + other.coefficients, self.sigma, self.residual)

    def trim(self, tables: LoopTables, kz: float) -> Array:
        """Voltages (ticks, 2) on the noise channels, of gain `kz` (1/s), that take the tables' part away."""
        c = self.coefficients
        return np.asarray(-(c[0] + np.outer(tables.fx, c[1]) + np.outer(tables.g2, c[2])) / kz)

    def corrected(self, tables: LoopTables) -> tuple[Array, Array]:
        """Tables (fx, g2) with their zeros moved by what both axes have in common."""
        c = self.coefficients
        fx = tables.fx + float(c[3].mean()) / tables.kx
        g2 = tables.g2 - float(c[4].mean()) / (tables.kn * tables.output_gain)
        return np.clip(fx, -1.0, 0.9995), np.clip(g2, -1.0, 0.9995)


def fit_loop(
    times: Array, x: Array, n: Array, tables: LoopTables, meant: Array | None = None, windows: int = 12
) -> LoopErrors:
    """Fit the loop's errors: how its slope differs from what the tables are meant to make it.

    Args:
        times: (m,) s after the start of the run, increasing, within it.
        x: (runs, m, 2) integrator voltages.
        n: (runs, m, 2) network outputs in front of the output gain.
        tables: what the loop is meant to follow, without corrections.
        meant: (2,) V/s, a constant slope that is meant, such as a drive's own trim.
        windows: pieces into which each run is cut.

    Returns:
        The coefficients; they need runs from several initial states.
    """
    fx, g2 = tables.at(times)
    edges = np.linspace(0, len(times) - 1, windows + 1).astype(np.int64)

    def integral(values: Array) -> Array:
        """(..., m) -> (..., windows), trapezoids."""
        steps = np.diff(times)
        total = np.concatenate(
            [np.zeros((*values.shape[:-1], 1)), np.cumsum(0.5 * (values[..., 1:] + values[..., :-1]) * steps, axis=-1)],
            axis=-1,
        )
        return np.asarray(total[..., edges[1:]] - total[..., edges[:-1]])

    coefficients, sigma, scatter = np.zeros((5, 2)), np.zeros((5, 2)), []
    for axis in range(2):
        v, output = x[:, :, axis], n[:, :, axis]
        expected = integral(-tables.kx * fx * v + tables.kn * tables.output_gain * g2 * output)
        # Averaging a few samples about each edge keeps the scope's noise out of the differences.
        ends = _smoothed(v)[:, edges]
        ones = np.ones_like(v)
        if meant is not None:
            expected = expected + float(meant[axis]) * integral(ones)
        excess = (np.diff(ends, axis=-1) - expected).ravel()
        columns = [integral(c).ravel() for c in (ones, ones * fx, ones * g2, v, output)]
        design = np.stack(columns, axis=1)
        scale = np.sqrt((design**2).mean(axis=0))
        solution, *_ = np.linalg.lstsq(design / scale, excess, rcond=1e-6)
        rest = excess - design / scale @ solution
        spread = float(rest.std())
        covariance = np.linalg.pinv((design / scale).T @ (design / scale)) * spread**2
        coefficients[:, axis] = solution / scale
        sigma[:, axis] = np.sqrt(np.diag(covariance)) / scale
        scatter.append(spread)
    return LoopErrors(coefficients, sigma, float(np.mean(scatter)))


def _smoothed(v: Array, half: int = 2) -> Array:
    """Running mean over 2 half + 1 samples; shorter at the ends, where it stays one-sided and so unbiased enough."""
    padded = np.concatenate([np.repeat(v[:, :1], half, axis=1), v, np.repeat(v[:, -1:], half, axis=1)], axis=1)
    return np.asarray(np.mean([padded[:, i : i + v.shape[1]] for i in range(2 * half + 1)], axis=0))


def fit_network(
    network: AnalogNetwork, x: Array, n: Array, embedding: Array, prior: float = 0.1
) -> tuple[tuple[Array, Array, Array], float, float]:
    """Fit the offsets inside the network to outputs that were measured.

    Args:
        network: with the measured conductances.
        x: (m, 2) integrator voltages, V.
        n: (m, 2) network outputs, V.
        embedding: (m, 14) units, at the same instants.
        prior: expected size of an offset, units; keeps what the data can't tell at zero.

    Returns:
        Offsets in units of each layer's pre-activation, (14,), (14,), (2,), and the RMS misfit in V before and after.
    """
    points, seen = x / UNIT_VOLT, n / UNIT_VOLT
    sizes = (14, 14, 2)

    def with_offsets(flat: Array) -> AnalogNetwork:
        parts = np.split(flat, np.cumsum(sizes)[:-1])
        return AnalogNetwork(network.conductances, network.gains, network.window, tuple(parts), network.clamp)

    def misfit(flat: Array) -> Array:
        return np.asarray(with_offsets(flat)(points, embedding) - seen)

    weight = 0.02  # units: what the scope and the read noise leave uncertain in one reading

    def cost(flat: Array) -> Array:
        return np.concatenate([misfit(flat).ravel() / weight / np.sqrt(len(points)), flat / prior / np.sqrt(30)])

    start = np.zeros(sum(sizes))
    found = least_squares(cost, start, method="trf", max_nfev=40)
    first, second, third = np.split(found.x, np.cumsum(sizes)[:-1])
    before, after = (float(np.sqrt(np.mean(misfit(f) ** 2)) * UNIT_VOLT) for f in (start, found.x))
    return (first, second, third), before, after
