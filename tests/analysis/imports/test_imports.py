"""Other programs' files as runs: what is in them is in the run, and what is odd is told in a sentence."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from commands import Ohmflow, in_process
from foreign_files import (
    PULSE,
    PULSE_READ,
    READ,
    STAMP,
    cycles,
    easyexpert,
    pulses_and_reads,
    sweep,
    write_arc2,
)

from analysis.characterisation.iv import summarise_iv
from analysis.errors import AnalysisError
from analysis.fitting.observations import gather
from analysis.imports import read_foreign
from analysis.records import difference, export, layout, open_run, validate
from workflows.importing import import_one


@pytest.fixture
def ohmflow(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Ohmflow:
    """The command in this process, in an empty folder: exit code, stdout, stderr."""
    return in_process(tmp_path, tmp_path / "home", monkeypatch, capsys, 200)


@pytest.fixture(scope="module")
def arc2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cells that were programmed, and a curve of one of them."""
    rng = np.random.default_rng(2)
    volts, amps = sweep(1.0, 8e-5)
    table = np.rec.fromarrays([volts, amps, volts], names="voltage,current,read_voltage")
    return write_arc2(
        tmp_path_factory.mktemp("arc2") / "Chip 7.h5",
        {(3, 5): pulses_and_reads(rng), (31, 0): pulses_and_reads(rng, 8)},
        {(3, 5): table},
    )


@pytest.fixture(scope="module")
def arc2_run(arc2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return import_one(arc2, tmp_path_factory.mktemp("runs"), run_id="arc2", chip="7", operator="Ada")


def test_an_arc_two_file_becomes_a_run(arc2: Path, arc2_run: Path) -> None:
    assert validate(arc2_run) == []
    with open_run(arc2_run) as run:
        assert (run.world, run.status, run.header.shape) == ("real", "completed", (1, 32, 32))
        kinds = layout.names_of(run.events["kind"], layout.EVENT_KINDS)
        here = (run.events["row"] == 3) & (run.events["col"] == 5)
        assert kinds[here].tolist()[:4] == ["read", "set", "read", "set"]
        assert np.count_nonzero(kinds == "read") == 41 + 9
        assert (np.count_nonzero(kinds == "set"), np.count_nonzero(kinds == "reset")) == (20 + 4, 20 + 4)
        first = int(np.flatnonzero(here)[0])
        assert run.events["conductance"][first] == pytest.approx(2e-5, rel=1e-6)
        assert run.events["amplitude"][first] == pytest.approx(0.2)
        pulse = int(np.flatnonzero(here & (kinds == "set"))[0])
        assert run.events["amplitude"][pulse] == pytest.approx(1.1)
        assert run.events["width"][pulse] == pytest.approx(1e-6)
        assert run.events["energy"][pulse] == pytest.approx(1.1**2 * 2e-5 * 1e-6, rel=1e-5)
        after = run.map("conductance_after")
        assert np.argwhere(np.isfinite(after)).tolist() == [[3, 5], [31, 0]]
        assert run.map("crossbar_conductance")[3, 5] == pytest.approx(after[3, 5])
        kept = run.data(f"experiments/r3_c5/ct_{STAMP}/current")
        assert kept == pytest.approx(sweep(1.0, 8e-5)[1], rel=1e-6)
        dataset = run.entry[f"data/experiments/r3_c5/ct_{STAMP}/current"]
        assert dataset.attrs["units"] == "A"
    with h5py.File(arc2) as file:
        assert file["crosspoints/W03B05/timeseries"].attrs["NROWS"] == 41


def test_the_provenance_says_what_was_imported(arc2: Path, arc2_run: Path) -> None:
    digest = hashlib.sha256(arc2.read_bytes()).hexdigest()
    with open_run(arc2_run) as run:
        source = run.header.parameters["imported"]
        assert source == {
            "file": "Chip 7.h5", "sha256": digest, "bytes": arc2.stat().st_size, "format": "ArC TWO HDF5 0.1",
        }  # fmt: skip
        assert run.header.started == "2025-05-23T11:33:20+00:00"  # the experiment's time stamp
        assert run.header.paths["imported"] == str(arc2)
        assert run.header.instruments[0].idn == "ArC Instruments ArC TWO"
        assert digest in run.notes[0]["text"]
        assert any("magnitude of current over voltage" in note["text"] for note in run.notes)
        settings = run.header.parameters["about"]["experiments"][f"experiments/r3_c5/ct_{STAMP}"]
        assert settings["pw"] == 1e-4


def test_a_fit_finds_the_pulses_of_an_import(arc2_run: Path) -> None:
    found = gather([arc2_run])
    assert found.chip == "7"
    assert len(found.steps) == 40 + 8
    assert found.unused == 0
    assert found.cells.tolist() == [[0, 3, 5], [0, 31, 0]]
    assert int(found.steps.reset.sum()) == 20 + 4


def test_other_kinds_of_operations(tmp_path: Path) -> None:
    operations = [
        (4e-6, 0.2, 0.0, 0.2, READ),
        (0.0, -1.3, 1e-7, 0.2, PULSE),  # a pulse without a read
        (1.2e-5, 0.6, 0.0, 0.6, PULSE_READ),  # a step of a ramp, read at its own voltage
        (float("nan"), 0.2, 0.0, 0.2, READ),
        (1e-6, 0.0, 0.0, 0.0, READ),
    ]
    path = write_arc2(tmp_path / "x.h5", {(1, 2): operations}, shape=(4, 8))
    folder = import_one(path, tmp_path, set_polarity="negative")
    with open_run(folder) as run:
        assert layout.names_of(run.events["kind"], layout.EVENT_KINDS).tolist() == ["read", "set"] + ["read"] * 3
        assert run.events["conductance"][[0, 2]] == pytest.approx([2e-5, 2e-5])
        assert np.isnan(run.events["conductance"][[1, 3, 4]]).all()
        assert run.header.shape == (1, 4, 8)
    assert validate(folder) == []


def _no_group(file: h5py.File) -> None:
    del file["synthetics"]


def _later(file: h5py.File) -> None:
    file.attrs["H5DS_VERSION_MAJOR"] = 1


def _small(file: h5py.File) -> None:
    file["crossbar"].attrs["words"] = 3


def _rows(file: h5py.File) -> None:
    file["crosspoints/W03B05/timeseries"].attrs["NROWS"] = 1001


def _unknown(file: h5py.File) -> None:
    rows = file["crosspoints/W03B05/timeseries"][()]
    rows["op_type"][2] = 9
    file["crosspoints/W03B05/timeseries"][...] = rows


def _field(file: h5py.File) -> None:
    del file["crosspoints/W03B05/timeseries"]
    file["crosspoints/W03B05"].create_dataset("timeseries", data=np.zeros(3, [("current", "<f4")]))


def _empty(file: h5py.File) -> None:
    for name in list(file["crosspoints"]):
        del file["crosspoints"][name]


def _away(file: h5py.File) -> None:
    del file["crosspoints"]
    file["crosspoints"] = h5py.ExternalLink("/etc/passwd", "/")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_no_group, "its group /synthetics is missing"),
        (_later, "version 1.1 of ArC TWO's format, known is 0.x"),
        (_small, "has a cell W03B05, but its crossbar has 3 words"),
        (_rows, "says that it has 1001 rows, there are 1000"),
        (_unknown, "has an operation 9 in row 2"),
        (_field, "lacks the field voltage"),
        (_empty, "has no measurement"),
        (_away, "its group /crosspoints is missing"),
    ],
)
def test_an_odd_arc_two_file_is_told_and_leaves_nothing(
    arc2: Path, tmp_path: Path, ohmflow: Ohmflow, spoil: Callable[[h5py.File], None], said: str
) -> None:
    path = tmp_path / "odd.h5"
    path.write_bytes(arc2.read_bytes())
    with h5py.File(path, "r+") as file:
        spoil(file)
    code, out, err = ohmflow("import", path)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert sorted(item.name for item in tmp_path.iterdir() if item.name != "home") == ["odd.h5"]


def test_a_cut_off_arc_two_file_is_told(arc2: Path, tmp_path: Path, ohmflow: Ohmflow) -> None:
    content = arc2.read_bytes()
    for length in (0, 5, len(content) // 2):
        (tmp_path / "cut.h5").write_bytes(content[:length])
        code, _, err = ohmflow("import", "cut.h5")
        assert code == 2
        assert err.count("\n") == 1
        assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def iv_text() -> str:
    return easyexpert(cycles(3))


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_an_easyexpert_export_becomes_a_run(tmp_path: Path, iv_text: str) -> None:
    folder = import_one(write(tmp_path / "iv.csv", iv_text), tmp_path, run_id="iv", chip="7", cell=(4, 18))
    assert validate(folder) == []
    with open_run(folder) as run:
        assert run.header.started == "2026-06-24T09:14:25"
        assert run.header.shape == (1, 5, 19)
        assert len(run.events["time"]) == 6 * 62
        assert set(run.events["row"].tolist()) == {4}
        volts, amps = sweep(1.5, 8e-5)
        assert run.data("curves/m0/v1") == pytest.approx(volts, abs=1e-3)
        assert run.data("curves/m4/i1") == pytest.approx(amps, rel=1e-5)
        assert run.entry["data/curves/m0/i1"].attrs["units"] == "A"
        assert np.isnan(run.events["conductance"][0])  # at 0 V
        assert run.events["conductance"][60] == pytest.approx(8e-5, rel=1e-3)
        assert run.map("conductance_after")[4, 18] == pytest.approx(8e-6, rel=1e-3)
        measurements = run.header.parameters["about"]["measurements"]
        assert [one["title"] for one in measurements] == ["Set", "Reset"] * 3
        assert measurements[0]["settings"]["Channel.Func"] == ["VAR1", "CONST"]
        assert measurements[0]["roles"] == {"voltage": "V1", "current": "I1"}
        assert run.header.instruments[0].idn == "B1500A, EasyEXPERT"


def test_sweeps_in_turn_are_summed_up_as_an_iv_run(tmp_path: Path, iv_text: str, ohmflow: Ohmflow) -> None:
    write(tmp_path / "iv.csv", iv_text)
    code, out, err = ohmflow("import", "iv.csv", "--procedure", "iv", "--chip", "7", "--cell", "1,2", "-o", "curves")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].split() == ["run", "runs/curves"]
    with open_run(tmp_path / "runs" / "curves") as run:
        found = summarise_iv(run)
    assert found.cycles == 3
    assert found.cells[0].place == (1, 2)
    assert found.cells[0].on.value == pytest.approx(8e-5, rel=1e-2)
    assert found.cells[0].off.value == pytest.approx(8e-6, rel=1e-2)
    code, out, err = ohmflow("show", "curves")
    assert (code, err) == (0, "")
    assert "on/off 10.0" in out
    assert "imported from iv.csv" in out


def test_runs_of_imports_are_listed_shown_compared_and_exported(
    arc2: Path, tmp_path: Path, iv_text: str, ohmflow: Ohmflow
) -> None:
    write(tmp_path / "iv.csv", iv_text)
    assert ohmflow("import", arc2, "iv.csv", "--chip", "7")[0] == 0
    found = json.loads(ohmflow("runs", "--json")[1])
    assert {entry["procedure"] for entry in found} == {"import"}
    names = [entry["run_id"] for entry in found]
    assert names[0].startswith("20260624T091425-import-iv-")
    for name in names:
        code, out, err = ohmflow("show", name)
        assert (code, err) == (0, "")
        assert "imported.sha256" in out
    assert ohmflow("validate", *names)[0] == 0
    assert ohmflow("diff", *names)[0] == 0
    with open_run(tmp_path / "runs" / names[0]) as a, open_run(tmp_path / "runs" / names[1]) as b:
        assert difference(a, b).shapes == ((1, 1, 1), (1, 32, 32))
        assert len(export(a, tmp_path / "out")) == 7
    # The same file gives the same name: nothing is overwritten.
    code, _, err = ohmflow("import", "iv.csv")
    assert code == 2
    assert "is there already" in err


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("CRLF", easyexpert(cycles(1)).replace("\n", "\r\n").encode()),
        ("BOM", b"\xef\xbb\xbf" + easyexpert(cycles(1)).encode()),
        ("UTF-16", easyexpert(cycles(1)).encode("utf-16")),
        ("Latin-1", easyexpert(cycles(1), unit="µA").encode("latin-1")),
        ("semicolons, decimal comma", easyexpert(cycles(1), separator="; ", decimal=",").encode()),
        ("tabulators, decimal comma", easyexpert(cycles(1), separator="\t", decimal=",").encode()),
        ("commas and decimal comma", easyexpert(cycles(1), decimal=",").encode()),
        ("no blanks", easyexpert(cycles(1), separator=",").encode()),
        ("no dimension", easyexpert(cycles(1), dimension=False).encode()),
        ("blank lines", easyexpert(cycles(1)).replace("SetupTitle", "\n\nSetupTitle").encode()),
        ("no newline at the end", easyexpert(cycles(1)).rstrip().encode()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_dialect_says_the_same(tmp_path: Path, name: str, content: bytes) -> None:
    plain = read_foreign(write(tmp_path / "plain.csv", easyexpert(cycles(1))))
    other = read_foreign(write(tmp_path / "other.csv", content))
    assert np.array_equal([one.amplitude for one in other.steps], [one.amplitude for one in plain.steps])
    assert np.array_equal([one.current for one in other.steps], [one.current for one in plain.steps])
    assert other.title == plain.title == "Set"
    if name == "Latin-1":
        assert other.data["curves/m0/i1"].units == "µA"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (easyexpert(cycles(1))[:-6], "odd.csv ends within line 166: it may be cut off in the middle of a number"),
        (easyexpert(cycles(1))[:-14], "odd.csv ends within line 166"),
        (easyexpert(cycles(1))[:-16] + "\n", "has 1 values for 2 columns: the file is cut off or damaged"),
        ("\n".join(easyexpert(cycles(1)).splitlines()[:-9]), "ends before its data do: Reset from line 84 on has 53"),
        ("\n".join(easyexpert(cycles(1)).splitlines()[:18]), "settings but no measured point"),
        (easyexpert(cycles(1)).replace("DataName, V1, I1\n", ""), "line 21 of odd.csv has values, but no DataName"),
        (easyexpert(cycles(1)).replace("DataValue, 1.5,", "DataValue, 1.5V,"), "'1.5V' is no number"),
        (easyexpert(cycles(1)).replace("Dimension1, 62", "Dimension1, many"), "a dimension is a count of points"),
        (easyexpert(cycles(1), separator=",", decimal=","), "has decimal commas and no blanks between values"),
        (easyexpert(cycles(1)) + "Total, 62\n", "begins with 'Total', which no EasyEXPERT export has"),
        ("Setup title,Sweep\nClassic test name,\"I/V Sweep\"\n", "is an automatic export of EasyEXPERT"),
        ("V,I\n0,1\n", "is none of the formats that can be imported: ArC TWO HDF5, EasyEXPERT CSV"),
        ("", "is none of the formats"),
        (b"\x00\xff" * 300, "is none of the formats"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) or "\n" in value or not value else value[:30],
)  # fmt: skip
def test_an_odd_export_is_told_and_leaves_nothing(
    tmp_path: Path, ohmflow: Ohmflow, content: str | bytes, said: str
) -> None:
    write(tmp_path / "odd.csv", content)
    code, out, err = ohmflow("import", "odd.csv")
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert sorted(item.name for item in tmp_path.iterdir() if item.name != "home") == ["odd.csv"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (cycles(1)[:1], "there are 1 sweeps"),
        (cycles(1)[::-1], "sweep 1 (Reset) is not positive throughout"),
        ([*cycles(1), ("Set", *sweep(1.0, 8e-5)), ("Reset", *sweep(-1.4, 8e-6))], "sweep 3 (Set) has other voltages"),
        ([("Set", *sweep(1.5, 8e-5, 20)), ("Reset", *sweep(-1.4, 8e-6, 21))], "SET has 40 levels and RESET 42"),
    ],
)
def test_what_is_no_iv_run_is_not_made_one(tmp_path: Path, ohmflow: Ohmflow, changed: Any, said: str) -> None:
    write(tmp_path / "x.csv", easyexpert(changed))
    code, _, err = ohmflow("import", "x.csv", "--procedure", "iv")
    assert code == 2
    assert said in err
    assert not (tmp_path / "runs").exists()
    assert ohmflow("import", "x.csv")[0] == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--procedure", "program"], "an imported run is import, iv, or has a name"),
        (["--cell", "3"], "is no cell: write row,col"),
        (["--cell", "40000,1"], "row and column are 0 to 32766"),
        (["--set-polarity", "up"], "--set-polarity is positive or negative"),
        (["--world", "dream"], "--world real or simulated"),
        (["-o", "a/../b c"], "can't name a run"),
    ],
)
def test_senseless_options_are_told(
    tmp_path: Path, ohmflow: Ohmflow, iv_text: str, options: list[str], said: str
) -> None:
    write(tmp_path / "iv.csv", iv_text)
    code, _, err = ohmflow("import", "iv.csv", *options)
    assert code == 2
    assert said in err
    assert not (tmp_path / "runs").exists()


def test_a_missing_file_and_two_files_for_one_run(tmp_path: Path, ohmflow: Ohmflow, iv_text: str) -> None:
    write(tmp_path / "iv.csv", iv_text)
    assert "there is no file none.csv to import" in ohmflow("import", "none.csv")[2]
    assert "-o names one run, but 2 files are given" in ohmflow("import", "iv.csv", "iv.csv", "-o", "x")[2]


def test_a_disk_that_fails_leaves_nothing(tmp_path: Path, iv_text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("analysis.imports.writing.os.replace", full)
    with pytest.raises(AnalysisError, match="No space left"):
        import_one(write(tmp_path / "iv.csv", iv_text), tmp_path / "runs", run_id="x")
    assert list((tmp_path / "runs").iterdir()) == []


def test_an_old_run_is_migrated_by_its_command(tmp_path: Path, ohmflow: Ohmflow, iv_text: str) -> None:
    write(tmp_path / "iv.csv", iv_text)
    assert ohmflow("import", "iv.csv", "-o", "old")[0] == 0
    with h5py.File(tmp_path / "runs" / "old" / layout.FINAL, "r+") as file:
        file.attrs["format"] = 1
        del file["entry/checksums"]
    assert "is of layout version 1" in ohmflow("validate", "old")[1]
    assert "is of layout version 2 now" in ohmflow("migrate", "old")[1]
    assert "is up to date" in ohmflow("migrate", "old")[1]
    assert ohmflow("validate", "old")[1] == "old: valid\n"


SPLINTERS = (
    b"nan", b"1e400", b"9" * 30, b",", b";", b"\xff", b"\x00", b"\n", b'"', b"DataName,", b"Dimension1, 3\n",
    b"Dimension2, 0, 0\n", b"SetupTitle", b"DataName, V1, V1\n", b"TestParameter, Channel.Func\n",
    b"MetaData, TestRecord.RecordTime, 99/99/9999 1:1:1\n",
)  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "h5"])
def test_a_spoilt_file_is_told_in_one_line_or_read(arc2: Path, tmp_path: Path, iv_text: str, kind: str) -> None:
    content = iv_text.encode() if kind == "csv" else arc2.read_bytes()
    said = []
    for number in range(60):
        rng = np.random.default_rng([number, len(kind)])
        spoilt = bytearray(content)
        for place in rng.integers(len(spoilt) - 100, size=rng.integers(1, 5)).tolist():
            how = rng.integers(3)
            if how == 0:
                spoilt[place] = int(rng.integers(256))
            elif how == 1:
                del spoilt[place : place + int(rng.integers(1, 80))]
            else:
                spoilt[place:place] = SPLINTERS[rng.integers(len(SPLINTERS))] if kind == "csv" else b""
        path = write(tmp_path / f"spoilt.{kind}", bytes(spoilt))
        try:
            read_foreign(path)
        except AnalysisError as error:
            said.append(str(error))
    assert 0 < len(said) < 60
    assert all(text.count("\n") == 0 for text in said)
