"""What another program's file says, in our terms; each reader gives this, one writer makes a run of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

NAN: Final = float("nan")

UNITS: Final = {
    "current": "A", "voltage": "V", "read_voltage": "V", "pulse_width": "s", "resistance": "ohm", "conductance": "S",
    "time": "s", "tstamp_s": "s", "tstamp_us": "us", "capacitance": "F", "temperature": "K", "frequency": "Hz",
}  # fmt: skip
"""Units of quantities that foreign files name without one."""


class Step(NamedTuple):
    """Something done to a cell, in order: a read or a pulse.

    Attributes:
        kind: of `analysis.records.layout.EVENT_KINDS`.
        row, col: from 0.
        amplitude: V across the cell; a pulse's polarity is its sign.
        gate: V; NaN if there is none.
        width: s; NaN if not known.
        conductance, current: S and A as measured, NaN if not.
        time: s from the file's start; NaN if the file has no times.
    """

    kind: str
    row: int
    col: int
    amplitude: float
    gate: float = NAN
    width: float = NAN
    conductance: float = NAN
    current: float = NAN
    time: float = NAN


@dataclass(frozen=True)
class Kept:
    """An array that the file has, under a name of its own.

    Attributes:
        values: numbers.
        units: NeXus units; "" where they are not known or there are none.
        title: one line.
    """

    values: npt.NDArray[Any]
    units: str
    title: str


class Sweep(NamedTuple):
    """A sweep of a single device: `volts` and `amps` [level], and what it was called."""

    volts: npt.NDArray[np.float64]
    amps: npt.NDArray[np.float64]
    title: str


@dataclass(frozen=True)
class Foreign:
    """A foreign file's content.

    Attributes:
        form: which format, and its version.
        title: what its author called it.
        started: wall time of the first measurement, ISO 8601; empty if the file does not say.
        instrument: maker and model.
        rows, cols: of the array; 1 and 1 for a single device.
        steps: reads and pulses in the order of the file.
        data: arrays by name (`layout.is_name`).
        maps: maps over the cells, (rows, cols), by name.
        about: settings and texts, as JSON's types.
        remarks: what a reader of the run must know about how it came to be.
        sweeps: of a single device, in order.
    """

    form: str
    title: str
    started: str
    instrument: str
    rows: int
    cols: int
    steps: tuple[Step, ...]
    data: Mapping[str, Kept] = field(default_factory=dict)
    maps: Mapping[str, Kept] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    sweeps: tuple[Sweep, ...] = ()


def dataset_name(text: str) -> str:
    """A name for a dataset out of anything: small letters, digits and underscores, a letter first."""
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:60]
    return plain if plain[:1].isalpha() else f"n_{plain}".rstrip("_")


def plain(value: Any) -> Any:
    """Anything of numpy or HDF5 as JSON's types; what has none as text, what is not finite as null."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if isinstance(value, int | str | bool) or value is None else str(value)
