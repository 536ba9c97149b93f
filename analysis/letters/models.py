"""The front door: everything that generating letters needs, trained or out of a folder, and on which data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from analysis.diffusion.conditional import ConditionalRecipe, train_conditional_cached, train_score_cached
from analysis.diffusion.conditional_model import ConditionalModel, ScoreModel
from analysis.letters.classifier import ClassifierRecipe, train_classifier_cached
from analysis.letters.data import CLASSES, LetterSet
from analysis.letters.emnist import load_emnist
from analysis.letters.generator import synthetic_letters
from analysis.letters.judge import LetterJudge
from analysis.letters.vae import VAE, VAERecipe, train_vae_cached

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LetterRecipe:
    """How all models are trained; `quick` is for trying the pipeline in seconds."""

    name: str = "letters"
    per_class: int = 4000
    vae: VAERecipe = field(default_factory=VAERecipe)
    latent: ConditionalRecipe = field(default_factory=ConditionalRecipe)
    reader: ClassifierRecipe = field(default_factory=ClassifierRecipe)


RECIPES: dict[str, LetterRecipe] = {
    "letters": LetterRecipe(),
    # The paper's decoder, one linear layer and two deconvolutions: less than half the cells, a little less variety.
    "letters-small": LetterRecipe("letters-small", vae=VAERecipe(hidden=None)),
    "quick": LetterRecipe(
        "quick",
        per_class=500,
        vae=VAERecipe(iterations=700, hidden=None),
        latent=ConditionalRecipe(
            "quick-conditional", starts=1, score_iterations=700, score_copies=3, flow_iterations=80, flow_batch=96,
            flow_copies=1, digital_iterations=900,
        ),
        reader=ClassifierRecipe(iterations=250),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class LetterModels:
    """Trained models and the data they were trained on.

    `latents` are encoded letters, points (n, 2) of each class in software units; `network` is for the board, `score`
    the digital network with its unconditional branch. `from_cache` names what was not trained now.
    """

    letters: LetterSet
    vae: VAE
    latents: tuple[Array, ...]
    score: ScoreModel
    network: ConditionalModel
    from_cache: tuple[str, ...]


def training_letters(
    recipe: LetterRecipe, seed: int, folder: Path | None = None, split: str | None = None
) -> LetterSet:
    """Return the letters to train on: EMNIST out of `folder`, or drawn ones if no folder is named.

    Raises:
        EmnistError: a folder was named and is not EMNIST; drawn letters never stand in for it.
    """
    if folder is not None:
        return load_emnist(folder, split)
    return synthetic_letters(recipe.per_class, np.random.default_rng([seed, 41]), f"seed {seed}")


def prepare(
    cache: Path | None,
    letters: LetterSet,
    recipe: LetterRecipe,
    seed: int,
    guidance: float = 0.0,
    told: Callable[[str], None] = lambda step: None,
) -> LetterModels:
    """Train, or fetch from `cache`, all models that generate; `told` hears each step before it starts."""
    told("autoencoder")
    vae, known_vae = train_vae_cached(cache, letters, seed, recipe.vae)
    rng = np.random.default_rng([seed, 42])
    latents = tuple(_enough(vae, letters.of(k), rng) for k in range(len(CLASSES)))
    told("score network")
    score, known_score = train_score_cached(cache, recipe.latent, seed, latents)
    told("network for the board")
    network, known_network = train_conditional_cached(cache, recipe.latent, seed, latents, guidance)
    known = (("autoencoder", known_vae), ("score network", known_score), ("network for the board", known_network))
    return LetterModels(letters, vae, latents, score, network, tuple(name for name, here in known if here))


def prepare_judge(
    cache: Path | None, models: LetterModels, recipe: LetterRecipe, seed: int, real: LetterSet | None = None
) -> LetterJudge:
    """Return the judge; its reader is trained on `real` letters or, without, on drawn ones of another seed.

    `LetterJudge.reader.trained_on` says which.
    """
    known = real or synthetic_letters(recipe.per_class, np.random.default_rng([seed, 43]), f"held out, seed {seed}")
    reader, _ = train_classifier_cached(cache, known, seed, recipe.reader)
    return LetterJudge.build(models.vae, models.letters, reader, np.random.default_rng([seed, 44]))


def _enough(vae: VAE, images: Array, rng: np.random.Generator, least: int = 3000) -> Array:
    """Latent points of one class, each letter as often as makes `least` points."""
    return vae.draw_latents(images, rng, max(1, -(-least // len(images))))
