"""Files as sources of ``fit_stream``: parts in random order, several mixed in each block."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .._validation import Array, as_array, check_dtype, check_size
from ..kernels.random import shuffle as shuffle_rows
from .columns import Columns, rows_of
from .npy import map_of
from .preprocess import Preprocessor
from .table import open_table
from .target import Target
from .truth import truth, truth_names

#: Bytes of features in a block; of the parts that are open at a time; of a part of an array.
BLOCK_BYTES, OPEN_BYTES, PART_BYTES = 8 * 1024 * 1024, 72 * 1024 * 1024, 1024 * 1024
#: Most parts that are mixed at a time.
MIXED = 8


def _order(n: int, epoch: int, seed: int, shuffle: bool) -> Array:
    order = np.arange(n)
    if shuffle:
        shuffle_rows(order, seed, epoch)
    return order


class TableStream:
    """A table as blocks of features and targets.

    Each block takes rows in turn from several parts (row groups, record batches, ranges of
    rows), whose order is drawn from the seed. Text files have one part: they are read in
    order, and rows are shuffled within blocks only.

    Parameters
    ----------
    source : Table, or what ``open_table`` takes
    preprocessor : Preprocessor
    target : Target
    weight : str, optional
        Column with the weights of the rows.
    n_rows : int, optional
        Total number of rows, as ``learn`` counts them; without it text files are read once to
        count.
    block_rows : int, optional
        Rows of a block; by default as many as have 8 MiB of features.
    dtype : {"float32", "float64"}
        That of the features, and of the network which takes them.

    Raises
    ------
    ValueError, TypeError
        For a missing column, ``n_rows`` that is not the table's, or other invalid arguments.
    OSError, ImportError
        As ``open_table``.
    """

    fresh = True

    def __init__(self, source: Any, preprocessor: Preprocessor, target: Target, *,
                 weight: str | None = None, n_rows: int | None = None,
                 block_rows: int | None = None, dtype: Any = "float32") -> None:
        for name, part, kind in (("preprocessor", preprocessor, Preprocessor),
                                 ("target", target, Target)):
            if not isinstance(part, kind):
                raise TypeError(f"{name} must be a {kind.__name__}, as learn gives, got {part!r}")
        self.preprocessor, self.target, self.weight = preprocessor, target, weight
        table = open_table(source)
        self.table = table = target.typed(preprocessor.typed(table))
        self.columns = list(dict.fromkeys([*preprocessor.names, *truth_names(target, weight)]))
        table.check(self.columns)
        known = table.n_rows
        if known is None and n_rows is None:
            known = sum(rows_of(piece) for piece in table.batches([target.name]))
        self.n_rows = check_size(known if n_rows is None else n_rows, "n_rows")
        if known not in (None, self.n_rows):
            raise ValueError(f"n_rows is {n_rows}, {table.label} has {known} rows")
        self.dtype = check_dtype(dtype)
        most = max(1024, BLOCK_BYTES // (self.dtype.itemsize * preprocessor.n_features))
        self.block_rows = min(check_size(most if block_rows is None else block_rows,
                                         "block_rows"), self.n_rows)
        fitting = OPEN_BYTES // max(1, table.part_bytes)
        self.mixed = max(1, min(MIXED, fitting, table.n_parts))

    def _pieces(self, order: Array, mixed: int, rows: int) -> Iterator[tuple[int, int, Columns]]:
        """(part, place in it, piece of at most ``rows`` rows), from ``mixed`` parts in turn."""
        waiting = iter(order.tolist())
        opened = list[tuple[int, list[int], Iterator[Columns]]]()
        while True:
            while len(opened) < mixed and (index := next(waiting, None)) is not None:
                opened.append((index, [0], self.table.part(index, self.columns, rows)))
            if not opened:
                return
            for one in list(opened):
                index, done, part = one
                piece = next(part, None)
                if piece is None:
                    opened.remove(one)
                else:
                    yield index, done[0], piece
                    done[0] += rows_of(piece)

    def blocks(self, epoch: int, seed: int, shuffle: bool) -> Iterator[tuple[Any, ...]]:
        """(X, T) or (X, T, weights) of each block.

        Raises
        ------
        ValueError
            If the table cannot be read, or holds values unfit for training: names the column.
        """
        mixed = self.mixed if shuffle else 1
        rows, shape = max(1, self.block_rows // mixed), (self.block_rows,
                                                         self.preprocessor.n_features)
        X, T, weights, at = np.empty(shape, self.dtype), list[Array](), list[Array](), 0
        for index, row, piece in self._pieces(_order(self.table.n_parts, epoch, seed, shuffle),
                                              mixed, rows):
            n = rows_of(piece)
            if at + n > self.block_rows:
                yield self._block(X[:at], T, weights)
                X, T, weights, at = np.empty(shape, self.dtype), [], [], 0
            try:
                with self.table.counted(index):
                    self.preprocessor.transform(piece, first_row=row, out=X[at:at + n],
                                                dtype=self.dtype)
                    own = truth(piece, self.target, self.weight, row)
            except ValueError as error:
                part = f", part {index}" if self.table.n_parts > 1 else ""
                raise ValueError(f"{self.table.label}{part}: {error}") from error
            T.append(own[0])
            weights.extend(own[1:])
            at += n
        if at:
            yield self._block(X[:at], T, weights)

    def _block(self, X: Array, T: Sequence[Array], weights: Sequence[Array]) -> tuple[Any, ...]:
        joined = X, np.concatenate(T)
        return joined if self.weight is None else (*joined, np.concatenate(weights))

    def targets(self) -> Iterator[tuple[Any, ...]]:
        """(T,) or (T, weights) of all rows, in order, without the features.

        Raises
        ------
        ValueError
            As ``blocks``.
        """
        row = 0
        for piece in self.table.batches(truth_names(self.target, self.weight)):
            try:
                with self.table.counted():
                    own = truth(piece, self.target, self.weight, row)
            except ValueError as error:
                raise ValueError(f"{self.table.label}: {error}") from error
            yield own
            row += rows_of(piece)


class _Rows:
    """Ranges of rows: of a .npy file, by plain reads, or of an array in memory."""

    def __init__(self, given: Any, name: str) -> None:
        self.path: str | None = None
        if isinstance(given, (str, os.PathLike)):
            try:
                given = map_of(given)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        if isinstance(given, np.memmap) and given.flags.c_contiguous and given.filename and (
                given.mode != "c"):  # a copy-on-write map may differ from its file
            # Pages of a map count as memory of the process; what is read into a block does not.
            base: Any = given
            while isinstance(base.base, np.memmap):
                base = base.base
            skip = given.ctypes.data - base.ctypes.data
            self.path, self.offset = os.fspath(given.filename), base.offset + skip
            self.array: Any = None
        else:
            self.array = given = as_array(given, name)  # lists and DataFrames are taken, too
        if given.ndim == 0 or given.size == 0:
            raise ValueError(f"{name} has no rows: shape {given.shape}")
        self.name, self.shape, self.dtype = name, given.shape, given.dtype
        self.row_bytes = given.nbytes // len(given)

    def read(self, start: int, out: Array) -> None:
        """Rows from ``start`` on, as many as ``out`` has."""
        if self.path is None:
            out[...] = self.array[start:start + len(out)]
            return
        with open(self.path, "rb", buffering=0) as file:
            file.seek(self.offset + start * self.row_bytes)
            left = out.data.cast("B")
            while left:
                got = file.readinto(left)
                if not got:
                    raise ValueError(f"{self.path} ends before row {start + len(out)}, it should "
                                     f"have {self.shape[0]}")
                left = left[got:]


class ArrayStream:
    """Arrays, in .npy files or in memory, as blocks of rows.

    A block consists of ranges of rows, up to 1 MiB each, in an order drawn from the seed.

    Parameters
    ----------
    X : path, np.memmap or array_like, shape (n, n_in)
        Files and maps are read piece by piece, never mapped whole.
    T : path, np.memmap or array_like, shape (n,) or (n, n_out)
    weights : path, np.memmap or array_like, shape (n,), optional
    block_rows : int, optional
        Rows of a block; by default as many as have 8 MiB in X.

    Raises
    ------
    ValueError, TypeError
        For empty arrays, input that is not an array of numbers or has masked elements, arrays of
        different lengths, invalid ``block_rows``.
    OSError
        If a file cannot be read.
    """

    fresh = True

    def __init__(self, X: Any, T: Any, weights: Any = None, *,
                 block_rows: int | None = None) -> None:
        named = {"X": X, "T": T} | ({} if weights is None else {"weights": weights})
        self.arrays = [_Rows(given, name) for name, given in named.items()]
        lengths = {rows.name: rows.shape[0] for rows in self.arrays}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"X, T and weights must have as many rows, got {lengths}")
        self.n_rows = self.arrays[0].shape[0]
        most = max(1, BLOCK_BYTES // self.arrays[0].row_bytes)
        self.block_rows = min(check_size(most if block_rows is None else block_rows,
                                         "block_rows"), self.n_rows)
        self.part_rows = max(1, min(PART_BYTES // self.arrays[0].row_bytes,
                                    -(-self.block_rows // MIXED)))

    def blocks(self, epoch: int, seed: int, shuffle: bool) -> Iterator[tuple[Any, ...]]:
        """(X, T) or (X, T, weights) of each block.

        Raises
        ------
        ValueError, OSError
            If a file is cut short or cannot be read.
        """
        n, step = self.n_rows, self.part_rows
        order = _order(-(-n // step), epoch, seed, shuffle)
        many = self.block_rows // step
        for i in range(0, len(order), many):
            starts = order[i:i + many] * step
            sizes = np.minimum(step, n - starts)
            block = tuple(np.empty((int(sizes.sum()), *rows.shape[1:]), rows.dtype)
                          for rows in self.arrays)
            at = 0
            for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
                for rows, out in zip(self.arrays, block, strict=True):
                    rows.read(start, out[at:at + size])
                at += size
            yield block

    def targets(self) -> Iterator[tuple[Any, ...]]:
        """(T,) or (T, weights) of all rows, in order."""
        for start in range(0, self.n_rows, self.block_rows):
            size = min(self.block_rows, self.n_rows - start)
            parts = tuple(np.empty((size, *rows.shape[1:]), rows.dtype)
                          for rows in self.arrays[1:])
            for rows, out in zip(self.arrays[1:], parts, strict=True):
                rows.read(start, out)
            yield parts
