"""The board computes: a trained drive on its DACs, the arrays in the loop, oscilloscopes watching.

Units: the algorithm's unit is 0.1 V on the board (paper, Results). Everything a run plays is uploaded before; a sample
is then an initial state, an armed oscilloscope, and a start.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.calibration import LoopErrors, LoopTables
from analysis.diffusion.hardware import UNIT_VOLT, AnalogNetwork, Drive
from analysis.mapping import NetworkMap
from analysis.records import Recorder
from instruments.board import Board
from instruments.clock import Clock
from instruments.oscilloscope import Capture, Oscilloscope
from workflows.errors import Interrupted

Array = npt.NDArray[np.float64]

TICK = 5e-3
"""s between two updates of the DACs (published firmware)."""
EMBEDDING_VOLTS = 0.5
"""DAC volts per unit of embedding (published firmware: five times its bias of 0.1 V)."""
OUTPUT_GAIN = 5.0
"""V/V behind the last layer: the published network multiplies its output by 5."""
LEAST_FEEDBACK = 10e3
"""ohm; the smallest feedback that the board's potentiometers can be set to (extended dialect)."""
KZ_TRIM, KZ_NOISE = 1.0, 8.0
"""Gain of the noise channels, 1/s: small for fine trims, large for the noise of an SDE."""


@dataclass(frozen=True)
class BoardProgram:
    """What a run plays: the table (ticks, 18) V and the analog settings it was made for."""

    table: Array
    kx: float
    kn: float
    kz: float
    feedback: tuple[float, float, float]
    noise: str

    @property
    def duration(self) -> float:
        """Of a run, s."""
        return len(self.table) * TICK


def meant_loop(drive: Drive) -> LoopTables:
    """What a loop under this drive is meant to follow."""
    return LoopTables(drive.fx, drive.g2, TICK, drive.kf, drive.kg / OUTPUT_GAIN, OUTPUT_GAIN)


def meant_slope(drive: Drive) -> Array:
    """The drive's own trim as a slope, V/s, shape (2,)."""
    return np.asarray(UNIT_VOLT * drive.trim / (drive.ticks * TICK))


def board_program(drive: Drive, network: NetworkMap, errors: LoopErrors | None = None) -> BoardProgram:
    """Turn a drive into a table and potentiometer settings.

    Args:
        drive: tables in units of the algorithm.
        network: gives the layers' gains.
        errors: what the loop adds by itself, from a calibration; the table then takes it away.
    """
    loop = meant_loop(drive)
    fx, g2 = (drive.fx, drive.g2) if errors is None else errors.corrected(loop)
    table = np.zeros((drive.ticks, 18))
    table[:, 0], table[:, 1] = g2, fx
    table[:, 2:16] = EMBEDDING_VOLTS * drive.embedding
    stochastic = drive.noise is not None and bool(np.any(drive.noise))
    kz = KZ_NOISE if stochastic else KZ_TRIM
    if stochastic and drive.noise is not None:
        # One draw is held for a tick: a diffusion of s units per square root of a run needs this amplitude.
        duration = drive.ticks * TICK
        table[:, 16:] = (UNIT_VOLT * drive.noise * np.sqrt(TICK / duration) / (kz * TICK))[:, None]
    else:
        table[:, 16:] = meant_slope(drive) / kz + (0.0 if errors is None else errors.trim(loop, kz))
    first, second, third = (layer.gain for layer in network.layers)
    return BoardProgram(
        np.clip(table, -1.0, 0.9995),
        kx=drive.kf,
        kn=drive.kg / OUTPUT_GAIN,
        kz=kz,
        feedback=(first, second, third),
        noise="on" if stochastic else "trim",
    )


def load_board(board: Board, program: BoardProgram, network: NetworkMap) -> None:
    """Put everything a run plays on the board; nothing is computed yet. The board is in computing mode afterwards."""
    board.mode("compute")
    for number, layer in enumerate(network.layers, 1):
        board.set_route(number, layer.array, layer.rows.tolist(), layer.columns.tolist())
    for name, value in (("rf1", 0), ("rf2", 1), ("rf3", 2)):
        board.set_analog(name, program.feedback[value])  # type: ignore[arg-type]  # the three names
    board.set_analog("out", OUTPUT_GAIN)
    board.set_analog("kx", program.kx)
    board.set_analog("kn", program.kn)
    board.set_analog("kz", program.kz)
    board.upload_table(program.table)
    board.set_noise(program.noise)  # type: ignore[arg-type]  # "on" or "trim"


def keep_network(writer: Recorder, placed: NetworkMap, network: AnalogNetwork) -> None:
    """Record where the layers are and with which gains they are read."""
    writer.data("network/gains", np.array(network.gains), units="1/S", title="units per siemens, by layer")
    for i, layer in enumerate(placed.layers):
        writer.data(f"network/rows_{i + 1}", layer.rows, title="source lines of the layer's outputs")
        writer.data(f"network/columns_{i + 1}", layer.columns, title="bit lines of its inputs, bias last")


Mover = Callable[[str, Mapping[int, str]], None]
"""Whoever hangs an oscilloscope's probes (its name; channel -> node) on nodes: a person, or the twin."""


@dataclass
class Solving:
    """A board that is loaded, and the oscilloscope that watches it.

    Args:
        board, scope, clock: of the station.
        writer: the run's records.
        scope_name: what the records call the oscilloscope.
        stop: asked before every run.
    """

    board: Board
    scope: Oscilloscope
    clock: Clock
    writer: Recorder
    scope_name: str = "scope1"
    stop: Callable[[], bool] = lambda: False

    def run(
        self, initial: Sequence[float] | Array, *, record: bool = True, index: int = -1, name: str | None = None
    ) -> Capture:
        """One solution from an initial state (2,) in V; the capture is recorded unless told otherwise.

        Raises:
            Interrupted: `stop` said so, before anything was started.
        """
        if self.stop():
            raise Interrupted("stopped on request; outputs are safe")
        started = self.clock.now()
        self.board.set_initial_state(float(initial[0]), float(initial[1]))
        self.scope.arm()
        self.board.start_run()
        self.board.wait_done()
        self.scope.wait(timeout=10.0)
        capture = self.scope.read()
        if record:
            self.writer.event("compute", -1, -1, array=-1, t=started, duration=self.clock.now() - started)
            self.writer.waveform(
                name or self.scope_name, capture.codes, y_increment=capture.y_increment.tolist(),
                y_origin=capture.y_origin.tolist(), y_reference=capture.y_reference.tolist(),
                x_increment=capture.x_increment, x_origin=capture.x_origin, index=index,
            )  # fmt: skip
        return capture


def final_state(capture: Capture, duration: float, window: float = 4e-3) -> Array:
    """The result of a run: the first two channels averaged over the last `window` s before `duration`, V (2,)."""
    times = capture.times
    inside = (times > duration - window) & (times < duration)
    return np.asarray(capture.volts[:2, inside].mean(axis=1))
