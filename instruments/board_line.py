"""The board's serial line as its driver uses it: framed exchanges that are repeated until they succeed, plain lines.

A frame may be repeated without harm, for the board answers a repeated sequence number from memory; a lost or damaged
one costs a time-out and a repetition. A plain line has neither checksum nor number: its reply is compared. A connection
that is lost is opened again; a line made faster that falls silent is tried at the rate it was opened with.
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from pyvisa.constants import StatusCode
from pyvisa.errors import VisaIOError

from instruments import board_frames as frames
from instruments.errors import InstrumentError, LinkError, ModeError
from instruments.link import Troubles, on_the_line


class Serial(Protocol):
    """What is used of a pyvisa serial resource."""

    read_termination: str | None
    baud_rate: int

    def write_raw(self, message: bytes) -> int:
        """Send bytes."""
        ...

    def read_raw(self) -> bytes:
        """Bytes up to and including the terminator."""
        ...

    def lock_context(self) -> AbstractContextManager[object]:
        """Keep other sessions away."""
        ...


class NoReplyError(LinkError):
    """No valid reply, however often the board was asked."""


class _Damaged(Exception):
    """A reply is missing or unreadable."""


_DAMAGE = (
    StatusCode.error_timeout,
    StatusCode.error_serial_framing,
    StatusCode.error_serial_parity,
    StatusCode.error_serial_overrun,
)


def _stay_lost() -> None:
    raise LinkError("board: the connection is lost")


class BoardLine:
    """One host's end of the line.

    Args:
        resource: open pyvisa resource; its time-out is left alone, its read termination becomes LF, and its rate is
            the one to fall back to.
        retries: repetitions of an exchange that was lost or damaged, >= 0.
        reopen: opens a lost connection again, or raises LinkError.
        troubles: told of repetitions.
    """

    def __init__(
        self,
        resource: Serial,
        retries: int = 3,
        reopen: Callable[[], None] = _stay_lost,
        troubles: Troubles | None = None,
    ) -> None:
        self._reopen = reopen
        self._troubles = troubles or Troubles()
        self._resource = resource
        self._attempts = retries + 1
        self._can_lock = True
        self._greeted = False
        self._seq = 0
        self.base = self.rate = int(getattr(resource, "baud_rate", 9600))
        resource.read_termination = "\n"

    def greet(self) -> str:
        """Exchange ID, which makes the board forget the replies to an earlier host; its data."""
        self._greeted = True
        return self._exchange("ID", 0)

    def exchange(self, body: str) -> str:
        """Send a frame; the data of its OK reply.

        Raises:
            NoReplyError: no valid reply in any attempt.
            ModeError: refused in the present mode or during a run.
            InstrumentError: refused for another reason, or the line is broken.
        """
        if not self._greeted:
            self.greet()
        self._seq = self._seq % 255 + 1
        return self._exchange(body, self._seq)

    def set_rate(self, rate: int) -> None:
        """The board has gone over to another rate (bit/s): follow it."""
        with on_the_line("board"):
            self._resource.baud_rate = rate
        self.rate = rate

    def _exchange(self, body: str, seq: int) -> str:
        try:
            return self._try(body, seq)
        except NoReplyError as silence:
            if self.rate == self.base:
                raise
            self._troubles.note(f"board: silent at {self.rate} baud, so it is tried at {self.base} ({silence})")
            self.set_rate(self.base)
            return self._try(body, seq)

    def _try(self, body: str, seq: int) -> str:
        request = frames.encode_frame(seq, body) + b"\r\n"
        reason, verb = "", body.split()[0]
        for attempt in range(self._attempts):
            if attempt:
                self._troubles.note(f"board: {verb} is sent again ({reason})")
            try:
                with self._locked():
                    self._write(request)
                    return _judge(body, self._reply(seq))
            except _Damaged as damage:
                reason = str(damage)
            except LinkError as lost:
                reason = str(lost)
                self._reopen()
        raise NoReplyError(
            f"board: no valid reply to {verb} in {self._attempts} attempts ({reason}); check power and cable"
        )

    def _reply(self, seq: int) -> str:
        for _ in range(8):  # replies to earlier frames that came late
            line = self._read_line()
            try:
                frame = frames.decode_frame(line)
            except frames.FrameError as error:
                raise _Damaged(f"{error}: {line[:40]!r}") from None
            if frame.seq is None and frame.body.startswith(f"ERR {frames.BAD_FRAME} "):
                raise _Damaged("the board received a damaged frame")
            if frame.seq == seq:
                return frame.body
        raise _Damaged("only replies to other frames")

    def plain(self, line: str, pattern: str, values: list[float] | None = None, repeat: bool = True) -> None:
        r"""Send a plain line and compare its reply.

        Args:
            line: without CR LF.
            pattern: regular expression of the whole reply; `\n` in it where the reply has a line feed.
            values: what the pattern's groups must be, to 1e-5.
            repeat: whether sending it again is harmless.

        Raises:
            InstrumentError: no reply, or another one.
        """
        reason = ""
        with self._locked():
            for _ in range(self._attempts if repeat else 1):
                try:
                    self._write(line.encode() + b"\r\n")
                    lines = [self._read_line() for _ in range(pattern.count(r"\n") + 1)]
                except _Damaged as damage:
                    reason = str(damage)
                    continue
                reply = b"\n".join(lines).decode("ascii", errors="replace")
                match = re.fullmatch(pattern, reply)
                if match and _same(match.groups(), values or []):
                    return
                reason = f"it answered {reply!r}"
        raise InstrumentError(f"board: {line} was not confirmed ({reason}); check power, cable and firmware")

    def _write(self, message: bytes) -> None:
        with self._transfer():
            self._resource.write_raw(message)

    def _read_line(self) -> bytes:
        with self._transfer():
            return self._resource.read_raw().rstrip(b"\r\n")

    @contextlib.contextmanager
    def _transfer(self) -> Iterator[None]:
        """A time-out or a spoilt character costs the exchange; anything else costs the connection."""
        try:
            with on_the_line("board"):
                yield
        except LinkError as error:
            cause = error.__cause__
            if isinstance(cause, VisaIOError) and cause.error_code in _DAMAGE:
                timeout = cause.error_code == StatusCode.error_timeout
                raise _Damaged("no answer in time" if timeout else "a character was spoilt") from None
            raise

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """The resource's lock around a query pair; a VISA library without locks has one session anyway."""
        with on_the_line("board"), contextlib.ExitStack() as stack:
            if self._can_lock:
                try:
                    stack.enter_context(self._resource.lock_context())
                except NotImplementedError:
                    self._can_lock = False
                except VisaIOError as error:
                    if error.error_code != StatusCode.error_nonsupported_operation:
                        raise
                    self._can_lock = False
            yield


def _same(groups: tuple[str, ...], values: list[float]) -> bool:
    try:
        found = [float(group) for group in groups]
    except ValueError:  # digits and dots, but no number
        return False
    return len(found) == len(values) and np.allclose(found, values, rtol=0, atol=1e-5)


def _judge(body: str, answer: str) -> str:
    status, _, rest = answer.partition(" ")
    if status == "OK":
        return rest
    code, _, text = rest.partition(" ")
    message = f"board: refused {body[:40]!r}: {text or answer} (error {code or '?'})"
    if code in (str(frames.WRONG_MODE), str(frames.BUSY)):
        raise ModeError(message)
    raise InstrumentError(message)
