"""A team of threads: start together, share out blocks, wait at barriers.

Two launches of a parallel region in each step would cost 3 us; a team is launched once for
many steps, and a barrier costs a tenth of that. Shares are claimed one by one, so a core that
other work delays takes fewer; no result depends on which thread took which share.

All state is in ``sync`` (see ``station``). Its counters only grow, so nothing is reset between
phases.
"""

from __future__ import annotations

from .._jit import kernel
from .atomic import breathe, decide, fetch_add, load, now
from .station import (
    ARRIVED,
    BARRIER,
    CLAIMED,
    DEADLINE,
    DECISION,
    LINE,
    POLITE,
    dismiss,
    invite,
    own_call,
)

__all__ = ["assemble", "barrier", "claim", "claims", "dismiss"]

_TOGETHER, _ALONE = 1, 2
#: Threads whose shares a thread may claim, its own included: with all of them, too many claims
#: would fail on large machines.
_HELPED = 8
#: Spins before an incomplete team gives up, where the system has no clock.
_SPINS = 200_000


@kernel(inline=True)
def assemble(worker, sync, size):
    """Whether all ``size`` threads are running. All get the same answer.

    Worker 0 calls the others, for the function that this is inlined in; before it returns it
    calls ``dismiss``. A thread delayed by other work may start late or never; waiting for it could
    last forever. If the answer is no, thread 0 does everything.
    """
    if worker == 0 and size > 1:
        code, box = own_call()
        if not invite(sync, size, code, box):
            decide(sync, DECISION, _ALONE)
    return _complete(worker, sync, size)


@kernel
def _complete(worker, sync, size):
    if size == 1:
        return True
    fetch_add(sync, ARRIVED, 1)
    spins, deadline = 0, load(sync, DEADLINE)
    while load(sync, ARRIVED) < size and load(sync, DECISION) == 0:
        breathe(worker > 0)  # they may have one core for all of them
        spins += 1
        if now() > deadline or (deadline == 0 and spins > _SPINS):
            return decide(sync, DECISION, _ALONE) == _TOGETHER
    return decide(sync, DECISION, _TOGETHER) == _TOGETHER


@kernel
def barrier(sync, size, meeting):
    """Wait until all ``size`` threads have reached barrier number ``meeting`` (from 1)."""
    if size == 1:
        return
    fetch_add(sync, BARRIER, 1)
    spins = 0
    while load(sync, BARRIER) < size * meeting:
        breathe(spins >= load(sync, POLITE))
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
        at = fetch_add(sync, CLAIMED + LINE * owner, 1) - base
        if at >= run:
            turn += 1
        elif owner * run + at < shares:
            return owner * run + at, turn
    return shares, turn
