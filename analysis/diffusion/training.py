"""The front door of training: recipes by name, and a folder that keeps what was trained."""

from __future__ import annotations

import hashlib
from dataclasses import astuple
from pathlib import Path

import numpy as np
import numpy.typing as npt

from analysis.diffusion.descent import one_thread
from analysis.diffusion.hardware_recipe import HardwareRecipe, train_hardware
from analysis.diffusion.model import ModelFileError, TrainedModel
from analysis.diffusion.paper_recipe import PaperRecipe, train_paper
from analysis.diffusion.sde import VPSDE

Array = npt.NDArray[np.float64]
Recipe = HardwareRecipe | PaperRecipe

# `quick` is for trying the pipeline: a few seconds, for a ring that is just recognisable.
# `paper-short` is the paper's recipe in a tenth of the iterations, at a rate that falls from 3e-3 to 1e-5.
RECIPES: dict[str, Recipe] = {
    "hardware": HardwareRecipe(),
    "quick": HardwareRecipe(
        "quick", starts=1, score_iterations=600, score_copies=3, flow_iterations=120, flow_copies=1
    ),
    "paper": PaperRecipe(),
    "paper-short": PaperRecipe(name="paper-short", iterations=20_000, learning_rate=3e-3, final_rate=1e-5),
}

# Raise this when training itself changes, so that no cache keeps what older code trained.
_TRAINING_VERSION = 1


def train(recipe: Recipe, seed: int, data: Array, sde: VPSDE | None = None) -> TrainedModel:
    """Train one network on `data` (n, 2); equal arguments give equal networks on one machine."""
    with one_thread():
        if isinstance(recipe, PaperRecipe):
            return train_paper(recipe, [seed], data, sde)[0]
        return train_hardware(recipe, seed, data, sde)


def cache_name(recipe: Recipe, seed: int, data: Array, sde: VPSDE | None = None) -> str:
    """Return the file name of a trained network: recipe, seed and a hash of all that decides the result."""
    digest = hashlib.sha256()
    digest.update(repr((_TRAINING_VERSION, type(recipe).__name__, astuple(recipe), sde or VPSDE())).encode())
    digest.update(np.ascontiguousarray(data, dtype=np.float64).tobytes())
    return f"{recipe.name}-{seed}-{digest.hexdigest()[:16]}.npz"


def train_cached(
    folder: Path, recipe: Recipe, seed: int, data: Array, sde: VPSDE | None = None
) -> tuple[TrainedModel, bool]:
    """Return the network and whether it came out of `folder`; train and keep it there if not.

    A file that cannot be read is trained again and replaced. The file appears whole or not at all.
    """
    path = folder / cache_name(recipe, seed, data, sde)
    if path.exists():
        try:
            return TrainedModel.load(path), True
        except ModelFileError:
            path.unlink()
    model = train(recipe, seed, data, sde)
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    model.save(partial)
    partial.replace(path)
    return model, False
