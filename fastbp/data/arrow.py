"""CSV, TSV, Parquet and Arrow files, read by pyarrow in bounded memory."""

from __future__ import annotations

import copy
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .._extras import needs
from .._validation import Array
from .table import PACKED, ROWS, WORDS, Columns, Table

#: Bytes of text that are parsed at once; types are inferred from the first of them.
_BLOCK_BYTES = 4 * 1024 * 1024
#: Bytes of a Parquet column that are read at once, and of a page.
_BUFFER_BYTES, _PAGE_BYTES = 64 * 1024, 1024 * 1024
#: Pieces decoded at a time: fewer, larger decodes cost less.
_DECODED = 2


def _pyarrow() -> Any:
    with needs("reading CSV, Parquet and Arrow files needs pyarrow", "data"):
        import pyarrow
    return pyarrow


@contextmanager
def _reading(path: Path, what: str,
             explain: Callable[[str], object] = lambda words: None) -> Iterator[None]:
    """Raise pyarrow's error on a damaged file as one line that names it, or what ``explain``
    raises."""
    pa = _pyarrow()
    try:
        yield
    except UnicodeDecodeError:
        raise ValueError(f"{path}: the header is not UTF-8: save the file as UTF-8") from None
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        explain(str(error))
        words = " ".join(str(error).split())
        raise ValueError(f"{path} is not a readable {what} file, or cut short: {words}") from None


def _kind(kind: Any) -> str:
    from pyarrow import types as t

    if t.is_boolean(kind):
        return "boolean"
    if t.is_integer(kind) or t.is_floating(kind) or t.is_decimal(kind):
        return "numeric"
    if t.is_dictionary(kind):
        return "categorical" if _kind(kind.value_type) in WORDS else "other"
    if t.is_string(kind) or t.is_large_string(kind) or "string_view" in str(kind):
        return "categorical"
    if t.is_temporal(kind):
        return "datetime"
    return "empty" if t.is_null(kind) else "other"


def _kinds(schema: Any, path: Path) -> dict[str, str]:
    kinds = {field.name: _kind(field.type) for field in schema}
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
    pa = _pyarrow()
    from pyarrow.compute import min_max

    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    if pa.types.is_integer(values.type) and values.null_count:
        ends = [abs(end) for end in min_max(values).as_py().values() if end is not None]
        if max(ends, default=0) > 2**53:  # float64 would make some of them equal
            return np.array(values.to_pylist(), object)
    if pa.types.is_null(values.type):
        return np.full(len(values), None, object)
    return np.asarray(values.to_numpy(zero_copy_only=False))


def _columns(batch: Any, names: Sequence[str]) -> Columns:
    return {name: _array(batch.column(name)) for name in names}


class _Longer:
    """A Python file object for pyarrow: a file with ``more`` after its end."""

    closed = False

    def __init__(self, file: Any, more: bytes) -> None:
        self.file, self.more = file, more

    def read(self, size: int) -> bytes:
        """The next bytes; the last ones of the file come with ``more``, as rows end there."""
        found: bytes = self.file.read(size)
        if len(found) < size:
            found, self.more = found + self.more, b""
        return found

    def close(self) -> None:
        """Close the file."""
        self.file.close()


class TextFile(Table):
    """Delimited text with a header. It can only be read in order: one part.

    Types are inferred from the first 4 MiB; integers are read as float64, as fractions may
    follow further down.
    """

    def __init__(self, path: Path, delimiter: str | None = None, decimal: str = ".",
                 na_values: Sequence[str] = ()) -> None:
        if delimiter is None:
            delimiter = "\t" if ".tsv" in [end.lower() for end in path.suffixes] else (
                "," if decimal == "." else ";")
        if not isinstance(delimiter, str) or len(delimiter) != 1:
            raise ValueError(f"delimiter must be one character, got {delimiter!r}")
        if delimiter == decimal:
            raise ValueError(f"delimiter and decimal must differ, both are {decimal!r}")
        self.path, self.label, self.delimiter = path, str(path), delimiter
        self.decimal, self.na_values = decimal, tuple(na_values)
        self.given = dict[str, Any]()  # types of columns set by ``typed``
        pa = _pyarrow()
        with _reading(path, "CSV"), self._bytes() as file:
            if file.read(2) in (BOM_UTF16_LE, BOM_UTF16_BE):
                raise ValueError(f"{path} is UTF-16, save it as UTF-8")
        with _reading(path, "CSV", self._explain), self._open({}) as reader:
            schema = reader.schema
            self.kinds = _kinds(schema, path)
        if len(self.kinds) == 1:
            self._one_column(self.names[0])
        for field in schema:  # pyarrow's type of text that is not UTF-8 is binary
            if pa.types.is_binary(field.type):
                self.kinds[field.name] = "undecoded"
        self._types = {field.name: pa.float64() if pa.types.is_integer(field.type)
                       else pa.string() if self.kinds[field.name] in ("empty", "undecoded")
                       else field.type for field in schema}
        packed = path.suffix.lower() in PACKED
        if packed or path.stat().st_size > _BLOCK_BYTES:
            self.looked_at = "the first 4 MiB"
        if set(self.kinds.values()) == {"empty"}:
            next(self.part(0))  # raises if there are no rows

    def _one_column(self, header: str) -> None:
        other = next((d for d in ",;\t|" if d in header and d != self.delimiter), None)
        if other is not None:
            raise ValueError(f"{self.path}: one column found, {header!r}, with delimiter "
                             f"{self.delimiter!r}; is it delimiter={other!r}?") from None

    def _bytes(self) -> Any:
        return _pyarrow().input_stream(str(self.path),
                                       compression=PACKED.get(self.path.suffix.lower()))

    def _open(self, types: Mapping[str, Any], columns: Iterable[str] = (),
              after: bytes = b"", odd: Any = None) -> Any:
        from pyarrow import csv

        file = self._bytes()
        return csv.open_csv(
            _Longer(file, after) if after else file,
            csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
            csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True,
                             invalid_row_handler=odd),
            csv.ConvertOptions(
                column_types=types, strings_can_be_null=True, include_columns=list(columns),
                decimal_point=self.decimal,
                null_values=[*csv.ConvertOptions().null_values, "None", "<NA>",  # as pandas
                             *self.na_values]))

    def _explain(self, words: str, row: int = 0) -> None:
        """Raise a known error of pyarrow in terms of the table."""
        if "straddling" in words:
            raise ValueError(f"{self.path}: row {row} (counted from 0) is longer than 4 MiB: does "
                             "a quote open there that never closes?") from None
        if "Expected 1 columns" in words:  # the delimiter occurs in rows only, as a decimal comma
            with self._bytes() as file:
                header = file.read(_BUFFER_BYTES).decode("utf-8-sig", "replace").lstrip()
            self._one_column(header.splitlines()[0])
        found = re.search(r"CSV column #(\d+): (?:Row #(\d+): )?.*(?:UTF8|value '(.*)')", words,
                          re.DOTALL)
        if not found:
            return
        name, value = self.names[int(found[1])], found[3]
        where = f" in row {int(found[2]) - 2} (counted from 0)" if found[2] else ""
        if value is None:
            raise ValueError(f"{self.path} is not UTF-8, save it as UTF-8: column {name!r}{where}"
                             ) from None
        if re.search("[\r\n]", value):
            self._check_quotes()
        value = repr(value if len(value) < 50 else value[:50] + "...")
        if self.given.get(name) == _pyarrow().float64():
            raise ValueError(f"{self.path}: column {name!r} must hold numbers, got {value}{where}"
                             ) from None
        kind = {"numeric": "numbers", "boolean": "true and false"}.get(
            self.kinds[name], "dates or times")
        gone = f"such words as missing (na_values=[{value}]), or " if len(value) < 20 else ""
        raise ValueError(f"{self.path}: column {name!r} was taken for {kind} from the first 4 MiB "
                         f"and holds {value}{where}: name {gone}it as categorical "
                         f"(categorical=[{name!r}])") from None

    def _check_quotes(self) -> None:
        """Refuse a quote that is open at the end of the file, which pyarrow takes as closed.

        A row with a field too many is appended: pyarrow reports it as invalid unless an open
        quote swallows it. This is not the normal way to read, as pyarrow's thread calls Python
        for bytes: if that is abandoned within a call, the process ends badly.
        """
        last, odd = self.names[-1], list[Any]()
        after = f"\n{self.delimiter * len(self.names)}\n".encode()

        def skip(row: Any) -> str:
            odd.append(row)
            return "skip"

        with self._open({last: _pyarrow().binary()}, [last], after, skip) as reader:
            row = sum(map(len, reader)) - 1
        if not odd:
            raise ValueError(f"{self.path}: the quote that opens column {last!r} in row {row} "
                             "(counted from 0) never closes") from None

    def typed(self, text: Sequence[str] = (), numbers: Sequence[str] = (),
              na_values: Sequence[str] = ()) -> Table:
        """The same table with these columns read as text or as numbers, and these further words
        as missing values: without such words a column may be one of numbers."""
        pa, words = _pyarrow(), dict.fromkeys([*self.na_values, *na_values])
        other = copy.copy(self)
        if len(words) > len(self.na_values):
            other = TextFile(self.path, self.delimiter, self.decimal, list(words))
        wanted = {name: pa.string() for name in text} | {name: pa.float64() for name in numbers}
        other.given = self.given | {name: kind for name, kind in wanted.items()
                                    if name in self.kinds}
        other._types = other._types | other.given
        other.kinds = other.kinds | {name: _kind(kind) for name, kind in other.given.items()}
        return other

    def part(self, index: int, columns: Sequence[str] | None = None,
             rows: int = ROWS) -> Iterator[Columns]:
        """All rows in order."""
        names, last, found, end = list(columns or self.names), self.names[-1], 0, ""
        # The last column shows an open quote; if read only for that it is bytes, never refused.
        types = self._types if last in names else self._types | {last: _pyarrow().binary()}
        with _reading(self.path, "CSV", lambda words: self._explain(words, found)), self._open(
                types, dict.fromkeys([*names, last])) as reader:
            for batch in reader:
                found += len(batch)
                if len(batch):
                    end = repr(batch.column(last)[-1].as_py())
                for i in range(0, len(batch), rows):
                    yield _columns(batch.slice(i, rows), names)
            if re.search(r"\\[nr]", end):  # line breaks in the last field of all: within a quote
                self._check_quotes()
        if not found:
            raise ValueError(f"{self.path} has a header but no rows")


class ParquetFile(Table):
    """A Parquet file; its parts are the row groups."""

    _told: Any = None

    def __init__(self, path: Path) -> None:
        self.path, self.label = path, str(path)
        with _reading(path, "Parquet"), self._open() as file:
            self.kinds = _kinds(file.schema_arrow, path)
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
                                   buffer_size=_BUFFER_BYTES)

    def part(self, index: int, columns: Sequence[str] | None = None,
             rows: int = ROWS) -> Iterator[Columns]:
        """A row group."""
        names = list(columns or self.names)
        with _reading(self.path, "Parquet"), self._open() as file:
            for batch in file.iter_batches(_DECODED * rows, row_groups=[index], columns=names,
                                           use_threads=False):
                for i in range(0, len(batch), rows):
                    yield _columns(batch.slice(i, rows), names)


class ArrowFile(Table):
    """An Arrow IPC file, that is Feather 2; its parts are the record batches."""

    def __init__(self, path: Path) -> None:
        self.path, self.label = path, str(path)
        with _reading(path, "Arrow"), self._open() as file:
            self.kinds = _kinds(file.schema, path)
            self.n_parts = file.num_record_batches
            self.part_bytes = path.stat().st_size // max(1, self.n_parts)
        from pyarrow import dataset

        with _reading(path, "Arrow"):
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
        with _reading(self.path, "Arrow"), self._open() as file:
            batch = file.get_batch(index)
        for i in range(0, len(batch), rows):
            yield _columns(batch.slice(i, rows), names)
