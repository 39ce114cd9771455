"""NumPy files as tables: .npy in parts, .npz whole."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .columns import Columns, Matrix
from .table import ROWS, Arrays, Table, kind_of

#: Bytes of a part of a .npy file.
_PART_BYTES = 2 * 1024 * 1024


def map_of(path: str | os.PathLike[str]) -> Any:
    """The array of a .npy file as a memory map: nothing is read yet.

    Raises
    ------
    ValueError
        If it is not such a file.
    OSError
        If it cannot be opened.
    """
    with open(path, "rb") as file:  # a missing file is an OSError that names it
        packed = file.read(2) == b"PK"
    try:
        if packed:
            raise ValueError("it is an archive, as .npz")
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{os.fspath(path)} is not a readable .npy file: {error}") from None


class NumpyFile(Table):
    """A .npy file: a column for each number of a row, "x0", "x1", ...; fields by their names.

    It is read in pieces, without a memory map, whose pages would count as memory of the process.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.label = path.absolute(), str(path)  # the place of now, after ``chdir`` too
        mapped = map_of(path)
        if mapped.ndim == 0 or mapped.size == 0:
            raise ValueError(f"{path} has no rows: shape {mapped.shape}")
        if not mapped.flags.c_contiguous:
            raise ValueError(f"{path} is stored by columns (Fortran order): save "
                             "np.ascontiguousarray(X)")
        self.dtype, self.offset, self.n_rows = mapped.dtype, mapped.offset, len(mapped)
        self.width = mapped.size // len(mapped)
        if self.dtype.names and mapped.ndim == 1:
            self.kinds = {name: kind_of(np.empty(0, self.dtype[name]))
                          for name in self.dtype.names}
        else:
            kind = kind_of(np.empty(0, self.dtype))
            self.kinds = {f"x{i}": kind for i in range(self.width)}
        self.row_bytes = self.dtype.itemsize * self.width
        self.part_rows = max(1, _PART_BYTES // self.row_bytes)
        self.n_parts = -(-len(mapped) // self.part_rows)

    def part(self, index: int, columns: Sequence[str] | None = None,
             rows: int = ROWS) -> Iterator[Columns]:
        """A range of rows."""
        start = index * self.part_rows
        stop = min(start + self.part_rows, self.n_rows or 0)
        with open(self.path, "rb", buffering=0) as file:
            file.seek(self.offset + start * self.row_bytes)
            for i in range(start, stop, rows):
                count = min(rows, stop - i)
                data = np.fromfile(file, self.dtype, count * self.width)
                if data.size < count * self.width:
                    raise ValueError(f"{self.label} ends in row {i + data.size // self.width}, "
                                     f"it should have {self.n_rows}")
                if self.dtype.names:
                    yield {name: data[name] for name in columns or self.names}
                else:
                    yield Matrix(self.names, data.reshape(count, self.width))


def archive(path: Path) -> Arrays:
    """A .npz file: arrays X and y, or a 1-D array for each column."""
    with open(path, "rb") as raw:  # NumPy does not close a file that is no archive
        try:
            with np.load(raw, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except Exception as error:  # those of zipfile and zlib, and many others
            raise ValueError(f"{path} is not a readable .npz file: {error}") from None
    if set(arrays) <= {"X", "y"} and "X" in arrays and arrays["X"].ndim > 1:
        if not arrays["X"].size:
            raise ValueError(f"{path}: X has no values, its shape is {arrays['X'].shape}")
        X = arrays["X"].reshape(len(arrays["X"]), -1)
        others = {"y": arrays["y"].reshape(-1)} if "y" in arrays else {}
        if others and len(others["y"]) != len(X):
            y = arrays["y"]
            raise ValueError(f"{path}: X has {len(X)} rows, y has "
                             f"{len(y) if y.ndim == 1 else f'shape {y.shape}'}")
        names = [f"x{i}" for i in range(X.shape[1])]
        return Arrays(Matrix(names, X, others), str(path), "y" if others else None)
    if any(a.ndim != 1 for a in arrays.values()) or not arrays:
        shapes = {name: a.shape for name, a in arrays.items()}
        raise ValueError(f"{path} must hold arrays X (n, m) and y (n,), or a 1-D array for each "
                         f"column; it holds {shapes}")
    return Arrays(arrays, str(path), "y" if "y" in arrays else None)
