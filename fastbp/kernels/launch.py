"""The threads of a team, and how a call gets them.

They are Python's, with the GIL released: a team works in forked children, beside other teams and
without any threading layer, and its code is compiled once, not again for a parallel region.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Barrier, Lock, get_ident
from typing import Any

import numpy as np

from .._jit import DISABLED
from ..interrupts import held
from . import station
from .atomic import HAS_CLOCK
from .station import ASLEEP, KIND, READY
from .vectors import aligned_zeros

#: Seconds before an incomplete team gives up and one thread does everything: as long as that
#: takes, by the multiply-adds of a second, but at least as long as threads need to wake on cores
#: of their own, and at most _PATIENCE.
_WAKING, _PATIENCE, _RATE = 0.3e-3, 10e-3, 5e10
#: How long a thread waits for the next call before it sleeps, in ns.
_LINGER = 200_000
#: Spins at a barrier before a thread yields its core, if each has one.
_OWN_CORE = 4_000


def cores() -> list[int]:
    """Numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


@functools.cache
def _core_of_caller() -> Callable[[], int] | None:
    """The system's function that returns the core of the calling thread, where there is one."""
    return getattr(ctypes.CDLL(None), "sched_getcpu", None) if sys.platform == "linux" else None


def compile_station() -> None:
    """Compile what threads run between calls."""
    one = np.full(station.WORDS, READY)  # with READY for UNTIL, too: that has passed
    station.attend(one, 0)
    station.keep(one, 0)


class _Pool(ThreadPoolExecutor):
    """Threads with a station each, where they answer calls, and that keep off the caller's core.

    Linux may wake a thread on the core of the thread that wakes it. There it waits for a few ms,
    longer than its patience, while the caller spins and then does everything alone.
    """

    def __init__(self, n_threads: int) -> None:
        super().__init__(n_threads, thread_name_prefix="fastbp")
        self.size, self._lock, self._told = n_threads, Lock(), (-1, [-1])
        self._callers = set[int]()
        places = aligned_zeros(n_threads * station.WORDS, np.dtype(np.int64))
        self.address = places.ctypes.data
        self.stations = [*places.reshape(n_threads, station.WORDS)]
        compile_station()  # before a call waits for it
        started = Barrier(n_threads + 1)
        with held():  # a thread left waiting would keep the process from exiting
            try:
                for _ in range(n_threads):
                    self.submit(started.wait)
            except RuntimeError:  # no more threads available: release those that wait
                started.abort()
                raise
            started.wait()

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Context of a call; one beside others leaves the threads on the cores they have."""
        own = get_ident()
        try:
            with self._lock:
                if self._callers <= {own}:  # left there by an interrupt
                    self._make_way()
                self._callers.add(own)
            yield
        finally:
            with self._lock:
                self._callers.discard(own)

    def wake(self, count: int, until: int, least: int) -> None:
        """Have ``count`` threads at their stations, or on the way there, where they wait until
        then; late ones do not count if ``least`` is more than LATE.

        Raises
        ------
        RuntimeError
            If no thread can be sent any more, as the interpreter ends.
        """
        with self._lock:  # each is sent once
            for one in self.stations:
                kept = station.keep(one, until)
                state = int(one[station.STATE])
                if not kept and state & KIND == ASLEEP:
                    self._send(one, state, until)
                elif not kept or one[station.HERE] < least:
                    continue
                count -= 1
                if count == 0:
                    return

    def _send(self, one: Any, state: int, until: int) -> None:
        with held():  # an interrupt within ``submit`` could leave a lock of it locked for ever
            try:
                one[station.HERE], one[station.UNTIL] = station.SENT, until
                one[station.STATE] = state - ASLEEP + READY
                self.submit(station.attend, one, _LINGER)
            except BaseException:
                one[station.STATE] = state
                raise

    def _make_way(self) -> None:
        core_of_caller = _core_of_caller()
        if core_of_caller is None:
            return
        here, places = core_of_caller(), cores()
        if (here, places) == self._told:
            return
        self._told = here, places
        others = set(places) - {here} or set(places)
        for number in (thread.native_id for thread in self._threads):
            with suppress(OSError):  # may be forbidden, and only affects speed
                os.sched_setaffinity(number, others)  # type: ignore[arg-type]


_pools: dict[int, _Pool] = {}
_lock = Lock()


def _forked() -> None:
    """Another thread may have held the lock when this process was forked, and is not here."""
    global _lock
    _lock = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
#: ``sync`` of one thread, which waits for none.
_NO_ONE = np.zeros(station.CLAIMED + station.LINE, np.int64)


def _pool(n_threads: int) -> _Pool:
    """This process's threads, at least ``n_threads``; a forked child starts its own."""
    with _lock:
        pool = _pools.get(os.getpid())
        if pool is None or pool.size < n_threads:
            pool = _pools[os.getpid()] = _Pool(n_threads)
        return pool


def launch(function: Callable[..., Any], size: int, work: float, *args: Any) -> Any:
    """Call ``function(worker, size, sync, *args)`` in ``size`` threads at once.

    It begins with ``assemble`` and ends with ``dismiss``. The caller is thread 0, whose result is
    returned. ``work`` is the number of multiply-adds of the call: it tells how long to wait for
    the other threads. One that comes too late is called off, and until it has come short calls do
    without. So do all calls where no threads can be had: beyond a limit, beside another call that
    has them, or as the interpreter ends.
    """
    if size == 1 or DISABLED:
        return function(0, 1, _NO_ONE, *args)
    sync = np.zeros(station.CLAIMED + station.LINE * size, np.int64)
    sync[station.SIZE] = size
    sync[station.POLITE] = _OWN_CORE if size <= len(cores()) else 0
    patience, until = int(1e9 * min(max(work / _RATE, _WAKING), _PATIENCE)), 0
    if HAS_CLOCK:
        until = time.clock_gettime_ns(time.CLOCK_MONOTONIC) + patience
    sync[station.DEADLINE] = until
    try:
        pool = _pool(size - 1)
    except RuntimeError:
        return function(0, size, sync, *args)  # without stations
    with pool.calling():
        sync[station.LEAST] = station.CAME if patience < 1e9 * _PATIENCE else station.LATE
        with suppress(RuntimeError):  # those sent before have come in vain
            pool.wake(size - 1, until, int(sync[station.LEAST]))
        sync[station.STATIONS], sync[station.N_STATIONS] = pool.address, pool.size
        return function(0, size, sync, *args)
