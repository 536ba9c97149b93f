"""Hardware-aware training: the network learns as the cells that it will be.

What the paper's recipe leaves to chance is in the loop here: conductances clipped to the window and rounded to its
levels, write noise on G_mem drawn anew for several copies of the network at every step, clamped voltages, each layer's
gain learned. The network predicts the noise, and the division by its standard deviation, which would blow up every
error of a cell near t = 0, is a digital table. The score is  n / std(t),  the flow

    dx/dtau = speed * beta / 2 * (x + n / std)

on the run's time tau = 1 - t, from the prior that the data has. First denoising score matching, then distribution
matching of whole trajectories (see `objective`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from analysis.diffusion.descent import Descent
from analysis.diffusion.flow import Knobs, run_flow, tick_centres
from analysis.diffusion.hardware import CLAMP, LAYER_SHAPES, N_HIDDEN, N_TICKS, WriteNoise
from analysis.diffusion.model import TrainedModel
from analysis.diffusion.network import forward, tensor
from analysis.diffusion.objective import denoising_batch, matching_loss
from analysis.diffusion.sde import VPSDE, Prior
from analysis.mapping import ConductanceWindow

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class HardwareRecipe:
    """The default recipe; about 45 s of one core.

    Score matching from `starts` different weights; the one with the lowest loss goes on: that loss tells the final
    quality. `copies` networks with their own write noise share a step. `t_min` is the last time that score matching
    sees; `widths` is the range over which distributions are smoothed before they are compared.
    """

    name: str = "hardware"
    starts: int = 3
    score_iterations: int = 5000
    score_batch: int = 128
    score_copies: int = 8
    score_rate: float = 3e-2
    references: int = 512
    t_min: float = 0.01
    flow_iterations: int = 400
    flow_batch: int = 512
    flow_copies: int = 3
    flow_rate: float = 1e-2
    flow_steps: int = 40
    widths: tuple[float, float] = (0.03, 0.15)
    clip: float = 0.3
    knots: int = 17
    speed: float = 1.5
    noise: WriteNoise = field(default_factory=lambda: WriteNoise(relative=0.02))
    start_gains: tuple[float, ...] = (2.0, 0.75, 0.75)


class Cells:
    """The conductances in training, in units of g_fixed around g_fixed: u = (G - g_fixed) / g_fixed."""

    def __init__(self, window: ConductanceWindow, noise: WriteNoise, rng: np.random.Generator) -> None:
        self._window, self._noise, self._rng = window, noise, rng
        self.low, self.high = window.g_min / window.g_fixed - 1.0, window.g_max / window.g_fixed - 1.0
        start = [rng.uniform(self.low, -self.low, shape) for shape in LAYER_SHAPES]
        # First layer: directions spread evenly over the circle. Random ones leave gaps that training does not close:
        # about twice the final distance in KL.
        angle = 2.0 * np.pi * (np.arange(N_HIDDEN) + rng.random()) / N_HIDDEN
        start[0][:, :2] = -self.low * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        start[0][:, 2] *= 0.5
        self.u = [tensor(u).requires_grad_() for u in start]

    def draw(self, copies: int) -> list[torch.Tensor]:
        """Return `copies` of each layer's u after rounding and write noise: (copies, n_out, n_in + 1)."""
        step, g_fixed = self._window.step / self._window.g_fixed, self._window.g_fixed
        drawn = []
        for u in self.u:
            # Rounding passes the gradient straight through.
            level = u + (torch.round((u - self.low) / step) * step + self.low - u).detach()
            g = (level.detach().numpy().astype(np.float64) + 1.0) * g_fixed
            error = self._rng.standard_normal((copies, *u.shape)) * (self._noise.sigma(g) / g_fixed)
            drawn.append(level + tensor(error))
        return drawn

    def clip(self) -> None:
        """Bring every conductance back into the window."""
        with torch.no_grad():
            for u in self.u:
                u.clamp_(self.low, self.high)


def train_hardware(
    recipe: HardwareRecipe,
    seed: int,
    data: Array,
    sde: VPSDE | None = None,
    window: ConductanceWindow | None = None,
) -> TrainedModel:
    """Train one network on `data` (n, 2) for cells of `window`; the result's weights lie on levels."""
    sde, window = sde or VPSDE(), window or ConductanceWindow()
    prior = Prior.matched(sde, float(np.mean(data**2)))
    points = tensor(data)
    starts = [
        _match_score(recipe, window, points, sde, np.random.default_rng([seed, 2, start]))
        for start in range(recipe.starts)
    ]
    best = min(starts, key=lambda start: start.loss)
    cells, knobs = best.cells, best.knobs
    _match_flow(recipe, cells, knobs, points, prior, best.rng)
    gains = np.exp(knobs.log_gains.detach().numpy().astype(np.float64))
    weights = tuple(
        (window.quantise((u.detach().numpy() + 1.0) * window.g_fixed) / window.g_fixed - 1.0) * gain
        for u, gain in zip(cells.u, gains, strict=True)
    )
    scales = tuple(float(window.g_fixed / gain) for gain in gains)
    return TrainedModel(recipe.name, seed, weights, scales, knobs.tables().drive(prior))


@dataclass(frozen=True)
class _Start:
    """A network after score matching, the generator that goes on with it, and its mean loss over the last tenth."""

    cells: Cells
    knobs: Knobs
    rng: np.random.Generator
    loss: float


def _match_score(
    recipe: HardwareRecipe,
    window: ConductanceWindow,
    points: torch.Tensor,
    sde: VPSDE,
    rng: np.random.Generator,
) -> _Start:
    cells = Cells(window, recipe.noise, rng)
    t = 1.0 - tick_centres(N_TICKS)
    half = 0.5 * recipe.speed * sde.beta(t)
    knobs = Knobs(half, half / sde.std(t), np.zeros((N_TICKS, N_HIDDEN)), np.zeros(2), recipe.knots)
    with torch.no_grad():
        knobs.log_gains.copy_(torch.log(tensor(recipe.start_gains)))
    parameters = [*cells.u, knobs.log_gains, knobs.embedding]
    step = Descent(parameters, recipe.score_rate, recipe.score_iterations, (0.9, 0.999), None)
    batch, last = recipe.score_batch, torch.zeros(())
    for iteration in range(recipe.score_iterations):
        # Times are stratified: one in each of `batch` equal parts.
        t = recipe.t_min + (1.0 - recipe.t_min) * (np.arange(batch) + rng.random(batch)) / batch
        x, noise = denoising_batch(points, t, sde, rng, recipe.references)
        weights = knobs.gained(cells.draw(recipe.score_copies))
        n, _ = forward(weights, knobs.embedding_at(1.0 - t), x.expand(recipe.score_copies, batch, 2), CLAMP)
        loss = ((n + noise) ** 2).mean()
        step(loss)
        cells.clip()
        if iteration >= 0.9 * recipe.score_iterations:
            last = last + loss.detach()
    return _Start(cells, knobs, rng, float(last))


def _match_flow(
    recipe: HardwareRecipe,
    cells: Cells,
    knobs: Knobs,
    points: torch.Tensor,
    prior: Prior,
    rng: np.random.Generator,
) -> None:
    parameters = [*cells.u, knobs.log_gains, knobs.embedding, knobs.log_coefficients]
    step = Descent(parameters, recipe.flow_rate, recipe.flow_iterations, (0.9, 0.99), recipe.clip)
    for _ in range(recipe.flow_iterations):
        weights = knobs.gained(cells.draw(recipe.flow_copies))
        start = tensor(prior.draw(recipe.flow_batch, rng)).expand(recipe.flow_copies, recipe.flow_batch, 2)
        x = run_flow(weights, knobs.tables().coarse(recipe.flow_steps), start, CLAMP)
        step(matching_loss(x, points, rng, recipe.widths, recipe.references))
        cells.clip()
