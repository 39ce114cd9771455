"""From layers to data: the op table, the memory layout, the division of work.

A plan serves one network and batches of up to ``capacity`` rows. The engine reads it and
nothing else, so every architecture runs on the same compiled code. No size chosen here or in
``sharing`` changes a result: each number is summed in one fixed order whatever the blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from . import sharing
from ._validation import Array, check_constants
from .kernels.vectors import VECTOR_BYTES, aligned_zeros, pad, row_length
from .layers import Layer
from .layers.square import use_squares
from .losses import Loss
from .panels import MOVE, copy_parameters, cut_parameters
from .sharing import Cut, Outline, Team, cut_batch, make_team, reads_in_place
from .table import HEAD, OP, address
from .tasks import share_parameters
from .way import passes_of, rectify

#: Columns that a thread computes at a time in a layer that a team shares by columns.
_SHARE = 64


@dataclass(frozen=True)
class Plan:
    """Tables and workspace for one network and batch capacity."""

    ops: Array
    head: Array
    tables: tuple[Array, Array]  # ops per thread, heads double buffered, if copied
    tasks: Array
    passes: Array
    moves: Array
    n_params: int
    workspace: Array
    n_threads: int
    work: int

    @cached_property
    def one_pass(self) -> Array:
        """Passes of a batch outside of training, where no op couples rows: a single one."""
        return passes_of(int(self.head["n_train"][0]), (), self.ops)

    @property
    def copies(self) -> int:
        """Number of copies of the parameters: one for each thread, or one in all."""
        return len(self.tables[0]) // len(self.ops)

    @cached_property
    def n_sums(self) -> int:
        """Number of places for sums over all parameters."""
        tasks, lanes = self.tasks, VECTOR_BYTES // self.workspace.itemsize
        down, across = tasks["last"] - tasks["first"], tasks["right"] - tasks["left"]
        return int((tasks["sum"] + (down - 1) // lanes * tasks["step"]
                    + (across - 1) // lanes).max(initial=0)) + 1

    @property
    def settled(self) -> bool:
        """Whether steps use this number of threads without a trial."""
        return self.n_threads == 1 or self.work >= sharing.SETTLED_WORK * self.n_threads

    def work_of(self, rows: int, passes: int) -> int:
        """Multiply-adds of a call with ``rows``; ``passes`` is 1 for forward, 3 with gradients."""
        return self.work * rows * passes // (3 * self.capacity)

    def team(self, rows: int, passes: int) -> int:
        """Threads for such a call."""
        return self.n_threads if self.work_of(rows, passes) >= sharing.LAUNCH_WORK else 1

    @property
    def capacity(self) -> int:
        """Rows that the workspace holds."""
        return int(self.head["capacity"][0])

    def output(self, rows: int, op: int = -1) -> Array:
        """Output of an op, by default the last, for the first ``rows``: a view."""
        last = self.ops[op]
        at, ld = int(last["y"]), int(last["ld_out"])
        return self.workspace[at:at + rows * ld].reshape(rows, ld)[:, :int(last["n_out"])]


def make_plan(layers: Sequence[Layer], n_train: int, loss: Loss, offsets: Sequence[int],
              dtype: np.dtype[Any], capacity: int, n_threads: int, training: bool = False,
              carried: int = 0, precision: str | None = "highest") -> Plan:
    """Plan a network for batches of up to ``capacity`` rows.

    Parameters
    ----------
    layers : sequence of Layer
        All with kernels and known sizes; for ``training`` only the first ``n_train``.
    n_train : int
        Number of layers below the loss; the rest runs in ``predict`` only, without backward.
    loss : Loss
        With a kernel.
    offsets : sequence of int
        Offset of each layer's parameters in the flat buffer.
    dtype : dtype
    capacity : int
    n_threads : int
        Most threads to share the work among.
    training : bool
        Whether the plan is for training steps, and for nothing else.
    carried : int
        Number of arrays in the layout of the parameters, these included, if layers may be stored
        in panels; 0 if they may not.
    precision : {"highest", "high", "medium"} or None
        Of products in training, see ``Network``; None for no matrix tiles.
    """
    size = 0

    def take(length: int) -> int:
        nonlocal size
        start, size = size, size + pad(length, dtype)
        return start

    for part in (*layers, loss):
        check_constants(part, dtype)
    net = Outline(layers, n_train, dtype, capacity, training, precision)
    team = make_team(net, n_threads, carried)
    ops = _lay_out(net, team, offsets, take)
    moves, n_params = np.empty(0, MOVE), offsets[-1] + pad(net.lengths[-1], dtype)
    if ops["width"].any():
        moves, n_params = cut_parameters(ops, np.array(offsets), np.array(net.lengths), dtype)
    cut = cut_batch(net, team, size, n_params)
    if reads_in_place(net, cut, team.columns[0] or net.sizes[1]):
        _read_in_place(net, ops[0])
    trained = [k for k in range(n_train) if ops[k]["n_rows"]]
    tasks = share_parameters(ops[trained], trained, dtype, cut.n_threads)
    head = _head(net, loss, ops, tasks, cut, n_params, take)
    others = (cut.shards - cut.shards // cut.n_threads) * n_params * dtype.itemsize
    copied = training and cut.kept and cut.n_threads > 1 and others <= sharing.COPIED_BYTES
    tables, moves = (copy_parameters(ops, head, cut.n_threads, n_params, take) if copied
                     else ((ops, head), moves))
    couplers = [k for k in range(n_train) if ops[k]["couple_forward"]]
    return Plan(ops, head, tables, tasks, passes_of(n_train, couplers, ops, net.lowest), moves,
                n_params, aligned_zeros(size, dtype), cut.n_threads, net.work)


def _lay_out(net: Outline, team: Team, offsets: Sequence[int],
             take: Callable[[int], int]) -> Array:
    """The op table: each layer's kernels and sizes, its values and deltas in the workspace."""
    values, deltas = [take(net.capacity * net.lds[0])], [-1]
    for k, layer in enumerate(net.layers):
        rows = net.capacity * net.lds[k + 1]
        alone = k == 0 or not net.layers[k - 1].keeps_output
        values.append(values[k] if layer.in_place and alone else take(rows))
        if k >= net.n_train:
            deltas.append(-1)
        else:
            deltas.append(deltas[k] if k > 0 and layer.in_place else take(rows))

    ops, row = np.zeros(len(net.layers), OP), net.capacity == 1 and not net.training
    for k, layer in enumerate(net.layers):
        op, columns = ops[k:k + 1], team.columns[k]
        op[:] = layer.op(net.dtype, *net.shapes[k], back=net.lowest <= k < net.n_train, row=row)
        if not net.learns[k]:
            op["n_rows"] = op["n_decayed"] = 0
        op["ld_in"], op["ld_out"] = net.lds[k], net.lds[k + 1]
        op["x"], op["y"], op["dx"], op["dy"] = values[k], values[k + 1], deltas[k], deltas[k + 1]
        op["param"] = offsets[k] if layer.shapes() else -1
        mirrored = net.lowest < k < net.n_train and not (columns or net.square[k]) and (
            layer.mirrored(net.dtype, *net.shapes[k]))
        op["mirror"] = take(net.sizes[k + 1] * net.lds[k]) if mirrored else -1
        extra = layer.extra_size(net.capacity, net.lds[k + 1])
        op["extra"] = take(extra) if extra else -1
        if columns:
            _share_columns(net, k, op, columns)
        if net.square[k] and net.precision is not None:
            use_squares(op, net.dtype, net.precision)
    if not row:
        rectify(net.layers, ops, net.n_train, net.dtype)
    return ops


def _share_columns(net: Outline, k: int, op: Array, width: int) -> None:
    """Let a team share layer ``k`` by columns, in panels if ``width`` is less than all."""
    kernels = net.kernels[k]
    assert kernels is not None
    op["couple_forward"] = address("couple", kernels.columns_forward, net.dtype)
    op["couple_backward"] = address("couple", kernels.columns_backward, net.dtype)
    op["by_columns"], op["width"] = _SHARE, width if width < op["n_out"][0] else 0


def _read_in_place(net: Outline, op: Any) -> None:
    """Let the first layer read the rows of X in place."""
    kernels = net.kernels[0]
    assert kernels is not None
    op["first"] = address("first", kernels.first_forward, net.dtype)
    op["first_gradient"] = address("first_gradient", kernels.first_gradient, net.dtype)
    op["forward"] = 0


def _head(net: Outline, loss: Loss, ops: Array, tasks: Array, cut: Cut, n_params: int,
          take: Callable[[int], int]) -> Array:
    """The head: what the engine needs besides the ops, with room for targets and gradients."""
    scratch = pad(max(((t["last"] - t["first"]) * row_length(t["right"] - t["left"], net.dtype)
                       for t in tasks), default=1), net.dtype)
    k, n_train, capacity = net.n_train - 1, net.n_train, net.capacity
    n, ld = net.sizes[n_train], net.lds[n_train]
    head = np.zeros(1, HEAD)
    head[0] = (loss.address(net.dtype), n, ld, ops["y"][k], ops["dy"][k], take(capacity * ld),
               take(capacity), take(capacity), take(scratch * cut.n_threads), scratch, n_train,
               net.sizes[0], net.lds[0], capacity, cut.row_block, cut.shards,
               take(cut.shards * n_params) if cut.kept else -1, *loss.constants())
    return head
