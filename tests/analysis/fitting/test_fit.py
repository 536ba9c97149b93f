"""A fit finds what made the chip, says how sure it is, and says what it was not told."""

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from benchmarks.fit_chips import Laboratory, Protocol, characterise, true_law

from analysis.errors import AnalysisError
from analysis.fitting.constants import BY_NAME, complete
from analysis.fitting.estimate import fit
from analysis.fitting.model import LATENT, Effort
from analysis.fitting.observations import observe
from instruments.twin.cell import CellLaw

TOLD = (
    "k_g", "k_g_spread", "v_t", "v_t_spread", "v_s", "v_s_spread", "v_r", "v_r_spread", "v0", "c2c", "reset_sigma",
    "g_min", "g_min_spread", "g_max", "relax_a", "relax_b", "relax_c", "read_sigma", "rtn_share", "rtn_amplitude",
)  # fmt: skip


def test_the_constants_are_those_of_the_law_with_its_defaults() -> None:
    assert {f.name for f in fields(CellLaw)} - {"formed"} == set(BY_NAME)
    assert {name: c.usual for name, c in BY_NAME.items()} == pytest.approx({n: getattr(CellLaw(), n) for n in BY_NAME})


@pytest.mark.parametrize("name", TOLD)
def test_intervals_reach_the_truth(fitted: Any, name: str) -> None:
    # 95 % intervals: the truth lies within twice their half width but for one in ten thousand.
    e, true = fitted.fit.estimates[name], getattr(fitted.law, name)
    assert e.informed
    assert e.low < e.value < e.high
    assert abs(true - (e.low + e.high) / 2) < 2 * (e.high - e.low) / 2


def test_most_intervals_hold_the_truth(fitted: Any) -> None:
    # Binomial(20, 0.95): 16 or more with probability 0.997.
    held = [e.low <= getattr(fitted.law, e.name) <= e.high for e in map(fitted.fit.estimates.get, TOLD)]
    assert sum(held) >= 16


def test_intervals_are_not_trivially_wide(fitted: Any) -> None:
    for name, most in {
        "k_g": 0.03,
        "v_t": 0.05,
        "v_s": 0.04,
        "v_r": 0.04,
        "v0": 0.08,
        "c2c": 0.15,
        "read_sigma": 0.05,
    }.items():
        e = fitted.fit.estimates[name]
        assert (e.high - e.low) / 2 < most * e.value, name


def test_cells_are_known_one_by_one(fitted: Any) -> None:
    draws, cells = fitted.fit.pulses, fitted.lab.cells
    for i, name in enumerate(LATENT):
        true, scale = cells[name][draws.cells], draws.cell_sd[:, i]
        # Of normal deviates one in 16,000 passes 4; a short chain tells a standard deviation only roughly.
        assert np.mean(np.abs(draws.cell_mean[:, i] - true) < 4 * scale) > 0.95, name
    assert np.corrcoef(draws.cell_mean[:, LATENT.index("v_s")], cells["v_s"][draws.cells])[0, 1] > 0.95


def test_stuck_and_noisy_cells_are_recognised(fitted: Any) -> None:
    assert np.flatnonzero(fitted.fit.stuck).tolist() == [5, 17]
    assert fitted.fit.estimates["stuck_on"].value == pytest.approx(1 / 56)
    trap = fitted.lab.cells["rtn"] > 0.008
    quiet = fitted.lab.cells["rtn"] == 0
    posterior = fitted.fit.noise.reads.telegraph
    assert np.mean(posterior[trap & (fitted.lab.cells["stuck"] == 0)] > 0.5) > 0.7
    assert np.mean(posterior[quiet] > 0.5) < 0.1


def test_what_no_run_tells_stays_as_it_was() -> None:
    rng = np.random.default_rng(4)
    lab = Laboratory(true_law(rng), 24, rng)
    p = Protocol(gates=(1.0, 1.2), gate_repeats=2, ladders=1, top_gate=1.3, noise_slow=0, noise_fast=0, rest_to=0)
    found = fit(observe([characterise(lab, p)]), {"g_max": 2e-4, "relax_b": 5e-8}, rng, effort=Effort(30, 40, 24))
    for name in ("g_max", "relax_b", "relax_c", "read_sigma", "rtn_share", "v_form", "read_window"):
        e = found.estimates[name]
        assert not e.informed
        assert e.low == e.value == e.high == complete({"g_max": 2e-4, "relax_b": 5e-8})[name]
        assert e.remark
    assert found.estimates["v_s"].informed


def test_one_seed_one_result() -> None:
    rng = np.random.default_rng(6)
    table = characterise(
        Laboratory(true_law(rng), 16, rng), Protocol(gate_repeats=1, ladders=1, noise_slow=20, noise_fast=0, rest_to=0)
    )
    one, two = (
        fit(observe([table]), {}, np.random.default_rng(1), effort=Effort(20, 30, 16)).values() for _ in range(2)
    )
    assert one == two


def test_too_little_is_refused_or_left_alone() -> None:
    rng = np.random.default_rng(6)
    lab = Laboratory(true_law(rng), 3, rng)
    found = fit(observe([characterise(lab, Protocol(noise_slow=20, noise_fast=20))]), {}, rng)
    assert not any(e.informed for e in found.estimates.values())
    with pytest.raises(AnalysisError, match="no device constant"):
        fit(observe([characterise(lab)]), {"k_gate": 1.0}, rng)
