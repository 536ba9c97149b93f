"""What a run is asked to do, by names and numbers only: one dataclass a procedure.

From its fields come the command line's options, the flow's parameters with their descriptions, what a schedule file
may say, and what a run's header keeps. Quantities are SI floats; where people write them, they write a unit.
"""

from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from typing import Any, TypeVar

T = TypeVar("T")


def option(default: T, text: str, *, unit: str = "", flag: str = "") -> T:
    """A field of an options dataclass.

    Args:
        default: value when nothing is said; its type is the option's.
        text: one sentence for people.
        unit: SI unit of a quantity ("S", "V", "s"), which people may then write with a prefix: "1 uS".
        flag: name on the command line when it differs from the field's; "samples -n" for two.
    """
    made: T = field(default=default, metadata={"text": text, "unit": unit, "flag": flag})
    return made


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What every run has."""

    station: str = option("station-twin.yaml", "Station file.")
    runs: str = option("runs", "Folder that runs are kept in.")
    run_id: str = option("", "Name of the run; default: made from the time.")
    bench: str = option("", "Twin: directory of its chips; 'none' forgets the chip afterwards.")
    chip: str = option("", "Twin: seed that names the chip in the socket.")
    preset: str = option("", "Twin: device preset.")
    fresh: bool = option(False, "Twin: draw the chip anew.")
    faults: str = option("", "Twin: fault profile that it suffers from, such as timeouts.")
    faults_seed: int = option(0, "Twin: names the chance of the faults.")
    adc: str = option("", "How cells are read: plc or high-speed; default: the station's.")
    operator: str = option("", "Who runs it, for the record.")
    attended: bool = option(False, "Twin: ask a person where a real laboratory would.")
    priority: int = option(0, "In the queue for the instruments; higher goes first.")
    record: bool = option(False, "Keep every VISA message in the run's folder, tape.jsonl.")
    resume: str = option("", "Go on with a run that was interrupted.")
    command_line: str = option("", "What was typed, for the record.")


ELSEWHERE = (
    "command_line",
    "operator",
    "record",
    "resume",
    "runs",
    "run_id",
    "bench",
    "priority",
    "attended",
    "faults",
    "faults_seed",
)
"""Options that say where and by whom, not what: runs that differ only in these are equal."""
WITH_RESUME = ("resume", "runs", "bench", "operator", "priority", "attended", "faults", "faults_seed", "record")
"""Options that a resumed run may be given; in all else it goes on as its record says."""
PER_RUN = ("run_id", "resume", "command_line")
"""Options that belong to one run; a deployment runs again and again."""


def listed(options: type[Any]) -> Iterator[Field[Any]]:
    """The fields of an options dataclass, a procedure's own first, then those that every run has."""
    common = {one.name for one in fields(RunOptions)}
    mine = fields(options)
    yield from (one for one in mine if one.name not in common)
    yield from (one for one in mine if one.name in common)


def quantities(options: type[Any]) -> dict[str, str]:
    """Names of the fields that are quantities, with their SI units."""
    return {one.name: one.metadata["unit"] for one in fields(options) if one.metadata.get("unit")}
