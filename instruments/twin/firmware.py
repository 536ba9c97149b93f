"""The board's published firmware: what its STM32F407 does with a line of text and a 5 ms timer interrupt.

Pure logic on a tick count; the panel owns the serial line and the clock. The coefficient tables
(`firmware_tables.json`), the order of writes, the arithmetic in single precision and every quirk are facts of
the published program (yangjc97/memristor-sde-diffusion, `MCU_Project/HDPM`, commit 2ec8b0b). Kept on purpose:

- the line buffer is never cleared: a short line reuses the end of an earlier one, an empty line repeats the
  last command; digits are not validated; a CR without LF drops the line;
- `Go` is acknowledged always, obeyed only above the 1000th tick since the last run or the 120,000-tick wrap;
- DAC codes are not clamped: below 0 they saturate, from 4096 on they spill into the command nibble, so that a
  word for output A reaches B and one for C reaches D (`instruments.twin.dac`);
- noise is taken after time has advanced, scaled with beta (not its square root), and held after the run.

The tick counter is computed from the tick number, so an idle board costs nothing.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Final

import numpy as np
import numpy.typing as npt

from instruments.twin.dac import (
    CHIPS,
    COLUMNS,
    MID,
    NIBBLES,
    WORD_RECORD,
    Route,
    RunTrace,
    SwitchEdge,
    Words,
    dac_codes,
    decode,
)

__all__ = ["COLUMNS", "RUN_TICKS", "TICK_NS", "Firmware", "LineBuffer", "RunTrace", "Settings", "type_tables"]

Float32s = npt.NDArray[np.float32]

TICK_NS: Final = 5_000_000
SETTLE_NS: Final = 100_000  # between the two pairs of switches
WORD_NS: Final = 64_000  # 16 bits, 2 us high and 2 us low each, bit-banged: the least a word can take
WRAP: Final = 120_000
DEAD_TICKS: Final = 1000
LINE_BYTES: Final = 200


def _run_times() -> Float32s:
    """Algorithm time of each tick as the firmware adds it up in float32, beyond the last active one."""
    steps = np.full(260, 0.005, dtype=np.float32)
    steps[0] = 0.0
    return np.add.accumulate(steps)


TIMES: Final = _run_times()
RUN_TICKS: Final = int(np.count_nonzero(np.less_equal(TIMES, np.float32(1.2))))  # 241


@dataclass(frozen=True)
class TypeTable:
    """A coefficient set: frequencies w (7,), constants c (14,), and a scale in place of 5 x bias, or None."""

    w: Float32s
    c: Float32s
    scale: float | None


@cache
def type_tables() -> dict[str, TypeTable]:
    """The 21 published coefficient sets by type character."""
    text = resources.files("instruments.twin").joinpath("firmware_tables.json").read_text(encoding="utf-8")
    return {
        key: TypeTable(np.array(row["w"], np.float32), np.array(row["c"], np.float32), row["scale"])
        for key, row in json.loads(text)["types"].items()
    }


_SINE: Final = np.sin(2 * np.pi * np.arange(513) / 512).astype(np.float32)


def _table_sine(phase: Float32s, quarter: float) -> Float32s:
    """Sine (quarter 0) or cosine (0.25) as the CMSIS library has it: 512 points, linear between them."""
    turns = phase * np.float32(0.159154943092) + np.float32(quarter)
    where = np.float32(512) * (turns - np.floor(turns))
    index = where.astype(np.int64)
    share = where - index.astype(np.float32)
    index %= 512  # a fraction that rounds up to 1 starts over
    sine: Float32s = (np.float32(1) - share) * _SINE[index] + share * _SINE[index + 1]
    return sine


_ZERO, _TENTH, _HALF, _ONE = (np.float32(x) for x in (0.0, 0.1, 0.5, 1.0))


@dataclass
class Settings:
    """What the commands set; volatile. The defaults are the firmware's at power-on.

    `drift` scales fx, `trim` makes a table's noise columns voltages of their own, `analog` and `routes` set
    potentiometers and crosspoints; they exist in the extended dialect only.
    """

    table: TypeTable = field(default_factory=lambda: type_tables()["0"])
    kind: str = "0"
    noise: bool = False
    scale: np.float32 = _HALF
    bias: np.float32 = _TENTH
    score: np.float32 = _ONE
    drift: np.float32 = _ONE
    noise_scale: np.float32 = _ONE
    offsets: tuple[np.float32, np.float32] = (_ZERO, _ZERO)
    trim: bool = False
    analog: dict[str, float] = field(default_factory=dict)
    routes: dict[int, Route] = field(default_factory=dict)

    def select(self, kind: str) -> None:
        """Take the coefficient set `kind` and the scale that goes with it and the present bias."""
        self.table = type_tables()[kind]
        self.kind = kind
        fixed = self.table.scale
        self.scale = self.bias * np.float32(5) if fixed is None else np.float32(fixed)


@dataclass
class _Run:
    first: int
    ticks: int
    codes: Words | None  # (ticks, 18), or None: computed from the settings
    initial: tuple[float, float] | None
    words: Words
    planned: int
    done: int = 0


class LineBuffer:
    """The UART interrupt: 200 bytes that are never cleared, a line ended by CR LF."""

    def __init__(self) -> None:
        self.data = bytearray(LINE_BYTES)
        self.ready = False
        self._count = 0
        self._cr = False

    def receive(self, byte: int) -> None:
        """Take one byte; it is lost while a finished line waits to be read."""
        if self.ready:
            return
        if self._cr:
            self.ready = byte == 0x0A
            if not self.ready:
                self._count, self._cr = 0, False
        elif byte == 0x0D:
            self._cr = True
        else:
            self.data[self._count] = byte
            self._count = (self._count + 1) % LINE_BYTES

    @property
    def text(self) -> bytes:
        """The line received so far."""
        return bytes(self.data[: self._count])

    def release(self) -> None:
        """The main loop has read the line: listen again, from the buffer's start."""
        self.ready, self._cr, self._count = False, False, 0


class Firmware:
    """Commands and timer interrupts of the published program.

    Args:
        generator: gives the random source of one run's noise; called at most once a run.
        start: instant of power-on on the board's clock, s.
    """

    def __init__(self, generator: Callable[[], np.random.Generator], start: float = 0.0) -> None:
        self.settings = Settings()
        self.line = LineBuffer()
        self.tick = 0
        self.dropped = 0
        self.runs = 0
        self._generator = generator
        self._rng: np.random.Generator | None = None
        self._start = start
        self._zero = 0
        self._go = False
        self._run: _Run | None = None
        self._last = (0, 0)
        self._held = np.full(18, MID, dtype=np.int64)

    @property
    def counter(self) -> int:
        """Ticks since power-on, the last run's start or the last wrap."""
        return (self.tick - self._zero) % WRAP

    @property
    def due(self) -> int | None:
        """The tick of what happens next by itself: a request is looked at, or a run ends; None when idle."""
        if self._run is not None:
            return self._run.first + self._run.ticks
        return self.tick + 1 if self._go else None

    def progress(self) -> tuple[str, int, int]:
        """Phase ("idle", "precharge", "running" or "done"), active ticks written and asked for."""
        run = self._run
        if run is not None:
            return ("precharge" if self.tick < run.first else "running"), run.done, run.planned
        return ("done" if self.runs else "idle"), *self._last

    def execute(self) -> list[bytes]:
        """Main loop: act on the finished line in the buffer; the replies, without CR LF."""
        data, settings = self.line.data, self.settings
        head = chr(data[0])
        replies: list[bytes] = []
        if data[:2] == b"In":
            replies.append(b"Type:" + bytes([data[2]]) + b"\tStart...")
            if chr(data[2]) in type_tables():
                settings.select(chr(data[2]))
            if data[3] in b"01":
                settings.noise = data[3] == 0x31
        elif data[:2] == b"Go":
            self._go = True
            replies.append(b"")
        elif head == "O":
            settings.offsets = (self._number(1, 2) - np.float32(0.5), self._number(3, 2) - np.float32(0.5))
            first, second = settings.offsets
            replies.append(f"Offset set1: {first:f}\nOffset set2: {second:f}".encode())
        elif head == "C":
            value = self._number(1, 3)
            if 0 < value < 10:
                settings.score = value
            replies.append(f"Coef: {settings.score:f}".encode())
        elif head == "D":
            bias = {0x30: 0.05, 0x31: 0.1, 0x32: 0.2}.get(data[1])
            if bias is not None:
                settings.bias = np.float32(bias)  # reaches the outputs at the next In
            replies.append(f"V_bias and DAC coef: {settings.bias:f}".encode())
        elif head == "N":
            settings.noise_scale = self._number(1, 3)
            replies.append(f"Noise Scale: {settings.noise_scale:f}".encode())
        self.line.release()
        return replies

    def _number(self, start: int, digits: int) -> np.float32:
        value = 0
        for byte in self.line.data[start : start + digits]:
            value = value * 10 + byte - 48
        return np.float32(value) * np.float32(0.01)

    def start(self, ticks: int, codes: Words | None, initial: tuple[float, float] | None, precharge_ticks: int) -> None:
        """Extended dialect: a run of `ticks` after `precharge_ticks` more, whatever the counter says."""
        self._plan(self.tick + 1 + precharge_ticks, ticks, codes, initial)

    def _plan(self, first: int, ticks: int, codes: Words | None, initial: tuple[float, float] | None) -> None:
        words = np.zeros((ticks + 1, 18), dtype=np.uint16)
        self._run = _Run(first, ticks, codes, initial, words, ticks)
        self._zero, self._rng = first, None
        self.runs += 1

    def stop(self) -> None:
        """Extended dialect: end the run with the next interrupt's closing write; drop one not yet begun."""
        self._go = False
        run = self._run
        if run is None:
            return
        if self.tick < run.first:
            self._run, self._last = None, (0, run.planned)
        elif run.done < run.ticks:
            run.ticks = run.done

    def refuse_go(self) -> None:
        """Extended dialect: forget a Go that came in the wrong mode."""
        if self._go:
            self._go = False
            self.dropped += 1

    def advance(self, tick: int) -> list[RunTrace]:
        """Serve every timer interrupt up to number `tick`; the runs that ended on the way."""
        ended: list[RunTrace] = []
        while self.tick < tick:
            if self._run is None:
                if not self._go:
                    self.tick = tick
                    break
                self._go = False
                if (self.tick + 1 - self._zero) % WRAP > DEAD_TICKS:
                    self._plan(self.tick + 1, RUN_TICKS, None, None)
                else:
                    self.dropped += 1
                continue
            run = self._run
            self.refuse_go()  # the run restarted the counter, so it can't have passed the dead time
            upto = min(tick - run.first + 1, run.ticks)
            if upto > run.done:
                run.words[run.done : upto] = self._active(run, run.done, upto)
                run.done = upto
            if tick >= run.first + run.ticks:
                run.words[run.ticks] = self._closing()
                self.tick = run.first + run.ticks
                ended.append(self._trace(run))
                self._run, self._last = None, (run.done, run.planned)
            else:
                self.tick = tick
        return ended

    def _active(self, run: _Run, start: int, stop: int) -> Words:
        settings, table = self.settings, self.settings.table
        if run.codes is not None:
            codes = run.codes[start:stop].copy()
            envelope: npt.NDArray[np.floating] = codes[:, 16:].astype(np.float64) / MID - 1.0
        else:
            left = np.float32(1) - TIMES[start:stop]
            beta = left * np.float32(0.499) + np.float32(0.001)
            phase = (np.float32(2 * np.pi) * table.w)[None, :] * left[:, None]
            volts = np.zeros((stop - start, 18), dtype=np.float32)
            volts[:, 0] = np.float32(0.5) * beta * settings.score
            volts[:, 1] = np.float32(-0.25) * beta * settings.drift
            volts[:, 2:9] = settings.scale * (_table_sine(phase, 0.0) + table.c[:7])
            volts[:, 9:16] = settings.scale * (_table_sine(phase, 0.25) + table.c[7:])
            codes = dac_codes(volts)
            # The firmware advances time before it draws the noise.
            after = np.float32(1) - TIMES[start + 1 : stop + 1]
            envelope = np.repeat((after * np.float32(0.499) + np.float32(0.001))[:, None], 2, axis=1)
        codes[:, 16:] = self._noise(envelope)
        words: Words = codes | (NIBBLES << np.uint16(12))
        return words

    def _closing(self) -> Words:
        codes = np.full((1, 18), MID, dtype=np.uint16)
        after = np.float32(1) - TIMES[1]
        codes[:, 16:] = self._noise(np.full((1, 2), after * np.float32(0.499) + np.float32(0.001)))
        words: Words = (codes | (NIBBLES << np.uint16(12)))[0]
        return words

    def _noise(self, envelope: npt.NDArray[np.floating]) -> Words:
        """Noise channels: N scale envelope + offset, N twelve uniforms of 13 bits less six."""
        volts: npt.NDArray[np.floating] = np.broadcast_to(np.array(self.settings.offsets, np.float32), envelope.shape)
        if self.settings.trim:
            volts = (envelope + volts).astype(np.float32)
        elif self.settings.noise:
            if self._rng is None:
                self._rng = self._generator()
            draws = self._rng.integers(1, 8193, size=(*envelope.shape, 12)).sum(axis=-1) / 8192.0 - 6.0
            volts = (draws * self.settings.noise_scale * envelope + volts).astype(np.float32)
        return dac_codes(volts)

    def _trace(self, run: _Run) -> RunTrace:
        words = run.words[: run.ticks + 1]
        records = np.zeros(words.size, dtype=WORD_RECORD)
        ticks = np.repeat(np.arange(len(words)), 18)
        delayed = (ticks == 0) | (ticks == run.ticks)
        latch = ticks * TICK_NS + delayed * SETTLE_NS + np.tile(np.arange(1, 19) * WORD_NS, len(words))
        records["tick"], records["time"], records["word"] = ticks, latch / 1e9, words.ravel()
        records["chip"] = np.tile(CHIPS, len(words))
        end = run.ticks * TICK_NS
        opening = ((0, "S3", 1), (0, "S1", 1), (SETTLE_NS, "S4", 1), (SETTLE_NS, "S2", 1))
        closing = ((end, "S4", 0), (end, "S2", 0), (end + SETTLE_NS, "S3", 0), (end + SETTLE_NS, "S1", 0))
        edges = tuple(SwitchEdge(at / 1e9, name, level) for at, name, level in opening + closing)
        start = self._start + run.first * TICK_NS / 1e9
        volts, settings = decode(words, self._held), self.settings
        stopped = run.ticks < run.planned
        return RunTrace(
            start, records, volts, edges, run.initial, stopped, dict(settings.analog), dict(settings.routes)
        )
