"""Chips whose truth is known, and what a laboratory records of them: event tables straight from physics.

The protocol is that of the characterisation procedures (gate ladder, SET and RESET ladders, repeated reads at several
integration times, reads on log time), a column of cells at a time, so that thousands of pulses take seconds.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.records import RunHeader, RunWriter
from analysis.records.layout import EVENT_CODE, EVENT_COLUMNS
from instruments.twin.bench import load_law
from instruments.twin.cell import CellArray, CellLaw, fresh

PLC = 0.02
FAST = 0.5e-3


@dataclass(frozen=True)
class Protocol:
    """How much is measured: (start, stop, step) ladders in V, repeats, reads."""

    gates: tuple[float, ...] = (0.75, 0.9, 1.05, 1.2, 1.35)
    gate_repeats: int = 3
    set_volts: tuple[float, ...] = (1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6)
    reset_volts: tuple[float, ...] = (0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5)
    ladders: int = 2
    top_gate: float = 2.6
    tops: int = 2
    noise_slow: int = 64
    noise_fast: int = 64
    rest_to: float = 1e5


def true_law(rng: np.random.Generator, base: CellLaw | None = None) -> CellLaw:
    """A device drawn around the preset: every constant that a fit estimates is another one."""
    base = base or load_law("cmo-hfox", Path("."))

    def about(value: float, share: float) -> float:
        return float(value * np.exp(share * rng.uniform(-1, 1)))

    return replace(
        base,
        k_g=about(base.k_g, 0.15), k_g_spread=about(0.04, 0.4), v_t=base.v_t + rng.uniform(-0.06, 0.06),
        v_t_spread=about(0.03, 0.4), v_s=base.v_s + rng.uniform(-0.1, 0.1), v_s_spread=about(0.08, 0.4),
        v_r=base.v_r + rng.uniform(-0.1, 0.1), v_r_spread=about(0.08, 0.4), v0=about(base.v0, 0.25),
        c2c=about(base.c2c, 0.35), reset_sigma=about(base.reset_sigma, 0.35), jump_probability=about(0.015, 0.5),
        jump_sigma=about(base.jump_sigma, 0.4), g_min=about(base.g_min, 0.25), g_min_spread=about(1.5e-6, 0.3),
        g_max=about(base.g_max, 0.08), g_max_spread=about(base.g_max_spread, 0.3), stuck_on=about(0.008, 0.6),
        stuck_off=about(0.008, 0.6), relax_a=about(base.relax_a, 0.4), relax_b=about(base.relax_b, 0.4),
        relax_c=base.relax_c * float(np.exp(0.4 * rng.uniform(-1, 1))), read_sigma=about(base.read_sigma, 0.4),
        rtn_share=about(0.18, 0.4), rtn_amplitude=about(base.rtn_amplitude, 0.4),
        rtn_tau_min=about(base.rtn_tau_min, 0.6), rtn_tau_max=about(base.rtn_tau_max, 0.6),
    )  # fmt: skip


class Laboratory:
    """Cells in a row, all driven at once, on a clock of their own; keeps what was seen."""

    def __init__(
        self, law: CellLaw, cells: int, rng: np.random.Generator, physics: type[CellArray] = CellArray
    ) -> None:
        self.cells = fresh(law, (cells,), rng)
        self.array = physics(law, self.cells)
        self.rng = rng
        self.now = 0.0
        self.columns: dict[str, list[Any]] = {c.name: [] for c in EVENT_COLUMNS}
        self.count = cells

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def read(self, integration: float = PLC) -> None:
        start = self.now
        self.now += 0.03 + integration if integration > 1e-3 else 0.002 + integration
        seen = self.array.sense(slice(None), int(self.now * 1e9), integration, self.rng)
        self._keep("read", start, 0.2, 3.0, integration, seen)

    def pulse(self, kind: str, volts: float, gate: float, width: float = 1e-6) -> None:
        start = self.now
        self.now += 0.02
        apply = self.array.set_pulse if kind == "set" else self.array.reset_pulse
        apply(slice(None), volts, gate, width, int(self.now * 1e9), self.rng)
        self._keep(kind, start, volts, gate, width, np.full(self.count, np.nan))

    def _keep(self, kind: str, start: float, volts: float, gate: float, width: float, seen: Any) -> None:
        n = self.count
        values = {
            "seq": np.zeros(n), "time": np.full(n, start), "duration": np.full(n, self.now - start),
            "array": np.zeros(n), "row": np.arange(n) // 32, "col": np.arange(n) % 32,
            "kind": np.full(n, EVENT_CODE[kind]), "outcome": np.zeros(n), "amplitude": np.full(n, volts),
            "gate": np.full(n, gate), "width": np.full(n, width), "conductance": seen, "current": seen * 0.2,
            "energy": np.zeros(n),
        }  # fmt: skip
        for name, column in values.items():
            self.columns[name].append(column)

    def table(self) -> dict[str, Any]:
        return {c.name: np.concatenate(self.columns[c.name]).astype(c.typecode) for c in EVENT_COLUMNS}


def characterise(lab: Laboratory, p: Protocol | None = None) -> dict[str, Any]:
    """Everything that a chip's fit wants to know; gives the event table."""
    p = p or Protocol()
    lab.read()
    for _ in range(p.gate_repeats):
        for gate in p.gates:
            lab.pulse("reset", 2.0, 3.0)
            lab.read()
            lab.pulse("set", 2.4, gate)
            lab.read()
    for _ in range(p.ladders):
        lab.pulse("reset", 2.0, 3.0)
        lab.read()
        for volts in p.set_volts:
            lab.pulse("set", volts, 1.3)
            lab.read()
        for volts in p.reset_volts:
            lab.pulse("reset", volts, 3.0)
            lab.read()
    for _ in range(p.tops):
        lab.pulse("set", 2.4, p.top_gate)
        lab.read()
        lab.pulse("reset", 2.0, 3.0)
        lab.read()
    lab.pulse("set", 2.4, 1.2)
    lab.read()
    if p.noise_slow:
        lab.wait(60.0)
        for _ in range(p.noise_slow):
            lab.read(PLC)
        for _ in range(p.noise_fast):
            lab.read(FAST)
    if p.rest_to:
        lab.pulse("reset", 2.0, 3.0)
        lab.read()
        lab.pulse("set", 2.4, 1.2)
        age = 0.1
        while age < p.rest_to:
            lab.read()
            lab.wait(age)
            age *= 3
        lab.read()
    return lab.table()


def save_run(folder: Path, table: dict[str, Any], *, chip: str = "chip-7", **header: Any) -> Path:
    """Write an event table as a run of the program's own; gives its folder."""
    fields: dict[str, Any] = {
        "procedure": "pulses", "world": "simulated", "run_id": folder.name, "started": "2031-05-07T08:00:00+00:00",
        "rows": int(table["row"].max()) + 1, "cols": 32, "chip": chip,
    }  # fmt: skip
    names = {code: name for name, code in EVENT_CODE.items()}
    with RunWriter.create(folder, RunHeader(**fields | header), now=lambda: 0.0, durable=False) as run:
        for i in range(len(table["time"])):
            one = {n: float(table[n][i]) for n in ("amplitude", "gate", "width", "conductance", "energy")}
            place = int(table["row"][i]), int(table["col"][i])
            kind, start, array = names[int(table["kind"][i])], float(table["time"][i]), int(table["array"][i])
            if kind == "read":
                run.event(kind, *place, array=array, t=start, duration=float(table["duration"][i]), **one)
                continue
            drive = {n: one[n] for n in ("amplitude", "gate", "width")}
            number = run.intent(kind, *place, array=array, t=start, **drive)
            run.result(number, energy=one["energy"], t=start + float(table["duration"][i]))
    return folder
