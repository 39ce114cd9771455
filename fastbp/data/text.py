"""CSV and TSV files, read by pyarrow in bounded memory."""

from __future__ import annotations

import copy
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .arrow import BUFFER_BYTES, arrow_kind, columns_of, get_pyarrow, kinds_of, reading
from .columns import Columns, packed
from .table import NUMBERS, OTHER, PACKED, ROWS, Table

#: Bytes of text that are parsed at once; types are inferred from the first of them.
_BLOCK_BYTES = 4 * 1024 * 1024
#: Encoding of a file whose charset is not given.
_UTF8 = "utf-8"


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
                 na_values: Sequence[str] = (), charset: str = _UTF8) -> None:
        if delimiter is None:
            ends = [end.lower() for end in path.suffixes if end.lower() not in PACKED]
            delimiter = "\t" if ends[-1:] == [".tsv"] else "," if decimal == "." else ";"
        if not isinstance(delimiter, str) or len(delimiter) != 1:
            raise ValueError(f"delimiter must be one character, got {delimiter!r}")
        if delimiter == decimal:
            raise ValueError(f"delimiter and decimal must differ, both are {decimal!r}")
        self.path, self.label = path.absolute(), str(path)  # the place of now, after ``chdir`` too
        self.delimiter = delimiter
        self.decimal, self.na_values, self.charset = decimal, tuple(na_values), charset
        self.given = dict[str, Any]()  # types of columns set by ``typed``
        pa = get_pyarrow()
        with reading(path, "CSV"), self._bytes() as file:
            if charset == _UTF8 and file.read(2) in (BOM_UTF16_LE, BOM_UTF16_BE):
                raise ValueError(f"{path} is UTF-16, save it as UTF-8, or say so "
                                 "(charset='utf-16')")
        with self._reading(self._explain), self._open({}) as reader:
            schema = reader.schema
            self.kinds = kinds_of(schema, path)
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
            raise ValueError(f"{self.label}: one column found, {header!r}, with delimiter "
                             f"{self.delimiter!r}; is it delimiter={other!r}?") from None

    @contextmanager
    def _reading(self, explain: Callable[[str], object]) -> Iterator[None]:
        try:
            with reading(self.label, "CSV", explain):
                yield
        except UnicodeDecodeError as error:
            odd = error.object[error.start:error.start + 1].hex()
            raise ValueError(f"{self.label} is not {self.charset}: byte 0x{odd} is no character "
                             "there") from None

    def _bytes(self) -> Any:
        return get_pyarrow().input_stream(str(self.path),
                                       compression=PACKED.get(self.path.suffix.lower()))

    def _open(self, types: Mapping[str, Any], columns: Iterable[str] = (),
              after: bytes = b"", odd: Any = None) -> Any:
        from pyarrow import csv

        file = self._bytes()
        return csv.open_csv(
            _Longer(file, after) if after else file,
            csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES, encoding=self.charset),
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
            raise ValueError(f"{self.label}: row {row} (counted from 0) is longer than 4 MiB: "
                             "does a quote open there that never closes?") from None
        if "Expected 1 columns" in words:  # the delimiter occurs in rows only, as a decimal comma
            with self._bytes() as file:
                text = file.read(BUFFER_BYTES).decode(self.charset, "replace")
            self._one_column(text.lstrip("\ufeff").lstrip().splitlines()[0])
        found = re.search(r"CSV column #(\d+): (?:Row #(\d+): )?.*(?:UTF8|value '(.*)')", words,
                          re.DOTALL)
        if not found:
            return
        name, value = self.names[int(found[1])], found[3]
        where = f" in row {int(found[2]) - 2} (counted from 0)" if found[2] else ""
        if value is None:
            raise ValueError(f"{self.label} is not UTF-8, save it as UTF-8{OTHER}: column {name!r}"
                             f"{where}") from None
        if re.search("[\r\n]", value):
            self._check_quotes()
        no_word = len(value) >= 20 or value[:2] in ("0x", "0X")  # Arrow infers these as numbers
        value = repr(value if len(value) < 50 else value[:50] + "...")
        if self.given.get(name) == get_pyarrow().float64():
            raise ValueError(f"{self.label}: column {name!r} must hold numbers, got {value}{where}"
                             ) from None
        kind = {"numeric": "numbers", "boolean": "true and false"}.get(
            self.kinds[name], "dates or times")
        gone = "" if no_word else f"such words as missing (na_values=[{value}]), or "
        told = self.looked_at and f" from {self.looked_at}"
        raise ValueError(f"{self.label}: column {name!r} was taken for {kind}{told} and holds "
                         f"{value}{where}: name {gone}it as categorical (categorical=[{name!r}])"
                         ) from None

    def _check_quotes(self) -> None:
        """Refuse a quote that is open at the end of the file, which pyarrow takes as closed.

        A row with a field too many is appended: pyarrow reports it as invalid unless an open
        quote swallows it. This is not the normal way to read, as pyarrow's thread calls Python
        for bytes: if that is abandoned within a call, the process ends badly.
        """
        last, odd = self.names[-1], list[Any]()
        after = f"\n{self.delimiter * len(self.names)}\n".encode(self.charset)

        def skip(row: Any) -> str:
            odd.append(row)
            return "skip"

        with self._open({last: get_pyarrow().binary()}, [last], after, skip) as reader:
            row = sum(map(len, reader)) - 1
        if not odd:
            raise ValueError(f"{self.label}: the quote that opens column {last!r} in row {row} "
                             "(counted from 0) never closes") from None

    def typed(self, text: Sequence[str] = (), numbers: Sequence[str] = (),
              na_values: Sequence[str] = ()) -> Table:
        """The same table with these columns read as text or as numbers, and these further words
        as missing values: without such words a column may be one of numbers."""
        pa, words = get_pyarrow(), dict.fromkeys([*self.na_values, *na_values])
        other = copy.copy(self)
        if len(words) > len(self.na_values):
            other = TextFile(self.path, self.delimiter, self.decimal, list(words),
                             self.charset)
            other.label = self.label
        wanted = {name: pa.string() for name in text} | {name: pa.float64() for name in numbers}
        other.given = self.given | {name: kind for name, kind in wanted.items()
                                    if name in self.kinds}
        other._types = other._types | other.given
        other.kinds = other.kinds | {name: arrow_kind(kind) for name, kind in other.given.items()}
        return other

    def part(self, index: int, columns: Sequence[str] | None = None,
             rows: int = ROWS) -> Iterator[Columns]:
        """All rows in order."""
        names = list(columns or self.names)
        rows = max(1, min(rows, NUMBERS // len(names)))
        yield from packed(self._blocks(names, rows), names, rows)

    def _blocks(self, names: Sequence[str], rows: int) -> Iterator[Columns]:
        last, found, end = self.names[-1], 0, ""
        # The last column shows an open quote; if read only for that it is bytes, never refused.
        types = self._types if last in names else self._types | {last: get_pyarrow().binary()}
        with self._reading(lambda words: self._explain(words, found)), self._open(
                types, dict.fromkeys([*names, last])) as reader:
            for batch in reader:
                found += len(batch)
                if len(batch):
                    end = repr(batch.column(last)[-1].as_py())
                for i in range(0, len(batch), rows):
                    yield columns_of(batch.slice(i, rows), names)
            if re.search(r"\\[nr]", end):  # line breaks in the last field of all: within a quote
                self._check_quotes()
        if not found:
            raise ValueError(f"{self.label} has a header but no rows")
