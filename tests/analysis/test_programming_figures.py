"""Figures and numbers of a programming run, from its file alone: whatever became of the run."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from analysis.errors import AnalysisError
from analysis.figures import programming as figures
from analysis.programming import responsive_cells, summarise
from analysis.records import RunHeader, RunWriter, open_run

ROWS, COLS = 6, 8
Verdicts = Mapping[tuple[int, int, int], str]


def record(
    folder: Path,
    target: np.ndarray[Any, Any],
    verdicts: Verdicts,
    *,
    world: str = "simulated",
    error: float = 0.3e-6,
    end: str = "completed",
    parameters: Mapping[str, Any] | None = None,
) -> Path:
    """A run file of cells that each took some pulses; the last read is off its target by +- `error`."""
    arrays = len(target)
    given = {"tolerance": 1e-6, "arrays": list(range(arrays))}
    header = RunHeader(
        "program", world, folder.name, "2031-05-07T12:00:00+00:00", arrays, ROWS, COLS,  # type: ignore[arg-type]
        parameters=given if parameters is None else parameters, chip="lot7-die12",
    )  # fmt: skip
    clock = iter(np.arange(1, 100_000) * 0.01)
    rng = np.random.default_rng(5)
    run = RunWriter.create(folder, header, now=lambda: float(next(clock)))
    run.map("conductance_target", target)
    for number, (cell, verdict) in enumerate(verdicts.items()):
        a, r, c = cell
        wanted = float(target[cell])
        for pulse in range(2 + number % 5):
            g = wanted * (0.4 + 0.1 * pulse)
            run.event("read", r, c, array=a, amplitude=0.2, conductance=g, energy=1e-9, duration=0.005)
            sent = run.intent("set" if pulse % 2 else "reset", r, c, array=a, amplitude=1.2, gate=1.0, width=1e-6)
            run.result(sent, energy=1e-11)
        last = wanted + error * float(rng.choice([-1, 1])) if verdict in ("ok", "pending") else wanted * 0.4
        run.event("read", r, c, array=a, amplitude=0.2, conductance=last, energy=1e-9, duration=0.005)
        if verdict != "pending":
            run.cell(r, c, verdict, array=a, conductance=last)
    if world == "simulated":
        g = np.nan_to_num(target, nan=15e-6)
        run.twin("true_conductance", g, units="S")
        run.twin("stuck", np.zeros(target.shape, np.int8))
        run.twin("drives/energy", np.full(4, 1e-11), units="J")
        run.twin("drives/kind", np.array([0, 1, 2, 1], np.uint8))
    run.close(end)
    return folder / "run.h5"


def targets(*cells: tuple[int, int], arrays: int = 1, low: float = 20e-6, high: float = 100e-6) -> Any:
    target = np.full((arrays, ROWS, COLS), np.nan)
    for (row, col), level in zip(cells, np.linspace(low, high, len(cells)), strict=True):
        target[:, row, col] = level
    return target


ALL = [(r, c) for r in range(ROWS) for c in range(COLS)]


def drawn(file: Path, folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Draw from the file alone, in a folder where nothing else is; gives the pictures."""
    folder.mkdir()
    alone = shutil.copy(file, folder / "run.h5")
    with open_run(alone) as run:
        paths = figures.draw(run, folder / "figures")
    pictures = {path.name: imread(path) for path in paths}
    for picture in pictures.values():
        assert min(picture.shape[:2]) > 300
        # Something is drawn: ink and colours, not one flat sheet.
        assert picture[..., :3].std() > 0.02
        assert len(np.unique((picture[::7, ::7, :3] * 255).astype(int).reshape(-1, 3), axis=0)) > 8
    return pictures


def verdicts(*cells: tuple[int, int], verdict: str = "ok", array: int = 0) -> dict[tuple[int, int, int], str]:
    return {(array, r, c): verdict for r, c in cells}


def test_a_run_is_drawn_from_its_file_alone_and_again_the_same(tmp_path: Path) -> None:
    told = {**verdicts(*ALL), (0, 1, 1): "unresponsive", (0, 2, 2): "budget"}
    file = record(tmp_path / "run", targets(*ALL), told)
    first, second = drawn(file, tmp_path / "a"), drawn(file, tmp_path / "b")
    assert set(first) == {"programming.png", "traces.png"}
    for name, picture in first.items():
        assert np.array_equal(picture, second[name])


def texts(file: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that is written in the figures."""
    written: list[str] = []

    def keep(fig: Any, path: Path) -> Path:
        written.extend(t.get_text() for t in fig.findobj(lambda artist: hasattr(artist, "get_text")))
        return path

    monkeypatch.setattr(figures, "save", keep)
    with open_run(file) as run:
        figures.draw(run, file.parent / "figures")
    return [text for text in written if text]


@pytest.mark.parametrize(
    ("world", "label"),
    [("simulated", "run · SIMULATED (twin) · chip lot7-die12"), ("real", "run · real instruments · chip lot7-die12")],
)
def test_every_figure_says_which_world_it_is_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: str, label: str
) -> None:
    file = record(tmp_path / "run", targets(*ALL), verdicts(*ALL), world=world)
    assert texts(file, monkeypatch).count(label) == 2


def test_the_figures_tell_the_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {**verdicts(*ALL), (0, 1, 1): "unresponsive", (0, 2, 2): "budget"}
    file = record(tmp_path / "run", targets(*ALL), told)
    written = texts(file, monkeypatch)
    assert "Array 0 programmed: 97.9% of 47 responsive cells within ±1 µS" in written
    assert "programmed, read back" in written
    assert any(text.startswith("given up: row 1, column 1") for text in written)
    assert any(text.startswith("slowest: ") for text in written)
    with open_run(file) as run:
        summary = summarise(run)
        assert responsive_cells(run).sum() == summary.responsive == 47
    assert summary.failed == (((0, 1, 1), "unresponsive"), ((0, 2, 2), "budget"))


@pytest.mark.parametrize("verdict", ["unresponsive", "stuck", "budget", "ok"])
def test_a_single_cell_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdict: str) -> None:
    file = record(tmp_path / "run", targets((3, 4)), verdicts((3, 4), verdict=verdict))
    if verdict == "ok":
        drawn(file, tmp_path / "alone")
    written = texts(file, monkeypatch)
    name = "typical" if verdict == "ok" else "given up"
    assert [text.split(":")[0] for text in written if ": row 3, column 4" in text] == [name]
    with open_run(file) as run:
        summary = summarise(run)
    assert summary.cells == 1
    assert summary.responsive == (verdict in ("ok", "budget"))


def test_a_run_in_which_all_cells_failed_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = record(tmp_path / "run", targets(*ALL), verdicts(*ALL, verdict="unresponsive"))
    drawn(file, tmp_path / "alone")
    assert "Array 0 programmed: no responsive cell" in texts(file, monkeypatch)
    with open_run(file) as run:
        summary = summarise(run)
    assert len(summary.failed) == len(ALL)
    assert np.isnan(summary.inside)


def test_a_constant_target_and_a_perfect_result_are_drawn(tmp_path: Path) -> None:
    file = record(tmp_path / "run", targets(*ALL, low=50e-6, high=50e-6), verdicts(*ALL), error=0.0)
    drawn(file, tmp_path / "alone")
    with open_run(file) as run:
        summary = summarise(run)
    assert summary.inside == 1.0
    assert summary.sigma == pytest.approx(0.0, abs=1e-12)


def test_a_run_that_was_interrupted_is_drawn_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half = ALL[:20]
    told = {**verdicts(*half), **verdicts(*ALL[20:25], verdict="pending")}
    file = record(tmp_path / "run", targets(*ALL), told, end="interrupted")
    written = texts(file, monkeypatch)
    assert "run interrupted: as last read" in written
    assert "Array 0 programmed: 100.0% of 20 responsive cells within ±1 µS, 28 not finished" in written


def test_nothing_done_yet_is_drawn(tmp_path: Path) -> None:
    file = record(tmp_path / "run", targets(*ALL), {}, end="interrupted")
    assert set(drawn(file, tmp_path / "alone")) == {"programming.png"}


def test_several_arrays_get_a_figure_each_also_one_without_targets(tmp_path: Path) -> None:
    target = targets(*ALL, arrays=2)
    target[1] = np.nan
    file = record(tmp_path / "run", target, verdicts(*ALL))
    assert set(drawn(file, tmp_path / "alone")) == {
        "programming-array0.png", "programming-array1.png", "traces.png",
    }  # fmt: skip


def test_a_run_of_something_else_is_refused_in_a_sentence(tmp_path: Path) -> None:
    file = record(tmp_path / "run", targets((3, 4)), {}, parameters={})
    with open_run(file) as run, pytest.raises(AnalysisError, match="run run is a program run: it programmed nothing"):
        summarise(run)


def test_what_only_the_twin_knows_is_apart_and_absent_from_a_real_run(tmp_path: Path) -> None:
    told = verdicts(*ALL)
    simulated = record(tmp_path / "twin", targets(*ALL), told)
    real = record(tmp_path / "lab", targets(*ALL), told, world="real")
    with open_run(simulated) as one, open_run(real) as other:
        first, second = summarise(one), summarise(other)
    assert first.truth is not None
    assert first.truth.pulse_energy == pytest.approx(3e-11)
    assert second.truth is None
    assert (first.inside, first.sigma, first.pulses, first.duration) == (
        second.inside, second.sigma, second.pulses, second.duration,
    )  # fmt: skip
