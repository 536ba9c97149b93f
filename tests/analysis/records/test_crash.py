"""Processes that write records are killed at any instant; nothing that they were told was safe may be lost.

OHMFLOW_KILLS=100 pytest ... makes a hundred trials instead of twelve.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.records import layout, open_run, read_journal, salvage

TRIALS = int(os.environ.get("OHMFLOW_KILLS", "12"))
SIDE = 4


def acknowledged(trial: Path) -> list[list[Any]]:
    """What calls returned, in all lives of the run that died."""
    lives: list[list[list[Any]]] = [[]]
    for line in (trial / "acks").read_text().splitlines():
        ack = json.loads(line)
        if ack[0] == "died":
            lives.append([])
        else:
            lives[-1].append(ack)
    return [ack for life in lives[:-1] for ack in life]


def check_journal(folder: Path, acks: list[list[Any]]) -> list[dict[str, Any]]:
    """The journal holds every acknowledged record, in order, and at most one more a life."""
    records = read_journal(folder / layout.JOURNAL).records
    rest = iter(records)
    for kind, *what in acks:
        if kind in ("closed", "salvaged"):
            continue
        # A record that was written when the death came may stand before the first one of the next life.
        record = next(record for record in rest if record["kind"] == kind)
        if kind in ("intent", "event", "cell"):
            assert [record["row"], record["col"]] == what
    return records


def check_left(folder: Path) -> None:
    """Whatever file the death left under a record's name can be opened as it is."""
    for name in (layout.FINAL, layout.PARTIAL):
        if (folder / name).exists():
            with open_run(folder / name) as run:
                assert run.status in layout.STATUSES
            with open_run(folder) as run:
                assert run.header.procedure == "crash"


def check_salvage(folder: Path, records: list[dict[str, Any]]) -> None:
    report = salvage(folder)
    assert report.is_complete
    assert not salvage(folder).rebuilt
    with h5py.File(report.path, "r") as file:
        assert file.attrs["world"] == "simulated"
    with open_run(folder) as run:
        assert run.path.name == layout.FINAL
        announced = [r["seq"] for r in records if r["kind"] in ("intent", "event")]
        assert sorted(run.events["seq"]) == announced
        verdicts = {(r["row"], r["col"]) for r in records if r["kind"] == "cell"}
        assert int((run.cells["status"] == layout.CELL_CODE["ok"]).sum()) == len(verdicts)
        check_captures(run.waveforms("scope"), sum(r["kind"] == "waveform" for r in records))


def check_captures(waveforms: Any, count: int) -> None:
    assert len(waveforms) == count
    for number in range(count):
        expected = (np.arange(1000).reshape(2, 500) * (number + 1) % 997).astype(np.int16)
        np.testing.assert_array_equal(waveforms.codes(number), expected)


def check_end(folder: Path) -> None:
    """Gone on with, the run completed; no finished cell was pulsed again and every cell in doubt was read first."""
    records = read_journal(folder / layout.JOURNAL).records
    verdicts: set[tuple[int, int]] = set()
    doubtful: set[tuple[int, int]] = set()
    pending: tuple[int, int] | None = None
    for record in records:
        cell = (record.get("row"), record.get("col"))
        if record["kind"] == "intent":
            assert cell not in verdicts
            assert cell not in doubtful
            pending = cell
        elif record["kind"] == "result":
            pending = None
        elif record["kind"] == "resume" and pending is not None:
            doubtful.add(pending)
            pending = None
        elif record["kind"] == "event":
            doubtful.discard(cell)
        elif record["kind"] == "cell":
            verdicts.add(cell)
    assert len(verdicts) == SIDE * SIDE
    assert records[-1]["kind"] == "end"
    with open_run(folder) as run:
        assert run.status == "completed"
        assert len(run.segments) == 1 + sum(r["kind"] == "resume" for r in records)
        assert len(run.events["seq"]) == sum(r["kind"] in ("intent", "event") for r in records)
        check_captures(run.waveforms("scope"), sum(r["kind"] == "waveform" for r in records))
    left = {path.name for path in folder.iterdir()}
    assert left == {layout.JOURNAL, layout.FINAL}


@pytest.mark.timeout(60 + 2 * TRIALS)
def test_whatever_was_acknowledged_survives_a_kill_at_any_instant(tmp_path: Path) -> None:
    script, root = Path(__file__).with_name("crash_child.py"), Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    said = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "2", "0", str(TRIALS)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    kills = 0
    for number in range(TRIALS):
        trial = tmp_path / str(number)
        acks = acknowledged(trial)
        kills += (trial / "acks").read_text().count('["died", -9')
        if not (trial / "copy" / layout.JOURNAL).exists() or not read_journal(trial / "copy" / layout.JOURNAL).records:
            assert acks == []
            with pytest.raises(AnalysisError):
                salvage(trial / "copy")
        else:
            check_left(trial / "copy")
            check_salvage(trial / "copy", check_journal(trial / "copy", acks))
        check_end(trial / "run")
    assert kills >= TRIALS // 2
