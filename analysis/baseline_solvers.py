"""The trained network sampled digitally: one flow, solved by a compiled loop, numpy and torch; float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt
import torch

from analysis.diffusion.hardware import LAYER_SHAPES, N_HIDDEN, AnalogNetwork, Drive
from analysis.errors import AnalysisError

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Method = Literal["euler", "heun"]
_F = TypeVar("_F", bound=Callable[..., Any])

_PADDED = 16  # a hidden layer filled up to whole vector registers
_LANES = 32  # samples that go through the network side by side
_ZERO, _HALF = np.float32(0.0), np.float32(0.5)
FLOP_PER_EVALUATION = 2 * sum(rows * (columns - 1) for rows, columns in LAYER_SHAPES) + 8
"""Multiplications and additions of the weights, and of a x + b n in two coordinates."""


class Flow(NamedTuple):
    """dx/dtau = a x + b n(x, embedding) + trim in float32, tables averaged over each of `steps` equal steps.

    first (3, 16), second (15, 16) and last (2, 16) are the weights by input, biases in the last row, padded with
    zeros; last_bias (2,); rates (steps, 2) hold a and b; embedding (steps, 16); trim (2,); clamp (2,).
    """

    first: Floats
    second: Floats
    last: Floats
    last_bias: Floats
    rates: Floats
    embedding: Floats
    trim: Floats
    clamp: Floats
    heun: bool

    @property
    def evaluations(self) -> int:
        """Network evaluations a sample."""
        return len(self.rates) * (2 if self.heun else 1)


def digital_flow(network: AnalogNetwork, drive: Drive, method: Method, steps: int) -> Flow:
    """Return what a digital solver needs of the network and its drive.

    Raises:
        AnalysisError: the drive is of an SDE, or there is no step.
    """
    if drive.noise is not None and np.any(drive.noise):
        raise AnalysisError("the digital baseline solves the ODE; this drive has noise")
    if steps < 1:
        raise AnalysisError(f"a solver needs at least one step, not {steps}")
    weights = [w.copy() for w in network.weights]
    for w, offset in zip(weights, network.offsets or (), strict=False):
        w[:, -1] += offset
    first, second, last, embedding = (
        np.zeros(shape, dtype=np.float32) for shape in ((3, _PADDED), (15, _PADDED), (2, _PADDED), (steps, _PADDED))
    )
    first[:, :N_HIDDEN], second[:, :N_HIDDEN], last[:, :N_HIDDEN] = weights[0].T, weights[1].T, weights[2][:, :-1]
    embedding[:, :N_HIDDEN] = _averaged(drive.embedding, steps)
    coefficients = _averaged(np.stack([drive.a, drive.b], axis=1), steps)
    bias, rates, trim, clamp = (
        np.ascontiguousarray(part, dtype=np.float32)
        for part in (weights[2][:, -1], coefficients, drive.trim, np.array(network.clamp))
    )
    return Flow(first, second, last, bias, rates, embedding, trim, clamp, method == "heun")


def _averaged(table: Array, steps: int) -> Array:
    """Mean of a table (n, m) that holds each row for 1/n, over each of `steps` equal parts: (steps, m)."""
    n = len(table)
    total = np.concatenate([np.zeros((1, table.shape[1])), np.cumsum(table, axis=0)])
    position = np.linspace(0.0, n, steps + 1)
    row = np.minimum(position.astype(np.int64), n - 1)
    return np.diff(total[row] + (position - row)[:, None] * table[row], axis=0) * (steps / n)


# --- implementations --------------------------------------------------------------------------------------------------


def _compiled(function: _F) -> _F:
    """Compile with the disk cache, or without it where no cache folder can be written."""
    try:
        return cast(_F, numba.njit(cache=True, error_model="numpy", fastmath=True)(function))
    except RuntimeError:
        return cast(_F, numba.njit(error_model="numpy", fastmath=True)(function))


@_compiled
def solve_singly(flow: Flow, start: Floats, out: Floats) -> None:
    """Take points start (n, 2) through the flow one after another; a layer's 14 neurons are the vector."""
    low, high = flow.clamp
    count = flow.rates.shape[0]
    h = np.float32(1.0 / count)
    u, v = np.empty(_PADDED, np.float32), np.empty(_PADDED, np.float32)
    for s in range(start.shape[0]):
        x, y = start[s, 0], start[s, 1]
        for k in range(count):
            a, b = flow.rates[k]
            e = flow.embedding[k]
            px, py, fx, fy = x, y, _ZERO, _ZERO
            for stage in range(2 if flow.heun else 1):
                cx, cy = min(max(px, low), high), min(max(py, low), high)
                for o in range(_PADDED):
                    z = flow.first[2, o] + e[o] + flow.first[0, o] * cx + flow.first[1, o] * cy
                    v[o] = min(max(z, _ZERO), high)
                for o in range(_PADDED):
                    u[o] = flow.second[N_HIDDEN, o] + e[o]
                for i in range(N_HIDDEN):
                    for o in range(_PADDED):
                        u[o] += flow.second[i, o] * v[i]
                nx, ny = flow.last_bias[0], flow.last_bias[1]
                for i in range(_PADDED):
                    z = min(max(u[i], _ZERO), high)
                    nx += flow.last[0, i] * z
                    ny += flow.last[1, i] * z
                gx, gy = a * px + b * nx + flow.trim[0], a * py + b * ny + flow.trim[1]
                if stage == 0:
                    fx, fy = gx, gy
                    px, py = x + h * fx, y + h * fy
                else:
                    fx, fy = _HALF * (fx + gx), _HALF * (fy + gy)
            x, y = x + h * fx, y + h * fy
        out[s, 0], out[s, 1] = x, y


@_compiled
def solve_batch(flow: Flow, start: Floats, out: Floats) -> None:
    """Take points start (n, 2) through the flow in groups of 32 side by side; the samples are the vector."""
    low, high = flow.clamp
    count, n = flow.rates.shape[0], start.shape[0]
    h = np.float32(1.0 / count)
    u, v = np.empty((N_HIDDEN, _LANES), np.float32), np.empty((N_HIDDEN, _LANES), np.float32)
    x, p = np.empty((2, _LANES), np.float32), np.empty((2, _LANES), np.float32)
    c, f = np.empty((2, _LANES), np.float32), np.empty((2, _LANES), np.float32)
    for base in range(0, n, _LANES):
        for j in range(2):
            for s in range(_LANES):
                x[j, s] = start[min(base + s, n - 1), j]
        for k in range(count):
            a, b = flow.rates[k]
            e = flow.embedding[k]
            for stage in range(2 if flow.heun else 1):
                for j in range(2):
                    for s in range(_LANES):
                        p[j, s] = x[j, s] if stage == 0 else x[j, s] + h * f[j, s]
                        c[j, s] = min(max(p[j, s], low), high)
                for o in range(N_HIDDEN):
                    bias, w0, w1 = flow.first[2, o] + e[o], flow.first[0, o], flow.first[1, o]
                    for s in range(_LANES):
                        v[o, s] = min(max(bias + w0 * c[0, s] + w1 * c[1, s], _ZERO), high)
                for o in range(N_HIDDEN):
                    bias = flow.second[N_HIDDEN, o] + e[o]
                    for s in range(_LANES):
                        z = bias
                        for i in range(N_HIDDEN):
                            z += flow.second[i, o] * v[i, s]
                        u[o, s] = min(max(z, _ZERO), high)
                for j in range(2):
                    for s in range(_LANES):
                        z = flow.last_bias[j]
                        for i in range(N_HIDDEN):
                            z += flow.last[j, i] * u[i, s]
                        z = a * p[j, s] + b * z + flow.trim[j]
                        f[j, s] = z if stage == 0 else _HALF * (f[j, s] + z)
            for j in range(2):
                for s in range(_LANES):
                    x[j, s] += h * f[j, s]
        for s in range(min(_LANES, n - base)):
            out[base + s, 0], out[base + s, 1] = x[0, s], x[1, s]


def solve_numpy(flow: Flow, start: Floats) -> Floats:
    """Take points (n, 2) through the flow with numpy in float32."""
    (low, high), x = flow.clamp, start
    h = np.float32(1.0 / len(flow.rates))

    def slope(x: Floats, k: int) -> Floats:
        v = np.clip(x, low, high) @ flow.first[:2, :N_HIDDEN] + (flow.first[2] + flow.embedding[k])[:N_HIDDEN]
        v = np.clip(v, _ZERO, high) @ flow.second[:N_HIDDEN, :N_HIDDEN]
        v += (flow.second[N_HIDDEN] + flow.embedding[k])[:N_HIDDEN]
        n = np.clip(v, _ZERO, high) @ flow.last[:, :N_HIDDEN].T + flow.last_bias
        return np.asarray(flow.rates[k, 0] * x + flow.rates[k, 1] * n + flow.trim)

    for k in range(len(flow.rates)):
        f = slope(x, k)
        if flow.heun:
            f = _HALF * (f + slope(x + h * f, k))
        x = x + h * f
    return x


def torch_solver(flow: Flow, device: str = "cpu", compiled: bool = False) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the flow in torch, float32, eager or with its network compiled; it takes and returns points (n, 2)."""
    first, second, last, bias, rates, embedding, trim = (torch.tensor(p, device=device) for p in flow[:7])
    low, high = (float(v) for v in flow.clamp)
    h = 1.0 / len(rates)
    w1, w2, w3 = (w.contiguous() for w in (first[:2, :N_HIDDEN], second[:N_HIDDEN, :N_HIDDEN], last[:, :N_HIDDEN].T))
    bias1, bias2 = ((b + embedding)[:, :N_HIDDEN].contiguous().unbind() for b in (first[2], second[N_HIDDEN]))
    a, b = rates[:, 0].contiguous().unbind(), rates[:, 1].contiguous().unbind()

    def slope(
        x: torch.Tensor, bias1: torch.Tensor, bias2: torch.Tensor, a: torch.Tensor, b: torch.Tensor
    ) -> torch.Tensor:
        v = torch.addmm(bias1, x.clamp(low, high), w1).clamp(0.0, high)
        v = torch.addmm(bias2, v, w2).clamp(0.0, high)
        return a * x + b * torch.addmm(bias, v, w3) + trim

    # One compiling thread: a pool of workers would outlive the measurement and disturb the next.
    run = torch.compile(slope, options={"compile_threads": 1}) if compiled else slope

    def solve(x: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            for k in range(len(a)):
                f = run(x, bias1[k], bias2[k], a[k], b[k])
                if flow.heun:
                    f = 0.5 * (f + run(x + h * f, bias1[k], bias2[k], a[k], b[k]))
                x = x + h * f
        if x.is_cuda:
            torch.cuda.synchronize()
        return x

    return solve
