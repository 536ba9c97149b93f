"""Files of older layouts: opened as if they were today's, written anew on request, never changed by looking."""

import hashlib
import itertools
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.records import (
    RunHeader,
    RunWriter,
    WaveformSpec,
    layout,
    migrate,
    open_run,
    same_data,
    to_xarray,
    validate,
)
from analysis.records.migration import STEPS

AXES = ("capture", "channel", "sample", "sample_time", "title")


def as_version_1(path: Path, *, bare: bool) -> None:
    """Turn a run file into what version 1 wrote: no checksums, captures a plain collection; its first files `bare`."""
    with h5py.File(path, "r+") as file:
        entry = file["entry"]
        file.attrs["format"] = 1
        del entry["checksums"]
        for group in entry["waveforms"].values():
            for name in ("crc32", *AXES):
                group.pop(name, None)
            for name in ("signal", "axes", "capture_indices", "channel_indices", "sample_time_indices"):
                group.attrs.pop(name, None)
            group.attrs["NX_class"] = "NXcollection"
            group["raw"].attrs.pop("interpretation")
            if bare:
                del group["intact"]
        del entry["events/title"], entry["events"].attrs["time_indices"]
        for table, columns in (("events", layout.EVENT_COLUMNS), ("cells", layout.CELL_COLUMNS)):
            for column in columns:
                entry[table][column.name].attrs["long_name"] = column.meaning
        if bare:
            del entry["data/nested"].attrs["NX_class"]


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of today with captures, nested data, and more events than are copied into memory."""
    folder = tmp_path_factory.mktemp("runs") / "run-1"
    ticks = itertools.count()
    header = RunHeader("noise", "simulated", "run-1", "2031-05-07T08:00:00+00:00", rows=4, cols=3, chip="7")
    rng = np.random.default_rng(3)
    specs = [WaveformSpec("scope1", ("c1", "c2"), 3000)]
    with RunWriter.create(folder, header, now=lambda: next(ticks) / 8, waveforms=specs) as run:
        for value in rng.normal(5e-5, 1e-6, 12_000):
            run.event("read", 1, 2, conductance=value)
        run.data("nested/extra", rng.normal(size=20_000), units="V")
        for index in range(3):
            run.waveform(
                "scope1", rng.integers(-99, 99, (2, 3000), np.int16), index=index, y_increment=[1e-3, 2e-3],
                y_origin=[0.0, 0.1], y_reference=[0.0, 0.0], x_increment=1e-6, x_origin=-1e-3,
            )  # fmt: skip
    return folder


@pytest.fixture(params=[False, True], ids=["full", "bare"])
def old(today: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    folder = Path(shutil.copytree(today, tmp_path / "old"))
    as_version_1(folder / layout.FINAL, bare=request.param)
    return folder


def content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_older_version_has_a_step() -> None:
    assert sorted(STEPS) == list(range(1, layout.FORMAT))


def test_an_older_file_is_opened_in_todays_layout_and_left_alone(today: Path, old: Path) -> None:
    before = content(old / layout.FINAL)
    with open_run(old) as a, open_run(today) as b:
        assert (a.version, b.version) == (1, 2)
        assert a.path == old / layout.FINAL
        assert a.header == b.header
        for name in b.events:
            assert np.array_equal(a.events[name], b.events[name], equal_nan=a.events[name].dtype.kind == "f"), name
        assert np.array_equal(a.map("conductance_after"), b.map("conductance_after"), equal_nan=True)
        assert np.array_equal(a.data("nested/extra"), b.data("nested/extra"))
        assert len(a.waveforms("scope1")) == 3
        for number in range(3):
            assert np.array_equal(a.waveforms("scope1").volts(number), b.waveforms("scope1").volts(number))
        assert a.entry["waveforms/scope1"].attrs["NX_class"] == "NXdata"
        assert np.array_equal(a.entry["waveforms/scope1/sample_time"], b.waveforms("scope1").times(0))
        with pytest.raises((ValueError, RuntimeError, KeyError, OSError)):
            a.entry.create_group("mine")
    assert content(old / layout.FINAL) == before


def test_an_older_file_is_valid_with_a_remark(old: Path) -> None:
    found = [str(finding) for finding in validate(old)]
    assert found == ["remark: /: is of layout version 1, which had no checksums; it was migrated to read it"]
    with h5py.File(old / layout.FINAL, "r+") as file:
        file["entry/waveforms/scope1/raw"][1, 1, 5] += 1
    assert any("1 captures have another checksum than in the journal" in str(one) for one in validate(old))


def test_an_older_file_is_written_anew_for_good(today: Path, old: Path) -> None:
    assert migrate(old)
    assert not migrate(old)
    assert validate(old) == []
    told = [line for line in same_data(old / layout.FINAL, today / layout.FINAL) if "interpretation" not in line]
    assert told == []
    assert [path.name for path in old.iterdir()] == [path.name for path in old.iterdir() if ".new" not in path.name]


def test_what_can_not_be_migrated_stays_as_it_was(old: Path, tmp_path: Path) -> None:
    with h5py.File(old / layout.FINAL, "r+") as file:
        del file["entry/waveforms/scope1/x_origin"]
    before = content(old / layout.FINAL)
    with pytest.raises(AnalysisError, match=r"can't migrate .*x_origin"):
        migrate(old)
    assert content(old / layout.FINAL) == before
    with pytest.raises(AnalysisError, match=r"x_origin"):
        open_run(old)
    with pytest.raises(AnalysisError, match=r"there is no .*run\.h5 to migrate"):
        migrate(tmp_path)
    assert sorted(path.name for path in old.iterdir()) == ["journal.jsonl", "run.h5"]


def test_an_older_file_is_a_labelled_dataset_too(old: Path) -> None:
    pytest.importorskip("xarray", reason="xarray is not installed")
    with open_run(old) as run:
        data: Any = to_xarray(run)
    assert data["event_conductance"].size == 12_000
    assert float(data["conductance_after"].sel(row=1, col=2)) == data["event_conductance"].values[-1]
