"""The bench's time and its probes for its clients: what `instruments.served_bench` asks.

Between messages drivers and procedures sleep, and over a network nobody but the bench can do it: in virtual time it
has passed at once, at ten times the wall's pace in a tenth. It passes for all clients alike.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

from instruments.clock import NS
from instruments.twin.serving.pace import Pacer

_LONGEST = 512
_PROBE = re.compile(r"([1-9])=([A-Za-z][A-Za-z0-9_]{0,31})")
_FARTHEST_NS = 10 * 366 * 24 * 3600 * NS
"""A longer sleep is a mistake."""
_EVENTS = 256
"""Of the bench, between which others have their turn."""


class BenchPort:
    """Tells the time, lets it pass, moves probes.

    Args:
        pacer: the bench's time.
        scopes: panels with `probes`.
    """

    def __init__(self, pacer: Pacer, scopes: Sequence[Any]) -> None:
        self._pacer, self._scopes = pacer, scopes

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        try:
            while (line := await reader.readline()).endswith(b"\n"):
                writer.write(await self._answer(line) + b"\n")
                await writer.drain()
        except (ValueError, ConnectionError):
            pass  # a line without an end, or nobody there any more
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> bytes:
        verb, _, number = line[:_LONGEST].strip().decode("ascii", "replace").partition(" ")
        if verb == "PACE" and not number:
            return b"virtual" if self._pacer.scale is None else b"%g" % self._pacer.scale
        if verb == "NOW" and not number:
            self._pacer.catch_up()
            self._moved()
        elif verb == "SLEEP" and number.isascii() and number.isdigit() and int(number) <= _FARTHEST_NS:
            await self._sleep(int(number))
        elif verb == "PROBES" and (wanted := [_PROBE.fullmatch(one) for one in number.split()]) and all(wanted):
            moved = {int(one[1]): one[2] for one in wanted if one is not None}
            return self._move(moved)
        else:
            return b"? PACE, NOW, SLEEP nanoseconds or PROBES channel=node ..."
        return b"%d" % self._pacer.clock.now_ns

    def _move(self, probes: dict[int, str]) -> bytes:
        from instruments.twin.solver import NODES  # here: a bench of other instruments need not load a solver

        for node in probes.values():
            if node not in NODES:
                return f"no node {node}".encode()
        for panel in self._scopes:
            panel.probes.update(probes)
        return b"OK"

    async def _sleep(self, nanoseconds: int) -> None:
        pacer, clock = self._pacer, self._pacer.clock
        pacer.catch_up()
        until = clock.now_ns + nanoseconds
        if pacer.scale is not None:
            while (left := until - clock.now_ns) > 0:
                await asyncio.sleep(left / NS / pacer.scale)
                pacer.catch_up()
                self._moved()
            return
        while (left := until - clock.now_ns) > 0:
            for _ in range(_EVENTS):
                due = clock.next_event_ns()
                if due is None or due > until:
                    clock.advance_ns(max(0, until - clock.now_ns))
                    break
                clock.step()
            self._moved()
            await asyncio.sleep(0)

    def _moved(self) -> None:
        self._pacer.passed()
        self._pacer.arrange()
