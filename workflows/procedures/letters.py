"""The experiment of the paper's Fig. 4: handwritten letters out of noise, the decoder's weights on arrays, too.

One network of three arrays serves all classes: a class is a table of its own for the board's converters, currents at
the same nodes as the time's. Guidance needs the network with and without the condition at one instant, which one set
of arrays can't do; so the network is trained to flow as the guided score would have it
(`analysis.diffusion.conditional`).
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from analysis.diffusion.conditional import draw_guided
from analysis.diffusion.conditional_compensation import ClassCompensation, compensate_conditional
from analysis.diffusion.conditional_model import ConditionalModel
from analysis.diffusion.model import circuit_of
from analysis.letters.data import CLASSES
from analysis.letters.decoder_arrays import place_decoder, tile_decoder
from analysis.letters.emnist import load_emnist
from analysis.letters.judge import LetterJudge, guidance_curve
from analysis.letters.models import RECIPES, LetterModels, prepare, prepare_judge, training_letters
from analysis.letters.summary import SCORE_ARRAYS, keep_curve, keep_letters, keep_model
from analysis.mapping import NetworkMap
from analysis.records import RunWriter
from instruments.station import Station
from workflows.errors import RequestError
from workflows.procedures.controls import Around, Controls
from workflows.procedures.letters_options import SCHEME, LettersOptions
from workflows.procedures.loop import Loop
from workflows.procedures.network_arrays import NetworkArrays
from workflows.procedures.nodes import look_at_nodes
from workflows.procedures.solve import LEAST_FEEDBACK, Mover, keep_network

Array = npt.NDArray[np.float64]

ONE_START = (-0.025, -0.05)
"""V; an initial state between the classes, from which every condition leads to its own letter."""

_GUIDED = 3000
"""Draws of the guided digital network that stand for a class."""


@dataclass
class LettersRun:
    """The experiment under way; each method is one phase, in this order.

    Args:
        station: open, with an oscilloscope and enough arrays.
        writer: the run's records.
        request: checked.
        move: hangs probes on nodes.
        controls: the caller's.
    """

    station: Station
    writer: RunWriter
    request: LettersOptions
    move: Mover
    controls: Controls

    models: LetterModels | None = None
    judge: LetterJudge | None = None
    map: NetworkMap | None = None
    conditional: ConditionalModel | None = None
    loop: Loop | None = None

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng([self.request.seed, 3])

    def train(self) -> None:
        """Train everything, or take it from the cache, and keep it in the run with what it was trained on."""
        r = self.request
        self.writer.phase("train")
        recipe, cache = RECIPES[r.recipe], Path(r.cache)
        self.controls.told("training", 0, 1)
        letters = training_letters(recipe, r.seed, Path(r.data).expanduser() if r.data else None, r.split or None)
        steps = iter(range(1, 10))
        self.models = prepare(
            cache, letters, recipe, r.seed, r.guidance, lambda step: self.controls.told("training", next(steps), 5)
        )
        # Who reads the letters has seen others than those trained on, where there are any.
        read = load_emnist(Path(r.judge).expanduser()) if r.judge else letters if r.data else None
        self.judge = prepare_judge(cache, self.models, recipe, r.seed, read)
        self.controls.told("training", 5, 5)
        known = ", ".join(self.models.from_cache) or "nothing"
        self.writer.note(f"trained on {letters.source}; taken from the cache: {known}")
        keep_letters(self.writer, letters)
        keep_model(self.writer, "autoencoder", self.models.vae)
        keep_model(self.writer, "reader", self.judge.reader)
        keep_model(self.writer, "score", self.models.score)
        keep_model(self.writer, "network", self.models.network)
        # A layer's gain is its feedback, which has a least value: weights beyond are given fewer siemens a unit.
        scales = tuple(min(scale, 1.0 / LEAST_FEEDBACK) for scale in self.models.network.scales)
        self.conditional = replace(self.models.network, scales=scales)
        for i, weights in enumerate(self.conditional.weights):
            self.writer.data(f"model/weights_{i + 1}", weights, title=f"weights of layer {i + 1}, bias last")

    def program_arrays(self) -> None:
        """Map the score network and the decoder, program them, and take the network for what the cells then are."""
        r, c = self.request, self.controls
        arrays = NetworkArrays(self.station, self.writer, r.tolerance, r.verify, r.budget, c.stop, c.listener)
        measured = arrays.program(self._place)
        assert self.map is not None
        assert self.conditional is not None
        network = circuit_of(self.map, measured[:SCORE_ARRAYS])
        keep_network(self.writer, self.map, network)
        self.loop = Loop(
            self.station, self.writer, self.map, network, self.conditional.drive(r.labels[0], r.mode), r.seed,
            r.points, c.stop, c.told,
        )  # fmt: skip

    def _place(self, stuck: Array) -> Array:
        assert self.models is not None
        assert self.conditional is not None
        self.map = self.conditional.map(stuck=stuck[:SCORE_ARRAYS])
        target = np.full(stuck.shape, np.nan)
        target[: len(self.map.target)] = self.map.target
        needed = SCORE_ARRAYS + tile_decoder(self.models.vae.decoder, SCHEME).arrays
        if needed > len(target):
            raise RequestError(
                f"station {self.station.file.name} has {len(target)} arrays; the network and its decoder need "
                f"{needed}; use --recipe letters-small, or a station with more"
            )
        _, decoder = place_decoder(self.models.vae.decoder, stuck[SCORE_ARRAYS:], SCHEME)
        target[SCORE_ARRAYS:needed] = decoder
        return target

    def compensate(self) -> None:
        """With the chip as measured, train again what stays digital; offsets count once they are known."""
        loop = self.loop
        assert loop is not None
        assert self.models is not None
        assert self.conditional is not None
        self.controls.told("compensating", 0, 1)
        if self.request.compensation:
            settings = ClassCompensation(iterations=self.request.compensation)
            self.conditional = compensate_conditional(
                loop.network, self.conditional, self._targets(), self.rng, self.request.mode, settings
            )
        self.controls.told("compensating", 1, 1)
        loop.errors = None  # they were measured under other tables
        loop.load(self.conditional.drive(self.request.labels[0], self.request.mode))

    def _targets(self) -> tuple[Array, ...]:
        """What the chip is to end in: the encoded letters, or the guided draws of the digital network."""
        assert self.models is not None
        models, guidance = self.models, self.request.guidance
        if not guidance:
            return models.latents
        rng = np.random.default_rng([self.request.seed, 33])
        return tuple(draw_guided(models.score, k, _GUIDED, rng, guidance) for k in range(len(CLASSES)))

    def sample(self, n: int, name: str, *, record: bool) -> None:
        """Sample `n` solutions of each class, from the same initial states."""
        loop = self.loop
        assert loop is not None
        assert self.conditional is not None
        for i, label in enumerate(self.request.labels):
            loop.load(self.conditional.drive(label, self.request.mode))
            loop.sample(n, f"{name}_{CLASSES[label].lower()}", 51, record=record, first=i * n)

    def one_start(self) -> None:
        """One initial state under every condition, as the oscilloscope sees it (Fig. 4f)."""
        loop = self.loop
        assert loop is not None
        assert self.conditional is not None
        self.writer.phase("one start")
        for label in self.request.labels:
            loop.load(self.conditional.drive(label, self.request.mode))
            capture = loop.solving.run(ONE_START, record=False)
            name = f"one_start/{CLASSES[label].lower()}"
            self.writer.data(name, capture.volts[:2], units="V", title=f"x and y on the way to {CLASSES[label]}")
            self.writer.data("one_start/time", capture.times, units="s", title="time after the start")

    def waveforms(self) -> None:
        """Every node of the loop on the way to one letter."""
        loop = self.loop
        assert loop is not None
        assert self.conditional is not None
        loop.load(self.conditional.drive(self.request.labels[0], self.request.mode))
        look_at_nodes(loop, self.move)
        loop.keep_drive()
        generated = np.array(self.request.labels, dtype=np.uint8)
        self.writer.data("letters/generated", generated, title=f"index of {' '.join(CLASSES)}, in order")

    def guidance(self) -> None:
        """Fidelity and diversity against the strength of guidance, of the digital network."""
        assert self.models is not None
        assert self.judge is not None
        self.controls.told("guidance curve", 0, 1)
        rng = np.random.default_rng([self.request.seed, 8])
        keep_curve(
            self.writer,
            guidance_curve(self.models.score, self.models.vae, self.judge, rng, n=self.request.curve),
        )
        self.controls.told("guidance curve", 1, 1)


def letters(run: LettersRun, around: Around) -> None:
    """The whole experiment. `around` is called with a name and each phase, to do it; a flow puts a task around it."""
    r = run.request
    around("train", run.train)
    around("program", run.program_arrays)
    around("compensate", run.compensate)
    if r.uncalibrated:
        around("sample uncalibrated", lambda: run.sample(r.uncalibrated, "uncalibrated", record=False))
    if r.calibration_rounds:
        loop = run.loop
        assert loop is not None
        around("calibrate", lambda: loop.calibrate(r.calibration_runs, 1, 1))
        around("compensate with offsets", run.compensate)
        around("calibrate again", lambda: loop.calibrate(r.calibration_runs, r.calibration_rounds, 2))
    around("waveforms", run.waveforms)
    around("one start, every class", run.one_start)
    around("sample", lambda: run.sample(r.samples, "samples", record=True))
    run.station.safe()  # the rest needs no instrument
    if r.curve:
        around("guidance curve", run.guidance)


def check_data(options: LettersOptions) -> None:
    """Refuse a folder that is not EMNIST before anything is opened.

    Raises:
        EmnistError: it is missing or broken; drawn letters never stand in for it.
    """
    if options.data:
        load_emnist(Path(options.data).expanduser(), options.split or None)
    if options.judge:
        load_emnist(Path(options.judge).expanduser())
