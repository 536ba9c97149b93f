"""Runs a study's points, on this core, on several, or wherever an executor sends them; stops and resumes anywhere.

Only the engine's own process writes: a worker returns its point. What is stored is never computed again. A killed
engine takes its local workers with it.
"""

from __future__ import annotations

import fcntl
import itertools
import math
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for
from pathlib import Path

import numpy as np

from analysis.sweeps.quality import cost, measure
from analysis.sweeps.store import Point, PointStore, interval, write_result
from analysis.sweeps.study import Setting, Study, StudyError

Told = Callable[[int, int], None]
Spread = Callable[[Study, Sequence[Setting]], Iterator[tuple[int, Point]]]
"""Measures settings and yields (place in the list, point) in any order."""

BATCH_STEPS = 1e9
"""Steps of trajectories in a task of a cluster, some ten seconds: a task costs a tenth of a second of book-keeping."""
_AHEAD = 3  # points given out a worker: none waits for the engine, and few are lost with it


def run_point(study: Study, setting: Setting) -> Point:
    """Measure one point: as many seeds as its interval needs. The same wherever and whenever it runs."""
    values: list[float] = []
    while True:
        rng = study.rng(setting, len(values))
        values.append(measure(study.model, study.metric, setting, study.trajectories, rng))
        if len(values) < study.least:
            continue
        narrow = narrow_enough(study, values)
        if narrow or len(values) >= study.most:
            return Point(tuple(values), narrow)


def narrow_enough(study: Study, values: Sequence[float]) -> bool:
    """Whether half the 95 % interval of the mean is within what the study asks (always, if it asks nothing)."""
    if study.relative == 0.0 and study.absolute == 0.0:
        return True
    mean, low, high = interval(np.array(values))
    return bool(0.5 * (high - low) <= max(study.absolute, study.relative * abs(mean)))


def run_batch(study: Study, settings: Sequence[Setting]) -> list[Point]:
    """Measure several points one after another: what one task of a cluster does."""
    return [run_point(study, setting) for setting in settings]


def run_study(
    study: Study, folder: Path, *, spread: Spread | None = None, told: Told = lambda done, total: None
) -> Path:
    """Bring the study to its end and return its HDF5 file.

    Args:
        study: What is measured.
        folder: Where points and result are kept; a second engine on it is refused.
        spread: Who measures the points: `here` by default, `on_this_machine`, or a cluster.
        told: Called with the number of finished points and of all, at the beginning and whenever one more is stored.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        store, points = PointStore(folder), study.points
        keys = [study.key(setting) for setting in points]
        pending = [i for i, key in enumerate(keys) if store.read(key) is None]
        done = len(points) - len(pending)
        told(done, len(points))
        for place, point in (spread or here)(study, [points[i] for i in pending]):
            index = pending[place]
            store.write(keys[index], points[index], point)
            done += 1
            told(done, len(points))
        found = [store.read(key) for key in keys]
        if any(point is None for point in found):
            raise StudyError(f"{folder}: not all points came back; run the study again")
        return write_result(study, [point for point in found if point is not None], folder)


def here(study: Study, settings: Sequence[Setting]) -> Iterator[tuple[int, Point]]:
    """Measure the points in this process, one after another."""
    for place, setting in enumerate(settings):
        yield place, run_point(study, setting)


def on_this_machine(workers: int) -> Spread:
    """Return what measures points in `workers` processes, which end when this process does, however it does."""
    if workers < 1:
        raise StudyError(f"a study needs at least one worker, not {workers}")

    def spread(study: Study, settings: Sequence[Setting]) -> Iterator[tuple[int, Point]]:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, max(len(settings), 1)), context, initializer=_follow_parent) as pool:
            waiting = iter(enumerate(settings))
            running: dict[Future[Point], int] = {}
            while True:
                for place, setting in itertools.islice(waiting, _AHEAD * workers - len(running)):
                    running[pool.submit(run_point, study, setting)] = place
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()

    return here if workers == 1 else spread


def batches(study: Study, settings: Sequence[Setting], workers: int) -> list[list[int]]:
    """Return places of settings in batches worth a task of a cluster, yet four or more a worker."""
    largest = max(1, len(settings) // (4 * workers))
    made: list[list[int]] = []
    spent = math.inf
    for place, setting in enumerate(settings):
        if spent >= BATCH_STEPS or len(made[-1]) >= largest:
            made.append([])
            spent = 0.0
        made[-1].append(place)
        spent += cost(setting, study.trajectories) * study.most
    return made


def _follow_parent() -> None:
    """Let this worker end with its parent: a pool's processes otherwise wait for ever for a parent that was killed."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait_for([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            text = f"{folder}: another process runs a study here; wait for it or take another folder"
            raise StudyError(text) from error
        yield
