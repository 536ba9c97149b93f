"""The one YAML file that describes a bench: instruments, resources, wiring, limits, and whether it is real."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import yaml

import sim_configs
from instruments.errors import ConfigError
from instruments.limits import Limits
from instruments.quantity import to_si

_MAX_BYTES = 1 << 20
_LINES = ("bit_line", "source_line", "word_line")


@dataclass(frozen=True)
class InstrumentEntry:
    """One instrument of a station: its driver's name, VISA resource, time-out in s and driver options."""

    role: str
    driver: str
    resource: str
    timeout: float = 10.0
    options: Mapping[str, Any] = field(default_factory=dict)


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

    @property
    def simulated(self) -> bool:
        """Whether this station is a twin."""
        return self.world == "simulated"

    def channels(self) -> dict[int, str]:
        """Analyzer channel -> line, for the limit gate."""
        return {ch: name for name, line in self.lines.items() for ch in (line.smu, line.pgu) if ch is not None}

    @classmethod
    def load(cls, name: str | Path) -> "StationFile":
        """Read and check a station file; packaged ones are found by name from any folder.

        Raises:
            ConfigError: missing, too large, not YAML, or something in it unknown or contradictory.
        """
        path = sim_configs.find(name)
        if not path.is_file():
            raise ConfigError(f"station file {name} not found; packaged stations: {', '.join(_packaged())}")
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"station file {path} is larger than 1 MiB; that is no station file")
        try:
            text = path.read_text(encoding="utf-8")
            data = yaml.safe_load(text)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"station file {path} is not YAML: {' '.join(str(error).split())}") from error
        if not isinstance(data, dict) or not isinstance(data.get("station"), dict):
            raise ConfigError(f"station file {path} must have a `station:` mapping at its top")
        try:
            return cls._parse(data, text, path)
        except ConfigError as error:
            raise ConfigError(f"station file {path}: {error}") from error

    @classmethod
    def _parse(cls, data: Mapping[str, Any], text: str, path: Path) -> "StationFile":
        unknown = set(data) - {"station", "instruments", "wiring", "limits", "read", "array", "twin"}
        if unknown:
            raise ConfigError(f"unknown section {sorted(map(str, unknown))[0]!r}")
        station = data["station"]
        world, visa = str(station.get("world", "")), str(station.get("visa", ""))
        if world not in ("real", "simulated"):
            raise ConfigError(f"station.world must be `real` or `simulated`, not {world!r}")
        if (world == "simulated") != visa.endswith(("@twin", "@sim")):
            raise ConfigError(
                f"station.world is {world!r} but station.visa {visa!r}: a twin opens '...@twin', a lab '@py' or '@ivi'"
            )
        instruments = {role: _instrument(role, entry) for role, entry in _mapping(data, "instruments").items()}
        for role in ("analyzer", "board"):
            if role not in instruments:
                raise ConfigError(f"instruments: no {role}; name its driver and resource")
        lines = {line: _line(line, _mapping(data, "wiring").get(line)) for line in _LINES}
        _refuse_shared(lines)
        limits = Limits.from_mapping(_mapping(data, "limits"))
        read = _read(_mapping(data, "read"))
        limits.read.check(read.volts, "read.volts")
        limits.word_line.check(read.gate, "read.gate")
        limits.compliance.check(read.compliance, "read.compliance")
        array = _mapping(data, "array")
        shape = tuple(_whole(array, key, default) for key, default in (("arrays", 1), ("rows", 32), ("cols", 32)))
        twin = {str(k): str(v) for k, v in _mapping(data, "twin").items()}
        if twin and world == "real":
            raise ConfigError("a real station has no `twin:` section")
        return cls(
            str(station.get("name", path.stem)), cast(Literal["real", "simulated"], world), visa, instruments, lines, limits, read,
            (shape[0], shape[1], shape[2]), str(array.get("chip", "unnamed")), twin, text, path,
        )  # fmt: skip


def _packaged() -> list[str]:
    return sorted(f"sim_configs/{p.name}" for p in sim_configs.path("x").parent.glob("station-*.yaml"))


def _mapping(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key) or {}
    if not isinstance(value, dict):
        raise ConfigError(f"{key}: must be a mapping, not {type(value).__name__}")
    return value


def _instrument(role: str, entry: Any) -> InstrumentEntry:
    if not isinstance(entry, dict) or not entry.get("driver") or not entry.get("resource"):
        raise ConfigError(f"instruments.{role}: needs `driver` and `resource`")
    unknown = set(entry) - {"driver", "resource", "timeout", "options"}
    if unknown:
        raise ConfigError(f"instruments.{role}: unknown key {sorted(map(str, unknown))[0]!r}")
    if not re.fullmatch(r"[A-Za-z0-9_.:/\\-]{3,200}", str(entry["resource"])):
        raise ConfigError(f"instruments.{role}: {entry['resource']!r} is no VISA resource, such as GPIB0::17::INSTR")
    timeout = to_si(entry.get("timeout", "10 s"), "s", what=f"instruments.{role}.timeout")
    if not 1e-3 <= timeout <= 3600:
        raise ConfigError(f"instruments.{role}.timeout must be 1 ms..1 h")
    return InstrumentEntry(
        role, str(entry["driver"]), str(entry["resource"]), timeout, dict(entry.get("options") or {})
    )


def _line(name: str, entry: Any) -> Line:
    if not isinstance(entry, dict) or not set(entry) <= {"smu", "pgu", "selector"}:
        raise ConfigError(f"wiring.{name}: give it `smu`, `pgu` and `selector` channel numbers")
    values = {}
    for key, value in entry.items():
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 1002:
            raise ConfigError(f"wiring.{name}.{key}: {value!r} is no channel number")
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
            key == "averaging" and isinstance(value, int) and 1 <= value <= 1023
        ):
            values[key] = value
        else:
            raise ConfigError(f"read.{key}: {value!r} is not allowed; adc is plc or high-speed, averaging 1..1023")
    settings = ReadSettings(**values)
    if settings.adc == "plc" and settings.averaging > 100:
        raise ConfigError(
            f"read.averaging: {settings.averaging} power-line cycles; the high-resolution ADC takes 1..100"
        )
    if settings.volts == 0:
        raise ConfigError("read.volts: nothing can be read at 0 V; write for example 0.2 V")
    return settings


def _whole(data: Mapping[str, Any], key: str, default: int) -> int:
    value = data.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 4096:
        raise ConfigError(f"array.{key}: must be a whole number 1..4096, not {value!r}")
    return value
