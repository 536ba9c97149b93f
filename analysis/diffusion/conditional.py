"""Training of the class-conditional networks: the digital score network, and the one that becomes cells.

*Score matching with a dropped condition.* A share `drop` of every batch is matched without a class against the mixture
of all classes; its embedding is the time's alone. So the unconditional branch of guidance is learned, not borrowed from
a class. The published code's condition is a small network on the one-hot class; on three inputs that is a table of
3 x 14 values, which is what is trained here.

*From score to board.* The weights go on from hardware-aware score matching to distribution matching of whole
trajectories (see `objective`), flow and stochastic equation together: one set of cells, and for each mode and class the
tables that stay digital. All classes start from one Gaussian: one initial state gives one letter for each class.

*Guidance on one network.* The guided score needs the network with and without the class at the same instant. Two sets
of arrays could give both, summed with gains 1 + guidance and -guidance; the board has one set. So guidance is distilled
(idea: Meng et al. 2023, "On distillation of guided diffusion models"): the trajectories' ends are matched, not to the
data, but to what the guided digital network draws. One network for each strength; without guidance the targets are the
data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from analysis.diffusion.class_flow import ClassKnobs
from analysis.diffusion.conditional_model import MODES, ConditionalModel, ScoreModel
from analysis.diffusion.descent import Descent, one_thread
from analysis.diffusion.flow import interpolation
from analysis.diffusion.hardware import CLAMP, N_HIDDEN, WriteNoise
from analysis.diffusion.hardware_recipe import Cells
from analysis.diffusion.network import forward, tensor
from analysis.diffusion.objective import denoising_batch, matching_loss
from analysis.diffusion.samplers import Sampler, sample
from analysis.diffusion.sde import VPSDE, Prior
from analysis.diffusion.store import cached
from analysis.mapping import ConductanceWindow

Array = npt.NDArray[np.float64]

_VERSION = 1


@dataclass(frozen=True)
class ConditionalRecipe:
    """How the networks are trained; the default takes about a minute of one core for the board's network.

    Score matching from `starts` different weights, the best goes on. `drop` is the share without a condition. `speeds`
    multiply beta in the flow and in the stochastic equation. Batches count points of one class.
    """

    name: str = "conditional"
    starts: int = 2
    score_iterations: int = 3000
    score_batch: int = 40
    score_copies: int = 6
    score_rate: float = 3e-2
    drop: float = 0.1
    references: int = 384
    t_min: float = 0.01
    flow_iterations: int = 350
    flow_batch: int = 160
    flow_copies: int = 2
    flow_rate: float = 1e-2
    flow_steps: int = 40
    widths: tuple[float, float] = (0.03, 0.15)
    clip: float = 0.3
    knots: int = 17
    speeds: tuple[float, float] = (1.5, 2.0)
    noise: WriteNoise = field(default_factory=lambda: WriteNoise(relative=0.02))
    start_gains: tuple[float, ...] = (2.0, 0.75, 0.75)
    digital_iterations: int = 4000


def pooled(targets: Sequence[Array], rng: np.random.Generator) -> Array:
    """Return points of all classes, every class with as many as the smallest has."""
    least = min(len(points) for points in targets)
    return np.concatenate([points[rng.permutation(len(points))[:least]] for points in targets])


def common_prior(targets: Sequence[Array], sde: VPSDE) -> Prior:
    """Return the Gaussian with the second moment of the noised mixture, from which every class starts."""
    return Prior.matched(sde, float(np.mean([np.mean(points**2) for points in targets])))


def train_score(recipe: ConditionalRecipe, seed: int, targets: Sequence[Array], sde: VPSDE | None = None) -> ScoreModel:
    """Train the digital score network on the points (n, 2) of every class: no cells, no clamps, no noise."""
    sde = sde or VPSDE()
    rng = np.random.default_rng([seed, 31])
    # A window of very many levels is as good as real numbers.
    fine = ConductanceWindow(n_levels=1 << 20)
    with one_thread():
        start = _match_score(recipe, fine, WriteNoise(), 1, recipe.digital_iterations, targets, sde, rng, None)
    gains = torch.exp(start.log_gains).detach()
    weights = tuple((u.detach() * g).numpy().astype(np.float64) for u, g in zip(start.cells.u, gains, strict=True))
    time, classes = (part.detach().numpy().astype(np.float64) for part in (start.time, start.classes))
    return ScoreModel(weights, time, classes, common_prior(targets, sde).std, sde)


def draw_guided(
    model: ScoreModel,
    label: int,
    n: int,
    rng: np.random.Generator,
    guidance: float = 0.0,
    sampler: Sampler | None = None,
    start: Array | None = None,
) -> Array:
    """Draw latent points (n, 2) of a class from the digital network; by default the reverse SDE at double speed."""
    sampler = sampler or Sampler("euler-maruyama", speed=2.0, points=200)
    start = model.prior.draw(n, rng) if start is None else start
    return sample(model.score(label, guidance), len(start), rng, sampler=sampler, sde=model.sde, start=start)


def train_conditional(
    recipe: ConditionalRecipe,
    seed: int,
    data: Sequence[Array],
    *,
    guidance: float = 0.0,
    score: ScoreModel | None = None,
    sde: VPSDE | None = None,
    window: ConductanceWindow | None = None,
    guided_points: int = 3000,
) -> ConditionalModel:
    """Train the board's network on the points (n, 2) of every class; its weights lie on the window's levels.

    With `guidance` the digital `score` network is needed (trained here if None) and draws `guided_points` targets for
    each class.
    """
    sde, window = sde or VPSDE(), window or ConductanceWindow()
    targets = list(data)
    if guidance != 0.0:
        score = score or train_score(recipe, seed, data, sde)
        rng = np.random.default_rng([seed, 33])
        targets = [draw_guided(score, k, guided_points, rng, guidance) for k in range(len(data))]
    with one_thread():
        starts = [
            _match_score(
                recipe, window, recipe.noise, recipe.score_copies, recipe.score_iterations, data, sde,
                np.random.default_rng([seed, 32, i]), CLAMP,
            )
            for i in range(recipe.starts)
        ]  # fmt: skip
        best = min(starts, key=lambda start: start.loss)
        knobs = [
            ClassKnobs.for_mode(m, v, sde, best.time, best.classes) for m, v in zip(MODES, recipe.speeds, strict=True)
        ]
        prior = common_prior(data, sde)
        _match_flow(recipe, best, knobs, targets, prior)
    gains = np.exp(best.log_gains.detach().numpy().astype(np.float64))
    weights = tuple(
        (window.quantise((u.detach().numpy() + 1.0) * window.g_fixed) / window.g_fixed - 1.0) * gain
        for u, gain in zip(best.cells.u, gains, strict=True)
    )
    scales = tuple(float(window.g_fixed / gain) for gain in gains)
    drives = {mode: k.drives(prior) for mode, k in zip(MODES, knobs, strict=True)}
    return ConditionalModel(recipe.name, seed, weights, scales, drives, guidance)


@dataclass
class _Start:
    """A network after score matching, the generator that goes on with it, and its mean loss over the last tenth."""

    cells: Cells
    log_gains: torch.Tensor
    time: torch.Tensor
    classes: torch.Tensor
    rng: np.random.Generator
    loss: float


def _match_score(
    recipe: ConditionalRecipe,
    window: ConductanceWindow,
    noise: WriteNoise,
    copies: int,
    iterations: int,
    data: Sequence[Array],
    sde: VPSDE,
    rng: np.random.Generator,
    clamp: tuple[float, float] | None,
) -> _Start:
    cells = Cells(window, noise, rng)
    log_gains = torch.log(tensor(recipe.start_gains)).requires_grad_()
    time = torch.zeros(recipe.knots, N_HIDDEN, requires_grad=True)
    classes = tensor(0.3 * rng.standard_normal((len(data), N_HIDDEN))).requires_grad_()
    groups = [tensor(points) for points in data]
    groups.append(tensor(pooled(data, rng)))
    n_class = recipe.score_batch
    # Of all points `drop` see no condition.
    n_null = max(round(recipe.drop / (1.0 - recipe.drop) * n_class * len(data)), 1)
    sizes = [n_class] * len(data) + [n_null]
    owner = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    step = Descent([*cells.u, log_gains, time, classes], recipe.score_rate, iterations, (0.9, 0.999), None)
    last = torch.zeros(())
    for iteration in range(iterations):
        parts, times = [], []
        for points, size in zip(groups, sizes, strict=True):
            # Times are stratified: one in each of `size` equal parts.
            t = recipe.t_min + (1.0 - recipe.t_min) * (np.arange(size) + rng.random(size)) / size
            parts.append(denoising_batch(points, t, sde, rng, recipe.references))
            times.append(t)
        x, target = torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])
        embedding = interpolation(1.0 - np.concatenate(times), recipe.knots) @ time
        embedding = embedding + torch.cat([classes, torch.zeros(1, N_HIDDEN)])[owner]
        weights = [u * g for u, g in zip(cells.draw(copies), torch.exp(log_gains), strict=True)]
        n, _ = forward(weights, embedding, x.expand(copies, len(x), 2), clamp)
        loss = ((n + target) ** 2).mean()
        step(loss)
        cells.clip()
        if iteration >= 0.9 * iterations:
            last = last + loss.detach()
    return _Start(cells, log_gains, time, classes, rng, float(last))


def _match_flow(
    recipe: ConditionalRecipe, best: _Start, knobs: Sequence[ClassKnobs], targets: Sequence[Array], prior: Prior
) -> None:
    rng = best.rng
    points = [tensor(t) for t in targets]
    parameters = [*best.cells.u, best.log_gains, *(p for k in knobs for p in k.parameters())]
    step = Descent(parameters, recipe.flow_rate, recipe.flow_iterations, (0.9, 0.99), recipe.clip)
    n = recipe.flow_batch
    for _ in range(recipe.flow_iterations):
        weights = [u * g for u, g in zip(best.cells.draw(recipe.flow_copies), torch.exp(best.log_gains), strict=True)]
        loss = torch.zeros(())
        for mode in knobs:
            start = tensor(prior.draw(n * len(points), rng)).expand(recipe.flow_copies, n * len(points), 2)
            ends = mode.run(weights, start, recipe.flow_steps, CLAMP, rng)
            for x, own in zip(ends, points, strict=True):
                loss = loss + matching_loss(x, own, rng, recipe.widths, recipe.references)
        step(loss / (len(knobs) * len(points)))
        best.cells.clip()


def train_score_cached(
    folder: Path | None, recipe: ConditionalRecipe, seed: int, data: Sequence[Array]
) -> tuple[ScoreModel, bool]:
    """Return the digital score network and whether it came out of `folder`; train and keep it there if not."""
    key = (_VERSION, recipe, seed, _digest(data))
    return cached(folder, "score", key, ScoreModel.load, lambda: train_score(recipe, seed, data))


def train_conditional_cached(
    folder: Path | None, recipe: ConditionalRecipe, seed: int, data: Sequence[Array], guidance: float = 0.0
) -> tuple[ConditionalModel, bool]:
    """Return the board's network and whether it came out of `folder`; train and keep it there if not."""
    key = (_VERSION, recipe, seed, _digest(data), guidance)

    def make() -> ConditionalModel:
        score = train_score_cached(folder, recipe, seed, data)[0] if guidance != 0.0 else None
        return train_conditional(recipe, seed, data, guidance=guidance, score=score)

    return cached(folder, recipe.name, key, ConditionalModel.load, make)


def _digest(data: Sequence[Array]) -> str:
    digest = hashlib.sha256()
    for points in data:
        digest.update(np.ascontiguousarray(points, dtype=np.float64).tobytes())
    return digest.hexdigest()
