"""A run at a moment, as the page gets it: plain values in units that people read."""

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.records import layout
from analysis.records.follow import Follower, Trace
from analysis.records.slices import Outline
from analysis.records.spread import spread
from analysis.records.tables import Cell

_SCALES = {"S": (1e6, "µS")}
_DIGITS = 4
_LAST = 8
_NOW, _TARGET, _ERROR = "conductance_after", "conductance_target", "conductance_error"


@dataclass(frozen=True)
class Asked:
    """What the page wants to see.

    Attributes:
        array: number of the array.
        map: name of the map.
        cell: (row, col) whose trace is shown; None: of the cell that was touched last.
        scope: oscilloscope whose capture is shown; "" for none.
        capture: number of the capture; None: the last one.
    """

    array: int | None = None
    map: str = _NOW
    cell: tuple[int, int] | None = None
    scope: str = ""
    capture: int | None = None


def snapshot(follower: Follower, asked: Asked, standing: Mapping[str, Any]) -> dict[str, Any]:
    """What there is to see of a run that was just looked at.

    Args:
        follower: of the run, after `look`.
        asked: what is wanted.
        standing: what the run's process says of itself (`orders.standing`).

    Raises:
        AnalysisError: the file is damaged, or what is asked for is not in it.
    """
    trace = _trace(follower, asked)
    followed = trace.cell[0] if trace is not None else 0
    number = followed if asked.array is None else asked.array
    progress = follower.progress()
    texts = follower.texts
    return {
        "status": status(follower, standing),
        "progress": {**vars(progress), "seconds": _finite(progress.seconds)},
        "phases": [{"time": time, "text": text} for time, text in texts.phases[-_LAST:]],
        "notes": [{"time": time, "text": text} for time, text in texts.notes[-_LAST:]],
        "tolerance": _finite(follower.tolerance * 1e6),
        **_maps(follower, asked.map, number),
        "trace": None if trace is None else _of_trace(follower, trace),
        "scopes": progress.captures,
        "outline": _of_outline(follower.outline(asked.scope, asked.capture)) if asked.scope else None,
    }


def status(follower: Follower, standing: Mapping[str, Any]) -> dict[str, Any]:
    """How the run stands: `state`, a sentence `said`, and whether more is to come."""
    run = follower.run
    state, folder = run.status, shlex.quote(str(follower.folder))
    if standing.get("state") == "asking":
        asked = str(standing.get("question", "something"))
        said = f"waits for a person: {asked}; when it is done: ohmflow answer {folder} --operator NAME"
        return {"state": "asking", "said": said, "live": True}
    if standing.get("state") == "paused":
        said = f"{standing.get('why', 'paused')}; go on by: ohmflow resume {folder}"
        return {"state": "paused", "said": said, "live": True}
    if state == "running":
        phases = follower.texts.phases
        said = f"phase: {phases[-1][1].replace('_', ' ')}" if phases else "just begun"
        return {"state": "running", "said": said, "live": True}
    if state == "killed":
        said = f"its process ended without saying so; go on by: ohmflow resume {folder}"
        return {"state": "killed", "said": said, "live": False}
    return {"state": state, "said": run.reason, "live": False}


def _maps(follower: Follower, name: str, number: int) -> dict[str, Any]:
    units = follower.maps
    grids = {one: follower.grid(one, number) for one in {_NOW, _TARGET, name} if one in units or one == name}
    statuses, touched = follower.marks(number)
    shown = grids[name]
    now, target = grids[_NOW].values, grids[_TARGET].values
    factor, unit = _SCALES.get(units.get(name, ""), (1.0, units.get(name, "")))
    known = [values[np.isfinite(values)] for values in ((now, target) if units.get(name) == "S" else (shown.values,))]
    found = spread(now, target, touched, follower.tolerance)
    return {
        "array": number,
        "maps": list(units),
        "map": {
            "name": name,
            "unit": unit,
            "step": shown.step,
            "shape": shown.values.shape,
            "values": _rounded(shown.values * factor),
            "limits": _symmetric(shown.values * factor, follower.tolerance * factor)
            if name == _ERROR
            else _limits(np.concatenate(known) * factor),
        },
        "now": _rounded(now * 1e6),
        "target": _rounded(target * 1e6),
        "verdicts": statuses.ravel().tolist(),
        "spread": None
        if found is None
        else {
            "edges": _rounded(found.edges * 1e6),
            "touched": found.touched.tolist(),
            "untouched": found.untouched.tolist(),
            "below": found.below,
            "above": found.above,
            "inside": found.inside,
            "mean": _finite(found.mean * 1e6),
            "sigma": _finite(found.sigma * 1e6),
        },
    }


def _trace(follower: Follower, asked: Asked) -> Trace | None:
    cell: Cell | None = None if asked.cell is None else (asked.array or 0, *asked.cell)
    return follower.trace(cell)


def _of_trace(follower: Follower, trace: Trace) -> dict[str, Any]:
    columns, (array, row, col) = trace.columns, trace.cell
    kinds = layout.names_of(np.minimum(columns["kind"], len(layout.EVENT_KINDS) - 1), layout.EVENT_KINDS)
    return {
        "array": array,
        "row": row,
        "col": col,
        "verdict": layout.CELL_STATUSES[int(follower.cells["status"][trace.cell])],
        "target": _finite(float(follower.cells["target"][trace.cell]) * 1e6),
        "whole": trace.whole,
        "kind": kinds.tolist(),
        "doubt": (columns["outcome"] == layout.OUTCOME_CODE["doubt"]).tolist(),
        "time": _rounded(columns["time"]),
        "conductance": _rounded(columns["conductance"] * 1e6),
        "amplitude": _rounded(columns["amplitude"]),
        "gate": _rounded(columns["gate"]),
        "width": [_finite(float(width)) for width in columns["width"]],
    }


def _of_outline(found: Outline | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "scope": found.scope,
        "number": found.number,
        "channels": found.channels,
        "time": [float(f"{t:.6g}") for t in found.time],
        "low": [[float(f"{v:.4g}") for v in line] for line in found.low],
        "high": [[float(f"{v:.4g}") for v in line] for line in found.high],
        "samples": found.samples,
        "read": found.read,
    }


def _rounded(values: npt.NDArray[Any]) -> list[float | None]:
    flat = np.round(np.asarray(values, dtype=np.float64).ravel(), _DIGITS)
    good = np.isfinite(flat)
    return flat.tolist() if good.all() else [v if ok else None for v, ok in zip(flat.tolist(), good, strict=True)]


def _limits(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Round ends of a scale for most of the values, which move seldom while a run goes on."""
    if not values.size:
        return 0.0, 1.0
    low, high = (float(end) for end in np.quantile(values, (0.005, 0.995)))
    step = _round_step((high - low) or abs(high) or 1.0)
    bottom = math.floor(low / step) * step
    return bottom, max(math.ceil(high / step) * step, bottom + step)


def _symmetric(values: npt.NDArray[np.float64], tolerance: float) -> tuple[float, float]:
    known = np.abs(values[np.isfinite(values)])
    reach = 3 * tolerance if tolerance > 0 else float(np.quantile(known, 0.99)) if known.size else 1.0
    return -(reach or 1.0), reach or 1.0


def _round_step(extent: float) -> float:
    power = 10.0 ** math.floor(math.log10(extent))
    return power / 2 if extent / power < 5 else power


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
