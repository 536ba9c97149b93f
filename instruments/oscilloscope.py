"""Oscilloscopes: one small protocol for every make, and what their drivers share.

A capture is raw codes with the numbers that make volts and seconds of them, exactly as the instrument gave them, so
that nothing is lost by keeping it:

    volts = (codes - y_reference) * y_increment + y_origin        seconds = x_origin + x_increment * n

with n the sample's index from 0, and 0 s the trigger.
"""

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyvisa

from instruments.clock import Clock
from instruments.errors import InstrumentError, LimitError

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int16]


@dataclass(frozen=True)
class ChannelSetup:
    """One channel: DC coupled, full bandwidth; volts at the probe's tip.

    Attributes:
        range_v: from the bottom of the screen to its top, V > 0. What is a little beyond is still recorded.
        offset_v: in the middle of the screen, V.
    """

    range_v: float
    offset_v: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no oscilloscope can do."""
        if not 1e-3 <= self.range_v <= 1e5 or not abs(self.offset_v) <= 1e5:
            raise LimitError(f"oscilloscope: a channel can't show {self.range_v} V around {self.offset_v} V")


@dataclass(frozen=True)
class Timebase:
    """What to record.

    Attributes:
        duration_s: length of the record, s > 0.
        pre_trigger_s: how much of it is before the trigger, s, 0 to `duration_s`.
        points: at least so many samples in it; instruments have rates of their own and may take up to four times
            as many.
    """

    duration_s: float
    pre_trigger_s: float = 0.0
    points: int = 10_000

    def __post_init__(self) -> None:
        """Refuse what no oscilloscope can do."""
        if not 1e-8 <= self.duration_s <= 500 or not 0 <= self.pre_trigger_s <= self.duration_s:
            raise LimitError(f"oscilloscope: no record of {self.duration_s} s with {self.pre_trigger_s} s of it before")
        if not 100 <= self.points <= 5_000_000:
            raise LimitError(f"oscilloscope: {self.points} points are outside 100 to 5000000")


@dataclass(frozen=True)
class Trigger:
    """An edge: on the external trigger input ("EXT") or on a channel (its number); level in V."""

    source: Literal["EXT"] | int = "EXT"
    level_v: float = 1.65
    slope: Literal["rising", "falling"] = "rising"


@dataclass(frozen=True, eq=False)
class Capture:
    """One record of several channels.

    Attributes:
        codes: what the converters gave, int16, shape (n_channels, n_samples).
        channels: channel numbers, in the order of the rows.
        y_increment: V per code, shape (n_channels,); `y_origin` V and `y_reference` codes likewise.
        x_increment: s per sample; `x_origin` s of the first one after the trigger.
        lowest: codes up to here mean clipped (or, in some instruments, not sampled).
        highest: codes from here on mean clipped.
    """

    codes: Codes
    channels: tuple[int, ...]
    y_increment: Floats
    y_origin: Floats
    y_reference: Floats
    x_increment: float
    x_origin: float
    lowest: int
    highest: int

    @property
    def volts(self) -> Floats:
        """V, shape (n_channels, n_samples)."""
        volts = self.codes - self.y_reference[:, None]
        volts *= self.y_increment[:, None]
        volts += self.y_origin[:, None]
        return np.asarray(volts, np.float64)

    @property
    def times(self) -> Floats:
        """S after the trigger, shape (n_samples,)."""
        return self.x_origin + self.x_increment * np.arange(self.codes.shape[1], dtype=np.float64)

    @property
    def clipped(self) -> npt.NDArray[np.int64]:
        """Samples beyond the range, by channel."""
        beyond = (self.codes <= self.lowest) | (self.codes >= self.highest)
        counts: npt.NDArray[np.int64] = beyond.sum(axis=1, dtype=np.int64)
        return counts


class Oscilloscope(Protocol):
    """What procedures need of an oscilloscope."""

    def identify(self) -> str:
        """The identification string; InstrumentError if it is another instrument."""
        ...

    def configure(
        self,
        channels: Mapping[int, ChannelSetup],
        timebase: Timebase,
        trigger: Trigger,
        *,
        high_resolution: bool = True,
    ) -> None:
        """Set everything up; the other channels are off. Nothing is sent if it is so already.

        Args:
            channels: by number.
            timebase: what to record.
            trigger: when.
            high_resolution: average what the converter takes between two samples: more bits, less noise.

        Raises:
            LimitError: there is no such channel; nothing was sent.
            InstrumentError: the instrument refuses, or shows less than was asked for.
        """
        ...

    def arm(self) -> None:
        """Wait for one trigger. On return the pre-trigger part is recorded and a trigger will be seen."""
        ...

    def wait(self, timeout: float) -> None:
        """Until the record is complete; InstrumentError (acquisition stopped) if it is not within `timeout` s."""
        ...

    def read(self) -> Capture:
        """The record that is complete, channels in ascending order."""
        ...

    def safe(self) -> list[str]:
        """Stop acquiring; never raises, gives what went wrong. An oscilloscope drives nothing."""
        ...


class MessageResource(Protocol):
    """What is used of a pyvisa resource."""

    read_termination: str | None
    write_termination: str | None

    def write(self, message: str) -> int:
        """Send a message."""
        ...

    def query(self, message: str) -> str:
        """Send a message and read the reply."""
        ...

    def query_binary_values(self, message: str, **options: Any) -> Sequence[int]:
        """Send a message and read a block."""
        ...

    def clear(self) -> None:
        """Device clear."""
        ...

    def lock_context(self) -> AbstractContextManager[object]:
        """Keep other sessions away."""
        ...


class ScopeLink:
    """Messages to one instrument; every exchange is whole, and VISA's errors become InstrumentError.

    Args:
        resource: open pyvisa resource; its terminations are set, its time-out is left alone.
        name: of the instrument, for errors.
    """

    def __init__(self, resource: MessageResource, name: str) -> None:
        self._resource, self._name = resource, name
        self._guard = threading.RLock()
        self._can_lock = True
        # END tells where a reply stops, which a raw socket lacks; a termination character would cut blocks to pieces.
        socket = getattr(resource, "resource_class", "INSTR") == "SOCKET"
        resource.read_termination = "\n" if socket else None
        resource.write_termination = "\n"

    def write(self, message: str) -> None:
        """Send a message."""
        with self._exchange(message):
            self._resource.write(message)

    def ask(self, message: str) -> str:
        """Send a query; the reply without white space around it."""
        with self._exchange(message):
            return self._resource.query(message).strip()

    def numbers(self, message: str, separator: str = ",") -> list[float]:
        """Send a query; the reply as numbers."""
        reply = self.ask(message)
        try:
            return [float(part) for part in reply.split(separator)]
        except ValueError:
            raise InstrumentError(f"{self._name}: {message}: {reply[:60]!r} is not a number") from None

    def words(self, message: str, points: int, datatype: Literal["h", "H"]) -> npt.NDArray[Any]:
        """Send a query; a block of `points` little-endian words.

        Raises:
            InstrumentError: the block is missing, broken, or of another length.
        """
        with self._exchange(message):
            values = self._resource.query_binary_values(
                message, datatype=datatype, is_big_endian=False, container=np.array, chunk_size=2 * points + 64
            )
        if len(values) != points:
            raise InstrumentError(f"{self._name}: {message}: {len(values)} samples came, {points} were expected")
        return np.asarray(values)

    def clear(self) -> None:
        """Device clear."""
        with self._exchange("device clear"):
            self._resource.clear()

    @contextmanager
    def _exchange(self, message: str) -> Iterator[None]:
        with self._guard, ExitStack() as stack:
            try:
                if self._can_lock:
                    try:
                        stack.enter_context(self._resource.lock_context())
                    except NotImplementedError:
                        self._can_lock = False
                yield
            except (pyvisa.VisaIOError, pyvisa.errors.InvalidBinaryFormat, ValueError) as error:
                raise InstrumentError(f"{self._name}: {message}: {error}") from error


def three_digits_up(value: float) -> float:
    """The next number of three significant digits that is not smaller: as fine as front panels go. `value` > 0."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{math.ceil(value / unit * (1 - 1e-12)) * unit:.3g}")


def wait_until(clock: Clock, done: Callable[[], bool], timeout: float, period: float, not_before: float = 0.0) -> bool:
    """Ask every `period` seconds, not before that reading of the clock; False if not so within `timeout` seconds."""
    deadline = clock.now() + timeout
    clock.sleep(min(timeout, max(0.0, not_before - clock.now())))
    while not done():
        left = deadline - clock.now()
        if left <= 0:
            return False
        clock.sleep(min(period, left))
    return True
