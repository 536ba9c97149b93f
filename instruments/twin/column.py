"""A whole column of cells at the board: its drivers and converters for every row, and what a pulse then does.

In column mode one bit line is at the analyzer's bit-line terminal, behind a unity-gain buffer of the board. Every word
line and every source line has a channel of the board's digital-to-analog converters; a source line's is followed by a
switch that brings it to ground or to its level, and in reads to a transimpedance amplifier with a converter of its own.
The other bit lines are grounded, or at a common inhibit level while source lines are pulsed.

Model of the parts (the board's page in instruments/board_protocol.md asks for no worse):

* lines: 32-channel converters such as the AD5372, 1 mV a step, an error of its own in each channel;
* read: 100 kohm and a 16-bit simultaneous converter such as the AD7606 for each row, 5 us a sample; noise, gain error
  and offset in each channel, beside what the cells themselves do;
* pulses: the bit line's buffer and switches are `COMMON_OHM` in series with all cells of the column, reckoned with the
  conductances that they have when the pulse begins: 1 % for 32 cells of 100 uS.

A raised source line lowers what its cell sees of a SET pulse, and its transistor's gate voltage, by as much.

Left out: the resistance of the array's own lines (as everywhere in the twin unless a bench asks for it), the switch of
each source line (2 ohm at 100 uS: 0.02 %), and the buffer's gain error, which is alike for all cells.
"""

import zlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from instruments.twin.bench import Bench

Floats = npt.NDArray[np.float64]
COMMON_OHM = 3.0
"""Between the buffer and the cells of a column, ohm."""
ARMED_NS = 1_000_000_000
"""Gates that no pulse came for close again after so long, ns."""
DETECTED = 0.3
"""V; from here on the board counts what it sees on its pulse bus as a pulse."""
DRIVER_SETTLE = 100e-6
"""s until word lines stand: 32 words of 24 bit at 25 MHz, then 30 us (AD5372), with margin."""
READ_SETTLE = 100e-6
"""s until bit line and amplifiers stand before a column is read (and again after it, back at 0 V)."""
SAMPLE = 5e-6
"""s a sample (AD7606: 200 kS/s in all channels at once)."""
FULL_SCALE = 50e-6
"""A; 5 V at 100 kohm."""
LINE_SIGMA = 1e-3
"""Error of a word or source line, V, standard deviation over the channels."""
GAIN_SIGMA = 5e-4
"""Relative error of a row's amplifier (0.1 % resistors), standard deviation."""
OFFSET_SIGMA = 3e-9
"""Offset of a row's amplifier and converter, A, standard deviation."""
SAMPLE_SIGMA = 1.3e-9
"""Noise of one sample, A: 0.8 of the converter's steps of 153 uV."""
SENSE_SIGMA = 2e-4
"""Relative error of the bit line's own measurement, standard deviation."""
SOURCE_SIGMA = 1e-3
"""Relative error of the read voltage, standard deviation; measured, so harmless."""


class Armed(NamedTuple):
    """What the next pulse on the bit line will meet: gates and source lines (V; gate 0 for off), since when (ns)."""

    gates: Floats
    levels: Floats
    since_ns: int


class Sensed(NamedTuple):
    """A column as its converters saw it: volts at the bit line, amperes of each row (clipped at `FULL_SCALE`)."""

    volts: float
    currents: Floats


class ColumnWires:
    """The column part of the fixture.

    Attributes:
        place: (array, column) whose bit line is connected, or None.
        pulses: seen since the gates were armed.
    """

    def __init__(self, bench: "Bench") -> None:
        self._bench = bench
        self.place: tuple[int, int] | None = None
        self.pulses = 0
        self._armed: Armed | None = None
        self._off = True
        rows = int(bench.chip.cells.shape[1])
        # The parts of one board, not events: they must not depend on what has happened to the chip.
        chance = np.random.Generator(np.random.Philox(key=[bench.seed, zlib.crc32(b"column parts")]))
        self._gate_error = LINE_SIGMA * chance.standard_normal(rows)
        self._level_error = LINE_SIGMA * chance.standard_normal(rows)
        self._gain = 1 + GAIN_SIGMA * chance.standard_normal(rows)
        self._offset = OFFSET_SIGMA * chance.standard_normal(rows)
        self._source = 1 + SOURCE_SIGMA * float(chance.standard_normal())
        self._sense = 1 + SENSE_SIGMA * float(chance.standard_normal())

    def connect(self, place: tuple[int, int] | None) -> None:
        """Connect a bit line, all gates off; or none."""
        self.place, self._armed, self._off, self.pulses = place, None, True, 0

    def arm(self, gates: Floats, levels: Floats) -> None:
        """Open gates and raise source lines for the next pulse on the bit line: V, shape (rows,), gate 0 for off."""
        self.pulses = 0
        self._armed = Armed(np.asarray(gates, np.float64), np.asarray(levels, np.float64), self._bench.clock.now_ns)
        self._off = False

    @property
    def armed(self) -> Armed | None:
        """What was armed last, whether its gates are still open or not."""
        return self._armed

    def waits(self) -> bool:
        """Whether gates are open for a pulse on the bit line."""
        if self.place is None or self._armed is None or self._off:
            return False
        self._off = self._bench.clock.now_ns - self._armed.since_ns > ARMED_NS
        return not self._off

    def pulse(self, volts: float, width: float) -> None:
        """A pulse of `width` s on the bit line; the board sees it and closes the gates 10 us after its end."""
        if self.waits() and abs(volts) >= DETECTED:
            self.pulses += 1
            self._bit_line(volts, width)
            self._off = True

    def stress(self, volts: float, seconds: float) -> None:
        """A DC level left on the bit line acts as one long pulse while the gates are open."""
        if self.waits() and abs(volts) > self._bench.law.v_quiet:
            self._bit_line(volts, seconds)

    def _bit_line(self, volts: float, width: float) -> None:
        armed = self._armed
        assert armed is not None
        rows = np.flatnonzero(armed.gates > 0)
        levels = armed.levels[rows] + self._level_error[rows]
        gates = armed.gates[rows] + self._gate_error[rows]
        load, _ = self._load(rows, gates)
        self._apply(rows, volts / (1 + COMMON_OHM * load) - levels, gates - levels, width)
        # The other bit lines are at ground, and saw the raised source lines for as long as the gates were open.
        self._others(rows, levels, gates, (self._bench.clock.now_ns - armed.since_ns) * 1e-9, self._bench.law.v_quiet)

    def reset(self, gates: Floats, levels: Floats, inhibit: float, width: float) -> None:
        """Pulse source lines, each to its level, for `width` s (which pass), the other bit lines at `inhibit`.

        Args:
            gates: V, shape (rows,); 0 keeps a row's source line at ground.
            levels: V, shape (rows,).
            inhibit: V.
            width: s.
        """
        self._armed, self._off = None, True
        rows = np.flatnonzero(gates > 0)
        opened, raised = gates[rows] + self._gate_error[rows], levels[rows] + self._level_error[rows]
        load, g = self._load(rows, opened)
        self._bench.clock.sleep(width)
        self._apply(rows, COMMON_OHM / (1 + COMMON_OHM * load) * float((g * raised).sum()) - raised, opened, width)
        self._others(rows, raised - inhibit, opened, width, 0.0)

    def _load(self, rows: npt.NDArray[np.intp], gates: Floats) -> tuple[float, Floats]:
        """What those cells conduct now, together and each, S."""
        assert self.place is not None
        array, col = self.place
        chip = self._bench.chip
        where = (array, rows, col)
        g = np.asarray(chip.conductance(where, self._bench.clock.now_ns)) * (gates > chip.cells["v_t"][where])
        return float(g.sum()), g

    def _apply(self, rows: npt.NDArray[np.intp], across: Floats, gates: Floats, width: float) -> None:
        """Each row's cell sees its own voltage, bit line against source line."""
        bench = self._bench
        assert self.place is not None
        array, col = self.place
        now = bench.clock.now_ns
        for kind, chosen, act in (
            ("set", across >= 0, bench.chip.set_pulse),
            ("reset", across < 0, bench.chip.reset_pulse),
        ):
            if not chosen.any():
                continue
            where = (array, rows[chosen], col)
            energies = act(where, np.abs(across[chosen]), gates[chosen], width, now, bench.rng(kind))
            for row, volts, gate, energy in zip(
                rows[chosen].tolist(), across[chosen].tolist(), gates[chosen].tolist(), energies.tolist(), strict=True
            ):
                bench.ledger.drive(now * 1e-9, kind, (array, row, col), volts, gate, width, energy)

    def _others(self, rows: npt.NDArray[np.intp], volts: Floats, gates: Floats, width: float, quiet: float) -> None:
        """What the same rows' cells on the other bit lines see: `volts` source line against bit line."""
        bench = self._bench
        assert self.place is not None
        array, col = self.place
        strongest = float(np.abs(volts).max(initial=0.0))
        highest = bench.ledger.highest
        highest["half"] = max(highest.get("half", 0.0), strongest)
        if strongest <= quiet or not bench.law.disturbs(strongest):  # no cell could move visibly
            return
        others = np.array([c for c in range(bench.chip.cells.shape[2]) if c != col])
        for chosen, act in ((volts > 0, bench.chip.reset_pulse), (volts < 0, bench.chip.set_pulse)):
            if chosen.any():
                where = (array, rows[chosen][:, None], others[None, :])
                v, g = np.abs(volts[chosen])[:, None], gates[chosen][:, None]
                act(where, v, g, width, bench.clock.now_ns, bench.rng("half"))

    def sense(self, volts: float, gate: float, samples: int, rows: npt.NDArray[np.bool_]) -> Sensed:
        """Read rows at once; the time passes.

        Args:
            volts: asked for on the bit line.
            gate: on the word lines of those rows, V; 0 on the others.
            samples: to average.
            rows: which, shape (rows,).

        Returns:
            The currents of those rows alone, in order.
        """
        bench = self._bench
        assert self.place is not None
        self._armed, self._off = None, True
        clock, chosen = bench.clock, np.flatnonzero(rows)
        integration = samples * SAMPLE
        clock.sleep(READ_SETTLE)
        array, col = self.place
        where = (array, chosen, col)
        now = clock.now_ns
        clock.sleep(integration)
        g = bench.chip.sense(where, now, integration, bench.rng("sense"))
        gates = gate + self._gate_error[chosen]
        g = np.where(gates > bench.chip.cells["v_t"][where], g, bench.law.g_leak)
        across = volts * self._source
        noise = bench.rng("converter").standard_normal(len(chosen) + 1) / np.sqrt(samples)
        currents = across * g * self._gain[chosen] + self._offset[chosen] + SAMPLE_SIGMA * noise[1:]
        for row, one, opened in zip(chosen.tolist(), g.tolist(), gates.tolist(), strict=True):
            energy = across * across * one * integration
            bench.ledger.drive(now * 1e-9, "read", (array, row, col), across, opened, integration, energy)
        clock.sleep(READ_SETTLE)
        return Sensed(across * self._sense + 20e-6 * float(noise[0]), np.clip(currents, -FULL_SCALE, FULL_SCALE))
