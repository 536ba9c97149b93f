"""Station files: what they say is read exactly; whatever is wrong with one gets one sentence that names it."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import sim_configs
from instruments.errors import ConfigError
from instruments.limits import Limits, Range
from instruments.station_file import InstrumentEntry, Line, ReadSettings, StationFile

PACKAGED = yaml.safe_load(sim_configs.path("station-twin.yaml").read_text())


def write(folder: Path, data: Any) -> Path:
    path = folder / "bench 7.yaml"
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data))
    return path


def changed(place: str, value: Any) -> dict[str, Any]:
    """The packaged station with the value at a dotted place replaced (or, if it is `KeyError`, removed)."""
    data = copy.deepcopy(PACKAGED)
    *way, last = place.split(".")
    section = data
    for name in way:
        section = section.setdefault(name, {})
    if value is KeyError:
        del section[last]
    else:
        section[last] = value
    return data


# What a station file says


def test_the_packaged_twin() -> None:
    file = StationFile.load("station-twin.yaml")
    assert (file.name, file.world, file.simulated, file.visa) == (
        "rram-twin",
        "simulated",
        True,
        "bench-rram32.yaml@twin",
    )
    assert file.instruments["board"] == InstrumentEntry("board", "board", "ASRL1::INSTR", 5.0, {"dialect": "extended"})
    assert file.lines["bit_line"] == Line(1, 601, 0)
    assert file.channels() == {1: "bit_line", 601: "bit_line", 3: "source_line", 602: "source_line", 2: "word_line"}
    assert file.limits == Limits()
    assert file.read == ReadSettings()
    assert (file.shape, file.chip) == ((3, 32, 32), "twin-chip")
    assert file.text == file.path.read_text()


def test_the_lab_is_the_twin_with_other_addresses() -> None:
    lab, twin = StationFile.load("station-lab.yaml"), StationFile.load("station-twin.yaml")
    assert (lab.world, lab.simulated) == ("real", False)
    for name in ("lines", "limits", "read", "shape"):
        assert getattr(lab, name) == getattr(twin, name)
    assert lab.instruments.keys() == twin.instruments.keys()


@pytest.mark.parametrize("name", ["station-twin.yaml", "sim_configs/station-twin.yaml", Path("station-twin.yaml")])
def test_packaged_stations_are_found_from_any_folder(
    name: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert StationFile.load(name).name == "rram-twin"


def test_a_file_of_ones_own_comes_before_a_packaged_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "station-twin.yaml").write_text(yaml.safe_dump(changed("station.name", "mine")))
    assert StationFile.load("station-twin.yaml").name == "mine"


def test_what_is_left_out_has_a_standard(tmp_path: Path) -> None:
    data = {key: PACKAGED[key] for key in ("station", "instruments", "wiring")}
    data["station"] = {"world": "real", "visa": "@py"}
    with pytest.raises(ConfigError, match="a real station must state its `limits:`"):
        StationFile.load(write(tmp_path, data))
    data["limits"] = {"read": ["-0.3 V", "0.3 V"]}
    data["wiring"] = {**data["wiring"], "word_line": {"smu": 2, "pgu": None}}
    file = StationFile.load(write(tmp_path, data))
    assert (file.name, file.shape, file.chip) == ("bench 7", (1, 32, 32), "unnamed")
    assert (file.limits, file.read, file.twin) == (Limits(), ReadSettings(), {})
    assert file.lines["word_line"] == Line(2)


def test_units_are_read(tmp_path: Path) -> None:
    data = changed(
        "read", {"volts": "-150 mV", "gate": "2.5 V", "compliance": "50 uA", "adc": "high-speed", "averaging": 100}
    )
    data["limits"] = {"bit_line": ["-300 mV", "3 V"], "read": [-0.2, 0.2]}
    data["instruments"]["analyzer"]["timeout"] = "1500 ms"
    data["twin"] = {"seed": 7, "fresh": True, "dir": None, "preset": "ideal"}
    file = StationFile.load(write(tmp_path, data))
    assert file.read == ReadSettings(-0.15, 2.5, 50e-6, "high-speed", 100)
    assert file.limits.bit_line == Range(-0.3, 3.0)
    assert file.instruments["analyzer"].timeout == 1.5
    assert file.twin == {"seed": "7", "fresh": "1", "preset": "ideal"}


# Every kind of mistake

MISTAKES: list[tuple[str, Any, str]] = [
    ("station", 5, "must have a `station:` mapping"),
    ("station", KeyError, "must have a `station:` mapping"),
    ("station.world", "virtual", "station.world must be `real` or `simulated`, not 'virtual'"),
    ("station.world", KeyError, "station.world must be"),
    ("station.world", "real", "station.world is 'real' but station.visa 'bench-rram32.yaml@twin'"),
    ("station.visa", "@py", "station.world is 'simulated' but station.visa '@py'"),
    ("station.visa", KeyError, "a twin opens '...@twin'"),
    ("station.visas", "@py", "station: unknown key 'visas'; allowed: name, world, visa"),
    ("station.name", "../../etc", "station.name: '../../etc' must be up to 64 letters"),
    ("station.name", "x" * 65, "station.name"),
    ("station.name", ["a"], "station.name"),
    ("scopes", {}, "unknown section 'scopes'"),
    ("instruments", KeyError, "instruments: no analyzer"),
    ("instruments", [1], "instruments: must be a mapping, not list"),
    ("instruments.board", KeyError, "instruments: no board; name its driver and resource"),
    ("instruments.board", "ASRL1", "instruments.board: needs `driver` and `resource`"),
    ("instruments.analyzer.driver", KeyError, "instruments.analyzer: needs `driver` and `resource`"),
    ("instruments.analyzer.resource", None, "instruments.analyzer: needs `driver` and `resource`"),
    ("instruments.analyzer.resource", "the big one", "'the big one' is no VISA resource, such as GPIB0::17::INSTR"),
    ("instruments.analyzer.adress", 17, "instruments.analyzer: unknown key 'adress'"),
    ("instruments.analyzer.timeout", "10 V", "instruments.analyzer.timeout: '10 V' is not a quantity in s"),
    ("instruments.analyzer.timeout", [10], "instruments.analyzer.timeout: [10] is not a quantity"),
    ("instruments.analyzer.timeout", 0, "timeout must be 1 ms..1 h"),
    ("instruments.analyzer.timeout", "2 h", "timeout must be 1 ms..1 h"),
    ("instruments.board.options", [1], "options: must be a mapping, not list"),
    ("instruments.board.options", "extended", "options: must be a mapping, not str"),
    ("wiring", "all of it", "wiring: must be a mapping"),
    ("wiring", KeyError, "wiring.bit_line: give it `smu`, `pgu` and `selector`"),
    ("wiring.body", {"smu": 4}, "wiring: unknown key 'body'; allowed: bit_line, source_line, word_line"),
    ("wiring.word_line", KeyError, "wiring.word_line: give it"),
    ("wiring.word_line", 2, "wiring.word_line: give it"),
    ("wiring.word_line", {}, "wiring.word_line: reached by no channel"),
    ("wiring.word_line.cmu", 9, "wiring.word_line: give it"),
    ("wiring.word_line.smu", "two", "wiring.word_line.smu: 'two' is no smu number; SMUs are 1..10"),
    ("wiring.word_line.smu", 0, "wiring.word_line.smu: 0 is no smu number"),
    ("wiring.word_line.smu", True, "wiring.word_line.smu: True is no smu number"),
    ("wiring.word_line.smu", 2.0, "wiring.word_line.smu: 2.0 is no smu number"),
    ("wiring.word_line.smu", [2], "wiring.word_line.smu: [2] is no smu number"),
    ("wiring.bit_line.pgu", 6, "wiring.bit_line.pgu: 6 is no pgu number; SPGU channels are a slot and 01 or 02"),
    ("wiring.bit_line.pgu", 603, "wiring.bit_line.pgu: 603"),
    ("wiring.bit_line.selector", 4, "wiring.bit_line.selector: 4 is no selector number; selector ports are 0..3"),
    ("wiring.bit_line.selector", KeyError, "wiring.bit_line: has an SMU and a PGU but no selector port"),
    ("wiring.source_line.smu", 1, "smu 1 serves both bit_line and source_line; use two channels"),
    ("wiring.source_line.pgu", 601, "pgu 601 serves both"),
    ("wiring.source_line.selector", 0, "selector 0 serves both"),
    ("limits", [1, 2], "limits: must be a mapping"),
    ("limits", [], "limits: must be a mapping, not list"),
    ("limits.drain", [0, 1], "limits: unknown limit 'drain'"),
    ("limits.read", "0.3 V", "limits: read needs two values"),
    ("limits.read", ["-0.3 A", "0.3 V"], "limits.read: '-0.3 A' is not a quantity in V"),
    ("limits.read", ["-0,3 V", "0,3 V"], "limits.read: '-0,3 V' is not a quantity in V"),
    ("limits.read", [{}, 1], "limits.read: {} is not a quantity"),
    ("limits.word_line", ["4 V", "0 V"], "limits: word_line is empty"),
    ("limits.word_line", ["1 V", "4 V"], "word_line 1..4 V must include 0 V"),
    ("limits.read", ["-9 V", "9 V"], "limits contradict each other: read"),
    ("limits.bit_line", ["-0.1 V", "0.1 V"], "limits contradict each other"),
    ("read", 0.2, "read: must be a mapping"),
    ("read.volts", "0.5 V", "read.volts: 500 mV is outside -300 mV..300 mV"),
    ("read.volts", "0 V", "read.volts: nothing can be read at 0 V"),
    ("read.volts", None, "read.volts: None is not a quantity"),
    ("read.gate", "5 V", "read.gate: 5 V is outside 0 V..4 V"),
    ("read.compliance", "1 A", "read.compliance: 1 A is outside 0 A..1 mA"),
    ("read.compliance", "0 A", "read.compliance: must be more than 0 A"),
    ("read.line_period", "0 s", "read.line_period"),
    ("read.adc", "fast", "read.adc: 'fast' is not allowed; adc is plc or high-speed"),
    ("read.adc", ["plc"], "read.adc: ['plc'] is not allowed"),
    ("read.averaging", 0, "read.averaging: 0 is not allowed"),
    ("read.averaging", True, "read.averaging: True is not allowed"),
    ("read.averaging", 101, "read.averaging: 101 power-line cycles"),
    ("read.voltage", "0.2 V", "read: unknown key 'voltage'; allowed: volts, gate"),
    ("array", 3, "array: must be a mapping"),
    ("array.rows", 0, "array.rows: must be a whole number 1..4096, not 0"),
    ("array.rows", "32", "array.rows: must be a whole number"),
    ("array.rows", True, "array.rows: must be a whole number"),
    ("array.columns", 16, "array: unknown key 'columns'; allowed: arrays, rows, cols, chip"),
    ("twin.sede", 1, "twin: unknown key 'sede'"),
    ("twin.seed", 1.5, "twin.seed: 1.5 must be a text or a whole number"),
    ("twin.dir", ["a"], "twin.dir: ['a'] must be"),
]


@pytest.mark.parametrize(("place", "value", "words"), MISTAKES, ids=[f"{m[0]}-{i}" for i, m in enumerate(MISTAKES)])
def test_a_mistake_gets_one_sentence_that_names_the_file(tmp_path: Path, place: str, value: Any, words: str) -> None:
    path = write(tmp_path, changed(place, value))
    with pytest.raises(ConfigError) as caught:
        StationFile.load(path)
    assert str(caught.value).startswith(f"station file {path}")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_real_station_has_no_twin_section(tmp_path: Path) -> None:
    data = changed("twin", {"seed": 1})
    data["station"] = {"world": "real", "visa": "@py"}
    with pytest.raises(ConfigError, match="a real station has no `twin:` section"):
        StationFile.load(write(tmp_path, data))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("station: {", "is not YAML"),
        ("station:\n\tname: x", "is not YAML"),
        ("station: !!python/object/apply:os.getpid []", "is not YAML"),
        ("station: {name: !!timestamp 2020-13-45}", "tags (!name) are not allowed"),
        ("a: &a [1]\nb: *a", "line 2: aliases (*name) are not allowed"),
        ("station: {name: a}\nstation: {name: b}", "line 2: 'station' is given twice"),
        ("station: {name: a}\nlimits:\n  read: [0, 1]\n  read: [0, 2]", "line 4: 'read' is given twice"),
        ("? [a, b]\n: 1", "is not YAML"),
        pytest.param("[" * 1500, "is not YAML", id="deep"),
        ("- station", "must have a `station:` mapping"),
        ("", "must have a `station:` mapping"),
        ("station", "must have a `station:` mapping"),
        pytest.param("\x00", "is not YAML", id="control character"),
    ],
)
def test_what_is_no_yaml_for_a_station(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        StationFile.load(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "station.yaml"
    path.write_bytes(b"station: \xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"station\.yaml is not YAML"):
        StationFile.load(path)


def test_a_file_too_large_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        StationFile.load(write(tmp_path, "#" * (1 << 20) + "\n"))


@pytest.mark.parametrize("name", ["no-such-station.yaml", "", ".", "/", "a\0b", "~nobody-of-this-name/station.yaml"])
def test_a_file_that_is_not_there(name: str) -> None:
    with pytest.raises(ConfigError, match=r"not found; packaged stations: .*station-twin\.yaml|can't be read"):
        StationFile.load(name)


def test_a_name_longer_than_any_file_has() -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        StationFile.load("x" * 5000 + ".yaml")


# Anything at all

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
PLACES = st.sampled_from(sorted({m[0] for m in MISTAKES}))


@settings(max_examples=100)
@given(st.lists(st.tuples(PLACES, VALUES), min_size=1, max_size=2))
def test_no_value_anywhere_raises_anything_else(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[str, Any]]
) -> None:
    data = copy.deepcopy(PACKAGED)
    for place, value in edits:
        *way, last = place.split(".")
        section: Any = data
        for name in way:
            section = section.get(name) if isinstance(section, dict) else None
        if isinstance(section, dict):
            section[last] = value
    path = tmp_path_factory.getbasetemp() / "anything.yaml"
    path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8", errors="surrogatepass")
    said = complaint(path)
    assert said == "" or str(path) in said
    assert "\n" not in said


@given(st.text(max_size=60))
def test_no_text_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "anything.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    said = complaint(path)
    assert said == "" or str(path) in said
    assert "\n" not in said


def complaint(path: Path) -> str:
    """What loading a file complains of, "" if it doesn't."""
    try:
        StationFile.load(path)
    except ConfigError as error:
        return str(error)
    return ""
