"""The loop seen at every node in turn: a few channels, many nodes, so the probes move (the paper's Fig. 3a and 3c)."""

from collections.abc import Mapping

import numpy as np

from workflows.procedures.loop import Loop
from workflows.procedures.solve import Mover

PAPER_START = (0.1, -0.1)
"""V; the initial state of the paper's Fig. 3a."""
OTHER_STARTS = 8
"""Initial states, drawn as for sampling, from which the same nodes are looked at for the histograms of Fig. 3c."""
PROBE_GROUPS: tuple[tuple[str, ...], ...] = (
    ("x", "y", "nx", "ny"),
    *(tuple(f"h{layer}_{i}" for i in range(first, min(first + 4, 15))) for layer in (1, 2) for first in (1, 5, 9, 13)),
    ("t1", "t2", "t8", "t9"),
)
"""Where the probes hang in turn for the waveforms of Fig. 3a and the voltages of Fig. 3c."""


def look_at_nodes(loop: Loop, move: Mover) -> None:
    """Record one solution from the paper's initial state at every node, and a few from others more coarsely.

    Args:
        loop: loaded with the drive to be seen.
        move: hangs the probes.
    """
    assert loop.program is not None
    writer = loop.writer
    writer.phase("waveforms")
    for number, group in enumerate(PROBE_GROUPS):
        move_probes(loop, move, {i + 1: node for i, node in enumerate(group)})
        loop.watch(loop.program.duration, 2000, (3.2,) * 4)
        capture = loop.solving.run(PAPER_START, record=False)
        writer.data(f"waveforms/{'_'.join(group)}", capture.volts[: len(group)], units="V", title=" ".join(group))
        if number == 0 and loop.station.bench is not None:
            energy = np.array([loop.station.bench.solver.last.final()[1]])
            writer.twin("run_energy", energy, units="J", title="true energy in the arrays in this solution")
        others = [loop.solving.run(start, record=False) for start in loop.starts(OTHER_STARTS, 60)]
        seen = np.stack([c.volts[: len(group), c.times >= 0][:, ::10] for c in others])
        writer.data(f"voltages/{'_'.join(group)}", seen, units="V", title="from other initial states")
        if number == 0:
            writer.data("waveforms/time", capture.times, units="s", title="time after the start")
        loop.told("waveforms", number + 1, len(PROBE_GROUPS))
    move_probes(loop, move, {1: "x", 2: "y", 3: "nx", 4: "ny"})
    loop.watch(loop.program.duration)


def move_probes(loop: Loop, move: Mover, probes: Mapping[int, str]) -> None:
    """Hang the probes elsewhere; the board is loaded again if outputs were made safe for a person's hands."""
    move("scope1", probes)
    if loop.station.board.connected()[0] != "compute":
        loop.reload()
