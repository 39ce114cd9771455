"""Layouts of the parameters for a team: each thread has its columns of a layer, or a copy of all.

A row of W' holds the columns of all threads side by side. If each thread reads and updates its own
columns there, the hardware prefetcher still runs on into cache lines that another core writes: the
weights move between cores in every step, though no thread uses more than its part. So while a
team trains, each thread's columns of a weight are contiguous, in a panel:

    w[i, j]   from   param + i ld + j   to   param + (j / width) panel + i ld_param + j % width

Optimizer state, averages, and gradients that are needed as a whole have the layout of the
parameters. All but the gradients are copied in at the start of an engine call and back at its end,
by the thread that owns them; no value depends on the layout.

With few parameters and shards, each thread has a copy of the parameters, of everything in their
layout and of the mirrors, and does every update itself. Only the shards' gradients then pass
between cores in a step, with one barrier: no thread reads weights that another core has just
written, or waits for them. One thread may begin the next step while another still reads those
gradients, so they and the row errors are double buffered.
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

#: A block of ``rows`` x ``columns`` parameters: at offset ``home`` with stride ``ld_home`` in the
#: network's layout, at ``own`` with stride ``ld_own`` in that of thread ``owner``, or of every
#: thread where that is EACH.
MOVE = np.dtype([(name, np.int64) for name in (
    "home", "own", "rows", "columns", "ld_home", "ld_own", "owner")])
EACH = -1


def panel_width(n_out: int, dtype: np.dtype[Any], n_threads: int, square: bool = False) -> int:
    """Columns of a panel if each of ``n_threads`` has one; 0 if the columns cannot be cut so.

    A panel has whole vectors, at least two, as narrower products are slow; with ``square`` (matrix
    tiles) it has whole stretches of terms. It may be at most a seventh wider than an even share of
    the columns, padded to vectors.
    """
    lanes, columns = VECTOR_BYTES // dtype.itemsize, pad(n_out, dtype)
    step = STRETCH if square else lanes
    width = -(-n_out // (n_threads * step)) * step
    even = 7 * width * n_threads <= 8 * columns and width * (n_threads - 1) < n_out
    return width if even and width >= 2 * lanes else 0


def cut_parameters(ops: Array, offsets: Array, sizes: Array,
                   dtype: np.dtype[Any]) -> tuple[Array, int]:
    """Give the parameters of ``ops`` the layout in which threads own them.

    Parameters
    ----------
    ops : ndarray
        Those with ``width`` are cut in panels; ``param``, ``panel`` and ``ld_param`` are set.
    offsets, sizes : ndarray
        Offset and length of each op's parameters in the network's layout.
    dtype : dtype

    Returns
    -------
    moves : ndarray
        For ``carry``.
    size : int
        Length of all parameters in the new layout.
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
    """Give each thread a copy of all parameters.

    Parameters
    ----------
    ops, head : ndarray
    n_threads, n_params : int
    take : callable
        Reserves a number of elements in the workspace and returns their offset.

    Returns
    -------
    tables : tuple of ndarray
        Op tables of all threads, one after the other, each with its own mirrors; the two heads,
        for even and for odd steps.
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
    """Copy number ``own`` of the ``copies`` in ``array``."""
    n = array.size // copies
    return span(array, own * n, (own + 1) * n)


@kernel(cold=True)
def carry(worker, size, moves, home, n_home, own, n_own, back):
    """Copy one or several arrays in the parameters' layout from ``home`` to the threads' layout,
    or back if ``back`` is not 0; each thread copies its own part."""
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
