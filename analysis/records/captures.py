"""Parts of a run's file that are read only when asked for: columns of a table, captures of an oscilloscope."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import h5py
import numpy as np
import numpy.typing as npt

from analysis.errors import AnalysisError
from analysis.records.guard import UNREADABLE
from analysis.records.header import WaveformSpec
from analysis.records.layout import PARTIAL, Column
from analysis.records.waveforms import PER_CAPTURE, PER_CHANNEL, spec_of


class _OfFile(Protocol):
    path: Path


_P = ParamSpec("_P")
_R = TypeVar("_R")
_S = TypeVar("_S", bound=_OfFile)


def told(read: Callable[Concatenate[_S, _P], _R]) -> Callable[Concatenate[_S, _P], _R]:
    """Let a damaged file be told in a sentence, whatever HDF5 or h5py stumble over."""

    @wraps(read)
    def reading(self: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return read(self, *args, **kwargs)
        except UNREADABLE as error:
            raise AnalysisError(f"can't read {read.__name__} of {self.path}: {error}") from error

    return reading


class Columns(Mapping[str, npt.NDArray[Any]]):
    """Columns of a table by name, each read when it is first asked for, and kept; from the file anew once it is closed.

    Args:
        path: the file.
        datasets: of the table, checked.
        columns: their names and types.
        stop: rows up to here.
        start: rows from here.
    """

    def __init__(
        self, path: Path, datasets: Mapping[str, h5py.Dataset], columns: tuple[Column, ...], stop: int, start: int = 0
    ) -> None:
        self.path = path
        self._datasets = datasets
        self._places = {name: str(dataset.name) for name, dataset in datasets.items()}
        self._types = {column.name: column.typecode for column in columns}
        self._rows = slice(start, stop)
        self._read: dict[str, npt.NDArray[Any]] = {}

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        if name not in self._types:
            raise KeyError(name)
        if name not in self._read:
            self._read[name] = self.column(name)
        return self._read[name]

    @told
    def column(self, name: str) -> npt.NDArray[Any]:
        """Read a column."""
        dataset = self._datasets[name]
        if dataset.id.valid:
            return self._values(name, dataset)
        swmr = self.path.name.startswith(PARTIAL)
        with h5py.File(self.path, "r", libver="latest" if swmr else None, swmr=swmr) as file:
            return self._values(name, file[self._places[name]])

    def _values(self, name: str, dataset: h5py.Dataset) -> npt.NDArray[Any]:
        return np.asarray(dataset[self._rows].astype(self._types[name], copy=False))

    def __iter__(self) -> Iterator[str]:
        return iter(self._types)

    def __len__(self) -> int:
        return len(self._types)


class Waveforms:
    """The captures of one oscilloscope, read when asked for.

    Attributes:
        path: the file.
        spec: what was declared.
    """

    def __init__(self, path: Path, group: h5py.Group) -> None:
        self.path = path
        self.spec: WaveformSpec = spec_of(group)
        self._group = group

    def __len__(self) -> int:
        return len(self._seq)

    @cached_property
    def _seq(self) -> h5py.Dataset:
        return self._group["seq"]

    @cached_property
    def _raw(self) -> h5py.Dataset:
        # Looked up once: thousands of captures are read one by one.
        return self._group["raw"]

    @cached_property
    @told
    def index(self) -> dict[str, npt.NDArray[Any]]:
        """Scale factors and index: columns [capture] and, for the `y_` ones, [capture, channel]."""
        names = [name for name, _, _ in PER_CAPTURE] + [name for name, _ in PER_CHANNEL]
        return {name: self._group[name][()] for name in (*names, "intact") if name in self._group}

    @told
    def codes(self, number: int) -> npt.NDArray[Any]:
        """Raw codes of a capture, [channel, sample].

        Raises:
            AnalysisError: there is no such capture, or its codes were lost.
        """
        if not 0 <= number < len(self):
            raise AnalysisError(f"there is no capture {number} of {self.spec.scope}: it has {len(self)}")
        if "intact" in self.index and not self.index["intact"][number]:
            raise AnalysisError(f"the codes of capture {number} of {self.spec.scope} were lost")
        return np.asarray(self._raw[number, :, : self.index["length"][number]])

    def volts(self, number: int) -> npt.NDArray[np.float64]:
        """A capture in volts, [channel, sample]; errors as in `codes`."""
        codes, factors = self.codes(number).astype(np.float64), self.index
        increment, origin, reference = (factors[name][number][:, None] for name, _ in PER_CHANNEL)
        return np.asarray((codes - reference) * increment + origin)

    def times(self, number: int) -> npt.NDArray[np.float64]:
        """Instants of a capture's samples, s from its trigger."""
        factors = self.index
        samples = np.arange(factors["length"][number])
        return np.asarray(factors["x_origin"][number] + samples * factors["x_increment"][number])
