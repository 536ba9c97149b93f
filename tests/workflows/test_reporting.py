"""`ohmflow report` and `ohmflow wafer`: one page, from files alone, alike everywhere; the command to make it again."""

import html
import itertools
import re
import shutil
import sys
from dataclasses import fields
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Ohmflow, in_process

from analysis.diffusion.data import Ring
from analysis.diffusion.hardware import UNIT_VOLT
from analysis.diffusion.model import TrainedModel
from analysis.diffusion.sde import VPSDE, Prior
from analysis.forecast import foretell, spent
from analysis.records import InstrumentId, RunHeader, RunWriter, WaveformSpec, open_run
from workflows import cli, commands
from workflows.again import again
from workflows.procedures.options import ELSEWHERE, listed
from workflows.procedures.registry import ENTRIES, procedure

NASTY = "<script>alert('x')</script> & \"co\""


def header(folder: Path, **changes: Any) -> RunHeader:
    options = {"station": "station-twin.yaml", "chip": "", "window": 1e-6, "array": 0, "wiring": "column"}
    plain: dict[str, Any] = {
        "procedure": "program", "world": "simulated", "run_id": folder.name, "started": "2031-05-07T08:00:00+00:00",
        "rows": 4, "cols": 5, "chip": "seed 7 (cmo-hfox)", "operator": NASTY, "seed": 7,
        "parameters": {"tolerance": 1e-6, "arrays": [2], "options": options},
        "station": f"station:\n  name: bench-9\n# {NASTY}\n", "command_line": "ohmflow program --wiring column",
        "instruments": (InstrumentId("board", "ASRL1::INSTR", "Board,1"),), "packages": {"numpy": "2.4"},
        "git_commit": "abc123",
    }  # fmt: skip
    return RunHeader(**plain | changes)


def program(folder: Path, error: float = 0.5e-6, forecast: Path | None = None, **changes: Any) -> Path:
    """A programming run of 4 x 5 cells that all miss by `error` S, alternately up and down; one is given up."""
    ticks = itertools.count()
    with RunWriter.create(folder, header(folder, **changes), now=lambda: next(ticks) / 8) as run:
        if forecast is not None:
            with open_run(forecast) as other:
                text = foretell("program", "cmo-hfox", [spent(other)] * 2).to_json()
            run.data("forecast", np.frombuffer(text.encode(), dtype=np.uint8))
        run.map("conductance_target", np.full((4, 5), 5e-5))
        run.phase("programming")
        for n in range(20):
            run.result(run.intent("set", n // 5, n % 5, amplitude=1.2, gate=1.0, width=1e-6), energy=1e-9)
            run.event("read", n // 5, n % 5, conductance=5e-5 + error * (-1) ** n, energy=1e-12)
            run.cell(n // 5, n % 5, "stuck" if n == 19 else "ok")
        run.note(f"operator: Change the chip: done by {NASTY} at 2031-05-07T08:01:00+00:00")
        for _ in range(3):
            run.note(f"board answered late {NASTY}")
    return folder


def circle(folder: Path) -> Path:
    """A circle run of 60 solutions, their ends on a circle of radius 0.7."""
    ticks = itertools.count()
    options = {"station": "station-twin.yaml", "samples": 60, "recipe": "quick", "baseline": False, "chip": "7"}
    about = header(
        folder, procedure="circle", arrays=3, parameters={"tolerance": 1e-6, "arrays": [0, 1, 2], "options": options}
    )
    spec = WaveformSpec("scope1", ("x", "y", "nx", "ny"), 500)
    ends = Ring().draw(60, np.random.default_rng(1)) * UNIT_VOLT
    with RunWriter.create(folder, about, now=lambda: next(ticks) / 8, waveforms=(spec,)) as run:
        run.map("conductance_target", np.full((3, 4, 5), 5e-5))
        for array, row, col in np.ndindex(3, 4, 5):
            run.event("read", row, col, array=array, conductance=5e-5 + 3e-7 * (-1) ** col, energy=1e-12)
            run.cell(row, col, "ok", array=array)
        run.data("drive/table", np.zeros((200, 3)))
        for end in ends:
            run.event("compute", -1, -1, duration=1.2)
            codes = np.round(np.outer([*end, 0, 0], np.minimum(np.linspace(0, 1.2, 500), 1)) / 1e-5).astype(np.int16)
            run.waveform(
                "scope1", codes, y_increment=[1e-5] * 4, y_origin=[0.0] * 4, y_reference=[0.0] * 4,
                x_increment=1.05 / 500, x_origin=-0.02,
            )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lab") / "runs"
    program(root / "good")
    ticks = itertools.count()
    with RunWriter.create(root / "bare", header(root / "bare", procedure="dance"), now=lambda: next(ticks) / 8):
        pass
    program(
        root / "bad", 2e-6, forecast=root / "good", command_line="ohmflow program --faults timeouts --faults-seed=3"
    )
    return root


@pytest.fixture
def ohmflow(runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Ohmflow:
    """The command in this process, in an empty folder, with an empty home: exit code, stdout, stderr."""
    return in_process(tmp_path, tmp_path / "home", monkeypatch, capsys)


class Page(HTMLParser):
    """A page taken apart: anchors, links, what it would fetch, its words; unbalanced tags are an error."""

    ALONE = frozenset({"meta", "link", "img", "br"})

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert not self.open

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "iframe", "object", "video")
        if tag not in self.ALONE:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            elif name == "href" and tag == "a":
                self.links.append(str(value))
            elif name in ("src", "href", "srcset"):
                self.fetched.append(str(value))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)


def check(path: Path) -> Page:
    """What holds for every page: alone, linked within, and without a name that is markup."""
    page = Page(path)
    assert all(source.startswith("data:") for source in page.fetched)
    assert "url(" not in page.source
    assert "@import" not in page.source
    assert len(set(page.ids)) == len(page.ids)
    assert page.links
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert "@page{size:A4" in page.source
    return page


def test_a_page_says_the_outcome_first_then_everything_and_the_same_elsewhere(
    ohmflow: Ohmflow, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = ohmflow("report", "bad", "--runs", runs, "-o", "page.html")
    assert (code, err) == (0, "")
    assert "bad: Inside the window: 0.00% of 19 responsive cells" in out
    page = check(Path("page.html"))
    said = page.text
    titles = ["Outcome", "What, when, with what", "Beside the paper", "Figures", "What it cost", "Forecast and outcome",
              "What happened", "Provenance", "How to reproduce it"]  # fmt: skip
    at = [page.source.index(f">{title}</h2>") for title in titles]
    assert at == sorted(at)
    assert said.index("SIMULATED on a twin") < said.index("0.00% of 19 responsive cells")
    for expected in (
        "bench-9", "Board,1 at ASRL1::INSTR", "on the chip number 2", "paper, Fig. 2f", "SET pulses 20 20 nJ",
        "simulated faults: --faults timeouts --faults-seed 3", "19 with a good verdict; 1 stuck", "abc123",
        "ohmflow program --wiring column --faults timeouts --faults-seed 3", "Foretold from 2 dry runs",
        "Of the totals 4 of 4", "The paper states no cost", f"Change the chip: done by {NASTY}",
    ):  # fmt: skip
        assert expected in said, expected
    assert f"board answered late {NASTY} 3" in said  # once, with how often
    assert said.count("board answered late") == 1
    with open_run(runs / "bad") as run:
        records, crc = run.journal_mark
    assert f"{records} records, CRC-32 {crc:08x}" in said
    assert sum(source.startswith("data:image/png") for source in page.fetched) == 2

    # From the file alone, with no home: the same page, and nothing is put beside the file.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(runs / "bad" / "run.h5", elsewhere / "run.h5")
    (elsewhere / "run.h5").chmod(0o444)
    monkeypatch.setenv("OHMFLOW_HOME", str(tmp_path / "nowhere"))
    assert ohmflow("report", elsewhere / "run.h5", "-o", "there.html")[0] == 0
    assert Path("page.html").read_bytes() == Path("there.html").read_bytes()
    assert [path.name for path in elsewhere.iterdir()] == ["run.h5"]


def test_several_runs_are_one_page_with_a_comparison(
    ohmflow: Ohmflow, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflows.procedures.program_job.figures.draw", lambda run, folder: [])  # drawn elsewhere
    code, out, _ = ohmflow("report", "bare", runs, "--runs", runs)
    assert code == 0
    assert "report   report.html" in out
    page = check(Path("report.html"))
    said = page.text
    assert "3 runs of chip seed 7 (cmo-hfox)" in said  # the one named twice counts once
    assert re.search(r"inside 0 \(0 to 0\.1682\) 1 \(0\.8318 to 1\) apart", said)
    assert "seconds" in said
    assert page.source.count("<section class=run>") == 3
    assert page.source.count(">Provenance</h2>") == 3


def test_a_circles_page_lays_costs_beside_the_papers(ohmflow: Ohmflow, tmp_path: Path) -> None:
    folder = circle(tmp_path / "runs" / "ring")
    code, out, err = ohmflow("report", "ring")
    assert (code, err) == (0, "")
    found = re.search(r"60 solutions of 1 s draw a circle of mean radius ([0-9.]+)", out)
    assert found
    assert float(found[1]) == pytest.approx(0.7, abs=0.02)
    page = check(folder / "report.html")
    said = page.text
    for expected in (
        "A sample took 1.2 s on the board (simulated)", "integrated, as assumed", "64.8 times faster", "7.2 µJ",
        "No digital baseline was measured", "What the projection hangs on", "Corresponds to the paper's Fig. 3e",
        "no digital baseline of equal quality was measured", "20 µs",
    ):  # fmt: skip
        assert expected in said, expected
    with open_run(folder) as run:
        rows = procedure("circle").rows(run)
    for row in rows[:6]:  # the numbers are those of the closing table
        assert row.value in said
    rows_of_the_papers = re.findall(r"<tr class=paper><th>(.*?)</th>", page.source)
    assert rows_of_the_papers == ["paper, arXiv version, Fig. 3f,g", "paper, published version"]
    command = "ohmflow circle --samples 60 --recipe quick --no-baseline --chip 7"
    assert f"{command} --bench none" in said


def test_a_run_that_ended_early_is_told_not_refused(ohmflow: Ohmflow, runs: Path, tmp_path: Path) -> None:
    ticks = itertools.count()
    folder = tmp_path / "runs" / "early"
    with RunWriter.create(folder, header(folder, procedure="levels"), now=lambda: next(ticks) / 8) as run:
        run.close("failed", "LinkError: no reply")
    code, out, _ = ohmflow("report", folder)
    assert code == 0
    assert "There is nothing to sum up" in out
    said = check(folder / "report.html").text
    assert "The run ended as failed: LinkError: no reply." in said
    killed = RunWriter.create(
        tmp_path / "runs" / "killed", header(tmp_path / "runs" / "killed", procedure="levels", world="real", seed=None),
        now=lambda: next(ticks) / 8,
    )  # fmt: skip
    killed.sync()
    assert ohmflow("report", "killed", "-o", "killed.html")[0] == 0
    said = check(Path("killed.html")).text
    assert "measured on real instruments" in said
    assert "SIMULATED" not in said
    assert "ohmflow salvage makes a whole one" in said
    killed.close("aborted")
    assert ohmflow("report", runs / "bare", "-o", "bare.html")[::2] == (0, "")
    assert "knows no procedure dance" in check(Path("bare.html")).text


def test_a_study_has_its_page(ohmflow: Ohmflow, tmp_path: Path) -> None:
    from analysis.diffusion.hardware import Drive
    from analysis.sweeps.store import Point, write_result
    from analysis.sweeps.study import study_of

    rng = np.random.default_rng(1)
    shapes, scales = ((14, 3), (14, 15), (2, 15)), (2e-5, 4e-5, 4e-5)
    weights = tuple(rng.uniform(-25e-6, 45e-6, s) / scale for s, scale in zip(shapes, scales, strict=True))
    half = 0.5 * VPSDE().beta(1.0 - (np.arange(200) + 0.5) / 200)
    drive = Drive.from_coefficients(half, half, rng.standard_normal((200, 14)), Prior(0.642))
    TrainedModel("test", 0, weights, scales, drive).save(tmp_path / "network.npz")
    said = {
        "name": "small", "title": "Noise <b>", "model": str(tmp_path / "network.npz"), "metrics": ["kl_2d"],
        "trajectories": 60, "fixed": {"steps": 10}, "axes": {"write_noise": [0.0, 0.05]}, "figure": "lines",
        "seeds": {"least": 2, "most": 2},
    }  # fmt: skip
    (tmp_path / "study").mkdir()
    points = [Point(((0.1 + k,), (0.2 + k,)), True) for k in range(2)]
    write_result(study_of(said, tmp_path), points, tmp_path / "study")
    code, _, err = ohmflow("report", tmp_path / "study", "-o", "study.html")
    assert (code, err) == (0, "")
    page = Page(Path("study.html"))
    assert "Study: Noise <b>" in page.text
    assert "axis write_noise 0, 0.05" in page.text
    assert "SHA-256 of study.h5" in page.text
    assert any(source.startswith("data:image/png") for source in page.fetched)


@pytest.mark.parametrize("name", list(ENTRIES))
def test_the_command_gives_the_options_that_were_recorded(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every option other than its default, as a run's header keeps them; the command is parsed as typed."""
    found = procedure(name)
    asked: dict[str, Any] = {}
    for k, one in enumerate(listed(found.options)):
        if one.name in {*ELSEWHERE, *found.elsewhere}:
            continue
        default = one.default
        if isinstance(default, bool):
            asked[one.name] = not default
        elif isinstance(default, (int, float)):
            asked[one.name] = default + 1 if isinstance(default, int) else default * 1.0123456789 + 1e-7
        else:
            asked[one.name] = ("-3,4 it's", "1,2 3,4", "")[k % 3] if one.name != "station" else "station-letters.yaml"
    folder = tmp_path / "x"
    typed = "ohmflow anything --faults timeouts"
    how = again(header(folder, procedure=name, parameters={"options": asked}, command_line=typed))
    taken: list[Any] = []
    monkeypatch.setattr(commands, "run", lambda procedure, options, direct: taken.append(options))
    import shlex

    for command, seed in ((how.command, None), (how.on_a_fresh_chip, "7")):
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 0
        options = taken.pop()
        expected = asked if seed is None else {**asked, "chip": seed, "fresh": False}
        assert {one: getattr(options, one) for one in asked} == expected
        assert options.faults == "timeouts"
    assert options.bench == ""  # of 'none': kept nowhere
    # Defaults alone need no option.
    plain = {f.name: f.default for f in fields(found.options) if f.name in asked}
    short = again(header(folder, procedure=name, parameters={"options": plain}, command_line="")).command
    assert short in (f"ohmflow {name}", f"ohmflow characterise {name}")


def test_runs_without_recorded_options_give_what_was_typed(tmp_path: Path) -> None:
    how = again(header(tmp_path / "x", parameters={"tolerance": 1e-6}))
    assert how.command == "ohmflow program --wiring column"
    assert "not recorded" in how.remarks[0]
    assert again(header(tmp_path / "x", world="real", seed=None)).on_a_fresh_chip == ""
    strange = again(header(tmp_path / "x", parameters={"options": {"colour": "red", "station": "/far/away.yaml"}}))
    assert strange.command == "ohmflow program --station /far/away.yaml"
    assert any("no option colour" in remark for remark in strange.remarks)
    assert any("/far/away.yaml lay on the machine" in remark for remark in strange.remarks)


BROWSER = """#!{python}
import sys
words = sys.argv[1:]
assert "--headless" in words and words[-1].startswith("file://") and words[-1].endswith(".html"), words
out = next(word.partition("=")[2] for word in words if word.startswith("--print-to-pdf="))
if {works}:
    open(out, "wb").write(b"%PDF-1.4 printed " + words[-1].encode())
else:
    sys.exit("no display")
"""


def browser(path: Path, *, works: bool) -> Path:
    path.write_text(BROWSER.format(python=sys.executable, works=works))
    path.chmod(0o755)
    return path


def test_a_pdf_needs_a_browser_and_is_whole_or_not_there(
    ohmflow: Ohmflow, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OHMFLOW_BROWSER", str(tmp_path / "none"))
    code, _, err = ohmflow("report", runs / "bare", "--pdf", "-o", "p.html")
    assert code == 2
    assert err.count("\n") <= 4
    assert "a PDF needs Chromium, Chrome or Edge" in " ".join(err.split())
    assert not Path("p.html").exists()  # nothing half-made
    monkeypatch.setenv("OHMFLOW_BROWSER", str(browser(tmp_path / "works", works=True)))
    assert ohmflow("report", runs / "bare", "--pdf", "-o", "p.html")[0] == 0
    assert Path("p.pdf").read_bytes().startswith(b"%PDF-1.4 printed file://")
    monkeypatch.setenv("OHMFLOW_BROWSER", str(browser(tmp_path / "broken", works=False)))
    code, _, err = ohmflow("report", runs / "bare", "--pdf", "-o", "q.html")
    assert code == 2
    assert "no display" in err
    assert Path("q.html").exists()
    assert sorted(path.name for path in tmp_path.glob("*.pdf*")) == ["p.pdf"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing",), "run 'nothing' not found"),
        (("good", "-o", "page.txt"), "must end in .html"),
        (("good", "-o", "no/such/page.html"), "there is no folder"),
        ((__file__,), "can't be read as HDF5"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(
    ohmflow: Ohmflow, runs: Path, arguments: tuple[str, ...], said: str
) -> None:
    code, _, err = ohmflow("report", *arguments, "--runs", runs)
    assert code == 2
    assert said in " ".join(err.split())
    assert err.startswith("error: ")


def test_the_wafer_view_prints_rows_and_writes_a_page(
    ohmflow: Ohmflow, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.wafer.figures.draw_view", lambda view, folder, note: [])  # drawn elsewhere
    code, out, err = ohmflow("wafer", "--runs", runs, "--pulses", 2, "-o", "w.html")
    assert (code, err) == (0, "")
    assert "95.00%" in out  # 19 of the 20 cells, the later run replacing the earlier
    assert "cells at their limit" in out
    page = check(Path("w.html"))
    assert "SIMULATED on twins" in page.text
    assert html.unescape("chip seed 7 (cmo-hfox), array 2") in page.text
    assert "20 cells have reached a limit" in page.text
    code, _, err = ohmflow("wafer", runs, "--chip", "none such")
    assert code == 2
    assert "is of chip 'none such'" in err
    assert not Path("wafer.html").exists()
