"""Quasi-static sweeps of one cell: the B1500A's staircase sweep measurement, there and back, within the limits."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from instruments.array import HIGH_SPEED_SAMPLE, Analyzer, CellArray
from instruments.b1500a import B1500A
from instruments.b1500a_pulses import number
from instruments.errors import ConfigError, DoubtError, InstrumentError, LinkError
from instruments.limits import Limits

_STATUS = {"C": 8, "T": 4, "X": 2, "V": 1}
SETTLE = 100e-6
"""s an SMU takes to settle at a level; an estimate, for planning only."""


@dataclass(frozen=True)
class Sweep:
    """A double staircase: 0 V to `peak` in `steps` levels and back, on the bit line (SET) or the source line (RESET).

    Attributes:
        kind: polarity.
        peak: highest voltage, V > 0.
        gate: word line, V.
        compliance: current limit, A.
        steps: levels one way, 2..5000.
        delay: s between a level and its measurement, 0..65 s.
        averaging: samples of the high-speed converter, 1..1023.
    """

    kind: Literal["set", "reset"]
    peak: float
    gate: float
    compliance: float
    steps: int
    delay: float = 1e-3
    averaging: int = 4

    @property
    def dwell(self) -> float:
        """About how long each level lasts, s."""
        return self.delay + self.averaging * HIGH_SPEED_SAMPLE + SETTLE

    @property
    def volts(self) -> npt.NDArray[np.float64]:
        """The levels there and back, V, shape (2 steps,)."""
        up = np.linspace(0.0, self.peak, self.steps)
        return np.concatenate([up, up[::-1]])

    def check(self, limits: Limits) -> None:
        """Raise LimitError if the sweep would pass a limit; sends nothing."""
        line = limits.bit_line if self.kind == "set" else limits.source_line
        name = "bit" if self.kind == "set" else "source"
        line.check(self.peak, f"{self.kind.upper()} sweep on the {name} line")
        limits.word_line.check(self.gate, f"gate of a {self.kind.upper()} sweep")
        limits.compliance.check(self.compliance, f"compliance of a {self.kind.upper()} sweep")


@dataclass(frozen=True)
class Curve:
    """What a sweep measured, a point a level.

    Attributes:
        amps: current through the cell from the swept line, A; NaN where the converter was over its range.
        limited: where the compliance held the current.
    """

    amps: npt.NDArray[np.float64]
    limited: npt.NDArray[np.bool_]


def sweep(analyzer: Analyzer, cells: CellArray, plan: Sweep) -> Curve:
    """Sweep the selected cell once. The other end of the cell is held at 0 V by its own SMU.

    Raises:
        LimitError: the plan would pass a limit; nothing was sent.
        ConfigError: the source line has no SMU.
        DoubtError: the sweep may have run or not: read the cell.
    """
    plan.check(cells.limits)
    bit, source, word = cells.lines.bit_line, cells.lines.source_line, cells.lines.word_line
    if bit.smu is None or source.smu is None or word.smu is None:
        raise ConfigError("wiring: quasi-static sweeps need an SMU on bit, source and word line")
    swept, held = (bit.smu, source.smu) if plan.kind == "set" else (source.smu, bit.smu)
    if not isinstance(analyzer, B1500A):
        return _by_hand(analyzer, cells, plan, swept, held)
    ports = [line.selector for line in (bit, source) if line.selector is not None]
    analyzer.force_voltage(word.smu, 0.0, cells.settings.compliance)
    for channel in (swept, held):
        analyzer.force_voltage(channel, 0.0, plan.compliance)
    analyzer.connect_selectors({port: "smu" for port in ports})
    analyzer.use_high_speed_adc([swept], plan.averaging)
    analyzer.force_voltage(word.smu, plan.gate, cells.settings.compliance)
    # Mode 3: linear, there and back; WM 1,1: not ended by compliance, back to the start afterwards.
    analyzer.write(
        f"FMT 21,0;MM 2,{swept};CMM {swept},1;RI {swept},0;WM 1,1;WT 0,{number(plan.delay)};"
        f"WV {swept},3,0,0,{number(plan.peak)},{plan.steps},{number(plan.compliance)}"
    )
    analyzer.check_errors()
    try:
        reply = analyzer.ask("XE")
    except LinkError as error:
        analyzer.mend()
        raise DoubtError(f"a sweep may have been made or not ({error})") from error
    analyzer.check_errors()
    analyzer.force_voltage(word.smu, 0.0, cells.settings.compliance)
    return _parse(reply, 2 * plan.steps)


def _by_hand(analyzer: Analyzer, cells: CellArray, plan: Sweep, swept: int, held: int) -> Curve:
    """A staircase of single levels and spot measurements, for analyzers that have no staircase of their own."""
    assert cells.lines.word_line.smu is not None
    word, compliance = cells.lines.word_line.smu, cells.settings.compliance
    analyzer.force_voltage(word, 0.0, compliance)
    for channel in (swept, held):
        analyzer.force_voltage(channel, 0.0, plan.compliance)
    analyzer.use_high_speed_adc([swept], plan.averaging)
    analyzer.force_voltage(word, plan.gate, compliance)
    curve = Curve(np.empty(2 * plan.steps), np.zeros(2 * plan.steps, dtype=np.bool_))
    try:
        for k, volts in enumerate(plan.volts):
            analyzer.force_voltage(swept, float(volts), plan.compliance)
            cells.clock.sleep(plan.delay)
            spot = analyzer.spot_current(swept)
            curve.amps[k], curve.limited[k] = spot.current, spot.in_compliance
    except LinkError as error:
        analyzer.mend()
        raise DoubtError(f"a sweep may have been made in part ({error})") from error
    for channel in (swept, word):
        analyzer.force_voltage(channel, 0.0, compliance)
    return curve


def rest(analyzer: Analyzer, cells: CellArray) -> None:
    """After the last sweep: lines and converter as reads and pulses of `cells` expect them."""
    bit, source = cells.lines.bit_line, cells.lines.source_line
    assert bit.smu is not None
    if source.selector is not None:
        analyzer.connect_selector(source.selector, "pgu")
    choose_converter(analyzer, cells)


def choose_converter(analyzer: Analyzer, cells: CellArray) -> None:
    """Read with the converter that the array's settings name."""
    bit, settings = cells.lines.bit_line.smu, cells.settings
    assert bit is not None
    if settings.adc == "plc":
        analyzer.use_high_resolution_adc([bit], settings.averaging)
    else:
        analyzer.use_high_speed_adc([bit], settings.averaging)


def _parse(reply: str, points: int) -> Curve:
    items = reply.strip().rstrip(",").split(",")
    if len(items) != points:
        raise InstrumentError(f"B1500A: a sweep of {points} points brought {len(items)}; look at its front panel")
    amps, limited = np.empty(points), np.zeros(points, dtype=np.bool_)
    for k, item in enumerate(items):
        flags, kind, text = item[:3], item[4:5], item[5:]
        try:
            value = float(text)
        except ValueError:
            value = np.nan
            kind = ""
        if kind != "I":
            raise InstrumentError(f"B1500A: {item[:40]!r} is no current of a sweep")
        status = int(flags) if flags.isdigit() else _STATUS.get(flags[-1], 0)
        amps[k] = np.nan if abs(value) > 1e99 else value
        limited[k] = bool(status & 8)
    return Curve(amps, limited)
