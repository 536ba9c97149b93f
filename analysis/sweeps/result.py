"""A finished study as its file tells it: coordinates, means, intervals, every seed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from analysis.sweeps.measurement import StudyError, Value
from analysis.sweeps.store import RESULT

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StudyResult:
    """What came of a study.

    Attributes:
        about: attributes of the file: study, title, about, paper, figure, seed, trajectories, metrics, model, ...
        axes: coordinates of the grid, in its order.
        tables: every variable by name, the grid's axes first.
        notes: attributes of variables: units, long_name, floor.
    """

    about: dict[str, Any]
    axes: dict[str, tuple[Value, ...]]
    tables: dict[str, npt.NDArray[np.generic]]
    notes: dict[str, dict[str, Any]]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics, the deciding one first."""
        return tuple(json.loads(self.about["metrics"]))

    @property
    def fixed(self) -> dict[str, Value]:
        """Settings of all points, where no axis says otherwise."""
        found: dict[str, Value] = json.loads(self.about["fixed"])
        return {name: value for name, value in found.items() if name not in self.axes}

    def table(self, name: str, **at: Value) -> Array:
        """Return a variable as floats, with some axes held at a value; the others keep their order.

        Raises:
            StudyError: there is no such variable, axis or value.
        """
        if name not in self.tables:
            raise StudyError(f"the study has no {name!r}; it has {', '.join(sorted(self.tables))}")
        index: list[int | slice] = [slice(None)] * len(self.axes)
        for axis, value in at.items():
            if axis not in self.axes or value not in self.axes[axis]:
                raise StudyError(f"the study has no point with {axis} = {value!r}")
            index[list(self.axes).index(axis)] = self.axes[axis].index(value)
        return np.asarray(self.tables[name], dtype=np.float64)[tuple(index)]

    def interval(self, name: str, **at: Value) -> tuple[Array, Array, Array]:
        """Return a metric's mean and the low and high end of its 95 % interval."""
        return self.table(name, **at), self.table(f"{name}_low", **at), self.table(f"{name}_high", **at)

    def note(self, name: str, what: str) -> Any:
        """Return what is noted of a variable (`units`, `long_name`, `floor`), or None."""
        return self.notes.get(name, {}).get(what)


def open_study(folder: Path) -> StudyResult:
    """Read a finished study from its folder, or from its file.

    Raises:
        StudyError: it is not finished, or the file is none of a study.
    """
    path = folder / RESULT if folder.is_dir() else folder
    if not path.is_file():
        raise StudyError(f"{path} is not there; bring the study to its end with ohmflow sweep")
    try:
        with h5py.File(path) as file:
            about = {name: value for name, value in file.attrs.items() if not name.startswith("_")}
            names = json.loads(about["axes"])
            tables = {
                name: data.asstr()[()] if h5py.check_string_dtype(data.dtype) else data[()]
                for name, data in file.items()
            }
            notes = {
                name: {k: data.attrs[k] for k in ("units", "long_name", "floor") if k in data.attrs}
                for name, data in file.items()
            }
    except (OSError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise StudyError(f"{path} is no result of a study: {reason}") from error
    fixed = json.loads(about["fixed"])
    axes = {name: _values(tables[name], fixed.get(name)) for name in names}
    return StudyResult(about, axes, tables, notes)


def _values(coordinate: npt.NDArray[np.generic], default: object) -> tuple[Value, ...]:
    found = coordinate.tolist()
    if isinstance(default, bool):
        return tuple(bool(value) for value in found)
    return tuple(found)
