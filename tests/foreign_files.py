"""Small writers of foreign files, after the formats' public descriptions."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

HISTORY = [
    ("current", "<f4"), ("voltage", "<f4"), ("pulse_width", "<f4"), ("read_voltage", "<f4"), ("op_type", "<u4"),
]  # fmt: skip
CURVE = [("voltage", "<f4"), ("current", "<f4"), ("read_voltage", "<f4")]
READ, PULSE, PULSE_READ = 1, 2, 3
STAMP = 1_748_000_000_000_000_000

Operation = tuple[float, float, float, float, int]
"""current, voltage, pulse_width, read_voltage, op_type"""


def write_arc2(
    path: Path,
    histories: Mapping[tuple[int, int], Sequence[Operation]],
    curves: Mapping[tuple[int, int], np.ndarray[Any, Any]] | None = None,
    shape: tuple[int, int] = (32, 32),
) -> Path:
    """A file as the control panel's data store leaves it: histories in blocks of 1000 rows, tables with a stamp."""
    with h5py.File(path, "w") as file:
        file.attrs["CLASS"] = "GROUP"
        file.attrs["PYTABLES_FORMAT_VERSION"] = "2.1"
        file.attrs["H5DS_VERSION_MAJOR"], file.attrs["H5DS_VERSION_MINOR"] = 0, 1
        file.attrs["TITLE"] = path.name
        file.attrs["words"], file.attrs["bits"] = shape
        for name in ("crossbar", "crosspoints", "synthetics"):
            file.create_group(name).attrs["CLASS"] = "GROUP"
        crossbar = file["crossbar"]
        crossbar.attrs["words"], crossbar.attrs["bits"] = shape
        for name in ("voltage", "current"):
            crossbar.create_dataset(name, shape=shape, dtype=np.float32)
        for (word, bit), operations in histories.items():
            group = file["crosspoints"].create_group(f"W{word:02d}B{bit:02d}")
            history = group.create_dataset("timeseries", (1000,), HISTORY, maxshape=(None,), chunks=True)
            history.attrs["NROWS"], history.attrs["BASE_SIZE"] = len(operations), 1000
            history.attrs["TITLE"], history.attrs["CLASS"] = group.name, "TABLE"
            history[: len(operations)] = np.array(list(operations), HISTORY)
            if operations:
                crossbar["current"][bit, word], crossbar["voltage"][bit, word] = operations[-1][0], operations[-1][3]
        for number, ((word, bit), values) in enumerate((curves or {}).items()):
            place = f"crosspoints/W{word:02d}B{bit:02d}/experiments/CT_{STAMP + number}"
            table = file.create_dataset(place, (len(values),), CURVE)
            # Filled in one go, which leaves NROWS at 0.
            table.attrs["NROWS"], table.attrs["TITLE"], table.attrs["CLASS"] = 0, place, "TABLE"
            table.attrs["TSTAMP"], table.attrs["crosspoints"] = STAMP + number, [[word, bit]]
            table.attrs["BASE_SIZE"], table.attrs["ramp"], table.attrs["pw"] = len(values), [(0.0, 1.0)], 1e-4
            table[:] = values.astype(CURVE)
    return path


def pulses_and_reads(rng: np.random.Generator, count: int = 40) -> list[Operation]:
    """Programming by pulses with a read after each, as the panel's "pulse and read" records it."""
    conductance, found = 2e-5, [(2e-5 * 0.2, 0.2, 0.0, 0.2, READ)]
    for n in range(count):
        volts = 1.1 if n % 8 < 4 else -1.2
        conductance += float(rng.normal(2e-6, 4e-7)) * np.sign(volts)
        found.append((0.2 * conductance, volts, 1e-6, 0.2, PULSE_READ))
    return found


def sweep(peak: float, on: float, points: int = 31) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Volts and amperes of a double staircase 0 .. peak .. 0 that switches to `on` S half way up."""
    up = np.linspace(0, peak, points)
    volts = np.concatenate([up, up[::-1]])
    conductance = np.where(np.arange(len(volts)) < points // 2, 2e-5, on)
    return volts, volts * conductance


def easyexpert(
    sweeps: Iterable[tuple[str, np.ndarray[Any, Any], np.ndarray[Any, Any]]],
    *,
    separator: str = ", ",
    decimal: str = ".",
    dimension: bool = True,
    record: str = "06/24/2026 09:14:25",
    unit: str = "A",
) -> str:
    """The text of a CSV export with a measurement a sweep."""
    lines: list[str] = []
    for title, volts, amps in sweeps:
        lines += [
            f"SetupTitle, {title}",
            "PrimitiveTest, I/V Sweep",
            "TestParameter, Context.MainFrame, B1500A",
            "TestParameter, Channel.UnitType, SMU, SMU",
            "TestParameter, Channel.Unit, SMU1:HR, SMU2:HR",
            "TestParameter, Channel.IName, I1, I2",
            "TestParameter, Channel.VName, V1, V2",
            "TestParameter, Channel.Mode, V, COMMON",
            "TestParameter, Channel.Func, VAR1, CONST",
            "TestParameter, Measurement.Primary.Locus, Double",
            f"TestParameter, Measurement.Primary.Start, {volts[0]:g}",
            f"TestParameter, Measurement.Primary.Stop, {volts[len(volts) // 2]:g}",
            "TestParameter, Measurement.Primary.Compliance, 0.0002",
            f"AnalysisSetup, Analysis.Setup.Title, {title}",
            "AnalysisSetup, Analysis.Setup.Vector.Graph.XAxis.Name, V1",
            "AnalysisSetup, Analysis.Setup.Vector.List.Datum.Name, V1, I1",
            f"AnalysisSetup, Analysis.Setup.Vector.List.Datum.Unit, V, {unit}",
            f"MetaData, TestRecord.RecordTime, {record}",
        ]
        if dimension:
            lines += [f"Dimension1, {len(volts)}, {len(volts)}", "Dimension2, 1, 1"]
        lines.append("DataName, V1, I1")
        lines += [f"DataValue, {v:.4g}, {i:.6E}".replace(".", decimal) for v, i in zip(volts, amps, strict=True)]
    if separator != ", ":
        lines = [line.replace(", ", separator) for line in lines]
    return "\n".join(lines) + "\n"


def cycles(count: int) -> list[tuple[str, np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """SET and RESET sweeps in turn."""
    return [("Set", *sweep(1.5, 8e-5)) if n % 2 == 0 else ("Reset", *sweep(-1.4, 8e-6)) for n in range(2 * count)]
