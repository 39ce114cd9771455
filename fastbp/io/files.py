"""Files written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write beside ``path``, then move over it: no moment without a whole file.

    An earlier file's permissions stay, and a link goes on pointing to the file. A pipe or a
    device takes the data as it is.

    Raises
    ------
    OSError
        If the file cannot be written; an earlier one stays as it was.
    """
    path = os.fsdecode(path)
    try:
        if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
            with open(path, "wb") as out:  # no file that could be replaced
                out.write(data)
            return
        path = os.path.realpath(path)
        _write(Path(path), data)
    except OSError as error:  # it may name the scratch file, or none
        raise OSError(error.errno, error.strerror or str(error), path) from error


def _write(path: Path, data: bytes) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~_umask()
    # Names have a limit: of a long one the beginning.
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(scratch, mode)
        os.replace(scratch, path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the name itself is durable only with its directory
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
