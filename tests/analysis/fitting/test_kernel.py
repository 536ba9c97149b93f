"""The likelihood of a pulse is the density of what the physics does: it adds up to one and has its shape."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.fitting import kernel
from instruments.twin.bench import load_law
from instruments.twin.cell import CellArray, CellLaw, fresh

LAW = replace(load_law("cmo-hfox", Path(".")), rtn_share=0.0, stuck_on=0.0, stuck_off=0.0)
SHARED = np.array(
    [LAW.v0, LAW.c2c, LAW.reset_sigma, LAW.jump_probability, LAW.jump_sigma * 1e6, LAW.relax_a * 1e6, LAW.relax_b * 1e6]
)
FIRST = np.array([0, 1])


def density(
    is_set: bool,
    after: np.ndarray,
    before: float,
    volts: float,
    gate: float,
    latent: list[float],
    shared: np.ndarray = SHARED,
) -> np.ndarray:
    """Density at each of `after`, per uS."""
    run = kernel.set_likelihood if is_set else kernel.reset_likelihood
    first = np.arange(len(after) + 1)
    obs = np.array(
        [[before, y, volts, gate, 1.0, 0.06, 0.008, 0.008, 0.008, 0.008, 0.0, 0.5, min(before, 8.0)] for y in after]
    )
    out = np.zeros(len(after))
    run(obs, first, np.tile(latent, (len(after), 1)), shared, 0.3, 10.0, out)
    return np.asarray(np.exp(out) - kernel.LEAST)


GRID = np.arange(-40.0, 240.0, 0.02)


@settings(max_examples=15, deadline=None)
@given(before=st.floats(5, 120), volts=st.floats(0.8, 2.5), gate=st.floats(0.8, 2.4), c2c=st.floats(0.015, 0.06))
def test_a_set_leads_somewhere(before: float, volts: float, gate: float, c2c: float) -> None:
    shared = SHARED.copy()
    shared[1] = c2c
    p = density(True, GRID, before, volts, gate, [125.0, 0.6, 1.35, 160.0], shared)
    assert p.sum() * 0.02 == pytest.approx(1.0, abs=0.02)


@settings(max_examples=15, deadline=None)
@given(before=st.floats(12, 150), volts=st.floats(0.7, 2.2), sigma=st.floats(0.08, 0.4), v0=st.floats(0.06, 0.13))
def test_a_reset_leads_somewhere(before: float, volts: float, sigma: float, v0: float) -> None:
    shared = SHARED.copy()
    shared[0], shared[2] = v0, sigma
    p = density(False, GRID, before, volts, 3.0, [1.25, 8.0], shared)
    assert p.sum() * 0.02 == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(("kind", "before", "volts", "gate"), [
    ("set", 10.0, 2.4, 1.1), ("set", 10.0, 1.3, 1.3), ("set", 40.0, 1.2, 1.3), ("set", 20.0, 2.4, 2.3),
    ("set", 60.0, 1.4, 1.08),
    ("reset", 80.0, 2.0, 3.0), ("reset", 80.0, 1.2, 3.0), ("reset", 60.0, 1.0, 3.0), ("reset", 80.0, 1.35, 3.0),
    ("reset", 7.9, 1.5, 3.0),
])  # fmt: skip
def test_the_density_is_that_of_the_physics(kind: str, before: float, volts: float, gate: float) -> None:
    assert departure(LAW, kind, before, volts, gate) < 2.2 / np.sqrt(CYCLES) + 0.012


@pytest.mark.parametrize(("kind", "before", "volts", "gate"), [
    ("set", 9.0, 1.15, 1.3), ("set", 40.0, 1.15, 1.3), ("set", 20.0, 2.4, 2.3), ("set", 150.0, 1.3, 2.3),
    ("reset", 80.0, 2.0, 3.0), ("reset", 60.0, 1.0, 3.0), ("reset", 14.0, 1.2, 3.0),
])  # fmt: skip
def test_jumps_end_where_cells_do(kind: str, before: float, volts: float, gate: float) -> None:
    # Half of the pulses jump: a jump lost at an end of the range, or beyond it, would show as a twentieth or more.
    law = replace(LAW, jump_probability=0.5, jump_sigma=6e-6)
    assert departure(law, kind, before, volts, gate) < 2.2 / np.sqrt(CYCLES) + 0.025


CYCLES = 30_000


def departure(law: CellLaw, kind: str, before: float, volts: float, gate: float) -> float:
    """Kolmogorov distance of simulated reads after a pulse from the kernel's distribution."""
    # Equal cells, so that only one cycle's chance differs. Kolmogorov's 1e-4 quantile is 2.2/sqrt(n); the kernel's own
    # approximations (a read before that is noisy, moments of a step cut off) may add hundredths.
    rng = np.random.default_rng(11)
    law = replace(law, **{f"{n}_spread": 0.0 for n in ("k_g", "v_t", "v_s", "v_r", "v_form", "g_min", "g_max")})
    cells = fresh(law, (CYCLES,), rng)
    # What a read showed before is as far from the truth as its noise.
    noise = (0.0277 * np.log10(before)) ** 2 * np.log(1.02 / 0.04)
    cells["g"] = (before + np.sqrt(noise) * rng.standard_normal(CYCLES)) * 1e-6
    array = CellArray(law, cells)
    drive = array.set_pulse if kind == "set" else array.reset_pulse
    drive(slice(None), volts, gate, 1e-6, 0, rng)
    seen = np.sort(array.sense(slice(None), 60_000_000, 0.02, rng)) * 1e6
    latent = [125.0, 0.6, 1.35, 160.0] if kind == "set" else [1.25, 8.0]
    after = (0.0277 * np.log10(max(float(np.median(seen)), 1.5))) ** 2 * np.log(1.02 / 0.04)
    run = kernel.set_likelihood if kind == "set" else kernel.reset_likelihood
    obs = np.array(
        [[before, y, volts, gate, 1.0, 0.06, noise, after, 1.0, 1.0, 0.0, 0.0, min(before, 8.0)] for y in GRID]
    )
    out = np.zeros(len(GRID))
    shared = SHARED.copy()
    shared[3:5] = law.jump_probability, law.jump_sigma * 1e6
    run(obs, np.arange(len(GRID) + 1), np.tile(latent, (len(GRID), 1)), shared, 0.3, 10.0, out)
    mass = np.exp(out) - kernel.LEAST
    below = np.cumsum(mass) - 0.5 * mass
    empirical = np.searchsorted(seen, GRID, side="right") / len(seen)
    return float(np.max(np.abs(below / mass.sum() - empirical)))
