"""The procedures by name. Their modules are imported when one is asked for: a command line must be quick to start."""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workflows.procedures.procedure import Procedure


@dataclass(frozen=True)
class Entry:
    """Where a procedure is.

    Attributes:
        name: of the procedure, its command and its flow.
        target: "module:attribute".
        title: what it does, for a list of commands.
        group: of commands that it belongs to; "" for the top level.
    """

    name: str
    target: str
    title: str
    group: str = ""

    def load(self) -> "Procedure[Any, Any]":
        """Import it."""
        module, _, attribute = self.target.partition(":")
        found: Procedure[Any, Any] = getattr(importlib.import_module(module), attribute)
        return found


def _characterise(name: str, title: str) -> Entry:
    module = f"workflows.procedures.characterise.{name.replace('-', '_')}"
    return Entry(name, f"{module}:PROCEDURE", title, "characterise")


ENTRIES = {
    entry.name: entry
    for entry in (
        Entry("program", "workflows.procedures.program_job:PROCEDURE", "Program a pattern into an array."),
        Entry("circle", "workflows.procedures.circle_job:PROCEDURE", "Solve a circle out of noise (Fig. 3)."),
        Entry("generate", "workflows.procedures.letters_job:PROCEDURE", "Handwritten letters out of noise (Fig. 4)."),
        Entry(
            "health",
            "workflows.procedures.characterise.health:PROCEDURE",
            "Find the cells that drifted, and mend only those.",
        ),
        _characterise("forming", "Form pristine cells by a gate ramp."),
        _characterise("iv", "Quasi-static I-V over many cycles (Fig. 2c)."),
        _characterise("pulses", "Pulse response against amplitude, gate and width."),
        _characterise("levels", "64 levels or more: linearity and separation (Fig. 2d)."),
        _characterise("noise", "Read noise, spectra, telegraph noise."),
        _characterise("retention", "Retention on a schedule even in log time (Fig. 2e)."),
        _characterise("endurance", "Cycles up to a number, and what remains."),
        _characterise("disturb", "Read disturb and half-selected neighbours."),
        _characterise("array-errors", "Array errors at several times (Fig. 2f, 2g)."),
    )
}


def procedure(name: str) -> "Procedure[Any, Any]":
    """A procedure by name.

    Raises:
        RequestError: there is none of this name.
    """
    if name not in ENTRIES:
        from workflows.errors import RequestError

        raise RequestError(f"procedure {name!r} is unknown; known: {', '.join(ENTRIES)}")
    return ENTRIES[name].load()


def procedures() -> Iterator["Procedure[Any, Any]"]:
    """All of them."""
    return (entry.load() for entry in ENTRIES.values())
