"""A recorded session played to a twin: where do its replies differ from the real ones?

Every message of the tape is sent to the twin, in the tape's order and with the tape's waits, and what comes back is
laid beside what came back then. Replies are the same; or the same but for numbers (a measurement; how far apart is
told); or different (another form, another status, more or fewer values); or missing on one side.
"""

import contextlib
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

import pyvisa
from pyvisa.constants import ResourceAttribute

from instruments.errors import ConfigError, InstrumentError
from instruments.tape import FULL, Event, Tape

Verdict = Literal["same", "numbers", "different", "missing", "extra"]
_NUMBER = re.compile(rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_HEAD = re.compile(rb"(?:@\d+ )?([:*]?[A-Za-z][A-Za-z:]*\??)")  # a frame of the board begins with its number
_BLOCK = re.compile(rb"#([1-9])")


@dataclass(frozen=True)
class Difference:
    """One reply beside the twin's.

    Attributes:
        line: of the tape, where the message is.
        at: resource.
        message: what was sent last.
        verdict: see the module's docstring; missing: the twin keeps silent, extra: it should have.
        recorded, twin: the replies.
        relative: largest relative difference of their numbers; 0 where they are the same, inf where no number fits.
        recorded_s, twin_s: time to the reply, s.
    """

    line: int
    at: str
    message: bytes
    verdict: Verdict
    recorded: bytes
    twin: bytes
    relative: float
    recorded_s: float
    twin_s: float

    @property
    def head(self) -> str:
        """The command, without its parameters."""
        return head_of(self.message)


@dataclass(frozen=True)
class Summary:
    """All replies to one command at one resource.

    Attributes:
        at, head: resource and command.
        counts: replies by verdict.
        relative: median over the replies with other numbers of their largest relative difference.
        recorded_s, twin_s: median time to a reply, s.
        example: the first reply that is different, missing or extra; else the first whose numbers are others.
    """

    at: str
    head: str
    counts: dict[Verdict, int]
    relative: float
    recorded_s: float
    twin_s: float
    example: Difference | None


def head_of(message: bytes) -> str:
    """The command of a message, without its parameters."""
    found = _HEAD.match(message.strip())
    return (found[1] if found else message[:12]).decode("ascii", "replace")


def judge(recorded: bytes, twin: bytes) -> tuple[Verdict, float]:
    """What two replies are to each other, and the largest relative difference of their numbers.

    Of binary blocks of one length it is the mean difference of their bytes, as a part of the range of a byte.
    """
    if recorded == twin:
        return "same", 0.0
    if _BLOCK.match(recorded) and _BLOCK.match(twin):
        if len(recorded) != len(twin):
            return "different", math.inf
        return "numbers", sum(abs(a - b) for a, b in zip(recorded, twin, strict=True)) / (255 * len(recorded))
    if _NUMBER.sub(b"0", recorded).strip() != _NUMBER.sub(b"0", twin).strip():
        return "different", math.inf
    pairs = zip(_NUMBER.findall(recorded), _NUMBER.findall(twin), strict=True)
    apart = [abs(float(a) - float(b)) / max(abs(float(a)), abs(float(b)), 1e-300) for a, b in pairs]
    return "numbers", max(apart, default=0.0)


def compare(
    tape: Tape,
    manager: pyvisa.ResourceManager,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> list[Difference]:
    """Play a tape to a twin and give every reply beside the twin's.

    Args:
        tape: what was recorded.
        manager: of a twin: pulses on the tape are pulses for its cells.
        told: called with the numbers of events done and of all.

    Raises:
        ConfigError: the manager is not a twin's, or the twin has no such resource.
    """
    library: Any = manager.visalib
    if not hasattr(library, "bench"):
        raise ConfigError("a tape is compared with a twin only: on real instruments its pulses would be given again")
    player = _Player(library, manager.session)
    over = 0
    for done, event in enumerate(tape.events, 1):
        # What the program did in between took time, too; the instruments' own clocks went on.
        library.clock.advance_ns(max(0, event.t_ns - over) if done > 1 else 0)
        over = event.t_ns + event.d_ns
        player.play(event)
        if done % 100 == 0 or done == len(tape.events):
            told(done, len(tape.events))
    player.finish()
    return sorted(player.found, key=lambda one: one.line)


def summarise(differences: Iterable[Difference]) -> list[Summary]:
    """By resource and command, in the tape's order."""
    groups: dict[tuple[str, str], list[Difference]] = {}
    for one in differences:
        groups.setdefault((one.at, one.head), []).append(one)
    return [_summary(at, head, group) for (at, head), group in groups.items()]


def _summary(at: str, head: str, group: Sequence[Difference]) -> Summary:
    counts: dict[Verdict, int] = {}
    for one in group:
        counts[one.verdict] = counts.get(one.verdict, 0) + 1
    apart = [one.relative for one in group if one.verdict == "numbers" and math.isfinite(one.relative)]
    odd = [one for one in group if one.verdict in ("different", "missing", "extra")]
    other = [one for one in group if one.verdict == "numbers"]
    return Summary(
        at, head, counts, median(apart) if apart else 0.0, median(one.recorded_s for one in group),
        median(one.twin_s for one in group), next(iter((*odd, *other)), None),
    )  # fmt: skip


@dataclass
class _Reply:
    """Reads that belong to one reply."""

    line: int = 0
    recorded: bytes = b""
    twin: bytes = b""
    recorded_ns: int = 0
    twin_ns: int = 0
    heard: bool = False


class _Player:
    """Does to the twin what a tape says was done."""

    def __init__(self, library: Any, manager: Any) -> None:
        self._library, self._manager = library, manager
        self._sessions: dict[str, Any] = {}
        self._message: dict[str, tuple[int, bytes]] = {}
        self._reply: dict[str, _Reply] = {}
        self.found: list[Difference] = []

    def play(self, event: Event) -> None:
        """Do one thing."""
        if event.op == "open":
            if event.at not in self._sessions:
                self._open(event.at)
            return
        session = self._sessions.get(event.at)
        if session is None or event.op == "close":
            return
        if event.op == "read":
            self._read(session, event)
            return
        self._settle(event.at)
        with contextlib.suppress(pyvisa.VisaIOError):  # it fails on the twin as it may have then; replies will tell
            if event.op == "write":
                self._message[event.at] = event.line, event.data
                self._library.write(session, event.data)
            elif event.op == "set":
                with contextlib.suppress(ValueError):
                    self._library.set_attribute(session, ResourceAttribute(event.name), event.value)
            elif event.op == "stb":
                self._poll(session, event)
            elif event.op == "clear":
                self._library.clear(session)
            elif event.op == "trigger":
                self._library.assert_trigger(session, pyvisa.constants.TriggerProtocol.default)

    def finish(self) -> None:
        """Settle what is open, and close."""
        for name in list(self._reply):
            self._settle(name)
        for session in self._sessions.values():
            self._library.close(session)

    def _open(self, name: str) -> None:
        try:
            self._sessions[name], _ = self._library.open(self._manager, name)
        except pyvisa.VisaIOError as error:
            there = ", ".join(self._library.list_resources(self._manager, "?*"))
            raise ConfigError(f"the twin has no {name}, which is on the tape; it has {there}") from error

    def _read(self, session: Any, event: Event) -> None:
        reply = self._reply.setdefault(event.at, _Reply(event.line))
        began = self._library.clock.now_ns
        failed = False
        try:
            data, status = self._library.read(session, event.count or 1 << 20)
        except pyvisa.VisaIOError:
            data, status, failed = b"", 0, True
        reply.recorded += event.data
        reply.twin += data
        reply.recorded_ns += event.d_ns
        reply.twin_ns += self._library.clock.now_ns - began
        reply.heard = reply.heard or event.status >= 0
        if event.status != FULL:
            while int(status) == FULL and not failed:  # the twin has more to say than was said then
                try:
                    data, status = self._library.read(session, 1 << 20)
                except pyvisa.VisaIOError:
                    break
                reply.twin += data
            self._settle(event.at)

    def _settle(self, name: str) -> None:
        """Lay a reply beside the twin's."""
        reply = self._reply.pop(name, None)
        if reply is None:
            return
        line, message = self._message.get(name, (reply.line, b""))
        verdict, relative = judge(reply.recorded, reply.twin)
        if reply.heard and not reply.twin:
            verdict, relative = "missing", math.inf
        elif not reply.recorded and reply.twin:
            verdict, relative = "extra", math.inf
        seconds = reply.recorded_ns / 1e9, reply.twin_ns / 1e9
        self.found.append(Difference(line, name, message, verdict, reply.recorded, reply.twin, relative, *seconds))

    def _poll(self, session: Any, event: Event) -> None:
        byte, _ = self._library.read_stb(session)
        then = -1 if event.value is None else int(event.value)
        same, polls = int(byte) == then, (str(then).encode(), str(int(byte)).encode())
        verdict: Verdict = "same" if same else "different"
        apart, seconds = 0.0 if same else math.inf, event.d_ns / 1e9
        self.found.append(Difference(event.line, event.at, b"serial poll", verdict, *polls, apart, seconds, 0.0))


def checked(differences: Sequence[Difference], tolerance: float) -> None:
    """Fail if a twin's replies are other than recorded: what a regression test calls.

    Args:
        differences: from `compare`.
        tolerance: largest relative difference of numbers that is still well.

    Raises:
        InstrumentError: tells how many replies differ, and the first.
    """
    bad = [
        one for one in differences
        if one.verdict not in ("same", "numbers") or (one.verdict == "numbers" and not one.relative <= tolerance)
    ]  # fmt: skip
    if bad:
        one = bad[0]
        raise InstrumentError(
            f"{len(bad)} of {len(differences)} replies are not as recorded; the first, line {one.line} of the tape, "
            f"{one.at}: to {one.message!r:.80} came {one.recorded!r:.80}, now {one.twin!r:.80}"
        )
