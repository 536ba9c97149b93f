"""What programming and a sample cost in time and energy: as run, as a projection, and against computing it digitally.

Nothing is measured here. Events of a run file, times, powers and the digital baseline (`analysis.baseline`) come in;
joules, seconds and ratios go out. Three worlds are kept apart:

* what ran: `programming_cost` and `board_sample`;
* what an integrated design could do: `analysis.projection`, where every assumption is a field with a range;
* what the publication claims: `analysis.claims`, which nothing mixes with the other two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.diffusion.hardware import LAYER_SHAPES
from analysis.errors import AnalysisError
from analysis.programming import Cost
from analysis.records import RunFile
from analysis.records.layout import EVENT_KINDS

How = Literal["measured", "simulated", "estimated", "projected"]


@dataclass(frozen=True)
class Energy:
    """Joules of one sample, whether they were measured, a short label, and from what."""

    joules: float
    how: How
    label: str
    source: str = ""


@dataclass(frozen=True)
class Entry:
    """One way of drawing a sample.

    Attributes:
        name: what is shown.
        how: where the time is from.
        seconds: time a sample; the latency where `batch` is 1, the share of a sample in a batch otherwise.
        energies: one or several accounts of its energy.
        batch: samples drawn at once.
        equal_quality: whether its samples are as good as the analog ones (KL2 on as many points).
    """

    name: str
    how: How
    seconds: float
    energies: tuple[Energy, ...]
    batch: int = 1
    equal_quality: bool = True


# --- programming ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ProgrammingCost:
    """A run's events added up by kind: (kind, cost). `span` is first start to last end on the laboratory's clock, s.

    Energies are those that the run file holds: V^2 G t in the cells, without the instruments' own supplies.
    """

    by_kind: tuple[tuple[str, Cost], ...]
    span: float

    @property
    def energy(self) -> float:
        """Joules in the cells, all kinds."""
        return sum(cost.energy for _, cost in self.by_kind)

    @property
    def busy(self) -> float:
        """Seconds of all events; the rest of `span` is waiting."""
        return sum(cost.seconds for _, cost in self.by_kind)

    def share(self, samples: float) -> float:
        """Joules of programming that each of `samples` samples carries."""
        if samples <= 0:
            raise AnalysisError(f"programming can't be shared by {samples} samples")
        return self.energy / samples


def programming_cost(run: RunFile) -> ProgrammingCost:
    """Add up the run's events by kind; kinds that did not occur are left out, an unknown duration or energy is 0."""
    events = run.events
    kind, time = np.asarray(events["kind"]), np.asarray(events["time"])
    energy, duration = np.nan_to_num(events["energy"]), np.nan_to_num(events["duration"])
    by_kind = tuple(
        (name, Cost(int(here.sum()), float(energy[here].sum()), float(duration[here].sum())))
        for code, name in enumerate(EVENT_KINDS)
        if (here := kind == code).any()
    )
    span = float((time + duration).max() - time.min()) if time.size else 0.0
    return ProgrammingCost(by_kind, span)


def break_even(programming: float, ours: float, other: float) -> float:
    """Samples after which `programming` J are paid back, at `ours` instead of `other` J a sample; inf if never."""
    return programming / (other - ours) if other > ours else float("inf")


# --- the board as run -------------------------------------------------------------------------------------------------


def amplifier_count(channels: int = 18) -> Mapping[str, int]:
    """Count the operational amplifiers by role, from the network's structure (the schematic is unpublished).

    Every array line has its clamp's buffer, every neuron a TIA and an inverter, every layer its shared negative
    weight, every coordinate a summing and an inverting amplifier and an integrator, every converter channel a buffer.
    """
    neurons = sum(rows for rows, _ in LAYER_SHAPES)
    return {
        "clamp": sum(columns - 1 for _, columns in LAYER_SHAPES),
        "tia": neurons,
        "inverter": neurons,
        "negative": len(LAYER_SHAPES),
        "loop": 3 * LAYER_SHAPES[-1][0],
        "buffer": channels,
    }


@dataclass(frozen=True)
class BoardBudget:
    """Supply power of the board, W, at its terminals; typical data sheet values.

    Sources: parts from the paper's Methods. OPAx171 475 uA an amplifier (TI SBOS516); AD633 4 mA (Analog Devices);
    MAX5742 0.28 mA (Maxim), 18 channels in five chips; STM32F407 about 90 mA at 3.3 V and 168 MHz (ST data sheet,
    peripherals on); supplies of +-12 V are chosen: the paper gives none.
    """

    supply_span: float = 24.0
    amplifiers: int = sum(amplifier_count().values())
    amplifier_current: float = 475e-6
    multipliers: int = 4
    multiplier_current: float = 4e-3
    converters: int = 5
    converter_current: float = 0.28e-3
    converter_supply: float = 5.0
    controller_power: float = 0.3

    def parts(self) -> dict[str, float]:
        """Power of each kind of part, W."""
        return {
            "amplifiers": self.amplifiers * self.amplifier_current * self.supply_span,
            "multipliers": self.multipliers * self.multiplier_current * self.supply_span,
            "converters": self.converters * self.converter_current * self.converter_supply,
            "controller": self.controller_power,
        }

    @property
    def power(self) -> float:
        """All of it, W; the arrays' V^2 G comes out of the amplifiers' supply and is added by `board_sample`."""
        return sum(self.parts().values())


def board_sample(
    run: float, setup: float, array_power: float, *, how: How = "measured", budget: BoardBudget | None = None
) -> Entry:
    """Return the cost of a sample on the board as run.

    Args:
        run: s, from Go to the reading.
        setup: s of serial traffic before Go; the board is on meanwhile.
        array_power: W in the cells and the fixed conductances during the run.
        how: "simulated" where the run is a twin's.
        budget: of the rest.
    """
    budget = budget or BoardBudget()
    joules = budget.power * (run + setup) + array_power * run
    source = f"data sheet currents, {budget.power:.3g} W for {run + setup:.4g} s"
    return Entry("board, as run", how, run + setup, (Energy(joules, "estimated", "supply power", source),))


# --- comparison -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ratio:
    """How many times `ours` is faster than `baseline`, and cheaper by each account of its energy; below 1: it loses."""

    ours: str
    baseline: str
    speed: float
    energies: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Comparison:
    """Our entries against digital ones of equal quality; nothing of the paper's.

    `beaten` names those of ours that some digital sampler of one sample at a time outruns.
    """

    ours: tuple[Entry, ...]
    baselines: tuple[Entry, ...]
    ratios: tuple[Ratio, ...]
    beaten: tuple[str, ...]
    verdict: str


def compare(ours: Sequence[Entry], baselines: Sequence[Entry]) -> Comparison:
    """Compare; baselines of lower quality are left out.

    Raises:
        AnalysisError: no baseline draws one sample at a time at equal quality.
    """
    equal = [b for b in baselines if b.equal_quality]
    single = [b for b in equal if b.batch == 1]
    if not single:
        raise AnalysisError("no digital baseline reaches the quality with one sample at a time: nothing to compare to")
    ratios = [
        Ratio(o.name, b.name, b.seconds / o.seconds, tuple((e.label, e.joules / cost) for e in b.energies))
        for o, cost in ((o, o.energies[0].joules) for o in ours)
        for b in equal
    ]
    best, batched = (min(group, key=lambda b: b.seconds) for group in (single, equal))
    text = [
        f"One sample at a time, the fastest digital baseline of equal quality is {best.name}: {si(best.seconds, 's')} "
        f"a sample; in batches {batched.name}: {si(batched.seconds, 's')}."
    ]
    for o in ours:
        speed, cost = best.seconds / o.seconds, o.energies[0].joules
        line = f"{o.name} ({o.how}): {si(o.seconds, 's')}, "
        line += f"{1 / speed:.3g} times slower than that baseline" if speed < 1 else f"{speed:.3g} times faster"
        line += f"; {si(cost, 'J')}."
        for e in best.energies:
            line += f" The baseline's {si(e.joules, 'J')} ({e.label}, {e.how}) are {e.joules / cost:.3g} times that."
        text.append(line)
    beaten = tuple(o.name for o in ours if best.seconds < o.seconds)
    if any(o.how == "projected" and o.name in beaten for o in ours):
        text.append(f"On speed an ordinary processor ({best.name}) beats the projection.")
    return Comparison(tuple(ours), tuple(equal), tuple(ratios), beaten, "\n".join(text))


def si(value: float, unit: str) -> str:
    """Return the value with an SI prefix and three digits, as in "20 us"."""
    if value == 0.0 or not np.isfinite(value):
        return f"{value:g} {unit}"
    power = int(np.clip(np.floor(np.log10(abs(value) * (1 + 1e-9)) / 3), -5, 2))
    return f"{value / 10.0 ** (3 * power):.3g} {'fpnum kM'[power + 5].strip()}{unit}"
