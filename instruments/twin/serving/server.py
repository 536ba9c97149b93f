"""A bench on the network: opened once, offered at several ports, closed with its state kept."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import pyvisa
from pyvisa import rname
from pyvisa.constants import InterfaceType

from instruments.clock import Clock, VirtualClock
from instruments.errors import ConfigError
from instruments.twin.bench import hold
from instruments.twin.serving.bench_port import BenchPort
from instruments.twin.serving.hislip import Hislip
from instruments.twin.serving.instrument import ServedInstrument
from instruments.twin.serving.pace import Pacer
from instruments.twin.serving.serial_port import SerialPort
from instruments.twin.serving.sockets import SocketClient
from instruments.twin.serving.vxi11 import Gateway
from instruments.twin.visa import TwinVisaLibrary

_MOST_DRIVES = 20_000
"""Drives that a served bench remembers one by one: it may run for weeks, and no client can ask for them."""


@dataclass(frozen=True)
class Offer:
    """One instrument and where it is reached.

    Attributes:
        resource: its name on the bench itself.
        serial: the terminal of a serial line, else "".
        port: of the raw socket, 0 for a serial line.
        device: its name behind the gateway, "" for a serial line.
        addresses: VISA resources that reach it, the one with most functions first.
    """

    resource: str
    serial: str
    port: int
    device: str
    addresses: tuple[str, ...]


Streams = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class BenchServer:
    """A bench that is served. Use as an asynchronous context manager: leaving it keeps the state.

    Args:
        specification: bench file with parameters, as `pyvisa.ResourceManager("...@twin")` takes it (without `@twin`).
        wall: the wall's clock.
        scale: seconds of the bench in one of the wall; None for virtual time.
        idle: whether time passes while nobody speaks to the bench; False is for virtual time only.
        host: address to listen at.
        port: of the gateway; those of HiSLIP, the instruments and the bench itself follow it. 0: any free ones.
        state: folder that keeps the names of serial lines; None: none is kept.
        portmapper: port for clients that can't be told a port (111 is theirs); 0: none.
        report: told of defects, in a sentence.
    """

    def __init__(
        self,
        specification: str,
        wall: Clock,
        scale: float | None = None,
        idle: bool = True,
        host: str = "127.0.0.1",
        port: int = 0,
        state: Path | None = None,
        portmapper: int = 0,
        report: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._specification, self._wall, self._scale, self._idle = specification, wall, scale, idle
        self.host, self._port, self._state, self._portmapper = host, port, state, portmapper
        self._report = report
        self.offers: tuple[Offer, ...] = ()
        self.bench_port = 0
        self._servers: list[asyncio.Server] = []
        self._serials: list[SerialPort] = []
        self._open: set[asyncio.BaseTransport] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._manager: pyvisa.ResourceManager | None = None
        self._hold: IO[str] | None = None
        self._pacer: Pacer | None = None

    @property
    def reached_at(self) -> str:
        """An address that clients on this machine use."""
        return "127.0.0.1" if self.host in ("0.0.0.0", "") else self.host

    @property
    def library(self) -> TwinVisaLibrary:
        """The bench behind it."""
        assert self._manager is not None
        return cast(TwinVisaLibrary, self._manager.visalib)

    async def __aenter__(self) -> "BenchServer":
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *about: object) -> None:
        await self.close()

    async def _start(self) -> None:
        if self._state is not None:
            self._hold = _hold(self._state)
        self._manager = pyvisa.ResourceManager(f"{self._specification}@twin")
        library, loop = self.library, asyncio.get_running_loop()
        if (ledger := getattr(library.bench, "ledger", None)) is not None:
            ledger.most = _MOST_DRIVES
        pacer = Pacer(library.clock, self._wall if self._idle else VirtualClock(), self._scale, loop.call_later)
        check = getattr(library.faults, "check", lambda resource, opened_ns: None)
        served = {
            name: ServedInstrument(device, pacer, check, self._report) for name, device in library.instruments.items()
        }
        self._pacer = pacer

        def passed() -> None:
            for instrument in served.values():
                instrument.go_on()
            for waiter in [one for one in pacer.awaited if not isinstance(one, ServedInstrument)]:
                cast(Any, waiter).go_on()

        pacer.passed = passed
        names = _device_names(served)
        gateway = Gateway({alias: served[name] for name, aliases in names.items() for alias in aliases}, self._wall)
        gateway.port = await self._listen_streams(gateway.serve, self._port)
        if self._portmapper:
            await self._listen_streams(gateway.serve, self._portmapper)
        fast = {name: f"hislip{n}" for n, name in enumerate(name for name in names if not name.startswith("GPIB"))}
        hislip = Hislip({sub: served[name] for name, sub in fast.items()}, self._wall)
        second = await self._listen_streams(hislip.serve, gateway.port + 1 if self._port else 0)
        offers, at = [], second
        for name, instrument in served.items():
            if rname.parse_resource_name(name).interface_type_const == InterfaceType.asrl:
                offers.append(self._offer_serial(name, instrument))
            else:
                at += 1
                port = await self._listen_socket(instrument, at if self._port else 0)
                device = names[name][0]
                here = self.reached_at
                found: tuple[str, ...] = (
                    f"TCPIP0::{here},{gateway.port}::{device}::INSTR",
                    f"TCPIP0::{here}::{port}::SOCKET",
                )
                if name in fast:
                    found = (found[0], f"TCPIP0::{here}::{fast[name]},{second}::INSTR", found[1])
                offers.append(Offer(name, "", port, device, found))
        self.offers = tuple(offers)
        itself = BenchPort(pacer, getattr(library.bench, "scopes", ()))
        self.bench_port = await self._listen_streams(itself.serve, at + 1 if self._port else 0)
        pacer.arrange()

    def _offer_serial(self, name: str, instrument: ServedInstrument) -> Offer:
        link = None if self._state is None else self._state / (_file_name(name) + ".tty")
        line = SerialPort(instrument, link)
        self._serials.append(line)
        line.start()
        terminal = line.name if link is None else str(link)
        return Offer(name, terminal, 0, "", (f"ASRL{terminal}::INSTR",))

    async def _listen_socket(self, instrument: ServedInstrument, port: int) -> int:
        loop = asyncio.get_running_loop()
        with _free(self.host, port):
            server = await loop.create_server(lambda: SocketClient(instrument, self._open), self.host, port)
        return self._note(server)

    async def _listen_streams(self, answer: Streams, port: int) -> int:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(cast("asyncio.Task[None]", task))
            self._open.add(writer.transport)
            try:
                await answer(reader, writer)
            except asyncio.CancelledError:
                pass  # the server stops
            finally:
                self._open.discard(writer.transport)
                self._tasks.discard(cast("asyncio.Task[None]", task))

        with _free(self.host, port):
            server = await asyncio.start_server(serve, self.host, port)
        return self._note(server)

    def _note(self, server: asyncio.Server) -> int:
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Cut all connections and close the bench, which keeps its state. Idempotent."""
        for server in self._servers:
            server.close()
        for transport in list(self._open):
            transport.abort()  # type: ignore[attr-defined]  # all of them are of sockets
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for line in self._serials:
            line.close()
        self._servers, self._serials = [], []
        if self._pacer is not None:
            self._pacer.catch_up()
            self._pacer.stop()
            self._pacer = None
        if self._manager is not None:
            self._manager.close()
            self._manager = None
        if self._hold is not None:
            self._hold.close()
            self._hold = None


def _device_names(served: Mapping[str, ServedInstrument]) -> dict[str, list[str]]:
    """The names of each message-based instrument behind the gateway, the telling one first."""
    names: dict[str, list[str]] = {}
    for name in served:
        parsed = rname.parse_resource_name(name)
        if parsed.interface_type_const == InterfaceType.asrl:
            continue
        number = f"inst{len(names)}"
        if parsed.interface_type_const == InterfaceType.gpib:
            gpib = cast(rname.GPIBInstr, parsed)
            names[name] = [f"gpib{gpib.board},{gpib.primary_address}", number]
        else:
            names[name] = [number]
    return names


def _file_name(resource: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in resource.removesuffix("::INSTR")).lower()


@contextlib.contextmanager
def _free(host: str, port: int) -> Any:
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ConfigError(f"port {port} of {host} can't be had ({reason}); choose others by --port-base") from error


def _hold(folder: Path) -> IO[str]:
    """Take a folder for one server."""
    folder.mkdir(parents=True, exist_ok=True)
    refusal = f"the bench {folder} is served by {{}} already; use that one, or another folder by --state"
    return hold(folder / "served", refusal)
