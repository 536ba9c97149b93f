"""A run's header, clock and folder, as the tests of the records need them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.records import InstrumentId, RunHeader, RunWriter


@pytest.fixture
def make_header() -> Callable[..., RunHeader]:
    def make(**changes: Any) -> RunHeader:
        fields: dict[str, Any] = {
            "procedure": "program",
            "world": "simulated",
            "run_id": "run-1",
            "started": "2031-05-07T08:00:00+00:00",
            "rows": 4,
            "cols": 3,
            "seed": 2**100 + 7,
            "command_line": "ohmflow program --pattern moon-star",
            "parameters": {"window": 1e-6, "levels": [1, 2], "deep": {"on": True, "off": None}},
            "station": "station: bench\n",
            "instruments": (InstrumentId("b1500", "GPIB0::17::INSTR", "Agilent Technologies,B1500A,0,A.05"),),
            "packages": {"numpy": "2.4", "h5py": "3.16"},
            "git_commit": "abc123",
            "operator": "Zoë",
            "chip": "chip-7",
        }
        return RunHeader(**fields | changes)

    return make


@pytest.fixture
def now() -> Callable[[], float]:
    """A laboratory clock that gains 1/8 s at each look."""
    ticks: Iterator[int] = iter(range(10**9))
    return lambda: next(ticks) / 8


@pytest.fixture
def make_run(
    tmp_path: Path, make_header: Callable[..., RunHeader], now: Callable[[], float]
) -> Callable[..., RunWriter]:
    def make(folder: str = "run-1", header: RunHeader | None = None, **options: Any) -> RunWriter:
        return RunWriter.create(tmp_path / folder, header or make_header(), now=now, **options)

    return make
