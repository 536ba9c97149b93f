"""`ohmflow runs`, `show`, `diff`, `validate`, `export`: what a person sees of runs, from their files alone."""

import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from commands import Ohmflow, in_process

from analysis.records import InstrumentId, Measure, RunHeader, RunWriter, layout, open_run
from workflows.console import console
from workflows.measures import apart, measures, share, spread


def make(folder: Path, error: float, **changes: Any) -> None:
    """A programming run of 4 x 5 cells whose cells all miss by `error` S, alternately up and down, but one stuck."""
    ticks = itertools.count()
    plain: dict[str, Any] = {
        "procedure": "program",
        "world": "simulated",
        "run_id": folder.name,
        "started": "2031-05-07T08:00:00+00:00",
        "rows": 4,
        "cols": 5,
        "chip": "7",
        "operator": "Ada",
        "parameters": {"tolerance": 1e-6, "window": 1e-6, "arrays": [0]},
        "station": "station: bench\n",
        "instruments": (InstrumentId("board", "ASRL1::INSTR", "Board,1"),),
        "packages": {"numpy": "2.4"},
    }
    with RunWriter.create(folder, RunHeader(**plain | changes), now=lambda: next(ticks) / 8) as run:
        run.map("conductance_target", np.full((4, 5), 5e-5))
        run.phase("programming")
        for n in range(20):
            run.result(run.intent("set", n // 5, n % 5, amplitude=1.2, gate=1.0, width=1e-6), energy=1e-9)
            run.event("read", n // 5, n % 5, conductance=5e-5 + error * (-1) ** n, energy=1e-12)
            run.cell(n // 5, n % 5, "stuck" if n == 19 else "ok")
        run.note("probe [3] lifted")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lab") / "runs"
    make(root / "good", 0.5e-6)
    make(
        root / "bad", 2e-6, chip="8", started="2031-05-09T08:00:00+00:00", station="station: bench\nlimits: {}\n",
        parameters={"tolerance": 1e-6, "window": 2e-6, "arrays": [0]}, packages={"numpy": "2.5"},
    )  # fmt: skip
    return root


@pytest.fixture
def ohmflow(runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Ohmflow:
    """The command in this process, beside the folder `runs`: exit code, stdout, stderr."""
    return in_process(runs.parent, tmp_path / "home", monkeypatch, capsys)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ([], ["bad", "good"]),
        (["--chip", "8"], ["bad"]),
        (["--procedure", "circle"], []),
        (["--where", "window=1e-6"], ["good"]),
        (["--where", "window>=1e-6", "--where", "window<1.5e-6"], ["good"]),
        (["--metric", "inside>0.98"], ["good"]),
        (["--metric", "sigma>1e-6"], ["bad"]),
        (["--metric", "given_up=1", "--limit", "1"], ["bad"]),
        (["--text", "lifted", "--chip", "7"], ["good"]),
        (["--since", "2031-05-08"], ["bad"]),
        (["--until", "2031-05-08"], ["good"]),
        (["--since", "2031-05-06", "--until", "2031-05-09T23:00"], ["bad", "good"]),
        (["--status", "killed"], []),
    ],
)
def test_runs_are_listed_as_asked(ohmflow: Ohmflow, asked: list[str], found: list[str]) -> None:
    code, out, err = ohmflow("runs", *asked, "--json")
    assert (code, err) == (0, "")
    assert [entry["run_id"] for entry in json.loads(out)] == found


def test_a_list_for_people_has_metrics_and_what_is_damaged(
    ohmflow: Ohmflow, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = next(line for line in ohmflow("runs")[1].splitlines() if "good" in line)
    assert narrow.replace("│", " ").split()[1:3] == ["7", "2031-05-07"]
    monkeypatch.setattr(console, "_width", 140)
    (runs / "broken").mkdir()
    (runs / "broken" / layout.FINAL).write_bytes(b"nothing" * 100)
    try:
        code, out, _ = ohmflow("runs")
    finally:
        (runs / "broken" / layout.FINAL).unlink()
        (runs / "broken").rmdir()
    assert code == 0
    good = next(line for line in out.splitlines() if "good" in line)
    assert good.replace("│", " ").split()[1:4] == ["7", "2031-05-07", "08:00"]
    assert {"program", "simulated"} <= set(good.split())
    assert "499 nS" in good
    assert "damaged" in out
    assert "can't be read as HDF5" in out
    assert ohmflow("runs", "--chip", "none")[1].startswith("no run in runs matches")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--since", "last Tuesday"], "--since 'last Tuesday' is no date"),
        (["--where", "window"], "is no condition"),
        (["--metric", "inside>high"], "'high' is not a number"),
        (["elsewhere"], "there is no folder elsewhere"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(ohmflow: Ohmflow, asked: list[str], said: str) -> None:
    code, out, err = ohmflow("runs", *asked)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_nothing_is_written_into_the_folder_of_runs(ohmflow: Ohmflow, runs: Path) -> None:
    before = sorted(runs.rglob("*"))
    ohmflow("runs")
    ohmflow("show", "good")
    ohmflow("validate", "good")
    assert sorted(runs.rglob("*")) == before


def test_a_run_is_shown(ohmflow: Ohmflow) -> None:
    code, out, err = ohmflow("show", "good")
    assert (code, err) == (0, "")
    for said in (
        "Ada", "4 x 5", "tolerance", "ASRL1::INSTR", "probe [3] lifted", "100.00% of 19 responsive cells", "run.h5",
        "programming",
    ):  # fmt: skip
        assert said in out


def test_a_run_without_an_outcome_is_shown_all_the_same(ohmflow: Ohmflow, tmp_path: Path) -> None:
    header = RunHeader("generate", "simulated", "early", "2031-05-07T08:00:00+00:00", rows=2, cols=2)
    with RunWriter.create(tmp_path / "early", header, now=lambda: 0.0) as run:
        run.note("the probe broke")
    code, out, err = ohmflow("show", tmp_path / "early")
    assert (code, err) == (0, "")
    assert "the probe broke" in out


def test_two_runs_are_compared(ohmflow: Ohmflow) -> None:
    code, out, err = ohmflow("diff", "good", "bad")
    assert (code, err) == (0, "")
    assert "+limits: {}" in out
    assert "instruments: the same" in out
    code, out, _ = ohmflow("diff", "good", "bad", "--json")
    found = json.loads(out)
    assert found["parameters"] == [{"name": "window", "first": "1e-06", "second": "2e-06"}]
    assert found["versions"] == [{"name": "numpy", "first": "2.4", "second": "2.5"}]
    after = next(one for one in found["maps"] if one["name"] == "conductance_after")
    assert (after["cells"], after["beyond"], after["only_one"]) == (20, 20, 0)
    assert after["rms"] == pytest.approx(1.5e-6)
    metrics = {one["name"]: one for one in found["metrics"]}
    assert (metrics["inside"]["first"]["value"], metrics["inside"]["second"]["value"]) == (1.0, 0.0)
    assert metrics["inside"]["intervals"] == "apart"
    assert metrics["energy"]["intervals"] == ""
    code, out, _ = ohmflow("diff", "good", "bad", "--json", "--tolerance", "2 uS")
    assert next(m for m in json.loads(out)["maps"] if m["name"] == "conductance_after")["beyond"] == 0
    assert ohmflow("diff", "good", "good")[1].count("the same") == 5


def test_files_are_validated(ohmflow: Ohmflow, runs: Path, tmp_path: Path) -> None:
    assert ohmflow("validate", "good", runs / "bad" / layout.FINAL)[0] == 0
    copy = tmp_path / "copy.h5"
    copy.write_bytes((runs / "good" / layout.FINAL).read_bytes())
    with h5py.File(copy, "r+") as file:
        del file["entry/events/gate"]
    code, out, _ = ohmflow("validate", "good", copy)
    assert code == 2
    assert "good: valid" in out
    assert "/entry/events/gate: is missing" in out
    assert ohmflow("validate", "nowhere")[0] == 2


def test_a_run_is_exported(ohmflow: Ohmflow, tmp_path: Path) -> None:
    code, out, _ = ohmflow("export", "good", "-o", tmp_path / "out")
    assert code == 0
    assert out.count("wrote") == len(list((tmp_path / "out").iterdir())) == 7
    code, _, err = ohmflow("export", "good", "-o", tmp_path / "out")
    assert code == 2
    assert "is there already" in err
    code, _, err = ohmflow("export", "good", "-o", tmp_path / "other", "--format", "xls")
    assert code == 2
    assert "csv or parquet" in err


def test_metrics_are_those_of_the_closing_table(runs: Path) -> None:
    with open_run(runs / "good") as run:
        found = measures("program")(run)
    assert found["inside"].value == 1.0
    assert found["sigma"].value == pytest.approx(0.5e-6, rel=0.01)
    assert found["sigma"].low < found["sigma"].value < found["sigma"].high
    assert (found["pulses"].value, found["reads"].value, found["given_up"].value) == (20, 20, 1)
    assert found["energy"].value == pytest.approx(20 * 1.001e-9)


def test_intervals_cover_what_they_should() -> None:
    """Of 2000 draws 95 % of the intervals hold the truth: 0.95 ± 0.02 is four standard deviations."""
    rng = np.random.default_rng(5)
    shares = [share(k / 50, 50) for k in rng.binomial(50, 0.9, 2000)]
    assert np.mean([m.low <= 0.9 <= m.high for m in shares]) == pytest.approx(0.955, abs=0.025)
    spreads = [spread(float(rng.normal(size=12).std()), 12) for _ in range(2000)]
    assert np.mean([m.low <= 1 <= m.high for m in spreads]) == pytest.approx(0.95, abs=0.02)
    assert apart(Measure(1, 0, 2), Measure(3, 2.5, 4)) == "apart"
    assert apart(Measure(1, 0, 2), Measure(2, 1, 3)) == "overlap"
    assert apart(Measure(1, 0, 2), Measure(2, math.nan, 3)) == ""


README = Path(__file__).parents[2] / "README.md"


def blocks_of(text: str, heading: str) -> list[str]:
    """The Python blocks of the sections whose heading begins so, in order."""
    sections = re.split(r"^#{2,4} ", text, flags=re.MULTILINE)
    chosen = [section for section in sections if section.startswith(heading)]
    return [block for section in chosen for block in re.findall(r"^```python\n(.*?)^```", section, re.M | re.S)]


def test_what_the_readme_says_of_data_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python block of its tasks "Look at data ...", as it stands there, one after the other in one session."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    blocks = blocks_of(README.read_text(encoding="utf-8"), "Look at data")
    assert blocks
    wanted = "".join(blocks)
    for name, package in (("to_xarray", "xarray"), ("stack", "xarray"), ("runs_table", "pandas")):
        if name in wanted:
            pytest.importorskip(package, reason=f"{package} is not installed")
    monkeypatch.chdir(tmp_path)
    names = sorted(set(re.findall(r"runs/([\w.-]+)", wanted)))
    assert names, "the blocks open no run"
    for name in names:
        make(tmp_path / "runs" / name, 0.5e-6)
    session: dict[str, Any] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"README.md, block {number + 1} of {len(blocks)}", "exec"), session)
    from matplotlib import pyplot

    drawn = len(pyplot.get_fignums())
    pyplot.close("all")
    assert drawn == wanted.count(".plot(")
    assert session["conductance"] == pytest.approx(np.reshape([50.5e-6, 49.5e-6] * 10, (4, 5)))
    assert session["energy"] == pytest.approx(20e-9)
    if "table" in session:
        assert list(session["table"].index) == names
        assert session["table"]["metrics.inside"].tolist() == [1.0] * len(names)
        assert session["maps"].shape == (len(names), 4, 5)
        assert session["mean"].attrs["units"] == "S"
        assert session["reads"].size == 20
        assert session["table"]["chip"].tolist() == ["7"] * len(names)


def test_blocks_are_found_under_their_heading() -> None:
    text = "## A\n```python\nx = 1\n```\n### Look at data\n```sh\nls\n```\n```python\ny = 1\n```\n"
    text += "### Look at data in a notebook\n```python\nz = 1\n```\n## B\n```python\nw = 1\n```\n"
    assert blocks_of(text, "Look at data") == ["y = 1\n", "z = 1\n"]
