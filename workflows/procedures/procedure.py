"""What a procedure is: the names by which it is asked for, its work on an open station, and its report."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from analysis.records import RunFile, RunWriter, WaveformSpec
from analysis.records.tables import Tables
from instruments.station import Station
from instruments.station_file import StationFile
from workflows.procedures.controls import Answer, Controls, Question
from workflows.procedures.options import RunOptions

if TYPE_CHECKING:
    from workflows.tables import Row

O = TypeVar("O", bound=RunOptions)  # noqa: E741  # it stands for options throughout
R = TypeVar("R")


@dataclass(frozen=True)
class Work(Generic[O, R]):
    """What a procedure works with.

    Attributes:
        station: open, and ours.
        writer: the run's records; `writer.state` is not None in a resumed run.
        options: as asked for.
        request: checked.
        controls: the caller's.
        ask: has a person do what a `Question` says, with safe outputs, and records who did it and when.
    """

    station: Station
    writer: RunWriter
    options: O
    request: R
    controls: Controls
    ask: Callable[[Question], Answer]


@dataclass(frozen=True)
class Procedure(Generic[O, R]):
    """A procedure. Everything that can be wrong without an instrument is found by `request`.

    Attributes:
        name: of the command, of the flow, and in the run's header: "program", "circle", "iv".
        title: what it does, one sentence.
        options: frozen dataclass derived from `RunOptions`.
        request: gives what is to be done from options and station; raises a user error where it makes no sense.
        parameters: what the run's header keeps of a request (JSON values).
        work: does it. Leaves safe outputs to the job; ends early by raising.
        report: draws figures and pages into the run's folder, from its file alone.
        rows: the closing table, from the run's file alone.
        resumed: like `request`, for a run that is gone on with; None if `request` will do.
        arrays: how many arrays the records have.
        waveforms: what oscilloscopes will record.
        elsewhere: further options that say where, not what.
    """

    name: str
    title: str
    options: type[O]
    request: Callable[[O, StationFile], R]
    parameters: Callable[[R], Mapping[str, Any]]
    work: Callable[[Work[O, R]], None]
    report: Callable[[Path], None]
    rows: "Callable[[RunFile], list[Row]]"
    resumed: Callable[[O, StationFile, Tables], R] | None = None
    arrays: Callable[[R, StationFile], int] = lambda request, station: 1
    waveforms: Callable[[R, StationFile], tuple[WaveformSpec, ...]] = lambda request, station: ()
    elsewhere: tuple[str, ...] = ()
