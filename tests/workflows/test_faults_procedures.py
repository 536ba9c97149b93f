"""Characterisations on a faulty twin: each ends completed, or stopped safe with a clear reason, within the limits.

All procedures under all profiles take minutes: `python tests/benchmarks/fault_matrix.py`.
"""

from pathlib import Path

import pytest
from benchmarks.fault_matrix import IN_PROCESS, one


@pytest.mark.parametrize("name", ["noise", "endurance", "iv"])
@pytest.mark.parametrize("profile", IN_PROCESS)
def test_every_profile_ends_completed_or_stopped_safe(tmp_path: Path, name: str, profile: str) -> None:
    ended = one(name, profile, 1, tmp_path, tmp_path / "networks")
    # Rare faults may miss a run as short as this; if none struck, nothing may have gone wrong.
    assert ended.struck or ended.status == "completed"
