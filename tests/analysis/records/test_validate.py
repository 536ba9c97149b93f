"""Validating, comparing, exporting and labelling a run's file; the page about its layout."""

import csv
import itertools
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.records import (
    InstrumentId,
    RunHeader,
    RunWriter,
    WaveformSpec,
    difference,
    export,
    layout,
    open_run,
    to_xarray,
    validate,
)
from analysis.records.layout_page import page

Make = Callable[..., RunWriter]
Header = Callable[..., RunHeader]


def fill(run: RunWriter, offset: float = 0.0) -> None:
    run.map("conductance_target", np.full((4, 3), 5e-5))
    run.phase("programming")
    for row in range(4):
        pulse = run.intent("set", row, 0, amplitude=1.2, gate=1.0, width=1e-6)
        run.result(pulse, energy=2e-9)
        run.event("read", row, 0, amplitude=0.2, conductance=5e-5 + offset * row)
        run.cell(row, 0, "ok")
    run.data("extra", np.arange(3.0), units="V")
    run.data("nested/deep/extra", np.arange(3.0), units="V")
    run.twin("drives/time", np.arange(3.0), units="s")
    run.note("probe lifted")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a bit of everything, made once."""
    where = tmp_path_factory.mktemp("made") / "run-1"
    ticks = itertools.count()
    header = RunHeader(
        "program", "simulated", "run-1", "2031-05-07T08:00:00+00:00", rows=4, cols=3, chip="chip-7", operator="Zoë",
        parameters={"window": 1e-6, "levels": [1, 2], "deep": {"on": True, "off": None}}, station="station: bench\n",
        packages={"numpy": "2.4", "h5py": "3.16"}, git_commit="abc123", seed=2**100 + 7,
        instruments=(InstrumentId("b1500", "GPIB0::17::INSTR", "Agilent Technologies,B1500A,0,A.05"),),
    )  # fmt: skip
    specs = [WaveformSpec("scope1", ("c1", "c2"), 16)]
    with RunWriter.create(where, header, now=lambda: next(ticks) / 8, waveforms=specs) as run:
        fill(run)
        run.waveform(
            "scope1", np.arange(32, dtype=np.int16).reshape(2, 16), index=0, y_increment=[1e-3, 1e-3],
            y_origin=[0.0, 0.0], y_reference=[0.0, 0.0], x_increment=1e-6, x_origin=0.0,
        )  # fmt: skip
    return where


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """The same for a test to spoil."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def faults(path: Path) -> list[str]:
    return [str(finding) for finding in validate(path) if finding.fault]


def test_what_the_writer_makes_is_valid(folder: Path) -> None:
    assert validate(folder) == []
    assert validate(folder / layout.FINAL) == []


@pytest.mark.parametrize("arrays", [1, 3])
def test_an_empty_run_is_valid(make_run: Make, make_header: Header, tmp_path: Path, arrays: int) -> None:
    with make_run(header=make_header(arrays=arrays)):
        pass
    assert validate(tmp_path / "run-1") == []


def test_a_run_under_way_is_valid(make_run: Make, tmp_path: Path) -> None:
    run = make_run()
    run.event("read", 1, 1, conductance=1e-6)
    found = validate(tmp_path / "run-1")
    assert [str(finding) for finding in found] == ["remark: /entry: the run is running: its journal was not compared"]
    run.close()


def test_a_file_without_its_journal_is_valid_with_a_remark(folder: Path) -> None:
    (folder / layout.JOURNAL).unlink()
    found = validate(folder)
    assert [finding.fault for finding in found] == [False]
    assert "could not be compared" in str(found[0])


def _delete(name: str) -> Callable[[h5py.File], None]:
    return lambda file: file.__delitem__(name)


def _attribute(place: str, name: str, value: Any) -> Callable[[h5py.File], None]:
    return lambda file: file[place].attrs.__setitem__(name, value)


def _bare(place: str, name: str) -> Callable[[h5py.File], None]:
    return lambda file: file[place].attrs.__delitem__(name)


def _change(place: str, key: Any, value: Any) -> Callable[[h5py.File], None]:
    return lambda file: file[place].__setitem__(key, value)


def _plain_kind(file: h5py.File) -> None:
    values, attributes = file["entry/events/kind"][()], dict(file["entry/events/kind"].attrs)
    del file["entry/events/kind"]
    file["entry/events"].create_dataset("kind", data=np.asarray(values, np.uint8)).attrs.update(attributes)


@pytest.mark.parametrize(
    ("spoil", "place"),
    [
        (_delete("entry/title"), "/entry/title: is missing"),
        (_delete("entry/notes"), "/entry/notes: is missing"),
        (_delete("entry/conductance_error"), "/entry/conductance_error: is missing"),
        (_delete("entry/events/gate"), "/entry/events/gate: is missing"),
        (_attribute("entry/events/gate", "units", "mV"), "/entry/events/gate: has units 'mV', not 'V'"),
        (_bare("entry/data/extra", "units"), "/entry/data/extra: has no units"),
        (_bare("entry/duration", "units"), "/entry/duration: has no units"),
        (_bare("entry/data", "NX_class"), "/entry/data: has no NX_class"),
        (_attribute("entry/cells", "NX_class", "NXdata"), "/entry/cells: has NX_class 'NXdata'"),
        (_attribute("entry", "default", "nothing"), "default plot 'nothing' is not there"),
        (_attribute("entry/conductance_after", "signal", "gone"), "can't use"),
        (_delete("entry/conductance_after/col"), "/entry/conductance_after/col: is not an axis"),
        (_plain_kind, "/entry/events/kind: does not name its codes"),
        (_change("entry/events/row", 0, 99), "cells or kinds that it doesn't have"),
        (_change("entry/events/energy", 0, 7.0), "/entry/events/energy: has other values than the journal"),
        (_change("entry/conductance_after/conductance", (0, 0), 7.0), "/entry/conductance_after: has other values"),
        (_change("entry/status", (), "failed"), "/entry/status: is failed, the journal says completed"),
        (_change("entry/status", (), "splendid"), "'splendid' is none of"),
        (_change("entry/journal/crc32", (), 1), "the file was made from"),
        (
            _change("entry/waveforms/scope1/raw", (0, 0, 0), 77),
            "/entry/waveforms/scope1: 1 captures fail their checksum",
        ),
        (_change("entry/waveforms/scope1/crc32", 0, 77), "have another checksum than in the journal"),
        (_change("entry/waveforms/scope1/y_increment", (0, 1), 2e-3), "scope1/y_increment: was changed after it was"),
        (_change("entry/data/extra", 2, 2.5), "/entry/data/extra: was changed after it was written"),
        (_change("entry/twin/drives/time", 1, 1.5), "/entry/twin/drives/time: was changed after it was written"),
        (_change("entry/provenance/chip", (), "chip-8"), "/entry/provenance/chip: was changed after it was written"),
        (_attribute("entry/data/extra", "units", "mV"), "/entry/data/extra: was changed after it was written"),
        (_delete("entry/data/extra"), "/entry/data/extra: is gone, though the list"),
        (lambda file: file["entry"].create_group("data/mine"), "/entry/data/mine: was added after the run's end"),
        (_delete("entry/checksums"), "/entry/checksums: is missing or damaged"),
        (_change("entry/checksums/sha256", 3, "0" * 64), "/entry/checksums: the list of checksums was changed"),
        (_attribute("/", "format", layout.FORMAT + 1), "use a newer ohmflow"),
        (_attribute("/", "world", "real"), "disagree on whether it is simulated or real"),
    ],
)
def test_each_fault_is_found_and_named(folder: Path, spoil: Callable[[h5py.File], None], place: str) -> None:
    with h5py.File(folder / layout.FINAL, "r+") as file:
        spoil(file)
    found = faults(folder)
    assert any(place in line for line in found), found


def test_other_chunks_and_compression_change_no_checksum(folder: Path, tmp_path: Path) -> None:
    """What h5repack does: the same values, stored otherwise."""
    with h5py.File(folder / layout.FINAL, "r+") as file:
        for name in ("entry/data/extra", "entry/events/energy", "entry/waveforms/scope1/raw"):
            values, attributes = file[name][()], dict(file[name].attrs)
            del file[name]
            options = {"chunks": True, "compression": "gzip", "compression_opts": 9}
            file.create_dataset(name, data=values, **options).attrs.update(attributes)
    assert faults(folder) == []


@pytest.mark.parametrize("place", ["entry/events/gate", "entry/cells/target", "entry/conductance_target/conductance"])
def test_a_single_value_is_found_without_the_journal(folder: Path, place: str) -> None:
    (folder / layout.JOURNAL).unlink()
    with h5py.File(folder / layout.FINAL, "r+") as file:
        file[place][0] = np.nextafter(5e-5, 1)
    assert f"/{place}: was changed after it was written: its checksum is another" in faults(folder)


def test_a_changed_journal_is_found(folder: Path) -> None:
    journal = folder / layout.JOURNAL
    text = journal.read_bytes()
    journal.write_bytes(text.replace(b'"energy":2e-9', b'"energy":3e-9', 1))
    assert any("its checksum is wrong" in line for line in faults(folder))
    lines = text.splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]))
    assert any("the file was made from" in line for line in faults(folder))


def test_what_is_no_run_is_not_valid(tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 600)
    for path in (tmp_path / "x.h5", tmp_path, tmp_path / "none"):
        assert len(faults(path)) == 1


def test_the_default_plot_of_a_full_run_is_a_picture(folder: Path) -> None:
    nexusformat = pytest.importorskip("nexusformat.nexus", reason="nexusformat is not installed")
    picture = nexusformat.nxload(folder / layout.FINAL).plottable_data
    assert picture.nxpath == "/entry/conductance_after"
    assert np.nanmax(picture.nxsignal.nxdata) == 5e-5


def test_equal_runs_differ_in_nothing(folder: Path) -> None:
    with open_run(folder) as a, open_run(folder) as b:
        found = difference(a, b)
    assert [*found.about, *found.parameters, *found.versions, *found.instruments, *found.station] == []
    assert all(one.rms == 0 and one.largest == 0 and one.only_one == 0 for one in found.maps if one.cells)


def test_differences_are_counted(folder: Path, make_run: Make, make_header: Header, tmp_path: Path) -> None:
    changed = make_header(
        run_id="run-2",
        chip="chip-8",
        parameters={"window": 2e-6, "levels": [1, 3], "tolerance": 1e-6},
        station="station: other\n",
        packages={"numpy": "2.5", "h5py": "3.16"},
    )
    with make_run("run-2", changed) as run:
        fill(run, offset=1e-6)
        run.event("read", 0, 2, conductance=1e-5)
    with open_run(folder) as a, open_run(tmp_path / "run-2") as b:
        found, tight = difference(a, b), difference(a, b, 0.5e-6)
    assert [(c.name, c.first, c.second) for c in found.about] == [("chip", "chip-7", "chip-8")]
    assert {c.name: (c.first, c.second) for c in found.parameters} == {
        "window": ("1e-06", "2e-06"),
        "levels": ("1, 2", "1, 3"),
        "tolerance": (None, "1e-06"),
        "deep.on": ("true", None),
        "deep.off": ("null", None),
    }
    assert [(c.name, c.second) for c in found.versions] == [("numpy", "2.5")]
    assert found.station[-2:] == ("-station: bench", "+station: other")
    after = next(one for one in found.maps if one.name == "conductance_after")
    assert (after.cells, after.only_one, after.tolerance) == (4, 1, 1e-6)
    assert after.rms == pytest.approx(1e-6 * np.sqrt(np.mean(np.arange(4.0) ** 2)))
    assert after.largest == pytest.approx(3e-6)
    assert after.beyond == 2 + (5e-5 + 1e-6 - 5e-5 > 1e-6)
    assert next(one for one in tight.maps if one.name == "conductance_after").beyond == 3


def test_csv_reads_back_to_the_last_bit(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with open_run(folder) as run:
        written = export(run, out)
        events, cells, after = run.events, run.cells, run.map("conductance_after")
    assert sorted(path.name for path in written) == sorted(path.name for path in out.iterdir())
    with (out / "events.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    back = [float(row["conductance_S"] or "nan") for row in rows]
    assert np.array_equal(back, events["conductance"], equal_nan=True)
    assert [row["kind"] for row in rows] == ["set", "read"] * 4
    with (out / "map_conductance_after.csv").open(newline="") as file:
        values = [float(row["value_S"] or "nan") for row in csv.DictReader(file)]
    assert np.array_equal(np.reshape(values, (4, 3)), after, equal_nan=True)
    with (out / "cells.csv").open(newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)].count("ok") == np.count_nonzero(cells["status"]) == 4
    assert json.loads((out / "header.json").read_text())["chip"] == "chip-7"


def test_nothing_is_overwritten_or_half_written(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "cells.csv").write_text("mine")
    with open_run(folder) as run:
        with pytest.raises(AnalysisError, match="is there already"):
            export(run, tmp_path / "out")
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["cells.csv"]
        with pytest.raises(AnalysisError, match="csv or parquet, not 'xls'"):
            export(run, tmp_path / "other", "xls")
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(AnalysisError, match="needs the package pyarrow"):
            export(run, tmp_path / "other", "parquet")
    assert not (tmp_path / "other").exists()


def test_parquet_says_the_same(folder: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    with open_run(folder) as run:
        export(run, tmp_path / "out", "parquet")
        table = parquet.read_table(tmp_path / "out" / "events.parquet").to_pydict()
        assert np.array_equal(table["conductance_S"], run.events["conductance"], equal_nan=True)
        assert table["kind"] == ["set", "read"] * 4


@pytest.mark.parametrize("arrays", [1, 3])
def test_a_run_is_a_labelled_dataset(make_run: Make, make_header: Header, tmp_path: Path, arrays: int) -> None:
    pytest.importorskip("xarray", reason="xarray is not installed")
    with make_run(header=make_header(arrays=arrays)) as run:
        run.event("read", 1, 2, conductance=4e-5)
        run.cell(1, 2, "ok")
    with open_run(tmp_path / "run-1") as opened:
        data = to_xarray(opened)
        after = data["conductance_after"]
        assert np.array_equal(after.values, opened.map("conductance_after"), equal_nan=True)
    assert after.dims == ("array", "row", "col")[-after.ndim :]
    assert (after.attrs["units"], data["event_time"].attrs["units"]) == ("S", "s")
    assert all("units" in item.attrs for item in data.variables.values())
    place = {"row": 1, "col": 2} | ({"array": 0} if arrays > 1 else {})
    assert data["cell_status"].sel(place).item() == "ok"
    assert data["event_kind"].values.tolist() == ["read"]
    assert (data.attrs["world"], data.attrs["chip"]) == ("simulated", "chip-7")


def test_without_xarray_one_sentence_says_how_to_get_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    with open_run(folder) as run, pytest.raises(AnalysisError, match=r"pip install 'ohmflow\[notebook\]'"):
        to_xarray(run)


def test_the_page_about_the_layout_is_up_to_date() -> None:
    kept = Path(layout.__file__).with_name("layout.md").read_text(encoding="utf-8")
    assert kept == page(), "make it again: python -m analysis.records.layout_page > analysis/records/layout.md"
    for column in (*layout.EVENT_COLUMNS, *layout.CELL_COLUMNS):
        assert f"| `{column.name}` | {column.units or ''} | {column.meaning}" in kept
