"""A small convolutional reader of H, K and U that judges letters; it takes no part in making them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from analysis.diffusion.descent import Descent, one_thread
from analysis.diffusion.network import tensor
from analysis.diffusion.store import cached, load_arrays, save_arrays
from analysis.letters.data import CLASSES, Labels, LetterSet

Array = npt.NDArray[np.float64]

_VERSION = 1


@dataclass(frozen=True)
class ClassifierRecipe:
    """How a reader is trained: `iterations` batches, each letter moved by up to a pixel and its ink varied."""

    iterations: int = 700
    batch: int = 128
    rate: float = 4e-3
    shift: int = 1


@dataclass(frozen=True)
class Classifier:
    """A trained reader; `trained_on` is the source of its letters."""

    parameters: tuple[Array, ...]
    trained_on: str

    def probabilities(self, images: Array) -> Array:
        """Return the probability of each class for images (n, 12, 12): (n, 3)."""
        net = _network()
        with torch.no_grad(), one_thread():
            for own, value in zip(net.parameters(), self.parameters, strict=True):
                own.copy_(tensor(value))
            logits = net(tensor(images)[:, None])
            return np.asarray(torch.softmax(logits, 1).numpy(), dtype=np.float64)

    def read(self, images: Array) -> Labels:
        """Return the class of each image (n, 12, 12)."""
        return np.asarray(self.probabilities(images).argmax(axis=1), dtype=np.int64)

    def accuracy(self, images: Array, labels: Labels | int) -> float:
        """Share of images (n, 12, 12) that are read as `labels`."""
        return float((self.read(images) == labels).mean())

    def save(self, path: Path) -> None:
        """Write the reader to `path` (.npz), whole or not at all."""
        save_arrays(path, {"trained_on": np.array(self.trained_on)} | _named(self.parameters))

    @classmethod
    def load(cls, path: Path) -> Classifier:
        """Read what `save` wrote; raise AnalysisError if the file is anything else."""
        arrays = load_arrays(path)
        count = sum(name.startswith("p") for name in arrays)
        return cls(tuple(np.asarray(arrays[f"p{i}"]) for i in range(count)), str(arrays["trained_on"]))


def train_classifier(letters: LetterSet, seed: int, recipe: ClassifierRecipe | None = None) -> Classifier:
    """Train a reader; classes count equally, however many letters each has. About 8 s of one core."""
    recipe = recipe or ClassifierRecipe()
    rng = np.random.default_rng([seed, 11])
    images = tensor(letters.images)
    members = [np.flatnonzero(letters.labels == k) for k in range(len(CLASSES))]
    with one_thread():
        net = _network()
        _initialise(net, rng)
        step = Descent(list(net.parameters()), recipe.rate, recipe.iterations, (0.9, 0.99), 1.0)
        for _ in range(recipe.iterations):
            labels = rng.integers(0, len(CLASSES), recipe.batch)
            chosen = np.array([members[k][rng.integers(0, len(members[k]))] for k in labels])
            batch = _varied(images[torch.from_numpy(chosen)], rng, recipe.shift)
            logits = net(batch[:, None])
            step(nn.functional.cross_entropy(logits, torch.from_numpy(labels), label_smoothing=0.05))
    parameters = tuple(p.detach().numpy().astype(np.float64) for p in net.parameters())
    return Classifier(parameters, letters.source)


def _network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(12, 24, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(24, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 9, 32),
        nn.ReLU(),
        nn.Linear(32, len(CLASSES)),
    )


def _initialise(net: nn.Module, rng: np.random.Generator) -> None:
    """Draw weights from `rng` (He et al. 2015), so that the seed decides and nothing global does."""
    with torch.no_grad():
        for p in net.parameters():
            fan_in = int(np.prod(p.shape[1:])) if p.ndim > 1 else 1
            scale = np.sqrt(2.0 / fan_in) if p.ndim > 1 else 0.0
            p.copy_(tensor(rng.normal(0.0, 1.0, tuple(p.shape)) * scale))


def _varied(images: torch.Tensor, rng: np.random.Generator, shift: int) -> torch.Tensor:
    """Move each image (n, 12, 12) by up to `shift` pixels and vary the darkness of its ink."""
    n, side, _ = images.shape
    padded = nn.functional.pad(images, (shift, shift, shift, shift))
    dx, dy = (torch.from_numpy(rng.integers(0, 2 * shift + 1, n)) for _ in range(2))
    span = torch.arange(side)
    moved = padded[torch.arange(n)[:, None, None], (dy[:, None] + span)[:, :, None], (dx[:, None] + span)[:, None, :]]
    power = tensor(np.exp(rng.normal(0.0, 0.25, n)))[:, None, None]
    return moved.clamp(1e-6, 1.0) ** power


def _named(parameters: tuple[Array, ...]) -> dict[str, npt.NDArray[np.generic]]:
    return {f"p{i}": p for i, p in enumerate(parameters)}


def train_classifier_cached(
    folder: Path | None, letters: LetterSet, seed: int, recipe: ClassifierRecipe | None = None
) -> tuple[Classifier, bool]:
    """Return a reader and whether it came out of `folder`; train and keep it there if not."""
    recipe = recipe or ClassifierRecipe()
    key = (_VERSION, letters.digest, seed, recipe)
    return cached(folder, "reader", key, Classifier.load, lambda: train_classifier(letters, seed, recipe))
