"""What a run that generated letters achieved, from its run file alone: the models it used lie in the file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from analysis.circle import TICK, array_power, final_states
from analysis.diffusion.store import Stored
from analysis.errors import AnalysisError
from analysis.letters.classifier import Classifier
from analysis.letters.data import CLASSES, LetterSet
from analysis.letters.decoder_arrays import DecoderOnArrays, TilingReport, on_arrays, place_decoder, tiling_report
from analysis.letters.judge import ClassQuality, GuidancePoint, LetterJudge
from analysis.letters.vae import VAE
from analysis.programming import ProgramSummary, summarise
from analysis.records import RunFile, RunWriter

Array = npt.NDArray[np.float64]
T = TypeVar("T")

SCORE_ARRAYS = 3
"""The score network's arrays come first, the decoder's follow."""
_LEVELS = 65535.0


def keep_model(writer: RunWriter, name: str, model: Stored) -> None:
    """Put a trained model into a run, as its file's bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.npz"
        model.save(path)
        writer.data(f"model/{name}", np.frombuffer(path.read_bytes(), dtype=np.uint8), title=f"{name}, npz file")


def keep_letters(writer: RunWriter, letters: LetterSet) -> None:
    """Put the letters that were trained on into a run, with what they are."""
    # As 16-bit numbers: what is judged must be what can be read again.
    writer.data("letters/images", np.round(letters.images * _LEVELS).astype(np.uint16), title="letters / 65535")
    writer.data("letters/labels", letters.labels.astype(np.uint8), title=f"index of {' '.join(CLASSES)}")
    writer.data("letters/source", np.frombuffer(letters.source.encode(), dtype=np.uint8), title="UTF-8")


def kept_letters(run: RunFile) -> LetterSet:
    """The letters that a run was trained on."""
    images = run.data("letters/images").astype(np.float64) / _LEVELS
    return LetterSet(images, run.data("letters/labels").astype(np.int64), _text(run, "letters/source"))


@dataclass(frozen=True)
class LettersRun:
    """A run's content as models and arrays.

    Attributes:
        run: the file.
    """

    run: RunFile

    @cached_property
    def vae(self) -> VAE:
        """The autoencoder."""
        return self._loaded("autoencoder", VAE.load)

    @cached_property
    def reader(self) -> Classifier:
        """Who reads the letters."""
        return self._loaded("reader", Classifier.load)

    @cached_property
    def letters(self) -> LetterSet:
        """What was trained on."""
        return kept_letters(self.run)

    @property
    def labels(self) -> list[int]:
        """Classes that were generated."""
        return [int(k) for k in self.run.data("letters/generated")]

    @property
    def samples(self) -> int:
        """Letters of each class."""
        return int(self.run.header.parameters["samples"])

    @cached_property
    def latents(self) -> list[Array]:
        """Latent points (n, 2) that the loop ended in, by generated class; fewer where the run ended early."""
        ends = final_states(self.run)
        n = self.samples
        return [ends[i * n : (i + 1) * n] for i in range(len(self.labels))]

    @cached_property
    def decoder(self) -> DecoderOnArrays:
        """The decoder with the conductances as read back."""
        weights = self.vae.decoder
        shape = self.run.header.shape
        tiling, _ = place_decoder(weights, self.run.map("stuck").reshape(shape)[SCORE_ARRAYS:])
        measured = self.run.map("conductance_after").reshape(shape)
        return on_arrays(weights, tiling, measured[SCORE_ARRAYS : SCORE_ARRAYS + tiling.arrays])

    @cached_property
    def images(self) -> list[Array]:
        """Letters (n, 12, 12) that the arrays decode."""
        return [self.decoder.decode(x) for x in self.latents]

    def _loaded(self, name: str, load: Callable[[Path], T]) -> T:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.npz"
            path.write_bytes(self.run.data(f"model/{name}").astype(np.uint8).tobytes())
            return load(path)


@dataclass(frozen=True)
class LettersSummary:
    """A run in numbers.

    Attributes:
        classes: quality of each generated class, decoded by the arrays.
        uncalibrated: mean KL2 of the classes before offsets were calibrated; None if that was not sampled.
        source: of the letters that were trained on.
        judge: what the reader was trained on.
        decoder: what the decoder takes on the arrays.
        decoder_error: mean absolute pixel error of the arrays against the digital decoder, on the generated points.
        ideal_error: the same with ideal cells at their levels.
        programming: of all arrays.
        run_seconds, sample_seconds: a solution on the board, and with set-up and capture, s.
        array_power: W in the score network's arrays during a solution.
        true_array_energy: J; known to the twin only, else None.
        curve: guidance of the digital network.
        lab_seconds: the whole run on the laboratory's clock, s.
    """

    classes: tuple[ClassQuality, ...]
    uncalibrated: float | None
    source: str
    judge: str
    decoder: TilingReport
    decoder_error: float
    ideal_error: float
    programming: ProgramSummary
    run_seconds: float
    sample_seconds: float
    array_power: float
    true_array_energy: float | None
    curve: tuple[GuidancePoint, ...]
    lab_seconds: float

    @property
    def accuracy(self) -> float:
        """Mean share of letters read as what they should be."""
        return float(np.mean([q.accuracy for q in self.classes]))


def has_letters(run: RunFile) -> bool:
    """Whether a run came far enough to be judged."""
    return "letters/generated" in run.names("data") and len(final_states(run)) >= 2


def summarise_letters(run: RunFile) -> LettersSummary:
    """Judge a run. Chance in it is seeded: a file always gives the same numbers.

    Raises:
        AnalysisError: it is another procedure's run, or it ended before it sampled.
    """
    if run.header.procedure != "generate":
        raise AnalysisError(f"run {run.header.run_id} is a {run.header.procedure} run, not one of letters")
    if not has_letters(run):
        raise AnalysisError(f"run {run.header.run_id} is {run.status}: it has no letters to judge")
    opened = LettersRun(run)
    rng = np.random.default_rng(0)
    judge = LetterJudge.build(opened.vae, opened.letters, opened.reader, rng)
    got = [(k, x, im) for k, x, im in zip(opened.labels, opened.latents, opened.images, strict=True) if len(x) >= 2]
    classes = tuple(judge.judge(k, x, im, rng) for k, x, im in got)
    points = np.concatenate([x for _, x, _ in got])
    digital = opened.vae.decode(points)
    ideal = on_arrays(opened.vae.decoder, opened.decoder.tiling)
    names = run.names("data")
    before = []
    for k in opened.labels:
        if f"uncalibrated_{CLASSES[k].lower()}/end" in names:
            ends = run.data(f"uncalibrated_{CLASSES[k].lower()}/end")
            ends = ends[np.isfinite(ends).all(axis=1)]
            if len(ends) > 1:
                before.append(judge.judge(k, ends, opened.decoder.decode(ends), rng).kl.value)
    compute = run.where("compute")
    events = run.events
    return LettersSummary(
        classes=classes,
        uncalibrated=float(np.mean(before)) if before else None,
        source=opened.letters.source,
        judge=opened.reader.trained_on,
        decoder=tiling_report(opened.decoder, points),
        decoder_error=float(np.abs(opened.decoder.decode(points) - digital).mean()),
        ideal_error=float(np.abs(ideal.decode(points) - digital).mean()),
        programming=summarise(run),
        run_seconds=len(run.data("drive/table")) * TICK,
        sample_seconds=float(np.median(events["duration"][compute])) if compute.any() else float("nan"),
        array_power=array_power(run),
        true_array_energy=float(run.twin("run_energy").mean()) if "run_energy" in run.names("twin") else None,
        curve=guidance_points(run),
        lab_seconds=float(events["time"].max() - events["time"].min()),
    )


def keep_curve(writer: RunWriter, curve: Sequence[GuidancePoint]) -> None:
    """Put a guidance curve into a run."""
    table = [[p.guidance, float(p.mode == "sde"), p.kl, p.accuracy, p.diversity] for p in curve]
    writer.data("guidance/curve", np.array(table), title="guidance, 1 for sde, KL2, accuracy, diversity; digital")


def guidance_points(run: RunFile) -> tuple[GuidancePoint, ...]:
    """The guidance curve of a run; empty if it has none."""
    if "guidance/curve" not in run.names("data"):
        return ()
    return tuple(
        GuidancePoint(float(g), "sde" if sde else "ode", float(kl), float(acc), float(div))
        for g, sde, kl, acc, div in run.data("guidance/curve")
    )


def _text(run: RunFile, name: str) -> str:
    return bytes(run.data(name).astype(np.uint8)).decode()
