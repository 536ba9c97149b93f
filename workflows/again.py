"""The command that makes a recorded run again, out of the options that its file holds."""

import shlex
from collections.abc import Mapping
from dataclasses import Field
from typing import Any

from analysis.records import RunHeader
from analysis.reporting.happened import fault_profile
from analysis.reporting.provenance import Again
from instruments.quantity import si, to_si
from workflows.procedures.options import ELSEWHERE, listed
from workflows.procedures.registry import ENTRIES


def again(header: RunHeader) -> Again:
    """How to make a run again.

    The command says everything that was not the default, and what a later version's defaults could change it does not
    say: where the defaults of this version differ from what is recorded, they are said, too.
    """
    recorded = header.parameters.get("options")
    if header.procedure not in ENTRIES or not isinstance(recorded, Mapping):
        typed = header.command_line or f"ohmflow {header.procedure}"
        return Again(typed, "", ("The options were not recorded by name: this is what was typed.",))
    words, remarks = _words(header, recorded)
    seed = ""
    if header.world == "simulated" and header.seed is not None:
        fresh = _words(header, {**recorded, "chip": str(header.seed), "fresh": False})[0]
        seed = shlex.join([*fresh, "--bench", "none"])
        remarks.append(
            "On the fresh chip the numbers are the same, digit by digit, if the chip was new when this run began and "
            "the versions are those above; times of this computer are not."
        )
    station = str(recorded.get("station", ""))
    if "/" in station or "\\" in station:
        remarks.append(f"The station file {station} lay on the machine that ran it; its text is above.")
    pattern = str(recorded.get("pattern", ""))
    if pattern.endswith((".npy", ".csv")):
        remarks.append(f"The pattern {pattern} lay there, too; it is the map conductance_target of the run's file.")
    return Again(shlex.join(words), seed, tuple(remarks))


def _words(header: RunHeader, recorded: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    entry = ENTRIES[header.procedure]
    known = {one.name: one for one in listed(entry.load().options) if one.name not in ELSEWHERE}
    words = ["ohmflow", *([entry.group] if entry.group else []), entry.name]
    for name, one in known.items():
        if name in recorded and recorded[name] != one.default:
            words += _said(one, recorded[name])
    for flag, value in fault_profile(header.command_line).items():
        words += [flag, value]
    unknown = sorted(set(recorded) - set(known))
    remarks = [f"This version knows no option {', '.join(unknown)}, which the run was given."] if unknown else []
    return words, remarks


def _said(one: Field[Any], value: Any) -> list[str]:
    flag = str(one.metadata["flag"] or one.name).replace("_", "-").split()[0]
    flag = flag if flag.startswith("-") else f"--{flag}"
    if isinstance(one.default, bool):
        return [flag if value else f"--no-{flag[2:]}"]
    said = _quantity(float(value), one.metadata["unit"]) if one.metadata["unit"] else str(value)
    # A value that begins with a dash would be taken for an option.
    return [f"{flag}={said}"] if said.startswith("-") or not said else [flag, said]


def _quantity(value: float, unit: str) -> str:
    """With a prefix where that says the same number; else every digit, which without a unit is taken to be in SI."""
    short = si(value, unit, 6)
    return short if to_si(short, unit) == value else repr(value)
