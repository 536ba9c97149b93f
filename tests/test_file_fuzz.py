"""Spoilt files of every kind: a sentence and exit code 2, or work as usual; never anything else."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_mutations import TRIALS, Bed, Watch, generator, warm_up

COUNTS = {
    "station": 100, "bench": 90, "preset": 60, "faults": 60, "schedule": 80, "week": 60, "pattern": 90, "journal": 60,
}  # fmt: skip
BLOCK = 10
RUNS = 16
BLOCKS = [(kind, first) for kind, count in COUNTS.items() for first in range(0, count, BLOCK)]


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    folder = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OHMFLOW_HOME", str(folder / "home"))
        patch.setenv("COLUMNS", "2000")
        patch.chdir(folder)
        made = Bed.made(folder)
        warm_up(made)
        yield made


@pytest.fixture(scope="module")
def watch(bed: Bed) -> Watch:
    return Watch((str(bed.folder),))


@pytest.fixture(scope="module")
def seen() -> dict[str, set[int]]:
    """Exit codes by kind, gathered while the cases are tried."""
    return {}


@pytest.mark.parametrize(("kind", "first"), BLOCKS, ids=[f"{kind}-{first}" for kind, first in BLOCKS])
def test_a_spoilt_file_is_told_or_works(
    bed: Bed, watch: Watch, seen: dict[str, set[int]], kind: str, first: int
) -> None:
    for number in range(first, first + BLOCK):
        with watch.watching():
            outcome = TRIALS[kind](bed, generator(kind, number))
        seen.setdefault(kind, set()).add(outcome.code)
        assert not outcome.wrong, f"{kind} {number}: {outcome.wrong}"
        assert outcome.code in (0, 2), f"{kind} {number}: {outcome}"
        assert outcome.code == 0 or outcome.said, f"{kind} {number}: nothing was said"
        assert not watch.found, f"{kind} {number}: {watch.found}"


@pytest.mark.timeout(300)
def test_a_spoilt_run_file_is_told_or_can_be_read(tmp_path: Path) -> None:
    """In a process of its own: libhdf5 is C, and a damaged file may be its end."""
    script = Path(__file__).parent / "benchmarks" / "file_fuzz.py"
    command = [sys.executable, "-W", "error", str(script), "worker", "run", "0", str(RUNS), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    outcomes = [one for one in said if "code" in one]
    assert len(outcomes) == RUNS
    assert [one for one in outcomes if one["wrong"]] == []
    assert {one["code"] for one in outcomes} == {0, 2}


def test_some_of_the_spoilt_files_still_work(seen: dict[str, set[int]]) -> None:
    """A fuzzer whose every file is refused at once would prove little."""
    if set(seen) != set(COUNTS):
        pytest.skip("not all kinds were tried in this process")
    for kind, codes in seen.items():
        assert codes == {0, 2}, kind
