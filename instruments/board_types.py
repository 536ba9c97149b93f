"""What the board's driver speaks of: dialects, modes, gains, who the board is and where a run is."""

from dataclasses import dataclass
from typing import Final, Literal

Dialect = Literal["auto", "published", "extended"]
Mode = Literal["safe", "program", "compute"]
Gain = Literal["score", "drift", "noise", "bias"]
Analog = Literal["rf1", "rf2", "rf3", "out", "kx", "kn", "kz"]
NoiseMode = Literal["off", "on", "trim"]

TABLE_COLUMNS: Final = ("g2", "fx", *(f"t{i}" for i in range(1, 15)), "noise1", "noise2")
"""Columns of a coefficient table, in the order in which the board writes them."""


@dataclass(frozen=True)
class BoardIdentity:
    """Who the board says it is; `dialect` is "published", or the extended dialect's version."""

    vendor: str
    model: str
    serial: str
    dialect: str
    capabilities: frozenset[str]


@dataclass(frozen=True)
class RunState:
    """Where a run is.

    Attributes:
        phase: "idle" (none since power-on), "precharge", "running" or "done".
        tick: active ticks written in this run or the last one.
        ticks: active ticks asked for; more than `tick` when done: the run was stopped.
        dropped: plain Go lines that were not obeyed since power-on.
        runs: runs started since power-on.
    """

    phase: str
    tick: int
    ticks: int
    dropped: int
    runs: int
