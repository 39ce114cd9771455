"""Tables written batch by batch; a file appears when it is complete."""

from __future__ import annotations

import csv
import gzip
import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from .._extras import needs
from .._validation import Array
from ..io.files import beside, open_in_place, place_of, put_in_place
from .exits import check_stdout, named_stdout

#: Endings of the files that pyarrow writes.
_PARQUET, _ARROW = (".parquet", ".pq"), (".feather", ".arrow", ".ipc")


class Writer:
    """Base: writes a file beside ``path`` that is moved there at the end of the ``with`` block,
    with the permissions of an earlier one. A pipe, a device or an open file (``/dev/stdout``) gets
    the rows directly.

    Parameters
    ----------
    path : path
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.scratch: str | None = None
        try:
            out = open_in_place(path)
            if out is not None:
                self.file = out
                return
            self.place = place_of(path)
            handle, self.scratch = beside(self.place)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
        self.file = os.fdopen(handle, "wb")

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: Any) -> None:
        try:
            self.close()
            if kind is None and self.scratch:
                self.file.flush()
                os.fsync(self.file.fileno())
            self.file.close()
            if kind is None and self.scratch:
                put_in_place(self.scratch, self.place)
        except OSError as failed:
            if kind is None:
                raise OSError(failed.errno, failed.strerror, str(self.path)) from failed
        finally:
            with suppress(OSError):  # from its buffer: the error has been raised already
                self.file.close()
            if self.scratch:
                Path(self.scratch).unlink(missing_ok=True)

    def write(self, columns: dict[str, Array]) -> None:
        """Add rows.

        Raises
        ------
        OSError
            If the disk is full, for example: names the file.
        """
        try:
            self.put(columns)
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), str(self.path)) from error

    def put(self, columns: dict[str, Array]) -> None:
        """Add rows to ``file``."""
        raise NotImplementedError

    def close(self) -> None:
        """Write what is still buffered."""


class Text:
    """Delimited text with a header on any text file."""

    def __init__(self, file: Any, delimiter: str = ",") -> None:
        self.writer, self.begun = csv.writer(file, delimiter=delimiter, lineterminator="\n"), False

    def put(self, columns: dict[str, Array]) -> None:
        """Add rows."""
        if not self.begun:
            self.writer.writerow(columns)
            self.begun = True
        self.writer.writerows(zip(*(values.tolist() for values in columns.values()),
                                  strict=True))


class TextWriter(Writer):
    """A .csv or .tsv file, compressed if its name ends with .gz."""

    def __init__(self, path: str | os.PathLike[str], delimiter: str) -> None:
        super().__init__(path)
        self.packed = self.path.suffix.lower() == ".gz"
        file: Any = self.file
        if self.packed:  # neither name nor time in the header: equal rows give equal files
            file = gzip.GzipFile("", "wb", fileobj=self.file, mtime=0)
        self.text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        self.rows = Text(self.text, delimiter)

    def put(self, columns: dict[str, Array]) -> None:
        """Add rows."""
        self.rows.put(columns)
        if not self.packed:  # would end a compressed block
            self.text.flush()

    def close(self) -> None:
        """End the compressed data."""
        if self.packed:
            self.text.close()


class Stdout:
    """CSV on stdout."""

    def __enter__(self) -> Stdout:
        check_stdout()
        if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "backslashreplace":
            sys.stdout.reconfigure(errors="strict")  # data must not be escaped
        self.rows = Text(sys.stdout)
        return self

    def __exit__(self, *_: Any) -> None:
        with named_stdout():
            sys.stdout.flush()

    def write(self, columns: dict[str, Array]) -> None:
        """Add rows."""
        with named_stdout():
            self.rows.put(columns)


class ArrowWriter(Writer):
    """A .parquet, .feather or .arrow file, a group of rows for each batch."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        with needs("writing Parquet or Arrow needs pyarrow", "cli"):
            import pyarrow  # noqa: F401
        super().__init__(path)
        self.writer: Any = None

    def put(self, columns: dict[str, Array]) -> None:
        """Add rows."""
        import pyarrow
        from pyarrow import ipc, parquet

        table = pyarrow.table({name: pyarrow.array(values.tolist() if values.dtype == object
                                                   else values)
                               for name, values in columns.items()})
        if self.writer is None:
            make = parquet.ParquetWriter if self.path.suffix.lower() in _PARQUET else ipc.new_file
            self.writer = make(self.file, table.schema)
        self.writer.write_table(table)

    def close(self) -> None:
        """Write the footer."""
        if self.writer is not None:
            self.writer.close()


def open_writer(path: str | None) -> Any:
    """A writer by the ending of ``path``; CSV on stdout for None and "-".

    Raises
    ------
    click.UsageError, OSError
        For an unknown ending, or a place that cannot be written.
    """
    if path is None or path == "-":
        return Stdout()
    ends = [end.lower() for end in Path(path).suffixes] or [""]
    end = ends[-2] if ends[-1] == ".gz" and len(ends) > 1 else ends[-1]
    if end in (".csv", ".tsv"):
        return TextWriter(path, "\t" if end == ".tsv" else ",")
    if ends[-1] in (*_PARQUET, *_ARROW):
        return ArrowWriter(path)
    raise click.UsageError(f"--output {path}: {ends[-1] or 'no ending'} is none of .csv, .tsv, "
                           ".csv.gz, .parquet, .feather, .arrow")
