"""Letters out of noise, from options to report: the whole experiment, small, on a twin with ideal devices."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.letters.report import report_letters
from analysis.letters.summary import LettersRun, LettersSummary, summarise_letters
from analysis.records import open_run
from workflows.errors import Interrupted, RequestError
from workflows.procedures.controls import Controls
from workflows.procedures.job import Job
from workflows.procedures.letters_job import PROCEDURE
from workflows.procedures.letters_options import LettersOptions

pytestmark = pytest.mark.timeout(400)  # a whole experiment is made before the first test

SAMPLES = 24
SMALL = LettersOptions(
    recipe="quick", samples=SAMPLES, uncalibrated=4, calibration_runs=8, calibration_rounds=1, compensation=40,
    points=500, curve=40, chip="1", preset="ideal", baseline=False, run_id="letters", adc="high-speed",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("letters")


@pytest.fixture(scope="module")
def stopped(place: Path) -> Path:
    """A run that was stopped in the middle of sampling the second class."""
    options = replace(SMALL, runs=str(place / "runs"), bench=str(place / "bench"), cache=str(place / "networks"))
    asked: list[bool] = []

    def told(name: str, done: int, total: int) -> None:
        if name == "samples_k" and done == 5:
            asked.append(True)

    with pytest.raises(Interrupted):
        Job.prepare(PROCEDURE, options).run(Controls(stop=lambda: bool(asked), told=told))
    return place / "runs" / "letters"


@pytest.fixture(scope="module")
def folder(place: Path, stopped: Path) -> Path:
    """The same run, gone on with to its end."""
    options = LettersOptions(resume=str(stopped), runs=str(place / "runs"), cache=str(place / "networks"))
    return Job.prepare(PROCEDURE, options).run()


@pytest.fixture(scope="module")
def summary(folder: Path) -> Iterator[LettersSummary]:
    with open_run(folder) as run:
        yield summarise_letters(run)


def test_a_stopped_run_goes_on_behind_its_last_solution(folder: Path) -> None:
    with open_run(folder) as run:
        assert run.status == "completed"
        waves = run.waveforms("scope1")
        assert np.array_equal(waves.index["index"], np.arange(3 * SAMPLES))
        assert len(run.segments) == 2


def test_three_classes_out_of_the_same_initial_states(folder: Path, summary: LettersSummary) -> None:
    with open_run(folder) as run:
        opened = LettersRun(run)
        means = np.stack([x.mean(axis=0) for x in opened.latents])
        starts = [run.data(f"samples_{k}/start") for k in "hku"]
    assert np.array_equal(starts[0], starts[1])
    assert np.array_equal(starts[0], starts[2])
    # The centres of the classes are some 0.87 apart (units of 0.1 V).
    distances = np.linalg.norm(means[:, None] - means[None], axis=2)[np.triu_indices(3, 1)]
    assert distances.min() > 0.3
    assert [q.name for q in summary.classes] == ["H", "K", "U"]
    assert summary.accuracy > 0.8
    # Not one letter again and again: at least half of what decoded data have.
    assert all(q.diversity > 0.5 * q.diversity_decoded for q in summary.classes)


def test_the_decoder_on_arrays_decodes_like_the_digital_one(summary: LettersSummary) -> None:
    assert summary.ideal_error < 0.03
    assert summary.decoder_error < 0.03
    assert summary.decoder.scheme == "reused"
    assert summary.programming.cells == 282 + summary.decoder.cells


def test_calibration_and_guidance_are_in_the_records(folder: Path, summary: LettersSummary) -> None:
    assert summary.uncalibrated is not None
    assert {p.mode for p in summary.curve} == {"ode", "sde"}
    strongest = max(p.guidance for p in summary.curve)
    assert strongest == 4.0


def test_the_page_is_made_from_the_file_alone(folder: Path, tmp_path: Path) -> None:
    with open_run(folder) as run:
        page = report_letters(run, tmp_path)
    html = page.read_text(encoding="utf-8")
    assert "SIMULATED on a twin" in html
    assert "read by a classifier trained on" in html
    assert 'src="http' not in html
    assert html == (folder / "report.html").read_text(encoding="utf-8")
    names = {p.stem for p in (tmp_path / "figures").iterdir()}
    assert {"letters", "latents", "evolution", "one-start", "plane", "guidance", "decoder-error", "decoder"} <= names


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "letter": ({"letter": "Q"}, "class 'Q' is unknown; allowed: H, K, U, all"),
    "mode": ({"mode": "pde"}, "mode 'pde' is unknown; allowed: ode, sde"),
    "recipe": ({"recipe": "soup"}, "recipe 'soup' is unknown"),
    "samples": ({"samples": 1}, r"samples must be 2\.\.1000000, not 1"),
    "guidance": ({"guidance": -1.0}, "guidance must be"),
    "split": ({"split": "byclass"}, "a split of EMNIST needs a folder"),
    "station": ({"station": "station-twin.yaml"}, "has 3 arrays"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_makes_no_sense_is_refused_before_anything_is_opened(tmp_path: Path, case: str) -> None:
    change, sentence = WRONG[case]
    with pytest.raises(RequestError, match=sentence):
        Job.prepare(PROCEDURE, replace(SMALL, runs=str(tmp_path), **change))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["data", "judge"])
def test_missing_letters_are_never_replaced_by_drawn_ones(tmp_path: Path, option: str) -> None:
    given: Callable[..., LettersOptions] = replace
    with pytest.raises(AnalysisError):
        Job.prepare(PROCEDURE, given(SMALL, runs=str(tmp_path), **{option: str(tmp_path / "nowhere")}))
