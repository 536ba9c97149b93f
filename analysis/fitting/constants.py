"""The device constants that a fit may estimate, as a preset names them; what is known before a run is looked at.

The law is the twin's (`instruments/twin/cell.py` states it): SET dG = max(min(k_g (V_g - V_t), G_max) - G, 0) f,
RESET dG = -(G - G_min) min(f L, 1), f = 1 - exp(-(t/1 us) exp((V - V_x)/v0)), relaxation c ln(1 + t) + b z ln(1 + t/t0)
with t0 = exp(-a/b), read noise read_sigma log10(G/uS) sqrt(ln((t_w + T)/2T)), telegraph noise in some cells.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from analysis.errors import AnalysisError


@dataclass(frozen=True)
class Constant:
    """One constant of the law.

    Args:
        name: as a preset has it.
        unit: "V", "S", "S/V", "s"; "" for fractions.
        usual: what a preset leaves unsaid means; the twin's own default.
        meaning: for tables.
    """

    name: str
    unit: str
    usual: float
    meaning: str


CONSTANTS = (
    Constant("k_g", "S/V", 125e-6, "gate slope"),
    Constant("k_g_spread", "", 0.0, "gate slope, relative spread between cells"),
    Constant("v_t", "V", 0.6, "threshold of the transistor"),
    Constant("v_t_spread", "V", 0.03, "its spread between cells"),
    Constant("v_s", "V", 1.35, "SET voltage"),
    Constant("v_s_spread", "V", 0.08, "its spread between cells"),
    Constant("v_r", "V", 1.25, "RESET voltage"),
    Constant("v_r_spread", "V", 0.08, "its spread between cells"),
    Constant("v0", "V", 0.09, "voltage of an e-fold in switching rate"),
    Constant("c2c", "V", 0.03, "cycle-to-cycle jitter of the three voltages"),
    Constant("reset_sigma", "", 0.2, "lognormal sigma of a RESET step"),
    Constant("jump_probability", "", 0.01, "share of moves that jump"),
    Constant("jump_sigma", "S", 5e-6, "size of a jump"),
    Constant("g_min", "S", 8e-6, "lowest conductance"),
    Constant("g_min_spread", "S", 2e-6, "its spread between cells"),
    Constant("g_max", "S", 160e-6, "highest conductance"),
    Constant("g_max_spread", "S", 8e-6, "its spread between cells"),
    Constant("g_pristine", "S", 1e-8, "a cell before forming"),
    Constant("g_leak", "S", 1e-10, "through a closed transistor"),
    Constant("g_start", "S", 15e-6, "a fresh, formed cell"),
    Constant("v_form", "V", 3.0, "forming voltage"),
    Constant("v_form_spread", "V", 0.15, "its spread between cells"),
    Constant("stuck_on", "", 0.005, "share of cells stuck on"),
    Constant("stuck_off", "", 0.005, "share of cells stuck off"),
    Constant("relax_a", "S", 0.412e-6, "relaxation: sigma at 1 s"),
    Constant("relax_b", "S", 0.042e-6, "relaxation: sigma per e-fold of time"),
    Constant("relax_c", "S", -0.089e-6, "relaxation: mean per e-fold of time"),
    Constant("relax_floor", "", 0.3, "share that a tiny move relaxes"),
    Constant("relax_full", "S", 10e-6, "move from which relaxation is full"),
    Constant("read_sigma", "S", 0.0277e-6, "read noise"),
    Constant("read_window", "s", 1.0, "read noise: window of observation"),
    Constant("rtn_share", "", 0.15, "share of cells with telegraph noise"),
    Constant("rtn_amplitude", "", 0.01, "median telegraph step, relative"),
    Constant("rtn_tau_min", "s", 1e-3, "shortest telegraph dwell time"),
    Constant("rtn_tau_max", "s", 10.0, "longest telegraph dwell time"),
)
"""All of them but `formed`, which is a statement, not an estimate."""

BY_NAME: Mapping[str, Constant] = MappingProxyType({c.name: c for c in CONSTANTS})


def complete(base: Mapping[str, float]) -> dict[str, float]:
    """A base preset's constants, SI, with what it leaves unsaid.

    Raises:
        AnalysisError: it has a constant that the law hasn't.
    """
    unknown = sorted(set(base) - set(BY_NAME) - {"formed"})
    if unknown:
        raise AnalysisError(
            f"the base preset has {unknown[0]!r}, which is no device constant; see {', '.join(BY_NAME)}"
        )
    return {c.name: float(base.get(c.name, c.usual)) for c in CONSTANTS}


@dataclass(frozen=True)
class Estimate:
    """What the data say of one constant, SI.

    Attributes:
        name: of the constant.
        value: estimate (posterior median), or the base preset's.
        low, high: ends of the interval of `Fit.level`; both equal `value` where the data say nothing.
        cells: how many cells informed it.
        informed: False where it was kept from the base preset.
        remark: why not, or what it hangs on.
    """

    name: str
    value: float
    low: float
    high: float
    cells: int
    informed: bool = True
    remark: str = ""

    @property
    def unit(self) -> str:
        """SI unit, "" for fractions."""
        return BY_NAME[self.name].unit


def kept(name: str, base: Mapping[str, float], remark: str) -> Estimate:
    """A constant that the data say nothing of."""
    value = base[name]
    return Estimate(name, value, value, value, 0, False, remark)
