"""The network that a study names: a recipe, trained or taken from a folder of trained networks, or a file.

A study carries the network's numbers, not its path: what measures a point may be another machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.diffusion.model import TrainedModel
from analysis.errors import AnalysisError
from analysis.sweeps.measurement import StudyError

RECIPES = ("hardware", "quick", "paper", "paper-short")
"""Names of `analysis.diffusion.training.RECIPES`, which takes seconds to import."""
SEED = 1
"""Of training and of the training set: the network of `ohmflow circle --seed 1`, its default."""


@dataclass(frozen=True)
class Network:
    """A network, what the study called it, and a digest of all its numbers."""

    name: str
    model: TrainedModel
    digest: str

    @classmethod
    def of(cls, name: str, model: TrainedModel) -> Network:
        """Digest a model."""
        drive = model.drive
        parts = [*model.weights, np.array(model.scales), drive.fx, drive.g2, drive.embedding, drive.trim,
                 np.array([drive.kf, drive.kg, drive.prior.std])]  # fmt: skip
        parts += [] if drive.noise is None else [drive.noise]
        digest = hashlib.sha256()
        for part in parts:
            digest.update(repr(part.shape).encode() + np.ascontiguousarray(part, dtype=np.float64).tobytes())
        return cls(name, model, digest.hexdigest())


def check_name(name: str, folder: Path) -> None:
    """Raise StudyError unless `name` is a recipe or a file (relative to `folder`)."""
    if name not in RECIPES and not _path(name, folder).is_file():
        raise StudyError(
            f"model {name!r} is neither a recipe ({', '.join(RECIPES)}) nor a file ({_path(name, folder)} is not "
            "there); train one or name its file"
        )


def find(name: str, folder: Path, cache: Path | None, told: Callable[[str], object] = lambda text: None) -> Network:
    """Return the network that a study names.

    Args:
        name: a recipe, or a model's file.
        folder: that a file's path is relative to.
        cache: trained networks are kept there; None: only files will do.
        told: called with one line before a training begins.
    """
    check_name(name, folder)
    if name not in RECIPES:
        return Network.of(name, TrainedModel.load(_path(name, folder)))
    if cache is None:
        raise StudyError(f"model {name!r} is a recipe, and there is no folder for trained networks")
    from analysis.diffusion.data import ring_training_set
    from analysis.diffusion.training import RECIPES as TRAINED
    from analysis.diffusion.training import cache_name, train_cached

    data = ring_training_set(np.random.default_rng([SEED, 7]))
    if not (cache / cache_name(TRAINED[name], SEED, data)).is_file():
        told(f"training the network {name!r}; it is kept in {cache}")
    return Network.of(name, train_cached(cache, TRAINED[name], SEED, data)[0])


def _path(name: str, folder: Path) -> Path:
    try:
        return folder / Path(name).expanduser()
    except RuntimeError as error:  # a home that nobody has
        raise AnalysisError(f"model {name!r}: {error}") from error
