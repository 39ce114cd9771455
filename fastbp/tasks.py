"""Which thread updates which parameters: tasks (tiles) of about equal work, one run a thread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._validation import Array
from .kernels.matmul import PACKED_STRIDE
from .kernels.split import SQUARE
from .kernels.tile import TILE_ROWS
from .kernels.vectors import VECTOR_BYTES, pad
from .layers.base import SQUARE_TASK_ROW, TASK_ROW
from .table import ON_TILES, TASK

#: Rows of a tile are a multiple of this.
_ROWS_STEP = 8
#: Largest tile, in bytes: one that stays in the L2 cache beside its operands; one of packed
#: operands (whole strips of rows: packing pays more, the more rows share it); and one on matrix
#: tiles (AMX), for which both operands are packed, X again for each tile side by side.
_TILE_BYTES, _PACKED_TILE_BYTES, _SQUARE_TILE_BYTES = 128 * 1024, 288 * 1024, 1024 * 1024
#: Tasks a thread, at least, so that no thread waits long for the others.
_SHARES = 3


def share_parameters(ops: Array, index: Sequence[int], dtype: np.dtype[Any],
                     n_threads: int) -> Array:
    """Cut the parameters of ``ops``, which have the numbers ``index``, into tasks of about equal
    work: tiles that fit in the cache."""
    columns, lanes = TASK_ROW // dtype.itemsize, VECTOR_BYTES // dtype.itemsize
    step = math.lcm(_ROWS_STEP, lanes)  # whole vectors of a mirror, whole blocks of TASK's sums
    whole = math.lcm(TILE_ROWS[-1], step)
    fair = int((ops["n_rows"] * ops["n_out"]).sum()) // (_SHARES * n_threads) if (
        n_threads > 1) else 0
    tasks: list[list[tuple[int, ...]]] = [[] for _ in range(n_threads)]
    free: list[tuple[int, ...]] = []
    place = 0
    for k, op in zip(index, ops, strict=True):
        m, n, panel = int(op["n_rows"]), int(op["n_out"]), int(op["width"])
        blocks = -(-n // lanes)
        for owner, start in enumerate(range(0, n, panel or n)):
            end = min(start + panel, n) if panel else n
            width, most, unit = end - start, _TILE_BYTES, whole
            if op["mirror"] == ON_TILES:
                parts = -(-width * dtype.itemsize // SQUARE_TASK_ROW)
                width = pad(-(-width // parts), dtype)
                most, unit = _SQUARE_TILE_BYTES, 2 * SQUARE
            else:
                width = width if width <= 2 * columns else columns
                most = _PACKED_TILE_BYTES if n * dtype.itemsize >= PACKED_STRIDE else most
            height = most // (pad(width, dtype) * dtype.itemsize)
            if fair:
                height = min(height, max(fair // width, step))
            # At a height that is no multiple of their own tiles, products compute surplus rows.
            height = (height + unit // 2) // unit * unit or max(height // step, 1) * step
            # A short remainder, at least the bias row, joins the tile before it.
            starts = range(0, max(m - max(height // 4, 1), 1), height)
            (tasks[owner] if panel else free).extend(
                (k, i, m if i == starts[-1] else i + height, j, min(j + width, end),
                 place + i // lanes * blocks + j // lanes, blocks)
                for i in starts for j in range(start, end, width))
        place += -(-m // lanes) * blocks
    if not any(tasks):
        return np.array(free, TASK)
    return _by_owner(tasks, free)


def _by_owner(tasks: list[list[tuple[int, ...]]], free: list[tuple[int, ...]]) -> Array:
    """Tasks in runs of equal length, one run a thread (see ``claim``): its own tasks, and those
    without an owner wherever there is least to do. Shorter runs are padded with op -1."""
    def size(task: tuple[int, ...]) -> int:
        return (task[2] - task[1]) * (task[4] - task[3])

    load = [sum(map(size, own)) for own in tasks]
    for task in sorted(free, key=size, reverse=True):
        least = load.index(min(load))
        tasks[least].append(task)
        load[least] += size(task)
    none, longest = (-1, *[0] * (len(TASK.names or ()) - 1)), max(map(len, tasks))
    return np.array([t for own in tasks for t in own + [none] * (longest - len(own))], TASK)
