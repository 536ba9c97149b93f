"""Write-verify algorithms, behind one interface."""

from dataclasses import replace
from typing import Any, cast

from workflows.procedures.write_verify.gate_learning import GateLearning
from workflows.procedures.write_verify.incremental import IncrementalReversal, IncrementalState
from workflows.procedures.write_verify.interface import Again, Kind, Pulse, State, Verdict, Window, WriteVerify
from workflows.procedures.write_verify.model_based import ModelBased
from workflows.procedures.write_verify.ramps import IGVVA, ISPVA, Ramp

__all__ = [
    "ALGORITHMS", "DEFAULT", "FIXED_GATE", "IGVVA", "ISPVA", "Again", "GateLearning", "IncrementalReversal",
    "IncrementalState", "Kind", "ModelBased", "Pulse", "Ramp", "State", "Verdict", "Window", "WriteVerify",
    "for_pulses",
]  # fmt: skip

FIXED_GATE = IncrementalReversal(
    name="incremental-fixed-gate", gate_offset=1.7, gate_slope=1e9, gate_margin=0.0, lift_stop=0.4
)
"""Incremental pulses with reversal by amplitude alone, as Wan et al. 2022 have them; no gate law helps."""
DEFAULT = ModelBased.name
"""What is used where nothing else is asked for."""
ALGORITHMS: dict[str, WriteVerify] = {
    algorithm.name: algorithm
    for algorithm in (ModelBased(), IncrementalReversal(), FIXED_GATE, ISPVA, IGVVA, GateLearning())
}
"""By name, for the command line and the flows; `fresh` before use."""


def for_pulses(name: str, shortest: float) -> WriteVerify:
    """The algorithm of that name, its pulses not shorter than `shortest` s, what a station's instruments can give."""
    found: Any = ALGORITHMS[name]
    part = found.settings if isinstance(found, ModelBased) else found
    if part.width >= shortest:
        return cast(WriteVerify, found)
    longer = replace(part, width=shortest)
    return ModelBased(longer) if isinstance(found, ModelBased) else cast(WriteVerify, longer)
