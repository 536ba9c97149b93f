"""The variational autoencoder: letters to points in the plane and back, one cluster a class.

Loss a letter: summed binary cross-entropy + kl_weight KL(N(mu, sigma^2) || N(centre of its class, 1)), with centres
(2, 2 sqrt 3), (2, -2 sqrt 3) and (-4, 0) for H, K and U. The published weight of 3 makes the encoder forget most of a
letter (spread .11 of .125, and 500 nearly equal Ks); 1 keeps three to four times the variety and still one round
cluster a class. Latent points are handed out in software units of 0.1 V, which
are the latent coordinates divided by 8: centres (.25, .433), (.25, -.433), (-.5, 0), nominal spread .125. Sources: loss
from the paper (Eq. 10); binary cross-entropy, layers and scale from the published code. The decoder is trained
as the cells that it will be (see `decoder`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from analysis.diffusion.descent import Descent, one_thread
from analysis.diffusion.hardware import WriteNoise
from analysis.diffusion.network import tensor
from analysis.diffusion.store import cached, load_arrays, save_arrays
from analysis.letters.data import LetterSet
from analysis.letters.decoder import DecoderCells, DecoderWeights, decoder_forward
from analysis.mapping import ConductanceWindow

Array = npt.NDArray[np.float64]

LATENT_SCALE = 8.0
CENTRES = np.array([[2.0, 2.0 * np.sqrt(3.0)], [2.0, -2.0 * np.sqrt(3.0)], [-4.0, 0.0]]) / LATENT_SCALE
"""Class centres, (3, 2), software units."""
_VERSION = 1


@dataclass(frozen=True)
class VAERecipe:
    """How the autoencoder is trained; the default takes about 25 s of one core.

    `hidden` is the width of the decoder's first linear layer, None for none. `noise` is the programming error that the
    decoder meets in training.
    """

    iterations: int = 4000
    batch: int = 64
    rate: float = 3e-3
    kl_weight: float = 1.0
    hidden: int | None = 16
    noise: WriteNoise = field(default_factory=lambda: WriteNoise(absolute=1.1e-6))


@dataclass(frozen=True)
class VAE:
    """A trained autoencoder; `trained_on` is the source of its letters."""

    encoder: tuple[Array, ...]
    decoder: DecoderWeights
    trained_on: str

    def encode(self, images: Array) -> tuple[Array, Array]:
        """Return mean (n, 2) and standard deviation (n, 2) of the latent points of images, software units."""
        net = _encoder()
        with torch.no_grad(), one_thread():
            for own, value in zip(net.parameters(), self.encoder, strict=True):
                own.copy_(tensor(value))
            mean, log_variance = net(tensor(images)[:, None]).chunk(2, 1)
        return (
            np.asarray(mean.numpy(), dtype=np.float64) / LATENT_SCALE,
            np.asarray(torch.exp(0.5 * log_variance).numpy(), dtype=np.float64) / LATENT_SCALE,
        )

    def draw_latents(self, images: Array, rng: np.random.Generator, draws: int = 1) -> Array:
        """Return `draws` latent points of each image, drawn as it is encoded: (draws * n, 2), software units."""
        mean, std = self.encode(images)
        return np.concatenate([mean + std * rng.standard_normal(mean.shape) for _ in range(draws)])

    def decode(self, latents: Array) -> Array:
        """Return images (n, 12, 12) in [0, 1] of latent points (n, 2): the digital decoder."""
        with one_thread():
            return self.decoder.decode(latents)

    def save(self, path: Path) -> None:
        """Write the autoencoder to `path` (.npz), whole or not at all."""
        window = self.decoder.window
        arrays: dict[str, npt.NDArray[np.generic]] = {f"e{i}": p for i, p in enumerate(self.encoder)}
        arrays |= {f"u{i}": p for i, p in enumerate(self.decoder.u)}
        arrays |= {
            "gains": np.array(self.decoder.gains),
            "window": np.array([window.g_min, window.g_max, window.g_fixed, window.n_levels]),
            "trained_on": np.array(self.trained_on),
        }
        save_arrays(path, arrays)

    @classmethod
    def load(cls, path: Path) -> VAE:
        """Read what `save` wrote; raise AnalysisError or KeyError if the file is anything else."""
        arrays = {name: np.asarray(value) for name, value in load_arrays(path).items()}
        encoder = tuple(arrays[f"e{i}"] for i in range(sum(name[0] == "e" for name in arrays)))
        u = tuple(arrays[f"u{i}"] for i in range(sum(name[0] == "u" for name in arrays)))
        g_min, g_max, g_fixed, levels = (float(v) for v in arrays["window"])
        window = ConductanceWindow(g_min, g_max, g_fixed, int(levels))
        gains = tuple(float(g) for g in arrays["gains"])
        return cls(encoder, DecoderWeights(u, gains, window), str(arrays["trained_on"]))


def train_vae(
    letters: LetterSet, seed: int, recipe: VAERecipe | None = None, window: ConductanceWindow | None = None
) -> VAE:
    """Train on `letters`; equal arguments give equal autoencoders on one machine."""
    recipe, window = recipe or VAERecipe(), window or ConductanceWindow()
    rng = np.random.default_rng([seed, 21])
    images, centres = tensor(letters.images), tensor(CENTRES * LATENT_SCALE)
    with one_thread():
        encoder = _encoder()
        _initialise(encoder, rng)
        cells = DecoderCells(recipe.hidden, window, recipe.noise, rng)
        parameters = [*encoder.parameters(), *cells.u, cells.log_gains]
        step = Descent(parameters, recipe.rate, recipe.iterations, (0.9, 0.99), None)
        members = [np.flatnonzero(letters.labels == k) for k in range(len(CENTRES))]
        for _ in range(recipe.iterations):
            # Classes count equally, whatever their shares in the data are.
            labels = rng.integers(0, len(CENTRES), recipe.batch)
            index = np.array([members[k][rng.integers(0, len(members[k]))] for k in labels])
            batch = images[torch.from_numpy(index)]
            mean, log_variance = encoder(batch[:, None]).chunk(2, 1)
            std = torch.exp(0.5 * log_variance)
            z = mean + std * tensor(rng.standard_normal((recipe.batch, 2)))
            logits = decoder_forward(cells.draw(), z / LATENT_SCALE)
            likelihood = nn.functional.binary_cross_entropy_with_logits(logits, batch, reduction="sum")
            away = (mean - centres[torch.from_numpy(labels)]) ** 2
            divergence = 0.5 * (away + std**2 - 1.0 - log_variance).sum()
            step((likelihood + recipe.kl_weight * divergence) / recipe.batch)
            cells.clip()
    encoder_parameters = tuple(p.detach().numpy().astype(np.float64) for p in encoder.parameters())
    return VAE(encoder_parameters, cells.weights(), letters.source)


def train_vae_cached(
    folder: Path | None, letters: LetterSet, seed: int, recipe: VAERecipe | None = None
) -> tuple[VAE, bool]:
    """Return the autoencoder and whether it came out of `folder`; train and keep it there if not."""
    recipe = recipe or VAERecipe()
    return cached(
        folder, "vae", (_VERSION, letters.digest, seed, recipe), VAE.load, lambda: train_vae(letters, seed, recipe)
    )


def _encoder() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(144, 16),
        nn.ReLU(),
        nn.Linear(16, 4),
    )


def _initialise(net: nn.Module, rng: np.random.Generator) -> None:
    """Draw weights from `rng` as torch does by default: uniform within 1 / sqrt(fan in)."""
    with torch.no_grad():
        for p in net.parameters():
            bound = 1.0 / np.sqrt(np.prod(p.shape[1:])) if p.ndim > 1 else 0.0
            p.copy_(tensor(rng.uniform(-bound, bound, tuple(p.shape))))
