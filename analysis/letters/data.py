"""Letters as the experiment uses them: 12x12 images in [0, 1] with a class, and where they came from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.errors import AnalysisError

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

CLASSES = ("H", "K", "U")
SIDE = 12


@dataclass(frozen=True)
class LetterSet:
    """Images (n, 12, 12) in [0, 1], bright ink on dark paper; labels (n,) index `CLASSES`; `source` names the data.

    Raises:
        AnalysisError: shapes or ranges are others.
    """

    images: Array
    labels: Labels
    source: str

    def __post_init__(self) -> None:
        """Check shapes and ranges."""
        n = len(self.labels)
        if self.images.shape != (n, SIDE, SIDE) or self.labels.shape != (n,) or n == 0:
            raise AnalysisError(
                f"{self.source}: images {self.images.shape} and labels {self.labels.shape} are no letters; "
                f"need (n, {SIDE}, {SIDE}) and (n,)"
            )
        if not (np.isfinite(self.images).all() and self.images.min() >= 0.0 and self.images.max() <= 1.0):
            raise AnalysisError(f"{self.source}: pixels must lie in [0, 1]")
        if not np.isin(self.labels, range(len(CLASSES))).all():
            raise AnalysisError(f"{self.source}: labels must lie in 0..{len(CLASSES) - 1}")

    def __len__(self) -> int:
        """Number of letters."""
        return len(self.labels)

    @property
    def counts(self) -> dict[str, int]:
        """Letters of each class."""
        return {name: int((self.labels == k).sum()) for k, name in enumerate(CLASSES)}

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that tell one data set from another."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images, dtype=np.float32).tobytes())
        digest.update(np.ascontiguousarray(self.labels, dtype=np.int64).tobytes())
        return digest.hexdigest()[:16]

    def of(self, label: int) -> Array:
        """Images of one class, (m, 12, 12)."""
        return np.asarray(self.images[self.labels == label])

    def take(self, index: npt.NDArray[np.int64], note: str = "") -> LetterSet:
        """Return the letters at `index`."""
        return LetterSet(self.images[index], self.labels[index], self.source + note)

    def split(self, share: float, rng: np.random.Generator) -> tuple[LetterSet, LetterSet]:
        """Return two parts, the first with `share` of each class, in random order."""
        first, second = [], []
        for k in range(len(CLASSES)):
            index = rng.permutation(np.flatnonzero(self.labels == k))
            cut = round(share * len(index))
            first.append(index[:cut])
            second.append(index[cut:])
        return (
            self.take(rng.permutation(np.concatenate(first)), f", {share:.0%}"),
            self.take(rng.permutation(np.concatenate(second)), f", other {1 - share:.0%}"),
        )


def class_index(name: str) -> int:
    """Return the index of a letter; raise AnalysisError if it is not one of `CLASSES`."""
    if name not in CLASSES:
        raise AnalysisError(f"no class {name!r}; choose from {', '.join(CLASSES)}")
    return CLASSES.index(name)


def preprocess(images: npt.NDArray[np.uint8] | Array) -> Array:
    """Return 28x28 images (n, 28, 28), upright, 0..255, as 12x12 in [0, 1]: halved by averaging, centre cropped.

    28 -> 14 -> 12 as in the paper's Methods. The scale [0, 1] is the published code's, whose decoder ends in a sigmoid;
    `signed` gives the paper's [-1, 1].
    """
    full = np.asarray(images, dtype=np.float64) / 255.0
    if full.ndim != 3 or full.shape[1:] != (28, 28):
        raise AnalysisError(f"letters need shape (n, 28, 28) before they are scaled down, got {full.shape}")
    half = full.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))
    return np.asarray(half[:, 1:-1, 1:-1])


def signed(images: Array) -> Array:
    """Return images of [0, 1] on the paper's scale [-1, 1]."""
    return 2.0 * images - 1.0
