"""Older layouts: each version has a step to the next, and a file is only ever looked at in today's layout.

A reader migrates what it opens: a file in memory takes over everything but the codes of oscilloscopes, to which it
refers where they lie, and goes through the steps. The old file stays as it was; `migrate` writes it anew for good.
"""

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from analysis.errors import AnalysisError
from analysis.records import checksums, layout, nexus, waveforms
from analysis.records.guard import UNREADABLE, check_folder, check_hdf5
from analysis.records.journal import is_being_written, sync_folder

Shapes = dict[str, tuple[int, int, int]]
"""Shapes of the oscilloscopes' codes, which a step may not look at: they may be in the other file."""


def _from_1(entry: h5py.Group, shapes: Shapes) -> None:
    """Version 2: captures plot themselves; groups have a class, arrays of numbers a unit, labels name the unit."""

    def mend(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Group):
            if "NX_class" not in item.attrs:
                item.attrs["NX_class"] = "NXcollection"
        elif item.ndim and item.dtype.kind in "biuf" and "units" not in item.attrs:
            item.attrs["units"] = ""
        elif "units" in item.attrs and "long_name" in item.attrs:
            item.attrs["long_name"] = nexus.labelled(str(item.attrs["long_name"]), str(item.attrs["units"]))

    entry.visititems(mend)
    for table, columns in (("events", layout.EVENT_COLUMNS), ("cells", layout.CELL_COLUMNS)):
        for column in columns:
            label = nexus.labelled(f"{column.name}: {column.meaning}", column.units)
            entry[table][column.name].attrs["long_name"] = label
    nexus.dress_events(entry["events"], str(entry.attrs["world"]))
    for scope, shape in shapes.items():
        group = entry["waveforms"][scope]
        if "intact" not in group:
            nexus.put(group, "intact", np.ones(shape[0], np.uint8), "", waveforms.INTACT)
        waveforms.dress(group, shape, str(entry.attrs["world"]))


STEPS: Final[dict[int, Callable[[h5py.Group, Shapes], None]]] = {1: _from_1}
"""Version -> what makes the next one of it."""


def migrated(file: h5py.File, version: int) -> h5py.File:
    """The same run in today's layout, in memory and only to be read; captures stay where they are.

    Args:
        file: an older file, checked (`guard.check_hdf5`).
        version: of its layout.

    Raises:
        AnalysisError: it is damaged; says where.
    """
    try:
        return _migrated(file, version)
    except UNREADABLE as error:
        raise AnalysisError(f"it is of layout version {version} and can't be migrated: {error}") from error


def _migrated(file: h5py.File, version: int) -> h5py.File:
    memory = io.BytesIO()
    with h5py.File(memory, "w") as new:
        _take_over(file, new, os.path.abspath(file.filename))
        _step(new, version, _shapes(file["entry"]))
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    # Not h5py's own file objects: these can't follow the references into the old file.
    access.set_fapl_core(backing_store=False)
    access.set_file_image(memory.getvalue())
    # A name that no file has: HDF5 looks for one, and tells apart by it what is open.
    name = f"{file.filename}.version-{version}-{id(memory)}"
    return h5py.File(h5py.h5f.open(os.fsencode(name), h5py.h5f.ACC_RDONLY, access))


def migrate(path: str | Path) -> bool:
    """Write an older run file anew in today's layout, with checksums; values stay to the last bit.

    Args:
        path: a run's folder or its `run.h5`.

    Returns:
        Whether there was anything to do.

    Raises:
        AnalysisError: it is no finished run's file, it is being written, or it can't be replaced; the old file is then
            as it was.
    """
    path = Path(path)
    path = path / layout.FINAL if path.is_dir() else path
    unfinished = path.with_name(path.name + layout.UNFINISHED)
    check_folder(path.parent)
    if not path.is_file():
        raise AnalysisError(f"there is no {path} to migrate: a run that was killed is salvaged first")
    if is_being_written(path.with_name(layout.JOURNAL)):
        raise AnalysisError(f"the run of {path} is under way: migrate it once it has ended")
    try:
        with h5py.File(path, "r") as old:
            check_hdf5(old)
            version = int(old.attrs["format"])
            if version >= layout.FORMAT:
                return False
        shutil.copyfile(path, unfinished)
        with h5py.File(unfinished, "r+") as new:
            shapes = _shapes(new["entry"])
            _step(new, version, shapes)
            for scope in shapes:
                waveforms.put_checksums(new["entry"]["waveforms"][scope])
            checksums.seal(new)
        with unfinished.open("rb+") as written:
            os.fsync(written.fileno())
        os.replace(unfinished, path)
        sync_folder(path.parent)
    except UNREADABLE as error:
        raise AnalysisError(f"can't migrate {path}: {' '.join(str(error).split())}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return True


def _step(file: h5py.File, version: int, shapes: Shapes) -> None:
    for number in range(version, layout.FORMAT):
        STEPS[number](file["entry"], shapes)
    file.attrs["format"] = layout.FORMAT


def _shapes(entry: h5py.Group) -> Shapes:
    return {name: group["raw"].shape for name, group in entry["waveforms"].items()} if "waveforms" in entry else {}


def _take_over(old: h5py.Group, new: h5py.Group, path: str) -> None:
    for name, value in old.attrs.items():
        new.attrs[name] = value
    for name in old:
        item: Any = old[name]
        if isinstance(item, h5py.Group):
            _take_over(item, new.create_group(name), path)
        elif checksums.is_codes(item):
            new[name] = h5py.ExternalLink(path, item.name)
        else:
            old.copy(item, new, name)
