"""Packaged studies: each loads, draws its figure and makes its page; the command runs one and says what is wrong."""

import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

import sim_configs
from analysis.errors import AnalysisError
from analysis.sweeps import open_study, study_page, study_rows
from analysis.sweeps.findings import harmful
from analysis.sweeps.measurement import StudyError
from analysis.sweeps.store import Point, write_result
from analysis.sweeps.study import Study, load_study, study_of
from workflows.errors import RequestError
from workflows.procedures.studied_chips import ALL
from workflows.sweeping import list_studies, study_file, sweep

NAMES = sorted(path.stem for path in sim_configs.path("studies").glob("*.yaml"))


def invented(study: Study) -> list[Point]:
    """Points of a study that nobody measured: positive numbers that grow with the noises."""
    rng = np.random.default_rng(4)
    sizes = np.concatenate([np.full(o.width, 1e-5 if o.unit == "S" else 1.0) for o in study.outputs.values()])
    points = []
    for setting in study.points:
        noise = 1.0 + 20 * float(setting.get("write_noise", 0.0)) + 5 * float(setting.get("read_noise", 0.0))
        rows = 0.07 * noise * np.exp(0.1 * rng.standard_normal((study.least, len(sizes)))) * sizes
        points.append(Point(tuple(map(tuple, rows.tolist())), True))
    return points


@pytest.mark.parametrize("name", NAMES)
def test_packaged_studies_load_and_make_their_page(name: str, model: Path, tmp_path: Path) -> None:
    said = yaml.safe_load(study_file(name).read_text(encoding="utf-8"))
    study = load_study(study_file(name), measurements=ALL, model=str(model) if "model" in said else "")
    assert study.name == name
    assert study.title
    assert study.about
    write_result(study, invented(study), tmp_path)
    (tmp_path / "provenance.json").write_text(json.dumps({"command": "ohmflow sweep <mine>", "code": "abc"}))
    rows = study_rows(open_study(tmp_path))
    assert not rows[0][0].startswith(("axis", "paper", "fixed"))
    assert ("paper" in dict(rows)) == bool(study.paper)
    page = study_page(tmp_path).read_text(encoding="utf-8")
    assert html.escape(study.title) in page
    assert page.count("<img ") == len(list((tmp_path / "figures").glob("*.png"))) == 1
    assert "data:image/png;base64," in page
    assert not re.search(r"(src|href)=[\"']?https?:", page)
    assert "<code>ohmflow sweep &lt;mine&gt;</code>" in page
    assert page.index("What came of it") < page.index("<img ") < page.index("What was swept")


def test_noise_that_doubles_is_found_between_two_points() -> None:
    noise = np.array([0.0, 0.01, 0.03])
    assert harmful(noise, np.array([0.1, 0.1, 0.4])) == pytest.approx(0.02)
    assert harmful(noise, np.array([0.1, 0.11, 0.12])) == float("inf")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"figure": "pie"}, "there is no figure 'pie' of a study; choose from lines, grid"),
        ({"figure": "grid"}, "figure 'grid' needs an axis 'relative_to'; take figure lines"),
        ({"figure": "energy"}, "figure 'energy' needs an axis 'steps'"),
        ({"figure": "violins"}, "figure 'violins' is one of measure reading, not samples"),
        ({"figure": "paths", "axes": {"method": ["ode"], "read_noise": [0]}}, "needs the metric 'path_x'"),
        ({"figure": "steps", "axes": {"method": ["ode"], "steps": [20], "layer": [0]}}, "takes no axis 'layer'"),
    ],
)
def test_a_figure_that_does_not_fit_is_told_beforehand(
    model: Path, tmp_path: Path, changes: dict[str, object], text: str
) -> None:
    said = {"name": "own", "model": str(model), "metrics": ["kl_2d"], "axes": {"method": ["ode", "sde"]}}
    with pytest.raises(StudyError) as error:
        study_of({**said, **changes}, tmp_path)
    assert text in str(error.value)


def test_any_study_has_a_page(model: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="is not there; bring the study to its end"):
        open_study(tmp_path)
    axes = {"layer": ["all", 1], "levels": [True, False], "write_noise": [0.0, 0.1], "method": ["ode", "sde"]}
    said = {"name": "own", "model": str(model), "metrics": ["kl_2d"], "axes": axes, "trajectories": 100}
    study = study_of(said, tmp_path)
    write_result(study, invented(study), tmp_path)
    rows = dict(study_rows(open_study(tmp_path)))
    assert "write_noise 0.0" in rows["least kl_2d"]
    assert "write_noise 0.1" in rows["greatest kl_2d"]
    assert "<img " in study_page(tmp_path).read_text(encoding="utf-8")
    (tmp_path / "study.h5").write_bytes(b"no")
    with pytest.raises(StudyError, match="is no result of a study"):
        open_study(tmp_path)


def test_the_command_runs_a_study_and_a_folder_has_one(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, folder = tmp_path / "own.yaml", tmp_path / "out"
    said = {
        "name": "own", "title": "My own", "model": str(model), "metrics": ["kl_2d"], "trajectories": 200,
        "fixed": {"relative_to": "memory"}, "axes": {"method": ["ode", "sde"], "write_noise": [0.0, 0.1]},
    }  # fmt: skip
    path.write_text(yaml.safe_dump(said), encoding="utf-8")
    sweep(str(path), str(folder), direct=True)
    out = capsys.readouterr().out
    assert "My own" in out
    assert f"report   {folder / 'report.html'}" in out
    assert open_study(folder).axes["method"] == ("ode", "sde")
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["study"] == "own"
    assert "numpy" in provenance["packages"]
    # The folder's own copy of the study is a study too.
    sweep(str(folder / "study.yaml"), str(folder), direct=True, model=str(model))
    path.write_text(yaml.safe_dump({**said, "name": "other"}), encoding="utf-8")
    with pytest.raises(RequestError, match="holds study 'own', not 'other'; take another folder"):
        sweep(str(path), str(folder), direct=True)
    with pytest.raises(RequestError, match="take one of them"):
        sweep(str(path), str(folder), direct=True, scheduler="tcp://127.0.0.1:1")
    with pytest.raises(RequestError, match="there is no study 'fig9': name a study file, or one of energy, fig5b"):
        sweep("fig9", str(folder))
    with pytest.raises(RequestError, match="name a study and a folder"):
        sweep("fig5b", "")
    assert [name for name, _, _ in list_studies()] == NAMES
    assert ("fig5f", "Write and read noise under ODE and SDE (Fig. 5f)", "120") in list_studies()


@pytest.mark.parametrize(
    ("measure", "setting", "text"),
    [
        ("writing", {"target": 1e-3}, "target is a number of 2e-05 to 0.0001 S, not 0.001"),
        ("writing", {"algorithm": "magic"}, "there is no algorithm 'magic'; there are"),
        ("reading", {"preset": "gold"}, "there is no device preset 'gold'; there are"),
        ("reading", {"period": True}, "period is a number of 0.1 to 1e"),
        ("ageing", {"method": "magic"}, "method is ode or sde, not 'magic'"),
        ("ageing", {"gate": 1}, "nothing is called 'gate'"),
    ],
)
def test_wrong_settings_of_chips_say_what_is_allowed(measure: str, setting: dict[str, object], text: str) -> None:
    with pytest.raises(AnalysisError) as error:
        ALL[measure].check(setting)
    assert text in str(error.value)
