"""Callbacks that log the figures of each epoch."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TextIO

import numpy as np

from .._extras import needs
from .._validation import as_path, check_bool
from .._warning import warn
from ..history import as_name, as_number
from ..metrics import FIGURES, METRICS
from .base import Callback

if TYPE_CHECKING:
    from ..network import Network

#: Names of the figures that no callback needs to add.
_OURS = frozenset(f"{lead}{name}" for lead in ("", "val_") for name in (*FIGURES, *METRICS))


class PrintEpoch(Callback):
    """One line an epoch, the figures by name.

    Parameters
    ----------
    file : text file, optional
        Where to print; stdout by default.

    Raises
    ------
    TypeError
        If ``file`` is no text file.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        if file is not None and not hasattr(file, "write"):
            raise TypeError(f"file must be a text file, got {file!r}")
        self._epochs, self._out = 0, file

    def on_train_begin(self, network: Network, epochs: int, n_samples: int) -> None:
        """Remember how many epochs there will be."""
        self._epochs = epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Print the line."""
        figures = "  ".join(f"{name} {value}" if (number := as_number(value)) is None
                            else f"{name} {number:.4g}" for name, value in logs.items())
        print(f"epoch {epoch + 1}/{self._epochs}  {figures}", file=self._out, flush=True)


class _File(Callback):
    """A file open during training."""

    def __init__(self, path: str | os.PathLike[str], append: bool = False) -> None:
        self.path, self.append = Path(as_path(path)), check_bool(append, "append")
        self._file: IO[str] | None = None

    def on_train_begin(self, network: Network, epochs: int, n_samples: int) -> None:
        """Open the file; one that cannot be written fails before training."""
        self._file = file = open(self.path, "a" if self.append else "w",  # noqa: SIM115
                                 newline="", encoding="utf-8", opener=_at_the_end)
        if file.seekable() and file.tell() > 0 and not _ends_a_line(self.path):
            file.write("\n")

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Write the line.

        Raises
        ------
        ValueError
            If a CSV file to append to has other columns.
        OSError
            If the disk is full, for example: names the file.
        """
        with self._named():
            self._write({"epoch": epoch + 1, **logs})

    def on_train_end(self) -> None:
        """Close it."""
        file, self._file = self._file, None
        if file is not None:
            with self._named():
                file.close()

    def _write(self, line: dict[str, Any]) -> None:
        raise NotImplementedError

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), str(self.path)) from error


def _at_the_end(path: str, flags: int) -> int:
    """Open a file so that nothing is written over what others have added to it."""
    return os.open(path, flags | os.O_APPEND, 0o666)


def _ends_a_line(path: Path) -> bool:
    """Whether a file, which is not empty, ends with a line break."""
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


class CSVLog(_File):
    """The figures of each epoch as a line of a CSV file, with names in the first line.

    A figure that a callback adds in a later epoch gets a column of its own, for which the file is
    written anew. Where others may write to it too, as with ``append``, or know it by another name,
    and where it cannot be, as a pipe, the figure is left out, with a warning.

    Parameters
    ----------
    path : path
    append : bool
        Append to an existing file, in the order of its columns.

    Raises
    ------
    TypeError, ValueError
        For invalid arguments; at the start of a run, before training, for a file to append to
        that is not UTF-8 or has other columns. After a callback of the user's, which may add
        figures, columns are compared when the first epoch ends: one more is then left to such a
        callback, unless it has the name of a figure or built-in metric of ``fit``.
    OSError
        At the start of a run, before training, if the file cannot be written.
    """

    def on_train_begin(self, network: Network, epochs: int, n_samples: int) -> None:
        """Open the file, and read which columns it has."""
        self._names, self._fixed, self._alone = self._columns(), False, not self.append
        self._goes_on, self._place, self._size = bool(self._names), self.path.absolute(), 0
        super().on_train_begin(network, epochs, n_samples)

    def _columns(self) -> list[str]:
        """Those of the file to append to; none of one that is new or empty, or of a pipe."""
        if not (self.append and self.path.is_file() and self.path.stat().st_size):
            return []
        try:
            with open(self.path, newline="", encoding="utf-8-sig") as file:
                return next((line for line in csv.reader(file) if line), [])
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{str(self.path)!r} is no CSV file in UTF-8 to append to: {error}"
                             ) from error

    def check(self, figures: list[str]) -> None:
        """Refuse to append epochs with these figures to a file that has other columns.

        Raises
        ------
        ValueError
            Names both.
        """
        names, own = self._columns(), ["epoch", *figures]
        if names and sorted(names) != sorted(own):
            raise self._other(names, own)

    def _other(self, names: list[str], own: list[str]) -> ValueError:
        return ValueError(f"{str(self.path)!r} has the columns {names}, this run {own}: "
                          "append=True needs the same")

    def _write(self, line: dict[str, Any]) -> None:
        assert self._file is not None
        self._alone = self._alone and self._is_own()
        if not self._names:
            self._names = list(line)
            csv.writer(self._file).writerow(self._names)
        elif self._goes_on:  # known only now where a user's callback adds figures
            gone = {*self._names} - line.keys()  # such a one may also add them later
            if not line.keys() <= {*self._names} or gone & _OURS:
                raise self._other(self._names, list(line))
        self._goes_on = False
        more = [name for name in line if name not in self._names]
        if more and not self._fixed and not self._widen(more):
            self._fixed = True
            warn(f"{str(self.path)!r} has no column for {', '.join(map(repr, more))}, which its "
                 "first epoch did not have: give NaN there")
        csv.writer(self._file).writerow([_plain(line.get(name, "")) for name in self._names])
        self._file.flush()
        self._size = os.fstat(self._file.fileno()).st_size

    def _is_own(self) -> bool:
        """Whether the file is still at its place, under no other name, and as this log left it."""
        assert self._file is not None
        own = os.fstat(self._file.fileno())
        with suppress(OSError):
            return (os.path.samestat(own, os.stat(self._place)) and stat.S_ISREG(own.st_mode)
                    and own.st_nlink <= 1 and own.st_size == self._size)
        return False

    def _widen(self, names: list[str]) -> bool:
        """Give the file columns for these figures, empty so far, if it can be written anew."""
        from ..io.files import number_of, write_whole

        assert self._file is not None
        if not self._alone or is_output(self._file.fileno()) or number_of(self._place) is not None:
            return False  # others write there too
        try:
            with open(self._place, newline="", encoding="utf-8-sig") as file:
                _, *rows = (row for row in csv.reader(file) if row)
            text, wide = io.StringIO(), [*self._names, *names]
            csv.writer(text).writerows([wide, *(row + [""] * len(names) for row in rows)])
            write_whole(self._place, text.getvalue().encode())
        except (OSError, ValueError, csv.Error):  # a folder that may not be written, say
            return False
        self.on_train_end()
        self._names, self._file = wide, open(  # noqa: SIM115
            self._place, "a", newline="", encoding="utf-8")
        return True


def is_output(handle: int) -> bool:
    """Whether an open file is what the process prints to, also under another name."""
    own = os.fstat(handle)
    for printed in (1, 2):
        with suppress(OSError):
            if os.path.samestat(own, os.fstat(printed)):
                return True
    return False


def _plain(value: Any) -> Any:
    """What a callback has put among the figures, as files take it: a number, or text."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (str, int, float, list, tuple, dict)):
        return value
    number = as_number(value)
    return str(value) if number is None else number


def _json(value: Any) -> Any:
    """The same as JSON takes it."""
    value = _plain(value)
    if isinstance(value, dict):
        return {as_name(name): _json(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_line(figures: dict[str, float]) -> str:
    """Figures as a line of JSON; a number that is not finite becomes null."""
    return json.dumps(_json(figures)) + "\n"


class JSONLines(_File):
    """The figures of each epoch as one JSON object a line; one that is not finite is null.

    Parameters
    ----------
    path : path
    append : bool
        Append to an existing file.

    Raises
    ------
    TypeError, ValueError
        For invalid arguments.
    OSError
        At the start of a run, before training, if the file cannot be written.
    """

    def _write(self, line: dict[str, Any]) -> None:
        assert self._file is not None
        self._file.write(json_line(line))
        self._file.flush()


class TensorBoard(Callback):
    """The figures of each epoch as scalars for TensorBoard (extra ``tensorboard``).

    Parameters
    ----------
    folder : path
        Where the event files go.

    Raises
    ------
    ImportError
        If tensorboardX is not installed.
    TypeError, ValueError
        If ``folder`` is no path.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        with needs("TensorBoard needs tensorboardX", "tensorboard"):
            from tensorboardX import SummaryWriter
        self.folder, self._make = as_path(folder, "folder"), SummaryWriter
        self._writer: Any = None

    def on_train_begin(self, network: Network, epochs: int, n_samples: int) -> None:
        """Open the writer."""
        self._writer = self._make(self.folder)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Write the scalars; what a user's callback added and is no number is left out."""
        for name, value in logs.items():
            if (number := as_number(value)) is not None:
                self._writer.add_scalar(name, number, epoch + 1)

    def on_train_end(self) -> None:
        """Close it."""
        if self._writer is not None:
            self._writer.close()
