"""Parquet and Arrow files, read by pyarrow in bounded memory."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .._extras import needs
from .._validation import Array
from .columns import EXACT, Columns
from .table import OTHER, ROWS, WORDS, Table

#: Bytes of a Parquet column that are read at once, and of a page.
BUFFER_BYTES, _PAGE_BYTES = 64 * 1024, 1024 * 1024
#: Pieces decoded at a time: fewer, larger decodes cost less.
_DECODED = 2


def get_pyarrow() -> Any:
    """The module, or an ImportError that names the extra."""
    with needs("reading CSV, Parquet and Arrow files needs pyarrow", "data"):
        import pyarrow
    return pyarrow


@contextmanager
def reading(path: Path | str, what: str,
             explain: Callable[[str], object] = lambda words: None) -> Iterator[None]:
    """Raise pyarrow's error on a damaged file as one line that names it, or what ``explain``
    raises."""
    pa = get_pyarrow()
    try:
        yield
    except UnicodeDecodeError as error:
        if error.encoding != "utf-8":
            raise
        raise ValueError(f"{path}: the header is not UTF-8: save the file as UTF-8{OTHER}"
                         ) from None
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        explain(str(error))
        words = " ".join(str(error).split())
        raise ValueError(f"{path} is not a readable {what} file, or cut short: {words}") from None


def arrow_kind(kind: Any) -> str:
    """Kind of a column by its type in pyarrow."""
    from pyarrow import types as t

    if t.is_boolean(kind):
        return "boolean"
    if t.is_integer(kind) or t.is_floating(kind) or t.is_decimal(kind):
        return "numeric"
    if t.is_dictionary(kind):
        return "categorical" if arrow_kind(kind.value_type) in WORDS else "other"
    if t.is_string(kind) or t.is_large_string(kind) or "string_view" in str(kind):
        return "categorical"
    if t.is_temporal(kind):
        return "datetime"
    return "empty" if t.is_null(kind) else "other"


def kinds_of(schema: Any, path: Path) -> dict[str, str]:
    """Kinds of the columns of a file."""
    kinds = {field.name: arrow_kind(field.type) for field in schema}
    if len(kinds) < len(schema):
        twice = Counter(schema.names).most_common(1)[0][0]
        raise ValueError(f"{path} has two columns named {twice!r}")
    told = schema.pandas_metadata or {}
    for name in told.get("index_columns", ()):  # an index without a name is not a column
        if isinstance(name, str) and re.fullmatch(r"__index_level_\d+__", name):
            kinds.pop(name, None)
    for column in told.get("columns", ()):
        if column["pandas_type"] == "categorical" and kinds.get(column.get("field_name")) in WORDS:
            kinds[column.get("field_name")] = "categorical"
    return kinds


def _array(values: Any) -> Array:
    """A pyarrow array as a NumPy array: NaN or None where a value is missing."""
    pa = get_pyarrow()
    from pyarrow.compute import min_max

    if pa.types.is_dictionary(values.type):
        if "string_view" in str(values.type):  # of Polars; pyarrow does not decode these
            words = pa.array(values.dictionary.to_pylist(), pa.large_string())
            values = pa.DictionaryArray.from_arrays(values.indices, words)
        values = values.dictionary_decode()
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    if pa.types.is_integer(values.type) and values.null_count:
        ends = [abs(end) for end in min_max(values).as_py().values() if end is not None]
        if max(ends, default=0) > EXACT:
            return np.array(values.to_pylist(), object)
    if pa.types.is_null(values.type):
        return np.full(len(values), None, object)
    return np.asarray(values.to_numpy(zero_copy_only=False))


def columns_of(batch: Any, names: Sequence[str]) -> Columns:
    """These columns of a batch of pyarrow as NumPy arrays."""
    return {name: _array(batch.column(name)) for name in names}


class ParquetFile(Table):
    """A Parquet file; its parts are the row groups."""

    _told: Any = None

    def __init__(self, path: Path) -> None:
        self.path, self.label = path.absolute(), str(path)  # the place of now, after ``chdir`` too
        with reading(path, "Parquet"), self._open() as file:
            self.kinds = kinds_of(file.schema_arrow, path)
            self._told = told = file.metadata
            self.n_rows, self.n_parts = told.num_rows, file.num_row_groups
            largest = max((told.row_group(i).total_byte_size for i in range(self.n_parts)),
                          default=0)
            # A page of each column, by default of 1 MiB, and the same compressed.
            self.part_bytes = 2 * min(largest, _PAGE_BYTES * told.num_columns)
        if not self.n_rows:
            raise ValueError(f"{path} has no rows")

    def _open(self) -> Any:
        from pyarrow import parquet

        # The metadata are read once: otherwise each part would parse those of all parts again.
        return parquet.ParquetFile(str(self.path), metadata=self._told, pre_buffer=False,
                                   buffer_size=BUFFER_BYTES)

    def part(self, index: int, columns: Sequence[str] | None = None,
             rows: int = ROWS) -> Iterator[Columns]:
        """A row group."""
        names = list(columns or self.names)
        with reading(self.label, "Parquet"), self._open() as file:
            for batch in file.iter_batches(_DECODED * rows, row_groups=[index], columns=names,
                                           use_threads=False):
                for i in range(0, len(batch), rows):
                    yield columns_of(batch.slice(i, rows), names)


#: Files that end like those of Arrow, by their first bytes.
_OTHERS = {b"\xff\xff\xff\xff": "an Arrow stream", b"FEA1": "of Feather's first version"}


class ArrowFile(Table):
    """An Arrow IPC file, that is Feather 2; its parts are the record batches."""

    def __init__(self, path: Path) -> None:
        self.path, self.label = path.absolute(), str(path)  # the place of now, after ``chdir`` too
        with open(path, "rb") as raw:
            if (kind := _OTHERS.get(raw.read(4))) is not None:
                raise ValueError(f"{path} is {kind}, which is not read in parts: write an Arrow "
                                 "file, by pyarrow.ipc.new_file or pyarrow.feather.write_feather")
        with reading(path, "Arrow"), self._open() as file:
            self.kinds = kinds_of(file.schema, path)
            self.n_parts = file.num_record_batches
            self.part_bytes = path.stat().st_size // max(1, self.n_parts)
        from pyarrow import dataset

        with reading(path, "Arrow"):
            self.n_rows = dataset.dataset(str(path), format="ipc").count_rows()
        if not self.n_rows:
            raise ValueError(f"{path} has no rows")

    @contextmanager
    def _open(self) -> Iterator[Any]:
        from pyarrow import OSFile, ipc

        with OSFile(str(self.path)) as source, ipc.open_file(source) as file:
            yield file

    def part(self, index: int, columns: Sequence[str] | None = None,
             rows: int = ROWS) -> Iterator[Columns]:
        """A record batch."""
        names = list(columns or self.names)
        with reading(self.label, "Arrow"), self._open() as file:
            batch = file.get_batch(index)
        for i in range(0, len(batch), rows):
            yield columns_of(batch.slice(i, rows), names)
