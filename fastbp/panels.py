"""Parameters as the threads of a team own them: a thread's columns of a layer each, or all.

A row of W' has the columns of all threads side by side. Where each thread reads and corrects its
own, the hardware, which fetches what lies ahead, goes on taking cache lines that another core
writes: the weights change cores in every step, though no thread asks for more than its part. So
while a team trains, each thread's columns lie in one piece:

    w[i, j]   from   param + i ld + j   to   param + (j / width) panel + i ld_param + j % width

Optimizer state, averages, and gradients that are needed as a whole lie as parameters do. All but
gradients are carried over at the start of a call of the engine and back at its end, by the thread
that owns them; what a number is does not depend on where it lies.

Of few parameters under shards each thread has a copy, of all that lies as they do and of mirrors,
and takes every update itself. Gradients of shards are then all that changes hands in a step, and
threads meet once in it: none reads weights that another core has just written, or waits for them.
While one still reads those gradients the next step may begin in another: they, and errors of rows,
have two places by turns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._jit import kernel
from ._validation import Array
from .kernels.arrays import span
from .kernels.copy import copy_row
from .kernels.split import STRETCH
from .kernels.vectors import VECTOR_BYTES, pad, row_length

#: A block of parameters, ``rows`` of ``columns``: from ``home`` on in rows of ``ld_home`` as the
#: network has it, from ``own`` on in rows of ``ld_own`` as thread ``owner`` does; EACH does.
MOVE = np.dtype([(name, np.int64) for name in (
    "home", "own", "rows", "columns", "ld_home", "ld_own", "owner")])
EACH = -1


def panel_width(n_out: int, dtype: np.dtype[Any], n_threads: int, square: bool = False) -> int:
    """Columns of a panel where each of ``n_threads`` has one; 0 where they cannot be cut so.

    Whole vectors, two at least, as narrower products are slow, or whole stretches of terms where
    these are multiplied on matrix tiles (``square``); and where that is a seventh more than an
    even share of all vectors, at most.
    """
    lanes, columns = VECTOR_BYTES // dtype.itemsize, pad(n_out, dtype)
    step = STRETCH if square else lanes
    width = -(-n_out // (n_threads * step)) * step
    even = 7 * width * n_threads <= 8 * columns and width * (n_threads - 1) < n_out
    return width if even and width >= 2 * lanes else 0


def cut_parameters(ops: Array, offsets: Array, sizes: Array,
                   dtype: np.dtype[Any]) -> tuple[Array, int]:
    """Move the parameters of ``ops`` to where threads own them.

    Parameters
    ----------
    ops : ndarray
        Those with ``width`` are cut; ``param``, ``panel`` and ``ld_param`` are set.
    offsets, sizes : ndarray
        Places and lengths of the parameters of each op in the network.
    dtype : dtype

    Returns
    -------
    moves : ndarray
        For ``carry``.
    size : int
        Length of all parameters, as threads own them.
    """
    moves, at = [], 0
    for op, home, size in zip(ops, offsets, sizes, strict=True):
        if op["param"] < 0:
            continue
        op["param"], width, rows = at, int(op["width"]), int(op["n_in"]) + 1
        if not width:
            moves.append((home, at, 1, size, size, size, 0))
            at += pad(size, dtype)
            continue
        ld_home, ld_own = int(op["ld_out"]), row_length(width, dtype)
        op["ld_param"], op["panel"] = ld_own, rows * ld_own
        for owner, left in enumerate(range(0, int(op["n_out"]), width)):
            columns = min(width, int(op["n_out"]) - left)
            moves.append((home + left, at, rows, columns, ld_home, ld_own, owner))
            at += rows * ld_own
    return np.array(moves, MOVE), at


def copy_parameters(ops: Array, head: Array, n_threads: int, n_params: int,
                    take: Callable[[int], int]) -> tuple[tuple[Array, Array], Array]:
    """Give each thread all parameters.

    Parameters
    ----------
    ops, head : ndarray
    n_threads, n_params : int
    take : callable
        Gives the place of so many elements more in the workspace.

    Returns
    -------
    tables : tuple of ndarray
        Ops of each thread, with its own mirrors, one after the other; heads of even and of odd
        steps.
    moves : ndarray
        For ``carry``.
    """
    all_ops, heads = np.tile(ops, n_threads), np.repeat(head, 2)
    for op in all_ops[len(ops):]:
        if op["mirror"] >= 0:
            op["mirror"] = take(int(op["n_out"] * op["ld_in"]))
    heads["error"][1] = take(int(head["capacity"][0]))
    heads["partial"][1] = take(int(head["shards"][0]) * n_params)
    return (all_ops, heads), np.array([(0, 0, 1, n_params, n_params, n_params, EACH)], MOVE)


@kernel(inline=True)
def part_of(array, own, copies):
    """Copy number ``own`` of those in ``array``."""
    n = array.size // copies
    return span(array, own * n, (own + 1) * n)


@kernel(cold=True)
def carry(worker, size, moves, home, n_home, own, n_own, back):
    """Carry what lies as parameters do, once or several times over, to the threads, or home where
    ``back`` is not 0: each its own part."""
    for k in range(home.size // n_home if moves.size > 0 else 0):
        for i in range(moves.size):
            move = moves[i]
            each = move["owner"] == EACH
            if (worker == 0 or back == 0) if each else move["owner"] % size == worker:
                for r in range(move["rows"]):
                    there = k * n_home + move["home"] + r * move["ld_home"]
                    here = k * n_own + move["own"] + r * move["ld_own"]
                    if back != 0:
                        copy_row(home, there, own, here, move["columns"])
                    else:
                        copy_row(own, here, home, there, move["columns"])
