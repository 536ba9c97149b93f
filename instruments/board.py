"""Driver of the PCB on its serial line: the published dialect and the extended one (board_protocol.md).

Framing, repetition and locking are `instruments.board_line`'s. What the published firmware can't do, select cells and
switch modes above all, raises with a sentence that says what to do instead.
"""

import contextlib
import re
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from instruments import board_frames as frames
from instruments import board_replies as replies
from instruments.board_line import BoardLine, NoReplyError, Serial
from instruments.board_types import TABLE_COLUMNS, Analog, BoardIdentity, Dialect, Gain, Mode, NoiseMode, RunState
from instruments.clock import Clock
from instruments.errors import InstrumentError, LimitError
from instruments.link import Troubles, readable, reopen

__all__ = ["TABLE_COLUMNS", "Board", "BoardIdentity", "NoReplyError", "RunState", "Serial"]

_CHUNK: Final = 234  # codes a frame: 13 ticks, 468 digits of the 512 bytes
_POLL: Final = 0.02  # s between two looks at a run that should be over


class Board:
    """The PCB.

    Args:
        resource: open pyvisa resource; its time-out is left alone, its read termination becomes LF.
        clock: time to wait on.
        gate: called as `gate(name, volts)` for every voltage before anything is sent; raises LimitError. Names:
            "initial x", "initial y", "offset 1", "offset 2", "bias", and "table COLUMN" for `TABLE_COLUMNS`
            (smallest and largest value).
        dialect: "auto" asks the board on first need; a board that keeps silent is taken for published.
        retries: repetitions of an exchange that was lost or damaged.
        troubles: told of repetitions.

    Raises (all methods):
        InstrumentError: the board is silent, unreadable or refuses.
        ModeError: it is in the wrong mode, or a run is going on.
    """

    def __init__(
        self,
        resource: Serial,
        clock: Clock,
        gate: Callable[[str, float], None],
        dialect: Dialect = "auto",
        retries: int = 3,
        troubles: Troubles | None = None,
    ) -> None:
        if dialect not in ("auto", "published", "extended"):
            raise InstrumentError(f"board: dialect is auto, published or extended, not {dialect!r}")
        troubles = troubles or Troubles()
        self._line = BoardLine(resource, retries, lambda: reopen(resource, "board", clock, troubles), troubles)
        self._clock, self._gate = clock, gate
        self._dialect: Dialect = dialect
        self._selected: tuple[int, int, int] | None = None
        self._watchdog = 0.0
        self._answered = clock.now()
        self._free_at = clock.now() + frames.DEAD_SECONDS
        self._busy_until = clock.now()
        self._type: tuple[str, bool] | None = None
        self._table_ticks: int | None = None
        self._capabilities: frozenset[str] | None = None

    # Who and where

    def identify(self) -> str:
        """Identity as one line. Changes nothing on the board but this: after a frame it ignores plain lines."""
        who = self.identity()
        return ",".join((who.vendor, who.model, who.serial, who.dialect, "+".join(sorted(who.capabilities))))

    def identity(self) -> BoardIdentity:
        """Ask who it is, and settle on a dialect if that was left open."""
        if self._dialect != "published":
            try:
                answer = self._line.greet()
            except NoReplyError:
                if self._dialect == "extended":
                    raise
            else:
                self._dialect = "extended"
                found = replies.identity(answer)
                self._capabilities = found.capabilities
                return found
        # The published firmware has no query; a gain of 0.00 is refused and the present one reported.
        self._line.plain("C000", r"Coef: [0-9.]+")
        self._dialect, self._capabilities = "published", frozenset()
        return BoardIdentity("memristor-sde-diffusion", "HDPM", "-", "published", frozenset())

    @property
    def extended(self) -> bool:
        """Whether the board speaks the extended dialect; asks it if that is not known yet."""
        if self._dialect == "auto":
            self.identity()
        return self._dialect == "extended"

    @property
    def capabilities(self) -> frozenset[str]:
        """What the board says it can do beyond the dialect's first version."""
        if self._capabilities is None:
            return self.identity().capabilities
        return self._capabilities

    def geometry(self) -> tuple[int, int, int]:
        """Arrays, rows, columns."""
        return replies.three(self._ask("GEOM?", "tell its geometry"), "GEOM?")

    # Modes and cells

    def mode(self, mode: Mode) -> None:
        """Switch the board: "safe", "program" or "compute"; no cell is selected afterwards unless nothing changed."""
        self._selected = None
        self._ask(f"MODE {mode.upper()}", f"switch to {mode} mode")

    def current_mode(self) -> tuple[Mode, str]:
        """Mode, and what brought the board there: "power-on", "host" or "watchdog"."""
        answer = self._ask("MODE?", "tell its mode")
        known: dict[str, Mode] = {"safe": "safe", "program": "program", "compute": "compute"}
        with readable("board, MODE?"):
            mode, cause = answer.lower().split()
            return known[mode], cause

    def select(self, array: int, row: int, col: int) -> None:
        """Connect one cell to the analyzer (programming mode). No traffic if it is selected already."""
        cell = (array, row, col)
        if cell == self._selected and not self._lapsed():
            return
        self._selected = None
        self._ask(f"SEL {array} {row} {col}", "select a cell")
        self._selected = cell

    def deselect(self) -> None:
        """Connect no cell (programming mode)."""
        self._selected = None
        self._ask("SEL NONE", "select cells")

    def selection(self) -> tuple[int, int, int] | None:
        """The cell that the board says is selected."""
        answer = self._ask("SEL?", "tell a selection")
        return None if answer == "NONE" else replies.three(answer, "SEL?")

    def connected(self) -> tuple[Mode, tuple[int, int, int] | None]:
        """Mode and cell, as the board says."""
        mode, _ = self.current_mode()
        return mode, self.selection() if mode == "program" else None

    def set_watchdog(self, seconds: float) -> None:
        """Make the board go to SAFE when it gets no frame for so long in programming mode (0.5..3600 s; 0: off)."""
        self._watchdog = replies.numbers(self._ask(f"WATCHDOG {seconds:.3f}", "watch its host"), 1)[0]

    def safe(self) -> None:
        """Stop a run, disconnect every cell; allowed at any time.

        The published firmware has no command for it: its run ends by itself 1.205 s after Go and its switches stay
        as they were set by hand, so nothing is sent.

        Raises:
            InstrumentError: the board did not confirm.
        """
        self._selected = None
        if self.extended:
            self._exchange("SAFE")
            if self._line.rate != self._line.base:
                with contextlib.suppress(InstrumentError):  # it is safe, and goes back by itself when it must
                    self.set_rate(self._line.base)

    # What a run plays

    def set_initial_state(self, x: float, y: float) -> None:
        """Pre-charge of the two integrators, V."""
        self._check("initial x", x)
        self._check("initial y", y)
        self._ask(f"INIT {x:.6f} {y:.6f}", "set an initial state")

    def set_type(self, kind: str, noise: bool = False) -> None:
        """Choose a built-in coefficient set (0-4, a-g, A-I) and whether the noise channels are on."""
        if not re.fullmatch(r"[0-4a-gA-I]", kind):
            raise InstrumentError(f"board: there is no coefficient set {kind!r}; there are 0-4, a-g and A-I")
        if self.extended:
            self._exchange(f"TYPE {kind}")
            self._exchange(f"NOISE {'ON' if noise else 'OFF'}")
            self._exchange("SOURCE TYPE")
            self._table_ticks = None
        else:
            self._line.plain(f"In{kind}{int(noise)}", re.escape(f"Type:{kind}\tStart..."))
        self._type = (kind, noise)

    def set_offsets(self, first: float, second: float) -> tuple[float, float]:
        """Trim voltages of the noise channels, V; returns those set (published: -0.5..0.49 V in steps of 10 mV)."""
        self._check("offset 1", first)
        self._check("offset 2", second)
        if self.extended:
            self._exchange(f"OFFSET 1 {first:.6f}")
            answer = replies.numbers(self._exchange(f"OFFSET 2 {second:.6f}"), 2)
            return answer[0], answer[1]
        steps = [round((volts + 0.5) * 100) for volts in (first, second)]
        if not all(0 <= step <= 99 for step in steps):
            raise LimitError("board: the published firmware trims from -0.5 V to 0.49 V; nothing was sent")
        values = [step * 0.01 - 0.5 for step in steps]
        self._line.plain(
            "O{:02d}{:02d}".format(*steps),
            r"Offset set1: (-?[0-9.]+)\nOffset set2: (-?[0-9.]+)",
            values,
        )
        return values[0], values[1]

    def set_gain(self, name: Gain, value: float) -> float:
        """Set one of the run's factors; returns the value set.

        Args:
            name: "score" scales g2 (published 0.01..9.99, extended 0..3.99), "drift" scales fx (extended only),
                "noise" scales the noise channels (0..9.99), "bias" is the embedding's unit in V (published 0.05, 0.1
                or 0.2, extended 0.01..0.2); the outputs are 5 x bias x (sine + c).
            value: the factor, or V.
        """
        if name == "bias":
            self._check("bias", value)
        if self.extended:
            return replies.numbers(self._exchange(f"GAIN {name.upper()} {value:.6f}"), 1)[0]
        if name == "bias":
            codes = {0.05: "0", 0.1: "1", 0.2: "2"}
            if value not in codes:
                raise InstrumentError("board: the published firmware has bias 0.05, 0.1 and 0.2 V only")
            self._line.plain(f"D{codes[value]}", r"V_bias and DAC coef: ([0-9.]+)", [value])
            if self._type is not None:
                self.set_type(*self._type)  # the firmware applies a bias with the next In only
            return value
        step = round(value * 100)
        if name == "drift" or not (name == "score") <= step <= 999:
            raise InstrumentError(f"board: the published firmware can't set gain {name} to {value:g}")
        letter, pattern = {"score": ("C", r"Coef: ([0-9.]+)"), "noise": ("N", r"Noise Scale: ([0-9.]+)")}[name]
        self._line.plain(f"{letter}{step:03d}", pattern, [step / 100])
        return step / 100

    def upload_table(self, volts: npt.ArrayLike) -> None:
        """Load a coefficient table of one's own and play it from the next run on.

        Args:
            volts: shape (ticks, 18), V in [-1, 1), columns `TABLE_COLUMNS`, 5 ms a row; the last two columns are the
                amplitude of the noise (one standard deviation is amplitude x the noise gain), used with noise on.

        Raises:
            LimitError: out of the DACs' range or refused by the gate; nothing was sent.
        """
        table = np.asarray(volts, dtype=np.float64)
        if table.ndim != 2 or table.shape[1] != len(TABLE_COLUMNS) or not len(table):
            raise InstrumentError(f"board: a table is (ticks, 18) volts, not {table.shape}")
        if not np.all((table >= -1.0) & (table < 1.0)):
            raise LimitError("board: a table's voltages are -1 V <= v < 1 V; nothing was sent")
        for column, name in enumerate(TABLE_COLUMNS):
            self._gate(f"table {name}", float(table[:, column].min()))
            self._gate(f"table {name}", float(table[:, column].max()))
        text = frames.pack_codes(np.trunc(2048 * (1 + table)).astype(int).ravel().tolist())
        wanted = f"{len(table)} {frames.crc16(text.encode()):04X}"
        if self._ask("TABLE?", "take a table") != wanted:
            self._exchange(f"TABLE BEGIN {len(table)}")
            for start in range(0, len(text), 2 * _CHUNK):
                self._exchange(f"TABLE DATA {start // 2} {text[start : start + 2 * _CHUNK]}")
            self._exchange(f"TABLE COMMIT {wanted.split()[1]}")
        self._exchange("SOURCE TABLE")
        self._table_ticks = len(table)

    def set_analog(self, name: Analog, value: float) -> float:
        """Set a potentiometer: "rf1".."rf3" ohm, "out" V/V, "kx", "kn" 1/(V s), "kz" 1/s; returns the value set."""
        return replies.numbers(self._ask(f"ANALOG {name.upper()} {value:.6g}", "set potentiometers"), 1)[0]

    def set_route(self, layer: int, array: int, rows: Sequence[int], columns: Sequence[int]) -> None:
        """Wire layer 1..3: its outputs at `rows`, its inputs (the bias last) at `columns` of an array."""
        lines = ["".join(f"{int(n):02X}" for n in numbers) for numbers in (rows, columns)]
        self._ask(f"ROUTE {layer} {array} {lines[0]} {lines[1]}", "wire layers")

    def set_noise(self, on: bool | NoiseMode) -> None:
        """Switch the noise channels (published: with the coefficient set chosen before); "trim": as voltages."""
        if isinstance(on, bool):
            on = "on" if on else "off"
        if self.extended:
            self._ask(f"NOISE {on.upper()}", "switch noise")
        elif on == "trim":
            raise InstrumentError("board: the published firmware has constant trims only; use set_offsets")
        elif self._type is None:
            raise InstrumentError(
                "board: the published firmware switches noise with the coefficient set: set_type first"
            )
        else:
            self.set_type(self._type[0], on == "on")

    # Runs

    def start_run(self, ticks: int | None = None) -> int:
        """Start a run; returns its active ticks of 5 ms.

        With the published firmware this waits until the dead time of 5.005 s after the previous run is over; as the
        firmware acknowledges a Go that it drops (also for 5 s every ten minutes), only an oscilloscope can tell
        whether the run took place.

        Args:
            ticks: active ticks; default the table's or the coefficient set's 241. Published: 241 only.
        """
        wanted = ticks or self._table_ticks or frames.PUBLISHED_TICKS
        if self.extended:
            answer = self._exchange(f"RUN {wanted}")
            with readable("board, RUN"):
                if int(answer) != wanted:  # a wait for a run of that length might never end
                    raise ValueError(f"{wanted} ticks were asked for, it starts {answer}")
            self._busy_until = self._clock.now() + wanted * frames.TICK_SECONDS
            return wanted
        if wanted != frames.PUBLISHED_TICKS:
            raise InstrumentError(f"board: a run of the published firmware has {frames.PUBLISHED_TICKS} ticks")
        self._clock.sleep(max(self._free_at - self._clock.now(), 0.0))
        self._line.plain("Go", "", repeat=False)
        self._free_at = self._clock.now() + frames.DEAD_SECONDS + 2 * frames.TICK_SECONDS
        self._busy_until = self._clock.now() + (wanted + 2) * frames.TICK_SECONDS
        return wanted

    def run_state(self) -> RunState:
        """Where the run is."""
        return replies.run_state(self._ask("STATE?", "tell the state of a run"))

    def wait_done(self, margin: float = 2.0) -> RunState:
        """Wait until the run is over; published: for as long as it takes, the state is then an assumption.

        Args:
            margin: s beyond the expected end after which to give up.
        """
        self._clock.sleep(max(self._busy_until - self._clock.now(), 0.0))
        if not self.extended:
            return RunState("done", frames.PUBLISHED_TICKS, frames.PUBLISHED_TICKS, 0, 0)
        until = self._clock.now() + margin
        while (state := self.run_state()).phase != "done":
            if self._clock.now() > until or state.phase == "idle":
                raise InstrumentError(
                    f"board: the run is {state.phase} at tick {state.tick} of {state.ticks}, not done"
                )
            self._clock.sleep(_POLL)
        return state

    def run(self, ticks: int | None = None) -> RunState:
        """Start a run and wait for its end."""
        self.start_run(ticks)
        return self.wait_done()

    def stop(self) -> RunState:
        """End a run with the next tick: the outputs go to 0 V."""
        return replies.run_state(self._ask("STOP", "stop a run"))

    # The line

    def ask(self, body: str, purpose: str) -> str:
        """Exchange one frame of the extended dialect, for the parts of the driver that lie in other modules.

        Args:
            body: verb and arguments.
            purpose: what the published firmware can't do, in words.
        """
        self._selected = None  # such frames may connect something else
        return self._ask(body, purpose)

    def check(self, name: str, volts: float) -> None:
        """Have the gate look at a voltage that the board is to put out, V; raises LimitError."""
        self._check(name, volts)

    def set_rate(self, rate: int) -> int:
        """Change the line's rate (bit/s) until the next `safe`; returns the rate that it has then.

        A board that can't is left as it is; one that doesn't answer at the new rate is back at the old one.
        """
        if rate == self._line.rate or "BAUD" not in self.capabilities:
            return self._line.rate
        self._exchange(f"BAUD {rate}")
        self._line.set_rate(rate)
        self._exchange("BAUD?")  # falls back where that rate is too much for the line
        return self._line.rate

    def _check(self, name: str, volts: float) -> None:
        if not np.isfinite(volts):
            raise LimitError(f"board: {name} is {volts}; nothing was sent")
        self._gate(name, volts)

    def _ask(self, body: str, purpose: str) -> str:
        """Exchange a frame, or say what to do about a firmware that has none."""
        if not self.extended:
            raise InstrumentError(
                f"board: the published firmware can't {purpose}; set it by hand at the board's switches, or load a "
                "firmware with the extended dialect (instruments/board_protocol.md)"
            )
        return self._exchange(body)

    def _exchange(self, body: str) -> str:
        try:
            answer = self._line.exchange(body)
        except InstrumentError:
            self._selected = None  # whatever went wrong, the next selection is sent
            raise
        if self._lapsed():
            self._selected = None
        self._answered = self._clock.now()
        return answer

    def _lapsed(self) -> bool:
        """Whether the board's watchdog may have run out since its last answer, and the cell be gone."""
        return self._watchdog > 0 and self._clock.now() - self._answered >= self._watchdog / 2
