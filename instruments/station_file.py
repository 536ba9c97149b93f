"""The one YAML file that describes a bench: instruments, resources, wiring, limits, and whether it is real."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, cast

import sim_configs
from instruments.errors import ConfigError, StationError
from instruments.limits import Limits
from instruments.quantity import to_si
from instruments.strict_yaml import parse_yaml, read_bytes

_MOST_CELLS = 1 << 24
"""What a run's records hold."""
RESOURCE: Final = re.compile(r"[A-Za-z0-9_.:,/\\-]{3,200}")
"""What a VISA resource's name may look like."""
_LINES = ("bit_line", "source_line", "word_line")
_NUMBERS = {"smu": range(1, 11), "pgu": [100 * s + n for s in range(1, 11) for n in (1, 2)], "selector": range(4)}
_NUMBERS_TEXT = {
    "smu": "SMUs are 1..10, their slots",
    "pgu": "SPGU channels are a slot and 01 or 02, such as 601",
    "selector": "selector ports are 0..3",
}


@dataclass(frozen=True)
class InstrumentEntry:
    """One instrument of a station: its driver's name, VISA resource, time-out in s and driver options."""

    role: str
    driver: str
    resource: str
    timeout: float = 10.0
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def resources(self) -> tuple[str, ...]:
        """All VISA resources that it is made of: its own, and those among its options, such as a second instrument."""
        more = (v for v in self.options.values() if isinstance(v, str) and "::" in v and RESOURCE.fullmatch(v))
        return (self.resource, *more)


@dataclass(frozen=True)
class Line:
    """How one line of the array is reached: SMU channel, SPGU channel and SMU/PGU selector port, None where absent."""

    smu: int | None = None
    pgu: int | None = None
    selector: int | None = None


@dataclass(frozen=True)
class ReadSettings:
    """How a cell is read: volts on the bit line, gate volts, and the analyzer's ADC.

    `adc` is "plc" (high-resolution ADC, `averaging` power-line cycles of `line_period` s) or "high-speed"
    (`averaging` samples of the high-speed ADC).
    """

    volts: float = 0.2
    gate: float = 3.0
    compliance: float = 100e-6
    adc: str = "plc"
    averaging: int = 1
    line_period: float = 0.02


@dataclass(frozen=True)
class StationFile:
    """A parsed and checked station file.

    Attributes:
        name: the station's name.
        world: "real" or "simulated"; what every record made here is marked with.
        visa: pyvisa library specification, such as "@py", "@ivi" or "bench-rram32.yaml@twin".
        instruments: by role ("analyzer", "board", ...).
        lines: wiring, by line name.
        limits: what the devices and the board stand.
        read: how cells are read.
        shape: (arrays, rows, cols).
        chip: name of the chip in the socket, for the records.
        twin: parameters of a simulated bench (dir, seed, preset).
        text: the file as written.
        path: where it was read.
        confirm: what a person must confirm before a run drives anything, a sentence each.
        served: whether the instruments are a twin's in another process (`ohmflow bench serve`).
        bench: "host:port" where a served bench tells its time and moves its probes, "" if it doesn't.
        sacrificial: (array, row, col) of a cell that may be driven to try a driver out, None if there is none.
    """

    name: str
    world: Literal["real", "simulated"]
    visa: str
    instruments: Mapping[str, InstrumentEntry]
    lines: Mapping[str, Line]
    limits: Limits
    read: ReadSettings
    shape: tuple[int, int, int]
    chip: str
    twin: Mapping[str, str]
    text: str
    path: Path
    confirm: tuple[str, ...] = ()
    sacrificial: tuple[int, int, int] | None = None
    served: bool = False
    bench: str = ""

    @property
    def simulated(self) -> bool:
        """Whether this station is a twin of its own, which a command can give another chip."""
        return self.world == "simulated" and not self.served

    def channels(self) -> dict[int, str]:
        """Analyzer channel -> line, for the limit gate."""
        return {ch: name for name, line in self.lines.items() for ch in (line.smu, line.pgu) if ch is not None}

    @classmethod
    def load(cls, name: str | Path) -> "StationFile":
        """Read and check a station file; packaged ones are found by name from any folder.

        Raises:
            ConfigError: missing, too large, not YAML, or something in it unknown or contradictory.
        """
        path = Path(name)
        try:
            path = sim_configs.find(name)
            missing = not path.is_file()
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(f"station file {path} can't be read: {error}") from error
        if missing:
            raise ConfigError(f"station file {name} not found; packaged stations: {', '.join(_packaged())}")
        raw = read_bytes(path, "station file")
        data = parse_yaml(raw, f"station file {path}")
        text = raw.decode("utf-8")
        if not isinstance(data, dict) or not isinstance(data.get("station"), dict):
            raise ConfigError(f"station file {path} must have a `station:` mapping at its top")
        try:
            return cls._parse(data, text, path)
        except StationError as error:
            raise ConfigError(f"station file {path}: {str(error)[:600]}") from error

    @classmethod
    def _parse(cls, data: Mapping[str, Any], text: str, path: Path) -> "StationFile":
        unknown = set(data) - {"station", "instruments", "wiring", "limits", "read", "array", "twin"}
        if unknown:
            raise ConfigError(f"unknown section {sorted(map(str, unknown))[0]!r}")
        station = _mapping(data, "station", ("name", "world", "visa", "confirm", "served", "bench"))
        name = str(station.get("name", path.stem))
        if not re.fullmatch(r"\w[\w .-]{0,63}", name):
            raise ConfigError(f"station.name: {name[:80]!r} must be up to 64 letters, digits and . _ - characters")
        world, visa = str(station.get("world", "")), str(station.get("visa", ""))
        if world not in ("real", "simulated"):
            raise ConfigError(f"station.world must be `real` or `simulated`, not {world!r}")
        served = station.get("served", False)
        if not isinstance(served, bool) or (served and (world != "simulated" or visa.endswith(("@twin", "@sim")))):
            raise ConfigError(
                "station.served: true is for a simulated world that `ohmflow bench serve` offers to others"
            )
        if (world == "simulated" and not served) != visa.endswith(("@twin", "@sim")):
            raise ConfigError(
                f"station.world is {world!r} but station.visa {visa!r}: a twin opens '...@twin', a lab '@py' or '@ivi'"
            )
        bench = str(station.get("bench", ""))
        if bench and (not served or not re.fullmatch(r"[\w.-]{1,253}:[0-9]{1,5}", bench)):
            raise ConfigError(
                f"station.bench: {bench[:80]!r} must be host:port of a bench that is served (station.served: true), "
                "as `ohmflow bench serve --station-out` writes it"
            )
        instruments = {role: _instrument(role, entry) for role, entry in _mapping(data, "instruments").items()}
        for role in ("analyzer", "board"):
            if role not in instruments and not (role == "board" and "matrix" in instruments):
                raise ConfigError(f"instruments: no {role}; name its driver and resource")
        if "board" in instruments and "matrix" in instruments:
            raise ConfigError("instruments: board and matrix would both select cells; name one of them")
        wiring = _mapping(data, "wiring", _LINES)
        lines = {line: _line(line, wiring.get(line)) for line in _LINES}
        _refuse_shared(lines)
        if world == "real" and not data.get("limits"):
            raise ConfigError("a real station must state its `limits:`; station-lab.yaml has them to copy")
        limits = Limits.from_mapping(_mapping(data, "limits"))
        read = _read(_mapping(data, "read"))
        limits.read.check(read.volts, "read.volts")
        limits.word_line.check(read.gate, "read.gate")
        limits.compliance.check(read.compliance, "read.compliance")
        array = _mapping(data, "array", ("arrays", "rows", "cols", "chip", "sacrificial"))
        shape = tuple(_whole(array, key, default) for key, default in (("arrays", 1), ("rows", 32), ("cols", 32)))
        if shape[0] * shape[1] * shape[2] > _MOST_CELLS:
            raise ConfigError(f"array: {shape[0]} arrays of {shape[1]}x{shape[2]} are more than {_MOST_CELLS} cells")
        section = _mapping(data, "twin", ("dir", "seed", "preset", "fresh", "name", "faults", "faults_seed"))
        twin = {k: _text(f"twin.{k}", v) for k, v in section.items() if v is not None}
        if twin and world == "real":
            raise ConfigError("a real station has no `twin:` section")
        return cls(
            name, cast(Literal["real", "simulated"], world), visa, instruments, lines, limits, read,
            (shape[0], shape[1], shape[2]), str(array.get("chip", "unnamed")), twin, text, path,
            _sentences("station.confirm", station.get("confirm", [])), _cell(array.get("sacrificial"), shape),
            served, bench,
        )  # fmt: skip


def _packaged() -> list[str]:
    return sorted(f"sim_configs/{p.name}" for p in sim_configs.path("x").parent.glob("station-*.yaml"))


def _mapping(data: Mapping[str, Any], key: str, known: Collection[str] | None = None) -> Mapping[str, Any]:
    value = data.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{key}: must be a mapping, not {type(value).__name__}")
    unknown = set() if known is None else set(value) - set(known)
    if unknown:
        allowed = ", ".join(known or ())
        raise ConfigError(f"{key}: unknown key {sorted(map(str, unknown))[0]!r}; allowed: {allowed}")
    return value


def _sentences(what: str, value: Any) -> tuple[str, ...]:
    if (
        not isinstance(value, list)
        or len(value) > 20
        or not all(isinstance(v, str) and 0 < len(v) <= 200 for v in value)
    ):
        raise ConfigError(f"{what}: must be a list of up to 20 sentences of up to 200 characters")
    return tuple(value)


def _cell(value: Any, shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    if value is None:
        return None
    whole = isinstance(value, list) and len(value) == 3 and all(type(v) is int for v in value)
    if not whole or not all(0 <= v < size for v, size in zip(value, shape, strict=True)):
        raise ConfigError(f"array.sacrificial: {value!r} is no cell [array, row, col] of {shape}")
    return value[0], value[1], value[2]


def _text(what: str, value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if not isinstance(value, (str, int)):
        raise ConfigError(f"{what}: {value!r} must be a text or a whole number")
    return str(value)


def _instrument(role: str, entry: Any) -> InstrumentEntry:
    if not isinstance(entry, dict) or not entry.get("driver") or not entry.get("resource"):
        raise ConfigError(f"instruments.{role}: needs `driver` and `resource`")
    unknown = set(entry) - {"driver", "resource", "timeout", "options"}
    if unknown:
        raise ConfigError(f"instruments.{role}: unknown key {sorted(map(str, unknown))[0]!r}")
    if not RESOURCE.fullmatch(str(entry["resource"])):
        raise ConfigError(f"instruments.{role}: {entry['resource']!r} is no VISA resource, such as GPIB0::17::INSTR")
    timeout = to_si(entry.get("timeout", "10 s"), "s", what=f"instruments.{role}.timeout")
    if not 1e-3 <= timeout <= 3600:
        raise ConfigError(f"instruments.{role}.timeout must be 1 ms..1 h")
    options = _mapping(entry, "options")
    return InstrumentEntry(str(role), str(entry["driver"]), str(entry["resource"]), timeout, dict(options))


def _line(name: str, entry: Any) -> Line:
    if not isinstance(entry, dict) or not set(entry) <= {"smu", "pgu", "selector"}:
        raise ConfigError(f"wiring.{name}: give it `smu`, `pgu` and `selector` channel numbers")
    values = {}
    for key, value in entry.items():
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value not in _NUMBERS[key]:
            raise ConfigError(f"wiring.{name}.{key}: {value!r} is no {key} number; {_NUMBERS_TEXT[key]}")
        values[key] = value
    line = Line(**values)
    if line.smu is None and line.pgu is None:
        raise ConfigError(f"wiring.{name}: reached by no channel")
    if line.pgu is not None and line.smu is not None and line.selector is None:
        raise ConfigError(f"wiring.{name}: has an SMU and a PGU but no selector port")
    return line


def _refuse_shared(lines: Mapping[str, Line]) -> None:
    seen: dict[tuple[str, int], str] = {}
    for name, line in lines.items():
        for kind in ("smu", "pgu", "selector"):
            number = getattr(line, kind)
            if number is not None and seen.setdefault((kind, number), name) != name:
                raise ConfigError(
                    f"wiring: {kind} {number} serves both {seen[kind, number]} and {name}; use two channels"
                )


def _read(data: Mapping[str, Any]) -> ReadSettings:
    units = {"volts": "V", "gate": "V", "compliance": "A", "line_period": "s"}
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key in units:
            values[key] = to_si(value, units[key], what=f"read.{key}")
        elif (key == "adc" and value in ("plc", "high-speed")) or (
            key == "averaging" and isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1023
        ):
            values[key] = value
        elif key in ("adc", "averaging"):
            raise ConfigError(f"read.{key}: {value!r} is not allowed; adc is plc or high-speed, averaging 1..1023")
        else:
            raise ConfigError(f"read: unknown key {key!r}; allowed: {', '.join((*units, 'adc', 'averaging'))}")
    settings = ReadSettings(**values)
    if settings.adc == "plc" and settings.averaging > 100:
        raise ConfigError(
            f"read.averaging: {settings.averaging} power-line cycles; the high-resolution ADC takes 1..100"
        )
    if settings.volts == 0:
        raise ConfigError("read.volts: nothing can be read at 0 V; write for example 0.2 V")
    if settings.compliance <= 0:
        raise ConfigError("read.compliance: must be more than 0 A; write for example 100 uA")
    if not 0.016 <= settings.line_period <= 0.021:
        raise ConfigError("read.line_period: mains have 20 ms (50 Hz) or 16.7 ms (60 Hz)")
    return settings


def _whole(data: Mapping[str, Any], key: str, default: int) -> int:
    value = data.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 4096:
        raise ConfigError(f"array.{key}: must be a whole number 1..4096, not {value!r}")
    return value
