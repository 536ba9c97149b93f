"""Cells whose laws no algorithm was given: other forms, not other constants. For judging write-verify algorithms."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from instruments.twin.cell import CellArray, fresh
from instruments.twin.laws.gated import CellLaw

Floats = npt.NDArray[np.float64]
Move = Callable[[Floats, float, float, Floats, np.random.Generator], Floats]
"""Conductance (S), volts, gate, the cell's own deviates (3, n), chance: conductance after the pulse."""


def _runaway_set(g: Floats, volts: float, gate: float, z: Floats, rng: np.random.Generator) -> Floats:
    """All or nothing, to the low-resistance state, whatever the gate."""
    goes = rng.random(g.shape) < 1 / (1 + np.exp(-(volts - 1.3 - 0.08 * z[0]) / 0.05))
    return np.where(goes, np.maximum(g, 125e-6 + 8e-6 * rng.standard_normal(g.shape)), g)


def _gradual_reset(g: Floats, volts: float, gate: float, z: Floats, rng: np.random.Generator) -> Floats:
    step = 0.2 * np.exp((volts - 1.1 - 0.08 * z[1]) / 0.12 + 0.25 * rng.standard_normal(g.shape))
    return np.asarray(g - np.maximum(g - 8e-6, 0) * np.minimum(step, 1))


def _small_set(g: Floats, volts: float, gate: float, z: Floats, rng: np.random.Generator) -> Floats:
    """Small steps that hardly depend on the amplitude, up to what the gate allows."""
    ceiling = 125e-6 * np.maximum(gate - 0.6 - 0.03 * z[0], 0)
    step = np.clip((volts - 0.8 - 0.05 * z[1]) / 0.8, 0, 3) * 3e-6 * np.exp(0.4 * rng.standard_normal(g.shape))
    return np.asarray(np.where(g < ceiling, np.minimum(g + step, ceiling), g))


def _deep_reset(g: Floats, volts: float, gate: float, z: Floats, rng: np.random.Generator) -> Floats:
    """Abrupt and deep."""
    share = np.clip(0.6 + 0.2 * rng.standard_normal(g.shape), 0.2, 1)
    return np.asarray(g - (g - 8e-6) * share / (1 + np.exp(-(volts - 1.2 - 0.05 * z[2]) / 0.03)))


def _exponential_set(g: Floats, volts: float, gate: float, z: Floats, rng: np.random.Generator) -> Floats:
    """ln G grows, up to a ceiling that bends with the gate."""
    over = np.maximum(gate - 0.55 - 0.04 * z[0] - 0.03 * rng.standard_normal(g.shape), 0)
    ceiling = 96e-6 * over**1.4
    step = 0.25 * np.exp((volts - 1.5 - 0.1 * z[1]) / 0.14 + 0.25 * rng.standard_normal(g.shape))
    return np.asarray(np.where(g < ceiling, np.minimum(g * np.exp(np.minimum(step, 5)), ceiling), g))


def _exponential_reset(g: Floats, volts: float, gate: float, z: Floats, rng: np.random.Generator) -> Floats:
    step = 0.25 * np.exp((volts - 1.3 - 0.1 * z[2]) / 0.12 + 0.25 * rng.standard_normal(g.shape))
    return np.asarray(np.maximum(g * np.exp(-np.minimum(step, 5)), 5e-6))


def _divided_set(g: Floats, volts: float, gate: float, z: Floats, rng: np.random.Generator) -> Floats:
    """Soft bounds; the gate only divides the voltage."""
    across = volts * np.tanh(max(gate - 0.3, 0) / 0.8)
    step = 20e-6 * np.sinh(np.maximum(across - 0.7 - 0.06 * z[0], 0) / 0.5) * np.exp(0.3 * rng.standard_normal(g.shape))
    return np.asarray(g + np.minimum(step, 160e-6) * np.clip(1 - g / 165e-6, 0, 1) ** 1.5)


def _divided_reset(g: Floats, volts: float, gate: float, z: Floats, rng: np.random.Generator) -> Floats:
    step = 12e-6 * np.sinh(np.maximum(volts - 0.6 - 0.06 * z[1], 0) / 0.4) * np.exp(0.3 * rng.standard_normal(g.shape))
    return np.asarray(g - np.minimum(step, 160e-6) * np.clip(g / 165e-6, 0, 1))


ODD: dict[str, tuple[Move, Move]] = {
    "runaway SET, gradual RESET": (_runaway_set, _gradual_reset),
    "small SETs, abrupt deep RESET": (_small_set, _deep_reset),
    "exponential growth, bent gate law": (_exponential_set, _exponential_reset),
    "soft bounds, gate as a divider": (_divided_set, _divided_reset),
}


@dataclass
class OddCells:
    """Cells that move by a law of `ODD` but relax, and are read, like the twin's."""

    chip: CellArray
    moves: tuple[Move, Move]
    own: Floats

    @classmethod
    def made(cls, name: str, law: CellLaw, number: int, seed: int) -> "OddCells":
        """`number` fresh cells; relaxation, noise and defects as in `law`."""
        chip = CellArray(law, fresh(law, (number,), np.random.default_rng([seed, 9])))
        return cls(chip, ODD[name], np.random.default_rng([seed, 77]).standard_normal((3, number)))

    @property
    def cells(self) -> npt.NDArray[Any]:
        """Their records."""
        return self.chip.cells

    def conductance(self, where: Any, now_ns: int) -> Floats:
        """True conductance, S."""
        return self.chip.conductance(where, now_ns)

    def sense(self, where: Any, now_ns: int, integration: float, rng: np.random.Generator) -> Floats:
        """What a read sees, S."""
        return self.chip.sense(where, now_ns, integration, rng)

    def set_pulse(
        self, where: Any, volts: float, gate: float, width: float, now_ns: int, rng: np.random.Generator
    ) -> None:
        """A SET."""
        self._pulse(0, where, volts, gate, now_ns, rng)

    def reset_pulse(
        self, where: Any, volts: float, gate: float, width: float, now_ns: int, rng: np.random.Generator
    ) -> None:
        """A RESET."""
        self._pulse(1, where, volts, gate, now_ns, rng)

    def _pulse(
        self, polarity: int, where: Any, volts: float, gate: float, now_ns: int, rng: np.random.Generator
    ) -> None:
        law = self.chip.law
        assert isinstance(law, CellLaw)
        c = self.chip.cells[where].copy()
        before = law.conductance(c, now_ns)
        after = self.moves[polarity](before, volts, gate, self.own[:, where], rng)
        after = np.where((c["stuck"] != 0) | (gate <= c["v_t"]), before, after)
        law.relaxation.move(c, before, after, now_ns, rng)
        self.chip.cells[where] = c
