"""A run on a faulty twin, and what must be true of it however it ends."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.records import open_run, read_journal
from instruments.limits import Limits
from instruments.station import Station
from workflows.errors import USER_ERRORS
from workflows.procedures.controls import Answer, Controls
from workflows.procedures.job import Job
from workflows.procedures.procedure import Work
from workflows.procedures.program_job import PROCEDURE as PROGRAM
from workflows.procedures.program_job import ProgramOptions
from workflows.procedures.session import recorded_run


def small_pattern(folder: Path, row: int = 0, col: int = 0) -> Path:
    """Targets for 2 x 4 cells of a 32x32 array from (row, col) on, as a file."""
    target = np.full((32, 32), np.nan)
    target[row : row + 2, col : col + 4] = np.linspace(20e-6, 100e-6, 8).reshape(2, 4)
    path = folder / f"pattern-{row}-{col}.npy"
    np.save(path, target)
    return path


@dataclass
class Ended:
    """How a run ended, and the world it left."""

    folder: Path
    status: str
    error: Exception | None
    struck: Counter[str]
    mended: int
    seconds: float
    bench: Any
    drives: npt.NDArray[Any]
    limits: Limits
    array: int | None
    """The one array whose read-back is compared with the truth; None for none."""

    @property
    def told_unsafe(self) -> bool:
        """Whether the person was told that the outputs may be on."""
        notes = [str(self.error), *getattr(self.error, "__notes__", [])]
        return any("may not be safe" in text and "Switch the outputs off by hand" in text for text in notes)


def prepare(folder: Path, run_id: str, row: int = 0, col: int = 0, **options: Any) -> Job[Any, Any]:
    """A small, quick job on 2 x 4 cells from (row, col) on."""
    options = {"adc": "high-speed", "settle_rows": 1, "runs": str(folder / "runs"), **options}
    return Job.prepare(PROGRAM, ProgramOptions(pattern=str(small_pattern(folder, row, col)), run_id=run_id, **options))


def run(job: Job[Any, Any], faults: str | None, faults_seed: int = 1, idle: float = 0.0, **twin: str) -> Ended:
    """Run a job with a fault profile; errors for a person are part of the result, others escape.

    Args:
        job: what to do.
        faults: profile, or None.
        faults_seed: names their chance.
        idle: s of the bench's clock until which it then lies idle.
        twin: parameters of the bench.
    """
    params = {"faults": faults, "faults_seed": str(faults_seed)} if faults else {}
    error: Exception | None = None
    station = Station.open(replace(job.station, twin={}), **params, **twin)
    bench, injector, before = station.bench, station._manager.visalib.faults, len(station.bench.ledger)
    try:
        with station:
            with recorded_run(
                station, job.folder, job.procedure.name, job.parameters(),
                arrays=job.procedure.arrays(job.request, job.station), resume=bool(job.options.resume),
                waveforms=job.procedure.waveforms(job.request, job.station),
            ) as writer:  # fmt: skip
                ask = lambda question: Answer("the test")  # noqa: E731  # hands that are always there
                job.procedure.work(Work(station, writer, job.options, job.request, Controls(), ask))
            bench.clock.sleep(max(idle - bench.clock.now(), 0.0))
    except USER_ERRORS as failure:
        error = failure
    with open_run(job.folder) as records:
        status = records.status
    return Ended(
        job.folder, status, error, Counter(getattr(injector, "struck", {})), station.troubles.count, bench.clock.now(),
        bench, bench.ledger.table()[before:], job.station.limits, getattr(job.options, "array", None),
    )  # fmt: skip


def check(ended: Ended, *, connected: bool = True, sweeps: bool = False) -> None:
    """What must be true however a run ended.

    Args:
        ended: the run.
        connected: whether each pulse that was acknowledged reached its cell (not if the board was switched by others).
        sweeps: whether the run swept cells, which are then read above the read limit, and driven without pulses.
    """
    assert ended.status in ("completed", "failed")
    if ended.status == "completed":
        assert ended.error is None or ended.told_unsafe  # on closing the station, after the run
    else:
        assert ended.error is not None
    if ended.error is not None:
        assert len(str(ended.error)) > 20
    _within_limits(ended, sweeps)
    fixture = ended.bench.fixture
    assert fixture.mode == "safe"
    assert fixture.selected is None
    if not ended.told_unsafe:
        assert [fixture.voltage(channel) for channel in (1, 2, 3, 4, 601, 602)] == [0.0] * 6
    if not sweeps:
        _no_pulse_repeated(ended, connected)
    _read_is_true(ended)


def _within_limits(ended: Ended, sweeps: bool) -> None:
    limits, highest = ended.limits, ended.bench.ledger.highest
    slack = 1 + 1e-3  # the SPGU's 50 ohm
    strongest_read = max(limits.bit_line.high, limits.source_line.high) if sweeps else limits.read.high
    assert highest.get("read", 0.0) <= strongest_read * slack
    assert highest.get("set", 0.0) <= limits.bit_line.high * slack
    assert highest.get("reset", 0.0) <= limits.source_line.high * slack
    moving = ended.drives[ended.drives["kind"] != b"read"]
    assert np.all(moving["gate"] <= limits.word_line.high)
    assert sweeps or np.all(moving["width"] <= limits.pulse_width.high)


def _no_pulse_repeated(ended: Ended, connected: bool) -> None:
    """Each drive that moved a cell was announced once, and each one acknowledged took place."""
    records = read_journal(ended.folder / "journal.jsonl").records
    last_part = max(n for n, record in enumerate(records) if record["kind"] in ("header", "resume"))
    acknowledged = {record["of"] for record in records if record["kind"] == "result"}
    announced = [record for record in records[last_part:] if record["kind"] == "intent"]
    place, taken, missing = 0, Counter[tuple[Any, ...]](), Counter[tuple[Any, ...]]()
    for drive in ended.drives[ended.drives["kind"] != b"read"]:
        while place < len(announced) and not _is(announced[place], drive):
            missing[_alike(announced[place])] += announced[place]["seq"] in acknowledged
            place += 1
        assert place < len(announced), "a pulse came that was not announced, or twice"
        taken[_alike(announced[place])] += announced[place]["seq"] not in acknowledged
        place += 1
    for record in announced[place:]:
        missing[_alike(record)] += record["seq"] in acknowledged
    # Of pulses alike in everything one in doubt may have been taken for the next, which was acknowledged.
    assert not connected or missing <= taken, "an acknowledged pulse never came"


def _alike(intent: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(intent[name] for name in ("op", "row", "col", "amplitude", "gate", "width"))


def _is(intent: dict[str, Any], drive: Any) -> bool:
    return bool(
        {"form": "set"}.get(intent["op"], intent["op"]) == drive["kind"].decode()
        and (intent["row"], intent["col"]) == (drive["row"], drive["col"])
        and np.allclose(
            [intent["amplitude"], intent["gate"], intent["width"]],
            [abs(drive["volts"]), drive["gate"], drive["width"]],
            rtol=1e-3,
        )
    )


def _read_is_true(ended: Ended) -> None:
    """What a completed run says of its cells is so: no reading of another cell, or of another time."""
    if ended.status != "completed" or ended.array is None:
        return
    with open_run(ended.folder) as records:
        if records.header.procedure != "program":
            return
        after = records.map("conductance_after").reshape(32, 32)
    cells = ended.bench.chip.cells[ended.array]
    whole = np.isfinite(after) & (cells["v_t"] < 100) & (after < 400e-6)  # open cells, reads at the compliance
    truth = ended.bench.true_conductance()[ended.array]
    assert np.all(np.abs(after - truth)[whole] < 2e-6 + 0.08 * truth[whole])
