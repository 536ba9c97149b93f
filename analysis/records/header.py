"""Who, what, when, with what: the header that every run begins with."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

import orjson

from analysis.errors import AnalysisError
from analysis.records import layout
from analysis.records.masking import masked, masked_values

World = Literal["simulated", "real"]


_TYPES: Final = {
    **dict.fromkeys(("procedure", "run_id", "started", "command_line", "station", "git_commit"), str),
    **dict.fromkeys(("operator", "chip"), str),
    **dict.fromkeys(("arrays", "rows", "cols"), int),
    **dict.fromkeys(("parameters", "packages", "paths"), Mapping),
    "instruments": tuple,
}


@dataclass(frozen=True)
class InstrumentId:
    """An instrument of the station: its role there, its VISA resource and what it answered to `*IDN?`."""

    role: str
    resource: str
    idn: str

    def __post_init__(self) -> None:
        if not all(isinstance(text, str) for text in (self.role, self.resource, self.idn)):
            raise AnalysisError(f"role, resource and IDN of an instrument are text, not {self}")


@dataclass(frozen=True)
class WaveformSpec:
    """Room for one oscilloscope's captures, declared before the run starts.

    Args:
        scope: name of the oscilloscope, a dataset name.
        channels: names of the channels, in the order of the codes.
        samples: most samples that a capture can have a channel (1 .. 2**31).
        dtype: type of the raw codes, "int16" or "uint8".
        compression: "gzip" (level 1 with byte shuffle: every reader has it), "lzf" or None.
    """

    scope: str
    channels: tuple[str, ...]
    samples: int
    dtype: Literal["int16", "uint8"] = "int16"
    compression: Literal["gzip", "lzf"] | None = "gzip"

    def __post_init__(self) -> None:
        if not layout.is_name(self.scope) or "/" in self.scope:
            raise AnalysisError(f"{self.scope!r} can't name an oscilloscope's waveforms: use a-z, 0-9 and _")
        if not self.channels or not 1 <= self.samples <= 2**31:
            raise AnalysisError(f"waveforms of {self.scope} need a channel and 1 to 2**31 samples")
        if self.dtype not in ("int16", "uint8"):
            raise AnalysisError(f"waveforms of {self.scope} can be int16 or uint8, not {self.dtype}")
        if self.compression not in ("gzip", "lzf", None):
            raise AnalysisError(f"waveforms of {self.scope} can't be compressed with {self.compression!r}")


@dataclass(frozen=True)
class RunHeader:
    """What a run knows about itself before it starts; goes into journal and run file.

    Args:
        procedure: name of the experiment.
        world: "simulated" or "real"; can't be changed once written.
        run_id: identity of the run, also the name of its folder.
        started: wall time, ISO 8601 with zone.
        arrays: arrays that the run is about, 1 .. 32767.
        rows: rows of each, 1 .. 32767.
        cols: columns of each, 1 .. 32767; at most 2**24 cells in all.
        seed: seed of every random generator of the run, if it has one.
        command_line: what was typed; like the parameters and the station file's text without passwords (see `masking`).
        parameters: the procedure's parameters, anything that JSON can carry (tuples become lists, keys text).
        station: text of the station file.
        instruments: what the station consists of.
        packages: versions of the software.
        git_commit: commit of the software, with a mark if the tree had changes; empty if unknown.
        operator: who ran it.
        chip: identity of the chip.
        paths: where things lie on the machine that ran it; nothing that was measured depends on them.

    Raises:
        AnalysisError: a field is out of its range.
    """

    procedure: str
    world: World
    run_id: str
    started: str
    arrays: int = 1
    rows: int = 32
    cols: int = 32
    seed: int | None = None
    command_line: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    station: str = ""
    instruments: tuple[InstrumentId, ...] = ()
    packages: Mapping[str, str] = field(default_factory=dict)
    git_commit: str = ""
    operator: str = ""
    chip: str = ""
    paths: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.world not in layout.WORLDS:
            raise AnalysisError(f"a run's world is 'simulated' or 'real', not {self.world!r}")
        for name, kind in _TYPES.items():
            if not isinstance(getattr(self, name), kind):
                raise AnalysisError(f"{name} of a run can't be {getattr(self, name)!r}")
        for text in (*self.packages, *self.packages.values(), *self.paths, *self.paths.values()):
            if not isinstance(text, str):
                raise AnalysisError(f"packages and paths of a run are names and text, not {text!r}")
        if not self.run_id or not self.procedure:
            raise AnalysisError("a run needs a run_id and the name of its procedure")
        if not all(1 <= n <= 32767 for n in self.shape):
            raise AnalysisError(f"{self.arrays} arrays of {self.rows}x{self.cols} cells: each must be 1 to 32767")
        if self.arrays * self.rows * self.cols > 1 << 24:
            raise AnalysisError(f"{self.arrays} arrays of {self.rows}x{self.cols} cells are more than 2**24 cells")
        try:
            # The one refuses NaN, the other integers beyond 64 bits. What is kept is what a reader will find.
            canonical = json.loads(json.dumps(dict(self.parameters), allow_nan=False))
            orjson.dumps(canonical)
        except (TypeError, ValueError) as error:
            raise AnalysisError(f"the parameters of {self.procedure} can't be kept as JSON: {error}") from error
        except RecursionError as error:
            raise AnalysisError(f"the parameters of {self.procedure} are nested too deeply") from error
        object.__setattr__(self, "parameters", masked_values(canonical))
        for name in ("command_line", "station", "operator", "chip"):
            object.__setattr__(self, name, masked(getattr(self, name)))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(arrays, rows, cols)."""
        return self.arrays, self.rows, self.cols

    @property
    def title(self) -> str:
        """One line for plots and listings; says which world."""
        return f"{self.procedure} ({self.world})"

    def to_json(self) -> dict[str, Any]:
        """The header as JSON's types; `from_json` is its inverse."""
        # A seed may have more bits than JSON's readers keep: it goes as text.
        seed = None if self.seed is None else str(self.seed)
        plain = {name: dict(getattr(self, name)) for name in ("parameters", "packages", "paths")}
        return {**asdict(self), "seed": seed, **plain}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "RunHeader":
        """The header out of `to_json`'s output; fields of later versions are left out.

        Raises:
            AnalysisError: a field is missing or out of its range.
        """
        known = {name: fields[name] for name in cls.__dataclass_fields__ if name in fields}
        try:
            known["instruments"] = tuple(InstrumentId(**item) for item in known.get("instruments", ()))
            known["seed"] = None if known.get("seed") is None else int(known["seed"])
            return cls(**known)
        except (TypeError, ValueError) as error:
            raise AnalysisError(f"not the header of a run: {error}") from error


def as_text(value: object) -> str:
    """The value if it is text.

    Raises:
        TypeError: it isn't.
    """
    if not isinstance(value, str):
        raise TypeError(f"{value!r} where text was due")
    return value


def spec_from_json(fields: Mapping[str, Any]) -> WaveformSpec:
    """The specification out of `dataclasses.asdict`'s output after a trip through JSON."""
    return WaveformSpec(**{**fields, "channels": tuple(fields["channels"])})
