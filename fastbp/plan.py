"""From layers to data: the op table, the memory layout, block sizes, shares of work.

A plan serves one network and batches of up to ``capacity`` rows. The engine reads it and
nothing else, so every architecture runs on the same compiled code. No size chosen here
changes a result: each number is summed in one fixed order whatever the blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._validation import Array
from .kernels.tile import TILE_ROWS, VECTOR_BYTES, pad, row_length
from .layers import Dense, Layer
from .losses import Loss

#: One layer. Sizes in elements; x, y, dx, dy and mirror are offsets in the workspace of
#: buffers with ``ld`` elements a row; param is an offset in the flat parameters; -1 where
#: there is none. ``bias`` tells whether the bias row is trained.
OP = np.dtype([(name, np.int64) for name in (
    "kind", "n_in", "n_out", "ld_in", "ld_out", "x", "y", "dx", "dy", "param", "mirror",
    "bias")])

#: What there is once: the loss on output x (n of ld, gradient to dx), the workspace
#: offsets of targets, row weights, row errors and of each thread's scratch for a gradient
#: tile, and the sizes of blocks. ``n_train`` counts the ops under the loss; a fused last
#: layer only runs in ``predict``. With ``shards`` the batch is cut in so many, each with
#: gradients of its own from ``partial`` on.
HEAD = np.dtype([(name, np.int64) for name in (
    "loss", "n", "ld", "x", "dx", "target", "weight", "error", "scratch", "scratch_size",
    "n_train", "n_features", "ld_features", "capacity", "row_block", "shards", "partial")])

#: A tile of one weight: inputs ``first`` to ``last``, outputs ``left`` to ``right`` of op
#: ``op``; the tile with the last inputs takes their bias too. One thread at a time owns
#: it: gradient, update, mirror.
TASK = np.dtype([(name, np.int64) for name in ("op", "first", "last", "left", "right")])

#: A step of less work than this (multiply-adds) runs faster on one thread: its barriers
#: and caches cost more than a second core brings.
PARALLEL_THRESHOLD = 400_000
#: Most rows in a block: activations should stay in the L2 cache, but weights larger than
#: it are read once a block.
_ROWS_SMALL, _ROWS_LARGE, _LARGE_WEIGHT = 64, 256, 512 * 1024
#: Largest gradient tile: what stays in the L2 cache beside its operands.
_TILE_BYTES = 128 * 1024
#: Shards of a batch, fixed; and from where they pay: activations beyond the L2 cache, for
#: weights so small that sixteen gradients fit in it.
SHARDS, SHARD_ACTIVATIONS, SHARD_WEIGHTS = 16, 1024 * 1024, 32 * 1024
_SHARD_ROWS = 64
#: Shares a thread in the parameter phase, at least: so that none waits long for the rest.
_SHARES = 3


@dataclass(frozen=True)
class Plan:
    """Tables and workspace for one network and batch capacity."""

    ops: Array
    head: Array
    tasks: Array
    workspace: Array
    n_threads: int

    @property
    def capacity(self) -> int:
        """Rows that the workspace holds."""
        return int(self.head["capacity"][0])


def aligned_zeros(size: int, dtype: np.dtype[Any]) -> Array:
    """Zeros that start on a 64-byte boundary."""
    raw = np.zeros(size * dtype.itemsize + VECTOR_BYTES, np.uint8)
    skip = -raw.ctypes.data % VECTOR_BYTES
    return raw[skip:skip + size * dtype.itemsize].view(dtype)


def make_plan(layers: Sequence[Layer], n_train: int, loss: Loss, offsets: Sequence[int],
              dtype: np.dtype[Any], capacity: int, n_threads: int) -> Plan:
    """Lay out a network for batches of up to ``capacity`` rows.

    Parameters
    ----------
    layers : sequence of Layer
        All with ``kind`` and known sizes.
    n_train : int
        Layers below the loss; the rest runs in ``predict`` only.
    loss : Loss
        With ``kind``.
    offsets : sequence of int
        Place of each layer's buffer in the flat parameters.
    dtype : dtype
    capacity : int
    n_threads : int
        Threads to share the work among.
    """
    at = 0

    def take(size: int) -> int:
        nonlocal at
        start, at = at, at + pad(size, dtype)
        return start

    widths = [layers[0].n_in] + [layer.n_out for layer in layers]
    sizes = [int(w) for w in widths if w is not None]
    lds = [row_length(w, dtype) for w in sizes]
    dense = [isinstance(layer, Dense) for layer in layers]
    values, deltas = [take(capacity * lds[0])], [-1]
    for k, layer in enumerate(layers):
        values.append(values[k] if layer.in_place else take(capacity * lds[k + 1]))
        given = take(capacity * lds[k + 1]) if k < n_train and not (k and layer.in_place) else -1
        deltas.append(deltas[k] if k and layer.in_place else given)

    ops, work = np.zeros(len(layers), OP), 0
    for k, layer in enumerate(layers):
        mirror = take(sizes[k + 1] * lds[k]) if dense[k] and 0 < k < n_train else -1
        ops[k] = (layer.kind, sizes[k], sizes[k + 1], lds[k], lds[k + 1], values[k],
                  values[k + 1], deltas[k], deltas[k + 1], offsets[k] if dense[k] else -1,
                  mirror, "bias" in layer.shapes())
        work += capacity * lds[k + 1] * (sizes[k] * (3 if k else 2) if dense[k] else 4)
    if work < PARALLEL_THRESHOLD:
        n_threads = 1

    n_params = offsets[-1] + pad(layers[-1].layout(dtype)[1], dtype)
    shards = SHARDS if (at * dtype.itemsize > SHARD_ACTIVATIONS
                        and capacity >= _SHARD_ROWS * SHARDS
                        and n_params * dtype.itemsize <= SHARD_WEIGHTS) else 0
    if shards:  # each thread has a block's place in the workspace
        n_threads = min(n_threads, shards)
    trained = [k for k in range(n_train) if dense[k]]
    tasks = _share_parameters([(k, sizes[k], sizes[k + 1]) for k in trained], dtype, n_threads)
    weights = [sizes[k] * lds[k + 1] * dtype.itemsize for k in trained]
    most = _ROWS_LARGE if max(weights, default=0) > _LARGE_WEIGHT else _ROWS_SMALL
    rounds = -(-capacity // (n_threads * most))
    row_block = -(-capacity // (n_threads * rounds) // TILE_ROWS) * TILE_ROWS

    if shards:
        row_block = _SHARD_ROWS
    scratch = pad(max(((t["last"] - t["first"] + 1) * row_length(t["right"] - t["left"], dtype)
                       for t in tasks), default=1), dtype)
    head = np.zeros(1, HEAD)
    n, ld = sizes[n_train], lds[n_train]
    head[0] = (loss.kind, n, ld, values[n_train], deltas[n_train], take(capacity * ld),
               take(capacity), take(capacity), take(scratch * n_threads), scratch, n_train,
               sizes[0], lds[0], capacity, row_block, shards, take(shards * n_params))
    return Plan(ops, head, tasks, aligned_zeros(at, dtype), n_threads)


def _share_parameters(weights: Sequence[tuple[int, int, int]], dtype: np.dtype[Any],
                      n_threads: int) -> Array:
    """Cut weights (op, n_in, n_out) into tasks of about equal work, in cache-size tiles."""
    columns = VECTOR_BYTES * 16 // dtype.itemsize
    step = math.lcm(TILE_ROWS, VECTOR_BYTES // dtype.itemsize)  # whole vectors of a mirror
    fair = sum(m * n for _, m, n in weights) // (_SHARES * n_threads) if n_threads > 1 else 0
    tasks = []
    for k, m, n in weights:
        width = n if n <= 2 * columns else columns
        height = _TILE_BYTES // (pad(width, dtype) * dtype.itemsize)
        if fair:
            height = min(height, max(fair // width, step))
        height = max(height // step, 1) * step
        tasks += [(k, i, min(i + height, m), j, min(j + width, n))
                  for i in range(0, m, height) for j in range(0, n, width)]
    return np.array(tasks, TASK)
