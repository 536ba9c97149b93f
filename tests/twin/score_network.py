"""A 2-14-14-2 network of realistic size for the circuit's tests, made in milliseconds and always the same.

Random first layers with the ranges that training gives (weights within -3.2 .. 2.8), the last layer fitted by ridge
regression to the exact score of a circle of radius 0.7 under the published noise schedule.
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
UNIT = 10e-6  # S per unit of weight
FREQUENCIES = np.array([0.262, -0.81893, 0.24826, 0.41499, 0.03246, -0.27096, 0.07671])  # firmware type 0


def beta(t: npt.ArrayLike) -> Array:
    """Noise schedule at diffusion time t in 0 .. 1."""
    return 0.001 + 0.499 * np.asarray(t, dtype=np.float64)


def embedding(t: npt.ArrayLike) -> Array:
    """(..., 14) sines and cosines of time."""
    angle = 2 * np.pi * np.asarray(t, dtype=np.float64)[..., None] * FREQUENCIES
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=-1)


def circle_score(x: Array, t: Array) -> Array:
    """Exact score of a noisy circle of radius 0.7 at points x (m, 2) and times t (m,)."""
    integral = 0.001 * t + 0.2495 * t**2
    mean, variance = np.exp(-0.5 * integral), 1 - np.exp(-integral) + 0.04**2
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    ring = 0.7 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    gap = mean[:, None, None] * ring - x[:, None]
    weight = -(gap**2).sum(-1) / (2 * variance[:, None])
    weight = np.exp(weight - weight.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    return np.einsum("mk,mkd->md", weight, gap) / variance[:, None]


def hidden(weights: list[Array], x: Array, t: Array) -> Array:
    """Second hidden layer (m, 14), in units."""
    time = embedding(t)
    h = np.maximum(np.column_stack([x, np.ones(len(x))]) @ weights[0].T + time, 0)
    return np.maximum(np.column_stack([h, np.ones(len(x))]) @ weights[1].T + time, 0)


def network(seed: int = 0, output_gain: float = 5.0) -> list[Array]:
    """Weights (14, 3), (14, 15), (2, 15), biases last; the output times `output_gain` approximates the score."""
    rng = np.random.default_rng(seed)
    weights = [
        np.clip(rng.normal(0, 1.2, (14, 3)), -3.2, 2.8),
        np.clip(rng.normal(0, 0.7, (14, 15)), -3.2, 2.8),
    ]
    t = rng.uniform(0.02, 1.0, 4000)
    x = rng.normal(0, 0.8, (4000, 2))
    features = np.column_stack([hidden(weights, x, t), np.ones(len(x))])
    target = circle_score(x, t) / output_gain
    # Training weighs the score by its own deviation.
    scale = np.sqrt(1 - np.exp(-0.2495 * t**2) + 0.04**2)[:, None]
    gram = (features * scale).T @ (features * scale) + 3.0 * np.eye(15)
    weights.append(np.clip(np.linalg.solve(gram, (features * scale).T @ (target * scale)).T, -3.2, 2.8))
    return weights


def conductances(weights: list[Array], unit: float = UNIT) -> tuple[Array, Array, Array]:
    """G = 50 uS + unit * w."""
    first, second, third = (50e-6 + unit * w for w in weights)
    return first, second, third


def drive_volts(n_tick: int = 200, tick: float = 5e-3, coefficient: float = 0.5) -> Array:
    """(n_tick, 18) V as the published firmware computes them: g2, fx, t1 .. t14, noise off."""
    t = 1 - np.arange(n_tick) * tick
    rows = np.zeros((n_tick, 18))
    rows[:, 0] = 0.5 * beta(t) * coefficient
    rows[:, 1] = -0.25 * beta(t)
    rows[:, 2:16] = 0.5 * embedding(t)
    return rows
