"""What differs between two runs, for people: `compare` is the one for bits."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.records.catalogue import flat
from analysis.records.reader import RunFile


@dataclass(frozen=True)
class Change:
    """A name whose value differs; None where one run does not have it."""

    name: str
    first: str | None
    second: str | None


@dataclass(frozen=True)
class MapDifference:
    """A map of both runs, second minus first.

    Attributes:
        name: of the map.
        cells: known in both runs.
        rms, largest: in the map's unit (S); NaN without common cells.
        beyond: cells that differ by more than the tolerance.
        tolerance: S; NaN where none is known, and then `beyond` is 0.
        only_one: cells known in one run only.
    """

    name: str
    cells: int
    rms: float
    largest: float
    beyond: int
    tolerance: float
    only_one: int


@dataclass(frozen=True)
class RunDifference:
    """What differs between two runs.

    Attributes:
        about: procedure, world, chip, operator, seed, status.
        parameters: of the procedure, by names with dots.
        versions: of the software, its commit included.
        instruments: by role.
        station: lines of a unified diff of the station files; empty if they are the same.
        maps: conductances of cells; empty if the arrays have other shapes.
        shapes: the arrays' shapes, (arrays, rows, cols) each.
    """

    about: tuple[Change, ...]
    parameters: tuple[Change, ...]
    versions: tuple[Change, ...]
    instruments: tuple[Change, ...]
    station: tuple[str, ...]
    maps: tuple[MapDifference, ...]
    shapes: tuple[tuple[int, int, int], tuple[int, int, int]]


def difference(first: RunFile, second: RunFile, tolerance: float | None = None) -> RunDifference:
    """Compare two runs.

    Args:
        first: open.
        second: open.
        tolerance: conductance difference that counts, S; default: the smaller of the runs' own tolerances.

    Raises:
        AnalysisError: a file is damaged.
    """
    a, b = first.header, second.header
    return RunDifference(
        about=_changes(_about(first), _about(second)),
        parameters=_changes(_parameters(a.parameters), _parameters(b.parameters)),
        versions=_changes({**a.packages, "commit": a.git_commit}, {**b.packages, "commit": b.git_commit}),
        instruments=_changes(
            *({one.role: f"{one.idn} ({one.resource})" for one in h.instruments} for h in (a, b)),
        ),
        station=tuple(
            difflib.unified_diff(a.station.splitlines(), b.station.splitlines(), a.run_id, b.run_id, lineterm="")
        ),
        maps=_maps(first, second, tolerance) if a.shape == b.shape else (),
        shapes=(a.shape, b.shape),
    )


def _about(run: RunFile) -> dict[str, str]:
    h = run.header
    return {
        "procedure": h.procedure,
        "world": h.world,
        "chip": h.chip,
        "operator": h.operator,
        "seed": "" if h.seed is None else str(h.seed),
        "status": run.status,
    }


def _parameters(parameters: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for name, _, _, text in flat("", parameters):
        found.setdefault(name, []).append(text)
    return {name: ", ".join(texts) for name, texts in found.items()}


def _changes(first: Mapping[str, str], second: Mapping[str, str]) -> tuple[Change, ...]:
    names = [*first, *(name for name in second if name not in first)]
    return tuple(
        Change(name, first.get(name), second.get(name)) for name in names if first.get(name) != second.get(name)
    )


def _maps(first: RunFile, second: RunFile, tolerance: float | None) -> tuple[MapDifference, ...]:
    if tolerance is None:
        own = [run.header.parameters.get("tolerance") for run in (first, second)]
        tolerance = min((float(t) for t in own if isinstance(t, int | float)), default=float("nan"))
    found = []
    for name in first.maps:
        if name not in second.maps or not name.startswith("conductance_"):
            continue
        one, other = first.map(name), second.map(name)
        known, either = np.isfinite(one) & np.isfinite(other), np.isfinite(one) | np.isfinite(other)
        if not either.any():
            continue
        change = np.asarray((other - one)[known])
        size = np.abs(change)
        found.append(
            MapDifference(
                name,
                cells=int(change.size),
                rms=float(np.sqrt(np.mean(change**2))) if change.size else float("nan"),
                largest=float(size.max()) if change.size else float("nan"),
                beyond=int(np.count_nonzero(size > tolerance)),
                tolerance=tolerance,
                only_one=int(np.count_nonzero(either & ~known)),
            )
        )
    return tuple(found)
