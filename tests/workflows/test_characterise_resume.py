"""A killed characterisation goes on: what was finished is not done again, and finished cells are left alone."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from characterise_jobs import kept, killed, parts, prepared, pulsed, resumed

from analysis.characterisation.endurance import summarise_endurance
from analysis.characterisation.retention import summarise_retention
from analysis.records import open_run


@pytest.mark.parametrize(
    ("name", "seen", "more"),
    [
        ("iv", '"iv/r4_c18/from_0"', 2),
        ("pulses", '"response/r4_c18"', 20),
        ("levels", '"levels/level_2"', 5),
        ("noise", '/t0"', 50),
        ("retention", '"relaxation/r4_c18"', 15),
        ("disturb", '/reset"', 12),
    ],
)
def test_finished_work_is_not_repeated(name: str, seen: str, more: int, tmp_path: Path) -> None:
    killed(prepared(name, tmp_path), seen, more)
    folder = resumed(name, tmp_path)
    before, after = parts(folder)
    done = set(kept(before)) - {"iv/volts", "levels/volts"}
    assert done
    assert not done & set(kept(after))
    with open_run(folder) as run:
        assert run.status == "completed"
        assert len(run.segments) == 2
        whole = set(run.names("data"))
    assert done <= whole


@pytest.mark.parametrize(
    ("name", "seen", "more"),
    [("forming", '"kind":"cell"', 2), ("pulses", '"response/r4_c18"', 20), ("endurance", '"kind":"cell"', 9)],
)
def test_finished_cells_get_no_more_pulses(name: str, seen: str, more: int, tmp_path: Path) -> None:
    killed(prepared(name, tmp_path), seen, more)
    before, after = parts(resumed(name, tmp_path))
    finished = {(r["row"], r["col"]) for r in before if r["kind"] == "cell"}
    finished |= {tuple(map(int, n.removeprefix("response/r").split("_c"))) for n in kept(before) if "response" in n}
    assert finished
    assert not finished & set(pulsed(after))


def test_cycles_before_the_kill_count(tmp_path: Path) -> None:
    killed(prepared("endurance", tmp_path), '/look_4"', 7)
    folder = resumed("endurance", tmp_path)
    before, after = parts(folder)
    given = Counter(pulsed(before) + pulsed(after))
    with open_run(folder) as run:
        cells = summarise_endurance(run).cells
    assert all(c.counts[-1] == 20 for c in cells)
    assert all(40 <= count <= 44 for count in given.values())  # the cycle that was cut is done anew


def test_retention_keeps_to_its_first_schedule(tmp_path: Path) -> None:
    killed(prepared("retention", tmp_path), '"retention/point_1"', 5)
    folder = resumed("retention", tmp_path)
    before, after = parts(folder)
    assert "begin/all" in kept(before)  # it was killed while it followed the schedule
    assert not pulsed(after)
    with open_run(folder) as run:
        s = summarise_retention(run)
        instants = [run.data(name)[0, 0] for name in sorted(run.names("data")) if "point_" in name]
    assert np.nanmax(s.times) == pytest.approx(1e6, rel=0.01)
    assert len(instants) == len(set(np.round(np.log10(instants), 1)))


def test_mending_goes_on_without_reading_again(tmp_path: Path) -> None:
    prepared("array-errors", tmp_path, times="0 s").run()
    job = prepared("health", tmp_path, reference="array-errors", window=0.5e-6, mend=True, verify=0.5)
    killed(job, '"name":"mend"', 12)
    folder = resumed("health", tmp_path)
    before, after = parts(folder)
    assert "health/read" in kept(before)
    finished = {(r["row"], r["col"]) for r in before if r["kind"] == "cell"}
    assert finished
    assert not finished & set(pulsed(after))
    with open_run(folder) as run:
        assert run.status == "completed"
