"""Knowing the chip: every characterisation is a `Procedure`, by name in `PROCEDURES`."""

from typing import Any

from workflows.procedures.characterise import (
    array_errors,
    disturb,
    endurance,
    forming,
    health,
    iv,
    levels,
    noise,
    pulses,
    retention,
)
from workflows.procedures.procedure import Procedure

PROCEDURES: dict[str, Procedure[Any, Any]] = {
    module.PROCEDURE.name: module.PROCEDURE
    for module in (forming, iv, pulses, levels, noise, retention, endurance, disturb, array_errors, health)
}
"""In the order in which a new chip meets them."""
