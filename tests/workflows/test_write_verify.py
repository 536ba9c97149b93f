"""The write-verify algorithm: its promises for any readings, and its statistics on simulated cells."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruments.array import CellArray
from instruments.limits import Limits
from instruments.twin.bench import load_law
from instruments.twin.cell import CellArray as Chip
from instruments.twin.cell import CellLaw, fresh
from workflows.procedures.write_verify import (
    ALGORITHMS,
    IncrementalReversal,
    IncrementalState,
    Pulse,
    Verdict,
    Window,
    WriteVerify,
)

ALGORITHM = IncrementalReversal()
MS = 1_000_000

readings = st.one_of(
    st.floats(0, 200e-6), st.sampled_from([0.0, 20e-6, 49e-6, 51e-6, 160e-6, -1e-9, 1.0, float("nan"), float("inf")])
)


def play(algorithm: WriteVerify, window: Window, seen: list[float]) -> tuple[list[Pulse], Verdict | None, int]:
    """Feed readings to an algorithm: its pulses, its verdict if it came to one, and the pulses it counted."""
    state, pulses = algorithm.start(window), []
    for g in seen:
        state, answer = algorithm.decide(window, state, g)
        if not isinstance(answer, Pulse):
            return pulses, answer, state.pulses
        pulses.append(answer)
    return pulses, None, state.pulses


# Promises


@given(
    st.lists(readings, max_size=150),
    st.floats(10e-6, 120e-6),
    st.integers(1, 130),
    st.builds(
        IncrementalReversal,
        set_stop=st.floats(1.2, 3.0), reset_stop=st.floats(1.0, 3.0), step=st.floats(0.01, 0.5),
        back=st.integers(0, 10), lift_step=st.floats(0.0, 0.3), lift_stop=st.floats(0.0, 1.0),
        idle_limit=st.integers(0, 9),
    ),
)  # fmt: skip
def test_no_readings_drive_it_beyond_its_own_extremes(
    seen: list[float], target: float, budget: int, algorithm: IncrementalReversal
) -> None:
    window = Window(target, budget=budget)
    pulses, verdict, counted = play(algorithm, window, seen)
    strongest = {pulse.kind: pulse for pulse in algorithm.extremes(target, 120e-6)}
    for pulse in pulses:
        bound = strongest[pulse.kind]
        assert algorithm.floor <= pulse.volts <= bound.volts + 1e-6
        assert 0 < pulse.gate <= bound.gate
        assert pulse.width == bound.width
    assert len(pulses) == counted <= budget
    if verdict == "budget":
        assert counted == budget
    if len(seen) > budget:
        assert verdict is not None


@given(st.floats(10e-6, 120e-6), st.floats(0.1e-6, 10e-6), st.floats(0.1, 1), readings)
def test_a_cell_is_done_exactly_when_a_read_lies_within_the_verify_window(
    target: float, tolerance: float, verify: float, g: float
) -> None:
    window = Window(target, tolerance, verify)
    answer = ALGORITHM.decide(window, ALGORITHM.start(window), g)[1]
    inside = abs(g - target) <= verify * tolerance
    assert window.accepts(g) == inside
    assert (answer == "ok") == inside


def test_the_first_pulse_goes_towards_the_target_with_the_gate_of_the_target() -> None:
    window = Window(50e-6)
    for g, kind, volts, gate in ((20e-6, "set", 1.2, 0.6 + 0.4 + 0.05), (90e-6, "reset", 1.0, 3.0)):
        pulse = ALGORITHM.decide(window, ALGORITHM.start(window), g)[1]
        assert pulse == Pulse(kind, volts, pytest.approx(gate), 1e-6)


def test_one_kind_grows_until_it_crosses_and_the_other_starts_two_steps_lower() -> None:
    pulses, _, _ = play(ALGORITHM, Window(50e-6), [20e-6, 25e-6, 30e-6, 60e-6, 58e-6, 44e-6, 46e-6, 55e-6])
    assert [(p.kind, p.volts) for p in pulses] == [
        ("set", 1.2), ("set", 1.25), ("set", 1.3),
        ("reset", 0.9), ("reset", 0.95),  # 1.0 less two steps
        ("set", 1.2), ("set", 1.25),  # 1.3 less two steps
        ("reset", 0.85),  # 0.95 less two steps
    ]  # fmt: skip


def test_reversals_never_fall_below_the_floor() -> None:
    pulses, _, _ = play(ALGORITHM, Window(50e-6), [20e-6, 80e-6] * 40)
    assert min(p.volts for p in pulses) == ALGORITHM.floor
    assert {p.kind for p in pulses[:2]} == {"set", "reset"}


def test_a_set_that_no_longer_moves_the_cell_gets_more_gate() -> None:
    pulses, _, _ = play(ALGORITHM, Window(80e-6), [60e-6] * 20)
    gates = [p.gate for p in pulses]
    strong = [k for k, p in enumerate(pulses) if p.volts >= ALGORITHM.lift_from]
    assert gates[: strong[0]] == [gates[0]] * strong[0]
    assert np.diff(gates[strong[0] - 1 :])[:10] == pytest.approx(ALGORITHM.lift_step)
    assert gates[-1] == pytest.approx(gates[0] + ALGORITHM.lift_stop)


@pytest.mark.parametrize(("g", "most"), [(5e-6, 45), (176e-6, 30)])
def test_a_cell_that_answers_nothing_is_given_up(g: float, most: int) -> None:
    pulses, verdict, _ = play(ALGORITHM, Window(50e-6), [g] * 200)
    assert verdict == "unresponsive"
    assert 20 < len(pulses) < most
    strongest = {p.kind: p for p in ALGORITHM.extremes(50e-6, 50e-6)}[pulses[-1].kind]
    assert pulses[-ALGORITHM.idle_limit :] == [strongest] * ALGORITHM.idle_limit


def test_a_cell_that_jumps_about_is_given_up_when_its_budget_is_spent() -> None:
    pulses, verdict, _ = play(ALGORITHM, Window(50e-6, budget=37), [20e-6, 90e-6] * 40)
    assert (verdict, len(pulses)) == ("budget", 37)


def test_a_late_answer_ends_the_idling() -> None:
    window = Window(50e-6)
    last = IncrementalState(40, ALGORITHM.set_stop, 1.0, ALGORITHM.lift_stop, "set", 5e-6, ALGORITHM.idle_limit)
    assert ALGORITHM.decide(window, last, 5e-6)[1] == "unresponsive"
    state, answer = ALGORITHM.decide(window, last, 9e-6)
    assert isinstance(answer, Pulse)
    assert state.idle == 0


def test_algorithms_are_known_by_name() -> None:
    assert ALGORITHMS["incremental-reversal"] == ALGORITHM
    assert all(name == algorithm.name for name, algorithm in ALGORITHMS.items())


def test_the_standard_extremes_lie_within_the_standard_limits() -> None:
    limits = Limits()
    for pulse in ALGORITHM.extremes(limits.conductance.low, limits.conductance.high):
        CellArray.check_pulse(_Bounded(limits), *pulse)  # type: ignore[arg-type]  # all that it looks at


class _Bounded:
    def __init__(self, limits: Limits) -> None:
        self.limits = limits


# Statistics


def program(
    law: CellLaw, number: int, seed: int, window: Window | None = None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Program fresh cells to 64 levels: pulses, error right afterwards (S), verdicts; 20 ms reads, 30 ms a cycle."""
    rng = np.random.default_rng(seed)
    chip = Chip(law, fresh(law, (number,), rng))
    targets = np.linspace(20e-6, 100e-6, 64)[rng.integers(0, 64, number)]
    counts, errors, verdicts = np.zeros(number), np.zeros(number), []
    now = 0
    for cell in range(number):
        where = slice(cell, cell + 1)
        goal = replace(window or Window(0.0), target=float(targets[cell]))
        state = ALGORITHM.start(goal)
        while True:
            now += 20 * MS
            state, answer = ALGORITHM.decide(goal, state, float(chip.sense(where, now, 0.02, rng)[0]))
            if not isinstance(answer, Pulse):
                break
            now += 10 * MS
            apply = chip.set_pulse if answer.kind == "set" else chip.reset_pulse
            apply(where, answer.volts, answer.gate, answer.width, now, rng)
        counts[cell], errors[cell] = state.pulses, chip.conductance(where, now)[0] - targets[cell]
        verdicts.append(answer)
    healthy = chip.cells["stuck"] == 0
    assert all(v == "unresponsive" for v, ok in zip(verdicts, healthy, strict=True) if not ok)
    return counts[healthy], errors[healthy], [v for v, ok in zip(verdicts, healthy, strict=True) if ok]


def test_ideal_cells_all_arrive() -> None:
    counts, errors, verdicts = program(load_law("ideal", Path(".")), 200, 1)
    assert set(verdicts) == {"ok"}
    assert np.all(np.abs(errors) <= 0.7e-6)
    assert np.mean(counts) <= 10


@pytest.mark.parametrize(("preset", "share"), [("cmo-hfox", 0.98), ("wan2022-hfox", 0.97)])
def test_noisy_cells_arrive_with_few_pulses(preset: str, share: float) -> None:
    counts, errors, verdicts = program(load_law(preset, Path(".")), 400, 5)
    assert verdicts.count("ok") >= 0.99 * len(verdicts)
    assert np.mean(np.abs(errors) <= 1e-6) >= share
    assert np.mean(counts) <= 12
    assert np.percentile(counts, 95) <= 25
    assert abs(np.mean(errors)) < 0.15e-6


def test_a_law_it_was_not_made_for_costs_pulses_but_not_the_result() -> None:
    law = replace(
        load_law("cmo-hfox", Path(".")), k_g=90e-6, v_t=0.7, v_s=1.6, v_r=1.0, v0=0.13, stuck_on=0.0, stuck_off=0.0
    )
    counts, errors, verdicts = program(law, 200, 3)
    assert verdicts.count("ok") >= 0.97 * len(verdicts)
    assert np.mean(np.abs(errors) <= 1e-6) >= 0.95
    assert np.mean(counts) <= 30


def test_stuck_cells_are_named() -> None:
    law = replace(load_law("cmo-hfox", Path(".")), stuck_on=0.5, stuck_off=0.5, rtn_share=0.0)
    counts, _, verdicts = program(law, 20, 2)
    assert len(counts) == len(verdicts) == 0  # the assertion within `program` is what is tested
