"""A folder that keeps what was trained: files appear whole or not at all, and damaged ones are made again."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from analysis.errors import AnalysisError


class Stored(Protocol):
    """What can be written to a file."""

    def save(self, path: Path) -> None:
        """Write to `path`."""


T = TypeVar("T", bound=Stored)


def save_arrays(path: Path, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
    """Write arrays to `path` as npz without pickle, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    partial.replace(path)


def load_arrays(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    """Read what `save_arrays` wrote; raise AnalysisError if the file is anything else."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise AnalysisError(f"{path} holds nothing trained: {error}; delete it, it will be made again") from error


def cached(
    folder: Path | None, name: str, key: object, load: Callable[[Path], T], make: Callable[[], T]
) -> tuple[T, bool]:
    """Return what `make` makes and whether it came out of `folder`; `key` is all that decides the result.

    A file that can't be read is made again and replaced. Without a folder nothing is kept.
    """
    if folder is None:
        return make(), False
    path = folder / f"{name}-{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.npz"
    if path.exists():
        try:
            return load(path), True
        except (AnalysisError, KeyError, ValueError, TypeError):
            path.unlink()
    made = make()
    made.save(path)
    return made, False
