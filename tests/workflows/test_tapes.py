"""A run is recorded, played back without its laboratory, and held against twins."""

from pathlib import Path

import numpy as np
import pytest
import typer
from program_jobs import pattern

from analysis.records import open_run
from workflows.procedures.job import Job
from workflows.procedures.program_job import PROCEDURE, ProgramOptions
from workflows.tapes import compare_tape, make_bench, show_tape

CELLS = pattern({(0, 3): 40, (2, 3): 80})


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("taped")
    np.save(folder / "cells.npy", CELLS)
    Job.prepare(PROCEDURE, options(folder, run_id="taped", chip="5", record=True)).run(report=False)
    return folder


def options(folder: Path, **more: object) -> ProgramOptions:
    return ProgramOptions(
        pattern=str(folder / "cells.npy"), runs=str(folder / "runs"), settle_rows=0, adc="high-speed",
        **more,  # type: ignore[arg-type]  # names and values as a person would give them
    )  # fmt: skip


def test_the_same_run_comes_out_of_its_tape(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_bench("taped", str(tmp_path / "bench"), any_order=False, runs=str(runs / "runs"))
    assert str(tmp_path / "bench" / "station.yaml") in capsys.readouterr().out.replace("\n", "")
    again = options(runs, run_id="again", station=str(tmp_path / "bench" / "station.yaml"))
    Job.prepare(PROCEDURE, again).run(report=False)
    with open_run(runs / "runs" / "taped") as one, open_run(runs / "runs" / "again") as other:
        assert other.status == "completed"
        for name in one.events:
            zero = (one.events[name][0], other.events[name][0]) if name == "time" else (0, 0)
            np.testing.assert_allclose(one.events[name] - zero[0], other.events[name] - zero[1], rtol=1e-12, atol=1e-9)


def test_a_twin_is_held_against_a_tape(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_tape("taped", str(runs / "runs"))
    assert "GPIB0::17::INSTR" in capsys.readouterr().out
    compare_tape("taped", chip="5", runs=str(runs / "runs"))
    assert "the twin replies as recorded" in capsys.readouterr().out
    with pytest.raises(typer.Exit) as ended:
        compare_tape("taped", chip="6", preset="ideal", tolerance=1e-4, runs=str(runs / "runs"))
    assert ended.value.exit_code == 1
    assert "answered otherwise than recorded" in capsys.readouterr().out
