"""The conformance suite: our drivers pass it, and every defect is found by the check that is named for it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from instruments.conformance import CHECKS, Result, check_station
from instruments.errors import ConfigError, LimitError
from instruments.station import Station
from instruments.station_file import StationFile
from workflows.cli import app

PAIR, MATRIX = StationFile.load("station-smu-pair.yaml"), StationFile.load("station-matrix.yaml")
TWIN = StationFile.load("station-twin.yaml")
HERE = "tests.instruments.broken_drivers"


def with_driver(file: StationFile, role: str, name: str) -> StationFile:
    entry = replace(file.instruments[role], driver=f"{HERE}:{name}")
    return replace(file, instruments={**file.instruments, role: entry})


def check(file: StationFile, role: str, *names: str) -> list[Result]:
    return check_station(file, roles=(role,), only=names)


# Ours


@pytest.mark.parametrize(
    ("file", "role", "made"),
    [(PAIR, "analyzer", 28), (MATRIX, "matrix", 16), (PAIR, "board", 15), (TWIN, "oscilloscope", 17)],
)
def test_our_drivers_pass(file: StationFile, role: str, made: int) -> None:
    results = check_station(file, roles=(role,))
    assert [one for one in results if one.verdict == "failed"] == []
    assert len(results) == made
    assert sum(one.verdict == "passed" for one in results) >= made - 5


def test_the_analyzer_passes_what_is_about_the_wires() -> None:
    names = [c.name for c in CHECKS if c.name.startswith(("units", "pulse", "limits", "safe.after", "link.stale"))]
    results = check(TWIN, "analyzer", *names, "limits.held")
    assert {one.verdict for one in results} == {"passed"}
    assert len(results) == len(names) + 1


# Defects


@pytest.mark.parametrize(
    ("defect", "name", "why"),
    [
        ("MILLIVOLTS", "units.volts", "0.15 V was asked for and 0.00015 V stands on the line"),
        ("TWICE", "units.amps", "A flow and it reads"),
        ("DEAF", "errors.reported", "raised nothing, InstrumentError was due"),
        ("DEAF", "errors.raised", "raised nothing, InstrumentError was due"),
        ("FORGETFUL", "safe.after-failure", "safe() left"),
        ("NO_SAFE_STATE", "safe.outputs", "after safe() there is"),
        ("NO_SAFE_STATE", "safe.after-failure", "safe() left"),
        ("NO_SAFE_STATE", "safe.dead-line", "says that all went well"),
        ("HOST_TIMED", "pulse.ends", "between two messages 1 V stand on the line"),
        ("IMPATIENT", "pulse.in-doubt", "the first reply was lost, one pulse was asked for and 2 reached the cell"),
        ("NEVER_MENDS", "link.stale-reading", "the old reply is still there"),
        ("OPTIMIST", "link.silent-reading", "raised nothing, LinkError was due"),
        ("OPTIMIST", "link.garbled-reading", "raised nothing, LinkError was due"),
        ("TRUSTING", "identity.of-another", "raised nothing, InstrumentError was due"),
        ("ODD_ERRORS", "link.silent-reading", "raised RuntimeError"),
        ("DOUBLED", "pulse.as-asked", "0.001 s were asked for, 0.002"),
        ("AROUND_THE_GATE", "gate.alone", "reached the instrument and not the gate"),
        ("AROUND_THE_GATE", "limits.refused", "outside its limits,: raised nothing"),
        ("LYING_TABLE", "limits.refused", "outside its limits,: raised nothing"),
        ("LYING_TABLE", "limits.pulse-refused", "raised nothing, LimitError was due"),
        ("WRONG_WIRES", "units.volts", "not wired to the array"),
    ],
)
def test_a_broken_analyzer_is_found_by_name(defect: str, name: str, why: str) -> None:
    (found,) = check(with_driver(PAIR, "analyzer", defect), "analyzer", name)
    assert (found.check, found.verdict) == (name, "failed")
    assert why in found.why


@pytest.mark.parametrize(
    ("defect", "name", "why"),
    [
        ("TRANSPOSED", "scope.axes", "(channels, samples) are (2, n)"),
        ("CROSSED", "scope.volts", "V off in the middle"),
        ("MILLISECONDS", "scope.times", "s after the trigger"),
    ],
)
def test_a_broken_oscilloscope_is_found_by_name(defect: str, name: str, why: str) -> None:
    (found,) = check(with_driver(TWIN, "oscilloscope", defect), "oscilloscope", name)
    assert (found.verdict, why in found.why) == ("failed", True), found.why


@pytest.mark.parametrize("defect", ["SHORTING", "SHORTING_HONESTLY"])
def test_two_sources_never_meet(defect: str) -> None:
    """A table that hides what it closes is found; an honest one has the gate refuse what the driver would not."""
    (found,) = check(with_driver(MATRIX, "matrix", defect), "matrix", "matrix.no-short")
    assert found.verdict == {"SHORTING": "failed", "SHORTING_HONESTLY": "passed"}[defect]


def test_what_leaves_the_limits_is_told_whatever_the_checks_came_to() -> None:
    lying = with_driver(PAIR, "analyzer", "LYING_TABLE")
    found = check(lying, "analyzer", "limits.refused", "limits.held")
    assert [(one.check, one.verdict) for one in found] == [("limits.refused", "failed"), ("limits.held", "failed")]
    assert "4 V on channel 1 (bit_line)" in found[1].why


# What a station makes of them


@pytest.mark.parametrize("defect", ["AROUND_THE_GATE", "LYING_TABLE"])
def test_what_is_asked_of_a_plug_in_passes_the_limits_before_it_hears_of_it(defect: str) -> None:
    with Station.open(with_driver(PAIR, "analyzer", defect)) as station:
        for ask in (
            lambda: station.analyzer.force_voltage(1, 3.6, 1e-4),
            lambda: station.analyzer.force_voltage(1, 0.1, 2e-3),
            lambda: station.analyzer.force_voltage(4, 0.1, 1e-4),
            lambda: station.analyzer.pulse_setup(3, base=0.0, peak=2.6, width=1e-3, edge=2e-8, load=1e6),
            lambda: station.analyzer.pulse_setup(1, base=0.0, peak=1.0, width=1e-6, edge=2e-8, load=1e6),
        ):
            with pytest.raises(LimitError):
                ask()
        assert [station.bench.fixture.voltage(channel) for channel in (1, 2, 3, 4)] == [0.0] * 4


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("NO_TABLE", "it has no rules, so what it sends can't be held against the limits"),
        ("NOT_A_DRIVER", "is no instruments.drivers.Driver"),
        ("WRONG_ROLE", "role 'lamp' is none of analyzer"),
        ("WRONG_CAPABILITY", "capability 'flies' means nothing for role analyzer"),
        ("BAD_RULE", "unterminated subpattern"),
        ("HALF", "it lacks check_errors, connect_selector"),
        ("NOTHING", "has no attribute 'NOTHING'"),
        ("SHORTING", "is for role matrix, not analyzer"),
    ],
)
def test_what_is_no_driver_is_refused_in_a_sentence(name: str, why: str) -> None:
    with pytest.raises(ConfigError, match=r"\w") as caught:
        Station.open(with_driver(PAIR, "analyzer", name))
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_oscilloscope_may_drive_nothing() -> None:
    with Station.open(with_driver(TWIN, "oscilloscope", "GENERATOR")) as station:
        driver: Any = station.scopes["oscilloscope"]
        for message in (
            ":WGEN:OUTPut 1",
            ":CHANnel1:DISPlay 1;:WGEN:VOLT 3",
            "OUTP1 ON",
            ":SOURce1:VOLTage 2",
            ":CALibrate:STARt",
        ):
            with pytest.raises(LimitError, match="could make it drive something"):
                driver._link.write(message)
        driver._link.write(":WAVeform:SOURce CHANnel1;:TRIGger:EDGE:SOURce EXTernal")


# The command


def run(*words: str, **more: Any) -> Any:
    return CliRunner().invoke(app, ["driver", *words], **more)


def test_the_command_prints_a_table_and_ends_with_2_on_failure(tmp_path: Path) -> None:
    fine = run("check", "station-matrix.yaml", "--role", "matrix", "--only", "matrix.closes", "--only", "safe.opens")
    assert fine.exit_code == 0
    assert "2 passed, 0 failed, 0 skipped" in fine.output
    broken = tmp_path / "broken.yaml"
    broken.write_text(PAIR.text.replace("keithley-2600-pair", f'"{HERE}:MILLIVOLTS"'))
    bad = run("check", str(broken), "--json", "--role", "analyzer", "--only", "units.volts", "--only", "identity")
    told = json.loads(bad.output)
    assert bad.exit_code == 2
    assert (told["passed"], told["failed"], told["world"]) == (1, 1, "simulated")
    assert [one["check"] for one in told["results"] if one["verdict"] == "failed"] == ["units.volts"]


def test_names_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"there is no check 'units\.furlongs'; there are board\.geometry"):
        check(PAIR, "analyzer", "units.furlongs")
    with pytest.raises(ConfigError, match="it has no 'lamp' to check; it has analyzer, board"):
        check_station(PAIR, roles=("lamp",))


# Real instruments: here, a bench that looks like one to the suite


def real(monkeypatch: pytest.MonkeyPatch, sacrificial: bool) -> StationFile:
    """The pair's station as if it were real: the suite may not touch its wires."""
    file = replace(PAIR, world="real", sacrificial=(0, 7, 7) if sacrificial else None)
    monkeypatch.setattr(Station, "bench", None)
    return file


def test_a_real_instrument_is_only_read(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    file = real(monkeypatch, sacrificial=True)
    from instruments.smu_pair import _Box

    ask = _Box.ask
    monkeypatch.setattr(_Box, "ask", lambda box, message: heard.append(message) or ask(box, message))
    results = check_station(file, roles=("analyzer",))
    made = {one.check for one in results if one.verdict != "skipped"}
    assert made == {"methods", "identity", "errors.queue", "settings.read-back", "safe.twice"}
    assert {one.verdict for one in results} == {"passed", "skipped"}
    assert any("only with --drive" in one.why for one in results)
    sent = {part for message in heard for part in message.split(";")}
    assert not any("levelv=" in part and not part.endswith("levelv=0") for part in sent)
    assert not any("output=1" in part for part in sent)


def test_the_sacrificial_cell_alone_is_driven_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    first = Station.__init__

    def keep(self: Any, file: StationFile, manager: Any, served: Any) -> None:
        opened.append(manager.visalib.bench)
        first(self, file, manager, served)

    monkeypatch.setattr(Station, "__init__", keep)
    file = real(monkeypatch, sacrificial=True)
    results = check_station(file, roles=("analyzer",), drive=True)
    verdicts = {one.check: one.verdict for one in results}
    assert (verdicts["drive.read"], verdicts["drive.pulse"]) == ("passed", "passed")
    table = opened[0].ledger.table()
    assert {(int(d["array"]), int(d["row"]), int(d["col"])) for d in table} == {(0, 7, 7)}
    assert max(abs(table["volts"])) <= 0.4 + 1e-9
    without = check_station(real(monkeypatch, sacrificial=False), roles=("analyzer",), drive=True)
    assert {one.verdict for one in without if one.check.startswith("drive")} == {"skipped"}


def test_driving_a_real_cell_needs_a_cell_and_a_person(tmp_path: Path) -> None:
    lab = tmp_path / "lab.yaml"
    text = StationFile.load("station-lab.yaml").text
    lab.write_text(text)
    assert "name one that may be lost in the station file" in str(run("check", str(lab), "--drive").exception)
    lab.write_text(text.replace("chip: lot7-die12", "chip: lot7, sacrificial: [0, 31, 31]"))
    assert "there is nobody to ask" in str(run("check", str(lab), "--drive").exception)
