"""Look at a station as a Prefect flow: open it, ask every instrument who it is, close it."""

from dataclasses import dataclass

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from instruments.station import Station
from instruments.station_file import StationFile
from workflows.flows.procedures import announced
from workflows.flows.watch import Watch
from workflows.procedures.holding import held_station


@dataclass(frozen=True)
class CheckOptions:
    """A check by names only, so that it can be a flow's parameters; see `station_check`."""

    station: str = "station-twin.yaml"
    operator: str = ""


@flow(name="station-check", flow_run_name="check-{station}", log_prints=False, persist_result=False)
def station_check(station: str = "station-twin.yaml", operator: str = "") -> list[str]:
    """Open a station, ask every instrument who it is, close it. Drives nothing.

    Args:
        station: station file.
        operator: who runs it.

    Returns:
        A line an instrument: its role, what it says of itself, where it was found.
    """
    file = StationFile.load(station)
    watch = Watch.current()
    with announced("station-check"), watch.signals(), held_station(
        file, lambda: Station.open(file), run="station-check", owner=operator, stop=watch.stop,
        locks=watch.locks, waiting=watch.waiting
    ) as holding:  # fmt: skip
        found = [(one.role, one.idn, one.resource) for one in holding.station.identities]
    rows = ["| instrument | says it is | found at |", "|---|---|---|", *(f"| {r} | {i} | {a} |" for r, i, a in found)]
    create_markdown_artifact(key="station", markdown="\n".join(rows), description=f"{file.name} ({file.world})")
    return [f"{role}: {idn} ({resource})" for role, idn, resource in found]
