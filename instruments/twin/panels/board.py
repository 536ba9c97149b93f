"""Serial side of the simulated PCB: the published dialect, and the extended one beside it.

The published lines and their quirks are `instruments.twin.firmware`'s; frames are `board_verbs`'. The time of the
characters is the serial line's (charged by the backend), the time until the main loop looks is the panel's.
"""

import re
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Final

import simpy

from instruments import board_frames as frames
from instruments.errors import ConfigError
from instruments.twin.dac import RunTrace
from instruments.twin.firmware import SETTLE_NS, TICK_NS, WORD_NS, Firmware
from instruments.twin.line_rate import LineRate
from instruments.twin.panels.board_verbs import Verbs

if TYPE_CHECKING:
    from instruments.twin.bench import Bench

POLL_NS: Final = 10_000_000
"""The published main loop looks at the line every 10 ms."""
DISPATCH_NS: Final = 200_000
"""A frame is looked at as it ends; the time to check it, find its verb and start the reply (an assumption)."""
ISR_NS: Final = SETTLE_NS + 18 * WORD_NS
_TAIL = re.compile(rb"\*[0-9A-F]{4}$")


class BoardPanel:
    """The board on its serial line.

    Options:
        firmware: `published` (default), or `extended`: published and framed commands.
        serial: serial number that ID reports; `TWIN-0001`.
        columns: extended firmware only: `no` for a board without column mode, of dialect 1.1.
        wired: published firmware only, which has no command for it: how somebody has set the board's switches by
            hand: `compute` (default), `safe`, or `program ARRAY ROW COL`.

    A run that ends is handed to the fixture's `computed(trace)` if it has one; that is called within an event of
    the clock and must not let time pass.
    """

    def __init__(self, bench: "Bench", options: Mapping[str, str]) -> None:
        known = {"firmware", "serial", "wired", "columns"}
        if unknown := sorted(set(options) - known):
            raise ConfigError(f"board: unknown option {unknown[0]!r}; allowed: {', '.join(sorted(known))}")
        kind = options.get("firmware", "published")
        if kind not in ("published", "extended"):
            raise ConfigError(f"board: firmware is published or extended, not {kind!r}")
        serial = options.get("serial", "TWIN-0001")
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,32}", serial):
            raise ConfigError(f"board: serial {serial!r} must be 1 to 32 letters, digits or _.-")
        if kind == "extended" and "wired" in options:
            raise ConfigError("board: wired is for the published firmware; the extended one sets the switches itself")
        if options.get("columns", "yes") not in ("yes", "no") or (kind == "published" and "columns" in options):
            raise ConfigError("board: columns is yes or no, and for the extended firmware")
        self.rate = LineRate() if kind == "extended" and options.get("columns") != "no" else None
        self._bench, self._clock = bench, bench.clock
        self._zero_ns = bench.clock.now_ns
        self._firmware = Firmware(lambda: bench.rng("board"), bench.clock.now())
        self._armed: int | None = None
        self._frame: bytearray | None = None
        self._damaged = self._cr = False
        self._verbs: Verbs | None = None
        if kind == "extended":
            self._verbs = Verbs(self._firmware, self._clock, bench.fixture, serial, self.sync, self.rate)
        else:
            self.wire_by_hand(options.get("wired", "compute"))

    def wire_by_hand(self, setting: str) -> None:
        """What a person does at the board's switches: `safe`, `compute` or `program ARRAY ROW COL`."""
        words = setting.split()
        fixture = self._bench.fixture
        if setting in ("safe", "compute"):
            fixture.connect(setting, -1, -1, -1)
            return
        if len(words) == 4 and words[0] == "program" and all(word.isdecimal() for word in words[1:]):
            array, row, col = (int(word) for word in words[1:])
            if array < fixture.arrays and row < fixture.rows and col < fixture.cols:
                fixture.connect("program", array, row, col)
                return
        raise ConfigError(f"board: wired is safe, compute or program ARRAY ROW COL within the chip, not {setting!r}")

    def handle(self, message: bytes) -> list[bytes] | None:
        """Receive one line (CR LF removed); replies in order.

        Of a message that holds several lines, the published firmware loses those that follow a line it has not
        looked at yet; the extended one takes each in turn.
        """
        replies: list[bytes] = []
        for byte in message + b"\r\n":
            replies += self._receive(byte)
        if self._firmware.line.ready:
            self._wait_for_poll()
            replies += self._firmware.execute()
        self.sync()
        return replies

    def _receive(self, byte: int) -> list[bytes]:
        line = self._firmware.line
        if self._verbs is None:
            line.receive(byte)
            return []
        if byte == 0x40:  # "@" begins a frame wherever it stands: a damaged line can't swallow the next frame
            self._frame, self._damaged, self._cr = bytearray(b"@"), False, False
            line.release()
            return []
        if self._frame is not None:
            return self._receive_framed(byte, self._frame, self._verbs)
        line.receive(byte)
        return self._plain(self._verbs) if line.ready else []

    def _receive_framed(self, byte: int, frame: bytearray, verbs: Verbs) -> list[bytes]:
        if byte == 0x0A and self._cr:
            self._frame = None
            self._pause(DISPATCH_NS)
            try:
                if self._damaged:
                    raise frames.FrameError("stray control character, or too long")
                checked = frames.decode_frame(bytes(frame))
                if checked.seq is None:
                    raise frames.FrameError("no sequence number")
            except frames.FrameError:
                return [frames.encode_frame(None, f"ERR {frames.BAD_FRAME} damaged frame")]
            answer = verbs.reply(checked)
            self.sync()
            return [answer]
        if self._cr or byte == 0x0A or len(frame) >= frames.FRAME_BYTES:
            self._damaged = True
        self._cr = byte == 0x0D
        if not self._cr and not self._damaged:
            frame.append(byte)
        return []

    def _plain(self, verbs: Verbs) -> list[bytes]:
        line = self._firmware.line
        text = line.text
        self._wait_for_poll()
        refusal = None
        if _TAIL.search(text):
            refusal = f"ERR {frames.BAD_FRAME} damaged frame"
        elif not verbs.plain:
            refusal = f"ERR {frames.PLAIN_OFF} plain lines are off since the first frame: PLAIN ON"
        if refusal is not None:
            line.release()
            return [frames.encode_frame(None, refusal)] if text else []
        replies = self._firmware.execute()
        if verbs.mode != "COMPUTE":
            self._firmware.refuse_go()
        self.sync()
        return replies

    def _wait_for_poll(self) -> None:
        self._pause(POLL_NS - (self._clock.now_ns - self._zero_ns) % POLL_NS)

    def _pause(self, nanoseconds: int) -> None:
        self._clock.advance_ns(nanoseconds)
        self.sync()

    def sync(self) -> None:
        """Serve the timer interrupts up to now, deliver runs that ended, and wake up when the next one will."""
        for trace in self._firmware.advance((self._clock.now_ns - self._zero_ns) // TICK_NS):
            computed: Callable[[RunTrace], None] | None = getattr(self._bench.fixture, "computed", None)
            if computed is not None:
                computed(trace)
        due = self._firmware.due
        if due != self._armed:
            self._armed = due
            if due is not None:
                self._clock.env.process(self._wake(due))

    def _wake(self, due: int) -> Generator[simpy.Event, None, None]:
        at = self._zero_ns + due * TICK_NS + ISR_NS
        yield self._clock.env.timeout(max(at - self._clock.now_ns, 0))
        if self._armed == due:
            self._armed = None
            self.sync()

    def pull(self) -> bytes | None:
        """The board has no second output buffer."""
        return None

    def status_byte(self) -> int:
        """A serial line has no status byte; 0."""
        return 0

    def clear(self) -> None:
        """A break on the line: forget a line begun. A run goes on."""
        self._frame = None
        self._firmware.line.release()

    def trigger(self) -> None:
        """A serial line has no trigger."""
