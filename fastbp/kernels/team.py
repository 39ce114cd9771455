"""A team of threads: start together, share out blocks, wait at barriers.

Two launches of a parallel region in each step would cost 3 us; a team is launched once for
many steps, and a barrier costs a tenth of that. Shares are claimed one by one, so a core that
other work delays takes fewer; no result depends on which thread took which share.

The threads are Python's, with the GIL released: a team works in forked children, beside
other teams and without any threading layer, and its code is compiled once, not again for
a parallel region.

All state is in ``sync``, int64, zero at the start, with a cache line for each counter.
Counters only grow, so nothing is reset between phases.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Barrier, Lock
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .._jit import DISABLED, kernel
from ..interrupts import held
from .lanes import call_llvm
from .vectors import ARM, X86

#: Offsets in ``sync``: a cache line each, and from _CLAIMED on one for each thread; its words. In
#: the second line are also two numbers that are written before the team starts.
_ARRIVED, _DECISION, _DEADLINE, _POLITE, _BARRIER, _CLAIMED, _LINE = 0, 8, 9, 10, 16, 24, 8
_TOGETHER, _ALONE = 1, 2
#: Threads whose shares a thread may claim, its own included: with all of them, too many claims
#: would fail on large machines.
_HELPED = 8
#: Seconds before an incomplete team gives up and one thread does everything: as long as that
#: takes, by the multiply-adds of a second, but at least as long as threads need to wake on cores
#: of their own, and at most _PATIENCE. Spins, where the system has no such clock.
_WAKING, _PATIENCE, _RATE, _SPINS = 0.3e-3, 10e-3, 5e10, 200_000
#: Spins at a barrier before a thread yields its core, if each has one.
_OWN_CORE = 4_000


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


def _fetch_add(typingctx, sync, index, value):
    """Add ``value`` to sync[index] atomically; returns the value before."""

    def codegen(context, builder, signature, args):
        at = _pointer(context, builder, signature.args[0], args[0], args[1])
        return builder.atomic_rmw("add", at, args[2], "seq_cst")

    return types.int64(sync, types.int64, types.int64), codegen


def _decide(typingctx, sync, index, value):
    """Set sync[index] to ``value`` if it is 0, atomically; returns the value after."""

    def codegen(context, builder, signature, args):
        at = _pointer(context, builder, signature.args[0], args[0], args[1])
        zero = ir.Constant(ir.IntType(64), 0)
        found = builder.cmpxchg(at, zero, args[2], "seq_cst", "seq_cst")
        return builder.select(builder.extract_value(found, 1), args[2],
                              builder.extract_value(found, 0))

    return types.int64(sync, types.int64, types.int64), codegen


def _load(typingctx, sync, index):
    """sync[index] as other threads last stored it."""

    def codegen(context, builder, signature, args):
        at = _pointer(context, builder, signature.args[0], args[0], args[1])
        return builder.load_atomic(at, "acquire", 8)

    return types.int64(sync, types.int64), codegen


def _breathe(typingctx, polite):
    """Hint to the core that this is a spin loop; if ``polite``, yield to other threads."""

    def codegen(context, builder, signature, args):
        void, i32 = ir.VoidType(), ir.IntType(32)
        if X86:
            call_llvm(builder, "llvm.x86.sse2.pause", void)
        elif ARM:
            call_llvm(builder, "llvm.aarch64.hint", void, i32(1))
        if sys.platform != "win32":
            with builder.if_then(args[0]):
                call_llvm(builder, "sched_yield", i32)
        return context.get_dummy_value()

    return types.void(types.boolean), codegen


def _now(typingctx):
    """Nanoseconds of ``CLOCK_MONOTONIC``; 0 where there is none."""

    def codegen(context, builder, signature, args):
        i32, i64 = ir.IntType(32), ir.IntType(64)
        if not _HAS_CLOCK:
            return i64(0)
        parts = cgutils.alloca_once(builder, ir.ArrayType(i64, 2))  # seconds, nanoseconds
        first = builder.gep(parts, [i32(0), i32(0)])
        call_llvm(builder, "clock_gettime", i32, i32(time.CLOCK_MONOTONIC), first)
        second = builder.load(builder.gep(parts, [i32(0), i32(1)]))
        return builder.add(builder.mul(builder.load(first), i64(10**9)), second)

    return types.int64(), codegen


_HAS_CLOCK = hasattr(time, "CLOCK_MONOTONIC")
fetch_add: Any = intrinsic(_fetch_add)
decide: Any = intrinsic(_decide)
load: Any = intrinsic(_load)
breathe: Any = intrinsic(_breathe)
now: Any = intrinsic(_now)


@kernel
def assemble(worker, sync, size):
    """Whether all ``size`` threads are running. All get the same answer.

    A thread delayed by other work may start late or never; waiting for it could last
    forever. If the answer is no, thread 0 does everything. The others may have one core for all
    of them, so they make way for each other.
    """
    if size == 1:
        return True
    fetch_add(sync, _ARRIVED, 1)
    spins, deadline = 0, load(sync, _DEADLINE)
    while load(sync, _ARRIVED) < size and load(sync, _DECISION) == 0:
        breathe(worker > 0)
        spins += 1
        if now() > deadline or (deadline == 0 and spins > _SPINS):
            return decide(sync, _DECISION, _ALONE) == _TOGETHER
    return decide(sync, _DECISION, _TOGETHER) == _TOGETHER


@kernel
def barrier(sync, size, meeting):
    """Wait until all ``size`` threads have reached barrier number ``meeting`` (from 1)."""
    if size == 1:
        return
    fetch_add(sync, _BARRIER, 1)
    spins = 0
    while load(sync, _BARRIER) < size * meeting:
        breathe(spins >= load(sync, _POLITE))
        spins += 1


@kernel
def claims(shares, size):
    """By how much the claims of a phase advance each thread's counter; 0 for one thread."""
    if size == 1:
        return 0
    return (shares + size - 1) // size + min(size, _HELPED)


@kernel
def claim(worker, size, sync, base, shares, turn):
    """(the next share of a phase, or ``shares`` if none is left; the turn to pass next).

    A thread first takes its own run of shares, the same in each step: what it wrote there is
    still in its cache. Then it helps the threads after it. ``turn`` is 0 at first. The counters
    of the phase start at ``base``, those of the next phase at base + claims(shares, size): a
    thread claims from its own counter, then from that of each thread it helps, until one claim
    fails.
    """
    if size == 1:
        return min(turn, shares), turn + 1
    run = (shares + size - 1) // size
    while turn < min(size, _HELPED):
        owner = (worker + turn) % size
        at = fetch_add(sync, _CLAIMED + _LINE * owner, 1) - base
        if at >= run:
            turn += 1
        elif owner * run + at < shares:
            return owner * run + at, turn
    return shares, turn


def cores() -> list[int]:
    """Numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


@functools.cache
def _core_of_caller() -> Callable[[], int] | None:
    """The system's function that returns the core of the calling thread, where there is one."""
    return getattr(ctypes.CDLL(None), "sched_getcpu", None) if sys.platform == "linux" else None


class _Pool(ThreadPoolExecutor):
    """Threads that keep off the core of their caller.

    Linux may wake a thread on the core of the thread that wakes it. There it waits for a few ms,
    longer than its patience, while the caller spins and then does everything alone.
    """

    def __init__(self, n_threads: int) -> None:
        super().__init__(n_threads, thread_name_prefix="fastbp")
        self.size, self._calls, self._lock, self._told = n_threads, 0, Lock(), (-1, [-1])
        self.late = list[Future[Any]]()  # of the last call, if it did not wait for them
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
        with self._lock:
            if self._calls == 0:
                self._make_way()
            self._calls += 1
        try:
            yield
        finally:
            with self._lock:
                self._calls -= 1

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
_NO_ONE = np.zeros(_CLAIMED + _LINE, np.int64)


def _pool(n_threads: int) -> _Pool:
    """This process's threads, at least ``n_threads``; a forked child starts its own."""
    with _lock:
        pool = _pools.get(os.getpid())
        if pool is None or pool.size < n_threads:
            pool = _pools[os.getpid()] = _Pool(n_threads)
        return pool


def launch(function: Callable[..., Any], size: int, work: float, *args: Any) -> Any:
    """Call ``function(worker, size, sync, *args)`` in ``size`` threads at once.

    The caller is thread 0, whose result is returned. ``work`` is the number of multiply-adds of
    the call: it tells how long to wait for the other threads. One that comes too late finds that
    nothing is left to do; it is not waited for, and until it has come short calls do without. So
    do all calls where no threads can be had: beyond a limit, or as the interpreter ends.
    """
    if size == 1 or DISABLED:
        return function(0, 1, _NO_ONE, *args)
    sync = np.zeros(_CLAIMED + _LINE * size, np.int64)
    sync[_POLITE] = _OWN_CORE if size <= len(cores()) else 0
    patience = min(max(work / _RATE, _WAKING), _PATIENCE)
    if _HAS_CLOCK:
        sync[_DEADLINE] = time.clock_gettime_ns(time.CLOCK_MONOTONIC) + int(patience * 1e9)
    try:
        pool = _pool(size - 1)
    except RuntimeError:
        pool = None
    if pool is None or (patience < _PATIENCE and not all(one.done() for one in pool.late)):
        sync[_DECISION] = _ALONE
        return function(0, size, sync, *args)
    with pool.calling():
        others = list[Future[Any]]()
        try:
            for worker in range(1, size):
                others.append(pool.submit(function, worker, size, sync, *args))
        except RuntimeError:  # those before it cannot have begun: the team is incomplete
            sync[_DECISION] = _ALONE
        try:
            return function(0, size, sync, *args)
        finally:
            if sync[_DECISION] == _ALONE:
                pool.late = others
            else:
                for other in others:
                    other.result()
