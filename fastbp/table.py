"""The op table, and how the engine calls the kernels that it points to.

A network is data: each row of the table holds the machine addresses of its kernels. The
engine calls through them, so it is compiled once, whatever layers, losses and optimizers
there are, and a kernel is compiled when a network first needs it. A user's own compiled
layer or loss is just another address.

Each role has one ``signature``; ``address`` compiles a kernel for it, ``call_...`` calls it
from compiled code. Addresses are valid in this process only and are never saved.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._convention import flatten, function_type
from ._jit import DISABLED, entry_point, kernel

#: One layer. Sizes in elements; x, y, dx, dy, mirror (transposed W) and extra (the layer's own
#: data) are offsets of buffers in the workspace, with stride ``ld_in`` or ``ld_out``; param is
#: an offset in the flat parameters; -1 for none. Of the parameters the first
#: ``n_rows`` rows (stride ``ld_param``) are trained, and the first ``n_decayed`` penalised.
#: ``corrects``: the gradient kernel can also update the parameters. ``by_columns``, if not 0: the
#: couple kernels do the op's whole work, in place of ``forward`` and ``backward``, on at most that
#: many columns at a time. ``width``, if not 0: the parameters are stored in panels of that many
#: columns, ``panel`` elements apart (see ``place``, ``panels``). With ``first`` the op reads the
#: rows of X in place; x is unused, and the row numbers of the next batch are ``coming`` places
#: further on in the order of rows (0: not known).
#: ``clip`` (CLIP of ``kernels.tile``, or 0) and ``mask`` (1 or 0): the op also does the forward of
#: the rectifier (ReLU) above it, or the backward of the one below, whose own kernel address is
#: then 0. ``a`` and ``b`` are the layer's constants, ``index`` is its place in the network.
OP = np.dtype([(name, np.int64) for name in (
    "forward", "forward_row", "backward", "gradient", "couple_forward", "couple_backward",
    "first", "first_gradient", "product",
    "n_in", "n_out", "ld_in", "ld_out", "ld_param", "x", "y", "dx", "dy", "param", "mirror",
    "extra", "n_rows", "n_decayed", "in_place", "corrects", "by_columns", "width", "panel",
    "clip", "mask", "coming", "index")]
    + [("a", np.float64), ("b", np.float64)])

#: ``mirror`` of an op whose products run on matrix tiles (AMX), in large tasks, without a mirror.
ON_TILES = -2

#: What exists once per plan: the loss, its input x (n columns, stride ld), gradient dx and
#: constants; the workspace offsets of targets, row weights, row errors and each thread's scratch
#: for a gradient tile; and sizes of blocks. ``n_train`` counts the ops below the loss; a fused
#: last layer runs in ``predict`` only. The batch is cut into ``shards`` (0: none), whose gradients
#: are summed in order; they are kept from ``partial`` on, unless that is -1.
HEAD = np.dtype([(name, np.int64) for name in (
    "loss", "n", "ld", "x", "dx", "target", "weight", "error", "scratch", "scratch_size",
    "n_train", "n_features", "ld_features", "capacity", "row_block", "shards", "partial")]
    + [("a", np.float64), ("b", np.float64)])

#: A tile of one layer's parameters: rows ``first`` to ``last``, columns ``left`` to ``right``
#: of op ``op``; -1 for nothing to do. One thread at a time owns it: gradient, update,
#: mirror. Sums over all parameters are kept for each block of as many rows and columns as a
#: vector has lanes: the tile's first at index ``sum``, rows of blocks ``step`` apart. They are
#: added in the order of the index, so the total does not depend on how an op is cut into tiles.
TASK = np.dtype([(name, np.int64) for name in (
    "op", "first", "last", "left", "right", "sum", "step")])

#: A pass over the rows of a batch. Before it, layer ``couple`` (-1: none) gathers what it needs
#: of all rows, or is divided among the team by columns; ``back`` likewise in backward. Then rows
#: are loaded if ``load``; then ops forward from ``first`` up to, not including, ``last``, the loss
#: if ``loss``, and backward from ``top`` down to and including ``bottom``.
PASS = np.dtype([(name, np.int64) for name in (
    "couple", "back", "load", "first", "last", "loss", "top", "bottom")])

#: What else a step does to gradients and parameters; 0 turns a rule off. Penalties ``l1`` and
#: ``l2`` (divided by the rows of the batch if ``by_rows``), gradient clipping by value and
#: by global norm, weight decay (of the gradient, or of the parameters if ``decoupled``),
#: largest norm of a unit's weights, decay of the moving average of the parameters; that is taken
#: ``apart``, after all updates, where something else changes parameters too. ``plain``: gradients
#: are left as they are, and the update is p - size g. ``rule`` and ``limit`` are the addresses of
#: the kernels for gradients and for norms.
RULES = np.dtype([(name, np.float64) for name in (
    "l1", "l2", "by_rows", "clip_value", "clip_norm", "weight_decay", "decoupled", "max_norm",
    "average", "apart", "plain")] + [("rule", np.int64), ("limit", np.int64)])

#: Fields of ``now``, which kernels are given: (key, row), unsigned. ``key`` is 0 outside of
#: training, else derived from seed and step; ``row`` is the block's first row in the batch.
KEY, ROW = 0, 1


def _roles(element: Any) -> dict[str, tuple[Any, ...]]:
    array, numbers = types.Array(element, 1, "C"), types.Array(types.float64, 1, "C")
    n, real, now = types.int64, types.float64, types.UniTuple(types.uint64, 2)
    op, head, task, rules = (numba.from_dtype(kind) for kind in (OP, HEAD, TASK, RULES))
    sums = types.Array(types.float64, 2, "C")
    return {
        # y of rows x; if the layer works in place, y holds x already
        "forward": (op, now, array, array, array, array),  # params, ws, x, y
        # dx for dy; if the layer works in place, dx holds dy already
        "backward": (op, now, array, array, array, array, array, array),
        # params, ws, x, y, dy, dx
        # gradient of the parameter tile first:last, left:right over all rows, to grad with
        # stride ld: written, added, or scaled and added (see ``kernels.tile``); the last only
        # where op["corrects"], for up to ``kernels.matmul.SCALED`` rows
        "gradient": (op, now, array, array, array, array, n, n, n, n, n, array, n, n, element),
        # params, ws, x, dy, rows, first, last, left, right, grad, ld, mode, scale
        # what the layer gathers over all rows from columns left:right, into ws[op["extra"]:];
        # or those columns of y or dx, where op["by_columns"]
        "couple": (op, now, array, array, array, array, n, n, n),
        # params, ws, x, dy, rows, left, right
        # forward of a network's first layer: columns left:right of y from row ``at`` on, for the
        # rows of X (an address) numbered in source (an address); and its gradient
        "first": (op, array, array, n, n, n, n, n, n),
        # params, ws, X, source, rows, at, left, right
        "first_gradient": (op, array, n, n, n, n, n, n, n, array, n, n, element),
        # ws, X, source, rows, first, last, left, right, grad, ld, mode, scale
        # error[r] = weight[r] E_r, dx = weight[r] dE_r
        "loss": (head, array, array, array, array, array),  # x, t, weight, error, dx
        # a matrix product, operands given by address; see ``kernels.matmul``
        "product": (n, n, n, n, n, n, n, n, n, n, n, n, n, element),
        # rows, cols, K, A, a_row, a_k, B, b_k, C, c_row, I, i_row, mode, scale
        # update of a piece p of the parameters by its gradient g and slots
        "update": (array, array, array, array, array, real, real, numbers),
        # p, g, slot 0, slot 1, slot 2, size, spread, hyper
        # rules for the gradient of a block, and for the norms of a tile; see ``rules``
        "rule": (array, n, array, n, n, n, types.boolean, n, rules, real, sums, n),
        # p, ld, g, step, rows, columns, run, decayed, rule, share, sums, to
        "limit": (op, task, array, array, real, numbers),
        # params, ws, most, norms
    }


@functools.cache
def signature(role: str, dtype: np.dtype[Any]) -> tuple[Any, ...]:
    """Numba types of the arguments of ``role`` in a network of ``dtype``."""
    return _roles(numba.from_dtype(dtype))[role]


_python_kernels: list[Callable[..., Any]] = []


def has_kernels(kind: type, field: str, *methods: str) -> bool:
    """Whether the kernels in ``field`` do all that ``kind`` does: no subclass overrides one of
    ``methods`` without kernels of its own."""
    for base in kind.__mro__:
        if field in vars(base):
            return vars(base)[field] is not None
        if any(name in vars(base) for name in methods):
            return False
    return False


@functools.cache
def address(role: str, kernel: Any, dtype: np.dtype[Any]) -> int:
    """Address of the machine code of ``kernel``, compiled for ``role``; 0 for None."""
    return 0 if kernel is None else new_address(role, kernel, dtype)


def new_address(role: str, kernel: Any, dtype: np.dtype[Any]) -> int:
    """The same, but nothing here keeps ``kernel``: the address is valid as long as it lives."""
    if DISABLED:
        _python_kernels.append(kernel)
        return len(_python_kernels)
    return entry_point(kernel, signature(role, dtype))


def _caller(role: str) -> Any:
    if DISABLED:
        return lambda at, args: _python_kernels[at - 1](*args)

    @intrinsic
    def call(typingctx, at, args):
        arrays = [t for t in args.types if isinstance(t, types.Array)]
        element = arrays[0].dtype if arrays else args.types[-1]
        wanted = _roles(element)[role]

        def codegen(context, builder, sig, values):
            given = sig.args[1].types
            code = builder.inttoptr(values[0], function_type(context, wanted).as_pointer())
            unpacked = cgutils.unpack_tuple(builder, values[1], len(given))
            cast = [context.cast(builder, v, one, other)
                    for v, one, other in zip(unpacked, given, wanted, strict=True)]
            builder.call(code, flatten(context, builder, wanted, cast))
            return context.get_dummy_value()

        return types.none(types.int64, args), codegen

    return call


(call_forward, call_backward, call_gradient, call_couple, call_first, call_first_gradient,
 call_limit, call_loss, call_product, call_rule, call_update) = (_caller(role) for role in (
     "forward", "backward", "gradient", "couple", "first", "first_gradient", "limit", "loss",
     "product", "rule", "update"))


@kernel(inline=True)
def place(op, first, left):
    """Offset of an op's parameter at row ``first`` and column ``left``."""
    at = op["param"] + first * op["ld_param"] + left
    if op["width"] > 0:
        panel = left // op["width"]
        at += panel * (op["panel"] - op["width"])
    return at
