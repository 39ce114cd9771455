"""From the columns of a table to the features of a network, as learnt from training data.

What was learnt is a tuple of column descriptions, plain numbers and words. It is saved in
the model file as JSON, so that prediction starts from the raw table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .._jit import DISABLED
from .._validation import Array, all_finite, check_dtype
from ..kernels.standardize import standardize_columns
from ..kernels.transpose import transpose
from ..kernels.vectors import pad, row_length
from .columns import Matrix, column, rows_of
from .features import KINDS, PLAIN, Boolean, Categorical, Column, Numeric

if TYPE_CHECKING:
    from .table import Table

FORMAT = "fastbp-preprocessing-1"
#: Rows that are converted at a time; and on the fast paths, where they stay in the cache.
_ROWS, _FEW_ROWS = 8192, 1024


class Preprocessor:
    """Makes features of the columns of a table.

    Parameters
    ----------
    columns : sequence of Numeric, Boolean, Categorical
        In the order of the features; one-hot columns are expanded in place.
    na_values : sequence of str
        Words that stand for missing values in text files, in addition to the usual ones.

    Attributes
    ----------
    names : list of str
        Columns that are read.
    n_features : int
    feature_names : list of str
        "age", "colour=red", ...

    Raises
    ------
    ValueError, TypeError
        For no columns, one described twice, or an entry of another type.
    """

    def __init__(self, columns: Sequence[Column], na_values: Sequence[str] = ()) -> None:
        self.columns, self.na_values = tuple(columns), tuple(na_values)
        for entry in self.columns:
            if not isinstance(entry, (Numeric, Boolean, Categorical)):
                raise TypeError("columns must hold Numeric, Boolean or Categorical, got "
                                f"{entry!r}")
        if not all(isinstance(word, str) for word in self.na_values):
            raise TypeError(f"na_values must be words, got {na_values!r}")
        self.names = names = [entry.name for entry in self.columns]
        if not names:
            raise ValueError("no columns are left to learn from")
        twice = [name for name in names if names.count(name) > 1] if (
            len(set(names)) < len(names)) else []
        if twice:
            raise ValueError(f"column {twice[0]!r} is described twice")
        self.feature_names = [f for entry in self.columns for f in entry.feature_names]
        self.n_features = len(self.feature_names)

    def transform(self, table: Mapping[str, Any], *, first_row: int = 0,
                  out: Array | None = None, dtype: Any = "float32") -> Array:
        """Features of each row, computed in float64 and rounded once.

        Parameters
        ----------
        table : mapping from str to array_like, shape (n,)
            Columns by name; those that are not needed are ignored. None and NaN are missing
            values.
        first_row : int
            Number of the first row, for messages.
        out : ndarray, shape (n, n_features), of ``dtype``, optional
            Where to put them.
        dtype : {"float32", "float64"}
            That of the network which takes them.

        Returns
        -------
        ndarray, shape (n, n_features), of ``dtype``

        Raises
        ------
        ValueError, TypeError
            For a missing column, a missing value, an unknown category, or a value that is not
            a number: names the column and the row; or for an ``out`` that does not fit.
        """
        kind = check_dtype(dtype)
        if isinstance(table, Matrix) and table.of_numbers and self._moments is not None and all(
                name in table.places for name in self.names):
            return self._matrix(table, first_row, out, kind)
        values = {entry.name: column(table, entry.name) for entry in self.columns}
        X = self._place(rows_of(values), out, kind)
        if self._moments is not None and self._plain(list(values.values()), X):
            return X
        # Features are contiguous first, then transposed: writing each straight into the rows
        # would touch all of their cache lines again and again.
        turned = np.empty((self.n_features, row_length(min(len(X), _ROWS), kind)), kind)
        whole = pad(self.n_features + 1, kind) - pad(1, kind) if X.flags.c_contiguous else 0
        with np.errstate(over="ignore", invalid="ignore"):
            for i in range(0, len(X), _ROWS):
                at, n = 0, min(_ROWS, len(X) - i)
                for entry in self.columns:
                    width = len(entry.feature_names)
                    entry.write(values[entry.name][i:i + n], turned[at:at + width, :n].T,
                                first_row + i)
                    at += width
                if whole:
                    transpose(whole, n, turned.reshape(-1), turned.shape[1],
                              X[i:i + n].reshape(-1), self.n_features)
                X[i:i + n, whole:] = turned[whole:, :n].T
        return self._within(X, first_row)

    def _place(self, rows: int, out: Array | None, dtype: np.dtype[Any]) -> Array:
        if out is None:
            return np.empty((rows, self.n_features), dtype)
        if not isinstance(out, np.ndarray):
            raise TypeError(f"out must be a NumPy array, got {type(out).__name__}")
        if not out.flags.writeable:
            raise ValueError("out must be an array that can be written to, got a read-only one")
        if out.shape != (rows, self.n_features) or out.dtype != dtype:
            raise ValueError(f"out must be {dtype} of shape {(rows, self.n_features)}, got "
                             f"{out.dtype} of shape {out.shape}")
        return out

    def _within(self, X: Array, first_row: int) -> Array:
        if not all_finite(X):
            i, j = np.argwhere(~np.isfinite(X))[0]
            raise ValueError(f"feature {self.feature_names[j]!r} is too large for {X.dtype} in "
                             f"row {first_row + int(i)} (counted from 0)")
        return X

    @cached_property
    def _moments(self) -> tuple[Array, Array] | None:
        """(means, scales) if all columns are numbers, else None."""
        own = [entry for entry in self.columns if isinstance(entry, Numeric)]
        if len(own) < len(self.columns):
            return None
        return np.array([e.mean for e in own]), np.array([e.scale for e in own])

    def _plain(self, given: Sequence[Array], X: Array) -> bool:
        """Fast path for columns of floats without missing values; False if it does not apply."""
        kind, ld = given[0].dtype, row_length(_FEW_ROWS, X.dtype)
        if DISABLED or kind not in PLAIN or not X.flags.c_contiguous or any(
                values.dtype != kind or not values.flags.c_contiguous for values in given):
            return False
        assert self._moments is not None
        places = np.array([values.ctypes.data for values in given])
        return bool(standardize_columns(kind.type(0), places, *self._moments, np.empty(
            ld * len(given), X.dtype), ld, X.reshape(-1), len(given)))

    def _matrix(self, table: Matrix, first_row: int, out: Array | None,
                dtype: np.dtype[Any]) -> Array:
        """Fast path for matrices of numbers, in float64 as the general one."""
        assert self._moments is not None
        mean, scale = self._moments
        names, whole = self.names, False
        places: Any = [table.places[name] for name in names]
        if places == list(range(places[0], places[0] + len(names))):
            whole, table = True, Matrix(names, table.X[:, places[0]:places[0] + len(names)])
        X = self._place(len(table.X), out, dtype)
        plain = table.X.dtype in (np.float32, dtype) and not mean.any() and (scale == 1).all()
        for i in range(0, len(X), _FEW_ROWS):
            part = table.X[i:i + _FEW_ROWS]
            if not whole:
                part = part[:, places]
            if plain:
                X[i:i + _FEW_ROWS] = part
                continue
            with np.errstate(over="ignore", invalid="ignore"):
                X[i:i + _FEW_ROWS] = (part - mean) / scale
        if not np.isfinite(X).all():  # missing values, infinity: the general path fills or names
            values = {name: table[name] for name in names}
            return self.transform(values, first_row=first_row, out=X, dtype=dtype)
        return X

    def typed(self, table: Table) -> Table:
        """``table`` with its columns and missing values read as in training."""
        kinds = {entry.name: type(entry) for entry in self.columns}
        return table.typed([name for name, kind in kinds.items() if kind is Categorical],
                           [name for name, kind in kinds.items() if kind is Numeric],
                           self.na_values)

    def to_dict(self) -> dict[str, Any]:
        """Description in types of JSON."""
        kinds = {kind: name for name, kind in KINDS.items()}
        words = {"na_values": list(self.na_values)} if self.na_values else {}
        return {"format": FORMAT, **words,
                "columns": [{"kind": kinds[type(c)], **asdict(c)} for c in self.columns]}

    @classmethod
    def from_dict(cls, described: dict[str, Any]) -> Preprocessor:
        """The preprocessor described by ``to_dict``.

        Raises
        ------
        ValueError
            If it is of another format, or damaged.
        """
        if described.get("format") != FORMAT:
            raise ValueError(f"preprocessing of format {described.get('format')!r}, "
                             f"expected {FORMAT!r}")
        try:
            entries = [dict(entry) for entry in described["columns"]]
            return cls([KINDS[entry.pop("kind")](**entry) for entry in entries],
                       described.get("na_values", ()))
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"preprocessing is damaged: {error!r}") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Preprocessor) and (
            self.columns, self.na_values) == (other.columns, other.na_values)

    def __hash__(self) -> int:
        return hash(self.columns)

    def __repr__(self) -> str:
        return f"Preprocessor({len(self.columns)} columns -> {self.n_features} features)"
