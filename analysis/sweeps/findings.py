"""What came of a study in a few numbers with their intervals, outcome first: by the kind of figure that it asks for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from analysis.sweeps.measurement import Value
from analysis.sweeps.result import StudyResult

Array = npt.NDArray[np.float64]
Rows = list[tuple[str, str]]

HARM = 2.0
"""A noise hurts from where the KL divergence is so many times that without it."""
_OF = {"weight": "of the weight", "memory": "of G_mem"}


def findings(result: StudyResult) -> Rows:
    """Return what a study found, as names and values."""
    return _KINDS.get(str(result.about["figure"]), _plain)(result)


def told(mean: float, low: float, high: float, factor: float = 1.0) -> str:
    """A mean with its 95 % interval, for people."""
    if not np.isfinite(low):
        return f"{factor * mean:.3g}"
    return f"{factor * mean:.3g} ({factor * low:.3g} to {factor * high:.3g})"


def harmful(values: Array, kl: Array) -> float:
    """Return the noise at which a KL divergence reaches `HARM` times that of the first value; inf if none does.

    Between two measured noises the logarithm of the KL is taken as straight.
    """
    limit = HARM * kl[0]
    over = np.flatnonzero(kl >= limit)
    if not over.size:
        return float("inf")
    k = int(over[0])
    share = (np.log(limit) - np.log(kl[k - 1])) / (np.log(kl[k]) - np.log(kl[k - 1]))
    return float(values[k - 1] + share * (values[k] - values[k - 1]))


def _at(result: StudyResult, metric: str, **at: Value) -> str:
    mean, low, high = result.interval(metric, **at)
    return told(float(mean), float(low), float(high))


def _limit(result: StudyResult, noise: str, **at: Value) -> str:
    values = np.array(result.axes[noise], dtype=np.float64)
    found = harmful(values, result.table(result.metrics[0], **at))
    if not np.isfinite(found):
        return f"not up to {100 * values[-1]:g} %"
    return f"at {100 * found:.2g} %"


def _solvers(result: StudyResult) -> Rows:
    return [*_noises(result, "method", {"ode": "ODE", "sde": "SDE"})]


def _layers(result: StudyResult) -> Rows:
    names = {v: "all layers" if v == "all" else f"layer {int(v) + 1}" for v in result.axes["layer"]}
    return _noises(result, "layer", names)


def _noises(result: StudyResult, axis: str, names: dict[Value, str]) -> Rows:
    """Per solver or layer: without noise, where each noise doubles the KL, and the KL at each measured noise."""
    metric = result.metrics[0]
    quiet = {"write_noise": result.axes["write_noise"][0], "read_noise": result.axes["read_noise"][0]}
    kinds = result.axes["relative_to"]
    first: Rows = []
    rest: Rows = []
    for value in result.axes[axis]:
        name = names[value]
        first.append((f"{name}: without noise", _at(result, metric, **{axis: value}, relative_to=kinds[0], **quiet)))
        for noise, other in (("write_noise", "read_noise"), ("read_noise", "write_noise")):
            short = noise.removesuffix("_noise")
            for kind in kinds:
                held: dict[str, Value] = {axis: value, "relative_to": kind, other: quiet[other]}
                first.append((f"{name}: {short} noise {_OF[str(kind)]} doubles the KL", _limit(result, noise, **held)))
                measured = [
                    f"{100 * float(v):g} %: {_at(result, metric, **held, **{noise: v})}" for v in result.axes[noise][1:]
                ]
                rest.append((f"{name}: KL at {short} noise {_OF[str(kind)]}", "; ".join(measured)))
    return first + rest


def _grid(result: StudyResult) -> Rows:
    metric = result.metrics[0]
    rows: Rows = []
    writes, reads = result.axes["write_noise"], result.axes["read_noise"]
    for kind in result.axes["relative_to"]:
        of = _OF[str(kind)]
        rows.append(
            (f"no noise, {of}", _at(result, metric, relative_to=kind, write_noise=writes[0], read_noise=reads[0]))
        )
        for noise, other, least in (("write_noise", "read_noise", reads[0]), ("read_noise", "write_noise", writes[0])):
            name = f"{noise.replace('_', ' ')} alone, {of}, doubles the KL"
            rows.append((name, _limit(result, noise, **{"relative_to": kind, other: least})))
        worst = _at(result, metric, relative_to=kind, write_noise=writes[-1], read_noise=reads[-1])
        rows.append((f"both at {100 * float(writes[-1]):g} % and {100 * float(reads[-1]):g} %, {of}", worst))
    return rows


def _steps(result: StudyResult) -> Rows:
    metric, rows = result.metrics[0], Rows()
    noises = result.axes.get("read_noise", (None,))
    for method in result.axes["method"]:
        for noise in noises:
            held: dict[str, Value] = {"method": method} if noise is None else {"method": method, "read_noise": noise}
            measured = [f"{n}: {_at(result, metric, **held, steps=n)}" for n in result.axes["steps"]]
            extra = f", read noise {100 * float(noise):g} %" if noise else ""
            rows.append((f"{str(method).upper()}{extra}: KL at steps", "; ".join(measured)))
            kl = result.table(metric, **held)
            enough = next(n for n, v in zip(result.axes["steps"], kl, strict=True) if v <= 1.2 * kl.min())
            rows.append((f"{str(method).upper()}{extra}: within 20 % of its best from", f"{enough} steps"))
    return rows


def _energy(result: StudyResult) -> Rows:
    metric, rows = result.metrics[0], Rows()
    for method in result.axes["method"]:
        for n in result.axes["steps"]:
            held: dict[str, Value] = {"method": method, "steps": n}
            analog, low, high = (float(result.table(f"analog_energy{s}", **held)) for s in ("", "_best", "_worst"))
            digital = float(result.table("digital_energy", **held))
            text = (
                f"KL {_at(result, metric, **held)}; analog {1e6 * analog:.3g} ({1e6 * low:.2g} to {1e6 * high:.3g}) µJ"
            )
            rows.append((f"{str(method).upper()}, {n} steps", f"{text}, digital arithmetic {1e6 * digital:.3g} µJ"))
    return rows


def _paths(result: StudyResult) -> Rows:
    rows: Rows = []
    for method in result.axes["method"]:
        for noise in result.axes["read_noise"]:
            held: dict[str, Value] = {"method": method, "read_noise": noise}
            text = f"KL {_at(result, 'kl_2d', **held)}"
            if "wander" in result.tables:
                text += f"; noise alone moves the end by {_at(result, 'wander', **held)} units"
            rows.append((f"{str(method).upper()}, read noise {100 * float(noise):g} %", text))
    return rows


def _writing(result: StudyResult) -> Rows:
    rows: Rows = []
    for window in result.axes["window"]:
        sigma, memory = (result.table(n, window=window) for n in ("sigma", "sigma_of_memory"))
        weight, pulses = (result.table(n, window=window) for n in ("sigma_of_weight", "pulses_mean"))
        inside = float(result.table("inside", window=window).mean())
        text = f"σ {1e6 * sigma.min():.2g} to {1e6 * sigma.max():.2g} µS: "
        text += f"{100 * memory.min():.2g} to {100 * memory.max():.2g} % of G_mem, "
        text += f"{100 * np.nanmin(weight):.2g} to {100 * np.nanmax(weight):.2g} % of the weight; "
        text += f"{pulses.mean():.3g} pulses a cell; {100 * inside:.4g} % reach it"
        rows.append((f"target range ±{1e6 * float(window):g} µS", text))
    return rows


def _violins(result: StudyResult) -> Rows:
    rows: Rows = []
    targets = result.axes["target"]
    for period in result.axes["period"]:
        low, high = (_interval_at(result, "sigma", 1e6, target=t, period=period) for t in (targets[0], targets[-1]))
        memory, weight = (result.table(n, period=period) for n in ("sigma_of_memory", "sigma_of_weight"))
        text = f"σ {low} µS at {1e6 * float(targets[0]):g} µS, {high} µS at {1e6 * float(targets[-1]):g} µS; "
        text += f"{100 * memory.min():.2g} to {100 * memory.max():.2g} % of G_mem, "
        text += f"{100 * np.nanmin(weight):.2g} to {100 * np.nanmax(weight):.2g} % of the weight"
        rows.append((f"over {float(period):g} s", text))
    return rows


def _interval_at(result: StudyResult, metric: str, factor: float, **at: Value) -> str:
    mean, low, high = result.interval(metric, **at)
    return told(float(mean), float(low), float(high), factor)


def _ageing(result: StudyResult) -> Rows:
    rows: Rows = [("levels themselves, without a chip", f"KL {float(np.nanmean(result.table('kl_2d_targets'))):.3g}")]
    ages = np.asarray(result.tables["age"], dtype=np.float64)
    for window in result.axes["window"]:
        for suffix, name in (("", "programming"), ("_again", "re-programming")):
            kl = [np.asarray(part) for part in result.interval(f"kl_2d{suffix}", window=window)]
            inside, sigma = (result.table(f"{n}{suffix}", window=window) for n in ("inside", "sigma"))
            pulses = float(result.table(f"pulses{suffix}", window=window))
            text = "; ".join(
                f"{ages[i]:g} s: KL {told(*(float(part[i]) for part in kl))}, {100 * inside[i]:.3g} % in the window, "
                f"σ {1e6 * sigma[i]:.2g} µS"
                for i in (0, len(ages) - 1)
            )
            rows.append((f"±{1e6 * float(window):g} µS, after {name} ({pulses:.0f} pulses)", text))
    return rows


def _plain(result: StudyResult) -> Rows:
    """Any study: where the deciding metric is least and greatest."""
    metric = result.metrics[0]
    table = result.table(metric)
    if table.ndim > len(result.axes):
        return []
    rows: Rows = []
    for name, place in (("least", int(np.nanargmin(table))), ("greatest", int(np.nanargmax(table)))):
        index = np.unravel_index(place, table.shape)
        at = {axis: values[i] for (axis, values), i in zip(result.axes.items(), index, strict=True)}
        rows.append(
            (f"{name} {metric}", f"{_at(result, metric, **at)} at {', '.join(f'{k} {v}' for k, v in at.items())}")
        )
    return rows


_KINDS: dict[str, Callable[[StudyResult], Rows]] = {
    "solvers": _solvers, "layers": _layers, "grid": _grid, "steps": _steps, "energy": _energy, "paths": _paths,
    "writing": _writing, "violins": _violins, "ageing": _ageing,
}  # fmt: skip
