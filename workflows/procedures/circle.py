"""The experiment of the paper's Fig. 3: a circle out of noise, solved by programmed arrays, seen on an oscilloscope.

Train (or take from the cache), map, program, read back, compensate, sample uncalibrated, calibrate, measure the vector
field and a solution's waveforms, sample; judging and costing is the analysis' work, from the run file.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from analysis.calibration import LoopErrors, fit_loop, fit_network
from analysis.diffusion.compensation import CompensationSettings, compensate
from analysis.diffusion.data import ring_training_set
from analysis.diffusion.hardware import UNIT_VOLT, AnalogNetwork, Drive
from analysis.diffusion.model import TrainedModel, circuit_of
from analysis.diffusion.training import RECIPES, train_cached
from analysis.mapping import NetworkMap
from analysis.records import RunWriter
from instruments.oscilloscope import ChannelSetup, Timebase, Trigger
from instruments.station import Station
from workflows.errors import RequestError
from workflows.procedures.circle_request import CircleRequest
from workflows.procedures.program import Programming, ProgramRequest, Progress
from workflows.procedures.solve import (
    BoardProgram,
    Mover,
    Solving,
    board_program,
    final_state,
    load_board,
    meant_loop,
    meant_slope,
)

Array = npt.NDArray[np.float64]

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


@dataclass
class CircleRun:
    """The experiment under way; each method is one phase, in this order.

    Args:
        station: open station with an oscilloscope.
        writer: the run's records.
        request: checked.
        cache: folder of trained networks.
        move: hangs probes on nodes.
        stop: asked between pulses and solutions.
        listener: told of programming progress.
        told: told of a phase's progress: name, done, total.
    """

    station: Station
    writer: RunWriter
    request: CircleRequest
    cache: Path
    move: Mover
    stop: Callable[[], bool] = lambda: False
    listener: Callable[[Progress], None] | None = None
    told: Callable[[str, int, int], None] = lambda name, done, total: None

    model: TrainedModel | None = None
    map: NetworkMap | None = None
    network: AnalogNetwork | None = None
    drive: Drive | None = None
    errors: LoopErrors | None = None
    program: BoardProgram | None = None
    ends: Array | None = None

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng([self.request.seed, 3])
        scope = self.station.scope
        if scope is None:
            raise RequestError(f"station {self.station.file.name} has no oscilloscope; name one under `instruments:`")
        self.scope = scope
        self.solving = Solving(self.station.board, scope, self.station.clock, self.writer, stop=self.stop)
        self._verdicts: dict[tuple[int, int, int], tuple[float, str, float]] = {}
        self.data = ring_training_set(np.random.default_rng([self.request.seed, 7]))

    def train(self) -> None:
        """Train the network, or take it from the cache, and keep it in the run."""
        self.writer.phase("train")
        self.told("training", 0, 1)
        self.model, cached = train_cached(self.cache, RECIPES[self.request.recipe], self.request.seed, self.data)
        self.writer.note(f"network {'taken from the cache' if cached else 'trained'}: recipe {self.request.recipe}")
        for i, weights in enumerate(self.model.weights):
            self.writer.data(f"model/weights_{i + 1}", weights, title=f"weights of layer {i + 1}, bias last")
        self.told("training", 1, 1)

    def program_arrays(self) -> None:
        """Map the network onto the arrays and program it; cells that fail are mapped around, once or twice.

        A resumed run goes on from its verdicts: a cell that has what it should have is not touched again.
        """
        assert self.model is not None
        self.writer.phase("program")
        shape = self.station.file.shape
        state = self.writer.state
        stuck = np.full(shape, np.nan)
        if state is not None:
            stuck = state.maps.get("stuck", stuck).reshape(shape)
            targets = state.maps["conductance_target"].reshape(shape)
            g = state.cells["conductance"].reshape(shape)
            self._verdicts = {c: (float(targets[c]), verdict, float(g[c])) for c, verdict in state.finished.items()}
        for attempt in range(3):
            self.map = self.model.map(stuck=stuck[: len(self.model.weights)])
            target = np.full(shape, np.nan)
            target[: len(self.map.target)] = self.map.target
            self.writer.map("stuck", stuck, title="cells that can't be programmed, with what they have")
            self.writer.map("conductance_target", target, title="target conductance")
            failed = self._program(target, first=attempt == 0)
            if not failed or attempt == 2:
                break
            self.writer.note(f"{len(failed)} cells can't be programmed; the network is mapped around them")
            for cell, g_failed in failed.items():
                stuck[cell] = g_failed
        self._measure(target)
        self.station.array.safe()  # what follows is thinking: minutes in which nothing needs to be driven

    def _program(self, target: Array, *, first: bool) -> dict[tuple[int, int, int], float]:
        """Program what is not programmed yet; gives the cells that can't be, with their conductance."""
        r = self.request
        request = ProgramRequest(target, tuple(range(len(target))), r.tolerance, r.verify, r.budget, settle_rows=4)
        request.check(self.station.file.shape, self.station.file.limits)
        job = Programming(self.station.array, self.writer, request, self.stop)
        job.finished = {c: verdict for c, (wanted, verdict, _) in self._verdicts.items() if wanted == target[c]}
        if self.writer.state is None or not first:  # else begin() counts them
            job.progress.done = job.progress.inside = sum(v == "ok" for v in job.finished.values())
        if self.listener:
            job.progress.listeners.append(self.listener)
        if first:
            job.begin()
        else:
            self.station.array.prepare()
        for step in job.steps():
            job.run(step)
        for cell, verdict in job.finished.items():
            if cell not in self._verdicts or self._verdicts[cell][0] != target[cell]:
                self._verdicts[cell] = (float(target[cell]), verdict, job.last_read(cell))
        return {c: g for c, (wanted, verdict, g) in self._verdicts.items() if verdict != "ok" and wanted == target[c]}

    def _measure(self, target: Array) -> None:
        """Read every cell of the network, and take the network for what the cells are."""
        assert self.map is not None
        request = ProgramRequest(target, tuple(range(len(target))))
        job = Programming(self.station.array, self.writer, request, self.stop)
        for _ in job.read_rows("conductance_after", "conductance after programming"):
            pass
        measured = job.measured()
        self.network = circuit_of(self.map, measured[: len(self.map.layers)])
        self.writer.data(
            "network/gains", np.array(self.network.gains), units="1/S", title="units per siemens, by layer"
        )
        for i, layer in enumerate(self.map.layers):
            self.writer.data(f"network/rows_{i + 1}", layer.rows, title="source lines of the layer's outputs")
            self.writer.data(f"network/columns_{i + 1}", layer.columns, title="bit lines of its inputs, bias last")

    def compensate(self) -> None:
        """With the chip as measured, train again what stays digital; offsets count once they are known."""
        assert self.model is not None
        assert self.network is not None
        self.told("compensating", 0, 1)
        self.drive = self.drive or self.model.drive
        if self.request.compensation:
            settings = CompensationSettings(iterations=self.request.compensation)
            self.network, self.drive = compensate(self.network, self.drive, self.data, self.rng, settings)
        self.told("compensating", 1, 1)

    def prepare_board(self) -> None:
        """Leave programming mode, put tables and settings on the board, set the oscilloscope up for sampling."""
        assert self.map is not None
        assert self.drive is not None
        self.station.array.safe()
        self.program = board_program(self.drive, self.map, self.errors)
        load_board(self.station.board, self.program, self.map)
        self._watch(self.program.duration)

    def _watch(
        self, duration: float, points: int | None = None, ranges: tuple[float, ...] = (1.6, 1.6, 1.6, 1.6)
    ) -> None:
        channels = {i + 1: ChannelSetup(r, 0.0) for i, r in enumerate(ranges)}
        timebase = Timebase(1.1 * duration, 0.05 * duration, points or self.request.points)
        self.scope.configure(channels, timebase, Trigger("EXT", 1.5, "rising"))

    def start_states(self, n: int, stream: int) -> Array:
        """Initial states (n, 2) in V, drawn from the drive's prior."""
        assert self.drive is not None
        rng = np.random.default_rng([self.request.seed, stream])
        return np.asarray(np.clip(UNIT_VOLT * self.drive.prior.draw(n, rng), -0.99, 0.99))

    def sample(self, n: int, name: str, stream: int, *, record: bool) -> Array:
        """Sample `n` solutions; gives their final states (n, 2) in units. What is not recorded whole is kept as data.

        A resumed run goes on behind the last solution that was recorded (earlier ones are NaN in what this gives).
        """
        assert self.program is not None
        self.writer.phase(name)
        starts = self.start_states(n, stream)
        ends = np.full((n, 2), np.nan)
        state = self.writer.state
        done = state.captures.get(self.solving.scope_name, 0) if record and state is not None else 0
        for i in range(done, n):
            capture = self.solving.run(starts[i], record=record, index=i)
            ends[i] = final_state(capture, self.program.duration) / UNIT_VOLT
            self.told(name, i + 1, n)
        self.writer.data(f"{name}/start", starts / UNIT_VOLT, title="initial states, units of 0.1 V")
        if not record:
            self.writer.data(f"{name}/end", ends, title="final states, units of 0.1 V")
        self.ends = ends
        return ends

    def calibrate(self, rounds: int, first: int) -> None:
        """Measure what the loop adds to its equation and take it away; fit the offsets inside the network.

        Args:
            rounds: measurements; each corrects what the one before left.
            first: number of the first round, for the records.
        """
        assert self.drive is not None
        assert self.program is not None
        count = self.request.calibration_runs
        self.writer.phase("calibrate")
        for turn in range(first, first + rounds):
            captures = []
            for i, start in enumerate(self.start_states(count, 100 + turn)):
                captures.append(self.solving.run(start, record=False))
                self.told("calibrating", (turn - first) * count + i + 1, rounds * count)
            times = captures[0].times
            inside = (times >= 0) & (times < self.program.duration)
            volts = np.stack([c.volts[:, inside] for c in captures])
            x, n = volts[:, :2].transpose(0, 2, 1), volts[:, 2:4].transpose(0, 2, 1)
            left = fit_loop(times[inside], x, n, meant_loop(self.drive), meant_slope(self.drive))
            self.errors = left.plus(self.errors)
            self._keep_calibration(turn, left, self._fit_network(times[inside], x, n))
            self.prepare_board()

    def _fit_network(self, times: Array, x: Array, n: Array) -> tuple[float, float]:
        assert self.drive is not None
        assert self.network is not None
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

    def _keep_calibration(self, turn: int, left: LoopErrors, misfit: tuple[float, float]) -> None:
        title = "loop errors left before this round: constant fx g2 x n; x y"
        self.writer.data(f"calibration/loop_{turn}", left.coefficients, title=title)
        self.writer.data(f"calibration/sigma_{turn}", left.sigma, title="their standard errors")
        title = "network outputs against the model: before, after fitting offsets"
        self.writer.data(f"calibration/misfit_{turn}", np.array(misfit), units="V", title=title)

    def recompensate(self) -> None:
        """Compensate with the offsets known; the loop gains change with it, so the loop's errors are unknown again."""
        self.compensate()
        self.errors = None
        self.prepare_board()

    def vector_field(self) -> None:
        """The network's outputs on a grid at t = 0.5 s with the integrators held (Fig. 3d)."""
        assert self.drive is not None
        assert self.map is not None
        assert self.program is not None
        count = self.request.field
        if not count:
            return
        self.writer.phase("field")
        half = self.drive.ticks // 2
        still = np.tile(self.program.table[half], (4, 1))
        still[:, :2], still[:, 16:] = 0.0, self.program.table[half, 16:]
        held = replace(self.program, table=still)
        load_board(self.station.board, held, self.map)
        self._watch(held.duration, 500, (1.6, 1.6, 3.2, 3.2))
        axis = np.linspace(-0.15, 0.15, count)
        grid = np.stack(np.meshgrid(axis, axis, indexing="xy"), axis=-1).reshape(-1, 2)
        outputs = np.empty_like(grid)
        for i, point in enumerate(grid):
            capture = self.solving.run(point, record=False)
            times = capture.times
            inside = (times > 0.2 * held.duration) & (times < 0.9 * held.duration)
            outputs[i] = capture.volts[2:4, inside].mean(axis=1)
            self.told("vector field", i + 1, len(grid))
        self.writer.data("field/points", grid, units="V", title="integrator voltages")
        self.writer.data("field/outputs", outputs, units="V", title="network outputs at t = 0.5 s")
        load_board(self.station.board, self.program, self.map)

    def waveforms(self) -> None:
        """One solution from (0.1, -0.1) V seen at every node in turn (Fig. 3a), a few more for Fig. 3c."""
        assert self.program is not None
        self.writer.phase("waveforms")
        for number, group in enumerate(PROBE_GROUPS):
            self.move("scope1", {i + 1: node for i, node in enumerate(group)})
            self._watch(self.program.duration, 2000, (3.2,) * 4)
            capture = self.solving.run(PAPER_START, record=False)
            self.writer.data(
                f"waveforms/{'_'.join(group)}", capture.volts[: len(group)], units="V", title=" ".join(group)
            )
            if number == 0 and self.station.bench is not None:
                energy = np.array([self.station.bench.solver.last.final()[1]])
                self.writer.twin("run_energy", energy, units="J", title="true energy in the arrays in this solution")
            others = [self.solving.run(start, record=False) for start in self.start_states(OTHER_STARTS, 60)]
            seen = np.stack([c.volts[: len(group), c.times >= 0][:, ::10] for c in others])
            self.writer.data(f"voltages/{'_'.join(group)}", seen, units="V", title="from other initial states")
            if number == 0:
                self.writer.data("waveforms/time", capture.times, units="s", title="time after the start")
            self.told("waveforms", number + 1, len(PROBE_GROUPS))
        self.move("scope1", {1: "x", 2: "y", 3: "nx", 4: "ny"})
        self._watch(self.program.duration)

    def keep_drive(self) -> None:
        """Record what the board plays in the end."""
        assert self.program is not None
        self.writer.data(
            "drive/table", self.program.table, units="V", title="DAC voltages: g2 fx t1..t14 noise1 noise2"
        )
        analog = [*self.program.feedback, self.program.kx, self.program.kn, self.program.kz]
        self.writer.data("drive/analog", np.array(analog), title="feedback 1-3 (ohm), kx, kn (1/(V s)), kz (1/s)")


def circle(run: CircleRun, around: Callable[[str, Callable[[], object]], object] = lambda name, work: work()) -> None:
    """The whole experiment. `around` is called with a name and each phase, to do it; a flow puts a task around it."""
    request = run.request
    around("train", run.train)
    around("program", run.program_arrays)
    around("compensate", run.compensate)
    around("load the board", run.prepare_board)
    if request.uncalibrated:
        around("sample uncalibrated", lambda: run.sample(request.uncalibrated, "uncalibrated", 50, record=False))
    if request.calibration_rounds:
        around("calibrate", lambda: run.calibrate(1, 1))
        around("compensate with offsets", run.recompensate)
        around("calibrate again", lambda: run.calibrate(request.calibration_rounds, 2))
    around("vector field", run.vector_field)
    around("waveforms", run.waveforms)
    run.keep_drive()
    around("sample", lambda: run.sample(request.samples, "samples", 51, record=True))
