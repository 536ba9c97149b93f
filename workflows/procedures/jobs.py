"""The programming job from names to a finished run: what the command line, the flow and a notebook all call."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.figures import programming as figures
from analysis.records import layout, open_run
from analysis.records.journal import is_begun
from instruments.clock import wall_time
from instruments.station import Station
from instruments.station_file import StationFile
from workflows.errors import RequestError
from workflows.locking import StationLocks, Waiting
from workflows.procedures.holding import held_station
from workflows.procedures.patterns import load_pattern
from workflows.procedures.program import ProgramRequest, Progress, program
from workflows.procedures.session import interrupted_run, new_run_id, recorded_run, run_folder, run_paths
from workflows.procedures.write_verify import ALGORITHMS, IncrementalReversal

Around = Callable[[str, Callable[[], object]], object]


def directly(name: str, work: Callable[[], object]) -> object:
    """Do a piece of work as it is; a flow puts a task in its place."""
    return work()


@dataclass(frozen=True)
class ProgramOptions:
    """A programming job by names and numbers only, so that it can be a flow's parameters.

    Attributes:
        pattern: "moon-star", or a .npy or .csv file of conductances in S.
        station: station file.
        array: physical array number.
        window: half width, S.
        verify, budget, settle_rows, algorithm: see `ProgramRequest`.
        adc: "plc" or "high-speed" to override the station's way of reading, else "".
        runs: folder of runs.
        run_id: name of the run, else made from the time.
        bench: directory of a twin's chips; "" for none (the chip is gone with the process).
        chip: seed that names a twin's chip, else "".
        preset: device preset of a twin, else the bench file's.
        fresh: draw the chip anew.
        operator: who runs it.
        resume: run to go on with; pattern, station and the request then come from its records.
    """

    pattern: str = "moon-star"
    station: str = "station-twin.yaml"
    array: int = 0
    window: float = 1e-6
    verify: float = 0.7
    budget: int = 120
    settle_rows: int = 8
    algorithm: str = IncrementalReversal.name
    adc: str = ""
    runs: str = "runs"
    run_id: str = ""
    bench: str = ""
    chip: str = ""
    preset: str = ""
    fresh: bool = False
    operator: str = ""
    resume: str = ""
    command_line: str = ""


@dataclass(frozen=True)
class ProgramJob:
    """A checked job: everything that can be known to be wrong without an instrument has been found."""

    options: ProgramOptions
    station: StationFile
    request: ProgramRequest
    folder: Path

    @classmethod
    def prepare(cls, options: ProgramOptions) -> "ProgramJob":
        """Load and check the station, pattern and request; touches no instrument and writes nothing.

        Raises:
            ConfigError, RequestError, LimitError, AnalysisError: something about them is wrong.
        """
        runs = Path(options.runs).expanduser()
        if options.resume:
            return cls._prepare_resume(options, run_folder(runs, options.resume))
        station = _reading(StationFile.load(options.station), options.adc)
        arrays, rows, cols = station.shape
        if not 0 <= options.array < arrays:
            raise RequestError(
                f"array {options.array} does not exist; station {station.name} has arrays 0..{arrays - 1}"
            )
        target = load_pattern(options.pattern, rows, cols)
        request = ProgramRequest(
            target[None],
            (options.array,),
            options.window,
            options.verify,
            options.budget,
            options.settle_rows,
            options.algorithm,
        )
        request.check(station.shape, station.limits)
        _check_algorithm(request, station)
        if options.run_id and not options.run_id.replace("-", "").replace("_", "").isalnum():
            raise RequestError(f"run id {options.run_id!r} may hold letters, digits, - and _ only")
        folder = runs / (options.run_id or new_run_id("program", wall_time()))
        if is_begun(folder / layout.JOURNAL):
            raise RequestError(f"run {folder} exists; resume it with --resume {folder}, or choose another name")
        return cls(options, station, request, folder)

    @classmethod
    def _prepare_resume(cls, options: ProgramOptions, folder: Path) -> "ProgramJob":
        tables, station = interrupted_run(folder, "program")
        header = tables.header
        kept = dict(header.parameters.get("options", {}))
        own = {k: getattr(options, k) for k in ("resume", "command_line", "operator", "runs")}
        bench = options.bench or header.paths.get("bench", "")
        merged = replace(ProgramOptions(**kept), fresh=False, bench=bench, **own)
        loaded = _reading(station, merged.adc)
        if loaded.simulated and not bench:
            raise RequestError(f"run {folder} can't be resumed: its simulated chip was gone with its process")
        target = tables.map("conductance_target")
        if not np.isfinite(target).any():
            target = load_pattern(merged.pattern, *loaded.shape[1:])
        request = ProgramRequest.from_record(header.parameters, target)
        request.check(loaded.shape, loaded.limits)
        return cls(merged, loaded, request, folder)

    def open_station(self) -> Station:
        """Open the station; for a twin with the job's bench."""
        o = self.options
        twin = {
            "dir": o.bench or None,
            "seed": o.chip or None,
            "preset": o.preset or None,
            "fresh": "1" if o.fresh else None,
        }
        return Station.open(self.station, **twin)

    def parameters(self) -> dict[str, Any]:
        """What the run's header keeps, with `paths` enough to resume. Equal for equal jobs, wherever they are put."""
        elsewhere = ("command_line", "operator", "resume", "runs", "run_id", "bench")
        options = {k: v for k, v in self.options.__dict__.items() if k not in elsewhere}
        return {**self.request.parameters(), "options": options}

    def paths(self) -> dict[str, str]:
        """Where a resumed run finds the station and its chips again, from any folder."""
        return run_paths(self.station, self.options.bench)

    def run(
        self,
        *,
        stop: Callable[[], bool] = lambda: False,
        listener: Callable[[Progress], None] | None = None,
        around: Around = directly,
        locks: StationLocks | None = None,
        waiting: Callable[[Waiting], None] | None = None,
    ) -> Path:
        """Do it: take and open the station, program, record, draw. Gives the run's folder.

        Args:
            stop: asked between pulses.
            listener: told of every finished cell.
            around: see `program`.
            locks: the laboratory's; None where nobody else can want the station.
            waiting: told for whom the run waits.
        """
        o = self.options
        with held_station(
            self.station, self.open_station, run=self.folder.name, locks=locks, owner=o.operator,
            bench=o.bench, stop=stop, waiting=waiting,
        ) as holding:  # fmt: skip
            opened = holding.station
            if self.station.simulated != (opened.bench is not None):
                raise RequestError(f"station {self.station.name} says {self.station.world} but its instruments are not")
            with recorded_run(
                opened, self.folder, "program", self.parameters(), arrays=len(self.request.arrays),
                command_line=o.command_line, operator=o.operator, resume=bool(o.resume), paths=self.paths(),
            ) as writer:  # fmt: skip
                for trouble in holding.troubles:
                    writer.note(trouble)
                program(opened.array, writer, self.request, stop=stop, listener=listener, around=around)
        with open_run(self.folder) as run:
            figures.draw(run, self.folder / "figures")
        return self.folder


def _reading(station: StationFile, adc: str) -> StationFile:
    if not adc:
        return station
    if adc not in ("plc", "high-speed"):
        raise RequestError(f"adc {adc!r} is unknown; allowed: plc, high-speed")
    averaging = 1 if adc == "plc" else 16
    return replace(station, read=replace(station.read, adc=adc, averaging=averaging))


def _check_algorithm(request: ProgramRequest, station: StationFile) -> None:
    """The strongest pulses that the algorithm could send must pass the limits before anything is opened."""
    algorithm = ALGORITHMS[request.algorithm]
    if not isinstance(algorithm, IncrementalReversal):
        return
    limits = station.limits
    for kind, volts, gate, width in algorithm.extremes(
        float(np.nanmin(request.target)), float(np.nanmax(request.target))
    ):
        (limits.bit_line if kind == "set" else limits.source_line).check(
            volts, f"strongest {kind.upper()} pulse of {algorithm.name}"
        )
        limits.word_line.check(gate, f"highest gate of {algorithm.name}")
        limits.pulse_width.check(width, f"pulse width of {algorithm.name}")
