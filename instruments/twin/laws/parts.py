"""What laws share, by composition: constants with units, relaxation, read noise, defects, forming, bookkeeping.

A part is a frozen dataclass of constants. Defaults of relaxation and read noise are aihwkit's fits to CMO/HfOx.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from typing import Any, TypeVar, get_type_hints

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Records = npt.NDArray[Any]
_T = TypeVar("_T")

COMMON: tuple[tuple[str, str], ...] = (
    ("g", "f8"),  # conductance just after the last move, S
    ("drift", "f8"),  # mean relaxation since then, S per ln(1 + t/1 s)
    ("spread", "f8"),  # random relaxation since then, S per ln(1 + t/t0)
    ("moved_ns", "i8"),  # instant of the last move
    ("v_t", "f8"),  # threshold of the cell's transistor, V
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
)
"""Fields that every law's record has: faults, health and records look at them."""
VISIBLE = 0.02e-6
"""S; a smaller move is below what any read resolves and restarts no relaxation."""


def record(*own: str) -> np.dtype[Any]:
    """A cell's dtype: `COMMON` and a law's own fields (floats)."""
    return np.dtype([*COMMON, *((name, "f8") for name in own)], align=True)


def constant(default: float | bool, unit: str = "", *, positive: bool = False, signed: bool = False) -> Any:
    """A constant of a law.

    Args:
        default: value in SI, or a switch.
        unit: what presets may write it in ("V", "S/V"); "" for pure numbers.
        positive: 0 is not allowed.
        signed: negative values are allowed.
    """
    return field(default=default, metadata={"unit": unit, "positive": positive, "signed": signed})


def _leaves(law: type[Any]) -> Iterator[tuple[str, type[Any], Mapping[str, Any], str]]:
    """(name, type, metadata, name of the part that holds it or "") of every constant of a law class."""
    hints = get_type_hints(law)
    for one in fields(law):
        if is_dataclass(hints[one.name]):
            part: Any = hints[one.name]
            yield from ((name, kind, data, one.name) for name, kind, data, _ in _leaves(part))
        elif one.init:
            yield one.name, hints[one.name], one.metadata, ""


def units(law: type[Any]) -> dict[str, str]:
    """Unit of every constant of a law class, parts included; "" for pure numbers and switches."""
    return {name: str(data.get("unit", "")) for name, _, data, _ in _leaves(law)}


def constants(law: Any) -> dict[str, Any]:
    """All constants of a law, parts included, flat: what a chip's file keeps to know its law again."""
    return {name: getattr(getattr(law, part) if part else law, name) for name, _, _, part in _leaves(type(law))}


def build(law: type[_T], values: Mapping[str, object]) -> _T:
    """A law from a preset's `cell:` section, in SI; what is not given keeps its default.

    Raises:
        ValueError: an unknown name, a value of the wrong type, or one out of range.
    """
    known = {name: (kind, data, part) for name, kind, data, part in _leaves(law)}
    own: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"unknown cell constant {name!r}; known: {', '.join(sorted(known))}")
        kind, data, part = known[name]
        if isinstance(value, str) or (isinstance(value, bool) != (kind is bool)):
            raise ValueError(f"cell constant {name!r} must be a {kind.__name__}, not {value!r}")
        low = -np.inf if data.get("signed") else 0.0
        if not (isinstance(value, (int, float)) and low <= value < np.inf and value > -np.inf):
            allowed = "finite" if data.get("signed") else "finite and not negative"
            raise ValueError(f"cell constant {name!r} must be {allowed}, not {value!r}")
        if data.get("positive") and not value > 0:
            raise ValueError(f"cell constant {name!r} must be more than 0")
        kept = parts.setdefault(part, {}) if part else own
        kept[name] = value if kind is bool else kind(value)
    hints = get_type_hints(law)
    return law(**own, **{part: hints[part](**chosen) for part, chosen in parts.items()})


def blank(dtype: np.dtype[Any], shape: tuple[int, ...], now_ns: int) -> Records:
    """Records of a new chip with every field at zero but its instants."""
    cells = np.zeros(shape, dtype)
    cells["moved_ns"] = cells["rtn_ns"] = now_ns
    return cells


def spread(rng: np.random.Generator, shape: tuple[int, ...], mean: float, sigma: float, low: float) -> Floats:
    """Normal device-to-device values, none below `low`."""
    return np.asarray(np.maximum(mean + sigma * rng.standard_normal(shape), low), dtype=np.float64)


@dataclass(frozen=True)
class Relaxation:
    """Drift after a pulse that moved the cell: share (c ln(1 + t/1 s) + b z ln(1 + t/t0)), z drawn for that move.

    t0 = exp(-a/b) s, so that the mean is c ln t and sigma(t) = a + b ln t (aihwkit's ReRAM noise model, CMO/HfOx).
    Small moves relax less: share runs from `relax_floor` to 1 at a move of `relax_full`.
    """

    relax_a: float = constant(0.412e-6, "S")
    relax_b: float = constant(0.042e-6, "S")
    relax_c: float = constant(-0.089e-6, "S", signed=True)
    relax_floor: float = constant(0.3)
    relax_full: float = constant(10e-6, "S", positive=True)

    def __post_init__(self) -> None:
        if self.relax_a > 500 * self.relax_b:  # exp(-a/b) must not underflow
            raise ValueError("relax_a must not pass 500 relax_b: its ln t law would begin before any time there is")

    @cached_property
    def t0(self) -> float:
        """Seconds at which sigma(t) = a + b ln t passes zero: where relaxation begins."""
        return float(np.exp(-self.relax_a / self.relax_b)) if self.relax_b > 0 else 1.0

    def now(self, c: Records, now_ns: int, low: float) -> Floats:
        """Conductance at an instant, S, at least `low`."""
        age = np.maximum((now_ns - np.asarray(c["moved_ns"])) * 1e-9, 0.0)
        drifted = c["g"] + c["drift"] * np.log1p(age) + c["spread"] * np.log1p(age / self.t0)
        return np.asarray(np.maximum(drifted, low), dtype=np.float64)

    def move(self, c: Records, before: Floats, after: Floats, now_ns: int, rng: np.random.Generator) -> None:
        """Put cells that visibly moved at `after` and begin their relaxation anew; the others keep theirs."""
        change = np.abs(after - before)
        moved = change > VISIBLE
        share = np.minimum(self.relax_floor + (1 - self.relax_floor) * change / self.relax_full, 1.0)
        random = share * self.relax_b * rng.standard_normal(before.shape)
        c["g"] = np.where(moved, after, c["g"])
        c["drift"] = np.where(moved, share * self.relax_c, c["drift"])
        c["spread"] = np.where(moved, random, c["spread"])
        c["moved_ns"] = np.where(moved, now_ns, c["moved_ns"])


@dataclass(frozen=True)
class ReadNoise:
    """1/f noise and, in some cells, a two-level random telegraph.

    1/f: standard deviation read_sigma log10(G/uS) sqrt(ln((t_w + T)/(2T))) (aihwkit's CMO model read as an
    observation window t_w = `read_window` seen with integration time T).
    """

    read_sigma: float = constant(0.0277e-6, "S")
    read_window: float = constant(1.0, "s", positive=True)
    rtn_share: float = constant(0.15)
    rtn_amplitude: float = constant(0.01)
    rtn_tau_min: float = constant(1e-3, "s", positive=True)
    rtn_tau_max: float = constant(10.0, "s", positive=True)

    def fresh(self, cells: Records, rng: np.random.Generator) -> None:
        """Draw which cells have a telegraph, and how it is."""
        shape = cells.shape
        telegraph = rng.random(shape) < self.rtn_share
        cells["rtn"] = np.where(telegraph, self.rtn_amplitude * np.exp(0.5 * rng.standard_normal(shape)), 0.0)
        cells["rtn_tau"] = np.exp(rng.uniform(np.log(self.rtn_tau_min), np.log(self.rtn_tau_max), shape))
        cells["rtn_high"] = rng.random(shape) < 0.5

    def seen(self, c: Records, g: Floats, now_ns: int, integration: float, rng: np.random.Generator) -> Floats:
        """What a read integrating `integration` s from `now_ns` sees of `g` (S); carries the telegraph on in `c`."""
        window = max((self.read_window + integration) / (2 * integration), 1.0)
        sigma = self.read_sigma * np.maximum(np.log10(g / 1e-6), 0.0) * np.sqrt(np.log(window))
        elapsed = (now_ns - np.asarray(c["rtn_ns"])) * 1e-9
        stay = 0.5 * (1 + np.exp(-2 * elapsed / c["rtn_tau"]))
        high = np.where(rng.random(g.shape) < stay, c["rtn_high"], 1 - c["rtn_high"])
        c["rtn_high"], c["rtn_ns"] = high, now_ns
        # A telegraph faster than the integration averages towards its mean; the remainder shrinks as sqrt(tau/T).
        ratio = np.minimum(np.asarray(c["rtn_tau"]) / integration, 1.0)
        level = np.where(ratio < 1, 0.5 * np.sqrt(ratio) * rng.standard_normal(g.shape).clip(-1, 1), high - 0.5)
        return np.asarray(g * (1 + c["rtn"] * level) + sigma * rng.standard_normal(g.shape), dtype=np.float64)


@dataclass(frozen=True)
class Defects:
    """Cells that never move."""

    stuck_on: float = constant(0.005)
    stuck_off: float = constant(0.005)

    def __post_init__(self) -> None:
        if self.stuck_on + self.stuck_off > 1:
            raise ValueError("stuck_on + stuck_off must not pass 1")

    def fresh(self, cells: Records, rng: np.random.Generator) -> None:
        """Draw which cells are stuck; `pin` puts them where they are stuck once conductances are drawn."""
        lot = rng.random(cells.shape)
        cells["stuck"] = np.where(lot < self.stuck_on, 1, np.where(lot < self.stuck_on + self.stuck_off, -1, 0))

    @staticmethod
    def pin(cells: Records) -> None:
        """Stuck cells conduct 1.1 g_max or 0.2 g_min."""
        on_level, off_level = 1.1 * cells["g_max"], 0.2 * cells["g_min"]
        cells["g"] = np.where(cells["stuck"] > 0, on_level, np.where(cells["stuck"] < 0, off_level, cells["g"]))


@dataclass(frozen=True)
class Forming:
    """A pristine cell conducts almost nothing until a pulse passes its forming voltage; the record needs `v_form`.

    A pulse of 1 us forms at V_form, one of `width` s at V_form - v_form_slope ln(width / 1 us).
    """

    formed: bool = constant(True)
    g_pristine: float = constant(1e-8, "S")
    v_form: float = constant(3.0, "V")
    v_form_spread: float = constant(0.15, "V")
    v_form_slope: float = constant(0.09, "V")

    def fresh(self, cells: Records, rng: np.random.Generator) -> None:
        """Draw the cells' forming voltages."""
        cells["v_form"] = spread(rng, cells.shape, self.v_form, self.v_form_spread, 0.5)
        cells["formed"] = self.formed

    def by(self, c: Records, volts: npt.ArrayLike, gate: npt.ArrayLike, width: float) -> Bools:
        """Which cells a SET pulse forms; marks them."""
        needed = c["v_form"] - self.v_form_slope * np.log(width / 1e-6)
        able = (c["formed"] == 0) & (c["stuck"] == 0) & (np.asarray(gate) > c["v_t"])
        forming: Bools = able & (np.asarray(volts) >= needed)
        c["formed"] = np.where(forming, 1, c["formed"])
        return forming


@dataclass(frozen=True)
class Jumps:
    """A rare surplus to a pulse that moves the cell at all."""

    jump_probability: float = constant(0.01)
    jump_sigma: float = constant(5e-6, "S")

    def of(self, step: Floats, rng: np.random.Generator) -> Floats:
        """Surplus of each cell, S, normal; none where the step itself is below 0.1 uS."""
        lot = rng.random(step.shape) < self.jump_probability
        surplus = self.jump_sigma * rng.standard_normal(step.shape)
        return np.asarray(np.where(lot & (step > 0.1e-6), surplus, 0.0), dtype=np.float64)


def bounded(c: Records, before: Floats, after: Floats) -> Floats:
    """`after` within each cell's range (which it may have left by relaxing), and unchanged where the cell is stuck."""
    after = np.clip(after, np.minimum(c["g_min"], before), np.maximum(c["g_max"], before))
    return np.asarray(np.where(np.asarray(c["stuck"]) != 0, before, after), dtype=np.float64)


def book(c: Records, energy: Floats) -> Floats:
    """Count a pulse and its energy (J) in the cells; returns the energy."""
    c["pulses"] = np.asarray(c["pulses"]) + 1
    c["energy"] = np.asarray(c["energy"]) + energy
    return np.asarray(energy, dtype=np.float64)


def missing(dtype: np.dtype[Any]) -> Iterable[str]:
    """Common fields that a record lacks."""
    return [name for name, _ in COMMON if name not in (dtype.names or ())]
