"""Studies: what a file may say, what a point is, and that kills don't change a bit of the result."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml

from analysis.diffusion.model import TrainedModel
from analysis.sweeps.engine import narrow_enough, run_point, run_study
from analysis.sweeps.quality import Samples
from analysis.sweeps.result import open_study
from analysis.sweeps.sampling import equation_of
from analysis.sweeps.store import Point, PointStore
from analysis.sweeps.study import Setting, Study, StudyError, load_study, study_of

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]


def _said(network: Path, **changes: object) -> dict[str, object]:
    return {
        "name": "small", "model": str(network), "metrics": ["kl_2d"], "trajectories": 60, "fixed": {"steps": 20},
        "axes": {"write_noise": [0.0, 0.05], "read_noise": [0.0, 0.1, 0.2]},
    } | changes  # fmt: skip


def test_result_has_the_grid_s_coordinates_and_every_seed(model: Path, tmp_path: Path) -> None:
    said = _said(model, seeds={"least": 3, "most": 3}, metrics=["kl_2d", "radius_mean", "path_x", "analog_energy"])
    study = study_of(said, tmp_path)
    told: list[tuple[int, int]] = []
    run_study(study, tmp_path / "a", told=lambda done, total: told.append((done, total)))
    found = open_study(tmp_path / "a")
    assert told == [(k, 6) for k in range(7)]
    assert found.axes == {"write_noise": (0.0, 0.05), "read_noise": (0.0, 0.1, 0.2)}
    assert found.table("kl_2d_values").shape == (2, 3, 3)
    mean, low, high = found.interval("kl_2d")
    assert np.allclose(mean, found.table("kl_2d_values").mean(axis=2), rtol=1e-12)
    assert np.all((low < mean) & (mean < high))
    assert found.table("path_x_values", write_noise=0.05).shape == (3, 3, 51)
    # What a sample costs does not depend on noise.
    assert np.ptp(found.table("analog_energy")) == 0.0
    assert 1e-8 < found.table("analog_energy").flat[0] < 1e-4
    assert found.note("kl_2d", "floor") > 0
    with pytest.raises(StudyError, match=r"no point with read_noise = 0\.3"):
        found.table("kl_2d", read_noise=0.3)


def test_xarray_opens_a_result_with_its_coordinates(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("h5netcdf")
    xarray = pytest.importorskip("xarray")
    axes = {"write_noise": [0.0, 0.05], "relative_to": ["weight", "memory"], "levels": [True, False]}
    path = run_study(study_of(_said(model, axes=axes, metrics=["kl_2d", "path_x"]), tmp_path), tmp_path / "a")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what their engine says of itself
        data = xarray.open_dataset(path, engine="h5netcdf").load()
    assert dict(data["kl_2d"].sizes) == {"write_noise": 2, "relative_to": 2, "levels": 2}
    assert data["relative_to"].values.tolist() == ["weight", "memory"]
    one = data.sel(write_noise=0.05, relative_to="memory", levels=1)
    assert float(one["kl_2d_low"]) < float(one["kl_2d"]) < float(one["kl_2d_high"])
    assert float(one["kl_2d"]) == open_study(path).table("kl_2d", write_noise=0.05, relative_to="memory", levels=True)
    assert one["path_x_values"].dims == ("seed_number", "path_time")
    assert data["kl_2d"].attrs["units"] == "nat"
    data.close()


def test_points_of_a_smaller_grid_are_found_again(model: Path, tmp_path: Path) -> None:
    run_study(study_of(_said(model), tmp_path), tmp_path / "a")
    axes = {"write_noise": [0.0, 0.02, 0.05], "read_noise": [0.0, 0.1, 0.2]}
    larger = study_of(_said(model, axes=axes), tmp_path)
    told: list[int] = []
    grown = run_study(larger, tmp_path / "a", told=lambda done, total: told.append(done))
    assert told == [6, 7, 8, 9]
    fresh = run_study(larger, tmp_path / "b")
    assert grown.read_bytes() == fresh.read_bytes()


def test_points_may_come_back_in_any_order(model: Path, tmp_path: Path) -> None:
    study = study_of(_said(model), tmp_path)

    def backwards(study: Study, settings: Sequence[Setting]) -> Iterator[tuple[int, Point]]:
        for place in reversed(range(len(settings))):
            yield place, run_point(study, settings[place])

    alone = run_study(study, tmp_path / "a")
    assert run_study(study, tmp_path / "b", spread=backwards).read_bytes() == alone.read_bytes()

    def lazy(study: Study, settings: Sequence[Setting]) -> Iterator[tuple[int, Point]]:
        yield from itertools.islice(backwards(study, settings), 2)

    with pytest.raises(StudyError, match="not all points came back"):
        run_study(study, tmp_path / "c", spread=lazy)


def test_a_network_is_known_by_its_numbers_wherever_its_file_lies(model: Path, tmp_path: Path) -> None:
    shutil.copy(model, tmp_path / "copy.npz")
    here, there = (study_of(_said(path), tmp_path) for path in (model, tmp_path / "copy.npz"))
    assert here.network is not None
    assert there.network is not None
    assert here.network.digest == there.network.digest
    other = TrainedModel.load(model)
    other.weights[0][0, 0] += 1e-9
    other.save(tmp_path / "other.npz")
    changed = study_of(_said(tmp_path / "other.npz"), tmp_path)
    assert changed.key(changed.points[0]) != here.key(here.points[0])


def test_seeds_are_added_until_the_interval_is_narrow(model: Path, tmp_path: Path) -> None:
    def asked(most: int, relative: float) -> Study:
        changes = {"metrics": ["radius_std"], "seeds": {"least": 2, "most": most}, "until": {"relative": relative}}
        return study_of(_said(model, **changes), tmp_path)

    study = asked(200, 0.15)
    noisy = {**study.points[0], "write_noise": 0.1, "relative_to": "memory"}
    point = run_point(study, noisy)
    assert 3 < len(point.rows) < 200
    assert point.narrow
    # One seed less was not narrow enough, and there is an end to it.
    values = [row[0] for row in point.rows]
    assert narrow_enough(study, values)
    assert not narrow_enough(study, values[:-1])
    capped = run_point(asked(3, 1e-9), noisy)
    assert len(capped.rows) == 3
    assert not capped.narrow


def test_budget_lowers_the_seeds_and_refuses_what_never_fits(model: Path, tmp_path: Path) -> None:
    once = 6 * 20 * 60
    changes = {"seeds": {"least": 2, "most": 100}, "until": {"relative": 0.01}}
    assert study_of(_said(model, budget=once * 7.5, **changes), tmp_path).most == 7
    with pytest.raises(StudyError, match="raise it, or take fewer points"):
        study_of(_said(model, budget=once * 1.5, **changes), tmp_path)


@pytest.mark.parametrize("struck", [0, 1, 2])
def test_noise_on_one_layer_spares_the_others(model: Path, struck: int) -> None:
    network, samples = TrainedModel.load(model), Samples()
    noisy = {"write_noise": 0.05, "read_noise": 0.05, "relative_to": "memory"}
    quiet = equation_of(network, dict(samples.defaults), np.random.default_rng(3))
    one, every = (
        equation_of(network, {**samples.defaults, **noisy, "layer": layer}, np.random.default_rng(3))
        for layer in (struck, "all")
    )
    assert one.variances is not None
    for layer in range(3):
        expected = every if layer == struck else quiet
        assert np.array_equal(one.weights[layer], expected.weights[layer])
        assert one.variances[layer].any() == (layer == struck)
    assert not np.array_equal(one.weights[struck], quiet.weights[struck])


def test_noise_of_g_mem_is_larger_than_of_the_weight_and_read_noise_moves_solutions(
    model: Path, tmp_path: Path
) -> None:
    axes = {"relative_to": ["weight", "memory"], "read_noise": [0.0, 0.1], "method": ["ode", "sde"]}
    run_study(study_of(_said(model, axes=axes, metrics=["wander"], trajectories=400), tmp_path), tmp_path / "a")
    found = open_study(tmp_path / "a")
    assert found.table("wander", method="ode", read_noise=0.0).tolist() == [0.0, 0.0]
    weight, memory = found.table("wander", method="ode", read_noise=0.1)
    assert 0.0 < weight < memory
    assert np.all(found.table("wander", method="sde") > found.table("wander", method="ode"))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"metrics": ["beauty"]}, "unknown metric 'beauty'; choose from kl_2d"),
        ({"metrics": []}, "metrics are a list of different names"),
        ({"metrics": ["path_x"], "until": {"relative": 0.1}}, "'path_x' is a series"),
        ({"measure": "magic"}, "unknown measure 'magic'; choose from samples"),
        ({"axes": {}}, "axes are names"),
        ({"axes": {"write_noise": []}}, "axes are names"),
        ({"axes": {"gate": [1.0]}}, "nothing is called 'gate'; there are write_noise"),
        ({"axes": {"write_noise": [-0.1]}}, "write_noise is a fraction >= 0, not -0.1"),
        ({"fixed": {"relative_to": "me"}}, "relative_to is weight or memory, not 'me'"),
        ({"fixed": {"steps": 7}}, "divides 200"),
        ({"axes": {"write_noise": [0.1, 0.1]}}, "a value twice"),
        ({"axes": {"steps": [20]}}, "an axis and fixed too"),
        ({"seeds": {"least": 0}}, "least is a whole number of at least 1"),
        ({"until": {"relativ": 0.1}}, "unknown entry 'relativ'"),
        ({"until": {"relative": "0.1"}}, "relative is a number of at least 0"),
        ({"model": "nowhere.npz"}, "neither a recipe (hardware, quick, paper, paper-short) nor a file"),
        ({"model": ""}, "samples need a network"),
        ({"model": "quick"}, "there is no folder for trained networks"),
        ({"sead": 1}, "unknown entry 'sead'"),
    ],
)
def test_wrong_files_say_what_is_allowed(model: Path, tmp_path: Path, changes: dict[str, object], text: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(_said(model, **changes)), encoding="utf-8")
    with pytest.raises(StudyError) as error:
        load_study(path)
    assert text in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_damaged_point_is_measured_again(model: Path, tmp_path: Path) -> None:
    study = study_of(_said(model), tmp_path)
    before = run_study(study, tmp_path / "a").read_bytes()
    key = study.key(study.points[2])
    (tmp_path / "a" / "points" / f"{key}.json").write_text('{"rows": [["0x1.8p', encoding="utf-8")
    assert PointStore(tmp_path / "a").read(key) is None
    assert run_study(study, tmp_path / "a").read_bytes() == before


def test_killed_twice_a_study_ends_as_an_undisturbed_one(
    model: Path, tmp_path: Path, children: list[subprocess.Popen[str]]
) -> None:
    sys.path.insert(0, str(HERE))
    try:
        from study_child import study
    finally:
        sys.path.remove(str(HERE))
    asked = study(model, 60)
    undisturbed = run_study(asked, tmp_path / "whole")
    rng = np.random.default_rng(1)
    kept = 0
    for _ in range(2):
        child = subprocess.Popen(
            [sys.executable, str(HERE / "study_child.py"), str(model), str(tmp_path / "cut"), "60"],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        children.append(child)
        assert child.stdout is not None
        stop = kept + int(rng.integers(1, 20))
        for line in child.stdout:
            if int(line) >= stop:
                child.send_signal(signal.SIGKILL)
                break
        child.wait()
        now = len(list((tmp_path / "cut" / "points").glob("*.json")))
        assert kept < now < 60
        kept = now
    told: list[int] = []
    path = run_study(asked, tmp_path / "cut", told=lambda done, total: told.append(done))
    # Nothing that was stored is measured again.
    assert told == list(range(kept, 61))
    assert path.read_bytes() == undisturbed.read_bytes()
