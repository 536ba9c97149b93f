"""The closed loop on the bench: a drive on the board, offsets calibrated, solutions sampled on the oscilloscope."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from analysis.calibration import LoopErrors, fit_loop, fit_network
from analysis.diffusion.hardware import UNIT_VOLT, AnalogNetwork, Drive
from analysis.mapping import NetworkMap
from analysis.records import RunWriter
from instruments.oscilloscope import ChannelSetup, Oscilloscope, Timebase, Trigger
from instruments.station import Station
from workflows.errors import RequestError
from workflows.procedures.solve import (
    BoardProgram,
    Solving,
    board_program,
    final_state,
    load_board,
    meant_loop,
    meant_slope,
)

Array = npt.NDArray[np.float64]
USUAL_RANGES = (1.6, 1.6, 1.6, 1.6)
"""V, full scale of the channels on x, y and the network's outputs."""


@dataclass
class Loop:
    """The loop around programmed arrays.

    Args:
        station: open, with an oscilloscope.
        writer: the run's records.
        placed: where the network's layers are.
        network: the circuit as measured; with its offsets once they are known.
        drive: what is played.
        seed: of the initial states.
        points: oscilloscope samples a solution.
        stop: asked before every solution.
        told: told of a phase's progress: name, done, total.

    Attributes:
        errors: what the loop adds to its equation, once it was calibrated.
        program: what the board has been loaded with.
    """

    station: Station
    writer: RunWriter
    placed: NetworkMap
    network: AnalogNetwork
    drive: Drive
    seed: int
    points: int
    stop: Callable[[], bool] = lambda: False
    told: Callable[[str, int, int], None] = lambda name, done, total: None
    errors: LoopErrors | None = None
    program: BoardProgram | None = None
    scope: Oscilloscope = field(init=False)
    solving: Solving = field(init=False)

    def __post_init__(self) -> None:
        """Find the oscilloscope.

        Raises:
            RequestError: the station has none.
        """
        scope = self.station.scope
        if scope is None:
            raise RequestError(f"station {self.station.file.name} has no oscilloscope; name one under `instruments:`")
        self.scope = scope
        self.solving = Solving(self.station.board, scope, self.station.clock, self.writer, stop=self.stop)

    def load(self, drive: Drive | None = None) -> None:
        """Leave programming mode, put a drive (or the present one) on the board, set the oscilloscope up for it."""
        self.drive = drive or self.drive
        self.station.array.safe()
        self.program = board_program(self.drive, self.placed, self.errors)
        self.reload()
        self.watch(self.program.duration)

    def reload(self) -> None:
        """Put on the board again what it was loaded with."""
        assert self.program is not None
        load_board(self.station.board, self.program, self.placed)

    def watch(self, duration: float, points: int | None = None, ranges: tuple[float, ...] = USUAL_RANGES) -> None:
        """Set the oscilloscope up for runs of `duration` s."""
        channels = {i + 1: ChannelSetup(r, 0.0) for i, r in enumerate(ranges)}
        timebase = Timebase(1.1 * duration, 0.05 * duration, points or self.points)
        self.scope.configure(channels, timebase, Trigger("EXT", 1.5, "rising"))

    def starts(self, n: int, stream: int) -> Array:
        """Initial states (n, 2) in V, drawn from the drive's prior."""
        rng = np.random.default_rng([self.seed, stream])
        return np.asarray(np.clip(UNIT_VOLT * self.drive.prior.draw(n, rng), -0.99, 0.99))

    def sample(self, n: int, name: str, stream: int, *, record: bool, first: int = 0) -> Array:
        """Sample `n` solutions; gives their final states (n, 2) in units. What is not recorded whole is kept as data.

        A resumed run goes on behind the last solution that was recorded (earlier ones are NaN in what this gives).

        Args:
            n: solutions.
            name: of the phase and its data.
            stream: of the initial states.
            record: keep each capture.
            first: number of the first solution among the run's captures.
        """
        assert self.program is not None
        self.writer.phase(name)
        starts = self.starts(n, stream)
        ends = np.full((n, 2), np.nan)
        state = self.writer.state
        captures = state.captures.get(self.solving.scope_name, 0) if record and state is not None else 0
        for i in range(min(max(captures - first, 0), n), n):
            capture = self.solving.run(starts[i], record=record, index=first + i)
            ends[i] = final_state(capture, self.program.duration) / UNIT_VOLT
            self.told(name, i + 1, n)
        self.writer.data(f"{name}/start", starts / UNIT_VOLT, title="initial states, units of 0.1 V")
        if not record:
            self.writer.data(f"{name}/end", ends, title="final states, units of 0.1 V")
        return ends

    def calibrate(self, runs: int, rounds: int, first: int) -> None:
        """Measure what the loop adds to its equation and take it away; fit the offsets inside the network.

        Args:
            runs: solutions a round.
            rounds: measurements; each corrects what the one before left.
            first: number of the first round, for the records.
        """
        assert self.program is not None
        self.writer.phase("calibrate")
        for turn in range(first, first + rounds):
            captures = []
            for i, start in enumerate(self.starts(runs, 100 + turn)):
                captures.append(self.solving.run(start, record=False))
                self.told("calibrating", (turn - first) * runs + i + 1, rounds * runs)
            times = captures[0].times
            inside = (times >= 0) & (times < self.program.duration)
            volts = np.stack([c.volts[:, inside] for c in captures])
            x, n = volts[:, :2].transpose(0, 2, 1), volts[:, 2:4].transpose(0, 2, 1)
            left = fit_loop(times[inside], x, n, meant_loop(self.drive), meant_slope(self.drive))
            self.errors = left.plus(self.errors)
            self._keep(turn, left, self._fit_network(times[inside], x, n))
            self.load()

    def _fit_network(self, times: Array, x: Array, n: Array) -> tuple[float, float]:
        every = slice(None, None, max(1, len(times) // 60))
        tick = np.clip((times[every] * self.drive.ticks).astype(int), 0, self.drive.ticks - 1)
        offsets, before, after = fit_network(
            replace(self.network, offsets=None),
            x[:, every].reshape(-1, 2),
            n[:, every].reshape(-1, 2),
            np.tile(self.drive.embedding[tick], (len(x), 1)),
        )
        self.network = replace(self.network, offsets=offsets)
        return before, after

    def _keep(self, turn: int, left: LoopErrors, misfit: tuple[float, float]) -> None:
        title = "loop errors left before this round: constant fx g2 x n; x y"
        self.writer.data(f"calibration/loop_{turn}", left.coefficients, title=title)
        self.writer.data(f"calibration/sigma_{turn}", left.sigma, title="their standard errors")
        title = "network outputs against the model: before, after fitting offsets"
        self.writer.data(f"calibration/misfit_{turn}", np.array(misfit), units="V", title=title)

    def keep_drive(self) -> None:
        """Record what the board plays."""
        assert self.program is not None
        title = "DAC voltages: g2 fx t1..t14 noise1 noise2"
        self.writer.data("drive/table", self.program.table, units="V", title=title)
        analog = [*self.program.feedback, self.program.kx, self.program.kn, self.program.kz]
        self.writer.data("drive/analog", np.array(analog), title="feedback 1-3 (ohm), kx, kn (1/(V s)), kz (1/s)")
