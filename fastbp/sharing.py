"""How a step is shared among threads: the planner's cost model.

A batch is cut into row blocks that the threads of a team take in turn, or into shards, each
with a partial gradient of its own; layers whose weights are large relative to the batch are
shared by columns instead. The constants were measured; ``bench.constants`` measures many anew.
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
from .kernels.vectors import row_length
from .layers import Dense, Layer
from .layers.base import Kernels
from .layers.square import is_square
from .panels import panel_width

#: Multiply-adds of a step below which it runs on one thread, as barriers and cache misses would
#: cost more than a second core saves. The second applies if each thread has shards of its own and
#: so less to exchange.
PARALLEL_THRESHOLD, SHARDED_THRESHOLD = 400_000, 100_000
#: Multiply-adds per thread from which a step runs on all of them. Between the thresholds a run
#: tries several numbers of threads (see ``threads``).
SETTLED_WORK = 16_000_000
#: Multiply-adds from which a single call uses several threads: waking them takes 0.1 ms.
LAUNCH_WORK = 16_000_000
#: Most rows in a row block: small for a team, whose threads then wait less for the last one to
#: finish, but large for one thread or if a layer's parameters exceed _LARGE_WEIGHT bytes, as each
#: block costs calls and reads the weights again.
_ROWS_SMALL, _ROWS_LARGE, _LARGE_WEIGHT = 64, 256, 512 * 1024
#: Row blocks are a multiple of this many rows, if the workspace has room for that. Blocks of
#: shards whose gradients are computed on matrix tiles (AMX) are a multiple of STRETCH rows, as
#: those sum STRETCH terms at a time.
_ROWS_STEP = 8
#: Shards of a batch, the same for any number of threads, if its workspace exceeds
#: SHARD_ACTIVATIONS bytes, the L2 cache, while its parameters are at most SHARD_WEIGHTS bytes, so
#: that all partial gradients fit in that cache.
SHARDS, SHARD_ACTIVATIONS, SHARD_WEIGHTS = 16, 1024 * 1024, 32 * 1024
#: Shards of other batches (more or fewer by their rows), if parameters are at most FEW_WEIGHTS
#: bytes and a team gains by exchanging weights and half of the partial gradients in place of
#: activations.
FEW_SHARDS, FEW_WEIGHTS = 4, 2 * 1024 * 1024
#: Least rows of a shard, and most rows of a block of one. With parameters up to SHARD_WEIGHTS
#: the activations of _SHARD_BLOCK rows stay in the L1 cache. With more, blocks have up to
#: _HEAVY_BLOCK rows, as each costs calls and reads the weights again; so they have if the
#: accumulation by blocks might change bits (see ``Outline.in_order``).
_SHARD_ROWS, _SHARD_BLOCK, _HEAVY_BLOCK = 64, 64, 256
#: Most rows per thread with which a team shares layers by columns.
OWN_ROWS = 256
#: Layers are stored in panels, one for each thread, from CUT_BYTES of parameters on, in batches of
#: up to PANEL_ROWS rows per column of their narrower side: a thread then reads all activations but
#: only its own weights. PANEL_BYTES bounds the parameters and all else in their layout, which each
#: call copies into panels and back: not a call of less than PANEL_STEPS steps for each such array.
CUT_BYTES, PANEL_ROWS, PANEL_BYTES, PANEL_STEPS = 64 * 1024, 1, 8 * 1024 * 1024, 3
#: Bytes of other threads' partial gradients up to which each thread has a copy of all parameters:
#: it then reads all of those gradients, not a share, but no weights that another core has written.
COPIED_BYTES = 32 * 1024
#: Bytes of a row of X from which the first layer reads rows in place, unless they are a multiple
#: of _PAGE, which would map the rows of a register tile to a few cache sets. With shorter rows the
#: gain does not pay for compiling the kernels.
PICK_BYTES, _PAGE = 512, 4096
#: Most bytes of a thread's part of a row of outputs with which it does so, as X is read again for
#: each panel of columns: PICK_FAR if gradients read a batch of over _NEAR bytes again, which has
#: left the L2 cache by then.
PICK_COLUMNS, PICK_FAR, _NEAR = 512, 256, 1024 * 1024
#: Bytes of X from which its rows are prefetched while others are computed: the L2 cache would not
#: keep them from one epoch to the next.
PREFETCH_BYTES = 2 * 1024 * 1024


def prefetches(X: Array) -> bool:
    """Whether training prefetches the rows of X."""
    return X.nbytes >= PREFETCH_BYTES


@dataclass(frozen=True)
class Outline:
    """A network and a batch as the planner sees them: kinds and sizes, without offsets."""

    layers: Sequence[Layer]
    n_train: int
    dtype: np.dtype[Any]
    capacity: int
    training: bool
    precision: str | None = "highest"

    @cached_property
    def sizes(self) -> list[int]:
        """Width of the input and of each layer's output."""
        return [int(self.layers[0].n_in or 0)] + [int(layer.n_out or 0) for layer in self.layers]

    @cached_property
    def lds(self) -> list[int]:
        """Row stride of each of these, in elements."""
        return [row_length(width, self.dtype) for width in self.sizes]

    @cached_property
    def shapes(self) -> list[tuple[int, int]]:
        """(width of the input, width of the output) of each layer."""
        return list(zip(self.sizes, self.sizes[1:], strict=False))

    @cached_property
    def kernels(self) -> list[Kernels | None]:
        """Kernels of each layer at its size; None for a layer without."""
        return [layer.kernels_for(self.dtype, *shape)
                for layer, shape in zip(self.layers, self.shapes, strict=True)]

    @cached_property
    def lengths(self) -> list[int]:
        """Size of each layer's parameters, in elements."""
        return [layer.layout(self.dtype)[1] for layer in self.layers]

    @cached_property
    def learns(self) -> list[bool]:
        """Whether each layer's gradient is computed: outside of training all are."""
        return [not self.training or layer.trainable for layer in self.layers]

    @cached_property
    def square(self) -> list[bool]:
        """Whether each layer's products run on matrix tiles (AMX): only in training, and at the
        highest precision not in a first layer that can read X in place, which gains more with
        two threads."""
        anywhere = self.precision != "highest" or self.lds[1] * self.dtype.itemsize > PICK_COLUMNS
        return [self.training and k < self.n_train and (k > 0 or anywhere)
                and is_square(layer, self.dtype, *self.shapes[k], self.capacity, self.precision)
                for k, layer in enumerate(self.layers)]

    @cached_property
    def lowest(self) -> int:
        """The lowest layer that needs deltas: in training, the lowest that is trained."""
        return next((k for k, layer in enumerate(self.layers[:self.n_train])
                     if self.learns[k] and layer.trained_rows()[0]),
                    self.n_train) if self.training else 0

    @cached_property
    def work(self) -> int:
        """Multiply-adds of a step: forward, deltas and gradients."""
        return sum(self.capacity * self.lds[k + 1] * (
            self.sizes[k] * (1 + (k > self.lowest) + self.learns[k])
            if isinstance(layer, Dense) else 4) for k, layer in enumerate(self.layers))

    @cached_property
    def can_shard(self) -> bool:
        """Whether no layer couples the rows of a batch and all gradients are sums over rows."""
        return all(own is not None and not own.couple_forward and (
            own.adds or own.gradient in own.correcting or not layer.shapes())
            for layer, own in zip(self.layers, self.kernels, strict=True))

    @cached_property
    def in_order(self) -> bool:
        """Whether all gradients are known to be summed row by row, so that accumulating them block
        by block gives the same bits as all rows of a shard at once."""
        return all(own is not None and own.gradient in Dense.kernels.correcting
                   for layer, own in zip(self.layers, self.kernels, strict=True)
                   if layer.shapes())


@dataclass(frozen=True)
class Team:
    """Number of threads, and the layers that they share by columns.

    ``columns`` has, for each layer, the width of a thread's panel; ``n_out`` if the layer is
    shared by columns without panels; 0 if it is shared by rows.
    """

    n_threads: int
    few_shards: int
    columns: list[int]


def make_team(net: Outline, n_threads: int, carried: int) -> Team:
    """Choose a team of up to ``n_threads`` (for ``carried`` see ``make_plan``)."""
    few = _few_shards(net) if net.can_shard and net.training else 0
    if net.work < PARALLEL_THRESHOLD:
        n_threads = min(n_threads, few) if few and net.work >= SHARDED_THRESHOLD else 1
    shares_columns = (net.training and n_threads > max(few, 1) and few < SHARDS
                      and net.capacity <= OWN_ROWS * n_threads)
    return Team(n_threads, few, _columns(net, n_threads, carried) if shares_columns
                else [0] * len(net.layers))


def _few_shards(net: Outline) -> int:
    """Number of shards if a few pay for a team, else 0. One thread, which need not keep their
    gradients, has as many, so that it sums in the same order."""
    itemsize, activations = net.dtype.itemsize, net.capacity * net.lds[0]
    first, row_bytes = net.kernels[0], net.sizes[0] * net.dtype.itemsize
    if first and row_bytes >= PICK_BYTES and (
            first.first_forward or activations * itemsize <= SHARD_ACTIVATIONS):
        return 0  # X is read in place, or stays in the cache
    weights = sum(net.lengths)
    activations += sum(net.capacity * ld for layer, ld in zip(net.layers, net.lds[1:], strict=True)
                       if layer.shapes())
    shards = SHARDS
    while shards > FEW_SHARDS and net.capacity <= WHOLE * shards // 2:
        shards //= 2
    while shards > 1 and net.capacity < _SHARD_ROWS * shards:
        shards //= 2
    pays = (shards > 1 and weights * itemsize <= FEW_WEIGHTS
            and (shards + 2) * weights <= 2 * activations)
    return shards if pays else 0


def _columns(net: Outline, n_threads: int, carried: int) -> list[int]:
    """``Team.columns``."""
    nbytes = [length * net.dtype.itemsize for length in net.lengths]
    cut, found = 0 < carried * sum(nbytes) <= PANEL_BYTES, []
    for k, (layer, own) in enumerate(zip(net.layers, net.kernels, strict=True)):
        able, n_out = own is not None and own.columns_forward is not None, net.sizes[k + 1]
        pays = able and cut and nbytes[k] >= CUT_BYTES and (
            net.capacity <= PANEL_ROWS * (min(net.shapes[k]) if k else net.sizes[0]))
        width = panel_width(n_out, net.dtype, n_threads, net.square[k]) if pays else 0
        whole = able and not layer.mirrored(net.dtype, *net.shapes[k])
        found.append(width or (n_out if whole else 0))
    return found


@dataclass(frozen=True)
class Cut:
    """How a batch is cut: number of shards, whether their gradients are kept, rows of a block."""

    n_threads: int
    shards: int
    kept: bool
    row_block: int


def cut_batch(net: Outline, team: Team, workspace: int, n_params: int) -> Cut:
    """Cut a batch whose values and deltas take ``workspace`` elements."""
    itemsize, shards, n_threads = net.dtype.itemsize, team.few_shards, team.n_threads
    light, spills = n_params * itemsize <= SHARD_WEIGHTS, workspace * itemsize > SHARD_ACTIVATIONS
    if (spills and light and net.can_shard and not any(team.columns)
            and net.capacity >= _SHARD_ROWS * SHARDS):
        shards = SHARDS
    if shards == SHARDS:
        n_threads = min(n_threads, shards)
    # A kept partial gradient is computed block by block by the thread that has the shard, from
    # rows still in its cache. Otherwise it is computed with its task, on top of the previous
    # shard's; not with SHARDS, which may have too many rows for that. With fewer shards than
    # threads none are kept, as some thread would have no shard.
    kept = shards == SHARDS or n_threads <= shards and (n_threads > 1 or spills)
    return Cut(n_threads, shards, kept,
               _shard_block(net, n_threads, shards, light) if kept else _row_block(net, n_threads))


def _row_block(net: Outline, n_threads: int) -> int:
    """Rows of a block if no gradients of shards are kept: equal shares for a team."""
    heaviest = max(net.lengths[:net.n_train]) * net.dtype.itemsize
    most = _ROWS_LARGE if n_threads == 1 or heaviest > _LARGE_WEIGHT else _ROWS_SMALL
    rounds = -(-net.capacity // (n_threads * most))
    return -(-net.capacity // (n_threads * rounds) // _ROWS_STEP) * _ROWS_STEP


def _shard_block(net: Outline, n_threads: int, shards: int, light: bool) -> int:
    """Rows of a block of a shard: each thread has room for one block in the workspace."""
    height, room = -(-net.capacity // shards), net.capacity // n_threads
    rounds = -(-height // (_SHARD_BLOCK if light and net.in_order else _HEAVY_BLOCK))
    if not any(net.square):
        return min(-(-height // rounds // _ROWS_STEP) * _ROWS_STEP, room)
    return min(-(-height // rounds // STRETCH) * STRETCH, room // STRETCH * STRETCH)


def reads_in_place(net: Outline, cut: Cut, columns: int) -> bool:
    """Whether the first layer reads X in place, if a thread computes ``columns`` of its outputs.

    Not with shards, which only training uses, and not on matrix tiles (AMX): both sum in an order
    of their own, which must not depend on the team.
    """
    first, itemsize, length = net.kernels[0], net.dtype.itemsize, (
        net.sizes[0] * net.dtype.itemsize)
    if net.square[0] or (net.training and cut.shards) or first is None or (
            first.first_forward is None):
        return False
    again = net.training * net.capacity * length  # bytes of X that gradients read again
    return length >= PICK_BYTES and length % _PAGE != 0 and (
        columns * itemsize <= (PICK_COLUMNS if again <= _NEAR else PICK_FAR))
