"""Verbs of the board's extended dialect: what a checked frame makes the simulated board do.

The specification is instruments/board_protocol.md; the framing is `instruments.board_frames`. All state here is
lost at power-off, as on a board without battery.
"""

from collections.abc import Callable, Generator
from typing import Final

import numpy as np
import simpy

from instruments import board_frames as frames
from instruments.clock import NS, VirtualClock
from instruments.twin.dac import Words
from instruments.twin.firmware import RUN_TICKS, TICK_NS, Firmware, Settings, type_tables
from instruments.twin.line_rate import LineRate
from instruments.twin.panels.board_arguments import Refusal, checked, lines, real, switch, whole
from instruments.twin.panels.board_columns import CAPABILITIES as COLUMN_CAPABILITIES
from instruments.twin.panels.board_columns import ColumnVerbs, Switches

DIALECT: Final = "1.2"
CAPABILITIES: Final = "SEL+INIT+GAIN+TABLE+RUN+WATCHDOG+ANALOG+ROUTE"
SELECT_SETTLE: Final = 10e-6
"""s from a cell selection to its acknowledgement: a shift register of 74 bits at 10 MHz, then TMUX1134 (< 1 us)."""
MODE_SETTLE: Final = 1e-3
"""s that the board stays in SAFE between two modes, and waits after a change: op-amps recover from open loops."""
PRECHARGE_TICKS: Final = 4
"""Ticks (20 ms) for which the integrators are held at the initial state before a run."""
TABLE_TICKS: Final = 2000
"""Longest coefficient table: 72 kB of the microcontroller's memory."""
INITIAL_VOLTS: Final = 5.0
OFFSET_VOLTS: Final = 1.0

_GAINS: Final[dict[str, tuple[float, float]]] = {
    "SCORE": (0.0, 3.99),
    "DRIFT": (0.0, 3.99),
    "NOISE": (0.0, 9.99),
    "BIAS": (0.01, 0.2),
}
_ANALOG: Final[dict[str, tuple[float, float]]] = {
    "RF1": (1e4, 1e6),
    "RF2": (1e4, 1e6),
    "RF3": (1e4, 1e6),
    "OUT": (0.5, 20.0),
    "KX": (0.1, 100.0),
    "KN": (0.1, 100.0),
    "KZ": (0.1, 100.0),
}
"""Digital potentiometers: the layers' feedback resistors (ohm), the output gain, the loop gains (1/(V s), KZ 1/s)."""


class Verbs:
    """State and verbs of the extended dialect.

    Args:
        firmware: runs and settings.
        clock: the bench's clock.
        switches: the bench's wires.
        serial: serial number to report.
        sync: brings the firmware up to the clock's present and delivers runs that ended.
        rate: of the serial line; None for a board without column mode, which has no need of another one.
    """

    def __init__(
        self,
        firmware: Firmware,
        clock: VirtualClock,
        switches: Switches,
        serial: str,
        sync: Callable[[], None],
        rate: LineRate | None = None,
    ) -> None:
        self.mode = "SAFE"
        self.plain = True
        self._rate = rate
        self._columns = None if rate is None else ColumnVerbs(clock, switches, self._connect_column, rate)
        self._firmware, self._clock, self._switches = firmware, clock, switches
        self._serial, self._sync = serial, sync
        self._last: tuple[frames.Frame, bytes] | None = None
        self._watching: simpy.Process | None = None
        self._last_frame_ns = clock.now_ns
        self._power_on("POWER-ON")

    def _power_on(self, cause: str) -> None:
        self._firmware.settings = Settings()
        self._initial = (0.0, 0.0)
        self._table: Words | None = None
        self._table_text, self._from_table = "", False
        self._upload: list[str] = []
        self._watchdog = 0.0
        self._make_safe(cause)

    def _make_safe(self, cause: str) -> None:
        self.mode, self._cause = "SAFE", cause
        self._cell: tuple[int, int, int] | None = None
        self._switches.connect("safe", -1, -1, -1)

    def reply(self, frame: frames.Frame) -> bytes:
        """Execute a frame, or answer one already executed from memory; the reply without CR LF."""
        self._last_frame_ns = self._clock.now_ns
        if frame.seq and self._last is not None and self._last[0] == frame:
            return self._last[1]
        self.plain = False
        try:
            body = f"OK {self._execute(frame.body)}".rstrip()
        except Refusal as refusal:
            body = f"ERR {refusal.code} {refusal.text}"
        answer = frames.encode_frame(frame.seq, body)
        self._last = (frame, answer)
        return answer

    def _execute(self, body: str) -> str:
        verb, *arguments = body.split(" ")
        if self._columns is not None and verb in self._columns.verbs:
            return self._columns.execute(verb, arguments)
        handler = getattr(self, f"_do_{_VERBS.get(verb, '')}", None)
        if handler is None:
            raise Refusal(frames.UNKNOWN_VERB, "unknown verb")
        answer: str = handler(*checked(arguments, *_ARITY[verb]))
        return answer

    def _idle(self) -> None:
        if self._firmware.progress()[0] in ("precharge", "running"):
            raise Refusal(frames.BUSY, "a run is going on: STOP or wait")

    # Identity and modes

    def _do_id(self) -> str:
        if self._columns is None:
            return f"ohmflow-twin,HDPM-X,{self._serial},1.1,{CAPABILITIES}"
        return f"ohmflow-twin,HDPM-X,{self._serial},{DIALECT},{CAPABILITIES}+{COLUMN_CAPABILITIES}"

    def _do_geometry(self) -> str:
        return f"{self._switches.arrays} {self._switches.rows} {self._switches.cols}"

    def _do_mode(self, wanted: str) -> str:
        if wanted == "SAFE":
            return self._do_safe()
        if wanted not in ("PROGRAM", "COMPUTE"):
            raise Refusal(frames.BAD_ARGUMENTS, "mode is SAFE, PROGRAM or COMPUTE")
        if wanted != self.mode:
            self._idle()
            self._make_safe("HOST")
            self._clock.sleep(MODE_SETTLE)
            self._switches.connect(wanted.lower(), -1, -1, -1)
            self._clock.sleep(MODE_SETTLE)
            self.mode, self._cause = wanted, "HOST"
            self._watch()
        return wanted

    def _do_get_mode(self) -> str:
        return f"{self.mode} {self._cause}"

    def _do_safe(self) -> str:
        self._make_safe("HOST")
        self._do_stop()
        return "SAFE"

    def _do_reset(self) -> str:
        self._do_safe()
        self._power_on("HOST")
        if self._rate is not None:
            self._rate.change(self._rate.base)
        return ""

    def _do_select(self, *place: str) -> str:
        if self.mode != "PROGRAM":
            raise Refusal(frames.WRONG_MODE, "cells are selected in PROGRAM")
        if place == ("NONE",):
            self._cell = None
        elif len(place) == 3:
            sizes = (self._switches.arrays, self._switches.rows, self._switches.cols)
            array, row, col = (whole(text, 0, size - 1) for text, size in zip(place, sizes, strict=True))
            self._cell = (array, row, col)
        else:
            raise Refusal(frames.BAD_ARGUMENTS, "SEL needs array, row and column, or NONE")
        self._switches.connect("program", *(self._cell or (-1, -1, -1)))
        self._clock.sleep(SELECT_SETTLE)
        return self._do_get_select()

    def _do_get_select(self) -> str:
        return "NONE" if self._cell is None else "{} {} {}".format(*self._cell)

    def _connect_column(self, place: tuple[int, int] | None) -> None:
        if self.mode != "PROGRAM":
            raise Refusal(frames.WRONG_MODE, "columns are connected in PROGRAM")
        self._cell = None
        if place is None:
            self._switches.connect("program", -1, -1, -1)
        else:
            self._switches.connect_column(*place)
        self._clock.sleep(SELECT_SETTLE)

    def _do_watchdog(self, seconds: str) -> str:
        value = real(seconds, 0.0, 3600.0)
        if 0 < value < 0.5:
            raise Refusal(frames.OUT_OF_RANGE, "0 (off) or 0.5..3600 s")
        self._watchdog = value
        self._watch()
        return self._do_get_watchdog()

    def _do_get_watchdog(self) -> str:
        return f"{self._watchdog:.3f}"

    def _watch(self) -> None:
        if self._watching is None or not self._watching.is_alive:
            self._watching = self._clock.env.process(self._guard())

    def _guard(self) -> Generator[simpy.Event, None, None]:
        while self.mode == "PROGRAM" and self._watchdog > 0:
            left = self._last_frame_ns + round(self._watchdog * NS) - self._clock.now_ns
            if left <= 0:
                self._make_safe("WATCHDOG")
                return
            yield self._clock.env.timeout(left)

    def _do_plain(self, state: str) -> str:
        self.plain = switch(state)
        return state

    # What a run plays

    def _do_initial(self, x: str, y: str) -> str:
        self._idle()
        self._initial = (real(x, -INITIAL_VOLTS, INITIAL_VOLTS), real(y, -INITIAL_VOLTS, INITIAL_VOLTS))
        return self._do_get_initial()

    def _do_get_initial(self) -> str:
        return "{:.6f} {:.6f}".format(*self._initial)

    def _do_type(self, kind: str) -> str:
        self._idle()
        if kind not in type_tables():
            raise Refusal(frames.OUT_OF_RANGE, f"types are {''.join(type_tables())}")
        self._firmware.settings.select(kind)
        return kind

    def _do_get_type(self) -> str:
        return self._firmware.settings.kind

    def _do_noise(self, state: str) -> str:
        self._idle()
        settings = self._firmware.settings
        settings.trim = state == "TRIM"
        settings.noise = not settings.trim and switch(state)
        return state

    def _do_get_noise(self) -> str:
        settings = self._firmware.settings
        return "TRIM" if settings.trim else "ON" if settings.noise else "OFF"

    def _do_analog(self, name: str, text: str) -> str:
        self._idle()
        if name not in _ANALOG:
            raise Refusal(frames.BAD_ARGUMENTS, f"analog settings are {', '.join(_ANALOG)}")
        self._firmware.settings.analog[name] = real(text, *_ANALOG[name])
        return self._do_get_analog(name)

    def _do_get_analog(self, name: str) -> str:
        if name not in _ANALOG:
            raise Refusal(frames.BAD_ARGUMENTS, f"analog settings are {', '.join(_ANALOG)}")
        value = self._firmware.settings.analog.get(name)
        return "FIXED" if value is None else f"{value:.6g}"

    def _do_route(self, layer: str, array: str, rows: str, cols: str) -> str:
        self._idle()
        switches = self._switches
        route = (
            whole(array, 0, switches.arrays - 1), lines(rows, switches.rows), lines(cols, switches.cols),
        )  # fmt: skip
        self._firmware.settings.routes[whole(layer, 1, 3)] = route
        return f"{layer} {array} {len(route[1])} {len(route[2])}"

    def _do_offset(self, channel: str, volts: str) -> str:
        self._idle()
        which = whole(channel, 1, 2) - 1
        value = np.float32(real(volts, -OFFSET_VOLTS, OFFSET_VOLTS))
        first, second = self._firmware.settings.offsets
        self._firmware.settings.offsets = (value, second) if which == 0 else (first, value)
        return self._do_get_offset()

    def _do_get_offset(self) -> str:
        return "{:.6f} {:.6f}".format(*self._firmware.settings.offsets)

    def _do_gain(self, name: str, text: str) -> str:
        self._idle()
        if name not in _GAINS:
            raise Refusal(frames.BAD_ARGUMENTS, f"gains are {', '.join(_GAINS)}")
        value = np.float32(real(text, *_GAINS[name]))
        settings = self._firmware.settings
        setattr(settings, _FIELDS[name], value)
        settings.select(settings.kind)  # unlike the plain D, a new bias counts at once
        return self._do_get_gain(name)

    def _do_get_gain(self, name: str) -> str:
        if name not in _GAINS:
            raise Refusal(frames.BAD_ARGUMENTS, f"gains are {', '.join(_GAINS)}")
        return f"{getattr(self._firmware.settings, _FIELDS[name]):.6f}"

    def _do_source(self, source: str) -> str:
        self._idle()
        if source not in ("TYPE", "TABLE"):
            raise Refusal(frames.BAD_ARGUMENTS, "source is TYPE or TABLE")
        if source == "TABLE" and self._table is None:
            raise Refusal(frames.TABLE_FAULT, "no table is committed")
        self._from_table = source == "TABLE"
        return source

    def _do_get_source(self) -> str:
        return "TABLE" if self._from_table else "TYPE"

    def _do_table(self, action: str, *rest: str) -> str:
        if action == "BEGIN" and len(rest) == 1:
            self._upload = [""] * (18 * whole(rest[0], 1, TABLE_TICKS))
            return rest[0]
        if action == "DATA" and len(rest) == 2:
            return self._take(whole(rest[0], 0, max(len(self._upload) - 1, 0)), rest[1])
        if action == "COMMIT" and len(rest) == 1:
            return self._commit(rest[0])
        raise Refusal(frames.BAD_ARGUMENTS, "TABLE BEGIN ticks, DATA offset digits, or COMMIT checksum")

    def _take(self, offset: int, digits: str) -> str:
        try:
            frames.unpack_codes(digits)
        except ValueError:
            raise Refusal(frames.BAD_ARGUMENTS, "codes are two base64 digits each") from None
        count = len(digits) // 2
        if offset + count > len(self._upload):
            raise Refusal(frames.OUT_OF_RANGE, "beyond the table that BEGIN announced")
        self._upload[offset : offset + count] = [digits[2 * i : 2 * i + 2] for i in range(count)]
        return f"{offset} {count}"

    def _commit(self, checksum: str) -> str:
        self._idle()
        text = "".join(self._upload)
        if not text or not all(self._upload):
            raise Refusal(frames.TABLE_FAULT, "words are missing")
        if checksum != f"{frames.crc16(text.encode()):04X}":
            raise Refusal(frames.TABLE_FAULT, "checksum does not match")
        self._table = np.array(frames.unpack_codes(text), dtype=np.uint16).reshape(-1, 18)
        self._table_text = text
        return self._do_get_table()

    def _do_get_table(self) -> str:
        if self._table is None:
            return "NONE"
        return f"{len(self._table)} {frames.crc16(self._table_text.encode()):04X}"

    # Runs

    def _do_run(self, ticks: str) -> str:
        if self.mode != "COMPUTE":
            raise Refusal(frames.WRONG_MODE, "runs start in COMPUTE")
        self._idle()
        table = self._table if self._from_table else None
        count = whole(ticks, 1, RUN_TICKS if table is None else len(table))
        self._firmware.start(count, None if table is None else table[:count], self._initial, PRECHARGE_TICKS)
        return str(count)

    def _do_stop(self) -> str:
        self._firmware.stop()
        while self._firmware.due is not None:
            self._clock.advance_ns(TICK_NS // 5)
            self._sync()
        return self._do_state()

    def _do_state(self) -> str:
        phase, tick, ticks = self._firmware.progress()
        return f"{phase} {tick} {ticks} {self._firmware.dropped} {self._firmware.runs}"


_FIELDS: Final = {"SCORE": "score", "DRIFT": "drift", "NOISE": "noise_scale", "BIAS": "bias"}
_VERBS: Final = {
    "ID": "id", "GEOM?": "geometry", "MODE": "mode", "MODE?": "get_mode", "SAFE": "safe", "RESET": "reset",
    "SEL": "select", "SEL?": "get_select", "WATCHDOG": "watchdog", "WATCHDOG?": "get_watchdog", "PLAIN": "plain",
    "INIT": "initial", "INIT?": "get_initial", "TYPE": "type", "TYPE?": "get_type", "NOISE": "noise",
    "NOISE?": "get_noise", "OFFSET": "offset", "OFFSET?": "get_offset", "GAIN": "gain", "GAIN?": "get_gain",
    "SOURCE": "source", "SOURCE?": "get_source", "TABLE": "table", "TABLE?": "get_table", "RUN": "run",
    "STOP": "stop", "STATE?": "state", "ANALOG": "analog", "ANALOG?": "get_analog", "ROUTE": "route",
}  # fmt: skip
_ARITY: Final = {verb: (0, 0) for verb in _VERBS} | {
    "MODE": (1, 1), "SEL": (1, 3), "WATCHDOG": (1, 1), "PLAIN": (1, 1), "INIT": (2, 2), "TYPE": (1, 1),
    "NOISE": (1, 1), "OFFSET": (2, 2), "GAIN": (2, 2), "GAIN?": (1, 1), "SOURCE": (1, 1), "TABLE": (2, 3),
    "RUN": (1, 1), "ANALOG": (2, 2), "ANALOG?": (1, 1), "ROUTE": (4, 4),
}  # fmt: skip
