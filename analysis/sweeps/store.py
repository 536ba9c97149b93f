"""Finished points on disk, one small file each, and the whole study as one HDF5 file with coordinates.

A point's file appears whole or not at all, under a name made of all that decides its numbers. Numbers are written so
that they come back bit for bit; the HDF5 file is made from the points in the grid's order and carries no time or path,
so that interrupted and undisturbed studies make equal files.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
from scipy import stats

from analysis.sweeps.study import Setting, Study, StudyError

Array = npt.NDArray[np.float64]

RESULT = "study.h5"


@dataclass(frozen=True)
class Point:
    """One value of the metric a seed, in the order of the seeds, and whether the interval is narrow enough."""

    values: tuple[float, ...]
    narrow: bool


def interval(values: Array) -> tuple[float, float, float]:
    """Return mean, and low and high end of its 95 % interval (Student's t; not finite for a single value)."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, float("nan"), float("nan")
    half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return mean, mean - half, mean + half


class PointStore:
    """The finished points of studies, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "points"

    def read(self, key: str) -> Point | None:
        """Return the point of that key, or None where it is not finished (or its file is damaged)."""
        try:
            said = json.loads((self._folder / f"{key}.json").read_text(encoding="utf-8"))
            return Point(tuple(float.fromhex(v) for v in said["values"]), bool(said["narrow"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, key: str, setting: Setting, point: Point) -> None:
        """Keep a finished point; it is on the disk when this returns."""
        self._folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(
            {"setting": setting, "narrow": point.narrow, "values": [float(v).hex() for v in point.values]}, indent=1
        )
        partial = self._folder / f"{key}.partial"
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._folder / f"{key}.json")


def write_result(study: Study, points: list[Point], folder: Path) -> Path:
    """Write the study's HDF5 file; xarray opens it with its h5netcdf engine, dimensions and coordinates included.

    Variables over the axes: the metric's mean, `low` and `high` of its 95 % interval, `seeds`, `narrow`, and
    `values` with all seeds (NaN beyond the last).
    """
    path, partial = folder / RESULT, folder / f"{RESULT}.partial"
    summary = np.array([interval(np.array(p.values)) for p in points]).reshape(*study.shape, 3)
    values = np.full((len(points), study.most), np.nan)
    for row, point in zip(values, points, strict=True):
        row[: len(point.values)] = point.values
    with h5py.File(partial, "w", libver=("earliest", "v110"), track_order=False) as file:
        scales = []
        for name, axis in study.axes.items():
            scales.append(_scale(file, name, axis))
        seeds = _scale(file, "seed_number", tuple(range(study.most)))
        tables: dict[str, tuple[npt.NDArray[np.generic], list[h5py.Dataset]]] = {
            study.metric: (summary[..., 0], scales),
            "low": (summary[..., 1], scales),
            "high": (summary[..., 2], scales),
            "seeds": (np.array([len(p.values) for p in points]).reshape(study.shape), scales),
            "narrow": (np.array([p.narrow for p in points], dtype=np.int8).reshape(study.shape), scales),
            "values": (values.reshape(*study.shape, study.most), [*scales, seeds]),
        }
        for name, (table, dimensions) in tables.items():
            dataset = file.create_dataset(name, data=table, track_times=False)
            for k, scale in enumerate(dimensions):
                dataset.dims[k].attach_scale(scale)
        file.attrs["study"] = study.name
        file.attrs["metric"] = study.metric
        file.attrs["seed"] = study.seed
        file.attrs["trajectories"] = study.trajectories
        file.attrs["model_sha256"] = study.model_digest
        file.attrs["fixed"] = json.dumps(study.fixed, sort_keys=True)
    partial.replace(path)
    return path


def read_result(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    """Return every variable and coordinate of a study's file by name; strings come as str."""
    if not path.is_file():
        raise StudyError(f"{path} is not there; the study has not been finished")
    with h5py.File(path) as file:
        return {
            name: data.asstr()[()] if h5py.check_string_dtype(data.dtype) else data[()] for name, data in file.items()
        }


def _scale(file: h5py.File, name: str, values: tuple[object, ...]) -> h5py.Dataset:
    if all(isinstance(v, bool) for v in values):
        data = file.create_dataset(name, data=np.array(values, dtype=np.int8), track_times=False)
    elif all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        data = file.create_dataset(name, data=np.array(values), track_times=False)
    else:
        texts = np.array([str(v) for v in values], dtype=object)
        data = file.create_dataset(name, data=texts, dtype=h5py.string_dtype(), track_times=False)
    data.make_scale(name)
    return data
