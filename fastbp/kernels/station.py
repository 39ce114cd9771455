"""Where a thread waits for calls, in compiled code: a call of a few steps is over before a thread
that sleeps has woken and has Python's lock.

A caller leaves the address of its own function, and that of the words of its arguments, which
stay where they are until ``dismiss`` returns. A thread calls the function with a number of its
own, and waits again for a moment. Neither needs Python.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .._jit import kernel
from .arrays import address_of, array_at
from .atomic import HAS_CLOCK, breathe, fetch_add, load, now, store, swap

#: Words of ``sync``, the state of a call, int64, zero at the start; what is written often has a
#: cache line of its own. How many threads have come; whether they are complete.
ARRIVED, DECISION = 0, 8
#: Until when to wait for them, ns; spins after which a waiting thread makes way for others (0:
#: there are more threads than cores); address of the pool's stations, their number, and the least
#: ``HERE`` of those to call; how many threads are done with the call, of how many in all.
DEADLINE, POLITE, STATIONS, N_STATIONS, LEAST, _DONE, SIZE = 9, 10, 11, 12, 13, 14, 15
#: How many have come to barriers; and a line for each thread: the shares claimed of its own, the
#: address of its station (0: not called), and the state in which it was called.
BARRIER, CLAIMED, _PLACE, _TICKET, LINE = 16, 24, 25, 26, 8
#: Words of a station, two cache lines: its state, which is one of those below plus _CALL times a
#: number that each call raises, so that nobody takes a later call for the own one; whether the
#: thread is there; until when it waits at least, ns; function, arguments, number of the thread,
#: ``sync``.
STATE, HERE, UNTIL, _CODE, _BOX, _WORKER, _SYNC, WORDS = 0, 1, 2, 8, 9, 10, 11, 16
#: The thread sleeps; it waits, or is on its way; a caller writes; has called; the thread works.
ASLEEP, READY, _HELD, _CALLED, _TAKEN, KIND, _CALL = 0, 1, 2, 3, 4, 7, 8
#: The thread had not come when a call ended; it has; it was sent for just now.
LATE, CAME, SENT = 0, 1, 2
#: Spins of a thread that waits, where the system has no clock.
_SPINS = 20_000


def _own_call(typingctx):
    """(address of a function of worker and box, address of a box): with them another thread calls
    the function that this one is in, with the same arguments but the first, the worker."""

    def codegen(context, builder, signature, args):
        i32, i64, own = ir.IntType(32), ir.IntType(64), builder.function
        given = own.args[3:]  # after those for result, error and worker
        kind = ir.LiteralStructType([word.type for word in given])
        with builder.goto_entry_block():
            box = builder.alloca(kind)
        for i, word in enumerate(given):
            builder.store(word, builder.gep(box, [i32(0), i32(i)]))
        join = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), [i64, i64]),
                           f"join.{own.name}")
        join.linkage = "internal"
        inside = ir.IRBuilder(join.append_basic_block())
        there = inside.inttoptr(join.args[1], kind.as_pointer())
        words = [inside.load(inside.gep(there, [i32(0), i32(i)])) for i in range(len(given))]
        inside.call(own, [*(inside.alloca(word.type.pointee) for word in own.args[:2]),
                          join.args[0], *words])
        inside.ret_void()
        return cgutils.pack_array(builder, [builder.ptrtoint(join, i64),
                                            builder.ptrtoint(box, i64)])

    return types.UniTuple(types.int64, 2)(), codegen


def _enter(typingctx, code, worker, box):
    """Call what ``own_call`` has made."""

    def codegen(context, builder, signature, args):
        i64 = ir.IntType(64)
        kind = ir.FunctionType(ir.VoidType(), [i64, i64])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


own_call: Any = intrinsic(_own_call)
_enter_there: Any = intrinsic(_enter)


@kernel
def attend(station, linger):
    """Answer the calls of a station, until there is none for ``linger`` ns after another, and
    ``UNTIL`` has passed."""
    until = last = spins = 0
    polite = True
    while True:
        state = load(station, STATE)
        kind = state & KIND
        if state != last:
            last, spins = state, 0
        if kind == _CALLED and swap(station, STATE, state, state - _CALLED + _TAKEN):
            sync = array_at(station[_SYNC], np.int64(0))
            _enter_there(station[_CODE], station[_WORKER], station[_BOX])
            polite = load(sync, POLITE) == 0
            fetch_add(sync, _DONE, 1)  # from here on the caller may be gone
            store(station, UNTIL, 0)
            store(station, STATE, state - _CALLED + READY)
            until = now() + linger
        elif kind == READY:
            if load(station, HERE) != CAME:
                store(station, HERE, CAME)
            spins += 1
            late = now() > max(until, load(station, UNTIL)) if HAS_CLOCK else spins > _SPINS
            if late and swap(station, STATE, state, state - READY + ASLEEP):
                return
        elif kind == ASLEEP:  # what sent for this thread was interrupted
            return
        breathe(polite)


@kernel
def keep(station, until):
    """Whether there is a thread that waits, or is on its way: it does so until then, at least."""
    state = load(station, STATE)
    if state & KIND != READY:
        return False
    store(station, UNTIL, max(until, load(station, UNTIL)))
    # With another number: the thread may just have looked, and be about to leave.
    return swap(station, STATE, state, state + _CALL)


@kernel
def invite(sync, size, code, box):
    """Call the other threads of a team; returns whether there are enough. If not, none comes."""
    found = 0
    for i in range(sync[N_STATIONS]):
        at = sync[STATIONS] + i * WORDS * sync.itemsize
        station = array_at(at, np.int64(0))
        state = load(station, STATE)
        held = state + _CALL - READY + _HELD
        if (found < size - 1 and state & KIND == READY and load(station, HERE) >= sync[LEAST]
                and swap(station, STATE, state, held)):
            found += 1
            station[_CODE], station[_BOX], station[_WORKER] = code, box, found
            station[_SYNC] = address_of(sync)
            line = LINE * found
            sync[_PLACE + line], sync[_TICKET + line] = at, held - _HELD + _CALLED
    for worker in range(1, found + 1):
        line = LINE * worker
        station, called = array_at(sync[_PLACE + line], np.int64(0)), sync[_TICKET + line]
        if found == size - 1:
            store(station, STATE, called)
        else:
            sync[_PLACE + line] = 0
            store(station, STATE, called - _CALLED + READY)
    return found == size - 1


@kernel
def dismiss(worker, sync):
    """The end of worker 0's function: call off those who have not come, wait for the others."""
    if worker > 0 or sync[SIZE] < 2:
        return
    left = spins = 0
    for other in range(1, sync[SIZE]):
        at, called = sync[_PLACE + LINE * other], sync[_TICKET + LINE * other]
        if at != 0:
            station = array_at(at, np.int64(0))
            if swap(station, STATE, called, called - _CALLED + READY):
                store(station, HERE, LATE)  # if it waits there after all, it says so
            else:
                left += 1
    while load(sync, _DONE) < left:
        breathe(spins >= load(sync, POLITE))
        spins += 1
