"""Whoever hangs the oscilloscope's probes."""

from collections.abc import Callable, Mapping

from instruments.station import Station
from workflows.procedures.controls import Answer, Question
from workflows.procedures.solve import Mover


def mover(station: Station, ask: Callable[[Question], Answer]) -> Mover:
    """A person moves the probes; on a twin, which is its own operator, they move by themselves as well."""

    def move(scope: str, probes: Mapping[int, str]) -> None:
        where = {f"channel {channel}": node for channel, node in probes.items()}
        ask(Question("probes", f"Move the probes of {scope}", where))
        station.move_probes(probes)

    return move
