"""A job: a procedure with its options, checked; what the command line, the flows and a notebook all run."""

import contextlib
import functools
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Generic

import numpy as np

from analysis.records import RunWriter, layout
from analysis.records.journal import is_begun
from analysis.records.masking import masked
from instruments.clock import wall_time
from instruments.station import Station
from instruments.station_file import StationFile
from instruments.tape import Recorder
from workflows.errors import RequestError
from workflows.procedures.controls import Answer, Controls, Question
from workflows.procedures.forecast_store import kept
from workflows.procedures.holding import held_station
from workflows.procedures.options import ELSEWHERE, WITH_RESUME
from workflows.procedures.orders import Orders
from workflows.procedures.procedure import O, Procedure, R, Work
from workflows.procedures.session import interrupted_run, new_run_id, recorded_run, run_folder, run_paths


@dataclass(frozen=True)
class Job(Generic[O, R]):
    """A checked job: everything that can be known to be wrong without an instrument has been found.

    Attributes:
        procedure: what is done.
        options: as asked for; in a resumed run as the record says.
        station: where.
        request: what exactly.
        folder: of the run.
    """

    procedure: Procedure[O, R]
    options: O
    station: StationFile
    request: R
    folder: Path

    @classmethod
    def prepare(cls, procedure: Procedure[O, R], options: O) -> "Job[O, R]":
        """Load and check station and request; touches no instrument and writes nothing.

        Raises:
            ConfigError, RequestError, LimitError, AnalysisError: something about them is wrong.
        """
        try:
            runs = Path(options.runs).expanduser()
        except RuntimeError as error:
            raise RequestError(f"folder of runs {options.runs!r:.200}: {error}") from error
        if options.resume:
            return cls._resumed(procedure, options, run_folder(runs, options.resume))
        station = _reading(StationFile.load(options.station), options.adc)
        if not station.simulated and (options.preset or options.chip or options.fresh or options.faults):
            raise RequestError(
                f"station {station.name} is real: preset, chip, fresh and faults make sense for a twin only"
            )
        request = procedure.request(options, station)
        if options.run_id and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}", options.run_id):
            raise RequestError(f"run id {options.run_id!r:.120} may hold up to 100 letters, digits, - and _ only")
        folder = runs / (options.run_id or new_run_id(procedure.name, wall_time()))
        try:
            begun = is_begun(folder / layout.JOURNAL)
        except (OSError, ValueError) as error:
            raise RequestError(f"folder of runs {options.runs!r:.200}: {error}") from error
        if begun:
            raise RequestError(f"run {folder} exists; go on with it by --resume {folder}, or choose another name")
        return cls(procedure, options, station, request, folder)

    @classmethod
    def _resumed(cls, procedure: Procedure[O, R], options: O, folder: Path) -> "Job[O, R]":
        tables, station = interrupted_run(folder, procedure.name)
        header = tables.header
        known = {one.name for one in fields(procedure.options)}
        kept = {k: v for k, v in header.parameters.get("options", {}).items() if k in known}
        own = {k: getattr(options, k) for k in (*WITH_RESUME, "command_line", *procedure.elsewhere)}
        bench = options.bench or header.paths.get("bench", "")
        merged = replace(procedure.options(**kept), **{**own, "bench": bench, "fresh": False})
        loaded = _reading(station, merged.adc)
        if loaded.simulated and not bench:
            raise RequestError(f"run {folder} can't be resumed: its simulated chip was gone with its process")
        if procedure.resumed is not None:
            request = procedure.resumed(merged, loaded, tables)
        else:
            request = procedure.request(merged, loaded)
        return cls(procedure, merged, loaded, request, folder)

    def going_on(self) -> "Job[O, R]":
        """The same run once more, from its records."""
        return self._resumed(self.procedure, replace(self.options, resume=str(self.folder)), self.folder)

    def open_station(self, recorder: Recorder | None = None) -> Station:
        """Open the station, for a twin with the job's bench; `recorder` hears everything that is said."""
        o = self.options
        twin = {"dir": o.bench, "seed": o.chip, "preset": o.preset, "fresh": "1" if o.fresh else ""}
        if o.faults:
            twin |= {"faults": o.faults, "faults_seed": str(o.faults_seed)}
        return Station.open(self.station, recorder, **{k: v or None for k, v in twin.items()})

    def parameters(self) -> dict[str, Any]:
        """What the run's header keeps, enough to resume. Equal for equal jobs, wherever they are put."""
        elsewhere = {*ELSEWHERE, *self.procedure.elsewhere}
        options = {f.name: getattr(self.options, f.name) for f in fields(self.options) if f.name not in elsewhere}
        arrays = list(range(self.procedure.arrays(self.request, self.station)))
        return {"arrays": arrays, **self.procedure.parameters(self.request), "options": options}

    def paths(self) -> dict[str, str]:
        """Where a resumed run finds the station and its chips again, from any folder."""
        return run_paths(self.station, self.options.bench)

    def run(self, controls: Controls = Controls(), *, report: bool = True) -> Path:  # noqa: B008  # frozen
        """Do it: take and open the station, work, record, make safe, report. Gives the run's folder.

        A pause that somebody asks for ends the work like a stop, with safe outputs and free instruments; the run then
        waits for the word to go on, and resumes from its records.

        Raises:
            Interrupted: stopped or aborted; the run can be gone on with.
        """
        job = self
        with Orders(self.folder, pausable=bool(self.paths().get("bench")) or not self.station.simulated) as orders:
            while True:
                try:
                    job._once(replace(controls, stop=orders.or_asked(controls.stop)), orders)
                except BaseException as error:
                    orders.explain(error)
                    if not orders.pausing or controls.stop():
                        raise
                    orders.wait(controls)
                    job = self.going_on()
                else:
                    break
        if report:
            controls.around("report", lambda: self.procedure.report(self.folder))
        return self.folder

    def _once(self, controls: Controls, orders: Orders) -> None:
        o, procedure = self.options, self.procedure
        recorder = Recorder(masked(self.station.text)) if o.record else None
        with (
            contextlib.closing(recorder) if recorder else contextlib.nullcontext(),
            held_station(
                self.station, functools.partial(self.open_station, recorder), run=self.folder.name,
                locks=controls.locks, owner=o.operator, bench=o.bench, priority=o.priority or controls.priority,
                stop=controls.stop, waiting=controls.waiting,
            ) as holding,
        ):  # fmt: skip
            station = holding.station
            if self.station.simulated == station.real:
                raise RequestError(f"station {self.station.name} says {self.station.world} but its instruments are not")
            with recorded_run(
                station, self.folder, procedure.name, self.parameters(),
                arrays=procedure.arrays(self.request, self.station), command_line=o.command_line, operator=o.operator,
                resume=bool(o.resume), paths=self.paths(), waveforms=procedure.waveforms(self.request, self.station),
            ) as writer:  # fmt: skip
                if recorder is not None:
                    recorder.into(_unused(self.folder, "tape"))
                orders.working()
                for trouble in holding.troubles:
                    writer.note(trouble)
                if not o.resume and (forecast := kept(self)) is not None:
                    text = np.frombuffer(forecast.to_json().encode(), dtype=np.uint8)
                    writer.data("forecast", text, title="forecast from a dry run, JSON in UTF-8")
                ask = self._asking(station, writer, controls, orders)
                for sentence in self.station.confirm:
                    ask(Question("confirm", f"Confirm that {sentence}"))
                procedure.work(Work(station, writer, o, self.request, controls, ask))

    def _asking(
        self, station: Station, writer: RunWriter, controls: Controls, orders: Orders
    ) -> Callable[[Question], Answer]:
        """What asks a person, with safe outputs, and records who did it and when; a twin is its own operator."""

        def ask(question: Question) -> Answer:
            if not station.attended and not self.options.attended:
                answer = Answer("the twin")
            else:
                station.safe()
                with orders.asking(question):
                    answer = controls.attend(question, orders.answered)
            said = f", who says: {answer.remark}" if answer.remark else ""
            details = "".join(f"; {name}: {value}" for name, value in question.details.items())
            text = f"{question.text.rstrip('.')}{details}: done by {answer.operator} at {station.wall_time()}{said}"
            writer.note(f"operator: {text}")
            return answer

        return ask


def _reading(station: StationFile, adc: str) -> StationFile:
    if not adc:
        return station
    if adc not in ("plc", "high-speed"):
        raise RequestError(f"adc {adc!r} is unknown; allowed: plc, high-speed")
    return replace(station, read=replace(station.read, adc=adc, averaging=1 if adc == "plc" else 16))


def _unused(folder: Path, name: str) -> Path:
    """A tape's file: a run that was gone on with has several."""
    numbers = itertools.chain([""], (f"-{k}" for k in itertools.count(2)))
    return next(path for number in numbers if not (path := folder / f"{name}{number}.jsonl").exists())
