"""Serving a bench from a program of its own: until a signal ends it, in order."""

import asyncio
import contextlib
import ipaddress
import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from instruments.clock import WallClock
from instruments.errors import ConfigError
from instruments.twin.serving.pace import PACES
from instruments.twin.serving.server import BenchServer, Offer

Told = Callable[[str], None]


def scale_of(pace: str) -> float | None:
    """Seconds of the bench in one of the wall: "1", "10", "100" (an x before it is allowed); None for virtual time.

    Raises:
        ConfigError: anything else.
    """
    if pace in ("virtual", "steps"):
        return None
    number = pace.removeprefix("x")
    if number not in map(str, PACES):
        raise ConfigError(f"pace {pace[:40]!r} must be virtual, steps, {', '.join(map(str, PACES))}")
    return float(number)


def refuse_open_door(host: str, asked: bool) -> str:
    """A warning if others than this machine can reach `host`, "" if not.

    Raises:
        ConfigError: they can, and nobody `asked` for it; or there is no such address.
    """
    try:
        found = [ipaddress.ip_address(one[4][0]) for one in socket.getaddrinfo(host, None, socket.AF_INET)]
    except OSError as error:
        raise ConfigError(f"address {host[:100]!r} to listen at: {error.strerror or error}") from error
    if all(one.is_loopback for one in found):
        return ""
    if not asked:
        raise ConfigError(f"{host} can be reached from other machines; if that is meant, say so by --listen {host}")
    return f"{host} can be reached from other machines: whoever reaches it can drive this bench, unasked and unseen"


def specification(file: str | Path, params: Mapping[str, str]) -> str:
    """A bench file and its parameters as one text."""
    query = "&".join(f"{key}={quote(value, safe='/')}" for key, value in sorted(params.items()))
    return f"{file}{'?' + query if query else ''}"


def serve(
    bench: str,
    params: Mapping[str, str],
    *,
    pace: str,
    host: str,
    port: int,
    state: Path | None,
    portmapper: int,
    ready: Callable[[str, tuple[Offer, ...], int], None],
    report: Told,
) -> str:
    """Serve a bench until SIGINT or SIGTERM.

    Args:
        bench: bench file.
        params: of the bench: seed, preset, fresh, faults, ...
        pace: virtual, 1, 10 or 100; "steps": virtual, and no time passes between messages.
        host: address to listen at.
        port: the first of the ports, 0 for any.
        state: folder that keeps the chip and the names of serial lines; None keeps nothing.
        portmapper: port of a port mapper, 0 for none.
        ready: called with the address to reach it at, the instruments and the bench's own port once clients can come.
        report: told of defects.

    Returns:
        The signal's name.

    Raises:
        ConfigError, BenchBusyError: it can't be served as asked.
    """
    given = {**params, **({} if state is None else {"dir": str(state)})}
    scale = scale_of(pace)

    async def main() -> str:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        names: list[str] = []

        def stop(number: signal.Signals) -> None:
            names.append(number.name)
            stopped.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
        server = BenchServer(
            specification(bench, given), WallClock(), scale, pace != "steps", host, port, state, portmapper, report
        )
        try:
            async with server:
                ready(server.reached_at, server.offers, server.bench_port)
                await stopped.wait()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                with contextlib.suppress(ValueError):
                    loop.remove_signal_handler(number)
        return names[0]

    return asyncio.run(main())
