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

from analysis.sweeps.measurement import Setting
from analysis.sweeps.quality import QUALITIES, floor
from analysis.sweeps.study import Study

Array = npt.NDArray[np.float64]

RESULT = "study.h5"
SEEDS = "seed_number"


@dataclass(frozen=True)
class Point:
    """One row of the metrics' numbers a seed, in the order of the seeds, and whether the interval is narrow enough."""

    rows: tuple[tuple[float, ...], ...]
    narrow: bool


def interval(values: Array) -> tuple[float, float, float]:
    """Return mean, and low and high end of its 95 % interval (Student's t; not finite for a single value)."""
    mean, low, high = intervals(np.asarray(values, dtype=np.float64)[:, None])
    return float(mean[0]), float(low[0]), float(high[0])


def intervals(rows: Array) -> Array:
    """Return mean, low and high, (3, width), over the seeds of `rows` (seeds, width); what is NaN does not count."""
    known = np.isfinite(rows)
    n = known.sum(axis=0)
    filled = np.where(known, rows, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = filled.sum(axis=0) / n
        spread = np.sqrt(np.where(known, (rows - mean) ** 2, 0.0).sum(axis=0) / (n - 1))
        half = np.where(n > 1, stats.t.ppf(0.975, np.maximum(n - 1, 1)) * spread / np.sqrt(n), np.nan)
    return np.stack([mean, mean - half, mean + half])


class PointStore:
    """The finished points of studies, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "points"

    def read(self, key: str) -> Point | None:
        """Return the point of that key, or None where it is not finished (or its file is damaged)."""
        try:
            said = json.loads((self._folder / f"{key}.json").read_text(encoding="utf-8"))
            rows = tuple(tuple(float.fromhex(v) for v in row) for row in said["rows"])
            return Point(rows, bool(said["narrow"])) if rows and len({len(row) for row in rows}) == 1 else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, key: str, setting: Setting, point: Point) -> None:
        """Keep a finished point; it is on the disk when this returns."""
        self._folder.mkdir(parents=True, exist_ok=True)
        rows = [[float(v).hex() for v in row] for row in point.rows]
        text = json.dumps({"setting": setting, "narrow": point.narrow, "rows": rows}, indent=1)
        partial = self._folder / f"{key}.partial"
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._folder / f"{key}.json")


def write_result(study: Study, points: list[Point], folder: Path) -> Path:
    """Write the study's HDF5 file; xarray opens it with its h5netcdf engine, dimensions and coordinates included.

    Variables over the axes: every metric's mean, its `_low` and `_high` end of the 95 % interval, its `_values` with
    all seeds (NaN beyond the last), `seeds`, and `narrow`. A series has its own dimension last.
    """
    path, partial = folder / RESULT, folder / f"{RESULT}.partial"
    # SWMR-era format: older readers open it, and creation order leaves no trace of the writer's.
    with h5py.File(partial, "w", libver=("earliest", "v110"), track_order=False) as file:
        axes = [_scale(file, name, axis) for name, axis in study.axes.items()]
        seeds = _scale(file, SEEDS, tuple(range(study.most)))
        begin = 0
        for name, output in study.outputs.items():
            _metric(file, study, name, points, slice(begin, begin + output.width), axes, seeds)
            begin += output.width
        counts = np.array([len(p.rows) for p in points]).reshape(study.shape)
        _table(file, "seeds", counts, axes)
        _table(file, "narrow", np.array([p.narrow for p in points], dtype=np.int8).reshape(study.shape), axes)
        for name in ("name", "title", "about", "paper", "figure", "seed", "trajectories", "least", "most"):
            file.attrs["study" if name == "name" else name] = getattr(study, name)
        file.attrs["metrics"] = json.dumps(study.metrics)
        file.attrs["axes"] = json.dumps(list(study.axes))
        file.attrs["measure"] = study.measurement.name
        file.attrs["fixed"] = json.dumps({**study.measurement.defaults, **study.fixed}, sort_keys=True)
        file.attrs["until"] = json.dumps({"relative": study.relative, "absolute": study.absolute})
        if study.network is not None:
            file.attrs["model"] = study.network.name
            file.attrs["model_sha256"] = study.network.digest
    partial.replace(path)
    return path


def _metric(
    file: h5py.File, study: Study, name: str, points: list[Point], part: slice, axes: list[h5py.Dataset],
    seeds: h5py.Dataset,
) -> None:  # fmt: skip
    output = study.outputs[name]
    values = np.full((len(points), study.most, output.width), np.nan)
    for row, point in zip(values, points, strict=True):
        row[: len(point.rows)] = np.array(point.rows)[:, part]
    summary = np.stack([intervals(row) for row in values])
    scales = list(axes)
    if output.along:
        series = file[output.along] if output.along in file else _scale(file, output.along, output.points)
        scales.append(series)
    inner = (output.width,) if output.along else ()
    for k, suffix in enumerate(("", "_low", "_high")):
        table = _table(file, f"{name}{suffix}", summary[:, k].reshape(*study.shape, *inner), scales)
        table.attrs["units"], table.attrs["long_name"] = output.unit or "1", output.title
    if name in QUALITIES and study.network is not None and name not in ("radius_mean", "radius_std"):
        file[name].attrs["floor"] = floor(name, study.trajectories)
    all_scales = [*axes, seeds, *scales[len(axes) :]]
    _table(file, f"{name}_values", values.reshape(*study.shape, study.most, *inner), all_scales)


def _table(file: h5py.File, name: str, table: npt.NDArray[np.generic], scales: list[h5py.Dataset]) -> h5py.Dataset:
    dataset = file.create_dataset(name, data=table, track_times=False)
    for k, scale in enumerate(scales):
        dataset.dims[k].attach_scale(scale)
    return dataset


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
