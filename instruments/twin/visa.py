"""The simulated laboratory as a VISA library: `pyvisa.ResourceManager("FILE.yaml[?key=value&...]@twin")`.

FILE is a pyvisa-sim file, as given or else among the packaged `sim_configs`. Beyond what pyvisa-sim reads:

* `bench:` (top level) describes the world that all its instruments share; without it they share a clock.
* a device's `handler: "package.module:Class"` with `options:` names the panel that computes its replies and
  is asked before the YAML's dialogues and properties; `timing: {message: "5 ms", byte: "2 us"}` is the cost
  of its bus; `bases: [other-device]` (or `{device:, filename:}`) inherits from another device.

Keys are the bench's, at least `dir` (its folder), `seed` and `name`, and `faults` (name or file of a fault profile)
with `faults_seed`; values may be percent-encoded. One
specification is one bench in a process, whatever is garbage-collected, from its first use until its resource
manager is closed, when the bench is closed too (flushed, unlocked). `name` tells equal benches apart.

No read, time-out or wait takes real time: the bench's clock is moved. A panel that will have output later
must have an event pending on that clock. VI_TMO_INFINITE ends when no event is pending.

Builds on pyvisa-sim's private API: good for `pyvisa-sim>=0.7.1,<0.8` only.
"""

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, SupportsInt, cast

from pyvisa import constants, rname
from pyvisa.constants import AccessModes, BufferOperation, EventType, StatusCode
from pyvisa.errors import VisaIOError
from pyvisa.typing import VISAEventContext, VISARMSession, VISASession
from pyvisa.util import LibraryPath
from pyvisa_sim import parser
from pyvisa_sim.devices import Devices
from pyvisa_sim.highlevel import SimVisaLibrary

from instruments.clock import VirtualClock, wall_time
from instruments.twin.benchfile import (
    BareBench,
    BenchLike,
    device_section,
    find_file,
    load,
    load_panel,
    parse_specification,
    stock_device,
)
from instruments.twin.sessions import ResourceLock, TwinSession
from instruments.twin.wire import Faults, Timing, TwinDevice

_DROPS_OUTPUT = (
    BufferOperation.discard_read_buffer
    | BufferOperation.discard_read_buffer_no_io
    | BufferOperation.discard_receive_buffer
    | BufferOperation.discard_receive_buffer2
)
_DROPS_INPUT = BufferOperation.discard_write_buffer | BufferOperation.discard_transmit_buffer


class TwinVisaLibrary(SimVisaLibrary):
    """pyvisa-sim with computed replies on a virtual clock. See the module's docstring.

    Safe for threads: each write and each read is one step under the bench's lock.
    Errors raised by a panel reach the caller as they are.

    Attributes:
        bench: the world behind the instruments.
        clock: its time.
        instruments: the devices by canonical resource name.
    """

    bench: BenchLike
    clock: VirtualClock
    instruments: dict[str, TwinDevice]

    _switched_on: ClassVar[dict[LibraryPath, "TwinVisaLibrary"]] = {}
    _handed_in: ClassVar[dict[str, tuple[str, BenchLike]]] = {}
    _serial: ClassVar[Iterator[int]] = itertools.count(1)

    @classmethod
    def from_file(cls, path: str | Path, bench: BenchLike | None = None) -> "TwinVisaLibrary":
        """Open a specification, by default on the bench that it describes.

        Args:
            path: file, with or without `?key=value`.
            bench: stands in for the described one; the library is then a new one on each call.
        """
        specification = str(path)
        if bench is not None:
            unique = f"{specification}#{next(cls._serial)}"
            cls._handed_in[unique] = specification, bench
            specification = unique
        return cls(specification)

    @staticmethod
    def get_debug_info() -> dict[str, str]:
        """Lines for `pyvisa-info`."""
        return {"Based on": "pyvisa-sim", **SimVisaLibrary.get_debug_info()}

    def _init(self) -> None:
        self.sessions: dict[VISASession, Any] = {}
        self._locks: dict[str, ResourceLock] = {}
        self._lock = threading.RLock()
        self._faults: Faults | None = None
        self._given: BenchLike | None = None
        specification = str(self.library_path)
        if specification in self._handed_in:
            specification, self._given = self._handed_in.pop(specification)
        name, self._params = parse_specification(specification)
        # pyvisa's word for "no file given": the example instruments that come with pyvisa-sim.
        self._example = name == "unset"
        self._file = Path("default.yaml") if self._example else find_file(name)
        self._on = False
        self._switch_on()

    @property
    def faults(self) -> Faults | None:
        """What interferes on the wires; None for perfect ones."""
        return self._faults

    @faults.setter
    def faults(self, faults: Faults | None) -> None:
        self._faults = faults
        for device in self.instruments.values():
            device.faults = faults

    def reset(self) -> None:
        """Switch the bench off and on: it and every panel are built anew, from `dir` if the bench has one.

        Open sessions and their locks stay good. A bench that was handed in stays; only the panels are new.
        """
        with self._lock:
            self._switch_off()
            self._switch_on()

    def _switch_on(self) -> None:
        loader = load(self._file, self._example)
        section = loader.data.get("bench")
        if self._given is not None:
            self.bench = self._given
        elif section is None:
            self.bench = BareBench()
        else:
            from instruments.twin.bench import open_bench

            params = {k: v for k, v in self._params.items() if k not in ("faults", "faults_seed")}
            self.bench = open_bench(section, base=self._file.parent, params=params)
        try:
            self.clock = self.bench.clock
            if "faults" in self._params:
                from instruments.twin.faults import open_faults

                self._faults = open_faults(self._params, self.bench, self)
            self._build(loader)
        except BaseException:
            self.bench.close()
            raise
        self._on = True

    def _switch_off(self) -> None:
        if self._on:
            self._on = False
            getattr(self._faults, "close", lambda: None)()
            self.bench.close()

    def _build(self, loader: parser.Loader) -> None:
        self.devices = Devices()
        condition = threading.Condition(self._lock)
        self.instruments = {}
        for name, resource in loader.data.get("resources", {}).items():
            section = device_section(loader, resource)
            canonical = rname.to_canonical_name(name)
            stock = stock_device(loader, resource, section)
            self.devices.add_device(canonical, stock)
            handler = section.get("handler")
            panel = load_panel(handler, self.bench, section.get("options", {})) if handler else None
            timing = Timing.from_section(section.get("timing", {}))
            device = TwinDevice(stock, self.clock, panel, timing)
            device.faults = self._faults
            self.instruments[canonical] = device
            self._locks.setdefault(canonical, ResourceLock(condition, self.clock)).clock = self.clock
        for session in self.sessions.values():
            if isinstance(session, TwinSession):
                session.twin = self.instruments[session.twin.resource]

    def wall_time(self) -> str:
        """The date and time of day, ISO 8601, as the laboratory's computer has it."""
        told: str = getattr(self._faults, "wall_time", wall_time)()
        return told

    def _check(self, resource: str, opened_ns: int | None) -> None:
        check = getattr(self._faults, "check", None)
        if check is not None:
            check(resource, opened_ns)

    def open_default_resource_manager(self) -> tuple[VISARMSession, StatusCode]:
        """Open a resource manager session; switches a closed bench on again."""
        with self._lock:
            if not self._on:
                self._switch_on()
            self._switched_on[self.library_path] = self
            handle = VISARMSession(self._register(self))
            return handle, StatusCode.success

    def _register(self, obj: Any) -> Any:
        # Counted, not drawn: the stock backend takes its handles from the global random generator.
        handle = 1_000_000 + next(self._serial)
        self.sessions[VISASession(handle)] = obj
        return handle

    def list_resources(self, session: VISARMSession, query: str = "?*::INSTR") -> tuple[str, ...]:
        """Names of the connected instruments that match a VISA expression; empty if none does."""
        return tuple(rname.filter(self.devices.list_resources(), query))

    def open(
        self,
        session: VISARMSession,
        resource_name: str,
        access_mode: AccessModes = AccessModes.no_lock,
        open_timeout: SupportsInt = constants.VI_TMO_IMMEDIATE,
    ) -> tuple[VISASession, StatusCode]:
        """Open a session to an instrument, with a lock if `access_mode` asks for one.

        Raises:
            VisaIOError: VI_ERROR_INV_RSRC_NAME, VI_ERROR_RSRC_NFOUND or VI_ERROR_RSRC_LOCKED.
        """
        try:
            parsed = rname.parse_resource_name(resource_name)
        except rname.InvalidResourceName:
            raise VisaIOError(StatusCode.error_invalid_resource_name) from None
        with self._lock:
            device = self.instruments.get(str(parsed))
            if device is None:
                raise VisaIOError(StatusCode.error_resource_not_found)
            self._check(device.resource, None)
            lock = self._locks[device.resource]
            opened = TwinSession(session, resource_name, parsed, device, lock, self._lock)
            opened.handle = self._register(opened)
        handle = VISASession(opened.handle)
        if access_mode != AccessModes.no_lock:
            try:
                lock.acquire(handle, constants.Lock(access_mode), int(open_timeout))
            except VisaIOError:
                del self.sessions[handle]
                raise
        return handle, self._succeed(handle)

    def close(self, session: VISASession | VISARMSession | VISAEventContext) -> StatusCode:
        """Close a session and give up its locks; with the last resource manager the bench is closed."""
        with self._lock:
            closed = self.sessions.pop(cast(VISASession, session), None)
            if closed is None:
                return StatusCode.error_invalid_object
            if isinstance(closed, TwinSession):
                closed.lock.forget(session)
            elif not any(other is self for other in self.sessions.values()):
                self.sessions.clear()
                self._locks.clear()
                self._switched_on.pop(self.library_path, None)
                self._switch_off()
        return StatusCode.success

    def _find(self, session: int) -> TwinSession:
        found = self.sessions.get(cast(VISASession, session))
        if not isinstance(found, TwinSession):
            raise VisaIOError(StatusCode.error_invalid_object)
        return found

    def _usable(self, session: VISASession) -> TwinSession:
        found = self._find(session)
        found.lock.check(session)
        if self._faults is not None:
            self._check(found.twin.resource, found.opened_ns)
        return found

    def _succeed(self, session: VISASession, status: StatusCode = StatusCode.success) -> StatusCode:
        """Note how an operation ended; raise if badly (pyvisa ignores statuses that are returned)."""
        self._last_status = self._last_status_in_session[session] = status
        if status < 0:
            raise VisaIOError(status)
        return status

    def write(self, session: VISASession, data: bytes) -> tuple[int, StatusCode]:
        """Write bytes to an instrument (viWrite)."""
        with self._lock:
            count, status = self._usable(session).write(data)
        return count, self._succeed(session, status)

    def read(self, session: VISASession, count: int) -> tuple[bytes, StatusCode]:
        """Read at most `count` bytes from an instrument (viRead), waiting in virtual time."""
        found = self._find(session)
        if self._faults is not None:
            self._check(found.twin.resource, found.opened_ns)
        data, status = found.read(count)
        return data, self._succeed(session, status)

    def read_stb(self, session: VISASession) -> tuple[int, StatusCode]:
        """Serial poll (viReadSTB)."""
        with self._lock:
            return self._usable(session).twin.serial_poll(), self._succeed(session)

    def clear(self, session: VISASession) -> StatusCode:
        """Device clear (viClear)."""
        with self._lock:
            self._usable(session).twin.clear()
        return self._succeed(session)

    def assert_trigger(self, session: VISASession, protocol: constants.TriggerProtocol) -> StatusCode:
        """Group execute trigger (viAssertTrigger)."""
        with self._lock:
            self._usable(session).twin.trigger()
        return self._succeed(session)

    def flush(self, session: VISASession, mask: BufferOperation) -> StatusCode:
        """Drop replies that were sent but not read, or an unfinished message (viFlush)."""
        with self._lock:
            device = self._usable(session).twin
            if mask & _DROPS_OUTPUT:
                device.drop_output()
            if mask & _DROPS_INPUT:
                device.drop_input()
        return self._succeed(session)

    def lock(
        self, session: VISASession, lock_type: constants.Lock, timeout: int, requested_key: str | None = None
    ) -> tuple[str, StatusCode]:
        """Lock a resource (viLock); VI_ERROR_RSRC_LOCKED if others hold it for longer than `timeout` ms."""
        lock = self._find(session).lock
        key = lock.acquire(session, constants.Lock(lock_type), int(timeout), requested_key)
        return key, self._succeed(session)

    def unlock(self, session: VISASession) -> StatusCode:
        """Undo one lock (viUnlock)."""
        self._find(session).lock.release(session)
        return self._succeed(session)

    def enable_event(
        self,
        session: VISASession,
        event_type: EventType,
        mechanism: constants.EventMechanism,
        context: None = None,
    ) -> StatusCode:
        """Accepted; service requests can be waited for at any time."""
        return StatusCode.success

    def wait_on_event(
        self, session: VISASession, in_event_type: EventType, timeout: int
    ) -> tuple[EventType, VISAEventContext, StatusCode]:
        """Wait in virtual time for a service request, the only event there is (viWaitOnEvent)."""
        if in_event_type not in (EventType.service_request, EventType.all_enabled):
            raise VisaIOError(StatusCode.error_invalid_event)
        served = self._find(session).wait_for_service(int(timeout))
        status = self._succeed(session, StatusCode.success if served else StatusCode.error_timeout)
        return EventType.service_request, VISAEventContext(0), status

    def gpib_control_ren(self, session: VISASession, mode: constants.RENLineOperation) -> StatusCode:
        """Accepted without effect: simulated instruments are always remote."""
        self._usable(session)
        return self._succeed(session)

    def get_attribute(self, session: Any, attribute: Any) -> tuple[Any, StatusCode]:
        """Value of an attribute (viGetAttribute)."""
        value, status = self._find(session).get_attribute(attribute)
        return value, self._succeed(session, status)

    def set_attribute(self, session: Any, attribute: Any, attribute_state: Any) -> StatusCode:
        """Set an attribute (viSetAttribute)."""
        return self._succeed(session, self._find(session).set_attribute(attribute, attribute_state))
