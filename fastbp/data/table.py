"""Tables by path or name: kinds of their columns, and their rows, whole or in pieces.

pyarrow reads CSV, TSV, Parquet and Arrow (extra ``data``; see ``arrow``), NumPy .npy and .npz
(see ``npy``). A table is made of parts that can be read in any order: row groups, record
batches, ranges of rows. A part comes in pieces, so that no more than a piece is in memory.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from .. import datasets
from .._validation import Array, check_charset, check_choice, check_size
from ..io.files import is_special
from .columns import Columns, Matrix, join, missing, one, order_of, rows_of, some, ways_of

#: Most rows, and most numbers, of a piece by default.
ROWS, NUMBERS = 65_536, 1024 * 1024
#: What can be done with text that is not UTF-8, other than to save it as such.
OTHER = ", or name its encoding (charset='cp1252')"
#: Kinds of values that pandas and pyarrow may hold as categories, which makes them categorical.
WORDS = ("categorical", "numeric", "boolean")


class Table:
    """Base of tables.

    Attributes
    ----------
    label : str
        Path or name, for messages.
    kinds : dict from str to str
        Columns in order: "numeric", "boolean", "categorical", "datetime", "empty" (no value
        at all), "undecoded" (text that is not UTF-8) or "other".
    n_rows : int or None
        None if only reading tells.
    n_parts : int
        Parts that can be read in any order.
    part_bytes : int
        Memory that reading a part takes, about.
    target : str or None
        The column to predict, if the source tells.
    looked_at : str
        Rows from which the kinds were inferred, if not from all, for messages.
    any_row : str
        Which rows the table has, for messages.
    na_values : tuple of str
        Words that stand for missing values in text, in addition to the usual ones.
    orders : mapping from str to tuple of str
        Categories in their order, of the columns whose dtype is ordered.
    dropped : int
        Rows left out, of the parts that have been read so far.
    """

    label: str = "table"
    kinds: dict[str, str]
    n_rows: int | None = None
    n_parts: int = 1
    part_bytes: int = 0
    target: str | None = None
    looked_at: str = ""
    any_row: str = "any row"
    na_values: tuple[str, ...] = ()
    orders: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    dropped: int = 0

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return list(self.kinds)

    def typed(self, text: Sequence[str] = (), numbers: Sequence[str] = (),
              na_values: Sequence[str] = ()) -> Table:
        """The same table with these columns read as text or as numbers, and these further words
        as missing values, if the format leaves that open."""
        return self

    def part(self, index: int, columns: Sequence[str] | None = None,
             rows: int = ROWS) -> Iterator[Columns]:
        """One part in pieces of at most ``rows`` rows."""
        raise NotImplementedError

    def batches(self, columns: Sequence[str] | None = None,
                rows: int | None = None) -> Iterator[Columns]:
        """All rows in order, in pieces of at most ``rows``, in bounded memory.

        Parameters
        ----------
        columns : sequence of str, optional
            Columns to read; all by default.
        rows : int, optional
            By default 65,536, or less where there are many columns.

        Raises
        ------
        ValueError
            For a column that is missing, or a damaged file.
        OSError
            If it cannot be read.
        """
        columns = None if columns is None else list(columns)  # from an Index, say
        if rows is None:
            rows = max(1, min(ROWS, NUMBERS // max(1, len(columns or self.kinds))))
        rows = check_size(rows, "rows")
        self.check(columns)
        for index in range(self.n_parts):
            yield from self.part(index, columns, rows)

    def read(self, columns: Sequence[str] | None = None) -> Columns:
        """All rows at once.

        Raises
        ------
        ValueError, OSError
            As ``batches``.
        """
        return join(list(self.batches(columns)), self.names if columns is None else list(columns))

    def check(self, columns: Sequence[str] | None) -> None:
        """Refuse columns that the table does not have, naming the first."""
        for name in columns or ():
            if name not in self.kinds:
                raise ValueError(f"column {name!r} is missing: {self.label} has "
                                 f"{some(self.kinds)}")

    def told(self, message: str, part: int | None = None) -> str:
        """A message about a row, of a part or of all, with its number in the source."""
        return message

    @contextmanager
    def counted(self, part: int | None = None) -> Iterator[None]:
        """Let errors name rows, of a part or of all, by their numbers in the source."""
        try:
            yield
        except ValueError as error:
            if (message := self.told(str(error), part)) == str(error):
                raise
            raise ValueError(message) from None

    def __repr__(self) -> str:
        rows = "" if self.n_rows is None else f"{self.n_rows:,} rows, "
        return f"Table({self.label!r}, {rows}{len(self.kinds)} columns)"


def kind_of(values: Array) -> str:
    """Kind of a column by its array."""
    if values.dtype.kind in "uif":
        return "numeric"
    if values.dtype.kind == "b":
        return "boolean"
    if values.dtype.kind in "mM":
        return "datetime"
    if values.dtype.kind == "U":
        return "categorical"
    if values.dtype != object:
        return "other"
    present = values[~missing(values)]
    kinds = {type(v) for v in present.tolist()}
    if not kinds:
        return "empty"
    if kinds <= {bool, np.bool_}:
        return "boolean"
    if all(issubclass(kind, (int, float, np.number, Decimal)) for kind in kinds):
        return "numeric"
    if all(issubclass(kind, (date, time, timedelta)) for kind in kinds):
        return "datetime"  # pandas holds dates without time, and times with a zone, as objects
    return "categorical" if kinds <= {str, np.str_} else "other"


class Arrays(Table):
    """A table in memory.

    Parameters
    ----------
    columns : mapping from str to array_like, shape (n,)
        A dict, a ``Matrix``, a pandas DataFrame.
    label : str
    target : str, optional
    """

    def __init__(self, columns: Mapping[str, Any], label: str = "the table",
                 target: str | None = None) -> None:
        self.label, self.target = label, target
        if isinstance(columns, Matrix):
            self.columns: Any = columns
        else:
            self.columns = {name: one(name, columns[name]) for name in columns}
            self.orders = {name: order_of(columns[name]) for name in columns}
        self.n_rows = rows_of(self.columns)
        if self.n_rows == 0:
            raise ValueError(f"{label} has no rows")
        self.kinds = {name: kind_of(self.columns[name]) for name in self.columns}
        self.kinds |= {name: "categorical" for name, kind in self.kinds.items() if kind in WORDS
                       and str(getattr(columns[name], "dtype", "")) == "category"}

    def part(self, index: int, columns: Sequence[str] | None = None,
             rows: int = ROWS) -> Iterator[Columns]:
        """The rows, in pieces that are not copied."""
        whole, n = self.columns, self.n_rows or 0
        for i in range(0, n, rows):
            if isinstance(whole, Matrix):
                yield whole.rows(slice(i, i + rows))
            else:
                yield {name: whole[name][i:i + rows] for name in columns or self.names}


def bundled(name: str) -> Arrays:
    """A bundled data set as a table whose target is "target".

    Raises
    ------
    ValueError, ImportError
        As ``datasets.load``.
    """
    data = datasets.load(name)
    labels = data.T if data.class_names is None else np.array(data.class_names, object)[data.T]
    names = data.feature_names or tuple(f"x{i}" for i in range(data.X.shape[1]))
    return Arrays(Matrix(names, data.X, {"target": labels}), name, "target")


def open_table(source: Any, *, delimiter: str | None = None, decimal: str = ".",
               na_values: str | Collection[str] = (), charset: str = "utf-8",
               drop_missing: str | Collection[Any] = ()) -> Table:
    """Open a table: a file, a bundled data set, or columns in memory.

    Parameters
    ----------
    source : str, path, Table or mapping of columns
        .csv, .tsv, .txt (also compressed: .csv.gz), .parquet, .pq, .arrow, .feather, .ipc,
        .npy, .npz; a bundled data set, "breast_cancer", "diabetes", "digits", "iris", "mnist" or
        "wine"; a dict, a pandas DataFrame.
    delimiter : str, optional
        One character between the fields of a text file; by default tab in .tsv, else comma, or
        semicolon where ``decimal`` is a comma.
    decimal : {".", ","}
        Decimal separator of numbers in a text file.
    na_values : str or collection of str
        Words that stand for missing values in a text file, such as "?", in addition to the usual
        ones. The preprocessor that ``learn`` makes from the table keeps them.
    charset : str
        Encoding of a text file, by any name that Python knows: "cp1252", "gbk", "utf-16".
    drop_missing : str or collection of names
        Columns: rows without a value in any of them are left out, as if the source did not have
        them; after reading, the table's ``dropped`` is their number. Give the target here if
        some of its values are missing.

    Raises
    ------
    ValueError, TypeError
        For any other source, a damaged or empty file, or a column to drop rows by that the
        table does not have.
    OSError
        If a file cannot be read.
    ImportError
        If reading needs a package that is missing; the message names the extra.
    """
    words = (na_values,) if isinstance(na_values, str) else na_values
    if not isinstance(words, Collection) or not all(isinstance(word, str) for word in words):
        raise TypeError(f"na_values must be words, got {na_values!r}")
    check_choice(decimal, "decimal", (".", ","))
    needed = [drop_missing] if isinstance(drop_missing, str) else drop_missing
    if not isinstance(needed, Collection):
        raise TypeError(f"drop_missing must be names of columns, got {drop_missing!r}")
    table = source if isinstance(source, Table) else _opened(
        source, delimiter=delimiter, decimal=decimal, charset=check_charset(charset))
    if words:
        table = table.typed(na_values=list(words))
        if not table.na_values:
            raise ValueError(f"na_values are words of text files, got {na_values!r} for "
                             f"{table.label}: make the values None or NaN there")
    if len(needed):
        from .present import Present

        return Present(table, list(needed))
    return table


def _opened(source: Any, **text: Any) -> Table:
    if isinstance(source, Mapping) or (hasattr(source, "keys") and hasattr(source, "columns")):
        return Arrays(source)
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError("a table is a path, a bundled name or a mapping of columns, such as a "
                        f"dict or a DataFrame of pandas, got {type(source)!r}{ways_of(source)}")
    if isinstance(source, str) and source in datasets.DATASETS:
        return bundled(source)
    path = Path(source)
    ends = [end.lower() for end in path.suffixes]
    kind = next((e for e in reversed(ends) if e not in PACKED), "")
    if kind not in (*_TEXT, *_READERS):
        names = "" if ends else f", nor a bundled name ({', '.join(datasets.DATASETS)})"
        raise ValueError(f"{path}: {kind or 'no ending'} is none of "
                         f"{', '.join((*_TEXT, *_READERS))}{names}")
    if is_special(path):
        raise ValueError(f"{path} is no regular file: tables are read more than once")
    with open(path, "rb") as file:  # a missing file is an OSError that names it
        if not file.read(1):
            raise ValueError(f"{path} is an empty file")
    if kind in _READERS:
        module, name = _READERS[kind]
        return getattr(importlib.import_module(f".{module}", __package__), name)(path)
    from .text import TextFile

    return TextFile(path, **text)


_TEXT = (".csv", ".tsv", ".txt")
_PARQUET, _ARROW = ("arrow", "ParquetFile"), ("arrow", "ArrowFile")
#: For other endings, the module beside this one, and what in it makes a table of a path.
_READERS = {".parquet": _PARQUET, ".pq": _PARQUET, ".arrow": _ARROW, ".feather": _ARROW,
            ".ipc": _ARROW, ".npy": ("npy", "NumpyFile"), ".npz": ("npy", "archive")}
#: Endings of compressed files, with pyarrow's names for them; and all endings of tables.
PACKED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
ENDINGS = (*_TEXT, *_READERS, *PACKED)
