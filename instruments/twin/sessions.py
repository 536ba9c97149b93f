"""VISA sessions to simulated instruments: transfers by the rules of VPP-4.3, in slices, and resource locks.

Builds on pyvisa-sim's private API: good for `pyvisa-sim>=0.7.1,<0.8` only.
"""

import contextlib
import itertools
import threading
from typing import Any

from pyvisa import rname
from pyvisa.constants import (
    VI_TMO_INFINITE,
    AccessModes,
    InterfaceType,
    Lock,
    ResourceAttribute,
    SerialTermination,
    StatusCode,
)
from pyvisa.errors import VisaIOError
from pyvisa.typing import VISARMSession
from pyvisa_sim.common import iter_bytes
from pyvisa_sim.sessions.session import MessageBasedSession, Session

from instruments.clock import VirtualClock
from instruments.twin.wire import TwinDevice


def step_towards(clock: VirtualClock, deadline_ns: int | None) -> bool:
    """Run the next event; False once none is left before the deadline, where the clock then stands.

    Args:
        clock: the bench's.
        deadline_ns: reading at which to give up; None waits for as long as anything is pending.
    """
    due = clock.next_event_ns()
    if due is None or (deadline_ns is not None and due > deadline_ns):
        if deadline_ns is not None:
            clock.advance_ns(max(0, deadline_ns - clock.now_ns))
        return False
    clock.step()
    return True


def deadline_ns(clock: VirtualClock, timeout_ms: int) -> int | None:
    """Reading of the clock at which a VISA time-out that starts now ends; None if it never does."""
    return None if timeout_ms == VI_TMO_INFINITE else clock.now_ns + timeout_ms * 1_000_000


class ResourceLock:
    """viLock for one resource.

    Sessions exclude each other as in VISA. Beyond VISA, where a lock belongs to a session and threads that
    share one just nest, an exclusive lock also keeps the other threads of its own session from locking, so
    that `lock_context` guards a query pair in either case. Who waits is served in turn. Waiting for another
    thread takes real time; waiting for a lock of one's own thread is hopeless and takes virtual time.

    Args:
        condition: over the bench's lock.
        clock: the bench's.
    """

    _keys = itertools.count(1)

    def __init__(self, condition: threading.Condition, clock: VirtualClock) -> None:
        self._condition = condition
        self.clock = clock
        self._exclusive: dict[tuple[int, int], int] = {}
        self._shared: dict[tuple[int, int], int] = {}
        self._key = ""
        self._waiting: list[object] = []

    @property
    def state(self) -> AccessModes:
        """Which lock the resource is under."""
        if self._exclusive:
            return AccessModes.exclusive_lock
        return AccessModes.shared_lock if self._shared else AccessModes.no_lock

    def check(self, session: int) -> None:
        """Raise VI_ERROR_RSRC_LOCKED unless `session` may use the resource."""
        holders = self._exclusive or self._shared
        if holders and all(holder != session for holder, _ in holders):
            raise VisaIOError(StatusCode.error_resource_locked)

    def acquire(self, session: int, kind: Lock, timeout_ms: int, key: str | None = None) -> str:
        """Take a lock, waiting for up to `timeout_ms`; returns the access key ("" for an exclusive lock)."""
        thread = threading.get_ident()
        me = (session, thread)

        def in_the_way() -> set[int]:
            threads = {owner for holder, owner in self._exclusive if (holder, owner) != me}
            joined = any(holder == session for holder, _ in self._shared)
            if not joined and (kind == Lock.exclusive or key != self._key):
                threads |= {owner for _, owner in self._shared}
            return threads

        with self._condition:
            if kind == Lock.exclusive and not (self._exclusive or self._shared or self._waiting):
                self._exclusive[me] = 1  # nobody about: the usual case, once for each query
                return ""
            wait = None if timeout_ms == VI_TMO_INFINITE else timeout_ms / 1000
            if in_the_way() == {thread}:
                self.clock.sleep(wait or 0.0)
                raise VisaIOError(StatusCode.error_resource_locked)
            nested = any(holder == me for holder in (*self._exclusive, *self._shared))
            turn = object()
            self._waiting.append(turn)
            try:
                # In turn: a thread that locks and unlocks in a loop would starve others till they time out.
                if not self._condition.wait_for(
                    lambda: (nested or self._waiting[0] is turn) and not in_the_way(), wait
                ):
                    raise VisaIOError(StatusCode.error_resource_locked)
            finally:
                self._waiting.remove(turn)
                self._condition.notify_all()
            if kind == Lock.exclusive:
                self._exclusive[me] = self._exclusive.get(me, 0) + 1
                return ""
            if not self._shared:
                self._key = key or f"shared-{next(self._keys)}"
            self._shared[me] = self._shared.get(me, 0) + 1
            return self._key

    def release(self, session: int) -> None:
        """Undo one `acquire` of the session, exclusive ones first; VI_ERROR_SESN_NLOCKED if there is none."""
        thread = threading.get_ident()
        with self._condition:
            for holders in (self._exclusive, self._shared):
                mine = sorted((h for h in holders if h[0] == session), key=lambda h: h[1] != thread)
                if mine:
                    holders[mine[0]] -= 1
                    if not holders[mine[0]]:
                        del holders[mine[0]]
                        self._condition.notify_all()
                    return
        raise VisaIOError(StatusCode.error_session_not_locked)

    def forget(self, session: int) -> None:
        """Drop every lock of a session that closes."""
        with self._condition:
            for holders in (self._exclusive, self._shared):
                for holder in [h for h in holders if h[0] == session]:
                    del holders[holder]
            self._condition.notify_all()


class TwinSession(MessageBasedSession):
    """A VISA session; its attributes are pyvisa-sim's, its reading and writing its own.

    Args:
        manager: handle of the resource manager.
        name: resource name as asked for.
        parsed: the same, parsed.
        device: the instrument at the other end.
        lock: the resource's viLock.
        bench_lock: taken for every access; hence `read` and `wait_for_service` are called without it.
    """

    def __init__(
        self,
        manager: VISARMSession,
        name: str,
        parsed: rname.ResourceName,
        device: TwinDevice,
        lock: ResourceLock,
        bench_lock: threading.RLock,
    ) -> None:
        self._stock = Session.get_session_class(parsed.interface_type_const, parsed.resource_class)
        self.session_type = self._stock.session_type
        self.handle = 0
        self.opened_ns = device.clock.now_ns
        self.twin = device
        self.lock = lock
        self._bench_lock = bench_lock
        super().__init__(manager, name, parsed)
        self._refresh()

    def after_parsing(self) -> None:
        """Fill the attributes of the interface."""
        with contextlib.suppress(ValueError):
            # A serial port may have a name such as /dev/ttyUSB0 where the stock session wants a number.
            self._stock.after_parsing(self)
        if self.session_type[0] == InterfaceType.gpib:
            # pyvisa-sim 0.7.1 files the board number as the termination character.
            board = self.attrs.pop(ResourceAttribute.termchar)
            self.attrs[ResourceAttribute.interface_number] = board

    def get_attribute(self, attribute: ResourceAttribute) -> tuple[Any, StatusCode]:
        """An attribute's value, as pyvisa-sim keeps it; the lock state is the resource's."""
        if attribute == ResourceAttribute.resource_lock_state:
            return self.lock.state, StatusCode.success
        found: tuple[Any, StatusCode] = super().get_attribute(attribute)
        return found

    def set_attribute(self, attribute: ResourceAttribute, attribute_state: Any) -> StatusCode:
        """Set an attribute."""
        status: StatusCode = super().set_attribute(attribute, attribute_state)
        self._refresh()
        return status

    def _refresh(self) -> None:
        """Read the attributes that each transfer needs, once instead of each time."""

        def value(attribute: ResourceAttribute) -> Any:
            return self.get_attribute(attribute)[0]

        attr = ResourceAttribute
        self._timeout_ms = int(value(attr.timeout_value))
        self._termchar = int(value(attr.termchar))
        self._termchar_on = bool(value(attr.termchar_enabled))
        self._end_on = not value(attr.suppress_end_enabled)
        self._send_end = bool(value(attr.send_end_enabled))
        self._asrl = self.session_type[0] == InterfaceType.asrl
        self._end_in = value(attr.asrl_end_in) if self._asrl else None
        self._end_out = value(attr.asrl_end_out) if self._asrl else None
        self._bits = int(value(attr.asrl_data_bits)) if self._asrl else 8
        stops = self._termchar_on or self._end_in == SerialTermination.termination_char
        self._stop = bytes([self._termchar]) if stops else None
        self._mask = 1 << (self._bits - 1) if self._end_in == SerialTermination.last_bit else 0
        if self._asrl and self.twin.rate is not None:
            self.twin.rate.host = int(value(attr.asrl_baud_rate))

    def write(self, data: bytes) -> tuple[int, StatusCode]:
        """Write one block of bytes, with END where the session sends it."""
        data = bytes(data)
        if self._asrl:
            last_bit = self._end_out == SerialTermination.last_bit
            if last_bit or self._bits < 8:
                data = b"".join(iter_bytes(data, self._bits, self._send_end if last_bit else None))
            if self._end_out == SerialTermination.termination_char and self._send_end:
                data += bytes([self._termchar])
        self.twin.send(data, self._send_end)
        return len(data), StatusCode.success

    def read(self, count: int) -> tuple[bytes, StatusCode]:
        """Read up to `count` bytes; waits for them in virtual time.

        Returns:
            The bytes and why the transfer ended (VPP-4.3 rules 6.1.1 to 6.1.7); nothing and VI_ERROR_TMO once
            the time-out is over, the clock then standing exactly at its end.
        """
        device, clock = self.twin, self.twin.clock
        out = b""
        until: int | None = None
        waiting = False
        if count <= 0:
            return b"", StatusCode.success_max_count_read
        while True:
            with self._bench_lock:
                self.lock.check(self.handle)
                piece, last = device.take(count - len(out), self._stop, self._mask)
                if piece:
                    out = out + piece if out else piece
                    status = self._ended(piece[-1], last, len(out) == count)
                    if status is not None:
                        return out, status
                    continue
                if not waiting:
                    until, waiting = deadline_ns(clock, self._timeout_ms), True
                if not step_towards(clock, until):
                    return b"", StatusCode.error_timeout

    def wait_for_service(self, timeout_ms: int) -> bool:
        """Let virtual time pass until the instrument requests service; False if it hasn't by the time-out."""
        clock = self.twin.clock
        until = deadline_ns(clock, timeout_ms)
        while True:
            with self._bench_lock:
                if self.twin.requests_service():
                    return True
                if not step_towards(clock, until):
                    return False

    def _ended(self, byte: int, last: bool, full: bool) -> StatusCode | None:
        """Why a transfer whose latest byte is `byte` stops, or None if it goes on."""
        is_termchar = byte == self._termchar
        if self._asrl:
            by_char = is_termchar and self._end_in == SerialTermination.termination_char
            last = by_char or bool(byte & self._mask)
        if last and self._end_on:
            return StatusCode.success
        if is_termchar and self._termchar_on:
            return StatusCode.success_termination_character_read
        return StatusCode.success_max_count_read if full else None
