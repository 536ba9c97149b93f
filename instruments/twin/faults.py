"""Faults that a profile asks for, on a twin's wires, in its cells and around it. Seeded, and on the bench's clock.

The same profile, seed and bench in the same state give the same faults at the same messages. A bench's chance
(`Bench.rng`) is left alone, so that faults change nothing but what they touch.
"""

import resource as limits
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import numpy as np
import simpy
from pyvisa.constants import StatusCode
from pyvisa.errors import VisaIOError

from instruments import board_frames as frames
from instruments.clock import NS, VirtualClock, wall_time
from instruments.errors import ConfigError
from instruments.twin.fault_profile import REPLIES, FaultProfile, Rule
from instruments.twin.wire import TwinDevice


class Backend(Protocol):
    """What is needed of the VISA library."""

    instruments: dict[str, TwinDevice]


def limit_file_size(size: int | None) -> None:
    """Let no file of this process grow beyond `size` bytes (None: as far as the system lets it)."""
    _, hard = limits.getrlimit(limits.RLIMIT_FSIZE)
    limits.setrlimit(limits.RLIMIT_FSIZE, (hard if size is None else size, hard))


def open_faults(params: Mapping[str, str], bench: Any, backend: Backend) -> "FaultInjector":
    """The faults that a resource string's `faults` (name or file) and `faults_seed` (0..2**63-1, default 1) ask for.

    Raises:
        ConfigError: no such profile, something in it is wrong, or the seed is no number.
    """
    seed = params.get("faults_seed", "1")
    if not (seed.isascii() and seed.isdecimal() and int(seed[:20]) < 2**63):
        raise ConfigError(f"faults_seed {seed[:40]!r} must be a whole number 0..2**63-1")
    return FaultInjector(FaultProfile.load(params["faults"]), int(seed), bench, backend)


@dataclass
class _Live:
    """A rule at work: matching messages seen, times it struck, and its own chance."""

    rule: Rule
    rng: np.random.Generator
    seen: int = 0
    struck: int = 0

    def strikes(self, resource: str, message: str, seconds: float) -> bool:
        rule = self.rule
        if not rule.concerns(resource, message):
            return False
        self.seen += 1
        if not rule.after <= seconds <= rule.until or self.struck >= rule.most:
            return False
        if not (self.seen in rule.at if rule.at else self.rng.random() < rule.chance):
            return False
        self.struck += 1
        return True


class FaultInjector:
    """Carries a profile out; fulfils `instruments.twin.wire.Faults`.

    Args:
        profile: what is to happen.
        seed: of chance, with the instant at which the bench was opened.
        bench: clock, chip and fixture; the chip and the fixture are needed by faults of theirs alone.
        backend: its instruments are the targets.
        disk: limits the size of files; handed in so that it can be watched.

    Attributes:
        struck: how often each fault happened.
    """

    def __init__(
        self,
        profile: FaultProfile,
        seed: int,
        bench: Any,
        backend: Backend,
        disk: Callable[[int | None], None] = limit_file_size,
    ) -> None:
        self.profile = profile
        self.struck: Counter[str] = Counter()
        self._bench, self._backend, self._disk = bench, backend, disk
        self._clock: VirtualClock = bench.clock
        self._opened_ns = self._clock.now_ns
        self._rules = [
            _Live(rule, np.random.Generator(np.random.Philox(key=[seed, n], counter=[0, 0, 0, self._opened_ns])))
            for n, rule in enumerate(profile.rules)
        ]
        self._last: dict[str, str] = {}
        self._lost_ns: dict[str, int] = {}
        self._back_ns: dict[str, int] = {}
        self._shunt_ns = 0
        self._wall_offset = 0.0
        self._disk_full = False

    # The library's hooks

    def check(self, resource: str, opened_ns: int | None) -> None:
        """Raise if the resource is disconnected, or was since the session was opened."""
        if self._clock.now_ns < self._back_ns.get(resource, 0):
            lost = StatusCode.error_resource_not_found if opened_ns is None else StatusCode.error_connection_lost
            raise VisaIOError(lost)
        if opened_ns is not None and opened_ns <= self._lost_ns.get(resource, -1):
            raise VisaIOError(StatusCode.error_connection_lost)

    def before_write(self, resource: str, data: bytes) -> bytes:
        """See `Faults`; also what happens in cells, on the board, to the clock and the disk."""
        text = self._last[resource] = data.decode("latin-1").strip()
        self._end_short_circuit()
        for live in self._rules:
            fault = live.rule.fault
            if fault in REPLIES and fault != "bit-flips":
                continue
            if not live.strikes(resource, text, self._seconds()):
                continue
            self.struck[fault] += 1
            if fault == "bit-flips":
                data = _flip(data, live.rule.settings["flips"], live.rng)
            elif fault == "lost-write":
                if not resource.startswith("ASRL"):
                    raise VisaIOError(StatusCode.error_timeout)
                data = b""
            elif fault == "disconnect":
                self._lost_ns[resource] = self._clock.now_ns
                self._back_ns[resource] = self._clock.now_ns + round(live.rule.settings["for"] * NS)
                self.check(resource, self._clock.now_ns)
            else:
                self._around(live)
        return data

    def after_reply(self, resource: str, data: bytes) -> bytes | None:
        """See `Faults`."""
        text = self._last.get(resource, "")
        wire: bytes | None = data
        for live in self._rules:
            fault = live.rule.fault
            if wire is None or fault not in REPLIES or not live.strikes(resource, text, self._seconds()):
                continue
            self.struck[fault] += 1
            wire = self._spoil(live, resource, wire)
        return wire

    def wall_time(self) -> str:
        """The date and time of day, as far off as the profile wants it."""
        now = datetime.fromisoformat(wall_time()) + timedelta(seconds=self._wall_offset)
        return now.isoformat(timespec="milliseconds")

    def close(self) -> None:
        """Give the disk back."""
        if self._disk_full:
            self._disk(None)

    def _seconds(self) -> float:
        return float(self._clock.now_ns - self._opened_ns) / NS

    # Replies

    def _spoil(self, live: _Live, resource: str, wire: bytes) -> bytes | None:
        fault, settings, rng = live.rule.fault, live.rule.settings, live.rng
        if fault == "late-reply":
            device = self._backend.instruments[resource]
            self._clock.env.process(self._later(device, wire, round(settings["delay"] * NS)))
        if fault in ("lost-reply", "late-reply"):
            return None
        if fault == "cut-reply":
            return wire[: int(rng.integers(0, max(len(wire.rstrip(b"\r\n")), 1)))] or None
        if fault == "bit-flips":
            return _flip(wire, settings["flips"], rng)
        end = wire[len(wire.rstrip(b"\r\n")) :]
        if settings["texts"]:
            return str(rng.choice(settings["texts"])).encode("ascii") + end
        return bytes(rng.integers(0, 256, int(rng.integers(0, 60)), dtype=np.uint8)).replace(b"\n", b"?") + end

    def _later(self, device: TwinDevice, wire: bytes, delay_ns: int) -> Generator[simpy.Event, None, None]:
        clears = device.clears
        yield self._clock.env.timeout(delay_ns)
        if device.clears == clears:
            device.deliver(wire)

    # What is not on the wire

    def _around(self, live: _Live) -> None:
        fault, settings = live.rule.fault, live.rule.settings
        if fault == "error-entry":
            self._enter_error(settings["device"], settings["code"])
        elif fault == "foreign-frame":
            panel: Any = self._panel(settings["device"])
            panel.handle(frames.encode_frame(0, settings["frame"]))
        elif fault == "short-circuit":
            self._bench.fixture.shunt = settings["siemens"]
            self._shunt_ns = self._clock.now_ns + round(settings["for"] * NS)
        elif fault == "stuck-cells":
            cells = self._bench.chip.cells
            for flat in live.rng.integers(0, cells.size, settings["cells"]):
                self._spoil_cell(np.unravel_index(int(flat), cells.shape), settings["to"])
        elif fault == "dying-cell":
            if self._bench.fixture.selected is not None:
                self._spoil_cell(self._bench.fixture.selected, settings["to"])
        elif fault == "clock-step":
            self._wall_offset += settings["step"]
        elif fault == "disk-full":
            self._disk_full = True
            self._disk(settings["size"])

    def _panel(self, pattern: str) -> Any:
        rule = Rule("lost-write", resource=pattern)
        for name, device in self._backend.instruments.items():
            if rule.concerns(name, "") and device.panel is not None:
                return device.panel
        raise ConfigError(f"faults: no instrument {pattern!r} with a panel on this bench")

    def _enter_error(self, pattern: str, code: int) -> None:
        from instruments.twin.panels.flex import ERROR_TEXTS, FlexError

        panel = self._panel(pattern)
        if hasattr(panel, "enter_error"):  # an instrument that isn't a FLEX one has errors of its own
            panel.enter_error(code)
            return
        if not hasattr(panel, "errors") or code not in ERROR_TEXTS:
            raise ConfigError(f"faults: {pattern} has no error {code}; known: {', '.join(map(str, ERROR_TEXTS))}")
        panel.errors.push(FlexError(code))
        panel.status.raise_error()

    def _end_short_circuit(self) -> None:
        if self._shunt_ns and self._clock.now_ns >= self._shunt_ns:
            self._bench.fixture.shunt, self._shunt_ns = 0.0, 0

    def _spoil_cell(self, where: tuple[Any, ...], to: str) -> None:
        cells = self._bench.chip.cells
        record = cells[where].copy()
        if to == "open":
            record["v_t"] = 1e3  # the transistor never opens
        else:
            record["stuck"] = 1 if to == "stuck-on" else -1
            record["g"] = 1.1 * record["g_max"] if to == "stuck-on" else 0.2 * record["g_min"]
            record["drift"] = record["spread"] = 0.0
        cells[where] = record


def _flip(data: bytes, flips: int, rng: np.random.Generator) -> bytes:
    spoilt = bytearray(data)
    for _ in range(flips if spoilt else 0):
        spoilt[int(rng.integers(len(spoilt)))] ^= 1 << int(rng.integers(8))
    return bytes(spoilt)
