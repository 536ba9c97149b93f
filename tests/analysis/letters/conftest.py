"""Letters and models that several tests share: few letters, short training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis.letters.data import LetterSet
from analysis.letters.generator import synthetic_letters
from analysis.letters.vae import VAE, VAERecipe, train_vae

REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "emnist_subset"


@pytest.fixture(scope="session")
def drawn() -> LetterSet:
    return synthetic_letters(600, np.random.default_rng(0))


@pytest.fixture(scope="session")
def vae(drawn: LetterSet) -> VAE:
    return train_vae(drawn, 0, VAERecipe(iterations=400))


@pytest.fixture(scope="session")
def real_folder() -> Path:
    if not REAL.is_dir():
        pytest.skip(f"real letters are not here: {REAL}")
    return REAL
