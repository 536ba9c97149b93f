"""How good generated letters are: their latent points against the encoded data, and what a reader makes of them.

For each class: KL(generated || encoded data) on 0.1 x 0.1 bins (`analysis.metrics.kl_2d`) with its noise floor, the
share that a reader reads as the class, and diversity: the mean distance of two letters, the root mean square of their
pixels' differences, beside that of the data and of the data decoded again, which is the most that two latent
coordinates can hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.diffusion.conditional import draw_guided
from analysis.diffusion.conditional_model import ScoreModel
from analysis.diffusion.samplers import Sampler
from analysis.letters.classifier import Classifier
from analysis.letters.data import CLASSES, LetterSet
from analysis.letters.vae import VAE
from analysis.metrics import Metric, Truth, judge

Array = npt.NDArray[np.float64]

DIGITAL = {
    "sde": Sampler("euler-maruyama", speed=2.0, points=200),
    "ode": Sampler("heun", speed=1.5, points=100),
}
"""Digital samplers of the score network. The flow starts from a law that no class has; see `conditional`."""


@dataclass(frozen=True)
class ClassQuality:
    """One class of generated letters; distances are root mean squares over pixels in [0, 1]."""

    name: str
    samples: int
    metrics: dict[str, Metric]
    accuracy: float
    diversity: float
    diversity_data: float
    diversity_decoded: float

    @property
    def kl(self) -> Metric:
        """KL2 against the encoded data with interval and floor."""
        return self.metrics["kl_2d"]


@dataclass(frozen=True)
class LetterJudge:
    """What letters are judged against. `truths` are encoded data by class, `reader` reads; both say their source."""

    truths: tuple[Truth, ...]
    reader: Classifier
    data: LetterSet
    decoded: tuple[float, ...]

    @classmethod
    def build(cls, vae: VAE, letters: LetterSet, reader: Classifier, rng: np.random.Generator) -> LetterJudge:
        """Encode `letters` often enough for some 1e5 points a class."""
        truths, decoded = [], []
        for k in range(len(CLASSES)):
            own = letters.of(k)
            points = vae.draw_latents(own, rng, max(1, 100_000 // len(own)))
            truths.append(Truth.from_points(points))
            decoded.append(mean_distance(vae.decode(truths[-1].draw(1000, rng)), rng))
        return cls(tuple(truths), reader, letters, tuple(decoded))

    def judge(self, label: int, latents: Array, images: Array, rng: np.random.Generator) -> ClassQuality:
        """Judge latent points (n, 2) of a class and the letters (n, 12, 12) that were decoded from them."""
        return ClassQuality(
            CLASSES[label],
            len(latents),
            judge(latents, self.truths[label], rng),
            self.reader.accuracy(images, label),
            mean_distance(images, rng),
            mean_distance(self.data.of(label), rng),
            self.decoded[label],
        )


@dataclass(frozen=True)
class GuidancePoint:
    """One strength of guidance with one digital sampler, means over the classes."""

    guidance: float
    mode: str
    kl: float
    accuracy: float
    diversity: float


def mean_distance(images: Array, rng: np.random.Generator, pairs: int = 20_000) -> float:
    """Return the mean root mean square difference of two different images (n, 12, 12); 0 for a single one."""
    n = len(images)
    if n < 2:
        return 0.0
    first = rng.integers(0, n, pairs)
    second = (first + rng.integers(1, n, pairs)) % n
    return float(np.sqrt(((images[first] - images[second]) ** 2).mean(axis=(1, 2))).mean())


def guidance_curve(
    score: ScoreModel,
    vae: VAE,
    against: LetterJudge,
    rng: np.random.Generator,
    strengths: Sequence[float] = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0),
    n: int = 1000,
) -> tuple[GuidancePoint, ...]:
    """Return fidelity and diversity over the strength of guidance (Eq. 7), digital network, SDE and ODE."""
    points = []
    for mode, sampler in DIGITAL.items():
        for strength in strengths:
            rows = []
            for k in range(len(CLASSES)):
                x = draw_guided(score, k, n, rng, strength, sampler)
                images = vae.decode(x)
                q = against.judge(k, x, images, rng)
                rows.append((q.kl.value, q.accuracy, q.diversity))
            kl, accuracy, diversity = np.mean(rows, axis=0)
            points.append(GuidancePoint(strength, mode, float(kl), float(accuracy), float(diversity)))
    return tuple(points)
