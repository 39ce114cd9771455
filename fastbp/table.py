"""The op table, and how the engine calls the kernels that it points to.

A network is data: each row of the table names its kernels by their machine addresses. The
engine calls through them, so it is compiled once, whatever layers, losses and optimizers
there are, and a kernel is compiled when a network first needs it. A user's own compiled
layer or loss is one more address.

Each role has one ``signature``; ``address`` compiles a kernel for it, ``call_...``
calls from compiled code. Addresses hold for this process alone and are never saved.
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

#: One layer. Sizes in elements; x, y, dx, dy, mirror (W in the other layout) and extra (the
#: layer's own) are offsets in the workspace of buffers with ``ld`` elements a row; param is
#: an offset in the flat parameters; -1 where there is none. Of the parameters the first
#: ``n_rows`` rows of ``ld_param`` are trained, the first ``n_decayed`` of them penalised.
#: ``corrects``: the gradient kernel can correct the parameters itself. ``by_columns``: the
#: couple kernels do the op's whole work, in place of ``forward`` and ``backward``, so many columns
#: at a time, at most. With
#: ``width`` the parameters lie in panels of so many columns, ``panel`` elements apart (see
#: ``place``, ``panels``). With ``first`` the op reads its rows where they lie in X; x is unused.
#: Those of the next batch lie ``coming`` places further on in the order of rows, in a step whose
#: next one is known, else 0.
#: ``clip`` (CLIP of ``kernels.tile``, or 0) and ``mask`` (1 or 0): the op does a rectifier's work,
#: above it on the way there, below it on the way back; that one's kernel is 0. ``a`` and ``b`` are
#: the layer's constants, ``index`` is its place in the network.
OP = np.dtype([(name, np.int64) for name in (
    "forward", "forward_row", "backward", "gradient", "couple_forward", "couple_backward",
    "first", "first_gradient", "product",
    "n_in", "n_out", "ld_in", "ld_out", "ld_param", "x", "y", "dx", "dy", "param", "mirror",
    "extra", "n_rows", "n_decayed", "in_place", "corrects", "by_columns", "width", "panel",
    "clip", "mask", "coming", "index")]
    + [("a", np.float64), ("b", np.float64)])

#: In place of a mirror: the products are made on matrix tiles, in large shares, and need none.
ON_TILES = -2

#: What there is once: the loss on output x (n of ld, gradient to dx) with its constants, the
#: workspace offsets of targets, row weights, row errors and of each thread's scratch for a
#: gradient tile, and the sizes of blocks. ``n_train`` counts the ops under the loss; a fused
#: last layer only runs in ``predict``. With ``shards`` the batch is cut in so many, whose
#: gradients are summed in their order; each is kept from ``partial`` on, unless that is -1.
HEAD = np.dtype([(name, np.int64) for name in (
    "loss", "n", "ld", "x", "dx", "target", "weight", "error", "scratch", "scratch_size",
    "n_train", "n_features", "ld_features", "capacity", "row_block", "shards", "partial")]
    + [("a", np.float64), ("b", np.float64)])

#: A tile of one layer's parameters: rows ``first`` to ``last``, columns ``left`` to ``right``
#: of op ``op``; nothing to do where that is -1. One thread at a time owns it: gradient, update,
#: mirror. What is summed over all parameters is kept by blocks, as many rows and columns as a
#: vector has lanes, from place ``sum`` on, rows of them ``step`` apart, and added in the order of
#: the places: however an op is cut into tiles, the sum is the same.
TASK = np.dtype([(name, np.int64) for name in (
    "op", "first", "last", "left", "right", "sum", "step")])

#: A pass over the rows of a batch: before it the layer ``couple`` (-1: none) gathers what it
#: needs of all rows, or is shared out by columns; ``back`` on the way back. Then rows are
#: loaded if ``load``; then ops forward from ``first`` to ``last``, the loss if ``loss``, and
#: backward from ``top`` down to ``bottom``.
PASS = np.dtype([(name, np.int64) for name in (
    "couple", "back", "load", "first", "last", "loss", "top", "bottom")])

#: What else is done to gradients and parameters in a step; 0 where not. Penalties ``l1`` and
#: ``l2`` (divided by the rows of the batch if ``by_rows``), gradients clipped by value and
#: by global norm, weight decay (of the gradient, or of the parameters if ``decoupled``),
#: largest norm of a unit's weights, decay of the moving average of the parameters, taken
#: ``apart`` from their updates where those are not all that changes parameters. ``plain``: nothing
#: is done to gradients, and the update is p - size g. ``rule`` and ``limit`` are the kernels of
#: what is done to gradients, and to norms.
RULES = np.dtype([(name, np.float64) for name in (
    "l1", "l2", "by_rows", "clip_value", "clip_norm", "weight_decay", "decoupled", "max_norm",
    "average", "apart", "plain")] + [("rule", np.int64), ("limit", np.int64)])

#: What a kernel may know of the moment: (key, row), unsigned. ``key`` is 0 outside of
#: training, else drawn from seed and step; ``row`` is the block's first row in the batch.
KEY, ROW = 0, 1


def _roles(element: Any) -> dict[str, tuple[Any, ...]]:
    array, numbers = types.Array(element, 1, "C"), types.Array(types.float64, 1, "C")
    n, real, now = types.int64, types.float64, types.UniTuple(types.uint64, 2)
    op, head, task, rules = (numba.from_dtype(kind) for kind in (OP, HEAD, TASK, RULES))
    sums = types.Array(types.float64, 2, "C")
    return {
        # y of rows x; y holds x already where the layer works in place
        "forward": (op, now, array, array, array, array),  # params, ws, x, y
        # dx for dy; dx holds dy already where the layer works in place
        "backward": (op, now, array, array, array, array, array, array),
        # params, ws, x, y, dy, dx
        # gradient of the tile of parameters first:last, left:right over all rows, to grad with
        # ld elements a row: written, added, or added times scale (see ``kernels.tile``), the
        # last where op["corrects"], of up to ``kernels.matmul.SCALED`` rows
        "gradient": (op, now, array, array, array, array, n, n, n, n, n, array, n, n, element),
        # params, ws, x, dy, rows, first, last, left, right, grad, ld, mode, scale
        # what columns left:right of all rows say, into ws[op["extra"]:]; or those columns of y
        # or dx, where op["by_columns"]
        "couple": (op, now, array, array, array, array, n, n, n),
        # params, ws, x, dy, rows, left, right
        # forward of a network's first layer for so many rows of X from row ``at`` on, columns
        # left:right, by the addresses of X and of the numbers of its rows; and its gradient
        "first": (op, array, array, n, n, n, n, n, n),
        # params, ws, X, source, rows, at, left, right
        "first_gradient": (op, array, n, n, n, n, n, n, n, array, n, n, element),
        # ws, X, source, rows, first, last, left, right, grad, ld, mode, scale
        # error[r] = weight[r] E_r, dx = weight[r] dE_r
        "loss": (head, array, array, array, array, array),  # x, t, weight, error, dx
        # a matrix product, by the addresses of its operands; see ``kernels.matmul``
        "product": (n, n, n, n, n, n, n, n, n, n, n, n, n, element),
        # rows, cols, K, A, a_row, a_k, B, b_k, C, c_row, I, i_row, mode, scale
        # one piece p of the parameters by its gradient g and state
        "update": (array, array, array, array, array, real, real, numbers),
        # p, g, slot 0, slot 1, slot 2, size, spread, hyper
        # rules on the gradient of some rows and columns, and on the norms of a tile; see ``rules``
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
    """Whether the kernels in ``field`` do all that ``kind`` does: no user's subclass has put
    ``methods`` of its own in their place."""
    for base in kind.__mro__:
        if field in vars(base):
            return vars(base)[field] is not None
        if any(name in vars(base) for name in methods):
            return False
    return False


@functools.cache
def address(role: str, kernel: Any, dtype: np.dtype[Any]) -> int:
    """Where the machine code of ``kernel`` lies, compiled for ``role``; 0 for None."""
    if kernel is None:
        return 0
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
    """Where the parameters of an op from row ``first`` and column ``left`` on lie."""
    at = op["param"] + first * op["ld_param"] + left
    if op["width"] > 0:
        panel = left // op["width"]
        at += panel * (op["panel"] - op["width"])
    return at
