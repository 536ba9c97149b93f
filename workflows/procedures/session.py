"""A run around a procedure: identity, provenance, safe outputs first, then a readable file, whatever ends it."""

import contextlib
import importlib.metadata
import os
import platform
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import sim_configs
from analysis.errors import AnalysisError
from analysis.records import InstrumentId, RunHeader, RunWriter, layout, read_journal
from analysis.records.guard import check_folder
from analysis.records.journal import is_being_written
from analysis.records.masking import masked
from analysis.records.tables import Tables
from instruments.clock import stopwatch
from instruments.station import Station
from instruments.station_file import StationFile
from workflows.errors import Interrupted, RequestError

PACKAGES = ("ohmflow", "numpy", "h5py", "pyvisa", "pyvisa-sim", "pymeasure", "prefect", "simpy", "torch", "numba")


def new_run_id(procedure: str, started: str) -> str:
    """A name that sorts by time: `20260101T120000Z-program`, with a few digits against collisions."""
    stamp = re.sub(r"[-:]", "", started).replace("+0000", "Z").replace(".", "")
    return f"{stamp[:15]}-{procedure}-{os.urandom(2).hex()}"


def provenance() -> tuple[dict[str, str], str]:
    """Versions of the packages that matter, and the git commit of this code ("" when it is not a checkout)."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    here = Path(__file__).parent

    def git(*words: str) -> str:
        try:
            done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError):
            return ""
        return done.stdout.strip()

    root = git("rev-parse", "--show-toplevel")
    if not root or Path(root) != here.parent.parent:
        return versions, ""
    dirty = "+changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return versions, git("rev-parse", "HEAD") + dirty


@contextlib.contextmanager
def recorded_run(
    station: Station,
    folder: Path,
    procedure: str,
    parameters: Mapping[str, Any],
    *,
    arrays: int,
    command_line: str = "",
    operator: str = "",
    resume: bool = False,
    paths: Mapping[str, str] | None = None,
    waveforms: tuple[Any, ...] = (),
    on_end: Callable[[RunWriter], None] | None = None,
) -> Iterator[RunWriter]:
    """Open a run's records around a procedure.

    Whatever ends the block: outputs go to 0 V and open **first**; then what only the twin knows is recorded, if it is a
    twin; then the run file is closed as completed, interrupted or failed.

    Args:
        station: open station.
        folder: the run's folder; its name is the run's id.
        procedure: name of the experiment.
        parameters: its parameters, JSON.
        arrays: number of array slices in the run's maps.
        command_line: what the user typed.
        operator: who runs it.
        resume: go on with the run in `folder`.
        paths: where things lie on this machine that a resumed run must find again.
        waveforms: oscilloscope declarations (`analysis.records.WaveformSpec`).
        on_end: called before the file is closed, also after a failure.
    """
    started = station.wall_time()
    if resume:
        writer = RunWriter.resume(
            folder, now=station.clock.now, started=started, world=station.world, command_line=command_line,
            wall=station.wall_time, stopwatch=stopwatch,
        )  # fmt: skip
    else:
        packages, commit = provenance()
        header = RunHeader(
            procedure=procedure, world=station.world, run_id=folder.name, started=started, arrays=arrays,
            rows=station.file.shape[1], cols=station.file.shape[2], seed=getattr(station.bench, "seed", None),
            command_line=command_line, parameters=dict(parameters), station=station.file.text,
            instruments=tuple(InstrumentId(i.role, i.resource, i.idn) for i in station.identities),
            packages=packages, git_commit=commit, operator=operator, chip=_chip(station),
            paths=dict(paths or {}),
        )  # fmt: skip
        writer = RunWriter.create(
            folder, header, now=station.clock.now, waveforms=waveforms, wall=station.wall_time, stopwatch=stopwatch
        )
    drives_before = len(station.bench.ledger) if station.bench else 0
    station.troubles.listener = writer.note
    try:
        yield writer
    except BaseException as error:
        _wind_up(station, writer, drives_before, on_end)
        # What is no Exception is somebody's wish to stop: KeyboardInterrupt, SystemExit, an orchestrator's signal.
        stopped = isinstance(error, Interrupted) or not isinstance(error, Exception)
        text = " ".join(str(error).split())
        try:
            writer.close(
                "interrupted" if stopped else "failed",
                f"{type(error).__name__}: {text}" if text else type(error).__name__,
            )
        except AnalysisError as trouble:  # such as a full disk; what stopped the run matters more
            error.add_note(f"and the run's records could not be finished: {trouble}")
        raise
    _wind_up(station, writer, drives_before, on_end)
    writer.close("completed")


def _chip(station: Station) -> str:
    """What is in the socket: the station file's word for it, or the twin's seed and device."""
    bench = station.bench
    return station.file.chip if bench is None else f"seed {bench.seed} ({bench.preset})"


def _wind_up(
    station: Station, writer: RunWriter, drives_before: int, on_end: Callable[[RunWriter], None] | None
) -> None:
    # Being told of repetitions must not keep the outputs on, should the records be what is broken.
    station.troubles.ignore()
    try:
        station.safe()
        said = "outputs at 0 V and open, board disconnected"
    except Exception as error:  # the run must still be closed; the note and the raised original say what happened
        said = f"outputs may not be safe: {error}"
    if station.troubles.count:
        said += f"; {station.troubles.count} troubles on the lines were mended"
    with contextlib.suppress(AnalysisError):
        writer.note(said)
    with contextlib.suppress(Exception):  # losing an extra must not lose the run
        if on_end is not None:
            on_end(writer)
    if station.bench is not None:
        with contextlib.suppress(AnalysisError):
            _record_truth(station.bench, writer, drives_before)


def _record_truth(bench: Any, writer: RunWriter, drives_before: int) -> None:
    """What no laboratory could know, under /entry/twin, marked as such."""
    writer.twin(
        "true_conductance", bench.true_conductance(), units="S", title="true conductance of every cell at the end"
    )
    writer.twin(
        "stuck", bench.chip.cells["stuck"].astype(np.int8), title="cells that can't move: 1 stuck on, -1 stuck off"
    )
    table = bench.ledger.table()[drives_before:]
    for name, units, title in (
        ("time", "s", "instant of the drive"),
        ("volts", "V", "across the selected cell"),
        ("energy", "J", "truly dissipated in the selected cell"),
    ):
        writer.twin(f"drives/{name}", table[name], units=units, title=title)
    kinds = np.array([{b"set": 1, b"reset": 2}.get(k, 0) for k in table["kind"]], dtype=np.uint8)
    writer.twin("drives/kind", kinds, title="0 read, 1 set, 2 reset")


def run_folder(runs: Path, name: str) -> Path:
    """The folder of an existing run, given as a path or as a name under `runs`.

    Raises:
        RequestError: there is none.
    """
    for candidate in (Path(name).expanduser(), runs / name):
        if (candidate / "journal.jsonl").is_file() or (candidate / "run.h5").is_file():
            return candidate
        if candidate.is_file() and candidate.name in ("run.h5", "journal.jsonl"):
            return candidate.parent
    raise RequestError(f"run {name!r} not found, neither as a folder nor under {runs}")


def procedure_of(folder: Path) -> str:
    """Name of the procedure of a run, from its journal."""
    return Tables.from_records(read_journal(folder / layout.JOURNAL).records).header.procedure


def interrupted_run(folder: Path, procedure: str) -> tuple[Tables, StationFile]:
    """The records of a run that can be gone on with, and its station file as it was when the run began.

    What the run was begun with counts, however the station's file has changed since.

    Raises:
        RequestError: the run is of another procedure, complete, or still going on.
    """
    check_folder(folder)
    tables = Tables.from_records(read_journal(folder / layout.JOURNAL).records)
    header = tables.header
    if header.procedure != procedure:
        raise RequestError(
            f"run {folder} is a {header.procedure} run; this resumes {procedure} runs only. "
            f"Go on with it by: ohmflow resume {folder}"
        )
    if tables.outcome[0] == "completed":
        raise RequestError(f"run {folder} is complete; there is nothing to resume")
    if is_being_written(folder / layout.JOURNAL):
        raise RequestError(f"run {folder} is still going on; stop it first, or wait for it")
    copy = folder / layout.STATION
    options = header.parameters.get("options")
    named = options.get("station", "") if isinstance(options, dict) else ""
    origin = Path(header.paths.get("station") or str(named))
    station = StationFile.load(copy if copy.is_file() else origin)
    if copy.is_file() and masked(station.text) != header.station:
        # Its limits would be believed.
        raise RequestError(f"{copy} is not the station file that the run was begun with; restore it")
    return tables, replace(station, path=sim_configs.find(origin))


def run_paths(station: StationFile, bench: str) -> dict[str, str]:
    """Where a resumed run finds the station and a twin's chips again, from any folder."""
    bench = bench or station.twin.get("dir", "")
    found = {"station": station.path, **({"bench": Path(bench).expanduser()} if bench else {})}
    return {name: str(path.absolute()) for name, path in found.items()}
