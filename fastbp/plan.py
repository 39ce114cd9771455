"""From layers to data: the op table, the memory layout, block sizes, shares of work.

A plan serves one network and batches of up to ``capacity`` rows. The engine reads it and
nothing else, so every architecture runs on the same compiled code. No size chosen here
changes a result: each number is summed in one fixed order whatever the blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._validation import Array
from .kernels.tile import VECTOR_BYTES, pad
from .layers import Dense, Layer
from .losses import Loss

#: One layer. Sizes in elements; x, y, dx, dy and mirror are offsets in the workspace of
#: buffers with ``ld`` elements a row, -1 where there is none; param is an offset in the
#: flat parameters. ``bias`` tells whether the bias row is trained.
OP = np.dtype([(name, np.int64) for name in (
    "kind", "n_in", "n_out", "ld_in", "ld_out", "x", "y", "dx", "dy", "param", "mirror",
    "bias")])

#: What there is once: the loss on output x (n of ld, gradient to dx), the workspace
#: offsets of targets, row weights and row errors, and the sizes of blocks. ``n_train``
#: counts the ops under the loss; a fused last layer only runs in ``predict``.
HEAD = np.dtype([(name, np.int64) for name in (
    "loss", "n", "ld", "x", "dx", "target", "weight", "error", "n_train", "n_features",
    "ld_features", "capacity", "row_block")])

#: A strip of one weight: inputs ``first`` to ``last`` of op ``op``; the last strip of an
#: op takes the bias too. One thread owns it: gradient, update, mirror.
TASK = np.dtype([(name, np.int64) for name in ("op", "first", "last")])

ROW_BLOCK = 64
#: A step of less work than this (multiply-adds) runs faster on one thread: its barriers
#: and caches cost more than a second core brings.
PARALLEL_THRESHOLD = 400_000
_STRIP_BYTES = 128 * 1024


@dataclass(frozen=True)
class Plan:
    """Tables and workspace for one network and batch capacity."""

    ops: Array
    head: Array
    tasks: Array
    workspace: Array
    work: int

    @property
    def capacity(self) -> int:
        """Rows that the workspace holds."""
        return int(self.head["capacity"][0])

    @property
    def parallel(self) -> bool:
        """Whether a full batch is work enough for threads."""
        return self.work >= PARALLEL_THRESHOLD


def aligned_zeros(size: int, dtype: np.dtype[Any]) -> Array:
    """Zeros that start on a 64-byte boundary."""
    raw = np.zeros(size * dtype.itemsize + VECTOR_BYTES, np.uint8)
    skip = -raw.ctypes.data % VECTOR_BYTES
    return raw[skip:skip + size * dtype.itemsize].view(dtype)


def make_plan(layers: Sequence[Layer], n_train: int, loss: Loss, offsets: Sequence[int],
              dtype: np.dtype[Any], capacity: int) -> Plan:
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
    """
    at = 0

    def take(size: int) -> int:
        nonlocal at
        start, at = at, at + pad(size, dtype)
        return start

    widths = [layers[0].n_in] + [layer.n_out for layer in layers]
    sizes = [int(w) for w in widths if w is not None]
    lds = [pad(w, dtype) for w in sizes]
    values = [take(capacity * ld) for ld in lds]
    deltas = [-1] + [take(capacity * ld) for ld in lds[1:n_train + 1]]
    deltas += [-1] * (len(layers) - n_train)

    ops = np.zeros(len(layers), OP)
    tasks, work = [], 0
    for k, layer in enumerate(layers):
        dense, bias = isinstance(layer, Dense), "bias" in layer.shapes()
        mirror = take(sizes[k + 1] * lds[k]) if dense and 0 < k < n_train else -1
        ops[k] = (layer.kind, sizes[k], sizes[k + 1], lds[k], lds[k + 1], values[k],
                  values[k + 1], deltas[k], deltas[k + 1], offsets[k], mirror,
                  bias)
        work += capacity * lds[k + 1] * (sizes[k] * (3 if k else 2) if dense else 4)
        if dense and k < n_train:
            strip = min(max(_STRIP_BYTES // (lds[k + 1] * dtype.itemsize) // 8 * 8, 32), 256)
            tasks += [(k, i, min(i + strip, sizes[k])) for i in range(0, sizes[k], strip)]

    head = np.zeros(1, HEAD)
    n, ld = sizes[n_train], lds[n_train]
    head[0] = (loss.kind, n, ld, values[n_train], deltas[n_train], take(capacity * ld),
               take(capacity), take(capacity), n_train, sizes[0], lds[0], capacity, ROW_BLOCK)
    return Plan(ops, head, np.array(tasks, TASK), aligned_zeros(at, dtype), work)
