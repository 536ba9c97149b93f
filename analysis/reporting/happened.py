"""What happened in a run besides its result: its parts, who was asked, troubles, cells given up, pulses in doubt."""

import shlex
from collections import Counter
from typing import Any

import numpy as np

from analysis.page import grid, paragraph
from analysis.records import RunFile
from analysis.records.layout import CELL_STATUSES, OUTCOME_CODE
from analysis.reporting.costs import clock

_MOST = 60
"""Remarks that a report names; the file has all of them."""


def fault_profile(command_line: str) -> dict[str, str]:
    """Options of simulated faults, as typed: they belong to the occasion, not to the experiment."""
    try:
        words = shlex.split(command_line)
    except ValueError:
        return {}
    found: dict[str, str] = {}
    for flag in ("--faults", "--faults-seed"):
        for k, word in enumerate(words):
            if word == flag and k + 1 < len(words):
                found[flag] = words[k + 1]
            elif word.startswith(f"{flag}="):
                found[flag] = word.partition("=")[2]
    return found


def happened_parts(run: RunFile) -> tuple[str, ...]:
    """The section's tables and paragraphs."""
    parts = []
    segments = run.segments
    if len(segments) > 1 or run.status != "completed":
        columns = ("part", "started", "ended", "status", "reason")
        parts.append(grid(columns, [_segment(k, one) for k, one in enumerate(segments, 1)]))
    if run.is_partial:
        said = (
            "This is the file of a run under way, or of one that was killed: ohmflow salvage makes a whole one of it."
        )
        parts.append(paragraph(said))
    if run.reason:
        parts.append(paragraph(f"The run ended as {run.status}: {run.reason}."))
    faults = fault_profile(run.header.command_line)
    if faults:
        said = " ".join(f"{name} {value}" for name, value in faults.items())
        parts.append(paragraph(f"The twin suffered from simulated faults: {said}."))
    parts.append(paragraph(_cells_said(run)))
    doubts = int(np.count_nonzero(np.asarray(run.events["outcome"]) == OUTCOME_CODE["doubt"]))
    if doubts:
        parts.append(paragraph(f"{doubts} pulses are in doubt: nobody saw whether they were given; each counts."))
    notes = [(float(note["time"]), str(note["text"])) for note in run.notes]
    persons = [(t, said.removeprefix("operator: ")) for t, said in notes if said.startswith("operator: ")]
    others = [(t, said) for t, said in notes if not said.startswith("operator: ")]
    parts.append("<h3>Persons and confirmations</h3>")
    parts.append(_noted(persons) if persons else paragraph("Nobody had to be asked."))
    parts.append("<h3>Troubles and remarks</h3>")
    parts.append(_noted(others) if others else paragraph("None."))
    return tuple(parts)


def _segment(number: int, one: dict[str, Any]) -> tuple[str, ...]:
    return (str(number), *(str(one[name]) for name in ("started", "ended", "status", "reason")))


def _cells_said(run: RunFile) -> str:
    counts = Counter(int(code) for code in run.cells["status"])
    given_up = {name: counts[code] for code, name in enumerate(CELL_STATUSES) if name not in ("pending", "ok")}
    said = ", ".join(f"{count} {name}" for name, count in given_up.items() if count)
    return f"Cells: {counts[CELL_STATUSES.index('ok')]} with a good verdict" + (f"; {said}." if said else "; none bad.")


def _noted(notes: list[tuple[float, str]]) -> str:
    """Remarks in their order; those said again and again once, with how often."""
    often = Counter(said for _, said in notes)
    first = {said: t for t, said in reversed(notes)}
    rows = [(clock(first[said]), said, str(count) if count > 1 else "") for said, count in often.items()]
    shown = grid(("at", "what", "times"), rows[:_MOST])
    more = len(rows) - _MOST
    return shown + (paragraph(f"and {more} more in the run's file") if more > 0 else "")
