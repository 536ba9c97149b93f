"""A network for studies to measure, and child processes that end with the test."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from analysis.diffusion.hardware import Drive
from analysis.diffusion.model import TrainedModel
from analysis.diffusion.sde import VPSDE, Prior


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that was never trained: the studies only need numbers."""
    rng = np.random.default_rng(1)
    shapes, scales = ((14, 3), (14, 15), (2, 15)), (2e-5, 4e-5, 4e-5)
    weights = tuple(rng.uniform(-25e-6, 45e-6, s) / scale for s, scale in zip(shapes, scales, strict=True))
    t = 1.0 - (np.arange(200) + 0.5) / 200
    half = 0.5 * VPSDE().beta(t)
    embedding = np.sin(2.0 * np.pi * t[:, None] * rng.standard_normal(14))
    drive = Drive.from_coefficients(half, half / VPSDE().std(t), embedding, Prior(0.642))
    path = tmp_path_factory.mktemp("model") / "network.npz"
    TrainedModel("test", 0, weights, scales, drive).save(path)
    return path


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that the test started, killed at its end."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for child in started:
        if child.poll() is None:
            child.kill()
        child.communicate()
