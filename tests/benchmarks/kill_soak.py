"""Runs killed and interrupted at random instants: nothing acknowledged is lost, no finished cell is pulsed again.

    python tests/benchmarks/kill_soak.py [--programming 200] [--sampling 50] [--signals 50] [--seed 1]

Real processes die by SIGKILL at seeded instants of their whole life: after a time, at a VISA message, in the middle of
a write to the journal, at any call of the interpreter, while the run file is being made. What a process was told is
safe (each record when `append` has returned) and what truly reached the chip (the twin's ledger) it writes to memory
that it shares with this one, so both outlive it; the journal, the run file and the resumed run are then judged by
them. SIGINT and SIGTERM strike `ohmflow program` and `ohmflow circle` in the same way. Ends 1 on any violation.
"""

import argparse
import contextlib
import importlib
import json
import mmap
import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (2, 1)]

import numpy as np
import orjson
import torch
from program_jobs import pattern, row

import analysis.records.journal as journal_module
from analysis.errors import AnalysisError
from analysis.records import layout, open_run, read_journal, salvage
from analysis.records.journal import Journal, encode_record, is_begun, is_being_written
from analysis.records.tables import unpack
from instruments.limits import Limits
from instruments.station_file import StationFile
from instruments.twin.bench import Bench
from instruments.twin.ledger import Ledger
from instruments.twin.visa import TwinVisaLibrary
from workflows import cli
from workflows.locking import StationLocks, Waiting
from workflows.procedures import circle_job, program_job, session
from workflows.procedures.circle_options import CircleOptions
from workflows.procedures.controls import Controls
from workflows.procedures.job import Job
from workflows.procedures.program_job import PROCEDURE as PROGRAM
from workflows.procedures.program_job import ProgramOptions

Record = dict[str, Any]
Cell = tuple[int, int, int]

WANTED = {**row(7, 0, 6), **row(8, 0, 6), **row(9, 0, 4)}
SAMPLES = 300
CIRCLE = CircleOptions(
    samples=SAMPLES, uncalibrated=4, calibration_runs=8, calibration_rounds=1, recipe="quick", compensation=10,
    points=500, field=3, chip="1", baseline=False, run_id="run",
)  # fmt: skip
PATIENCE = 120.0
"""Seconds after which a process counts as hung."""
_DRIVE = struct.Struct("<8s3h3d")


class ViolationError(Exception):
    """Something that must never be."""


# ---- what a process says, whatever happens to it -------------------------------------------------------------------


class Witness:
    """Entries (a letter, bytes) in memory shared with a child; whole ones only, whenever it dies."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1 << 25)
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._memory[:8] = struct.pack("<Q", 8)

    def say(self, letter: bytes, data: bytes) -> None:
        """Add an entry; its last act is what makes it count."""
        (end,) = struct.unpack("<Q", self._memory[:8])
        entry = letter + struct.pack("<I", len(data)) + data
        self._memory[end : end + len(entry)] = entry
        self._memory[:8] = struct.pack("<Q", end + len(entry))

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Everything said so far."""
        (end,) = struct.unpack("<Q", self._memory[:8])
        at = 8
        while at < end:
            letter, (length,) = self._memory[at : at + 1], struct.unpack("<I", self._memory[at + 1 : at + 5])
            yield letter, self._memory[at + 5 : at + 5 + length]
            at += 5 + length


@dataclass(frozen=True)
class Instant:
    """When to strike: the `at`-th second, VISA message, byte written to the journal, or call; `signal` with what.

    "finish" counts calls from the moment on that the journal has the run's end.
    """

    kind: str
    at: float
    signal: int = signal.SIGKILL


KINDS = ("time", "message", "write", "call", "finish")


class Counters:
    """Counts in a child what instants are counted in, and strikes."""

    def __init__(self, instant: Instant | None, witness: Witness, count_calls: bool) -> None:
        self.instant, self.witness = instant, witness
        self.counts = dict.fromkeys(KINDS, 0)
        self.profile = count_calls or (instant is not None and instant.kind == "call")
        self.profile_end = count_calls or (instant is not None and instant.kind == "finish")
        self.struck = False

    def add(self, kind: str, amount: int = 1) -> int:
        """Count; gives how much of the last amount comes before the instant, or -1."""
        before = self.counts[kind]
        self.counts[kind] = before + amount
        instant = self.instant
        if instant is None or self.struck or instant.kind != kind or not before <= instant.at < before + amount:
            return -1
        return int(instant.at) - before

    def strike(self) -> None:
        """The signal, to ourselves."""
        assert self.instant is not None
        self.struck = True
        os.kill(os.getpid(), self.instant.signal)

    def install(self) -> None:
        """Hook messages, journal, ledger and bench."""
        write_all, append = journal_module.write_all, Journal.append
        drive, close = Ledger.drive, Bench.close
        send, receive = TwinVisaLibrary.write, TwinVisaLibrary.read
        ending = False

        def writing(descriptor: int, data: bytes) -> None:
            share = self.add("write", len(data))
            if share >= 0:
                if self.instant is not None and self.instant.signal == signal.SIGKILL:
                    write_all(descriptor, data[:share])
                self.strike()
            write_all(descriptor, data)

        def appending(journal: Journal, kind: str, *args: Any, **kwargs: Any) -> Record:
            nonlocal ending
            record = append(journal, kind, *args, **kwargs)
            self.witness.say(b"J", encode_record(record))
            if kind == "end" and self.profile_end and not ending:
                ending = True
                sys.setprofile(calling)
            return record

        def calling(frame: Any, event: str, argument: Any) -> None:
            if event.endswith("call"):
                if ending and self.add("finish") >= 0:
                    self.strike()
                if self.profile and self.add("call") >= 0:
                    self.strike()

        def driving(ledger: Ledger, when: float, kind: str, cell: Cell, volts: float, gate: float, width: float,
                    energy: float) -> None:  # fmt: skip
            drive(ledger, when, kind, cell, volts, gate, width, energy)
            self.witness.say(b"D", _DRIVE.pack(kind.encode(), *cell, volts, gate, width))

        def exchanging(exchange: Callable[..., Any]) -> Callable[..., Any]:
            def exchanged(*args: Any) -> Any:
                share = self.add("message", 2)
                if share == 0:
                    self.strike()
                answer = exchange(*args)
                if share == 1:
                    self.strike()
                return answer

            return exchanged

        def closing(bench: Bench) -> None:
            fixture = bench.fixture
            left = {"mode": fixture.mode, "sources": len(fixture._sources), "selectors": [*fixture._selectors.values()]}
            self.witness.say(b"W", json.dumps(left).encode())
            close(bench)

        journal_module.write_all = writing
        Journal.append, Ledger.drive, Bench.close = appending, driving, closing  # type: ignore[method-assign]
        TwinVisaLibrary.write = exchanging(send)  # type: ignore[method-assign]
        TwinVisaLibrary.read = exchanging(receive)  # type: ignore[method-assign]
        if self.profile:
            sys.setprofile(calling)


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, or minus its signal; and what it printed."""

    code: int
    said: str


def run_child(
    work: Callable[[], object], witness: Witness, instant: Instant | None, said: Path, *, count: bool = False
) -> Ended:
    """Do `work` in a process of its own, struck at an instant.

    Raises:
        ViolationError: it hangs.
    """
    witness.clear()
    sys.stdout.flush()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _be_child(work, witness, instant, said, count)
    struck = False
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            return Ended(code, said.read_text(errors="replace"))
        spent = time.monotonic() - started
        if instant is not None and instant.kind == "time" and not struck and spent >= instant.at:
            os.kill(child, instant.signal)
            struck = True
        if spent > PATIENCE:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise ViolationError(f"hung for {PATIENCE:g} s: {said.read_text(errors='replace')[-800:]}")
        time.sleep(1e-3)


def _be_child(
    work: Callable[[], object], witness: Witness, instant: Instant | None, said: Path, count: bool
) -> NoReturn:
    code = 0
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        counters = Counters(instant, witness, count)
        counters.install()
        work()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:  # the parent reads of it
        code = 130 if isinstance(error, KeyboardInterrupt) else 1
        traceback.print_exc()
    sys.setprofile(None)
    with contextlib.suppress(BaseException):
        witness.say(b"T", json.dumps(counters.counts).encode())
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


# ---- what must be true ----------------------------------------------------------------------------------------------


@dataclass
class Book:
    """What a run's records and its chip's ledger say together, over all its parts."""

    limits: Limits
    targets: Any = None
    verdicts: dict[Cell, float] = field(default_factory=dict)
    open: dict[int, Cell] = field(default_factory=dict)
    doubts: list[Cell] = field(default_factory=list)
    must_read: list[Cell] = field(default_factory=list)
    announced: tuple[Cell, str] | None = None
    announced_seq: int = -1
    driven: set[int] = field(default_factory=set)
    phase: str = "opening"
    resumes: int = 0
    doubtful: int = 0
    pulses: int = 0

    def take(self, record: Record, *, told: bool = True) -> None:
        """The journal's next record.

        Raises:
            ViolationError: it must not follow what came before.
        """
        kind = record["kind"]
        cell: Cell = (record.get("array", -1), record.get("row", -1), record.get("col", -1))
        if kind == "resume":
            self.resumes += 1
            self.doubtful += len(self.open)
            self.doubts += [c for c in self.open.values() if c not in self.doubts]
            self.open.clear()
            self.must_read = list(self.doubts)
        elif kind in ("event", "intent") and self.must_read and (kind != "event" or cell not in self.must_read):
            raise ViolationError(f"{kind} on {cell} before the cells in doubt {self.must_read} were read")
        elif kind == "event":
            for waiting in (self.must_read, self.doubts):
                if cell in waiting:
                    waiting.remove(cell)
        elif kind == "intent":
            self._refuse_finished(cell, "announced")
            self.open[record["seq"]] = cell
            self.announced, self.announced_seq = (cell, record["op"]), record["seq"]
        elif kind == "result":
            if told and record["of"] not in self.driven:
                raise ViolationError(f"a pulse on {self.open.get(record['of'])} was reported that never came")
            self.open.pop(record["of"], None)
        elif kind == "cell":
            self.verdicts[cell] = float(self.targets[cell])
        elif kind == "array" and record["name"] == "conductance_target":
            self.targets = unpack(record["packed"]).reshape(-1, 32, 32)
        elif kind == "phase":
            self.phase = record["name"]
        elif kind == "end":
            self.phase = "finalising"

    def drive(self, data: bytes) -> None:
        """What reached the chip.

        Raises:
            ViolationError: it was too much, not announced, or on a cell that must be left alone.
        """
        name, array, r, c, volts, gate, width = _DRIVE.unpack(data)
        kind, cell, limits = name.rstrip(b"\0").decode(), (array, r, c), self.limits
        high = {"read": limits.read.high, "set": limits.bit_line.high, "reset": limits.source_line.high}[kind]
        if abs(volts) > high * (1 + 1e-3) or gate > limits.word_line.high * (1 + 1e-3):
            raise ViolationError(f"{kind} of {volts} V, gate {gate} V on {cell} is beyond the limits")
        if self.must_read and (kind != "read" or cell not in self.must_read):
            raise ViolationError(f"{kind} reached {cell} before the cells in doubt {self.must_read} were read")
        if kind == "read":
            return
        if width > limits.pulse_width.high:
            raise ViolationError(f"{kind} of {width} s on {cell} is beyond the limits")
        if self.announced != (cell, kind) or self.announced_seq in self.driven:
            raise ViolationError(f"{kind} reached {cell} and was not announced, or came twice")
        self._refuse_finished(cell, "driven")
        self.driven.add(self.announced_seq)
        self.pulses += 1

    def _refuse_finished(self, cell: Cell, how: str) -> None:
        if cell in self.verdicts and self.verdicts[cell] == float(self.targets[cell]):
            raise ViolationError(f"cell {cell} had its verdict and was {how} again")
        if cell in self.doubts:
            raise ViolationError(f"cell {cell} was in doubt and {how} before it was read")

    def check_complete(self) -> None:
        """Every wanted cell has a verdict for what is wanted of it now.

        Raises:
            ViolationError: one has not.
        """
        for cell in zip(*np.nonzero(np.isfinite(self.targets)), strict=True):
            if self.verdicts.get((int(cell[0]), int(cell[1]), int(cell[2]))) != float(self.targets[cell]):
                raise ViolationError(f"cell {tuple(map(int, cell))} has no verdict for its target {self.targets[cell]}")


@dataclass
class Tally:
    """What a whole soak found."""

    killed: Counter[str] = field(default_factory=Counter)
    phases: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    inside: list[float] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


@dataclass
class Trial:
    """One run in its folder, from its beginning, or from a copy of one that stands somewhere, to its completion."""

    place: Path
    witness: Witness
    tally: Tally
    book: Book
    kept: bytes = b""

    @property
    def folder(self) -> Path:
        """The run's."""
        return self.place / "runs" / "run"

    @property
    def journal(self) -> Path:
        """The run's."""
        return self.folder / layout.JOURNAL

    def has_run(self) -> bool:
        """Whether there is something to resume."""
        return is_begun(self.journal)

    def adopt(self) -> None:
        """Begin from what the folder holds."""
        contents = read_journal(self.journal)
        self.kept = self.journal.read_bytes()[: contents.size]
        for record in contents.records:
            self.book.take(record, told=False)

    def part(self, work: Callable[[], object], instant: Instant | None) -> Ended:
        """One process, and what it left.

        Raises:
            ViolationError: what it left is not as it must be.
        """
        ended = run_child(work, self.witness, instant, self.place / "said.txt")
        known, kept = 0, bytearray(self.kept)
        for letter, data in self.witness.entries():
            if letter == b"J":
                known += 1
                kept += data
                self.book.take(orjson.loads(data))
            elif letter == b"D":
                self.book.drive(data)
        text = self.journal.read_bytes() if self.journal.is_file() else b""
        if not text.startswith(bytes(kept)):
            raise ViolationError("an acknowledged record is not in the journal")
        self.tally.counts["acknowledged records"] += known
        if text:
            contents = read_journal(self.journal)
            self.tally.counts["torn last lines"] += contents.torn > 0
            extra = contents.records[bytes(kept).count(b"\n") :]
            if len(extra) > 1:
                raise ViolationError(f"{len(extra)} records that nobody wrote")
            for record in extra:
                self.book.take(record, told=False)
            self.kept = text[: contents.size]
            if is_being_written(self.journal):
                raise ViolationError("the journal is locked by nobody")
        return ended

    def check_left(self, rng: random.Random) -> None:
        """What a kill left opens, at once or salvaged; salvaging loses nothing and changes nothing that counts.

        Raises:
            ViolationError: it does.
        """
        if not self.kept:
            self.tally.counts["killed before the first record"] += 1
            return
        try:
            with open_run(self.folder) as run:
                run.events["time"], run.status
            self.tally.counts["opened as it was"] += 1
        except AnalysisError:
            self.tally.counts["opened after salvage"] += 1
        copy = self.place / "copy"
        shutil.copytree(self.folder, copy)
        for folder in (copy, self.folder) if rng.random() < 0.3 else (copy,):
            report = salvage(folder)
            records = read_journal(self.journal).records
            if report.records != len(records) or not report.is_complete:
                raise ViolationError(f"salvage: {report}")
            with open_run(folder) as run:
                if run.journal_mark[0] != len(records) or len(run.events["time"]) != report.events:
                    raise ViolationError("the salvaged file does not tell what the journal tells")
                for scope in run.scopes:
                    if not np.all(run.waveforms(scope).index["intact"]):
                        raise ViolationError("a capture is lost")
        shutil.rmtree(copy)

    def check_completed(self) -> None:
        """The run is complete and its file says what its journal says.

        Raises:
            ViolationError: it is not.
        """
        self.book.check_complete()
        report = salvage(self.folder)  # a kill may have come between the run's end and its file
        if report.status != "completed" or not report.is_complete:
            raise ViolationError(f"the completed run: {report}")
        with open_run(self.folder) as run:
            doubts = int((run.events["outcome"] == layout.OUTCOME_CODE["doubt"]).sum())
            if doubts != self.book.doubtful:
                raise ViolationError(f"{doubts} doubts in the file, {self.book.doubtful} in the journal")
            if len(run.segments) != self.book.resumes + 1:
                raise ViolationError("a part of the run is missing")
            for scope in run.scopes:
                if list(run.waveforms(scope).index["index"]) != list(range(SAMPLES)):
                    raise ViolationError(f"{scope} has not each solution once")
            target, after = run.map("conductance_target"), run.map("conductance_after")
            wanted = np.isfinite(target)
            self.tally.inside.append(float(np.mean(np.abs(after - target)[wanted] <= 1e-6)))
        self.tally.counts["runs completed"] += 1
        self.tally.counts["pulses left in doubt"] += self.book.doubtful

    @property
    def completed(self) -> bool:
        """Whether the journal says so."""
        return self.has_run() and bool(
            (ends := [r for r in read_journal(self.journal).records if r["kind"] in ("end", "resume")])
            and ends[-1]["kind"] == "end"
            and ends[-1]["status"] == "completed"
        )


# ---- the two procedures ---------------------------------------------------------------------------------------------


class Programming:
    """`ohmflow program` of a few cells."""

    name = "program"

    def __init__(self, root: Path, rng: random.Random) -> None:
        self.pattern = root / "pattern.npy"
        self.chips = rng
        np.save(self.pattern, pattern(WANTED))

    def begin(self, trial: Trial) -> None:
        """Nothing is there yet; chip 1 has a cell that can't move among the wanted ones."""
        (trial.place / "chip").write_text(self.chips.choice("112345"))

    def job(self, trial: Trial) -> Callable[[], object]:
        """The next part of the run."""
        place = trial.place
        options = ProgramOptions(
            pattern=str(self.pattern), settle_rows=1, runs=str(place / "runs"), run_id="run",
            bench=str(place / "bench"), chip=(place / "chip").read_text(),
        )  # fmt: skip
        if trial.has_run():
            options = ProgramOptions(resume="run", runs=str(place / "runs"))
        return lambda: Job.prepare(PROGRAM, options).run(Controls(locks=StationLocks(place / "locks"), waiting=_nobody))

    def command(self, trial: Trial) -> list[str]:
        """The same from the command line."""
        place = trial.place
        if trial.has_run():
            return ["program", "--direct", "--resume", str(trial.folder)]
        return [
            "program", "--direct", "--pattern", str(self.pattern), "--settle-rows", "1", "--runs", str(place / "runs"),
            "--run-id", "run", "--bench", str(place / "bench"), "--chip", (place / "chip").read_text(),
        ]  # fmt: skip


class Circle:
    """`ohmflow circle` from where it was stopped: in programming, just mapped anew, or programmed."""

    name = "circle"

    def __init__(self, root: Path, rng: random.Random, witness: Witness) -> None:
        self.root, self.rng = root, rng
        self.options = replace(CIRCLE, cache=str(root / "home" / "networks"))
        self.bases = ("programming", "mapped", "programmed")
        for base in self.bases:
            self._make(base, witness)

    def _make(self, base: str, witness: Witness) -> None:
        """Program from the beginning to the base's point, where the process dies."""
        place = self.root / base
        options = replace(self.options, runs=str(place / "runs"), bench=str(place / "bench"))
        append, seen = Journal.append, Counter[str]()

        def appending(journal: Journal, kind: str, *args: Any, **kwargs: Any) -> Record:
            record = append(journal, kind, *args, **kwargs)
            seen[kind] += 1
            seen["targets"] += kind == "array" and record["name"] == "conductance_target"
            seen["programmed"] += kind == "array" and record["name"] == "conductance_after"
            point = {"programming": seen["cell"] >= 180, "mapped": seen["targets"] >= 2}
            if point.get(base, False) or seen["programmed"]:
                os.kill(os.getpid(), signal.SIGKILL)
            return record

        def work() -> None:
            Journal.append = appending  # type: ignore[method-assign]
            Job.prepare(circle_job.PROCEDURE, options).run()

        (place / "runs").mkdir(parents=True)
        ended = run_child(work, witness, None, place / "said.txt")
        assert ended.code == -signal.SIGKILL, ended.said

    def begin(self, trial: Trial, base: str = "") -> None:
        """A copy of a run that stands at one of the bases; most are programmed."""
        base = base or self.rng.choices(self.bases, (3, 3, 14))[0]
        shutil.copytree(self.root / base, trial.place, dirs_exist_ok=True)
        trial.adopt()
        trial.tally.counts[f"begun from: {base}"] += 1

    def job(self, trial: Trial) -> Callable[[], object]:
        """The next part of the run."""
        place = trial.place
        options = CircleOptions(
            resume="run", runs=str(place / "runs"), cache=self.options.cache, bench=str(place / "bench")
        )
        return lambda: Job.prepare(circle_job.PROCEDURE, options).run(
            Controls(locks=StationLocks(place / "locks"), waiting=_nobody)
        )

    def command(self, trial: Trial) -> list[str]:
        """The same from the command line."""
        return ["circle", "--direct", "--resume", str(trial.folder), "--bench", str(trial.place / "bench")]


def _nobody(waiting: Waiting) -> None:
    raise ViolationError(f"the run waits though nobody else is alive: {waiting}")


def _instant(rng: random.Random, life: dict[str, float], number: int) -> Instant:
    """An instant of a life of which the totals are known; journal and finalising get more than their share of time."""
    kind = rng.choices(KINDS, (35, 25, 20, 10, 10))[0]
    share = rng.random()
    return Instant(kind, share * life[kind] * (1.02 if kind == "time" else 1.0), number)


def measure(procedure: Any, new_trial: Callable[[], Trial], **begin: str) -> dict[str, float]:
    """What an undisturbed life amounts to: once for the time, once for the calls (counting takes time)."""
    life: dict[str, float] = {}
    for count in (False, True):
        trial = new_trial()
        procedure.begin(trial, **begin)
        started = time.monotonic()
        ended = run_child(procedure.job(trial), trial.witness, None, trial.place / "said.txt", count=count)
        assert ended.code == 0, ended.said
        spent = time.monotonic() - started
        (totals,) = (json.loads(data) for letter, data in trial.witness.entries() if letter == b"T")
        life = {**totals, "time": life["time"]} if count else {"time": spent}
        shutil.rmtree(trial.place)
    return life


# ---- the soaks ------------------------------------------------------------------------------------------------------


def soak_kills(
    procedure: Any, life: dict[str, float], kills: int, new_trial: Callable[[], Trial], rng: random.Random
) -> Tally:
    """Runs, each killed once to three times, until `kills` processes have died; gives what came of it."""
    tally, started = Tally(), time.monotonic()
    while sum(tally.killed.values()) < kills:
        trial = new_trial()
        trial.tally = tally
        left, instant = rng.choice((1, 1, 2, 3)), None
        try:
            procedure.begin(trial)
            while not trial.completed:
                instant = _instant(rng, life, signal.SIGKILL) if left > 0 else None
                left -= 1
                ended = trial.part(procedure.job(trial), instant)
                if instant is None or ended.code != -signal.SIGKILL:
                    if ended.code != 0:
                        raise ViolationError(f"ended {ended.code}: {ended.said[-1500:]}")
                    continue
                tally.killed[instant.kind] += 1
                tally.phases[trial.book.phase if trial.kept else "opening"] += 1
                trial.check_left(rng)
            trial.check_completed()
        except (ViolationError, AnalysisError) as error:
            _note_violation(tally, trial, instant, error)
            continue
        shutil.rmtree(trial.place)
        _progress(f"{procedure.name}: {sum(tally.killed.values())}/{kills} kills", started)
    _progress(f"{procedure.name}: {sum(tally.killed.values())} kills", started, last=True)
    return tally


def soak_signals(
    procedures: list[tuple[Any, dict[str, float]]], signals: int, new_trial: Callable[[], Trial], rng: random.Random
) -> Tally:
    """Commands interrupted by SIGINT and SIGTERM until `signals` have stopped one; each run is then completed."""
    tally, started = Tally(), time.monotonic()
    while sum(tally.killed.values()) < signals:
        trial = new_trial()
        trial.tally = tally
        procedure, life = rng.choices(procedures, (7, 3)[: len(procedures)])[0]
        left, instant = rng.choice((1, 1, 2)), None
        try:
            procedure.begin(trial)
            while not trial.completed:
                number = rng.choice((signal.SIGINT, signal.SIGTERM))
                instant = _instant(rng, life, number) if left > 0 else None
                left -= 1
                before = trial.kept
                ended = trial.part(_command(procedure.command(trial)), instant)
                _check_stopped(trial, ended, instant, before)
            trial.check_completed()
        except (ViolationError, AnalysisError) as error:
            _note_violation(tally, trial, instant, error)
            continue
        shutil.rmtree(trial.place)
        _progress(f"signals: {sum(tally.killed.values())}/{signals}", started)
    _progress(f"signals: {sum(tally.killed.values())}", started, last=True)
    return tally


def _command(words: list[str]) -> Callable[[], None]:
    def work() -> None:
        sys.argv = ["ohmflow", *words]
        cli.main()

    return work


def _check_stopped(trial: Trial, ended: Ended, instant: Instant | None, before: bytes) -> None:
    """A command that was asked to stop: safe outputs, code 130, a run that says so; or it had ended before.

    Raises:
        ViolationError: otherwise.
    """
    letters = Counter(letter for letter, _ in trial.witness.entries())
    wires = [json.loads(data) for letter, data in trial.witness.entries() if letter == b"W"]
    if letters[b"D"] and not wires:
        raise ViolationError(f"the bench was never closed: {ended.said[-1500:]}")
    for left in wires:
        if left["mode"] != "safe" or left["sources"] or any(left["selectors"]):
            raise ViolationError(f"outputs were left on: {left}")
    if trial.kept == before:
        if instant is None:
            raise ViolationError(f"ended {ended.code} having done nothing: {ended.said[-1500:]}")
        if letters[b"D"]:
            raise ViolationError("something was driven and not recorded")
        trial.tally.counts["stopped before anything was driven"] += 1
        return
    with open_run(trial.folder) as run:
        status, note = run.status, run.notes[-1]["text"]
    if not note.startswith("outputs at 0 V and open, board disconnected"):
        raise ViolationError(f"the run's last note is {note!r}")
    if status == "completed":
        if instant is not None:
            trial.tally.counts["signal came when the run was over"] += 1
        elif ended.code != 0:
            raise ViolationError(f"completed, but ended {ended.code}: {ended.said[-1500:]}")
        return
    if instant is None or status != "interrupted" or ended.code != 130 or "Traceback" in ended.said:
        raise ViolationError(f"ended {ended.code}, run {status}: {ended.said[-1500:]}")
    trial.tally.killed[signal.Signals(instant.signal).name] += 1
    phases = [r["name"] for r in read_journal(trial.journal).records if r["kind"] == "phase"]
    trial.tally.phases[phases[-1] if phases else "opening"] += 1


def _note_violation(tally: Tally, trial: Trial, instant: Instant | None, error: Exception) -> None:
    text = f"{trial.place.name}, {instant}: {error}"
    tally.violations.append(text)
    print(f"\nVIOLATION {text}", flush=True)


def _progress(text: str, started: float, *, last: bool = False) -> None:
    text = f"{text}, {time.monotonic() - started:.0f} s"
    if sys.stdout.isatty():
        print(f"\r{text}   ", end="\n" if last else "", flush=True)
    elif last or int(time.monotonic()) % 10 == 0:
        print(text, flush=True)


def report(name: str, tally: Tally) -> None:
    """The table."""
    print(f"\n{name}: {sum(tally.killed.values())} ({', '.join(f'{k} {n}' for k, n in sorted(tally.killed.items()))})")
    print(f"  {'struck in':36}{', '.join(f'{k} {n}' for k, n in tally.phases.most_common())}")
    for what, number in sorted(tally.counts.items()):
        print(f"  {what:36}{number}")
    if tally.inside:
        print(f"  {'cells in the window when read after':36}{np.mean(tally.inside):.4f} (mean of runs)")
    print(f"  {'VIOLATIONS':36}{len(tally.violations)}")


def undisturbed(procedure: Any, runs: int, new_trial: Callable[[], Trial]) -> float:
    """Share of cells in the window of runs that nobody killed."""
    tally = Tally()
    for _ in range(runs):
        trial = new_trial()
        trial.tally = tally
        procedure.begin(trial)
        trial.part(procedure.job(trial), None)
        trial.check_completed()
        shutil.rmtree(trial.place)
    return float(np.mean(tally.inside))


def _be_quick() -> None:
    """Leave out what comes after a run is over, and what asks git about this program each time."""
    importlib.import_module("workflows.running")  # late imports of the command line, once for all children
    known = session.provenance()
    session.provenance = lambda: known
    program_job.figures.draw = lambda run, folder: []  # type: ignore[assignment]
    circle_job.report_circle = lambda run, folder: folder  # type: ignore[assignment]
    cli._report = lambda folder, wall: None


def main() -> int:
    """Do all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programming", type=int, default=200, help="kills of programming runs")
    parser.add_argument("--sampling", type=int, default=50, help="kills of circle runs")
    parser.add_argument("--signals", type=int, default=50, help="commands stopped by SIGINT or SIGTERM")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rng, witness, started = random.Random(asked.seed), Witness(), time.monotonic()
    root = Path(tempfile.mkdtemp(prefix="kill-soak-"))
    os.environ["OHMFLOW_HOME"] = str(root / "home")
    _be_quick()
    limits, numbers = StationFile.load("station-twin.yaml").limits, iter(range(1_000_000))

    def new_trial() -> Trial:
        place = root / f"trial-{next(numbers)}"
        (place / "runs").mkdir(parents=True)
        return Trial(place, witness, Tally(), Book(limits))

    programming = Programming(root, rng)
    life = measure(programming, new_trial)
    whole = undisturbed(programming, 12, new_trial)
    print(f"programming undisturbed: {life}; {whole:.4f} of the cells in the window", flush=True)
    found: dict[str, Tally] = {}
    if asked.programming:
        found["SIGKILL in programming"] = soak_kills(programming, life, asked.programming, new_trial, rng)
    procedures: list[tuple[Any, dict[str, float]]] = [(programming, life)]
    if asked.sampling or asked.signals:
        circle = Circle(root, rng, witness)
        circle_life = measure(circle, new_trial, base="programmed")
        print(f"circle, programmed, undisturbed: {circle_life}; {time.monotonic() - started:.0f} s so far", flush=True)
        procedures.append((circle, circle_life))
        if asked.sampling:
            found["SIGKILL in the circle"] = soak_kills(circle, circle_life, asked.sampling, new_trial, rng)
    if asked.signals:
        found["stopped by a signal"] = soak_signals(procedures, asked.signals, new_trial, rng)
    for name, tally in found.items():
        report(name, tally)
    print(f"\n{time.monotonic() - started:.0f} s in all")
    violations = sum(len(tally.violations) for tally in found.values())
    if violations:
        print(f"{violations} VIOLATIONS; what they left is in {root}")
        return 1
    shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
