"""Files written whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from .._validation import as_path

#: Folders with a name for each open file of this process.
_OPEN_FILES = "/dev/fd", "/proc/self/fd"


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file beside ``path``, then move it there: the file is whole at any moment.

    An earlier file's permissions stay, and a link goes on pointing to the file. To a pipe, a
    device or an open file (``/dev/stdout``) the data are written directly.

    Raises
    ------
    TypeError, ValueError
        If ``path`` is not a path.
    OSError
        If the file cannot be written; an earlier one stays as it was.
    """
    path = as_path(path)
    try:
        out = open_in_place(path)
        if out is None:
            _write(place_of(path), data)
            return
        with out:
            out.write(data)
    except OSError as error:  # it may name the scratch file, or no file
        raise OSError(error.errno, error.strerror or str(error), path) from error


def check_place(path: str | os.PathLike[str]) -> None:
    """Refuse a path that ``write_whole`` could not write, before there is anything to write.

    Raises
    ------
    TypeError, ValueError
        If ``path`` is not a path.
    OSError
        If the folder does not exist or may not be written to.
    """
    path = as_path(path)
    number = number_of(path)
    try:
        if number is not None:
            os.write(number, b"")
        elif not is_special(path):
            handle, scratch = beside(place_of(path))
            os.close(handle)
            os.unlink(scratch)
    except OSError as error:  # it names the scratch file
        raise OSError(error.errno, error.strerror or str(error), path) from error


def is_special(path: str | os.PathLike[str]) -> bool:
    """Whether ``path`` is a pipe or a device, which is written to rather than replaced."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def number_of(path: str | os.PathLike[str]) -> int | None:
    """Number of the open file of this process that ``path`` is the name of."""
    name, own = os.path.abspath(os.fsdecode(path)), {*map(os.path.realpath, _OPEN_FILES)}
    for _ in range(40):  # links may lead to themselves
        folder, last = os.path.split(name)
        if re.fullmatch("[0-9]{1,9}", last) and os.path.realpath(folder) in own:
            return int(last)
        if not os.path.islink(name):
            return None
        name = os.path.abspath(os.path.join(folder, os.readlink(name)))
    return None


def open_in_place(path: str | os.PathLike[str]) -> BinaryIO | None:
    """A file to write to where ``path`` is not to be replaced: a pipe, a device, or the name of an
    open file, which goes on where that stands; else None."""
    number = number_of(path)
    if number is not None:
        for stream in (sys.stdout, sys.stderr):  # what was printed before comes first
            with suppress(AttributeError, OSError, ValueError):
                if stream.fileno() == number:
                    stream.flush()
        return os.fdopen(os.dup(number), "wb")
    return open(path, "wb") if is_special(path) else None


def place_of(path: str | os.PathLike[str]) -> Path:
    """The file that ``path`` names, links followed.

    Raises
    ------
    OSError
        For the name of a folder, whether it exists or not, and for links that lead to themselves:
        as ``open`` does.
    """
    name = os.fsdecode(path)
    if os.path.basename(name) in ("", os.curdir, os.pardir):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    place = Path(os.path.realpath(name))
    if place.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    return place


def beside(path: Path) -> tuple[int, str]:
    """(handle, name) of a new file that ``put_in_place`` can move to ``path``."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    # The length of names is limited: a long one is cut.
    scratch = str(path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}"))
    # Not more open than an earlier file. The umask is left to the system: to read it is to
    # change it, for all threads.
    mode = stat.S_IMODE(path.stat().st_mode) & 0o777 if path.exists() else 0o666
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.open(scratch, flags, mode), scratch


def put_in_place(scratch: str, path: Path) -> None:
    """Move a file to ``path``, with the permissions of an earlier one there."""
    if path.exists():
        os.chmod(scratch, stat.S_IMODE(path.stat().st_mode))
    os.replace(scratch, path)


def _write(path: Path, data: bytes) -> None:
    handle, scratch = beside(path)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        put_in_place(scratch, path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the name itself is durable only with its directory
        try:
            directory = os.open(path.parent, os.O_RDONLY)
        except PermissionError:  # it may be written to but not read: the file is there
            return
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
