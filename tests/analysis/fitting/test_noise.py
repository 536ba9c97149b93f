"""Read noise is found behind telegraphs of any size, and its interval is as wide as the number of reads makes it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.fit_chips import FAST, PLC, Laboratory

from analysis.fitting.constants import complete
from analysis.fitting.noise import fit_noise
from analysis.fitting.observations import observe
from instruments.twin.bench import load_law

READS, CELLS = 32, 60


@pytest.mark.parametrize("amplitude", [0.004, 0.03])
def test_read_noise_is_told_from_telegraphs(amplitude: float) -> None:
    rng = np.random.default_rng(12)
    law = replace(
        load_law("cmo-hfox", Path(".")),
        rtn_share=0.3,
        rtn_amplitude=amplitude,
        read_sigma=0.035e-6,
        stuck_on=0.0,
        stuck_off=0.0,
    )
    lab = Laboratory(law, CELLS, rng)
    lab.pulse("set", 2.4, 1.2)
    lab.read()
    lab.wait(60.0)
    for integration in (PLC, FAST):
        for _ in range(READS):
            lab.read(integration)
    draws = fit_noise(observe([lab.table()]).noise, CELLS, complete({}), rng)
    assert draws.read_sigma is not None
    low, high = np.quantile(draws.read_sigma, [0.025, 0.975])
    # The standard deviation of n normals is known to 1/sqrt(2n); cells with a trap tell it less well.
    half = 1.96 / np.sqrt(2 * CELLS * 2 * (READS - 1))
    assert 0.9 * half < (high - low) / 2 / law.read_sigma < 2 * half
    assert abs(law.read_sigma - (low + high) / 2) < 2 * (high - low) / 2
