r"""Tapes: the VISA traffic of a session, real or simulated, in one file that can be played back as a bench.

A tape is JSON lines. The first one is the header; each further one is what a program did at one resource:

    {"tape": 1, "visa": "...", "world": "real", "started": "2026-01-05T09:00:00+00:00", "station": "..."}
    {"t": 1500000, "d": 5003000, "at": "GPIB0::17::INSTR", "op": "write", "text": "*IDN?\r\n"}
    {"t": 6503000, "d": 5040000, "at": "GPIB0::17::INSTR", "op": "read", "text": "...", "status": 0, "count": 20480}

`t` and `d` are nanoseconds on the bench's clock, from the tape's beginning and taken by the call; bytes are `text`
where they are printable ASCII, else `base64`. Operations: open, close, set (a VISA attribute), write, read, stb (serial
poll), clear, trigger, wait (for a service request). One file holds everything, whichever program wrote the messages:
the library's functions are listened to, not a driver's.
"""

import base64
import contextlib
import functools
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyvisa
from pyvisa.constants import StatusCode

from instruments.clock import Clock, WallClock, wall_time
from instruments.errors import ConfigError

FORMAT = 1
LARGEST = 1 << 30
"""Bytes of the largest tape that is read."""
MOST_EVENTS = 4_000_000
"""Events of the longest tape that is read; some 2 GB of memory."""
_MOST_NS = 10**18
_PRINTABLE = frozenset(range(0x20, 0x7F)) | frozenset(b"\r\n\t")
_OPERATIONS = {
    "write": "write",
    "read": "read",
    "read_stb": "stb",
    "clear": "clear",
    "assert_trigger": "trigger",
    "wait_on_event": "wait",
    "set_attribute": "set",
    "close": "close",
}


@dataclass(frozen=True)
class Event:
    """One call at one resource.

    Attributes:
        line: of the file, from 1.
        t_ns, d_ns: when it began, since the tape's beginning, and what it took.
        at: resource name, as the program gave it.
        op: what was done.
        data: bytes written or read.
        status: VISA status: 0 or more went well; of a failure the (negative) error code.
        value: serial poll's byte; the attribute's value.
        name: of the attribute, its number.
        count: bytes asked for.
    """

    line: int
    t_ns: int
    d_ns: int
    at: str
    op: str
    data: bytes = b""
    status: int = 0
    value: Any = None
    name: int = 0
    count: int = 0


@dataclass(frozen=True)
class Tape:
    """A tape that was read: where it comes from, and its events in order.

    Attributes:
        path: the file.
        visa: library that was listened to.
        world: "real" or "simulated".
        started: wall time, ISO 8601.
        station: text of the station file, or "".
        events: in the order of the calls.
    """

    path: Path
    visa: str
    world: str
    started: str
    station: str
    events: tuple[Event, ...]

    @property
    def resources(self) -> tuple[str, ...]:
        """Resource names in the order of their first use."""
        return tuple(dict.fromkeys(event.at for event in self.events))

    @classmethod
    def load(cls, path: Path) -> "Tape":
        """Read a tape. An unfinished last line, of a program that was killed, is left out.

        Raises:
            ConfigError: the file is not there, too large, or not a tape; says which line.
        """
        try:
            if path.exists() and not path.is_file():  # a pipe would be waited for, for ever
                raise ConfigError(f"tape {path}: can't be read: it is no plain file")
            if path.stat().st_size > LARGEST:
                raise ConfigError(f"tape {path}: is larger than {LARGEST >> 20} MiB; cut it into pieces")
            with path.open("rb") as file:
                return cls._read(path, (line for line in file if line.endswith(b"\n")))
        except OSError as error:
            raise ConfigError(f"tape {path}: can't be read: {error.strerror}") from error

    @classmethod
    def _read(cls, path: Path, lines: Iterator[bytes]) -> "Tape":
        try:
            header = json.loads(next(lines, b""))
            if header["tape"] != FORMAT:
                raise ConfigError(f"tape {path}: format {header['tape']!r:.20}; this version reads {FORMAT}")
            visa, world, started, station = (str(header[name]) for name in ("visa", "world", "started", "station"))
        except (LookupError, ValueError, TypeError, RecursionError) as error:
            raise ConfigError(f"tape {path}: its first line is not a tape's header") from error
        events: list[Event] = []
        for number, line in enumerate(lines, 2):
            if len(events) >= MOST_EVENTS:
                raise ConfigError(f"tape {path}: has more than {MOST_EVENTS} events; cut it into pieces")
            try:
                events.append(_event(number, json.loads(line)))
            except (LookupError, ValueError, TypeError, OverflowError, RecursionError) as error:
                raise ConfigError(f"tape {path}: line {number} is not an event ({error!s:.80})") from error
        return cls(path, visa, world, started, station, tuple(events))


def _event(line: int, said: Any) -> Event:
    if not isinstance(said, dict) or not isinstance(said.get("text", ""), str):
        raise ValueError("an event is a mapping, its text a text")
    data = base64.b64decode(said["base64"], validate=True) if "base64" in said else said.get("text", "").encode("ascii")
    t, d, status, count, name = (int(said.get(key, 0)) for key in ("t", "d", "status", "count", "name"))
    if not (0 <= t <= _MOST_NS and 0 <= d <= _MOST_NS):
        raise ValueError("times are nanoseconds, not negative, up to 30 years")
    if not isinstance(said["at"], str) or said["op"] not in ("open", *_OPERATIONS.values()):
        raise ValueError("the resource must be a text, and the operation a known one")
    value = said.get("value")
    if said["op"] == "stb" and value is not None and not (isinstance(value, int) and 0 <= value < 1 << 16):
        raise ValueError("a serial poll's value is a byte")
    return Event(line, t, d, said["at"], said["op"], data, status, value, name, count)


class Recorder:
    """Listens to a VISA library and writes what goes over it.

    Until `into` names the file, what is heard is kept in memory. Writes are unbuffered lines: a kill loses nothing
    that was heard before it.

    Args:
        station: text of the station file, with secrets masked, for the header.
    """

    def __init__(self, station: str = "") -> None:
        self._station = station
        self._lock = threading.RLock()
        self._depth = threading.local()
        self._waiting: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._names: dict[Any, str] = {}
        self._began = 0

    def listen(self, library: Any) -> None:
        """Begin to listen to a VISA library (`ResourceManager.visalib`), for as long as it lives."""
        clock = getattr(library, "clock", None) or WallClock()
        self._began = _now_ns(clock)
        world = "simulated" if hasattr(library, "bench") else "real"
        started = getattr(library, "wall_time", wall_time)()
        self._put({
            "tape": FORMAT, "visa": str(library.library_path), "world": world, "started": started,
            "station": self._station,
        })  # fmt: skip
        library.open = self._opening(library.open, clock)
        for name, op in _OPERATIONS.items():
            setattr(library, name, self._heard(getattr(library, name), op, clock))

    def into(self, path: Path) -> None:
        """Write what was heard, and what will be, into a new file."""
        with self._lock:
            self._file = path.open("xb", buffering=0)
            for line in self._waiting:
                self._file.write(line)
            self._waiting.clear()

    def close(self) -> None:
        """Stop writing."""
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._file = None

    def _put(self, said: dict[str, Any]) -> None:
        line = json.dumps(said, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            if self._file is None:
                self._waiting.append(line)
            else:
                self._file.write(line)

    def _opening(self, function: Callable[..., Any], clock: Clock) -> Callable[..., Any]:
        @functools.wraps(function)
        def open_(manager: Any, name: str, *args: Any, **options: Any) -> Any:
            began = _now_ns(clock)
            session, status = function(manager, name, *args, **options)
            self._names[session] = name
            self._note(clock, began, name, "open", {})
            return session, status

        return open_

    def _heard(self, function: Callable[..., Any], op: str, clock: Clock) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(session: Any, *args: Any, **options: Any) -> Any:
            name = self._names.get(session)
            # A library may use its own functions: `read` that asks `get_attribute`, and the like.
            if name is None or getattr(self._depth, "inside", False):
                return function(session, *args, **options)
            began = _now_ns(clock)
            self._depth.inside = True
            said = _told(op, args, None)
            try:
                result = function(session, *args, **options)
                said = _told(op, args, result)
                return result
            except pyvisa.VisaIOError as error:
                said["status"] = int(error.error_code)
                raise
            finally:
                self._depth.inside = False
                self._note(clock, began, name, op, said)
                if op == "close":
                    self._names.pop(session, None)

        return call

    def _note(self, clock: Clock, began: int, name: str, op: str, said: dict[str, Any]) -> None:
        self._put({"t": began - self._began, "d": _now_ns(clock) - began, "at": name, "op": op, **said})


@contextlib.contextmanager
def recording(manager: pyvisa.ResourceManager, path: Path) -> Iterator[Recorder]:
    """Write everything that goes over a resource manager into a new tape, for any program that uses pyvisa.

    Raises:
        ConfigError: the file exists.
    """
    if path.exists():
        raise ConfigError(f"tape {path}: exists; choose another name")
    recorder = Recorder()
    recorder.listen(manager.visalib)
    recorder.into(path)
    try:
        yield recorder
    finally:
        recorder.close()


def _now_ns(clock: Clock) -> int:
    exact = getattr(clock, "now_ns", None)
    return int(exact) if exact is not None else round(clock.now() * 1e9)


def _told(op: str, args: tuple[Any, ...], result: Any) -> dict[str, Any]:
    """What a call said and was told: its data, value and status."""
    if op == "write":
        return _bytes(bytes(args[0]))
    if op == "read":
        if result is None:
            return {"count": int(args[0])}
        return {**_bytes(bytes(result[0])), "status": int(result[1]), "count": int(args[0])}
    if op == "stb":
        return {} if result is None else {"value": int(result[0])}
    if op == "set":
        return {"name": int(args[0]), "value": int(args[1]) if isinstance(args[1], int) else str(args[1])}
    if op == "wait":
        return {"value": int(args[1])}
    return {}


def _bytes(data: bytes) -> dict[str, Any]:
    if _PRINTABLE.issuperset(data):
        return {"text": data.decode("ascii")}
    return {"base64": base64.b64encode(data).decode("ascii")}


FULL = int(StatusCode.success_max_count_read)
"""Status of a read that ended because as many bytes as asked for had come: more of the message follows."""
