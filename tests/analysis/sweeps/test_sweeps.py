"""Studies: what a file may say, what a point is, and that neither kills nor workers change a bit of the result."""

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from analysis.diffusion.hardware import Drive
from analysis.diffusion.model import TrainedModel
from analysis.diffusion.sde import VPSDE, Prior
from analysis.sweeps.engine import batches, run_batch, run_point, run_study
from analysis.sweeps.store import Point, PointStore, read_result
from analysis.sweeps.study import Setting, Study, StudyError, load_study, study_of

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that was never trained: the studies only need numbers."""
    rng = np.random.default_rng(1)
    shapes, scales = ((14, 3), (14, 15), (2, 15)), (2e-5, 4e-5, 4e-5)
    weights = tuple(rng.uniform(-25e-6, 45e-6, s) / scale for s, scale in zip(shapes, scales, strict=True))
    t = 1.0 - (np.arange(200) + 0.5) / 200
    half = 0.5 * VPSDE().beta(t)
    embedding = np.sin(2.0 * np.pi * t[:, None] * rng.standard_normal(14))
    drive = Drive.from_coefficients(half, half / VPSDE().std(t), embedding, Prior(0.642))
    path = tmp_path_factory.mktemp("model") / "network.npz"
    TrainedModel("test", 0, weights, scales, drive).save(path)
    return path


def _said(network: Path, **changes: object) -> dict[str, object]:
    return {
        "name": "small", "model": str(network), "metric": "kl_2d", "trajectories": 60,
        "fixed": {"steps": 20}, "axes": {"write_memory": [0.0, 0.05], "read_weight": [0.0, 0.1, 0.2]},
    } | changes  # fmt: skip


def test_result_has_the_grid_s_coordinates_and_every_seed(model: Path, tmp_path: Path) -> None:
    study = study_of(_said(model, seeds={"least": 3, "most": 3}), tmp_path)
    told: list[tuple[int, int]] = []
    path = run_study(study, tmp_path / "a", told=lambda done, total: told.append((done, total)))
    found = read_result(path)
    assert told == [(k, 6) for k in range(7)]
    assert found["kl_2d"].shape == (2, 3)
    assert np.array_equal(found["read_weight"], [0.0, 0.1, 0.2])
    assert found["values"].shape == (2, 3, 3)
    assert np.array_equal(found["kl_2d"], found["values"].mean(axis=2))
    assert np.all((found["low"] < found["kl_2d"]) & (found["kl_2d"] < found["high"]))
    with h5py.File(path) as file:
        assert [dim[0].name for dim in file["kl_2d"].dims] == ["/write_memory", "/read_weight"]


def test_points_of_a_smaller_grid_are_found_again(model: Path, tmp_path: Path) -> None:
    run_study(study_of(_said(model), tmp_path), tmp_path / "a")
    axes = {"write_memory": [0.0, 0.02, 0.05], "read_weight": [0.0, 0.1, 0.2]}
    larger = study_of(_said(model, axes=axes), tmp_path)
    told: list[int] = []
    grown = run_study(larger, tmp_path / "a", told=lambda done, total: told.append(done))
    assert told == [6, 7, 8, 9]
    fresh = run_study(larger, tmp_path / "b")
    assert grown.read_bytes() == fresh.read_bytes()


def test_points_may_come_back_in_any_order(model: Path, tmp_path: Path) -> None:
    study = study_of(_said(model), tmp_path)

    def backwards(study: Study, settings: Sequence[Setting]) -> Iterator[tuple[int, Point]]:
        for batch in reversed(batches(study, settings, 1)):
            yield from zip(batch, run_batch(study, [settings[place] for place in batch]), strict=True)

    alone = run_study(study, tmp_path / "a")
    assert run_study(study, tmp_path / "b", spread=backwards).read_bytes() == alone.read_bytes()
    assert sorted(itertools.chain(*batches(study, study.points, 1))) == list(range(6))


def test_seeds_are_added_until_the_interval_is_narrow(model: Path, tmp_path: Path) -> None:
    study = study_of(_said(model, seeds={"least": 2, "most": 40}, until={"relative": 0.3}), tmp_path)
    noisy = {**study.points[0], "write_memory": 0.3}
    point = run_point(study, noisy)
    assert 2 <= len(point.values) <= 40
    values = np.array(point.values)
    assert point.narrow
    assert (
        len(values) == 2
        or not run_point(
            study_of(_said(model, seeds={"least": 2, "most": 2}, until={"relative": 1e-9}), tmp_path), noisy
        ).narrow
    )
    capped = study_of(_said(model, seeds={"least": 2, "most": 3}, until={"relative": 1e-9}), tmp_path)
    assert len(run_point(capped, noisy).values) == 3


def test_budget_lowers_the_seeds_and_refuses_what_never_fits(model: Path, tmp_path: Path) -> None:
    once = 6 * 20 * 60
    changes = {"seeds": {"least": 2, "most": 100}, "until": {"relative": 0.01}}
    assert study_of(_said(model, budget=once * 7.5, **changes), tmp_path).most == 7
    with pytest.raises(StudyError, match="raise it, or take fewer points"):
        study_of(_said(model, budget=once * 1.5, **changes), tmp_path)


def test_noise_on_one_layer_spares_the_others(model: Path, tmp_path: Path) -> None:
    """More noise is worse, and noise on all layers is worse than on the first alone."""
    axes = {"write_memory": [0.0, 0.3], "layer": ["all", 0]}
    study = study_of(_said(model, axes=axes, metric="radius_mean", seeds={"least": 12, "most": 12}), tmp_path)
    found = read_result(run_study(study, tmp_path / "a"))
    spread = found["values"].std(axis=2)
    assert np.allclose(found["values"][0, 0].mean(), found["values"][0, 1].mean(), rtol=0.2)
    assert spread[1, 0] > spread[0, 0]
    assert spread[1, 1] > spread[0, 1]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"metric": "beauty"}, "unknown metric 'beauty'; choose from kl_2d"),
        ({"axes": {}}, "axes are names"),
        ({"axes": {"write_memory": []}}, "axes are names"),
        ({"axes": {"gate": [1.0]}}, "nothing is called 'gate'"),
        ({"axes": {"write_memory": [-0.1]}}, "write_memory is a fraction >= 0, not -0.1"),
        ({"fixed": {"steps": 7}}, "divides 200"),
        ({"axes": {"write_memory": [0.1, 0.1]}}, "a value twice"),
        ({"axes": {"steps": [20]}}, "an axis and fixed too"),
        ({"seeds": {"least": 0}}, "least is a whole number of at least 1"),
        ({"until": {"relativ": 0.1}}, "unknown entry 'relativ'"),
        ({"until": {"relative": "0.1"}}, "relative is a number of at least 0"),
        ({"model": "nowhere.npz"}, "is not there"),
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


def test_damaged_point_is_measured_again(model: Path, tmp_path: Path) -> None:
    study = study_of(_said(model), tmp_path)
    before = run_study(study, tmp_path / "a").read_bytes()
    key = study.key(study.points[2])
    (tmp_path / "a" / "points" / f"{key}.json").write_text('{"values": ["0x1.8p', encoding="utf-8")
    assert PointStore(tmp_path / "a").read(key) is None
    assert run_study(study, tmp_path / "a").read_bytes() == before


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for child in started:
        if child.poll() is None:
            child.kill()
        child.communicate()


@pytest.mark.parametrize(("workers", "kills"), [(1, 2), (2, 1)])
def test_killed_study_ends_as_an_undisturbed_one(
    model: Path, tmp_path: Path, workers: int, kills: int, children: list[subprocess.Popen[str]]
) -> None:
    sys.path.insert(0, str(HERE))
    try:
        from study_child import study
    finally:
        sys.path.remove(str(HERE))
    asked = study(model, 60)
    undisturbed = run_study(asked, tmp_path / "whole")
    rng = np.random.default_rng(workers)
    kept = 0
    for _ in range(kills):
        child = subprocess.Popen(
            [sys.executable, str(HERE / "study_child.py"), str(model), str(tmp_path / "cut"), "60", str(workers)],
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
