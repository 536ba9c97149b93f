"""What notebooks use: pictures with axes and units, a table of runs, maps of many runs in one array."""

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.records import (
    Condition,
    Measure,
    Query,
    RunFile,
    RunHeader,
    RunWriter,
    WaveformSpec,
    open_run,
    runs_table,
    stack,
)
from analysis.records.picture import scale


@pytest.fixture(autouse=True)
def _no_display() -> Any:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    yield
    from matplotlib import pyplot

    pyplot.close("all")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs of two chips; the last of two arrays, with captures and kept data."""
    folder = tmp_path_factory.mktemp("lab")
    for number, chip in enumerate(("7", "7", "8")):
        arrays, ticks = 2 if chip == "8" else 1, itertools.count()
        header = RunHeader(
            "program", "simulated", f"run-{number}", f"2031-05-0{number + 1}T08:00:00+00:00", arrays=arrays, rows=4,
            cols=5, chip=chip, parameters={"tolerance": 1e-6 * (number + 1), "pattern": "moon"},
        )  # fmt: skip
        specs = [WaveformSpec("scope1", ("out", "in"), 50)] if chip == "8" else []
        with RunWriter.create(
            folder / f"run-{number}", header, now=lambda ticks=ticks: next(ticks) / 8, waveforms=specs
        ) as run:
            for n in range(20):
                run.result(run.intent("set", n // 5, n % 5, amplitude=1.2), energy=1e-9)
                run.event("read", n // 5, n % 5, amplitude=0.2, conductance=(50 + number) * 1e-6)
            if specs:
                run.waveform(
                    "scope1", np.arange(100, dtype=np.int16).reshape(2, 50), index=0, y_increment=[1e-4] * 2,
                    y_origin=[0.0] * 2, y_reference=[0.0] * 2, x_increment=1e-6, x_origin=0.0,
                )  # fmt: skip
                run.data("loop/errors", np.linspace(0, 2e-3, 12).reshape(3, 4), units="V", title="errors of the loop")
                run.data("loop/many", np.ones((40, 6)), title="many lines")
    return folder


def test_a_map_is_drawn_with_its_unit(lab: Path) -> None:
    with open_run(lab / "run-0") as run:
        axes = run.plot("conductance_after")
        assert run.plot().get_title(loc="left") == axes.get_title(loc="left")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("col", "row")
    assert np.asarray(axes.images[0].get_array()) == pytest.approx(np.full((4, 5), 50.0))
    assert axes.figure.axes[1].get_ylabel() == "Conductance after programming (µS)"
    assert axes.get_title(loc="left").splitlines() == ["Conductance after programming", "run-0 (simulated)"]


def test_one_of_several_arrays_is_drawn(lab: Path) -> None:
    with open_run(lab / "run-2") as run:
        assert (
            run.plot("conductance_after", array=0)
            .get_title(loc="left")
            .startswith("Conductance after programming, array 0")
        )
        with pytest.raises(AnalysisError, match="arrays 0 to 1, not 2"):
            run.plot("conductance_after", array=2)


def test_events_captures_and_data_are_drawn_with_their_units(lab: Path) -> None:
    from matplotlib import pyplot

    with open_run(lab / "run-2") as run:
        axes = run.plot("energy")
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("time (s)", "energy (nJ)")
        assert [line.get_label() for line in axes.lines] == ["set"]
        assert axes.lines[0].get_ydata() == pytest.approx(np.ones(20))
        axes = run.plot("waveforms/scope1/0")
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("time from the trigger (µs)", "voltage (mV)")
        assert [line.get_label() for line in axes.lines] == ["out", "in"]
        assert axes.lines[1].get_ydata()[-1] == pytest.approx(9.9)
        axes = run.plot("data/loop/errors")
        assert axes.get_ylabel() == "errors (mV)"
        assert axes.get_title(loc="left").startswith("errors of the loop\n")
        assert len(axes.lines) == 3
        assert len(run.plot("data/loop/many").images) == 1
        mine = pyplot.subplots()[1]
        assert run.plot("gate", axes=mine) is mine
        assert mine.lines == [] or len(mine.lines) == 0


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (
            "resistance",
            r"nothing named 'resistance' to plot, only .*conductance_after.*energy.*waveforms/scope1/0.*data/",
        ),
        ("waveforms/scope1/x", "name a capture by its number"),
        ("waveforms/scope1/7", "there is no capture 7 of scope1"),
        ("data/loop/none", "nothing named 'data/loop/none'"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(lab: Path, what: str, said: str) -> None:
    with open_run(lab / "run-2") as run, pytest.raises(AnalysisError, match=said):
        run.plot(what)


def test_units_get_a_prefix_that_fits() -> None:
    assert scale([5e-5, np.nan], "S") == (1e-6, "µS")
    assert scale([-0.5], "V") == (1e-3, "mV")
    assert scale([2e3], "ohm") == (1e3, "kΩ")
    assert scale([1e-15], "A") == (1e-12, "pA")
    assert scale([], "S") == scale([0.0], "S") == (1.0, "S")
    assert scale([1e-9], "1/S") == (1.0, "1/S")


def energy(procedure: str) -> Any:
    def measure(run: RunFile) -> dict[str, Measure]:
        return {"energy": Measure(float(np.nansum(run.events["energy"])))}

    return measure


def test_a_folder_of_runs_is_a_table(lab: Path) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    table = runs_table(lab, metrics=energy)
    assert list(table.index) == ["run-2", "run-1", "run-0"]
    assert table["chip"].tolist() == ["8", "7", "7"]
    assert table["parameters.tolerance"].tolist() == pytest.approx([3e-6, 2e-6, 1e-6])
    assert table["parameters.pattern"].tolist() == ["moon"] * 3
    assert table["metrics.energy"].tolist() == pytest.approx([20e-9] * 3)
    assert (table["duration_s"] > 0).all()
    query = Query(chip="7", where=(Condition.parse("tolerance>1.5e-6"),), metric=(Condition.parse("energy>1e-9"),))
    assert list(runs_table(lab, query, metrics=energy).index) == ["run-1"]
    assert len(runs_table(lab, Query(chip="none"))) == 0
    with pytest.raises(AnalysisError, match="there is no folder"):
        runs_table(lab / "nowhere")


def test_maps_of_runs_are_stacked(lab: Path) -> None:
    pytest.importorskip("xarray", reason="xarray is not installed")
    with open_run(lab / "run-1") as opened:
        maps = stack([lab / "run-0", opened])
        assert opened.status == "completed"  # still open
    assert maps.dims == ("run", "row", "col")
    assert maps.attrs["units"] == "S"
    assert maps.sel(run="run-1", row=3, col=4).item() == pytest.approx(51e-6)
    with pytest.raises(AnalysisError, match="can't be stacked"):
        stack([lab / "run-0", lab / "run-2"])
    with pytest.raises(AnalysisError, match="there is no run to stack"):
        stack([])


def test_without_the_packages_one_sentence_says_how_to_get_them(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("pandas", "xarray"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(AnalysisError, match=r"package pandas: pip install 'ohmflow\[notebook\]'"):
        runs_table(lab)
    with pytest.raises(AnalysisError, match=r"package xarray: pip install 'ohmflow\[notebook\]'"):
        stack([lab / "run-0"])
