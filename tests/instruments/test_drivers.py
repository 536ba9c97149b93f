"""Drivers that plug in: found by entry points, chosen by station files, written from the how-to."""

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from instruments import drivers
from instruments.conformance import check_station
from instruments.errors import ConfigError, LimitError
from instruments.gates import Rule, RuleGate, Watch, guard
from instruments.limits import Limits
from instruments.roles import METHODS, ROLES
from instruments.station import Station
from instruments.station_file import StationFile
from workflows.cli import app
from workflows.driver_template import write_package
from workflows.errors import RequestError

PAIR = StationFile.load("station-smu-pair.yaml")
HOW_TO = Path(drivers.__file__).with_name("drivers.md")
NUMBER = r"[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?"


def plug_in(folder: Path, name: str, value: str, code: str = "", distribution: str = "acme-drivers") -> None:
    """A distribution as pip leaves it: a module, metadata, an entry point."""
    info = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[ohmflow.drivers]\n{name} = {value}\n")
    if code:
        (folder / f"{value.split(':')[0]}.py").write_text(code)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that packages are installed into."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def analyzer(name: str) -> StationFile:
    return replace(
        PAIR, instruments={**PAIR.instruments, "analyzer": replace(PAIR.instruments["analyzer"], driver=name)}
    )


# The registry


def test_ours_are_registered_like_anybody_s() -> None:
    found = {one.name: one for one in drivers.everything() if isinstance(one, drivers.Registered) and one.own}
    assert set(found) == {
        "b1500a", "board", "infiniivision", "tektronix_mso", "keithley-2600-pair", "keysight-b2200",
    }  # fmt: skip
    assert {one.driver.role for one in found.values()} == set(ROLES)
    assert all(one.driver.about for one in found.values())
    assert all(len(METHODS[role]) >= 6 for role in ROLES)


def test_a_driver_of_somebody_s_package_is_found_by_its_name(installed: Path) -> None:
    code = "from instruments.builtin_drivers import KEITHLEY_2600_PAIR as DRIVER\n"
    plug_in(installed, "acme-1", "acme_one:DRIVER", code)
    found = drivers.find("acme-1", "analyzer")
    assert (found.distribution, found.own, found.driver.role) == ("acme-drivers", False, "analyzer")
    with Station.open(analyzer("acme-1")) as station:
        station.array.prepare()
        station.array.select(0, 1, 2)
        assert station.array.read().conductance == pytest.approx(station.bench.true_conductance()[0, 1, 2], rel=0.02)
        assert station.identities[0].driver == "acme-1"


def test_an_unknown_driver_is_told_with_those_there_are(installed: Path) -> None:
    plug_in(
        installed, "acme-1", "acme_two:DRIVER", "from instruments.builtin_drivers import KEITHLEY_2600_PAIR as DRIVER"
    )
    with pytest.raises(
        ConfigError, match=r"^instruments\.analyzer: driver 'b15' is unknown; known: acme-1, b1500a, keith"
    ):
        Station.open(analyzer("b15"))


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("DRIVER = 5", "is no instruments.drivers.Driver"),
        ("import nothing_of_that_name", "can't be loaded: ModuleNotFoundError"),
        ("raise RuntimeError('a long\\nstory')", "can't be loaded: RuntimeError: a long story"),
        ("", "can't be loaded: ModuleNotFoundError"),
    ],
)
def test_one_that_can_t_be_loaded_spoils_nothing_but_itself(installed: Path, code: str, why: str) -> None:
    plug_in(installed, "acme-bad", "acme_bad:DRIVER", code)
    with pytest.raises(ConfigError) as caught:
        drivers.find("acme-bad")
    assert why in str(caught.value)
    assert drivers.find("b1500a").own
    listed = CliRunner().invoke(app, ["driver", "list", "--json"])
    told = json.loads(listed.output)
    assert any(why in problem for problem in told["problems"])
    assert "keysight-b2200" in [one["name"] for one in told["drivers"]]


def test_nobody_takes_our_names_and_two_of_one_name_are_refused(installed: Path) -> None:
    plug_in(installed, "b1500a", "acme_three:DRIVER", "raise SystemExit('never imported')", "thief")
    assert drivers.find("b1500a").own
    code = "from instruments.builtin_drivers import KEITHLEY_2600_PAIR as DRIVER\n"
    plug_in(installed, "twice", "acme_four:DRIVER", code, "one")
    plug_in(installed, "twice", "acme_four:DRIVER", "", "two")
    with pytest.raises(
        ConfigError, match=r"driver 'twice' is offered by (one and two|two and one); remove one of them"
    ):
        drivers.find("twice")


@pytest.mark.parametrize("name", ["os:system", "instruments.builtin_drivers:B1500A_DRIVER", "tests/x:Y", "a:b:c", ":x"])
def test_a_station_file_may_not_name_code(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OHMFLOW_HANDLERS", "tests")
    with pytest.raises(ConfigError, match="names code, which a station file may not"):
        drivers.find(name)


def test_somebody_else_s_driver_gets_no_connection_without_a_gate() -> None:
    trusted = drivers.find("tests.instruments.broken_drivers:LYING_TABLE")
    with Station.open(PAIR) as station:
        opening = replace(station.openings["analyzer"], registered=trusted)
        with pytest.raises(LimitError, match=r"only link\(\) gives connections"):
            opening.raw()
        with pytest.raises(ConfigError, match=r"names no VISA resource 'GPIB0::5::INSTR'"):
            opening.link("GPIB0::5::INSTR")


# The gate


def gate(*rules: Rule, channels: dict[str, str] | None = None) -> RuleGate:
    return RuleGate("ACME", rules, Limits(), {"1": "bit_line", "2": "word_line"} if channels is None else channels)


SOURCE = Rule(rf":SOUR(?P<channel>[0-9]):VOLT (?P<volts>{NUMBER})")


@pytest.mark.parametrize(
    ("message", "fine"),
    [
        (":SOUR1:VOLT 3.5", True),
        (":SOUR1:VOLT 3.51", False),
        (":SOUR1:VOLT -0.6", False),
        (":SOUR2:VOLT 3.9;:SOUR1:VOLT 0.1", True),
        (":SOUR2:VOLT 0.1;:SOUR1:VOLT 9", False),
        (":SOUR2:VOLT 0.1\n:SOUR1:VOLT 9", False),
        (":SOUR1:VOLT 0.1 :SOUR1:VOLT 9", False),
        (":SOUR1:VOLT MAX", False),
        (":SOUR1:VOLT nan", False),
        (":SOUR3:VOLT 0", True),
        (":SOUR3:VOLT 0.1", False),
        (":sour1:volt 1", True),
        (":SOUR1:CURR 1e-6", False),
        ("*RST", False),
        (":SOUR1:VOLT 1\u00b2", False),
        (":SOUR1:VOLT 1..2", False),
        ("", True),
    ],
)
def test_what_a_rule_says_drives_passes_the_limits_and_what_no_rule_knows_does_not(message: str, fine: bool) -> None:
    one = gate(SOURCE)
    if fine:
        one(message)
    else:
        with pytest.raises(LimitError):
            one(message)


def test_reach_counts_both_ways_and_widths_and_currents_have_limits() -> None:
    rules = (Rule(rf"LIMV(?P<channel>[12]) (?P<reach>{NUMBER})"), Rule(rf"W (?P<seconds>{NUMBER}),(?P<amps>{NUMBER})"))
    gate(*rules)("LIMV1 0.5")
    gate(*rules)("W 1e-3,-1e-3")
    for message in ("LIMV1 0.6", "LIMV2 0.1", "W 1,1e-3", "W 1e-3,2e-3"):
        with pytest.raises(LimitError):
            gate(*rules)(message)


@pytest.mark.parametrize("rule", [Rule("("), Rule("(?P<watts>1)"), Rule("x", line="ceiling")])
def test_a_table_that_makes_no_sense_is_refused_when_it_is_loaded(rule: Rule) -> None:
    with pytest.raises(ConfigError, match="rule"):
        gate(rule)


def test_a_matrix_gate_keeps_account_of_what_is_closed() -> None:
    rules = (
        Rule(r"CLOS \(@(?P<paths>[0-9,]+)\)"),
        Rule(r"OPEN \(@(?P<paths>[0-9,]+)\)", opens=True),
        Rule(r"OPEN:ALL", opens=True),
    )
    one = gate(*rules)
    one("CLOS (@00101,00202)")
    with pytest.raises(LimitError, match="inputs 1 and 3 would meet at output 1, two sources on one line"):
        one("CLOS (@00301)")
    one("CLOS (@00105)")
    one("OPEN (@00101);CLOS (@00301)")
    with pytest.raises(LimitError, match="no crosspoint in it can be read"):
        one("CLOS (@1,2)")
    one("OPEN:ALL")
    assert one.closed == set()


def test_every_byte_of_a_guarded_resource_passes_whoever_writes_it() -> None:
    with Station.open(PAIR) as station:
        opening = station.openings["analyzer"]
        manager: Any = opening.manager
        watch = Watch()
        watch.passed = []
        resource = guard(manager.open_resource("GPIB0::26::INSTR"), gate(Rule(r"\*IDN\?")), watch)
        resource.read_termination = resource.write_termination = "\n"
        assert resource.query("*IDN?").startswith("Keithley")
        assert watch.passed == [b"*IDN?\n"]
        for write in (
            lambda: resource.write("smua.source.levelv=1"),
            lambda: resource.write_raw(b"smua.source.levelv=1\n"),
            lambda: resource.write_ascii_values("smua.source.levelv=", [1.0]),
            lambda: resource.write_binary_values("*IDN?", [1, 2], datatype="b"),
            lambda: resource.query("print(smua.source.levelv)"),
        ):
            with pytest.raises(LimitError):
                write()
        resource.close()
        resource.open()  # a connection that was lost and opened again
        with pytest.raises(LimitError):
            resource.write("smua.source.output=1")
        assert len(watch.passed) == 1


# Stations


def test_a_station_without_a_computing_board_says_what_it_can_t() -> None:
    matrix = StationFile.load("station-matrix.yaml")
    with Station.open(matrix) as station:
        with pytest.raises(
            ConfigError, match="it has no board that computes, so it can program cells and read them only"
        ):
            _ = station.board
        with pytest.raises(ConfigError, match="whole columns need a B1500A and a board with a column mode"):
            _ = station.columns


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda t: t.replace("matrix:", "lamp:"), "instruments: no board; name its driver"),
        (lambda t: t.replace("sacrificial: [0, 7, 7]", "sacrificial: [0, 8, 0]"), "array.sacrificial: .* is no cell"),
        (lambda t: t.replace("sacrificial: [0, 7, 7]", "sacrificial: here"), "array.sacrificial: 'here' is no cell"),
        (lambda t: t.replace("source_line: 9,", "source_line: 8,"), "lines overlap"),
        (lambda t: t.replace("word_line: 2,", "word_line: 1,"), "each source needs an input of its own"),
        (
            lambda t: t.replace("inputs: {bit_line: 1, ", "inputs: {"),
            "options.inputs: give a number for each of bit_line",
        ),
        (lambda t: t.replace("arrays: 1", "arrays: 2"), "a matrix selects cells of one array, not of 2"),
        (
            lambda t: t.replace("options:\n      inputs", "options:\n      wires"),
            "unknown option 'wires'; known: inputs",
        ),
    ],
)
def test_a_matrix_station_s_mistakes_are_sentences(tmp_path: Path, change: Any, why: str) -> None:
    path = tmp_path / "station.yaml"
    path.write_text(change(StationFile.load("station-matrix.yaml").text))
    with pytest.raises(ConfigError, match=why):
        Station.open(StationFile.load(path))


def test_both_instruments_of_a_pair_are_locked_for_a_run() -> None:
    from workflows.locking import instrument_keys

    real = replace(PAIR, world="real")
    names = [key.name for key in instrument_keys(real, host="here")]
    assert sum("GPIB0" in name.upper() for name in names) == 2


# From the how-to to a driver that is installed


def blocks() -> tuple[str, str]:
    panel, driver = re.findall(r"```python\n(.*?)```", HOW_TO.read_text(), re.DOTALL)
    return panel, driver


def test_a_driver_written_from_the_how_to_and_installed_by_pip_passes(
    tmp_path: Path, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written elsewhere, filled in with what the how-to says, installed by pip, found by its entry point, checked."""
    folder = tmp_path / "somewhere" / "acme"
    made = CliRunner().invoke(app, ["driver", "new", "acme-100", str(folder)])
    assert made.exit_code == 0
    package = folder / "ohmflow_acme_100"
    (package / "panel.py").write_text(blocks()[0])
    (package / "driver.py").write_text(blocks()[1])
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index",
            "--disable-pip-version-check", "--target", str(installed), str(folder),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    importlib.invalidate_caches()
    monkeypatch.setenv("OHMFLOW_HANDLERS", "ohmflow_acme_100")
    assert drivers.find("acme-100").distribution == "ohmflow-acme-100"
    file = StationFile.load(installed / "ohmflow_acme_100" / "station.yaml")
    results = check_station(file, roles=("analyzer",))
    assert [one for one in results if one.verdict != "passed"] == []
    assert len(results) == 28


@pytest.mark.parametrize("role", ROLES)
def test_a_template_is_python_with_every_method_and_says_what_is_missing(
    tmp_path: Path, installed: Path, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write_package(f"acme-{role}", tmp_path / "new", role)
    assert {path.name for path in written} >= {"pyproject.toml", "driver.py", "station.yaml", "test_conformance.py"}
    monkeypatch.syspath_prepend(str(tmp_path / "new"))
    module = importlib.import_module(f"ohmflow_acme_{role}.driver")
    assert module.DRIVER.role == role
    assert all(callable(getattr(module.Instrument, method)) for method in METHODS[module.DRIVER.role])
    compile((tmp_path / "new" / "tests" / "test_conformance.py").read_text(), "test", "exec")
    monkeypatch.setenv("OHMFLOW_HANDLERS", f"ohmflow_acme_{role}")
    text = (tmp_path / "new" / f"ohmflow_acme_{role}" / "station.yaml").read_text()
    station = tmp_path / "new" / f"ohmflow_acme_{role}" / "mine.yaml"
    station.write_text(text.replace(f"driver: acme-{role}", f'driver: "ohmflow_acme_{role}.driver:DRIVER"'))
    with pytest.raises(Exception, match=rf"acme-{role}: [a-z_]+\(\) is to be written"):
        Station.open(StationFile.load(station))


@pytest.mark.parametrize(
    ("name", "role", "why"),
    [
        ("Acme", "analyzer", "small letters and digits"),
        ("b1500a", "analyzer", "there is a driver 'b1500a' already"),
        ("acme", "lamp", "role 'lamp' is none of analyzer, oscilloscope, board, matrix"),
        ("../acme", "analyzer", "small letters and digits"),
    ],
)
def test_a_template_that_can_t_be_is_refused(tmp_path: Path, name: str, role: str, why: str) -> None:
    with pytest.raises(RequestError, match=why):
        write_package(name, tmp_path / "new", role)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(RequestError, match="is not an empty folder; nothing was written"):
        write_package("acme", tmp_path, "analyzer")
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]
