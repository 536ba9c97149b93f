"""Reads H, K and U out of EMNIST as it is distributed: idx files, gzipped or not, images transposed.

Format: big-endian; images 0x00000803, count, rows, columns, then bytes; labels 0x00000801, count, then bytes
(LeCun's MNIST page). EMNIST (Cohen et al. 2017) stores every image transposed. Class codes: `byclass` 62 classes,
digits then A-Z then a-z; `balanced` and `bymerge` 47 classes, k and u merged with K and U but h apart; `letters` 26
classes from 1, both cases merged.
"""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from analysis.errors import AnalysisError
from analysis.letters.data import CLASSES, Labels, LetterSet, preprocess

Bytes = npt.NDArray[np.uint8]

IMAGES_MAGIC, LABELS_MAGIC = 0x00000803, 0x00000801
MAX_COUNT = 1_000_000
"""No split of EMNIST has more (byclass: 814,255)."""
_CHUNK = 4096


@dataclass(frozen=True)
class Split:
    """Codes of H, K and U in a split, and the range that all of its labels keep."""

    codes: tuple[int, int, int]
    low: int
    high: int


SPLITS: dict[str, Split] = {
    "byclass": Split((17, 20, 30), 0, 61),
    "balanced": Split((17, 20, 30), 0, 46),
    "bymerge": Split((17, 20, 30), 0, 46),
    "letters": Split((8, 11, 21), 1, 26),
}
PARTS = ("train", "test")


class EmnistError(AnalysisError):
    """A folder does not hold EMNIST, or a file of it is broken."""


def load_emnist(folder: Path, split: str | None = None, part: str = "train") -> LetterSet:
    """Read H, K and U of one split and part out of `folder`.

    Args:
        folder: holds emnist-SPLIT-PART-images-idx3-ubyte and -labels-idx1-ubyte, each with or without .gz.
        split: one of `SPLITS`; None takes the only one that `folder` holds.
        part: train or test.

    Raises:
        EmnistError: a file is missing, damaged, cut short, too long or of another format, or a letter has no image.
    """
    if part not in PARTS:
        raise EmnistError(f"no part {part!r} in EMNIST; choose from {', '.join(PARTS)}")
    split = split or _only_split(folder, part)
    if split not in SPLITS:
        raise EmnistError(f"EMNIST split {split!r} has no H, K and U here; choose from {', '.join(SPLITS)}")
    meaning = SPLITS[split]
    stem = f"emnist-{split}-{part}"
    images_path, labels_path = _find(folder, f"{stem}-images-idx3-ubyte"), _find(folder, f"{stem}-labels-idx1-ubyte")
    codes = _read_labels(labels_path, meaning)
    wanted = np.isin(codes, meaning.codes)
    images = _read_images(images_path, wanted, labels_path)
    labels: Labels = np.searchsorted(meaning.codes, codes[wanted]).astype(np.int64)
    for k, name in enumerate(CLASSES):
        if not (labels == k).any():
            raise EmnistError(f"{labels_path} holds no {name} (code {meaning.codes[k]} of split {split})")
    return LetterSet(preprocess(images.transpose(0, 2, 1)), labels, f"EMNIST {split} {part}, {len(labels)} letters")


def _only_split(folder: Path, part: str) -> str:
    found = [s for s in SPLITS if any(_paths(folder, f"emnist-{s}-{part}-images-idx3-ubyte"))]
    if len(found) != 1:
        what = f"holds several splits ({', '.join(found)}): name one" if found else "holds no EMNIST files"
        wanted = f"emnist-SPLIT-{part}-images-idx3-ubyte[.gz] with SPLIT one of {', '.join(SPLITS)}"
        raise EmnistError(f"{folder} {what}; expected {wanted}")
    return found[0]


def _paths(folder: Path, name: str) -> list[Path]:
    return [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]


def _find(folder: Path, name: str) -> Path:
    found = _paths(folder, name)
    if not found:
        raise EmnistError(f"{folder / name} is missing, and so is {name}.gz: put the EMNIST distribution's file there")
    return found[0]


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedIOBase]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield file
    except (OSError, EOFError) as error:
        raise EmnistError(f"{path} can't be read: {error}") from error
    except zlib.error as error:
        raise EmnistError(f"{path} is damaged: {error}") from error


def _header(file: io.BufferedIOBase, path: Path, magic: int, fields: int) -> tuple[int, ...]:
    raw = file.read(4 * fields)
    if len(raw) < 4 * fields:
        raise EmnistError(f"{path} ends in its header")
    found, *sizes = struct.unpack(f">{fields}I", raw)
    if found != magic:
        raise EmnistError(f"{path} has magic number {found:#010x}, an idx file of this kind has {magic:#010x}")
    if not 0 < sizes[0] <= MAX_COUNT:
        raise EmnistError(f"{path} says it holds {sizes[0]} items; allowed are 1 to {MAX_COUNT}")
    return tuple(sizes)


def _exactly(file: io.BufferedIOBase, n: int, path: Path) -> Bytes:
    raw = file.read(n)
    if len(raw) != n:
        raise EmnistError(f"{path} is cut short")
    return np.frombuffer(raw, dtype=np.uint8)


def _end(file: io.BufferedIOBase, path: Path) -> None:
    if file.read(1):
        raise EmnistError(f"{path} is longer than its header says")


def _read_labels(path: Path, meaning: Split) -> Bytes:
    with _opened(path) as file:
        (count,) = _header(file, path, LABELS_MAGIC, 2)
        codes = _exactly(file, count, path)
        _end(file, path)
    if codes.min() < meaning.low or codes.max() > meaning.high:
        raise EmnistError(
            f"{path} has labels {codes.min()} to {codes.max()}, its split has {meaning.low} to {meaning.high}"
        )
    return codes


def _read_images(path: Path, wanted: npt.NDArray[np.bool_], labels: Path) -> Bytes:
    """Images where `wanted`, (m, 28, 28) as stored; the file is read in pieces, since byclass has 550 MB of images."""
    kept = []
    with _opened(path) as file:
        count, rows, columns = _header(file, path, IMAGES_MAGIC, 4)
        if (rows, columns) != (28, 28):
            raise EmnistError(f"{path} has images of {rows} x {columns}, EMNIST has 28 x 28")
        if count != len(wanted):
            raise EmnistError(f"{path} holds {count} images but {labels} {len(wanted)} labels")
        for start in range(0, count, _CHUNK):
            n = min(_CHUNK, count - start)
            piece = _exactly(file, n * 784, path).reshape(n, 28, 28)
            kept.append(piece[wanted[start : start + n]])
        _end(file, path)
    return np.concatenate(kept)
