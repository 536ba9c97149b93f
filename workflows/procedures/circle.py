"""The experiment of the paper's Fig. 3: a circle out of noise, solved by programmed arrays, seen on an oscilloscope.

Train (or take from the cache), map, program, read back, compensate, sample uncalibrated, calibrate, measure the vector
field and a solution's waveforms, sample; judging and costing is the analysis' work, from the run file.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from analysis.diffusion.compensation import CompensationSettings, compensate
from analysis.diffusion.data import ring_training_set
from analysis.diffusion.hardware import AnalogNetwork, Drive
from analysis.diffusion.model import TrainedModel, circuit_of
from analysis.diffusion.training import RECIPES, train_cached
from analysis.mapping import NetworkMap
from analysis.records import RunWriter
from instruments.station import Station
from workflows.procedures.circle_options import CircleOptions
from workflows.procedures.loop import Loop
from workflows.procedures.network_arrays import NetworkArrays
from workflows.procedures.nodes import look_at_nodes
from workflows.procedures.program import Progress
from workflows.procedures.solve import Mover, keep_network, load_board

Array = npt.NDArray[np.float64]


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
    request: CircleOptions
    cache: Path
    move: Mover
    stop: Callable[[], bool] = lambda: False
    listener: Callable[[Progress], None] | None = None
    told: Callable[[str, int, int], None] = lambda name, done, total: None

    model: TrainedModel | None = None
    map: NetworkMap | None = None
    network: AnalogNetwork | None = None
    loop: Loop | None = None
    ends: Array | None = None

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng([self.request.seed, 3])
        r = self.request
        self.arrays = NetworkArrays(
            self.station, self.writer, r.tolerance, r.verify, r.budget, self.stop, self.listener
        )  # fmt: skip
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
        """Map the network onto the arrays, program it, and take the network for what the cells then are."""
        measured = self.arrays.program(self._place)
        assert self.map is not None
        self.network = circuit_of(self.map, measured[: len(self.map.layers)])
        keep_network(self.writer, self.map, self.network)

    def _place(self, stuck: Array) -> Array:
        assert self.model is not None
        self.map = self.model.map(stuck=stuck[: len(self.model.weights)])
        target = np.full(stuck.shape, np.nan)
        target[: len(self.map.target)] = self.map.target
        return target

    def compensate(self) -> None:
        """With the chip as measured, train again what stays digital."""
        assert self.model is not None
        assert self.network is not None
        assert self.map is not None
        drive = self._compensated(self.network, self.model.drive)
        self.loop = Loop(
            self.station, self.writer, self.map, self.network, drive, self.request.seed, self.request.points,
            self.stop, self.told,
        )  # fmt: skip

    def _compensated(self, network: AnalogNetwork, drive: Drive) -> Drive:
        self.told("compensating", 0, 1)
        if self.request.compensation:
            settings = CompensationSettings(iterations=self.request.compensation)
            network, drive = compensate(network, drive, self.data, self.rng, settings)
            self.network = network
        self.told("compensating", 1, 1)
        return drive

    def sample(self, n: int, name: str, stream: int, *, record: bool) -> None:
        """Sample `n` solutions; see `Loop.sample`."""
        assert self.loop is not None
        self.ends = self.loop.sample(n, name, stream, record=record)

    def calibrate(self, rounds: int, first: int) -> None:
        """Calibrate the loop; see `Loop.calibrate`."""
        assert self.loop is not None
        self.loop.calibrate(self.request.calibration_runs, rounds, first)

    def recompensate(self) -> None:
        """Compensate with the offsets known; the loop gains change with it, so the loop's errors are unknown again."""
        loop = self.loop
        assert loop is not None
        drive = self._compensated(loop.network, loop.drive)
        assert self.network is not None
        loop.network = self.network
        loop.errors = None
        loop.load(drive)

    def vector_field(self) -> None:
        """The network's outputs on a grid at t = 0.5 s with the integrators held (Fig. 3d)."""
        loop = self.loop
        assert loop is not None
        assert loop.program is not None
        count = self.request.field
        if not count:
            return
        self.writer.phase("field")
        half = loop.drive.ticks // 2
        still = np.tile(loop.program.table[half], (4, 1))
        still[:, :2], still[:, 16:] = 0.0, loop.program.table[half, 16:]
        held = replace(loop.program, table=still)
        load_board(self.station.board, held, loop.placed)
        loop.watch(held.duration, 500, (1.6, 1.6, 3.2, 3.2))
        axis = np.linspace(-0.15, 0.15, count)
        grid = np.stack(np.meshgrid(axis, axis, indexing="xy"), axis=-1).reshape(-1, 2)
        outputs = np.empty_like(grid)
        for i, point in enumerate(grid):
            capture = loop.solving.run(point, record=False)
            times = capture.times
            inside = (times > 0.2 * held.duration) & (times < 0.9 * held.duration)
            outputs[i] = capture.volts[2:4, inside].mean(axis=1)
            self.told("vector field", i + 1, len(grid))
        self.writer.data("field/points", grid, units="V", title="integrator voltages")
        self.writer.data("field/outputs", outputs, units="V", title="network outputs at t = 0.5 s")
        loop.reload()

    def waveforms(self) -> None:
        """One solution from the paper's initial state seen at every node in turn (Fig. 3a), a few more for Fig. 3c."""
        assert self.loop is not None
        look_at_nodes(self.loop, self.move)


def circle(run: CircleRun, around: Callable[[str, Callable[[], object]], object] = lambda name, work: work()) -> None:
    """The whole experiment. `around` is called with a name and each phase, to do it; a flow puts a task around it."""
    request = run.request
    around("train", run.train)
    around("program", run.program_arrays)
    around("compensate", run.compensate)
    loop = run.loop
    assert loop is not None
    around("load the board", loop.load)
    if request.uncalibrated:
        around("sample uncalibrated", lambda: run.sample(request.uncalibrated, "uncalibrated", 50, record=False))
    if request.calibration_rounds:
        around("calibrate", lambda: run.calibrate(1, 1))
        around("compensate with offsets", run.recompensate)
        around("calibrate again", lambda: run.calibrate(request.calibration_rounds, 2))
    around("vector field", run.vector_field)
    around("waveforms", run.waveforms)
    loop.keep_drive()
    around("sample", lambda: run.sample(request.samples, "samples", 51, record=True))
