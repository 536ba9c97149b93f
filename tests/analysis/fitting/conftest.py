"""One characterised chip and its fit, shared by the tests that look at them."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from benchmarks.fit_chips import Laboratory, Protocol, characterise

from analysis.fitting.estimate import Fit, fit
from analysis.fitting.model import Effort
from analysis.fitting.observations import observe
from instruments.twin.bench import load_law
from instruments.twin.cell import CellLaw

SHORT = Protocol(gate_repeats=2, ladders=2, noise_slow=40, noise_fast=40, rest_to=1e4)
EFFORT = Effort(burn=150, keep=400, cells=44)


class Fitted(NamedTuple):
    """A chip of a known law, its laboratory and events, and the fit."""

    law: CellLaw
    lab: Laboratory
    table: dict[str, Any]
    fit: Fit


@pytest.fixture(scope="session")
def fitted() -> Fitted:
    rng = np.random.default_rng(2)
    law = replace(
        load_law("cmo-hfox", Path(".")), k_g=112e-6, v_t=0.64, v_s=1.42, v_r=1.18, v0=0.075, c2c=0.025, g_min=9.5e-6,
        relax_b=0.055e-6, read_sigma=0.035e-6, rtn_share=0.25, stuck_on=0.0, stuck_off=0.0,
    )  # fmt: skip
    lab = Laboratory(law, 56, rng)
    for cell, (stuck, level) in {5: (1, 170e-6), 17: (-1, 2e-6)}.items():
        lab.cells["stuck"][cell], lab.cells["g"][cell] = stuck, level
    table = characterise(lab, SHORT)
    return Fitted(law, lab, table, fit(observe([table], chip="chip-7", runs=("run-1",)), {}, rng, effort=EFFORT))
