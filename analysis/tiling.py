"""Layers larger than an array, cut into pieces and placed: linear layers and transposed convolutions.

A layer is one or several *patches*: a dense matrix of weights that is applied at one or several positions. `linear` is
one patch at one position. A transposed convolution of stride 2 is either

* *reused*: for each of the four phases of the output grid the inputs that reach it, a small kernel matrix, applied at
  every position in turn: few cells, many passes; or
* *unrolled*: the whole sparse matrix from all inputs to all outputs; pieces without a weight are left out, and a zero
  inside a piece is a cell at g_fixed, because the shared negative weight takes g_fixed away for every driven line.

A patch larger than an array is cut evenly. Pieces beside each other (other inputs, same outputs) lie on different
arrays, whose currents meet at one amplifier. Pieces may share an array: cells that belong to neither have their lines
at 0 V. Rows of an array are outputs, columns inputs, the last column of a patch its bias, driven by the constant unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from analysis.mapping import ARRAY_SHAPE, MappingError, place

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

SCHEMES = ("reused", "unrolled")


@dataclass(frozen=True)
class Patch:
    """A matrix (r, c) at p positions.

    `source` (r, c) indexes the layer's flat weights, -1 for a structural zero. `inputs` (p, c) indexes the layer's flat
    inputs, where n_in means the constant unit and -1 a line at 0 V; `outputs` (p, r) its flat outputs.
    """

    layer: int
    source: Indices
    inputs: Indices
    outputs: Indices

    @property
    def positions(self) -> int:
        """How often the patch is used for one input of the layer."""
        return len(self.inputs)


@dataclass(frozen=True)
class Piece:
    """Rows and columns of a patch as cells of one array, from (row, column) on."""

    patch: int
    rows: slice
    columns: slice
    array: int
    row: int
    column: int

    @property
    def place(self) -> tuple[int, slice, slice]:
        """Index of the piece's cells in arrays (n, 32, 32)."""
        height, width = self.rows.stop - self.rows.start, self.columns.stop - self.columns.start
        return self.array, slice(self.row, self.row + height), slice(self.column, self.column + width)


@dataclass(frozen=True)
class Tiling:
    """Patches of all layers and their pieces' places; `outputs` is the flat size of each layer's output.

    `rows` and `columns` (arrays, 32) give the physical line of each line of the plan, None where they are the same.
    """

    scheme: str
    patches: tuple[Patch, ...]
    pieces: tuple[Piece, ...]
    arrays: int
    outputs: tuple[int, ...]
    shape: tuple[int, int] = ARRAY_SHAPE
    rows: Indices | None = None
    columns: Indices | None = None

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self.outputs)

    @property
    def cells(self) -> int:
        """Cells to be programmed, structural zeros included."""
        return sum(p.source.size for p in self._cut())

    @property
    def zeros(self) -> int:
        """Cells that are structural zeros, programmed to g_fixed."""
        return sum(int((p.source < 0).sum()) for p in self._cut())

    @property
    def utilisation(self) -> float:
        """Share of all cells of the arrays that is programmed."""
        return self.cells / (self.arrays * self.shape[0] * self.shape[1])

    def spread(self, weights: Sequence[Array], g_fixed: float) -> Array:
        """Return conductances (arrays, 32, 32) out of each layer's conductances, S; NaN where no cell is used."""
        full = np.full((self.arrays, *self.shape), np.nan)
        for piece in self.pieces:
            patch = self.patches[piece.patch]
            source = patch.source[piece.rows, piece.columns]
            full[piece.place] = np.where(source < 0, g_fixed, weights[patch.layer].ravel()[np.maximum(source, 0)])
        placed = np.empty_like(full)
        placed[self._lines()] = full
        return placed

    def patch_conductances(self, measured: Array) -> tuple[Array, ...]:
        """Return each patch's (r, c) conductances out of arrays (arrays, 32, 32), S; pieces left out are NaN.

        Raises:
            MappingError: the arrays have another shape, or a cell of a piece was not measured.
        """
        if measured.shape != (self.arrays, *self.shape):
            raise MappingError(f"measured conductances have shape {measured.shape}, the tiling needs "
                               f"{(self.arrays, *self.shape)}")  # fmt: skip
        planned = measured[self._lines()]
        parts = [np.full(p.source.shape, np.nan) for p in self.patches]
        for piece in self.pieces:
            cells = planned[piece.place]
            if not np.isfinite(cells).all():
                raise MappingError(
                    f"array {piece.array}: {int((~np.isfinite(cells)).sum())} of {cells.size} cells of a piece have no "
                    "measured conductance"
                )
            parts[piece.patch][piece.rows, piece.columns] = cells
        return tuple(parts)

    def passes(self, layer: int) -> int:
        """Passes that the layer takes, one after another, for one input; arrays that are free work side by side."""
        free = [0] * self.arrays
        for index, patch in enumerate(self.patches):
            if patch.layer != layer:
                continue
            for _ in range(patch.positions):
                for arrays in self._groups(index):
                    slot = max(free[a] for a in arrays)
                    for a in arrays:
                        free[a] = slot + 1
        return max(free)

    def driven_lines(self, layer: int) -> int:
        """Input lines driven, summed over the layer's passes: conversions where inputs come from converters."""
        return sum(
            patch.positions * (piece.columns.stop - piece.columns.start)
            for piece in self.pieces
            if (patch := self.patches[piece.patch]).layer == layer
        )

    def read_lines(self, layer: int) -> int:
        """Outputs read, summed over the layer's passes, each of all its pieces once."""
        return sum(patch.outputs.size for patch in self.patches if patch.layer == layer)

    def around(self, target: Array, stuck: Array) -> Tiling:
        """Return the tiling with lines of each array exchanged so that stuck cells do as little harm as possible.

        `target` (arrays, 32, 32), S, is what `spread` gives; `stuck` the conductance of each stuck cell, NaN elsewhere.
        """
        if target.shape != (self.arrays, *self.shape) or stuck.shape != target.shape:
            raise MappingError(f"targets {target.shape} and stuck cells {stuck.shape} must have the tiling's shape "
                               f"{(self.arrays, *self.shape)}")  # fmt: skip
        planned = target[self._lines()]
        rows = np.tile(np.arange(self.shape[0]), (self.arrays, 1))
        columns = np.tile(np.arange(self.shape[1]), (self.arrays, 1))
        for a in range(self.arrays):
            if (np.isfinite(stuck[a]) & np.isfinite(planned[a])).any():
                rows[a], columns[a] = place(planned[a], stuck[a])
        return replace(self, rows=rows, columns=columns)

    def _lines(self) -> tuple[Indices, Indices, Indices]:
        """Index that reads physical arrays in the plan's order."""
        rows = np.tile(np.arange(self.shape[0]), (self.arrays, 1)) if self.rows is None else self.rows
        columns = np.tile(np.arange(self.shape[1]), (self.arrays, 1)) if self.columns is None else self.columns
        return np.arange(self.arrays)[:, None, None], rows[:, :, None], columns[:, None, :]

    def _groups(self, patch: int) -> list[list[int]]:
        """Arrays that a row of pieces occupies at once, for each row of pieces of a patch."""
        groups: dict[int, list[int]] = {}
        for piece in self.pieces:
            if piece.patch == patch:
                groups.setdefault(piece.rows.start, []).append(piece.array)
        return list(groups.values())

    def _cut(self) -> list[Patch]:
        cut = []
        for piece in self.pieces:
            p = self.patches[piece.patch]
            cut.append(
                Patch(
                    p.layer, p.source[piece.rows, piece.columns], p.inputs[:, piece.columns], p.outputs[:, piece.rows]
                )
            )
        return cut


def linear(layer: int, n_out: int, n_in: int) -> list[Patch]:
    """Return a linear layer with bias, weights (n_out, n_in + 1), as one patch at one position."""
    source = np.arange(n_out * (n_in + 1)).reshape(n_out, n_in + 1)
    return [Patch(layer, source, np.arange(n_in + 1)[None], np.arange(n_out)[None])]


def transposed_convolution(layer: int, c_out: int, c_in: int, side: int, scheme: str) -> list[Patch]:
    """Return a transposed convolution as patches.

    Kernel 3x3, stride 2, padding 1, output padding 1: side -> 2 side. Weights (c_out, 9 c_in + 1), columns ordered
    channel, kernel row, kernel column, then bias. Inputs are ordered channel, row, column, and outputs likewise.
    """
    n_in, wide = c_in * side * side, 2 * side
    # Along one axis: which (kernel index, step of the input) reach an output of each parity.
    taps = {0: ((1, 0),), 1: ((2, 0), (0, 1))}
    i, j = (part.ravel() for part in np.mgrid[:side, :side])
    channel = np.arange(c_in)
    patches = []
    for py, px in ((0, 0), (0, 1), (1, 0), (1, 1)):
        columns, inputs = [], []
        for ky, dy in taps[py]:
            for kx, dx in taps[px]:
                columns.append(channel * 9 + ky * 3 + kx)
                y, x = i + dy, j + dx
                inside = (y < side) & (x < side)
                at = channel[None] * side * side + (y * side + x)[:, None]
                inputs.append(np.where(inside[:, None], at, -1))
        row = np.append(np.concatenate(columns), 9 * c_in)
        source = np.arange(c_out)[:, None] * (9 * c_in + 1) + row[None]
        lines = np.hstack([*inputs, np.full((side * side, 1), n_in)])
        pixel = (2 * i + py) * wide + 2 * j + px
        outputs = np.arange(c_out)[None] * wide * wide + pixel[:, None]
        patches.append(Patch(layer, source, lines, outputs))
    return patches if scheme == "reused" else [_unrolled(patches, n_in, c_in, side, wide)]


def _unrolled(patches: Sequence[Patch], n_in: int, c_in: int, side: int, wide: int) -> Patch:
    """All positions as one sparse matrix; lines of neighbours lie together, so that many pieces are empty."""
    n_out = sum(p.outputs.size for p in patches)
    source = np.full((n_out, n_in + 1), -1, dtype=np.int64)
    for p in patches:
        for lines, outputs in zip(p.inputs, p.outputs, strict=True):
            here = lines >= 0
            source[np.ix_(outputs, lines[here])] = p.source[:, here]
    out = np.arange(n_out)
    pixel = out % (wide * wide)
    block = pixel // wide // 2 * side + pixel % wide // 2
    rows = np.lexsort((out, block))
    lines = np.arange(n_in)
    columns = np.append(np.lexsort((lines // (side * side), lines % (side * side))), n_in)
    return Patch(patches[0].layer, source[np.ix_(rows, columns)], columns[None], rows[None])


def tile(patches: Sequence[Patch], outputs: Sequence[int], scheme: str, shape: tuple[int, int] = ARRAY_SHAPE) -> Tiling:
    """Cut patches and place their pieces on as few arrays as first-fit finds.

    With `unrolled`, pieces of one layer have an array each, so that a layer takes one pass; layers may share arrays.
    """
    if scheme not in SCHEMES:
        raise MappingError(f"no scheme {scheme!r}; choose from {', '.join(SCHEMES)}")
    cuts: list[tuple[int, slice, slice]] = []
    for index, patch in enumerate(patches):
        for rows in _even(patch.source.shape[0], shape[0]):
            for columns in _even(patch.source.shape[1], shape[1]):
                if (patch.source[rows, columns] >= 0).any():
                    cuts.append((index, rows, columns))
    cuts.sort(key=lambda c: (c[1].start - c[1].stop, c[2].start - c[2].stop, c[0], c[1].start, c[2].start))
    sheets: list[_Sheet] = []
    pieces = []
    for index, rows, columns in cuts:
        key = {(index, rows.start)} if scheme == "reused" else {patches[index].layer}
        for number, sheet in enumerate([*sheets, _Sheet(shape)]):
            if number == len(sheets):
                sheets.append(sheet)
            spot = None if sheet.taken & key else sheet.fit(rows.stop - rows.start, columns.stop - columns.start)
            if spot is not None:
                sheet.taken |= key
                pieces.append(Piece(index, rows, columns, number, *spot))
                break
    pieces.sort(key=lambda p: (p.patch, p.rows.start, p.columns.start))
    return Tiling(scheme, tuple(patches), tuple(pieces), len(sheets), tuple(outputs), shape)


class _Sheet:
    """One array being filled, in shelves from the top."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        self._shelves: list[list[int]] = []
        self.taken: set[object] = set()

    def fit(self, height: int, width: int) -> tuple[int, int] | None:
        """Return row and column of a free place, and take it; None if there is none."""
        for shelf in self._shelves:
            top, tall, used = shelf
            if height <= tall and used + width <= self._shape[1]:
                shelf[2] += width
                return top, used
        top = sum(shelf[1] for shelf in self._shelves)
        if top + height > self._shape[0]:
            return None
        self._shelves.append([top, height, width])
        return top, 0


def _even(n: int, most: int) -> list[slice]:
    """Cut n lines into as few nearly equal parts as are no longer than `most`."""
    parts = -(-n // most)
    edges = [round(k * n / parts) for k in range(parts + 1)]
    return [slice(a, b) for a, b in pairwise(edges)]
