"""One seed, one file: comparing runs to the last bit."""

from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.records import RunHeader, RunWriter, layout, same_data


@pytest.fixture
def program(tmp_path: Path, make_header: Callable[..., RunHeader]) -> Callable[..., Path]:
    def run(name: str, seed: int = 1, **changes: object) -> Path:
        ticks: Iterator[int] = iter(range(10**6))
        rng = np.random.default_rng(seed)
        header = make_header(
            run_id=name, started=f"day {name}", command_line=f"program {name}", paths={"bench": name}, **changes
        )
        folder = tmp_path / name
        with RunWriter.create(
            folder, header, now=lambda: next(ticks) / 8, wall=lambda: f"end {name}", durable=False
        ) as writer:
            writer.map("conductance_target", np.full((4, 3), 5e-5))
            for row, col in np.ndindex(4, 3):
                for _ in range(200):
                    writer.result(writer.intent("set", row, col, amplitude=rng.normal()), energy=1e-9)
                    writer.event("read", row, col, conductance=rng.normal())
                writer.cell(row, col, "ok")
            writer.note("done")
        return folder / layout.FINAL

    return run


def test_same_seed_same_file(program: Callable[..., Path]) -> None:
    one, other = program("a"), program("b")
    assert same_data(one, other) == []
    with h5py.File(one) as first, h5py.File(other) as second:
        for name in layout.VOLATILE:
            assert name in first
            assert np.any(first[name][()] != second[name][()])


def test_another_seed_is_told(program: Callable[..., Path]) -> None:
    differences = same_data(program("a", 1), program("b", 2))
    told = {line.split(":")[0] for line in differences}
    assert told == {
        "/entry/events/amplitude",
        "/entry/events/conductance",
        "/entry/cells/conductance",
        "/entry/conductance_after/conductance",
        "/entry/conductance_error/conductance",
    }
    assert any(line.startswith("/entry/events/amplitude: 2400 of 4800 values differ") for line in differences)


def test_other_parameters_and_worlds_are_told(program: Callable[..., Path]) -> None:
    one = program("a")
    assert [line.split(":")[0] for line in same_data(one, program("b", operator="Ada"))] == [
        "/entry/provenance/operator"
    ]
    assert "/@world: 1 of 1 values differ, first 'simulated' against 'real'" in [
        line.replace("np.str_(", "").replace(")", "") for line in same_data(one, program("c", world="real"))
    ]


def test_the_last_bit_and_a_missing_part_count(program: Callable[..., Path]) -> None:
    one, other = program("a"), program("b")
    with h5py.File(other, "r+") as file:
        energies = file["entry/events/energy"]
        energies[0] = np.nextafter(energies[0], 1)
        del file["entry/notes"]
        file["entry"]["extra"] = 1
        file["entry/events/time"].attrs["units"] = "ms"
    assert [line.split(":")[0] for line in same_data(one, other)] == [
        "/entry/events/energy",
        "/entry/events/time@units",
        "/entry/extra",
        "/entry/notes",
    ]


def test_what_cannot_be_compared_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="can't compare"):
        same_data(tmp_path / "a", tmp_path / "b")
