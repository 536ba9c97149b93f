"""EasyEXPERT: the CSV (text) files that a B1500A's software exports of its test results.

A file is one measurement after another. Each begins with `SetupTitle`; `TestParameter`, `AnalysisSetup` and `MetaData`
lines follow as `kind, key, value, ...`, then `Dimension1` (points of the first sweep, one number a column) and perhaps
`Dimension2` (steps of the second), then `DataName` with the columns' names and a `DataValue` line a point. Some
countries' settings separate by semicolon or tabulator and write a decimal comma; texts may be UTF-8, UTF-16 or Latin-1.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analysis.errors import AnalysisError
from analysis.imports.foreign import NAN, UNITS, Foreign, Kept, Step, Sweep, dataset_name

MOST_BYTES: Final = 1 << 27
MOST_VALUES: Final = 4_000_000
"""Numbers of a file, all columns and measurements together; some 1.5 GB of memory."""
MOST_CURVES: Final = 5000
"""Columns, all measurements together: each is an array of the run, and a run holds so many."""
_FEWER: Final = "export fewer results at a time"
_HEAD: Final = 1 << 12
_DIMENSIONS: Final = 8
_LEAST_VOLTS: Final = 1e-3
"""V below which current over voltage says nothing of a conductance."""
_FIRST: Final = re.compile(r"\s*\"?(SetupTitle|PrimitiveTest|ApplicationTest|ClassicTest|TestParameter)\"?\s*([,;\t])")
_WHOLE: Final = re.compile(r"E[+-]\d\d+\"?$", re.IGNORECASE)
"""How a number ends that is not cut off."""
_OTHER: Final = re.compile(r"\s*\"?Setup title\"?\s*[,;\t]")
_TIMES: Final = (
    "%m/%d/%Y %H:%M:%S", "%Y/%m/%d %H:%M:%S", "%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %I:%M:%S %p",
)  # fmt: skip
_BY_INITIAL: Final = {"v": "V", "i": "A", "t": "s", "r": "ohm", "g": "S", "c": "F", "f": "Hz"}


@dataclass
class Measurement:
    """One measurement of a file: its settings, `columns` and `points` [point, column]; `line`: where it begins."""

    title: str
    line: int
    settings: dict[str, list[str]] = field(default_factory=dict)
    dimensions: list[list[int]] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    points: list[list[float]] = field(default_factory=list)

    def values(self) -> npt.NDArray[np.float64]:
        """The points, [point, column]."""
        return np.asarray(self.points, dtype=np.float64).reshape(-1, len(self.columns))


def is_easyexpert(path: Path) -> bool:
    """Whether the file begins as an EasyEXPERT export does; the other export of its is told apart in reading."""
    with path.open("rb") as file:
        head = _decoded(file.read(_HEAD), cut=True)
    line = next((one for one in head.splitlines() if one.strip()), "")
    return _FIRST.match(line) is not None or _OTHER.match(line) is not None


def read_easyexpert(path: Path) -> Foreign:
    """Read an EasyEXPERT CSV file.

    Raises:
        AnalysisError: it is cut off, a line is not as it should be, or it has no data; says which line.
    """
    if path.stat().st_size > MOST_BYTES:
        raise AnalysisError(f"{path} is larger than {MOST_BYTES >> 20} MiB: {_FEWER}")
    text = _decoded(path.read_bytes())
    lines = text.splitlines()
    first = next((one for one in lines if one.strip()), "")
    found = _FIRST.match(first)
    if found is None:
        raise AnalysisError(
            f"{path} is an automatic export of EasyEXPERT ({first.split(',')[0]} ...): it can't be imported; "
            "export the results from the results list as CSV, which begins with SetupTitle"
        )
    if lines[-1].lstrip().startswith("DataValue") and not text.endswith(("\n", "\r")) and not _WHOLE.search(lines[-1]):
        raise AnalysisError(
            f"{path} ends within line {len(lines)}: it may be cut off in the middle of a number; export it again, or "
            "end the line if it is whole"
        )
    measured = _measurements(lines, found[2], path)
    return _foreign(measured, path)


def _decoded(content: bytes, *, cut: bool = False) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", "ignore" if cut else "replace")
    try:
        return content.decode("utf-8-sig", "ignore" if cut else "strict")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _measurements(lines: Sequence[str], separator: str, path: Path) -> list[Measurement]:
    found: list[Measurement] = []
    current: Measurement | None = None
    values = curves = 0
    for number, line in enumerate(lines, start=1):
        fields = [one.strip().strip('"') for one in line.split(separator)]
        key = fields[0]
        if not any(fields):
            continue
        if key == "SetupTitle" or current is None:
            current = Measurement(" ".join(fields[1:]).strip() if key == "SetupTitle" else "", number)
            found.append(current)
        if key == "DataName":
            names = [one for one in fields[1:] if one]
            if not names:
                raise AnalysisError(f"line {number} of {path} names no column after DataName")
            if current.columns:  # a test that was appended to, with its settings as before
                current = Measurement(current.title, number, current.settings, current.dimensions)
                found.append(current)
            current.columns = names
            curves += len(names)
            if curves > MOST_CURVES:
                raise AnalysisError(f"{path} has more than {MOST_CURVES} columns up to line {number}: {_FEWER}")
        elif key == "DataValue":
            if not current.columns:
                raise AnalysisError(f"line {number} of {path} has values, but no DataName line came before it")
            values += len(current.columns)
            if values > MOST_VALUES:
                raise AnalysisError(f"{path} has more than {MOST_VALUES} values up to line {number}: {_FEWER}")
            current.points.append(_point(line, separator, len(current.columns), number, path))
        elif key.startswith("Dimension"):
            current.dimensions.append(_counts(fields[1:], number, path))
            if len(current.dimensions) > _DIMENSIONS:
                raise AnalysisError(f"line {number} of {path}: a measurement has two dimensions at most")
        elif key in ("TestParameter", "AnalysisSetup", "MetaData") and len(fields) > 1:
            current.settings[fields[1]] = fields[2:]
        elif key not in ("SetupTitle", "PrimitiveTest", "ApplicationTest", "ClassicTest"):
            raise AnalysisError(f"line {number} of {path} begins with {key[:40]!r}, which no EasyEXPERT export has")
        elif len(fields) > 1 and key != "SetupTitle":
            current.settings[key] = fields[1:]
    for one in found:
        _check_whole(one, path)
    if not any(one.points for one in found):
        raise AnalysisError(f"{path} has settings but no measured point: its DataValue lines are missing")
    return [one for one in found if one.points]


def _point(line: str, separator: str, count: int, number: int, path: Path) -> list[float]:
    """The values of a DataValue line; an empty one is NaN."""
    texts = [one.strip().strip('"') for one in line.split(separator)][1:]
    while len(texts) > count and not texts[-1]:
        texts.pop()
    if len(texts) != count and separator == ",":
        # A decimal comma and a comma between: what stands apart is followed by a blank.
        apart = [one.strip() for one in re.split(r",\s+", line.strip())][1:]
        texts = apart if len(apart) == count else texts
    if len(texts) != count:
        raise AnalysisError(
            f"line {number} of {path} has {len(texts)} values for {count} columns: the file is cut off or damaged"
            + (
                ", or has decimal commas and no blanks between values"
                if len(texts) > count and separator == ","
                else ""
            )
        )
    return [_number(text, number, path) for text in texts]


def _number(text: str, line: int, path: Path) -> float:
    if not text:
        return NAN
    try:
        value = float(text.replace(",", "."))
    except ValueError as error:
        raise AnalysisError(f"line {line} of {path}: {text[:40]!r} is no number") from error
    # 9.91E+37 is SCPI's not-a-number, 1E+37 and more an overflow.
    return value if math.isfinite(value) and abs(value) < 1e37 else NAN


def _counts(texts: Sequence[str], line: int, path: Path) -> list[int]:
    counts = [text for text in texts if text]
    odd = [text for text in counts if not re.fullmatch(r"\d{1,9}", text, re.ASCII)]
    if odd:
        raise AnalysisError(f"line {line} of {path}: a dimension is a count of points, not {odd[0]!r:.40}")
    return [int(text) for text in counts]


def _check_whole(one: Measurement, path: Path) -> None:
    """A file that was cut off at the end of a line still has fewer points than its dimensions say."""
    due = math.prod(max(counts, default=1) for counts in one.dimensions) if one.dimensions else len(one.points)
    if one.columns and len(one.points) < due:
        raise AnalysisError(
            f"{path} ends before its data do: {one.title or 'the measurement'} from line {one.line} on has "
            f"{len(one.points)} of {due} points; export it again"
        )


def _foreign(measured: Sequence[Measurement], path: Path) -> Foreign:
    steps: list[Step] = []
    sweeps: list[Sweep] = []
    data: dict[str, Kept] = {}
    about: list[dict[str, Any]] = []
    for number, one in enumerate(measured):
        values = one.values()
        roles = _roles(one)
        units = _units(one)
        for column, name in enumerate(one.columns):
            place = f"curves/m{number}/{dataset_name(name)}"
            place = f"{place}_{column}" if place in data else place
            said = f"{name} of measurement {number}: {one.title}"
            data[place] = Kept(values[:, column], units[column], said)
        told = {"title": one.title, "columns": one.columns, "points": len(one.points), "settings": one.settings}
        about.append(told | {"roles": {role: one.columns[column] for role, column in roles.items()}})
        if "voltage" in roles and "current" in roles:
            sweeps.append(Sweep(values[:, roles["voltage"]], values[:, roles["current"]], one.title))
            steps += _steps(values, roles)
    frame = next(
        (one.settings["Context.MainFrame"][0] for one in measured if one.settings.get("Context.MainFrame")), ""
    )
    remarks = ["every point of a sweep is a read at that voltage; conductance is current over voltage"]
    if not sweeps:
        remarks = ["no voltage and current were recognised among the columns: they are kept as data only"]
    return Foreign(
        form="EasyEXPERT CSV",
        title=measured[0].title or path.stem,
        started=next((text for text in map(_recorded, measured) if text), ""),
        instrument=f"{frame or 'B1500A'}, EasyEXPERT",
        rows=1,
        cols=1,
        steps=tuple(steps),
        data=data,
        about={"measurements": about},
        remarks=tuple(remarks),
        sweeps=tuple(sweeps),
    )


def _roles(one: Measurement) -> dict[str, int]:
    """Columns that are the swept voltage, its current, the gate and the time, as far as settings and names tell."""
    lower = [name.lower() for name in one.columns]
    volts, amps, functions = (
        [text.lower() for text in one.settings.get(f"Channel.{key}", [])] for key in ("VName", "IName", "Func")
    )
    swept = next((n for n, text in enumerate(functions) if text == "var1"), None)
    axis = [text.lower() for key in _AXES for text in one.settings.get(key, [])[:1]]
    wanted = [volts[swept]] if swept is not None and swept < len(volts) else []
    wanted += [name for name in axis if name.startswith("v")] + [name for name in lower if name.startswith("v")]
    roles: dict[str, int] = {}
    voltage = next((name for name in wanted if name in lower), None)
    if voltage is not None:
        roles["voltage"] = lower.index(voltage)
        own = [amps[volts.index(voltage)]] if voltage in volts and volts.index(voltage) < len(amps) else []
        # V1 goes with I1, VD with ID.
        own += [f"i{voltage[1:]}", *(name for name in lower if name.startswith("i"))]
        current = next((name for name in own if name in lower), None)
        if current is not None:
            roles["current"] = lower.index(current)
    gate = next((name for name in lower if name.startswith("vg") and name != voltage), None)
    if gate is not None:
        roles["gate"] = lower.index(gate)
    time = next((name for name in lower if name in ("time", "t", "@time", "timestamp")), None)
    if time is not None:
        roles["time"] = lower.index(time)
    return roles


_AXES: Final = ("Analysis.Setup.Vector.Graph.XAxis.Name", "Output.Graph.XAxis.Data")


def _units(one: Measurement) -> list[str]:
    """Units of the columns: as the file lists them beside their names, else by the names."""
    names = one.settings.get("Analysis.Setup.Vector.List.Datum.Name", [])
    given = dict(zip(names, one.settings.get("Analysis.Setup.Vector.List.Datum.Unit", []), strict=False))
    spelled = {"Ω": "ohm", "Ohm": "ohm", "sec": "s", "": ""}
    found = []
    for name in one.columns:
        unit = given.get(name, "") or UNITS.get(name.lower(), "") or _BY_INITIAL.get(name[:1].lower(), "")
        found.append(spelled.get(unit, unit))
    return found


def _steps(values: npt.NDArray[np.float64], roles: dict[str, int]) -> list[Step]:
    steps = []
    for point in values.tolist():
        volts, amps = point[roles["voltage"]], point[roles["current"]]
        known = abs(volts) >= _LEAST_VOLTS and math.isfinite(amps)
        steps.append(
            Step(
                "read", 0, 0, volts, gate=point[roles["gate"]] if "gate" in roles else NAN,
                conductance=amps / volts if known else NAN, current=amps,
                time=point[roles["time"]] if "time" in roles else NAN,
            )
        )  # fmt: skip
    return steps


def _recorded(one: Measurement) -> str:
    text = " ".join(one.settings.get("TestRecord.RecordTime", [])[:1])
    for form in _TIMES:
        try:
            return datetime.strptime(text, form).isoformat()
        except ValueError:
            continue
    return ""
