"""Trouble on the line between us and an instrument: told from a refusal, counted, and mended where it can be.

What is done about which fault:

====================================  =========================================================================
fault                                 policy
====================================  =========================================================================
no reply, late, cut or garbled reply  `LinkError`. A query that changes nothing is asked again (3 times in all, the
                                      buffers cleared in between, so that a late reply can't be taken for the next
                                      one); a read or a selection is done anew from programming mode on (3 times).
                                      Each repetition is counted and noted in the run's journal. Then the run stops.
an impossible number                  as a garbled reply: not finite, of the wrong sign, beyond the compliance
failure between a pulse being sent    `DoubtError`. The pulse is **never** repeated: the cell is read, and what was
and its acknowledgement               read decides. The journal keeps the pulse as in doubt. After 3 on one cell the
                                      run stops.
connection lost                       opened again, waiting 1, 2, 4, 8, 16 s; all that is known of the instrument's
                                      state is forgotten and told anew. Then the run stops.
damaged serial frame                  repeated under its number, which the board answers from memory (4 times in all)
entry in the error queue              the run stops: an instrument that objects is not asked again
compliance reached in a read          the value is a lower bound: never inside a window; a RESET may follow where the
                                      bound lies above the target, else the run stops
board in another mode                 refused by the board, or noticed by a read that finds nothing connected: the
                                      board is asked, and the run stops
cell stuck, dead or open              the write-verify algorithm gives it up; the run goes on
disk full                             the run stops; what was acknowledged is in the journal, from which it resumes
wall clock steps                      no decision depends on it: only the records show it
====================================  =========================================================================

To stop is always: outputs to 0 V and open, board disconnected (3 rounds, with new connections if need be), journal
closed with the reason, the run resumable.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pyvisa
from pyvisa.constants import StatusCode

from instruments.clock import Clock
from instruments.errors import DoubtError, InstrumentError, LinkError

T = TypeVar("T")

ATTEMPTS = 3
"""How often at most something is done that may be repeated."""
PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before each attempt to open a lost connection again."""
_SERIAL = ("baud_rate", "data_bits", "parity", "stop_bits", "flow_control")


def _nobody(text: str) -> None:
    return


@dataclass
class Troubles:
    """What went wrong on a station's lines and was mended.

    Attributes:
        count: repetitions and new connections so far.
        listener: told of each, in a sentence.
    """

    count: int = 0
    listener: Callable[[str], None] = _nobody

    def note(self, text: str) -> None:
        """Count one, and tell whoever listens."""
        self.count += 1
        self.listener(text)

    def ignore(self) -> None:
        """Nobody listens any more."""
        self.listener = _nobody


@contextlib.contextmanager
def on_the_line(name: str) -> Iterator[None]:
    """Turn what a transport raises into `LinkError`; a lock that somebody else holds is an `InstrumentError`."""
    try:
        yield
    except pyvisa.VisaIOError as error:
        if error.error_code == StatusCode.error_resource_locked:
            raise InstrumentError(f"{name}: another program holds the instrument ({error.description})") from error
        raise LinkError(f"{name}: {' '.join(str(error.description).split())}") from error
    except UnicodeDecodeError as error:
        raise LinkError(f"{name}: {error.object[:40]!r} is no reply") from error
    except (pyvisa.errors.InvalidSession, OSError) as error:
        raise LinkError(f"{name}: {' '.join(str(error).split()) or type(error).__name__}") from error


@contextlib.contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn what parsing a reply raises into `LinkError`."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, NotImplementedError) as error:
        said = " ".join(str(error).split())[:120]
        raise LinkError(f"{name}: the reply makes no sense ({said or type(error).__name__})") from error


def reopen(resource: Any, name: str, clock: Clock, troubles: Troubles, pauses: Sequence[float] = PAUSES) -> None:
    """Open a lost connection again, with its time-out, terminators and serial settings.

    Args:
        resource: a pyvisa resource; anything else can't be mended.
        name: of the instrument, for messages.
        clock: where waiting happens.
        troubles: told of success.
        pauses: s before each attempt.

    Raises:
        LinkError: it stays lost.
    """
    if not isinstance(resource, pyvisa.resources.MessageBasedResource):
        raise LinkError(f"{name}: the connection is lost")
    kept: dict[str, Any] = {}
    for attribute in ("timeout", "read_termination", *_SERIAL):
        with contextlib.suppress(pyvisa.Error, AttributeError):
            kept[attribute] = getattr(resource, attribute)
    reason = ""
    for pause in pauses:
        clock.sleep(pause)
        with contextlib.suppress(pyvisa.Error):
            resource.close()
        try:
            resource.open()
            for attribute, value in kept.items():
                setattr(resource, attribute, value)
        except pyvisa.Error as error:
            reason = " ".join(str(getattr(error, "description", error)).split())
            continue
        troubles.note(f"{name}: the connection was lost and is open again")
        return
    raise LinkError(f"{name}: the connection is lost and can't be opened again ({reason}); check cable and power")


def persist(
    what: str, which: str, action: Callable[[], T], restore: Callable[[int], None], broke: Callable[[], None],
    troubles: Troubles,
) -> T:  # fmt: skip
    """Do what may be repeated, anew when the line fails; never for a pulse.

    Args:
        what: is done, for messages: "reading".
        which: it is done to: "cell".
        action: does it.
        restore: called before each attempt with its number, from 1: whatever must be as it was before the line failed.
        broke: told that the line failed.
        troubles: told of what is repeated.

    Raises:
        LinkError: it failed every time.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            restore(attempt)
            return action()
        except (LinkError, DoubtError) as error:  # in doubt: pulses of no height only
            broke()
            if attempt == ATTEMPTS:
                raise LinkError(
                    f"{what} a {which} failed {ATTEMPTS} times ({error}); check cables and power"
                ) from error
            troubles.note(f"{what} is repeated ({error})")
    raise AssertionError("unreachable")
