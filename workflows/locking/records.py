"""What the lock folder says about owners and waiters: for people to read, never what decides who owns."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from workflows.errors import WorkflowError

RECORD_BYTES = 4096
"""One page, written by one call: whoever is killed leaves the old record or the new one, no mixture."""

State = Literal["held", "free", "abandoned"]

_WIDTHS = {"run": 160, "owner": 100, "host": 100, "since": 40, "unsafe": 300}


class LockBusy(WorkflowError):
    """Another run has the instruments, or is before us in the queue. `waiting` tells who."""

    def __init__(self, message: str, waiting: "Waiting | None" = None) -> None:
        super().__init__(message)
        self.waiting = waiting


class LockLost(WorkflowError):
    """A lock that was ours is ours no more; nothing may be driven."""


@dataclass(frozen=True)
class OwnerRecord:
    """Who holds an instrument, or waits for it.

    Attributes:
        run: the run's id; "" where the record could not be read.
        owner: user.
        host, pid, process_start: the process; its start in clock ticks since boot, -1 where unknown.
        since: date and time, ISO 8601 with zone.
        unsafe: why the outputs may be on although the owner released the instrument, else "".
    """

    run: str
    owner: str
    host: str
    pid: int
    process_start: int
    since: str
    unsafe: str = ""

    def __str__(self) -> str:
        if not self.run:
            return "an unknown run"
        return f"run {self.run} of {self.owner or 'unknown'} on {self.host} since {self.when}"

    @property
    def when(self) -> str:
        """`since` for people, to the minute."""
        return f"{self.since[:16].replace('T', ' ')}{' UTC' if self.since.endswith(('+00:00', 'Z')) else ''}"

    @property
    def trouble(self) -> str:
        """What the next owner is to know of this one, who left the instrument without making it safe; a sentence."""
        if self.unsafe:
            return f"{self} released it, but its outputs may be on: {self.unsafe}; make safe first"
        return f"previous owner {self} died without releasing; its outputs may be on: make safe first"

    @classmethod
    def of_this_process(cls, run: str, owner: str, host: str, since: str) -> "OwnerRecord":
        """A record of the calling process, its texts cut to what a record holds."""
        pid = os.getpid()
        whole = cls(run, owner, host, pid, _process_start(Path(f"/proc/{pid}/stat")), since)
        return whole.bounded()

    def bounded(self) -> "OwnerRecord":
        """This record with every text printable and no longer than its place."""
        texts: dict[str, Any] = {name: printable(getattr(self, name), width) for name, width in _WIDTHS.items()}
        return replace(self, **texts)

    def still_running(self, host: str) -> bool:
        """Whether this very process, by its start and not its number alone, still has a thread that lives.

        Known on the same machine only, and where /proc is; elsewhere False.
        """
        return any(state not in "ZX" for state in self._threads(host))

    def suspended(self, host: str) -> bool:
        """Whether this process lives but was stopped, as by Ctrl-Z; False where that can't be known."""
        return any(state in "Tt" for state in self._threads(host))

    def _threads(self, host: str) -> list[str]:
        process = Path(f"/proc/{self.pid}")
        if self.host != host or self.pid <= 0 or self.process_start < 0:
            return []
        if _process_start(process / "stat") != self.process_start:
            return []
        try:
            return [_state(thread / "stat") for thread in (process / "task").iterdir()]
        except OSError:
            return []


UNKNOWN = OwnerRecord("", "", "", 0, -1, "")


@dataclass(frozen=True)
class Ticket:
    """A place in the queue.

    Attributes:
        number: order of arrival.
        priority: higher goes first.
        names: instruments asked for.
        who: who waits.
    """

    number: int
    priority: int
    names: frozenset[str]
    who: OwnerRecord

    @property
    def order(self) -> tuple[int, int]:
        """Sorts a queue: higher priority first, first come first within one."""
        return -self.priority, self.number

    def encode(self) -> bytes:
        """The ticket's file."""
        return json.dumps({"priority": self.priority, "names": sorted(self.names), "who": asdict(self.who)}).encode()

    @classmethod
    def decode(cls, number: int, data: bytes) -> "Ticket | None":
        """Read a ticket's file; None where it is no ticket."""
        parsed = _mapping(data)
        priority, names, who = parsed.get("priority"), parsed.get("names"), parsed.get("who")
        if not isinstance(priority, int) or not isinstance(names, list) or not isinstance(who, dict):
            return None
        return cls(number, priority, frozenset(map(str, names)), _owner(who))


@dataclass(frozen=True)
class Blocker:
    """One reason to wait: whom for, which instruments, and whether they are held or only asked for earlier."""

    who: OwnerRecord
    instruments: tuple[str, ...]
    holds: bool

    def __str__(self) -> str:
        return f"{self.who}{'' if self.holds else ', who is before us'}: {', '.join(self.instruments)}"


@dataclass(frozen=True)
class Waiting:
    """Why a run waits; as text, a sentence for a person. `position` 1 is next."""

    blockers: tuple[Blocker, ...]
    position: int

    def __str__(self) -> str:
        return f"waiting for {'; '.join(map(str, self.blockers))}; number {self.position} in the queue"


@dataclass(frozen=True)
class LockInfo:
    """How an instrument stands.

    Attributes:
        instrument: its name.
        state: "held", "free", or "abandoned": nobody holds it, and whoever did left it without making it safe.
        owner: who holds it or abandoned it.
        waiting: who waits for it, next first.
    """

    instrument: str
    state: State
    owner: OwnerRecord | None
    waiting: tuple[OwnerRecord, ...] = ()

    def __str__(self) -> str:
        told = {"free": "free", "held": f"held by {self.owner}", "abandoned": self.owner.trouble if self.owner else ""}
        queue = f"; waiting: {', '.join(map(str, self.waiting))}" if self.waiting else ""
        return f"{self.instrument}: {told[self.state]}{queue}"


def encode_lock(instrument: str, owner: OwnerRecord | None) -> bytes:
    """A lock file's page: the instrument, and who is to answer for its outputs, None when it was left safe."""
    told = {"instrument": printable(instrument, 600), "owner": None if owner is None else asdict(owner.bounded())}
    return json.dumps(told, ensure_ascii=False).encode().ljust(RECORD_BYTES - 1) + b"\n"


def decode_lock(data: bytes) -> tuple[str, OwnerRecord | None]:
    """A lock file's instrument and owner. What can't be read was written by somebody: an unknown owner."""
    if not data.strip(b"\0 \n"):
        return "", None
    parsed = _mapping(data)
    owner = parsed.get("owner", {})
    return str(parsed.get("instrument", "")), None if owner is None else _owner(owner)


def printable(text: str, width: int) -> str:
    """`text` on one line without control characters, at most `width` bytes of UTF-8."""
    line = "".join(c for c in " ".join(str(text).split()) if c.isprintable())
    return line.encode(errors="replace")[:width].decode(errors="ignore")


def _mapping(data: bytes) -> Mapping[str, Any]:
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _owner(told: object) -> OwnerRecord:
    kinds = {f.name: f.type for f in fields(OwnerRecord)}
    if not isinstance(told, dict) or set(told) != set(kinds):
        return UNKNOWN
    if any(not isinstance(value, kinds[name]) for name, value in told.items()):  # type: ignore[arg-type]  # real types
        return UNKNOWN
    return OwnerRecord(**told)


def _after_name(stat: Path) -> list[str]:
    # The second field is the program's name in parentheses and may hold anything, parentheses and blanks too.
    try:
        return stat.read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _process_start(stat: Path) -> int:
    values = _after_name(stat)
    return int(values[19]) if len(values) > 19 else -1


def _state(stat: Path) -> str:
    return (_after_name(stat) or ["X"])[0]
