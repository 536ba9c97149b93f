"""The circle experiment from names to a finished run: what the command line, the flow and a notebook all call."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.baseline import Settings, measure_baseline
from analysis.circle import reference
from analysis.metrics import judge
from analysis.records import WaveformSpec, layout, open_run
from analysis.records.journal import is_begun
from analysis.report import report_circle
from instruments.clock import stopwatch, wall_time
from instruments.station import Station
from instruments.station_file import StationFile
from workflows.errors import RequestError
from workflows.locking import StationLocks, Waiting
from workflows.procedures.circle import CircleRun, circle
from workflows.procedures.circle_request import CircleRequest, request_parameters
from workflows.procedures.holding import held_station
from workflows.procedures.jobs import Around, directly
from workflows.procedures.program import Progress
from workflows.procedures.session import interrupted_run, new_run_id, recorded_run, run_folder, run_paths

Told = Callable[[str, int, int], None]

_BASELINE_SECONDS = 12.0
"""How long the digital baseline may be measured for."""


@dataclass(frozen=True)
class CircleOptions:
    """A circle experiment by names and numbers only, so that it can be a flow's parameters.

    Attributes: those of `CircleRequest`, and
        station: station file, with an oscilloscope.
        runs, run_id: folder of runs, name of the run.
        bench, chip, preset, fresh: a twin's chips, see `ProgramOptions`.
        cache: folder of trained networks.
        baseline: whether to measure the digital baseline on this computer.
        operator, command_line: for the record.
        resume: a run to go on with; all else then comes from its records.
    """

    samples: int = 1000
    uncalibrated: int = 200
    calibration_runs: int = 32
    calibration_rounds: int = 2
    recipe: str = "hardware"
    seed: int = 1
    tolerance: float = 1e-6
    verify: float = 0.7
    budget: int = 120
    points: int = 2000
    field: int = 11
    compensation: int = 500
    station: str = "station-twin.yaml"
    runs: str = "runs"
    run_id: str = ""
    bench: str = ""
    chip: str = ""
    preset: str = ""
    fresh: bool = False
    cache: str = ""
    baseline: bool = True
    operator: str = ""
    resume: str = ""
    command_line: str = ""

    @property
    def request(self) -> CircleRequest:
        """The experiment proper."""
        return CircleRequest(**{f.name: getattr(self, f.name) for f in fields(CircleRequest)})


@dataclass(frozen=True)
class CircleJob:
    """A checked job: everything that can be known to be wrong without an instrument has been found."""

    options: CircleOptions
    station: StationFile
    folder: Path

    @classmethod
    def prepare(cls, options: CircleOptions) -> "CircleJob":
        """Load and check station and request; touches no instrument and writes nothing.

        Raises:
            ConfigError, RequestError: something about them is wrong.
        """
        if options.resume:
            folder = run_folder(Path(options.runs).expanduser(), options.resume)
            tables, station = interrupted_run(folder, "circle")
            header = tables.header
            bench = options.bench or header.paths.get("bench", "")
            if station.simulated and not bench:
                raise RequestError(f"run {folder} can't be resumed: its simulated chip was gone with its process")
            kept = dict(header.parameters.get("options", {}))
            own = {k: getattr(options, k) for k in ("resume", "command_line", "operator", "runs", "cache")}
            return cls(replace(CircleOptions(**kept), fresh=False, bench=bench, **own), station, folder)
        options.request.check()
        station = StationFile.load(options.station)
        if "oscilloscope" not in station.instruments:
            raise RequestError(f"station {station.name} has no oscilloscope; name one under `instruments:`")
        arrays, rows, cols = station.shape
        if arrays < 3 or rows < 14 or cols < 15:
            raise RequestError(
                f"station {station.name} has {arrays} arrays of {rows}x{cols}; the network needs 3 of 14x15"
            )
        folder = Path(options.runs).expanduser() / (options.run_id or new_run_id("circle", wall_time()))
        if is_begun(folder / layout.JOURNAL):
            raise RequestError(f"run {folder} exists; choose another name")
        return cls(options, station, folder)

    def open_station(self) -> Station:
        """Open the station; for a twin with the job's bench."""
        o = self.options
        twin = {"dir": o.bench, "seed": o.chip, "preset": o.preset, "fresh": "1" if o.fresh else ""}
        return Station.open(self.station, **({k: v or None for k, v in twin.items()} if self.station.simulated else {}))

    def parameters(self) -> dict[str, Any]:
        """What the run's header keeps."""
        elsewhere = ("command_line", "operator", "resume", "runs", "run_id", "bench", "cache")
        kept = {k: v for k, v in self.options.__dict__.items() if k not in elsewhere}
        return {
            **request_parameters(self.options.request),
            "arrays": list(range(self.station.shape[0])),
            "options": kept,
        }

    def paths(self) -> dict[str, str]:
        """Where a resumed run finds the station and its chips again, from any folder."""
        return run_paths(self.station, self.options.bench)

    def run(
        self,
        *,
        stop: Callable[[], bool] = lambda: False,
        listener: Callable[[Progress], None] | None = None,
        told: Told = lambda name, done, total: None,
        around: Around = directly,
        move: Callable[[str, Mapping[int, str]], None] | None = None,
        locks: StationLocks | None = None,
        waiting: Callable[[Waiting], None] | None = None,
    ) -> Path:
        """Do it, judge it, report it. Gives the run's folder.

        Args:
            stop: asked between pulses and between solutions.
            listener: told of every programmed cell.
            told: told of every phase's progress.
            around: called with a name and each phase, to do it.
            move: hangs probes on nodes; on a twin that is done by itself, on a real bench by a person.
            locks: the laboratory's; None where nobody else can want the station.
            waiting: told for whom the run waits.
        """
        o = self.options
        with held_station(
            self.station, self.open_station, run=self.folder.name, locks=locks, owner=o.operator,
            bench=o.bench, stop=stop, waiting=waiting,
        ) as holding:  # fmt: skip
            station = holding.station
            driver = self.station.instruments["oscilloscope"].driver
            # Tektronix picks its own sample rate and may take up to four times as many points as it was asked for.
            points = o.points if driver == "infiniivision" else 4 * o.points
            with recorded_run(
                station, self.folder, "circle", self.parameters(), arrays=self.station.shape[0],
                command_line=o.command_line, operator=o.operator, resume=bool(o.resume), paths=self.paths(),
                waveforms=(WaveformSpec("scope1", ("x", "y", "nx", "ny"), points),),
            ) as writer:  # fmt: skip
                run = CircleRun(
                    station, writer, o.request, Path(o.cache), move or _mover(station), stop, listener, told
                )
                for trouble in holding.troubles:
                    writer.note(trouble)
                circle(run, around)
                station.safe()  # the rest needs no instrument
                if o.baseline:
                    around("digital baseline", lambda: _measure_baseline(run, told))
        around("report", self.report)
        return self.folder

    def report(self) -> None:
        """Draw the figures and write the page, from the run file alone."""
        with open_run(self.folder) as run:
            report_circle(run, self.folder)


def _mover(station: Station) -> Callable[[str, Mapping[int, str]], None]:
    """On a twin probes move by themselves; a person must do it otherwise."""

    def move(scope: str, probes: Mapping[int, str]) -> None:
        del scope
        for panel in getattr(station.bench, "scopes", ()):
            panel.probes.update(probes)

    def ask(scope: str, probes: Mapping[int, str]) -> None:
        wanted = ", ".join(f"channel {channel} on {node}" for channel, node in probes.items())
        raise RequestError(f"{scope}: the probes must be moved to {wanted}; hand in `move` to ask a person for it")

    return move if station.bench is not None else ask


def _measure_baseline(run: CircleRun, told: Told) -> None:
    """The same network sampled digitally, on this computer, in this run, to the quality of the analog samples."""
    assert run.model is not None
    assert run.ends is not None
    told("digital baseline", 0, 1)
    truth = reference()
    rng = np.random.default_rng([run.request.seed, 9])
    ends = run.ends[np.isfinite(run.ends).all(axis=1)]
    # A resumed run may have drawn few of its samples itself; then the many-step digital result sets the quality.
    target = judge(ends, truth, rng)["kl_2d"] if len(ends) >= 200 else None
    settings = Settings(points=max(len(ends), 1000) if target is None else len(ends), total_time=_BASELINE_SECONDS)
    baseline = measure_baseline(
        run.model.ideal_network(),
        run.model.drive,
        truth,
        rng=rng,
        stopwatch=stopwatch,
        target=target,
        settings=settings,
    )
    run.writer.data("baseline", baseline.to_bytes(), title="digital baseline on this computer, JSON in UTF-8")
    told("digital baseline", 1, 1)
