"""Stochastic 1T1R TaOx cells, vectorised over an array; knows no instrument and no clock.

The law (every constant is a field of `CellLaw`; presets in `sim_configs/presets/` name their sources):

* SET: the gate bounds the conductance that a pulse can reach, G_c = k_g (V_g - V_t). One pulse moves
  dG = max(G_c - G, 0) f, with f = 1 - exp(-(t_p / 1 us) exp((V - V_s) / v0)) (Merced-Grafals 2016 for the gate's
  role; switching kinetics exponential in voltage).
* RESET: dG = -(G - G_min) f L with the same f around V_r and L lognormal.
* Spread: V_t, V_s, V_r, V_form, G_min, G_max and the gate slope differ from cell to cell; V_t, V_s, V_r jitter from
  cycle to cycle; a rare pulse jumps.
* Relaxation: after a pulse that moved the cell, G drifts by share (c ln(1 + t/1 s) + b z ln(1 + t/t0)), z a normal
  deviate drawn for that move and t0 = exp(-a/b) s, so that the mean is c ln t and sigma(t) = a + b ln t, as aihwkit
  fits CMO/HfOx (a .412, b .042, c -.089 uS). Small moves relax less: share runs from 0.3 to 1 with the move's size.
* Read noise: 1/f noise of standard deviation .0277 log10(G/uS) sqrt(ln((t_w + T)/(2T))) uS (aihwkit's CMO model read
  as an observation window t_w = 1 s seen with integration time T), and in some cells a two-level random telegraph.
* A pristine cell conducts almost nothing until a pulse passes its forming voltage; stuck cells never move.

G is the conductance of the cell with its transistor fully on. Below threshold only `g_leak` remains.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Index = Any  # anything that indexes a (rows, cols) structured array: slices, integer arrays, masks

CELL = np.dtype(
    [
        ("g", "f8"),  # conductance just after the last move, S
        ("drift", "f8"),  # mean relaxation since then, S per ln(1 + t/1 s)
        ("spread", "f8"),  # random relaxation since then, S per ln(1 + t/t0)
        ("moved_ns", "i8"),  # instant of the last move
        ("v_t", "f8"),
        ("v_s", "f8"),
        ("v_r", "f8"),
        ("v_form", "f8"),
        ("k_g", "f8"),
        ("g_min", "f8"),
        ("g_max", "f8"),
        ("rtn", "f8"),  # telegraph step, peak to peak, as a fraction of G; 0 in quiet cells
        ("rtn_tau", "f8"),  # mean dwell time, s
        ("rtn_high", "i1"),
        ("rtn_ns", "i8"),  # instant at which rtn_high was last drawn
        ("formed", "i1"),
        ("stuck", "i1"),  # 0 healthy, 1 stuck on, -1 stuck off
        ("pulses", "i8"),
        ("energy", "f8"),  # J dissipated by pulses over the cell's life
    ],
    align=True,
)
"""One cell's record: the unit in which a bench keeps its chip on disk."""


@dataclass(frozen=True)
class CellLaw:
    """Constants of a device, SI units. Spreads are standard deviations.

    Ranges: voltages in V > 0, conductances in S > 0, fractions 0..1, times in s > 0.
    """

    k_g: float = 125e-6
    """Gate slope dG_c/dV_g, S/V."""
    k_g_spread: float = 0.0
    """Relative device-to-device spread of k_g."""
    v_t: float = 0.6
    v_t_spread: float = 0.03
    v_s: float = 1.35
    v_s_spread: float = 0.08
    v_r: float = 1.25
    v_r_spread: float = 0.08
    v0: float = 0.09
    """Voltage that changes the switching rate e-fold."""
    c2c: float = 0.03
    """Cycle-to-cycle jitter of V_t, V_s and V_r, V."""
    reset_sigma: float = 0.2
    """Lognormal sigma of a RESET step."""
    jump_probability: float = 0.01
    jump_sigma: float = 5e-6
    g_min: float = 8e-6
    g_min_spread: float = 2e-6
    g_max: float = 160e-6
    g_max_spread: float = 8e-6
    g_pristine: float = 1e-8
    g_leak: float = 1e-10
    g_start: float = 15e-6
    """Conductance of a formed, fresh cell (after a full RESET)."""
    v_form: float = 3.0
    v_form_spread: float = 0.15
    formed: bool = True
    stuck_on: float = 0.005
    stuck_off: float = 0.005
    relax_a: float = 0.412e-6
    relax_b: float = 0.042e-6
    relax_c: float = -0.089e-6
    relax_floor: float = 0.3
    """Share of the relaxation that even a tiny move leaves."""
    relax_full: float = 10e-6
    """Move from which the relaxation is full, S."""
    read_sigma: float = 0.0277e-6
    read_window: float = 1.0
    rtn_share: float = 0.15
    rtn_amplitude: float = 0.01
    rtn_tau_min: float = 1e-3
    rtn_tau_max: float = 10.0

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> "CellLaw":
        """Build from a preset's `cell:` section.

        Raises:
            ValueError: an unknown name, a value of the wrong type, or one out of range.
        """
        known = {f.name: f for f in fields(cls)}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"unknown cell constant {name!r}; known: {', '.join(sorted(known))}")
            if isinstance(value, str) or (isinstance(value, bool) != (known[name].type in (bool, "bool"))):
                raise ValueError(f"cell constant {name!r} must be a {known[name].type}, not {value!r}")
            if name != "relax_c" and not (isinstance(value, (int, float)) and 0 <= value < np.inf):
                raise ValueError(f"cell constant {name!r} must be finite and not negative, not {value!r}")
        law = cls(**{k: v if isinstance(v, bool) else float(v) for k, v in values.items()})  # type: ignore[arg-type]  # checked above
        if law.stuck_on + law.stuck_off > 1:
            raise ValueError("stuck_on + stuck_off must not pass 1")
        for name in ("k_g", "v0", "g_leak", "relax_full", "read_window", "rtn_tau_min", "rtn_tau_max"):
            if not getattr(law, name) > 0:
                raise ValueError(f"cell constant {name!r} must be more than 0")
        if law.relax_a > 500 * law.relax_b:  # exp(-a/b) must not underflow
            raise ValueError("relax_a must not pass 500 relax_b: its ln t law would begin before any time there is")
        return law

    @property
    def relax_t0(self) -> float:
        """Seconds at which sigma(t) = a + b ln t passes zero: where relaxation begins."""
        return float(np.exp(-self.relax_a / self.relax_b)) if self.relax_b > 0 else 1.0


def fresh(law: CellLaw, shape: tuple[int, ...], rng: np.random.Generator, now_ns: int = 0) -> npt.NDArray[Any]:
    """A new chip: device-to-device spreads, stuck cells and telegraph traps drawn from `rng`.

    Args:
        law: device constants.
        shape: usually (arrays, rows, cols).
        rng: source of chance.
        now_ns: the bench's clock.

    Returns:
        Structured array of dtype `CELL` and shape `shape`.
    """
    cells = np.zeros(shape, CELL)

    def spread(mean: float, sigma: float, low: float) -> Floats:
        return np.maximum(mean + sigma * rng.standard_normal(shape), low)

    cells["v_t"] = spread(law.v_t, law.v_t_spread, 0.05)
    cells["v_s"] = spread(law.v_s, law.v_s_spread, 0.2)
    cells["v_r"] = spread(law.v_r, law.v_r_spread, 0.2)
    cells["v_form"] = spread(law.v_form, law.v_form_spread, 0.5)
    cells["k_g"] = law.k_g * spread(1.0, law.k_g_spread, 0.1)
    cells["g_min"] = spread(law.g_min, law.g_min_spread, 0.1e-6)
    cells["g_max"] = spread(law.g_max, law.g_max_spread, 20e-6)
    telegraph = rng.random(shape) < law.rtn_share
    cells["rtn"] = np.where(telegraph, law.rtn_amplitude * np.exp(0.5 * rng.standard_normal(shape)), 0.0)
    cells["rtn_tau"] = np.exp(rng.uniform(np.log(law.rtn_tau_min), np.log(law.rtn_tau_max), shape))
    cells["rtn_high"] = rng.random(shape) < 0.5
    cells["formed"] = law.formed
    lot = rng.random(shape)
    cells["stuck"] = np.where(lot < law.stuck_on, 1, np.where(lot < law.stuck_on + law.stuck_off, -1, 0))
    start = law.g_start * np.exp(0.25 * rng.standard_normal(shape))
    cells["g"] = np.where(cells["formed"] > 0, np.maximum(start, cells["g_min"]), law.g_pristine)
    on_level, off_level = 1.1 * cells["g_max"], 0.2 * cells["g_min"]
    cells["g"] = np.where(cells["stuck"] > 0, on_level, np.where(cells["stuck"] < 0, off_level, cells["g"]))
    cells["moved_ns"] = now_ns
    cells["rtn_ns"] = now_ns
    return cells


class CellArray:
    """The physics of an array of cells over a record array that somebody else keeps.

    Args:
        law: device constants.
        cells: structured array of dtype `CELL`, updated in place (may be a memory map).
    """

    def __init__(self, law: CellLaw, cells: npt.NDArray[Any]) -> None:
        if cells.dtype != CELL:
            raise ValueError(f"cells must have dtype {CELL}, not {cells.dtype}")
        self.law = law
        self.cells = cells

    def conductance(self, where: Index, now_ns: int) -> Floats:
        """True conductance at an instant, S, without read noise; shape of `cells[where]`."""
        return self._now(self.cells[where], now_ns)

    def sense(self, where: Index, now_ns: int, integration: float, rng: np.random.Generator) -> Floats:
        """Conductance that a read integrating `integration` s from `now_ns` would see, S: with 1/f and telegraph noise.

        The telegraph's state is carried on in the cells.
        """
        law = self.law
        c = self.cells[where]
        g = np.asarray(self._now(c, now_ns))
        window = max((law.read_window + integration) / (2 * integration), 1.0)
        sigma = law.read_sigma * np.maximum(np.log10(g / 1e-6), 0.0) * np.sqrt(np.log(window))
        elapsed = (now_ns - np.asarray(c["rtn_ns"])) * 1e-9
        stay = 0.5 * (1 + np.exp(-2 * elapsed / c["rtn_tau"]))
        high = np.where(rng.random(g.shape) < stay, c["rtn_high"], 1 - c["rtn_high"])
        self._put(where, {"rtn_high": high, "rtn_ns": np.full(g.shape, now_ns)})
        # A telegraph faster than the integration averages towards its mean; the remainder shrinks as sqrt(tau/T).
        ratio = np.minimum(np.asarray(c["rtn_tau"]) / integration, 1.0)
        level = np.where(ratio < 1, 0.5 * np.sqrt(ratio) * rng.standard_normal(g.shape).clip(-1, 1), high - 0.5)
        noisy = g * (1 + c["rtn"] * level) + sigma * rng.standard_normal(g.shape)
        return np.asarray(np.maximum(noisy, law.g_leak), dtype=np.float64)

    def set_pulse(
        self,
        where: Index,
        volts: Floats | float,
        gate: Floats | float,
        width: float,
        now_ns: int,
        rng: np.random.Generator,
    ) -> Floats:
        """Apply a SET-polarity pulse (bit line positive): `volts` >= 0 across the cell, `gate` on its word line.

        A pristine cell is formed when the pulse passes its forming voltage; a formed one moves towards G_c.

        Returns:
            Energy dissipated in each cell, J.
        """
        law = self.law
        c = self.cells[where]
        before = np.asarray(self._now(c, now_ns))
        shape = before.shape
        jitter = law.c2c * rng.standard_normal((2, *shape))
        ceiling = np.minimum(c["k_g"] * (gate - (c["v_t"] + jitter[0])), c["g_max"])
        f = self._fraction(volts, np.asarray(c["v_s"]) + jitter[1], width)
        delta = np.maximum(ceiling - before, 0.0) * f
        delta = delta + self._jump(delta, rng)
        forming = (np.asarray(c["formed"]) == 0) & (self._fraction(volts, np.asarray(c["v_form"]), width) > 0.5)
        conducting = np.asarray(gate) > c["v_t"]
        forming &= conducting & (np.asarray(c["stuck"]) == 0)
        formed_to = np.clip(ceiling, c["g_min"], c["g_max"])
        moved = np.where(np.asarray(c["formed"]) > 0, before + delta, np.where(forming, formed_to, before))
        moved = np.where(conducting, moved, before)
        return self._move(where, c, before, moved, conducting, volts, width, now_ns, rng, formed=forming)

    def reset_pulse(
        self,
        where: Index,
        volts: Floats | float,
        gate: Floats | float,
        width: float,
        now_ns: int,
        rng: np.random.Generator,
    ) -> Floats:
        """Apply a RESET-polarity pulse (source line positive): `volts` >= 0 across the cell.

        Returns:
            Energy dissipated in each cell, J.
        """
        law = self.law
        c = self.cells[where]
        before = np.asarray(self._now(c, now_ns))
        shape = before.shape
        f = self._fraction(volts, np.asarray(c["v_r"]) + law.c2c * rng.standard_normal(shape), width)
        step = np.maximum(before - c["g_min"], 0.0) * np.minimum(
            f * np.exp(law.reset_sigma * rng.standard_normal(shape)), 1.0
        )
        step = step - self._jump(step, rng)
        conducting = np.asarray(gate) > c["v_t"]
        moved = np.where(conducting & (np.asarray(c["formed"]) > 0), before - step, before)
        return self._move(where, c, before, moved, conducting, volts, width, now_ns, rng)

    def _now(self, c: Any, now_ns: int) -> Floats:
        age = np.maximum((now_ns - np.asarray(c["moved_ns"])) * 1e-9, 0.0)
        drifted = c["g"] + c["drift"] * np.log1p(age) + c["spread"] * np.log1p(age / self.law.relax_t0)
        return np.asarray(np.maximum(drifted, self.law.g_leak), dtype=np.float64)

    def _fraction(self, volts: Floats | float, threshold: Floats, width: float) -> Floats:
        """Share of the way that one pulse goes: 0 far below the threshold, 1 far above."""
        exponent = np.minimum((np.asarray(volts) - threshold) / self.law.v0, 60.0)
        return np.asarray(-np.expm1(-(width / 1e-6) * np.exp(exponent)), dtype=np.float64)

    def _jump(self, step: Floats, rng: np.random.Generator) -> Floats:
        """A rare surplus to a pulse that moves the cell at all; at most as likely as the step is large."""
        lot = rng.random(step.shape) < self.law.jump_probability
        surplus = self.law.jump_sigma * rng.standard_normal(step.shape)
        return np.asarray(np.where(lot & (step > 0.1e-6), surplus, 0.0), dtype=np.float64)

    def _move(
        self,
        where: Index,
        c: Any,
        before: Floats,
        after: Floats,
        conducting: npt.NDArray[np.bool_],
        volts: Floats | float,
        width: float,
        now_ns: int,
        rng: np.random.Generator,
        formed: npt.NDArray[np.bool_] | None = None,
    ) -> Floats:
        law = self.law
        after = np.clip(after, np.minimum(c["g_min"], before), np.maximum(c["g_max"], before))
        after = np.where(np.asarray(c["stuck"]) != 0, before, after)
        change = np.abs(after - before)
        moved = change > 0.02e-6  # a smaller move is below what any read resolves and restarts nothing
        share = np.minimum(law.relax_floor + (1 - law.relax_floor) * change / law.relax_full, 1.0)
        spread = share * law.relax_b * rng.standard_normal(before.shape)
        # Behind a closed transistor a cell takes no energy, whatever its conductance.
        energy = np.square(volts) * np.where(conducting, 0.5 * (before + after), law.g_leak) * width
        updates: dict[str, Any] = {
            "g": np.where(moved, after, c["g"]),
            "drift": np.where(moved, share * law.relax_c, c["drift"]),
            "spread": np.where(moved, spread, c["spread"]),
            "moved_ns": np.where(moved, now_ns, c["moved_ns"]),
            "pulses": np.asarray(c["pulses"]) + 1,
            "energy": np.asarray(c["energy"]) + energy,
        }
        if formed is not None:
            updates["formed"] = np.where(formed, 1, c["formed"])
        self._put(where, updates)
        return np.asarray(energy)

    def _put(self, where: Index, updates: Mapping[str, Any]) -> None:
        # One assignment of whole records: a kill between two pulses never finds half a cell written.
        records = np.array(self.cells[where])
        for name, values in updates.items():
            records[name] = values
        self.cells[where] = records
