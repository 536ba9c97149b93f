"""A foreign file's content as a run: journal, run.h5, provenance; there whole or not at all."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np

from analysis.errors import AnalysisError
from analysis.imports.foreign import NAN, Foreign, Step
from analysis.imports.sweeps import as_iv
from analysis.records import InstrumentId, RunHeader, RunWriter, layout
from analysis.records.header import World

PULSE_KINDS: Final = layout.PULSE_KINDS
IMPORT: Final = "import"
"""Procedure of an imported run that nobody named otherwise."""
IV: Final = "iv"


@dataclass(frozen=True)
class About:
    """What the file can't know.

    Args:
        file: name of the file.
        sha256: of its content.
        size: bytes.
        started: wall time to fall back on, ISO 8601.
        run_id: name of the run.
        procedure: "import", "iv" (sweeps are then kept as an I-V run keeps them), or a name of one's own.
        chip, operator, command_line: for the header.
        world: "real" unless the file came from a simulation.
        set_polarity: sign of the voltage that sets: "positive" or "negative".
        row, col: of the cell that a file about a single device is about.
        packages: versions of the software that imports.
        git_commit: of it.
        paths: where things lie on this machine.
    """

    file: str
    sha256: str
    size: int
    started: str
    run_id: str
    procedure: str = IMPORT
    chip: str = ""
    operator: str = ""
    command_line: str = ""
    world: World = "real"
    set_polarity: Literal["positive", "negative"] = "positive"
    row: int = 0
    col: int = 0
    packages: dict[str, str] = field(default_factory=dict)
    git_commit: str = ""
    paths: dict[str, str] = field(default_factory=dict)


def write_run(found: Foreign, about: About, folder: Path) -> Path:
    """Make a run of a foreign file's content.

    Args:
        found: what the file says.
        about: what it can't know.
        folder: the run's folder, which must not exist.

    Returns:
        The folder.

    Raises:
        AnalysisError: the folder exists, the content can't be kept as asked, or it can't be written; nothing is there
            then.
    """
    if folder.exists():
        raise AnalysisError(f"{folder} is there already: choose another name")
    single = (found.rows, found.cols) == (1, 1)
    if not single and (about.row or about.col):
        raise AnalysisError(f"{about.file} names its cells itself: a row and column are for files about one device")
    if not 0 <= about.row < 32767 or not 0 <= about.col < 32767:
        raise AnalysisError(f"cell ({about.row}, {about.col}): row and column are 0 to 32766")
    data, more = dict(found.data), {}
    if about.procedure == IV:
        kept, cycles = as_iv(found, about.row, about.col)
        data |= kept
        more = {"cycles": cycles}
    source = {"file": about.file, "sha256": about.sha256, "bytes": about.size, "format": found.form}
    parameters = {**more, "imported": source, "set_polarity": about.set_polarity, "about": dict(found.about)}
    header = RunHeader(
        about.procedure, about.world, about.run_id, found.started or about.started,
        rows=found.rows + about.row, cols=found.cols + about.col, command_line=about.command_line,
        parameters=parameters, instruments=(InstrumentId("source", "", found.instrument),), packages=about.packages,
        git_commit=about.git_commit, operator=about.operator, chip=about.chip, paths=about.paths,
    )  # fmt: skip
    unfinished = folder.with_name(folder.name + layout.UNFINISHED)
    clock = _Clock()
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        # The measurement is over: nothing is lost by a power cut that the file does not still have.
        with RunWriter.create(unfinished, header, now=lambda: clock.now, durable=False) as run:
            run.note(f"imported from {about.file} (SHA-256 {about.sha256}), {found.form}: {found.title}")
            for remark in found.remarks:
                run.note(remark)
            if not found.started:
                run.note("the file does not say when it was measured: the start is when the file was last changed")
            for name, one in data.items():
                run.data(name, one.values, units=one.units, title=one.title)
            for name, one in found.maps.items():
                run.map(name, one.values, units=one.units, title=one.title)
            run.phase("measured")
            _record(run, found, about, clock)
        os.replace(unfinished, folder)
    except OSError as error:
        raise AnalysisError(f"can't write the run {folder}: {error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


class _Clock:
    """The file's own time where it has one, else the pulses' widths added up."""

    def __init__(self) -> None:
        self.now = 0.0


def _record(run: RunWriter, found: Foreign, about: About, clock: _Clock) -> None:
    last = np.full((found.rows, found.cols), np.nan)
    for step in found.steps:
        row, col = step.row + about.row, step.col + about.col
        if step.time == step.time:
            clock.now = max(clock.now, step.time)
        if step.kind in PULSE_KINDS:
            _pulse(run, step, row, col, about, clock, float(last[step.row, step.col]))
            continue
        run.event(
            step.kind, row, col, amplitude=step.amplitude, gate=step.gate, width=step.width,
            conductance=step.conductance, current=step.current,
        )  # fmt: skip
        if step.conductance == step.conductance:
            last[step.row, step.col] = step.conductance


def _pulse(run: RunWriter, step: Step, row: int, col: int, about: About, clock: _Clock, before: float) -> None:
    sets = (step.amplitude >= 0) == (about.set_polarity == "positive")
    width = step.width if step.width == step.width else 0.0
    pulse = run.intent(
        "set" if sets else "reset", row, col, amplitude=step.amplitude, gate=step.gate, width=step.width, sync=False
    )
    clock.now += width
    # As everywhere, the laboratory's estimate: the conductance read last at the pulse's voltage for its width.
    energy = step.amplitude**2 * before * width if width and before == before else NAN
    run.result(pulse, current=step.current, conductance=NAN, energy=energy)
