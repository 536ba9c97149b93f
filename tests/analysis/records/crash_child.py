"""Runs a small experiment over and over in processes that die; `test_crash.py` looks at what they leave.

    python crash_child.py FOLDER SEED FIRST LAST

makes FOLDER/<n>/ for each trial n in FIRST..LAST-1: `run` (the run's folder), `copy` (the run's folder right
after the last death) and `acks` (a line for each call that returned).
"""

import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from analysis.records import RunHeader, RunWriter, WaveformSpec, layout, read_journal, salvage

SIDE = 4
SCOPE = WaveformSpec("scope", ("a", "b"), 500)
RECORDS = 125
NEVER = 1 << 60
_write = os.write


class Death:
    """Kills this process at the n-th operation on a file: before it, after it, or within (writes only).

    `at` counts from the start, or, if it is negative, from the moment when the run begins to be closed.
    """

    def __init__(self, at: int, how: str) -> None:
        self.left, self.how, self.seen, self.seen_at_close = (at if at > 0 else NEVER), how, 0, 0
        close = RunWriter.close

        def closing(*args: Any) -> Path:
            self.left = -at if at < 0 else self.left
            self.seen_at_close = self.seen
            return close(*args)

        RunWriter.close = closing  # type: ignore[method-assign]  # the child is a world of its own
        self.wrap(os, "write")
        if how == "within":
            return
        for name in ("fsync", "replace", "unlink", "ftruncate"):
            self.wrap(os, name)
        for name in ("__setitem__", "resize", "flush"):
            self.wrap(h5py.Dataset, name)
        for name in ("flush", "close"):
            self.wrap(h5py.File, name)
        for name in ("create_dataset", "create_group"):
            self.wrap(h5py.Group, name)

    def wrap(self, owner: Any, name: str) -> None:
        real: Callable[..., Any] = getattr(owner, name)

        def mortal(*args: Any, **kwargs: Any) -> Any:
            self.seen += 1
            self.left -= 1
            if self.left == 0:
                if self.how == "within":
                    _write(args[0], args[1][: len(args[1]) // 2])
                elif self.how == "after":
                    real(*args, **kwargs)
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        setattr(owner, name, mortal)


def codes(number: int) -> np.ndarray:
    """What the number-th capture holds."""
    return (np.arange(1000).reshape(2, 500) * (number + 1) % 997).astype(np.int16)


class Acks:
    """Tells the survivors which calls returned."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __call__(self, kind: str, *what: Any) -> None:
        _write(self.descriptor, (json.dumps([kind, *what]) + "\n").encode())


def experiment(folder: Path, acks: Acks, durable: bool) -> None:
    """Program a few cells; goes on where it was if the folder holds a run already."""
    clock = iter(range(10**6))
    options: dict[str, Any] = {"durable": durable, "flush_every": 5}
    if (folder / layout.JOURNAL).exists() and (folder / layout.JOURNAL).read_bytes().count(b"\n"):
        run = RunWriter.resume(folder, now=lambda: next(clock) / 8, started="later", world="simulated", **options)
        acks("resume", len(run.state.finished), [doubt.cell for doubt in run.state.in_doubt])
    else:
        shutil.rmtree(folder, ignore_errors=True)
        header = RunHeader("crash", "simulated", folder.name, "now", rows=SIDE, cols=SIDE)
        run = RunWriter.create(folder, header, now=lambda: next(clock) / 8, waveforms=[SCOPE], **options)
        acks("header")
    finished = run.state.finished if run.state else {}
    captures = run.state.captures["scope"] if run.state else 0
    with run:
        if not (run.state and "conductance_target" in run.state.maps):
            run.map("conductance_target", np.full((SIDE, SIDE), 5e-5))
            acks("array")
        for doubt in run.state.in_doubt if run.state else ():
            run.event("read", *doubt.cell[1:], conductance=4e-5)
            acks("event", *doubt.cell[1:])
        for row, col in np.ndindex(SIDE, SIDE):
            if (0, row, col) in finished:
                continue
            for step in range(2):
                pulse = run.intent("set", row, col, amplitude=1.0 + step / 10)
                acks("intent", row, col)
                run.result(pulse, energy=1e-9)
                acks("result", row, col)
                run.event("read", row, col, conductance=5e-5)
                acks("event", row, col)
            if col == 1:
                run.waveform(
                    "scope",
                    codes(captures),
                    y_increment=[0.1, 0.2],
                    y_origin=[0, 0],
                    y_reference=[1, 1],
                    x_increment=1e-3,
                    x_origin=0,
                )
                acks("waveform", captures)
                captures += 1
            run.cell(row, col, "ok")
            acks("cell", row, col)
    acks("closed")


def live(body: Callable[[Acks], None], path: Path, kill_after: int) -> int:
    """Run `body` in a process of its own, kill it once it has told us `kill_after` times; gives what it died of."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        status = 1
        try:
            body(Acks(writer))
            status = 0
        except BaseException as error:
            print(f"{path}: {error!r}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    os.close(writer)
    heard = 0
    with os.fdopen(reader, "rb") as told, path.open("ab") as acks:
        for line in told:
            acks.write(line)
            heard += 1
            if heard == kill_after:
                os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def operations(folder: Path, durable: bool) -> tuple[int, int]:
    """How many operations an undisturbed run takes, in all and to be closed."""

    def body(acks: Acks) -> None:
        death = Death(NEVER, "before")
        experiment(folder / "run", acks, durable)
        acks("operations", death.seen, death.seen - death.seen_at_close)

    folder.mkdir(parents=True)
    assert live(body, folder / "acks", NEVER) == 0
    _, total, closing = json.loads((folder / "acks").read_text().splitlines()[-1])
    return total, closing


def finish(folder: Path, acks: Acks, durable: bool) -> None:
    """Bring a run to its end, wherever it was left."""
    if (folder / layout.JOURNAL).exists():
        records = read_journal(folder / layout.JOURNAL).records
        if records and records[-1].get("status") == "completed":
            salvage(folder)
            acks("salvaged")
            return
    experiment(folder, acks, durable)


def trial(folder: Path, chance: random.Random, total: int, closing: int, durable: bool) -> None:
    """One run that dies once or twice, somewhere, and is then gone on with to its end."""
    folder.mkdir(parents=True)
    for _ in range(chance.choice((1, 1, 2))):
        how = chance.choice(("before", "after", "within", "outside"))
        # Every third death comes while the file is being finished.
        at = -chance.randrange(1, closing) if chance.random() < 0.33 else chance.randrange(1, total)
        at = chance.randrange(1, RECORDS) if how == "within" else at
        kill_after = chance.randrange(1, RECORDS) if how == "outside" else NEVER

        def body(acks: Acks, at: int = at, how: str = how) -> None:
            if how != "outside":
                Death(at, how)
            finish(folder / "run", acks, durable)

        code = live(body, folder / "acks", kill_after)
        with (folder / "acks").open("a") as acks:
            acks.write(json.dumps(["died", code, how]) + "\n")
        if code == 0:
            break
    if (folder / "run").exists():
        shutil.copytree(folder / "run", folder / "copy")
    if code != 0:
        code = live(lambda acks: finish(folder / "run", acks, durable), folder / "acks", NEVER)
    assert code == 0, folder


def main(root: Path, seed: int, first: int, last: int) -> None:
    """Run the trials."""
    counts = {durable: operations(root / f"count{int(durable)}", durable) for durable in (False, True)}
    for number in range(first, last):
        chance = random.Random(seed * 100_003 + number)
        durable = number % 2 == 1
        trial(root / str(number), chance, *counts[durable], durable)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(int(argument) for argument in sys.argv[2:5]))
