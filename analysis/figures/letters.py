"""The panels of the paper's Fig. 4 but for the architecture: latent clouds, their way there, letters, guidance.

Each function takes arrays and writes one picture; g and h, speed and energy, are `analysis.figures.cost`'s. Latent
points are in software units of 0.1 V; `note` is the line at the bottom that says which run and which data.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from analysis.figures.style import BLUE, GREEN, ORANGE, caption, figure, save
from analysis.letters.data import CLASSES
from analysis.letters.judge import ClassQuality, GuidancePoint
from analysis.letters.vae import CENTRES

Array = npt.NDArray[np.float64]

COLOURS = (BLUE, ORANGE, GREEN)
_LIMIT = 1.25


def feature_maps(stages: tuple[Array, Array, Array], latent: Array, path: Path, note: str = "") -> Path:
    """Fig. 4c: maps (16, 3, 3) and (8, 6, 6) and the image (12, 12) that the decoder makes of one latent point."""
    small, middle, image = stages
    with figure(9, 3.1) as fig:
        for ax, maps, columns, title in zip(
            fig.subplots(1, 3, width_ratios=[1, 1.6, 1]),
            (small, middle, image[None]),
            (4, 4, 1),
            ("linear layers, 16 of 3×3", "first deconvolution, 8 of 6×6", "second deconvolution, sigmoid"),
            strict=True,
        ):
            _picture(ax, _sheet(maps / max(float(maps.max()), 1e-9), columns, 0.35))
            ax.set_title(title, fontsize=9)
        fig.suptitle(f"From ({latent[0]:.2f}, {latent[1]:.2f}) to a letter  [Fig. 4c]", x=0.01, ha="left", fontsize=12)
        caption(fig, note)
        return save(fig, path)


def latent_clouds(
    points: Sequence[Array], encoded: Sequence[Array], qualities: Sequence[ClassQuality], path: Path, note: str = ""
) -> Path:
    """Fig. 4d: generated points (n, 2) of each class beside the encoded data, with the densities in relief."""
    with figure(13, 4.3) as fig:
        left = fig.add_subplot(1, 3, 1)
        middle = fig.add_subplot(1, 3, 2)
        relief: Any = fig.add_subplot(1, 3, 3, projection="3d")
        for ax, clouds, title in ((left, points, "generated"), (middle, encoded, "encoded data")):
            for k, cloud in enumerate(clouds):
                shown = cloud[: len(points[k])]
                ax.plot(shown[:, 0], shown[:, 1], ".", color=COLOURS[k], markersize=2.5, alpha=0.5)
                ax.plot(*CENTRES[k], "+", color="black", markersize=9)
            _plane(ax)
            ax.set_title(title)
        for k, q in enumerate(qualities):
            text = f"{q.name}: KL2 {q.kl.value:.2f} (floor {q.kl.floor:.2f}), read {q.accuracy:.1%}"
            left.text(0.02, 0.98 - 0.055 * k, text, transform=left.transAxes, va="top", fontsize=8, color=COLOURS[k])
        axis = np.linspace(-_LIMIT, _LIMIT, 56)
        x, y = np.meshgrid(axis, axis)
        everything = np.stack([_density(cloud, x, y) for cloud in points])
        colours = np.empty((*x.shape, 3))
        rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in COLOURS])
        share = np.clip(everything / max(float(everything.max()), 1e-9), 0.0, 1.0) ** 0.5
        colours = np.clip(1.0 - np.einsum("kij,kc->ijc", share, 1.0 - rgb), 0.0, 1.0)
        relief.plot_surface(x, y, everything.sum(0), facecolors=colours, rstride=1, cstride=1, linewidth=0, shade=False)
        relief.view_init(42, -60)
        relief.set_xlabel("x")
        relief.set_ylabel("y")
        relief.set_title("density of the generated points")
        fig.suptitle("Latent space under three conditions  [Fig. 4d]", x=0.01, ha="left", fontsize=13)
        caption(fig, note)
        return save(fig, path)


def latent_evolution(clouds: Sequence[Sequence[Array]], instants: Sequence[float], path: Path, note: str = "") -> Path:
    """Fig. 4e: for each instant, s, the points (n, 2) of each class."""
    with figure(2.5 * len(instants), 3.0) as fig:
        axes = np.atleast_1d(fig.subplots(1, len(instants), sharey=True))
        for ax, t, now in zip(axes, instants, clouds, strict=True):
            for k, cloud in enumerate(now):
                ax.plot(cloud[:, 0], cloud[:, 1], ".", color=COLOURS[k], markersize=2, alpha=0.5)
            _plane(ax, 1.9)
            ax.set_title(f"t = {t:.2f} s", fontsize=10)
            if ax is not axes[0]:
                ax.set_ylabel("")
        fig.suptitle("From one Gaussian to three classes  [Fig. 4e]", x=0.01, ha="left", fontsize=13)
        caption(fig, note)
        return save(fig, path)


def one_start_three_letters(time: Array, paths: Sequence[Array], letters: Array, path: Path, note: str = "") -> Path:
    """Fig. 4f: one initial state under each condition: times (m,) s, paths (2, m) in units, letters (3, 12, 12)."""
    with figure(11, 4.0) as fig:
        grid = fig.add_gridspec(3, 4, width_ratios=[1.5, 1.5, 1.5, 0.6])
        waves = fig.add_subplot(grid[:, :2])
        plane = fig.add_subplot(grid[:, 2])
        for k, way in enumerate(paths):
            waves.plot(time, 0.1 * way[0], color=COLOURS[k], linewidth=1.2, label=f"x, {CLASSES[k]}")
            waves.plot(time, 0.1 * way[1], color=COLOURS[k], linewidth=1.2, linestyle="--", label=f"y, {CLASSES[k]}")
            plane.plot(way[0], way[1], color=COLOURS[k], linewidth=1.0)
            plane.plot(way[0, -1], way[1, -1], "o", color=COLOURS[k], markersize=5)
            _picture(fig.add_subplot(grid[k, 3]), letters[k])
        plane.plot(paths[0][0, 0], paths[0][1, 0], "s", color="black", markersize=5)
        _plane(plane)
        waves.set_xlabel("time (s)")
        waves.set_ylabel("V")
        waves.legend(fontsize=8, ncols=3, loc="upper left")
        low, high = waves.get_ylim()
        waves.set_ylim(low, high + 0.25 * (high - low))
        x, y = 0.1 * paths[0][0, 0], 0.1 * paths[0][1, 0]
        fig.suptitle(f"One start, ({x:.3f} V, {y:.3f} V), three conditions  [Fig. 4f]", x=0.01, ha="left", fontsize=13)
        caption(fig, note)
        return save(fig, path)


def contact_sheet(
    images: Sequence[Array],
    path: Path,
    note: str = "",
    rows: int = 4,
    columns: int = 24,
    names: Sequence[str] = CLASSES,
) -> Path:
    """Letters (n, 12, 12) of each class, the first `rows` x `columns` as they came: nothing is chosen."""
    most = max(len(part) for part in images)
    columns = min(columns, max(most, 12))
    rows = min(rows, -(-most // columns))
    with figure(11, 0.9 + len(images) * (0.15 + 10.4 * rows / columns)) as fig:
        for k, ax in enumerate(np.atleast_1d(fig.subplots(len(images), 1))):
            _picture(ax, _sheet(images[k][: rows * columns], columns, 0.0))
            ax.set_ylabel(names[k], rotation=0, labelpad=14, fontsize=14, va="center")
        fig.suptitle("Generated letters, the first of each class", x=0.01, ha="left", fontsize=13)
        caption(fig, note)
        return save(fig, path)


def latent_grid(images: Array, points: Sequence[Array], path: Path, note: str = "") -> Path:
    """The latent plane decoded on an even grid (n, n, 12, 12), row 0 at the bottom, with points of each class."""
    n = len(images)
    with figure(6.4, 6.6) as fig:
        ax = fig.subplots()
        rows = [np.hstack(list(row)) for row in images]
        ax.imshow(
            np.vstack(rows[::-1]), cmap="gray", vmin=0, vmax=1, extent=(-_LIMIT, _LIMIT, -_LIMIT, _LIMIT),
            interpolation="nearest",
        )  # fmt: skip
        for k, cloud in enumerate(points):
            ax.plot(cloud[:300, 0], cloud[:300, 1], ".", color=COLOURS[k], markersize=3, alpha=0.7)
        _plane(ax)
        fig.suptitle(f"The latent plane, decoded on {n}×{n} points", x=0.01, ha="left", fontsize=13)
        caption(fig, note)
        return save(fig, path)


def grid_points(n: int = 20) -> Array:
    """Latent points (n * n, 2), rows from the bottom, whose letters fill `latent_grid` evenly."""
    axis = (np.arange(n) + 0.5) / n * 2.0 * _LIMIT - _LIMIT
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return np.stack([x.ravel(), y.ravel()], axis=1)


def guidance_figure(curve: Sequence[GuidancePoint], path: Path, note: str = "") -> Path:
    """Fidelity and diversity over the strength of guidance, digital network."""
    with figure(11, 3.4) as fig:
        parts = (("kl", "KL2 to the encoded data"), ("accuracy", "read as their class"), ("diversity", "mean distance"))
        axes = fig.subplots(1, 3)
        for ax, (name, text) in zip(axes, parts, strict=True):
            for mode, colour in (("sde", BLUE), ("ode", ORANGE)):
                own = [p for p in curve if p.mode == mode]
                ax.plot([p.guidance for p in own], [getattr(p, name) for p in own], "o-", color=colour, label=mode)
            ax.set_xlabel("guidance λ")
            ax.set_ylabel(text)
        axes[0].legend(fontsize=9)
        fig.suptitle("Guidance trades variety for certainty", x=0.01, ha="left", fontsize=13)
        caption(fig, note)
        return save(fig, path)


def decoder_error(digital: Array, analog: Array, path: Path, note: str = "") -> Path:
    """Letters (n, 12, 12) of the digital decoder above those of the arrays, and the error of all pixels."""
    error = analog - digital
    chosen = np.linspace(0, len(digital) - 1, min(24, len(digital))).astype(np.int64)
    with figure(11, 3.1) as fig:
        grid = fig.add_gridspec(2, 2, width_ratios=[2.2, 1])
        for i, (images, name) in enumerate(((digital, "digital"), (analog, "arrays"))):
            ax = fig.add_subplot(grid[i, 0])
            _picture(ax, _sheet(images[chosen], 12, 0.0))
            ax.set_ylabel(name, fontsize=10)
        ax = fig.add_subplot(grid[:, 1])
        ax.hist(error.ravel(), np.linspace(-0.3, 0.3, 61).tolist(), color=BLUE)
        ax.set_yscale("log")
        ax.set_xlabel("pixel, arrays − digital")
        ax.set_title(f"mean absolute error {np.abs(error).mean():.4f}")
        fig.suptitle("The decoder on the arrays", x=0.01, ha="left", fontsize=13)
        caption(fig, note)
        return save(fig, path)


def _sheet(images: Array, columns: int, gap: float) -> Array:
    """Images (n, s, s) side by side in rows, with a line of `gap` brightness between them."""
    n, side, _ = images.shape
    rows = -(-n // columns)
    sheet = np.full((rows * (side + 1) - 1, columns * (side + 1) - 1), gap)
    for i, image in enumerate(images):
        y, x = (i // columns) * (side + 1), (i % columns) * (side + 1)
        sheet[y : y + side, x : x + side] = image
    return sheet


def _picture(ax: Axes, image: Array) -> None:
    ax.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="equal")
    ax.set_xticks([])
    ax.set_yticks([])


def _plane(ax: Axes, limit: float = _LIMIT) -> None:
    ax.set_xlim(-limit, limit)
    ax.set_ylim(-limit, limit)
    ax.set_aspect("equal")
    ax.set_xlabel("x (units of 0.1 V)")
    ax.set_ylabel("y (units of 0.1 V)")


def _density(cloud: Array, x: Array, y: Array, width: float = 0.08) -> Array:
    """Kernel density of points (n, 2) at x, y."""
    total = np.zeros_like(x)
    for px, py in cloud[:1000]:
        total += np.exp(-0.5 * ((x - px) ** 2 + (y - py) ** 2) / width**2)
    return total / (len(cloud[:1000]) * 2.0 * np.pi * width**2)
