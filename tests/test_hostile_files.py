"""Tapes, studies and other programs' files as a stranger might make them, and what a signal leaves behind."""

import json
import os
import signal
from pathlib import Path

import h5py
import numpy as np
import pytest

import sim_configs
from analysis.errors import AnalysisError
from analysis.imports import read_foreign
from analysis.page import page
from analysis.records import RunHeader, RunWriter, layout, open_run
from analysis.records.heaps import check_heaps
from analysis.sweeps.study import StudyError, load_study
from instruments.errors import ConfigError
from instruments.station import Station
from instruments.station_file import StationFile
from instruments.strict_yaml import parse_yaml
from instruments.tape import Tape
from instruments.tape_bench import write_bench
from workflows.console import StopOnSignal, ended_as_by_ctrl_c
from workflows.importing import import_one

HEAD = {"tape": 1, "visa": "@py", "world": "real", "started": "2031-01-05T09:00:00+00:00", "station": ""}
ASKED = {"t": 0, "d": 1, "at": "GPIB0::17::INSTR", "op": "write", "text": "*IDN?\r\n"}
LAB = sim_configs.path("station-lab.yaml").read_text(encoding="utf-8")


def taped(folder: Path, *lines: object, **head: str) -> Tape:
    path = folder / "tape.jsonl"
    said = [line if isinstance(line, str) else json.dumps(line) for line in ({**HEAD, **head}, *lines)]
    path.write_text("\n".join(said) + "\n", encoding="utf-8")
    return Tape.load(path)


# A tape opens nothing but itself


@pytest.mark.parametrize(
    "text",
    [
        LAB,
        json.dumps(parse_yaml(LAB.encode(), "lab")),
        LAB.replace("station:", "station:\n  confirm:\n    - >-\n      visa: decoy\n      world: decoy", 1),
        LAB.replace("  visa:", '  "visa":').replace("  world:", "  'world':"),
        LAB + "\ntwin: {name: x}\n",
    ],
    ids=["plain", "in one line", "with decoys", "quoted keys", "with a twin"],
)
def test_a_taped_station_is_never_the_real_one(tmp_path: Path, text: str) -> None:
    write_bench(taped(tmp_path, ASKED, station=text), tmp_path / "bench")
    station = StationFile.load(str(tmp_path / "bench" / "station.yaml"))
    assert (station.world, station.visa, station.twin) == ("simulated", "bench.yaml@twin", {})
    assert station.instruments == StationFile.load("station-lab.yaml").instruments


@pytest.mark.parametrize("text", ["[1, 2]", "station: 3", "a: *b", "x: ["])
def test_a_tape_whose_station_is_none_makes_no_bench(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="station file on tape"):
        write_bench(taped(tmp_path, ASKED, station=text), tmp_path / "bench")
    assert not (tmp_path / "bench").exists()


def test_a_tape_puts_nothing_into_the_bench_file_by_its_names(tmp_path: Path) -> None:
    odd = {**ASKED, "at": "TCPIP0::a: {b}\n  x: &a::inst0::INSTR"}
    bench = write_bench(taped(tmp_path, odd, started="2031\ndevices: {}\n\x00#"), tmp_path / "bench")
    said = parse_yaml(bench.read_bytes(), "bench")
    assert list(said) == ["spec", "devices", "resources"]
    assert list(said["resources"]) == [odd["at"]]


@pytest.mark.parametrize(
    "line",
    [
        [1], "5", {**ASKED, "text": 5}, {**ASKED, "t": float("inf")}, "[" * 100_000, {**ASKED, "d": 10**30},
        {**ASKED, "op": "stb", "value": "many"}, {**ASKED, "op": "stb", "value": {"a": 1}},
    ],
    ids=lambda line: str(line)[:30],
)  # fmt: skip
def test_an_odd_line_of_a_tape_is_named(tmp_path: Path, line: object) -> None:
    with pytest.raises(ConfigError, match="line 2 is not an event"):
        taped(tmp_path, line)


@pytest.mark.parametrize("name", ["", "nowhere", "foo\nbar: baz"])
def test_a_tape_of_no_resource_makes_no_bench(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is no VISA resource name"):
        write_bench(taped(tmp_path, {**ASKED, "at": name}), tmp_path / "bench")


# Studies


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &a [x, x]\nname: [*a, *a]\n", "aliases"),
        ("name: !!python/object/apply:os.system ['true']\n", "tags"),
        ("[" * 50_000, "more lists"),
        ("#" * (1 << 20) + "x", "larger than 1 MiB"),
        ("name: 2031-99-99\n", "cannot be read as a study"),
        (
            "name: x\nmetrics: [kl_2d]\nmodel: quick\nseeds: {least: 4, most: 1000}\naxes:\n"
            f"  write_noise: {[k / 1000 for k in range(1000)]}\n  read_noise: [0, 0.01]\n",
            "more than 1000000 measurements",
        ),
    ],
    ids=["aliases", "tags", "deep", "large", "odd date", "grid"],
)
def test_a_study_stands_for_no_more_than_it_shows(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StudyError, match=words):
        load_study(path)


# Other programs' files

_STEPS = np.dtype([(n, "f4") for n in ("current", "voltage", "pulse_width", "read_voltage")] + [("op_type", "i1")])


def arc2(path: Path) -> h5py.File:
    file = h5py.File(path, "w")
    file.attrs["H5DS_VERSION_MAJOR"], file.attrs["H5DS_VERSION_MINOR"] = 0, 1
    for name in ("crosspoints", "synthetics"):
        file.create_group(name)
    file.create_group("crossbar").attrs.update(words=32, bits=32)
    return file


def test_a_few_kilobytes_of_arc2_do_not_fill_the_memory(tmp_path: Path) -> None:
    with arc2(tmp_path / "steps.h5") as file:
        shape = (6_000_000,)
        file.create_dataset("crosspoints/W01B01/timeseries", shape, _STEPS, chunks=(1 << 20,), compression="gzip")
    with arc2(tmp_path / "tables.h5") as file:
        for k in range(5):
            file.create_dataset(f"synthetics/t{k}", (1 << 25,), "f8", chunks=(1 << 20,))
    for name, words in (("steps", "more than 5000000 operations"), ("tables", "more than 1024 MiB")):
        assert (tmp_path / f"{name}.h5").stat().st_size < 4 << 20
        with pytest.raises(AnalysisError, match=words):
            read_foreign(tmp_path / f"{name}.h5")


def test_a_cell_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    with arc2(tmp_path / "x.h5") as file:
        file["crosspoints/W01B01"] = h5py.ExternalLink("other.h5", "/")
    with pytest.raises(AnalysisError, match="leads elsewhere"):
        read_foreign(tmp_path / "x.h5")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("SetupTitle,x\nDimension1," + "9" * 5000 + "\nDataName,V,I\nDataValue,1,1\n", "count of points"),
        ("SetupTitle,x\n" + "Dimension1,999999999\n" * 9 + "DataName,V,I\nDataValue,1,1\n", "two dimensions"),
        ("SetupTitle,x\n" + "DataName,V,I\nDataValue,1,1\n" * 2501, "more than 5000 columns"),
    ],
    ids=["digits", "dimensions", "columns"],
)
def test_an_odd_csv_file_is_told_of(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(AnalysisError, match=words):
        read_foreign(path)


def test_a_file_whose_name_is_no_text_can_be_imported(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff\x1b[31m.csv")
    try:
        path.write_text("SetupTitle,x\nDataName,V,I\nDataValue,1,1e-6\n", encoding="utf-8")
    except OSError:
        pytest.skip("this disk takes no such name")
    with open_run(import_one(path, tmp_path / "runs")) as run:
        assert run.header.parameters["imported"]["file"] == "\\udcff\x1b[31m.csv"


# Damage that HDF5 would never get past


def test_zeros_among_a_files_texts_are_found_before_hdf5_reads_them(tmp_path: Path) -> None:
    header = RunHeader("program", "simulated", "r", "2031-05-07T21:00:00+00:00", rows=2, cols=2)
    with RunWriter.create(tmp_path / "r", header, now=lambda: 0.0, durable=False) as run:
        run.note("a note")
    path = tmp_path / "r" / layout.FINAL
    check_heaps(path)
    content = bytearray(path.read_bytes())
    place = content.find(b"GCOL\x01\0\0\0")
    content[place + 200 : place + 264] = bytes(64)
    path.write_bytes(content)
    with pytest.raises(AnalysisError, match="its texts at byte"):
        open_run(tmp_path / "r")


def test_a_page_runs_nothing() -> None:
    made = page("t", ["<script>alert(1)</script>"])
    policy = made.split('http-equiv=Content-Security-Policy content="')[1].split('"')[0]
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert made.index("Content-Security-Policy") < made.index("<style>")


# Signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_is_driven_when_a_signal_ends_a_block_is_made_safe(tmp_path: Path, number: int) -> None:
    before = signal.getsignal(number)
    file = StationFile.load("station-twin.yaml")
    smu = file.lines["bit_line"].smu
    station = Station.open(file, dir=None)
    fixture = station.bench.fixture

    def driven() -> None:
        with ended_as_by_ctrl_c(), station:
            station.analyzer.force_voltage(smu, 0.2, 1e-4)
            assert fixture.voltage(smu) == pytest.approx(0.2)
            os.kill(os.getpid(), number)

    with pytest.raises(KeyboardInterrupt):
        driven()
    assert fixture.voltage(smu) == 0
    assert smu not in fixture.sources
    assert signal.getsignal(number) is before


def test_a_closed_terminal_stops_a_run_in_order_unless_it_is_to_mean_nothing() -> None:
    with StopOnSignal().listening() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopOnSignal().listening() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop()
    finally:
        signal.signal(signal.SIGHUP, before)
