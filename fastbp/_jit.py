"""The only file that uses ``njit``: decorators, threading layer, fork guard.

Contract
--------
* ``kernel`` compiles a serial function; ``driver`` compiles one body twice, with
  ``prange`` over threads and without, and picks at each call.
* Nothing here compiles, starts threads or writes to disk at import.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import config, prange
from numba.core.dispatcher import Dispatcher
from numba.core.errors import NumbaError as CompileError
from numba.extending import overload

from ._cache import KernelCache, LazyCache
from ._cgroup import within_quota
from ._compiler import Compiler, LazyDispatcher, machine_code
from ._warning import warn

__all__ = ["CONTRACT", "DISABLED", "CompileError", "Driver", "by_dtype", "compile_user", "driver",
           "entry_point", "kernel", "prange", "thread_count", "uncached_kernel"]

#: The only fast-math flags in use: fused multiply-add. With ``reassoc`` a vector loop and
#: its tail could differ, with ``nnan`` and ``ninf`` isnan would give wrong answers.
CONTRACT = frozenset({"contract"})
#: True under ``NUMBA_DISABLE_JIT=1``: every kernel is then plain Python.
DISABLED = bool(config.DISABLE_JIT)
#: Whether the user has set the largest number of threads, if only to the number of cores.
_CHOSEN = "NUMBA_NUM_THREADS" in os.environ


# --- dispatchers --------------------------------------------------------------------


_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False,
                            "no_cfunc_wrapper": True}


def _compile(func: Callable[..., Any], **options: Any) -> Any:
    """A dispatcher for calls from Python."""
    if DISABLED:
        return func
    dispatcher = numba.njit(pipeline_class=Compiler, **_OPTIONS, **options)(func)
    dispatcher._cache = KernelCache(func, options)
    return dispatcher


def _compile_lazily(func: Callable[..., Any], **options: Any) -> Any:
    """A dispatcher for calls from compiled code, and from Python by a twin."""
    if DISABLED:
        return func
    dispatcher = LazyDispatcher(func, targetoptions={
        "nopython": True, "no_cpython_wrapper": True, **_OPTIONS, **options})
    dispatcher.make_twin = functools.partial(_compile, func, **options)
    dispatcher._cache = LazyCache(func, options)
    return dispatcher


def entry_point(dispatcher: Any, argtypes: tuple[Any, ...]) -> int:
    """Address of a kernel's machine code for these Numba types, to call as in ``_convention``.

    It is valid as long as the dispatcher lives, in this process.
    """
    dispatcher.compile(argtypes)
    compiled = dispatcher.overloads[argtypes]
    address, fresh = machine_code(compiled)
    if fresh:
        dispatcher._cache.save_overload(argtypes, compiled)
    return address


# --- decorators ---------------------------------------------------------------------


def kernel(func: Any = None, *, fastmath: frozenset[str] = frozenset(),
           inline: bool = False, forceinline: bool = False, cold: bool = False,
           interleave: int = 0, lanes: int = 0) -> Any:
    """Compile a serial kernel: no exceptions, no allocation, only valid indices (unchecked).

    ``inline`` copies the body into each caller before LLVM sees it: for thin functions
    between kernels, which then compile faster, and for those that return a view of an array.
    ``forceinline`` has LLVM inline it whatever its size: a loop with a call stays scalar.
    ``cold`` keeps it out of line, so that what its callers do in each step has the registers.
    ``interleave`` has its loops compute so many vectors side by side: of long bodies LLVM would
    take one, and a core would wait for each operation of a chain.
    ``lanes`` is the number of elements in such a vector, where LLVM would take as many as a
    register holds of the loop's widest type. LLVM warns of a loop that it cannot vectorise so.
    """
    if func is None:
        return functools.partial(kernel, fastmath=fastmath, inline=inline,
                                 forceinline=forceinline, cold=cold, interleave=interleave,
                                 lanes=lanes)
    hints = {"interleave.count": interleave, "vectorize.width": lanes}
    func.cold, func.loop_hints = cold, {name: value for name, value in hints.items() if value}
    if not fastmath <= CONTRACT:
        raise ValueError(f"fastmath={set(fastmath)} is not within {set(CONTRACT)}")
    options: dict[str, Any] = {"inline": "always"} if inline else {}
    if forceinline:
        options["forceinline"] = True
    return _compile_lazily(func, **options, **({"fastmath": set(fastmath)} if fastmath else {}))


def uncached_kernel(func: Callable[..., Any]) -> Any:
    """Compile a kernel that may close over other functions, a user's own among them.

    It may allocate, and is not cached: a cache could not tell one closure from another.
    """
    if DISABLED:
        return func
    return numba.njit(nogil=True, error_model="numpy")(func)


def compile_user(func: Callable[..., Any]) -> Any:
    """A user's function compiled, for calls from kernels; a compiled one is returned unchanged."""
    return func if isinstance(func, Dispatcher) else uncached_kernel(func)


class Driver:
    """One body compiled with and without threads; each call picks the one that is safe."""

    def __init__(self, func: Callable[..., Any]) -> None:
        functools.update_wrapper(self, func)
        self.serial = _compile(func)
        self.parallel = _compile(func, parallel=True)

    def __call__(self, *args: Any) -> Any:
        return (self.parallel if parallel_allowed() else self.serial)(*args)


def driver(func: Callable[..., Any]) -> Driver:
    """Compile a function whose ``prange`` loops run over threads where that is safe."""
    return Driver(func)


def by_dtype(float32: Callable[..., Any], float64: Callable[..., Any]) -> Any:
    """Make one function of two kernels, chosen by the dtype of the first argument."""

    def choose(x):  # overload compares bare signatures: no hints
        return (float32 if isinstance(x, np.float32) else float64)(x)

    if DISABLED:
        return choose

    def typed(x):
        if x == numba.types.float32:
            return lambda x: float32(x)
        if x == numba.types.float64:
            return lambda x: float64(x)
        return None

    overload(choose, jit_options={"forceinline": True})(typed)  # else loops stay scalar
    return choose


# --- threads ------------------------------------------------------------------------

_forked = False


def _mark_forked() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark_forked)


def _has_layer(name: str) -> bool:
    if importlib.util.find_spec(f"numba.np.ufunc.{name}pool") is None:
        return False
    try:
        importlib.import_module(f"numba.np.ufunc.{name}pool")
    except ImportError:
        return False
    return True


def _preload_tbb() -> None:
    """Load pip's tbb, which is in the environment's lib/, where the loader does not look."""
    library = Path(sys.prefix) / "lib" / "libtbb.so.12"
    if sys.platform == "linux" and library.exists():
        try:
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            warn(f"{library} cannot be loaded: {error}", RuntimeWarning)


@functools.cache
def threading_layer() -> str:
    """Name of the layer that Numba uses or would use: tbb, omp or workqueue."""
    try:
        return numba.threading_layer()
    except ValueError:  # no parallel region has run yet
        pass
    wanted = str(config.THREADING_LAYER).lower()
    if wanted in ("tbb", "omp", "workqueue"):
        order = [wanted]
    else:
        order = {"safe": ["tbb"], "forksafe": ["tbb", "workqueue"],
                 "threadsafe": ["tbb", "omp"]}.get(wanted, list(config.THREADING_LAYER_PRIORITY))
    if "tbb" in order and (order == ["tbb"] or not _has_layer("omp")):
        _preload_tbb()
    for name in order:
        if name == "workqueue" or _has_layer(name):
            return name
    return "workqueue"


def parallel_allowed() -> bool:
    """Whether a parallel region may start here.

    Not in a forked child (GNU OpenMP kills it), and not on workqueue (two Python
    threads that launch at the same time abort the process, and a launch costs 125 us). The
    serial twin runs the same blocks in the same order and gives the same bits.
    """
    return not _forked and not DISABLED and threading_layer() != "workqueue"


def thread_count(n_threads: int | None) -> int:
    """Threads to use: at most ``n_threads`` and at most ``NUMBA_NUM_THREADS``.

    With neither set by the user, one a core, or as many as the CPU quota of a container allows.
    """
    limit = int(config.NUMBA_NUM_THREADS)
    if n_threads is not None:
        return max(1, min(n_threads, limit))
    chosen = _CHOSEN or limit != config.NUMBA_DEFAULT_NUM_THREADS
    return limit if chosen else within_quota(limit)
