"""From layers to data: the op table, the memory layout, block sizes, shares of work.

A plan serves one network and batches of up to ``capacity`` rows. The engine reads it and
nothing else, so every architecture runs on the same compiled code. No size chosen here
changes a result: each number is summed in one fixed order whatever the blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ._validation import Array
from .kernels.matmul import WHOLE
from .kernels.split import STRETCH
from .kernels.vectors import VECTOR_BYTES, aligned_zeros, pad, row_length
from .layers import Dense, Layer
from .layers.square import is_square, use_squares
from .losses import Loss
from .panels import MOVE, copy_parameters, cut_parameters, panel_width
from .table import HEAD, OP, address
from .tasks import share_parameters
from .way import passes_of, rectify

#: A step of less work than this (multiply-adds) runs faster on one thread: its barriers
#: and caches cost more than a second core brings; less than the other where each has a shard,
#: which leaves little to hand on. By ``bench.constants``, as SHARD_ACTIVATIONS.
PARALLEL_THRESHOLD, SHARDED_THRESHOLD = 400_000, 100_000
#: And of so much for each thread, on all of them; between the two a run tries (``threads``).
SETTLED_WORK = 16_000_000
#: A call by itself is shared out from so much on: to wake other threads takes 0.1 ms.
LAUNCH_WORK = 16_000_000
#: Most rows in a block: each costs calls, and reads the weights again, which counts where they are
#: beyond so many bytes. A team takes small ones, so that who is late has little left.
_ROWS_SMALL, _ROWS_LARGE, _LARGE_WEIGHT = 64, 256, 512 * 1024
#: Rows of a block are a multiple of this, where a team has room for that; whole stretches, always,
#: where a shard's gradient is made on matrix tiles, block by block: these sum by stretches.
_ROWS_STEP = 8
#: Shards of a batch, the same for any number of threads: sixteen where activations are beyond so
#: many bytes, the L2 cache, and weights below so many, that sixteen gradients fit in it.
SHARDS, SHARD_ACTIVATIONS, SHARD_WEIGHTS = 16, 1024 * 1024, 32 * 1024
#: Elsewhere so many, or fewer and more by the rows, for weights of so many bytes at most, where
#: that spares a team something: it then hands on the weights and half of the shards' gradients,
#: not the activations.
FEW_SHARDS, FEW_WEIGHTS = 4, 2 * 1024 * 1024
#: Rows of a shard, at least, and of a block of one, at most. Of weights up to SHARD_WEIGHTS a
#: block is as short, and what is made of it stays in the L1 cache; of others, as each block costs
#: calls and reads the weights again, and where blocks might change bits, it has all rows of one.
_SHARD_ROWS, _SHARD_BLOCK, _HEAVY_BLOCK = 64, 64, 256
#: Rows a thread, up to which a team shares layers out by columns: wide ones, and those that can be
#: cut in panels, from so many bytes of weights on, and for a batch of up to so many rows for each
#: column of the narrower side: a thread then reads all activations, and not all weights.
OWN_ROWS, CUT_BYTES, PANEL_ROWS = 256, 64 * 1024, 1
#: Columns that one thread takes at a time of such a layer.
_SHARE = 64
#: Bytes of parameters, and what lies as they do, up to which they lie in panels: to carry more
#: there and back takes a call too long.
PANEL_BYTES = 8 * 1024 * 1024
#: Bytes of gradients of others' shards up to which each thread has all parameters: it then reads
#: all of those, not a share, but no weights of others.
COPIED_BYTES = 32 * 1024
#: Bytes of a row of X from which rows are read where they lie, if not whole pages (a tile would
#: have many in a few cache sets): with shorter ones too little is gained for what has to be
#: compiled. Bytes of columns a thread up to which it does so, as more read X again and again, and
#: those for a batch that is read once more when it has left the L2 cache.
PICK_BYTES, PICK_COLUMNS, PICK_FAR, _PAGE, _NEAR = 512, 512, 256, 4096, 1024 * 1024
#: Bytes of X from which rows are asked for while others are computed: the L2 cache does not hold
#: them from epoch to epoch.
ASK_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True)
class Plan:
    """Tables and workspace for one network and batch capacity."""

    ops: Array
    head: Array
    tables: tuple[Array, Array]  # both, for each thread and by turns (see ``copy_parameters``)
    tasks: Array
    passes: Array
    moves: Array
    n_params: int
    workspace: Array
    n_threads: int
    work: int

    @cached_property
    def one_pass(self) -> Array:
        """The way of a batch whose rows know nothing of each other: all but training."""
        return passes_of(int(self.head["n_train"][0]), (), self.ops)

    @property
    def copies(self) -> int:
        """Of the parameters: one for each thread, or one."""
        return len(self.tables[0]) // len(self.ops)

    @cached_property
    def n_sums(self) -> int:
        """Places for sums over all parameters."""
        tasks, lanes = self.tasks, VECTOR_BYTES // self.workspace.itemsize
        down, across = tasks["last"] - tasks["first"], tasks["right"] - tasks["left"]
        return int((tasks["sum"] + (down - 1) // lanes * tasks["step"]
                    + (across - 1) // lanes).max(initial=0)) + 1

    @property
    def settled(self) -> bool:
        """Whether steps take this number of threads without a trial."""
        return self.n_threads == 1 or self.work >= SETTLED_WORK * self.n_threads

    def team(self, rows: int, passes: int) -> int:
        """Threads for one call with ``rows``: 1 pass over them forward, 3 for gradients too."""
        work = self.work * rows * passes // (3 * self.capacity)
        return self.n_threads if work >= LAUNCH_WORK else 1

    @property
    def capacity(self) -> int:
        """Rows that the workspace holds."""
        return int(self.head["capacity"][0])

    def output(self, rows: int, op: int = -1) -> Array:
        """What an op, else the last one, has left for the first ``rows``, a view."""
        last = self.ops[op]
        at, ld = int(last["y"]), int(last["ld_out"])
        return self.workspace[at:at + rows * ld].reshape(rows, ld)[:, :int(last["n_out"])]


def asks_ahead(X: Array) -> bool:
    """Whether training asks for rows of X before it reads them."""
    return X.nbytes >= ASK_BYTES


def make_plan(layers: Sequence[Layer], n_train: int, loss: Loss, offsets: Sequence[int],
              dtype: np.dtype[Any], capacity: int, n_threads: int, training: bool = False,
              carried: int = 0) -> Plan:
    """Lay out a network for batches of up to ``capacity`` rows.

    Parameters
    ----------
    layers : sequence of Layer
        All with kernels and known sizes; the first ``n_train`` alone for ``training``.
    n_train : int
        Layers below the loss; the rest runs in ``predict`` only, and has no way back.
    loss : Loss
        With a kernel.
    offsets : sequence of int
        Place of each layer's buffer in the flat parameters.
    dtype : dtype
    capacity : int
    n_threads : int
        Threads to share the work among.
    training : bool
        Whether steps of training will run it, and nothing else.
    carried : int
        Arrays that are laid out like the parameters, these included, where layers may be cut in
        panels; 0 where they stay whole.
    """
    at, row = 0, capacity == 1 and not training

    def take(size: int) -> int:
        nonlocal at
        start, at = at, at + pad(size, dtype)
        return start

    sizes = [int(layers[0].n_in or 0)] + [int(layer.n_out or 0) for layer in layers]
    lds = [row_length(w, dtype) for w in sizes]
    learns = [not training or layer.trainable for layer in layers]
    # Not a first layer that reads X in place: on two threads that gains more.
    square = [training and k < n_train and (k > 0 or lds[1] * dtype.itemsize > PICK_COLUMNS)
              and is_square(layer, dtype, sizes[k], sizes[k + 1], capacity)
              for k, layer in enumerate(layers)]
    # Outside of training all gradients are asked for, but that of the input.
    lowest = next((k for k, layer in enumerate(layers[:n_train])
                   if learns[k] and layer.trained_rows()[0]), n_train) if training else 0
    work = sum(capacity * lds[k + 1] * (sizes[k] * (1 + (k > lowest) + learns[k])
                                        if isinstance(layer, Dense) else 4)
               for k, layer in enumerate(layers))
    cuttable = _cuttable(layers, sizes, dtype)
    few = _few_shards(layers, sizes, lds, dtype, capacity) if cuttable and training else 0
    if work < PARALLEL_THRESHOLD:
        n_threads = min(n_threads, few) if few and work >= SHARDED_THRESHOLD else 1
    by_columns = [0] * len(layers)
    if (training and n_threads > max(few, 1) and few < SHARDS  # each has no shard of its own
            and capacity <= OWN_ROWS * n_threads):
        by_columns = _by_columns(layers[:n_train], sizes, dtype, capacity, n_threads, carried,
                                 square)
    values, deltas = [take(capacity * lds[0])], [-1]
    for k, layer in enumerate(layers):
        below = layers[k - 1] if k else None
        alone = below is None or not below.keeps_output
        values.append(values[k] if layer.in_place and alone else take(capacity * lds[k + 1]))
        if k >= n_train:
            deltas.append(-1)
        else:
            reuse = k > 0 and layer.in_place
            deltas.append(deltas[k] if reuse else take(capacity * lds[k + 1]))

    ops = np.zeros(len(layers), OP)
    for k, layer in enumerate(layers):
        op, shape = ops[k:k + 1], sizes[k:k + 2]
        op[:] = layer.op(dtype, *shape, back=lowest <= k < n_train, row=row)
        if not learns[k]:
            op["n_rows"] = op["n_decayed"] = 0
        op["ld_in"], op["ld_out"] = lds[k], lds[k + 1]
        op["x"], op["y"], op["dx"], op["dy"] = values[k], values[k + 1], deltas[k], deltas[k + 1]
        op["param"] = offsets[k] if layer.shapes() else -1
        mirrored = lowest < k < n_train and not (by_columns[k] or square[k]) and (
            layer.mirrored(dtype, *shape))
        op["mirror"] = take(sizes[k + 1] * lds[k]) if mirrored else -1
        extra = layer.extra_size(capacity, lds[k + 1])
        op["extra"] = take(extra) if extra else -1
        if by_columns[k]:
            _share_columns(layer, op, dtype, by_columns[k])
        if square[k]:
            use_squares(op, dtype)
    if not row:
        rectify(layers, ops, n_train, dtype)

    couplers = [k for k in range(n_train) if ops[k]["couple_forward"]]
    lengths = [layer.layout(dtype)[1] for layer in layers]
    moves, n_params = np.empty(0, MOVE), offsets[-1] + pad(lengths[-1], dtype)
    if ops["width"].any():
        moves, n_params = cut_parameters(ops, np.array(offsets), np.array(lengths), dtype)
    shards = SHARDS if (at * dtype.itemsize > SHARD_ACTIVATIONS
                        and capacity >= _SHARD_ROWS * SHARDS
                        and cuttable and not ops["by_columns"].any()
                        and n_params * dtype.itemsize <= SHARD_WEIGHTS) else few
    if shards == SHARDS:
        n_threads = min(n_threads, shards)
    # Each shard's gradient is kept where its own thread makes it, block by block, of rows still in
    # the cache; else it is made when a tile is summed, on top of the one before, for which sixteen
    # may have too many rows. A larger team has no shard for each thread.
    kept = shards == SHARDS or n_threads <= shards and (
        n_threads > 1 or at * dtype.itemsize > SHARD_ACTIVATIONS)
    # Shards are for training alone; matrix tiles sum in their own order, whatever the team.
    if not (square[0] or (training and shards)):
        _read_in_place(layers[0], ops[0], dtype, training * capacity, by_columns[0] or sizes[1])
    trained = [k for k in range(n_train) if ops[k]["n_rows"]]
    tasks = share_parameters(ops[trained], trained, dtype, n_threads)
    large = n_threads == 1 or max(lengths[:n_train]) * dtype.itemsize > _LARGE_WEIGHT
    most = _ROWS_LARGE if large else _ROWS_SMALL
    rounds = -(-capacity // (n_threads * most))
    row_block = -(-capacity // (n_threads * rounds) // _ROWS_STEP) * _ROWS_STEP
    step = STRETCH if any(square) else _ROWS_STEP
    if kept:  # each thread has a block's place in the workspace
        height = -(-capacity // shards)
        light = n_params * dtype.itemsize <= SHARD_WEIGHTS and _in_order(layers, sizes, dtype)
        rounds = -(-height // (_SHARD_BLOCK if light else _HEAVY_BLOCK))
        room = capacity // n_threads
        row_block = min(-(-height // rounds // step) * step,
                        room // step * step if any(square) else room)
    scratch = pad(max(((t["last"] - t["first"]) * row_length(t["right"] - t["left"], dtype)
                       for t in tasks), default=1), dtype)
    n, ld = sizes[n_train], lds[n_train]
    head = np.zeros(1, HEAD)
    head[0] = (loss.address(dtype), n, ld, values[n_train], deltas[n_train], take(capacity * ld),
               take(capacity), take(capacity), take(scratch * n_threads), scratch, n_train,
               sizes[0], lds[0], capacity, row_block, shards,
               take(shards * n_params) if kept else -1, *loss.constants())
    others = (shards - shards // n_threads) * n_params * dtype.itemsize
    copied = training and kept and n_threads > 1 and others <= COPIED_BYTES
    tables, moves = (copy_parameters(ops, head, n_threads, n_params, take) if copied
                     else ((ops, head), moves))
    return Plan(ops, head, tables, tasks, passes_of(n_train, couplers, ops, lowest), moves,
                n_params, aligned_zeros(at, dtype), n_threads, work)


def _cuttable(layers: Sequence[Layer], sizes: Sequence[int], dtype: np.dtype[Any]) -> bool:
    """Whether a batch can be cut in shards: no layer couples its rows, and gradients add up."""
    for k, layer in enumerate(layers):
        kernels = layer.kernels_for(dtype, sizes[k], sizes[k + 1])
        if kernels is None or kernels.couple_forward:
            return False
        if layer.shapes() and not (kernels.adds or kernels.gradient in kernels.correcting):
            return False
    return True


def _in_order(layers: Sequence[Layer], sizes: Sequence[int], dtype: np.dtype[Any]) -> bool:
    """Whether gradients are known to go on row by row: one team adds block by block what another
    takes from all rows of a shard at once."""
    found = (layer.kernels_for(dtype, *shape) for layer, shape in
             zip(layers, zip(sizes, sizes[1:], strict=False), strict=True) if layer.shapes())
    return all(own is not None and own.gradient in Dense.kernels.correcting for own in found)


def _few_shards(layers: Sequence[Layer], sizes: Sequence[int], lds: Sequence[int],
                dtype: np.dtype[Any], capacity: int) -> int:
    """A few shards, where they pay a team, else 0: as many for one thread, which need not keep
    their gradients, as the sums are made in the same order."""
    weights, activations = 0, capacity * lds[0]
    first = layers[0].kernels_for(dtype, *sizes[:2])
    if first and sizes[0] * dtype.itemsize >= PICK_BYTES and (
            first.first_forward or activations * dtype.itemsize <= SHARD_ACTIVATIONS):
        return 0  # what is read where it lies is spared, or stays in the cache
    for layer, ld in zip(layers, lds[1:], strict=True):
        if layer.shapes():
            weights += layer.layout(dtype)[1]
            activations += capacity * ld
    shards = SHARDS
    while shards > FEW_SHARDS and capacity <= WHOLE * shards // 2:
        shards //= 2
    while shards > 1 and capacity < _SHARD_ROWS * shards:
        shards //= 2
    pays = (shards > 1 and weights * dtype.itemsize <= FEW_WEIGHTS
            and (shards + 2) * weights <= 2 * activations)
    return shards if pays else 0


def _by_columns(layers: Sequence[Layer], sizes: Sequence[int], dtype: np.dtype[Any],
                capacity: int, n_threads: int, carried: int, square: Sequence[bool]) -> list[int]:
    """Columns that a thread has of each layer that is shared out so: all where it takes them
    from the whole of the weights, and 0 where the layer is shared out by rows."""
    shapes = list(zip(sizes, sizes[1:], strict=False))
    nbytes = [layer.layout(dtype)[1] * dtype.itemsize for layer in layers]
    cut, found = 0 < carried * sum(nbytes) <= PANEL_BYTES, []
    for k, layer in enumerate(layers):
        kernels, n_out = layer.kernels_for(dtype, *shapes[k]), shapes[k][1]
        able = kernels is not None and kernels.columns_forward is not None
        pays = able and cut and nbytes[k] >= CUT_BYTES and (
            capacity <= PANEL_ROWS * (min(shapes[k]) if k else shapes[k][0]))
        width = panel_width(n_out, dtype, n_threads, square[k]) if pays else 0
        found.append(width or (n_out if able and not layer.mirrored(dtype, *shapes[k]) else 0))
    return found


def _share_columns(layer: Layer, op: Array, dtype: np.dtype[Any], width: int) -> None:
    """Let a layer be shared out by columns, in panels where ``width`` is not all of them."""
    kernels = layer.kernels_for(dtype, int(op["n_in"][0]), int(op["n_out"][0]))
    assert kernels is not None
    op["couple_forward"] = address("couple", kernels.columns_forward, dtype)
    op["couple_backward"] = address("couple", kernels.columns_backward, dtype)
    op["by_columns"], op["width"] = _SHARE, width if width < op["n_out"][0] else 0


def _read_in_place(layer: Layer, op: Any, dtype: np.dtype[Any], again: int,
                   columns: int) -> None:
    """Let the first layer read X where it lies, if it can and that pays a thread that makes so
    many columns, of a batch of which so many rows are read ``again`` after the last."""
    kernels = layer.kernels_for(dtype, int(op["n_in"]), int(op["n_out"]))
    length = int(op["n_in"]) * dtype.itemsize
    most = PICK_COLUMNS if again * length <= _NEAR else PICK_FAR
    if kernels is not None and kernels.first_forward is not None and (
            length >= PICK_BYTES and length % _PAGE and columns * dtype.itemsize <= most):
        op["first"] = address("first", kernels.first_forward, dtype)
        op["first_gradient"] = address("first_gradient", kernels.first_gradient, dtype)
        op["forward"] = 0
