"""Draws handwritten H, K and U from strokes: the data set that needs no download.

A letter is up to three strokes, drawn as people draw them, then slanted, turned, warped and traced by a pen whose
pressure varies. The image is fitted into 28x28 as EMNIST's are (longer side 18 to 24 pixels, centred, smooth edges) and
goes through the same reduction to 12x12 as real letters. All shares and spreads were set by eye against real ones.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from analysis.letters.data import CLASSES, Labels, LetterSet, preprocess

Array = npt.NDArray[np.float64]

POINTS = 14
STROKES = 3
_SIDE = 28
_BOX = (18.0, 24.0)
_CHUNK = 256


def synthetic_letters(n_per_class: int, rng: np.random.Generator, name: str = "") -> LetterSet:
    """Draw `n_per_class` letters of each class, in random order; equal generators give equal letters."""
    images, labels = [], []
    for k, draw in enumerate((_strokes_h, _strokes_k, _strokes_u)):
        for start in range(0, n_per_class, _CHUNK):
            n = min(_CHUNK, n_per_class - start)
            images.append(preprocess(255.0 * _trace(_written(draw(n, rng), rng), rng)))
            labels.append(np.full(n, k))
    order = rng.permutation(n_per_class * len(CLASSES))
    all_labels: Labels = np.concatenate(labels).astype(np.int64)[order]
    source = f"synthetic strokes, {n_per_class} a class" + (f", {name}" if name else "")
    return LetterSet(np.concatenate(images)[order], all_labels, source)


def _strokes_h(n: int, rng: np.random.Generator) -> Array:
    """Two stems and a bar: points (n, 3, 14, 2); x to the right, y down, a letter within about +-0.5."""
    half = rng.uniform(0.22, 0.46, n)
    top, bottom = rng.normal(-0.5, 0.04, (2, n)), rng.normal(0.5, 0.04, (2, n))
    lean = rng.normal(0.0, 0.04, (4, n))
    left = _line((-half + lean[0], top[0]), (-half + lean[1], bottom[0]), rng, 0.03)
    right = _line((half + lean[2], top[1]), (half + lean[3], bottom[1]), rng, 0.03)
    height, tilt = rng.normal(0.0, 0.07, n), rng.normal(-0.01, 0.05, n)
    over = np.where(rng.random(n) < 0.35, rng.uniform(0.0, 0.15, n), rng.normal(0.0, 0.02, n))
    short = np.where(rng.random(n) < 0.35, rng.uniform(0.0, 0.12, n), rng.normal(0.0, 0.02, n))
    bar = _line((-half - short, height - tilt), (half + over, height + tilt), rng, 0.03)
    return np.stack([left, right, bar], axis=1)


def _strokes_k(n: int, rng: np.random.Generator) -> Array:
    """A stem, an arm and a leg; about a third with the short arm of the lower case."""
    small = rng.random(n) < 0.3
    stem_x = rng.normal(-0.28, 0.04, n)
    lean = rng.normal(0.0, 0.03, (2, n))
    stem = _line((stem_x + lean[0], rng.normal(-0.5, 0.03, n)), (stem_x + lean[1], rng.normal(0.5, 0.03, n)), rng, 0.03)
    arm_y = np.where(small, rng.uniform(-0.25, 0.0, n), rng.normal(-0.46, 0.07, n))
    meet_y = np.where(small, rng.uniform(0.1, 0.28, n), rng.normal(0.06, 0.08, n))
    gap = np.where(rng.random(n) < 0.3, rng.uniform(0.0, 0.12, n), rng.normal(0.0, 0.015, n))
    arm_x = np.where(small, rng.uniform(0.08, 0.3, n), rng.normal(0.28, 0.09, n))
    arm = _line((arm_x, arm_y), (stem_x + gap, meet_y), rng, 0.06)
    # The leg leaves from where the arm ends or from a point up the arm.
    up = np.where(rng.random(n) < 0.5, rng.uniform(0.1, 0.4, n), rng.uniform(0.0, 0.1, n))
    start = (stem_x + gap + up * (arm_x - stem_x - gap), meet_y + up * (arm_y - meet_y))
    leg = _line(start, (rng.normal(0.32, 0.08, n), rng.normal(0.47, 0.05, n)), rng, 0.06)
    return np.stack([stem, arm, leg], axis=1)


def _strokes_u(n: int, rng: np.random.Generator) -> Array:
    """A bowl; many with the tail of the lower case, some with a hook where the pen sets down."""
    half = rng.uniform(0.2, 0.44, n)
    wide = rng.normal(1.0, 0.12, n)
    top = rng.normal(-0.5, 0.05, (2, n))
    depth = rng.uniform(0.25, 0.7, n)
    turn = np.linspace(0.0, np.pi, POINTS - 6)
    square = rng.uniform(0.6, 1.1, n)[:, None]
    cosine, sine = np.cos(turn)[None], np.sin(turn)[None]
    arc_x = -half[:, None] * np.sign(cosine) * np.abs(cosine) ** square
    arc_y = 0.5 - depth[:, None] + depth[:, None] * sine**square
    down = np.linspace(0.0, 1.0, 4)[None, :-1]
    left_y = top[0][:, None] + down * (arc_y[:, :1] - top[0][:, None])
    right_y = arc_y[:, -1:] + (1.0 - down[:, ::-1]) * (top[1][:, None] - arc_y[:, -1:])
    open_left, open_right = rng.normal(0.0, 0.05, (2, n))
    left_x = -(half * wide)[:, None] - open_left[:, None] * (1.0 - down) + (half * (wide - 1.0))[:, None] * down
    right_x = half[:, None] + open_right[:, None] * (1.0 - down[:, ::-1])
    bowl = np.stack([np.hstack([left_x, arc_x, right_x]), np.hstack([left_y, arc_y, right_y])], axis=-1)
    has_tail, has_hook = rng.random(n) < 0.5, rng.random(n) < 0.25
    corner = np.stack([half + open_right, top[1]], axis=-1)
    foot = np.stack([half + rng.normal(0.12, 0.09, n), rng.normal(0.48, 0.05, n)], axis=-1)
    tail = _line((corner[:, 0], corner[:, 1]), (foot[:, 0], foot[:, 1]), rng, 0.09)
    tip = bowl[:, 0] + np.stack([-rng.uniform(0.08, 0.22, n), rng.uniform(0.0, 0.18, n)], axis=-1)
    hook = _line((tip[:, 0], tip[:, 1]), (bowl[:, 0, 0], bowl[:, 0, 1]), rng, 0.1)
    tail = np.where(has_tail[:, None, None], tail, bowl[:, -1:])
    hook = np.where(has_hook[:, None, None], hook, bowl[:, :1])
    return np.stack([bowl, tail, hook], axis=1)


def _line(start: tuple[Array, Array], end: tuple[Array, Array], rng: np.random.Generator, bend: float) -> Array:
    """Slightly bent lines (n, 14, 2) from `start` to `end`, each ((n,), (n,)); `bend` is a share of the length."""
    a, b = np.stack(start, axis=-1)[:, None], np.stack(end, axis=-1)[:, None]
    s = np.linspace(0.0, 1.0, POINTS)[None, :, None]
    along = b - a
    across = np.concatenate([-along[..., 1:], along[..., :1]], axis=-1)
    bow = rng.normal(0.0, bend, (len(a), 1, 1)) * 4.0 * s * (1.0 - s)
    sway = rng.normal(0.0, 0.35 * bend, (len(a), 1, 1)) * np.sin(2.0 * np.pi * s)
    return np.asarray(a + along * s + across * (bow + sway), dtype=np.float64)


def _written(strokes: Array, rng: np.random.Generator) -> Array:
    """Give strokes (n, 3, 14, 2) a hand: proportions, slant, turn and a smooth warp."""
    n = len(strokes)
    x, y = strokes[..., 0], strokes[..., 1]
    x = x * np.exp(rng.normal(0.0, 0.15, (n, 1, 1)))
    # Most hands lean to the right, a few to the left.
    x = x - (rng.normal(0.16, 0.26, (n, 1, 1))) * y
    turn = rng.normal(0.0, 0.07, (n, 1, 1))
    x, y = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    warp = rng.normal(0.0, 0.1, (6, n, 1, 1))
    x, y = (
        x + warp[0] * x * y + warp[1] * (y * y - 0.1) + 0.5 * warp[2] * x * x,
        y + warp[3] * x * y + 0.5 * warp[4] * (x * x - 0.1) + 0.5 * warp[5] * y * y,
    )
    return np.stack([x, y], axis=-1)


def _trace(strokes: Array, rng: np.random.Generator) -> Array:
    """Ink of strokes (n, 3, 14, 2), fitted into the box: images (n, 28, 28) in [0, 1]."""
    n = len(strokes)
    radius = np.clip(np.exp(rng.normal(np.log(1.45), 0.28, n)), 0.75, 2.6)
    flat = strokes.reshape(n, -1, 2)
    low, high = flat.min(axis=1), flat.max(axis=1)
    room = rng.triangular(_BOX[0], 0.55 * _BOX[0] + 0.45 * _BOX[1], _BOX[1], n) - 2.0 * radius
    scale = room / (high - low).max(axis=1)
    pixels = (strokes - (0.5 * (low + high))[:, None, None]) * scale[:, None, None, None] + 0.5 * (_SIDE - 1)
    # Single precision: half the time, and an error far below a grey level.
    a, b = (pixels[:, :, part].reshape(n, -1, 2).astype(np.float32) for part in (slice(-1), slice(1, None)))
    s = np.linspace(0.0, 1.0, POINTS - 1)
    phase, depth = rng.uniform(0.0, 2.0 * np.pi, (n, STROKES, 1)), rng.uniform(0.0, 0.25, (n, STROKES, 1))
    pressure = (1.0 + depth * np.sin(phase + np.pi * s)).reshape(n, -1)
    width = (radius[:, None] * pressure).astype(np.float32)
    py, px = (part.reshape(1, -1).astype(np.float32) for part in np.mgrid[:_SIDE, :_SIDE])
    ink = np.full((n, _SIDE * _SIDE), -np.inf, dtype=np.float32)
    along = b - a
    length2 = np.maximum((along**2).sum(axis=-1), np.float32(1e-12))
    for j in range(a.shape[1]):
        ux, uy = along[:, j, :1], along[:, j, 1:]
        dx, dy = px - a[:, j, :1], py - a[:, j, 1:]
        share = np.clip((dx * ux + dy * uy) / length2[:, j, None], 0.0, 1.0)
        dx -= share * ux
        dy -= share * uy
        np.maximum(ink, width[:, j, None] - np.sqrt(dx * dx + dy * dy), out=ink)
    soft = rng.uniform(1.0, 1.8, n)[:, None]
    return np.clip(0.5 + ink.astype(np.float64) / soft, 0.0, 1.0).reshape(n, _SIDE, _SIDE)
