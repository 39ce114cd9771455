"""The private cache of compiled kernels: any fault in it costs a recompilation, never an error."""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import platform
import re
import stat
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
from numba import config
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from ._compiler import rebuild
from ._warning import warn

#: Seconds until a folder that nobody uses is removed, and until the time of use is noted again.
_OLD, _FRESH = 90 * 86400, 86400
#: Names of folders here, and of the files in them.
_FOLDER = re.compile(r"[0-9a-f]{20}")
_ENTRY = re.compile(r".+-[0-9a-f]{32}(\.\d+-\d+\.tmp)?")
#: Not empty once ``_warn`` has been called.
_warned: list[bool] = []


@functools.cache
def cache_dir() -> Path | None:
    """Private directory for this version of the sources, Numba and CPU, or None.

    ``FASTBP_CACHE_DIR`` moves its parent; an empty value turns caching off.
    """
    found = _find()
    return found if isinstance(found, Path) else None


def _warn() -> None:
    """Warn, once, if there is no folder where there should be one."""
    if _warned:
        return
    _warned.append(True)  # first: the warning may be an error
    found = _find()
    if isinstance(found, str):
        warn(f"every process compiles its kernels anew: {found}; set FASTBP_CACHE_DIR to a folder "
             "of your own, or to nothing if that is wanted", RuntimeWarning)


def _find() -> Path | str | None:
    """The folder, or why it cannot be used; None if there is to be none."""
    parent = os.environ.get("FASTBP_CACHE_DIR")
    if parent == "":
        return None
    if parent is None:
        base = os.environ.get("XDG_CACHE_HOME", "")
        if not os.path.isabs(base):  # its specification: to be ignored
            base = os.path.join(os.path.expanduser("~"), ".cache")
        if not os.path.isabs(base):  # of a user without a home: it would be in whatever folder
            return f"there is no home for {base}"
        parent = os.path.join(base, "fastbp")
    elif (parent := os.path.expanduser(parent)).startswith("~"):
        return f"there is no home for {parent}"
    digest = hashlib.sha256()
    root = Path(__file__).parent
    try:
        sources = {path: path.read_bytes() for path in sorted(root.rglob("*.py"))}
    except OSError:  # an editor's lock among them is a link to nowhere
        return None
    if not sources:  # in an archive: no name would tell one version from the next
        return None
    for source, text in sources.items():
        digest.update(str(source.relative_to(root)).encode() + b"\0" + text)
    import llvmlite
    import llvmlite.binding as llvm

    host = (numba.__version__, sys.version, platform.machine(), llvm.get_host_cpu_name(),
            llvm.get_host_cpu_features().flatten(), str(config.CPU_NAME), str(config.OPT),
            config.BOUNDSCHECK, config.LOOP_VECTORIZE, config.SLP_VECTORIZE,
            config.DEBUGINFO_DEFAULT, config.USING_SVML, llvmlite.__version__,
            os.environ.get("FASTBP_ISA"))
    digest.update(repr(host).encode())
    path = Path(parent).absolute() / digest.hexdigest()[:20]
    try:
        new = not path.exists()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = path.stat()
        # Entries are code that this process runs: nobody else may write them.
        foreign = hasattr(os, "getuid") and info.st_uid != os.getuid()
        if foreign or (os.name == "posix" and stat.S_IMODE(info.st_mode) & 0o022):
            return f"{path} belongs to another user, or others may write to it"
    except OSError as error:
        return f"{path} cannot be made ({error.strerror})"
    with suppress(OSError):
        if time.time() - info.st_mtime > _FRESH:
            os.utime(path)
        if new:
            _prune(path.parent)
    return path


def _prune(parent: Path) -> None:
    """Remove folders of other versions, with nothing but kernels in them, that are not in use."""
    for folder in parent.iterdir():
        if not _FOLDER.fullmatch(folder.name) or folder.is_symlink():
            continue
        with suppress(OSError):
            entries = [*folder.iterdir()]
            if (time.time() - folder.stat().st_mtime > _OLD
                    and all(_ENTRY.fullmatch(entry.name) for entry in entries)):
                for entry in entries:
                    entry.unlink()
                folder.rmdir()


class KernelCache(_Cache):  # type: ignore[misc]
    """One checked file per function, options and signature.

    Numba's own cache leaves compile options out of its key, trusts file times, and
    raises on a damaged file. Here the directory's name is a hash of the sources, and a SHA-256
    in front of the data turns damage into a miss.
    """

    def __init__(self, func: Callable[..., Any], options: dict[str, Any]) -> None:
        if func.__closure__:
            raise TypeError(f"{func.__qualname__} closes over variables: two such kernels "
                            "would share one cache entry")
        self._name = func.__name__
        flags = sorted((k, sorted(v) if isinstance(v, (set, frozenset)) else v)
                       for k, v in options.items())
        self._identity = f"{func.__module__}.{func.__qualname__}:{flags}"
        self._enabled = True

    @property
    def cache_path(self) -> str | None:
        """Directory of the entries; None without a cache."""
        path = cache_dir()
        return None if path is None else str(path)

    def enable(self) -> None:
        """Read and write from now on."""
        self._enabled = True

    def disable(self) -> None:
        """Neither read nor write from now on."""
        self._enabled = False

    def flush(self) -> None:
        """Delete the kernel's entries."""
        path = cache_dir()
        for entry in path.glob(f"{self._name}-*") if path else ():
            entry.unlink(missing_ok=True)

    def _file(self, sig: Any, codegen: Any) -> Path | None:
        path = cache_dir()
        if path is None or not self._enabled:
            return None
        key = f"{self._identity}|{sig}|{codegen.magic_tuple()}"
        return path / f"{self._name}-{hashlib.sha256(key.encode()).hexdigest()[:32]}"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What has been compiled for ``sig``, or None."""
        file = self._file(sig, target_context.codegen())
        if file is None:
            if self._enabled:
                _warn()
            return None
        try:
            data = file.read_bytes()
            if hashlib.sha256(data[32:]).digest() != data[:32]:
                return None
            if b"NRT_" in data:  # needs Numba's runtime, which takes half a second to set up
                target_context.refresh()
            return self._rebuild(target_context, pickle.loads(data[32:]))
        except Exception:  # whatever is wrong with a cache entry, compiling again is right
            return None

    def _rebuild(self, target_context: Any, parts: tuple[Any, ...]) -> Any:
        return CompileResult._rebuild(target_context, *parts)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what has been compiled for ``sig``, if it can be cached."""
        file = self._file(sig, data.codegen)
        if file is None or data.library.has_dynamic_globals or data.lifted:
            return
        payload = dumps(data._reduce())
        scratch = f"{file}.{os.getpid()}-{threading.get_ident()}.tmp"
        try:
            with open(scratch, "xb") as out:
                out.write(hashlib.sha256(payload).digest() + payload)
            os.replace(scratch, file)
        except OSError:
            with suppress(OSError):  # a read-only file system refuses this, too
                Path(scratch).unlink(missing_ok=True)


class LazyCache(KernelCache):
    """Cache of kernels that other kernels call."""

    def __init__(self, func: Callable[..., Any], options: dict[str, Any]) -> None:
        super().__init__(func, options)
        self._identity += ":lazy"

    def _rebuild(self, target_context: Any, parts: tuple[Any, ...]) -> Any:
        return rebuild(target_context, parts)
