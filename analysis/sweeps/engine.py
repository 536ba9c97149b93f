"""Runs a study's points, in this process or wherever somebody spreads them; stops and resumes anywhere.

Only the engine's own process writes: whoever measures returns the point. What is stored is never computed again.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from analysis.sweeps.measurement import Setting, StudyError
from analysis.sweeps.store import Point, PointStore, interval, write_result
from analysis.sweeps.study import Study

Told = Callable[[int, int], None]
Spread = Callable[[Study, Sequence[Setting]], Iterator[tuple[int, Point]]]
"""Measures settings and yields (place in the list, point) in any order."""


def run_point(study: Study, setting: Setting) -> Point:
    """Measure one point: as many seeds as its interval needs. The same wherever and whenever it runs."""
    network = None if study.network is None else study.network.model
    rows: list[tuple[float, ...]] = []
    while True:
        rng = study.rng(setting, len(rows))
        found = study.measurement.measure(network, study.metrics, setting, study.trajectories, rng)
        rows.append(tuple(float(v) for name in study.metrics for v in np.atleast_1d(found[name])))
        if len(rows) < study.least:
            continue
        narrow = narrow_enough(study, [row[0] for row in rows])
        if narrow or len(rows) >= study.most:
            return Point(tuple(rows), narrow)


def narrow_enough(study: Study, values: Sequence[float]) -> bool:
    """Whether half the 95 % interval of the mean is within what the study asks (always, if it asks nothing)."""
    if study.relative == 0.0 and study.absolute == 0.0:
        return True
    mean, low, high = interval(np.array(values))
    return bool(0.5 * (high - low) <= max(study.absolute, study.relative * abs(mean)))


def run_study(
    study: Study, folder: Path, *, spread: Spread | None = None, told: Told = lambda done, total: None
) -> Path:
    """Bring the study to its end and return its HDF5 file.

    Args:
        study: What is measured.
        folder: Where points and result are kept; a second engine on it is refused.
        spread: Who measures the points: `here` by default, or a cluster.
        told: Called with the number of finished points and of all, at the beginning and whenever one more is stored.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        store, points = PointStore(folder), study.points
        keys = [study.key(setting) for setting in points]
        found = [store.read(key) for key in keys]
        pending = [i for i, point in enumerate(found) if point is None]
        done = len(points) - len(pending)
        told(done, len(points))
        if pending:
            for place, point in (spread or here)(study, [points[i] for i in pending]):
                index = pending[place]
                store.write(keys[index], points[index], point)
                found[index] = point
                done += 1
                told(done, len(points))
        whole = [point for point in found if point is not None]
        if len(whole) < len(points):
            raise StudyError(f"{folder}: not all points came back; run the study again")
        return write_result(study, whole, folder)


def here(study: Study, settings: Sequence[Setting]) -> Iterator[tuple[int, Point]]:
    """Measure the points in this process, one after another."""
    for place, setting in enumerate(settings):
        yield place, run_point(study, setting)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            text = f"{folder}: another process runs a study here; wait for it or take another folder"
            raise StudyError(text) from error
        yield
