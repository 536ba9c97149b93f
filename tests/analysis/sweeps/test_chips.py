"""What studies measure on simulated chips: cells end within their range, noise grows with time, networks age."""

from pathlib import Path

import numpy as np
import pytest

from analysis.diffusion.model import TrainedModel
from analysis.sweeps.measurement import Value
from workflows.procedures import studied_chips
from workflows.procedures.studied_chips import Ageing, Reading, Writing


def test_write_noise_is_what_the_target_range_leaves() -> None:
    measure = Writing()
    setting: dict[str, Value] = {**measure.defaults, "target": 60e-6, "window": 2e-6}
    names = list(measure.outputs)
    found = measure.measure(None, names, setting, 1, np.random.default_rng(1))
    error, trace = np.asarray(found["error"]), np.asarray(found["trace"])
    good = error[np.isfinite(error)]
    assert len(good) == found["inside"] * len(error) >= 28
    # The verify read was within +-2 uS, the one after it has its own noise and some relaxation.
    assert np.mean(np.abs(good) <= 2.2e-6) >= 0.9
    assert 0.3e-6 < float(found["sigma"]) < 2e-6
    assert found["sigma_of_weight"] == pytest.approx(6 * float(found["sigma_of_memory"]))
    assert abs(trace[np.isfinite(trace)][-1] - 60e-6) <= 2e-6
    again = measure.measure(None, names, setting, 1, np.random.default_rng(1))
    assert all(np.array_equal(found[name], again[name], equal_nan=True) for name in names)
    narrow = measure.measure(None, ["sigma", "pulses_mean"], {**setting, "window": 5e-7}, 1, np.random.default_rng(1))
    assert narrow["sigma"] < found["sigma"]
    assert narrow["pulses_mean"] > found["pulses_mean"]


def test_read_noise_varies_with_the_mean_conductance() -> None:
    """As the paper's Fig. 5c has it; medians, as a cell in six has telegraph noise on top."""
    measure = Reading()
    sigmas = []
    for target in (22e-6, 98e-6):
        setting: dict[str, Value] = {**measure.defaults, "target": target, "period": 1.0}
        found = [
            measure.measure(None, ["sigma", "mean", "conductance"], setting, 1, np.random.default_rng(k))
            for k in range(3)
        ]
        assert all(abs(float(one["mean"]) - target) < 2e-6 for one in found)
        assert all(np.std(one["conductance"], ddof=1) == pytest.approx(one["sigma"]) for one in found)
        sigmas.append(float(np.median([one["sigma"] for one in found])))
    assert 2e-8 < 1.1 * sigmas[0] < sigmas[1] < 1e-6


def test_a_network_on_a_chip_ages_and_is_mended(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studied_chips, "AGES", (1e7,))
    monkeypatch.setattr(studied_chips, "_PASSES", 1)
    measure = Ageing()
    names = ["kl_2d", "inside", "inside_again", "sigma", "sigma_again", "pulses", "pulses_again"]
    network = TrainedModel.load(model)
    found = measure.measure(network, names, measure.defaults, 300, np.random.default_rng(2))
    assert found["pulses"] > 282
    assert 0 < found["pulses_again"] < found["pulses"]
    (inside,), (again,) = np.asarray(found["inside"]), np.asarray(found["inside_again"])
    (sigma,), (sigma_again,) = np.asarray(found["sigma"]), np.asarray(found["sigma_again"])
    # What has relaxed once relaxes less the second time: only cells that were mended begin anew.
    assert 0.6 < inside < again <= 1.0
    assert 0.2e-6 < sigma_again < sigma < 1.5e-6
    assert np.isfinite(np.asarray(found["kl_2d"])).all()
