"""Kernels of dense layers whose products use matrix tiles (AMX, see ``kernels.squares``).

Only in training, with many rows: a row by itself would get other bits than among others.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._jit import kernel
from .._validation import Array
from ..kernels.arrays import span
from ..kernels.by_squares import PRODUCTS
from ..kernels.columns import ONE, ZERO
from ..kernels.matmul import multiply
from ..kernels.squares import has_squares
from ..kernels.tile import ADD, MASK, WRITE
from ..table import ON_TILES, address, place
from .base import Layer
from .dense import Dense

#: Inputs and outputs of a layer, and rows of a batch, from which matrix tiles gain more than
#: packing the operands costs, by precision. From 64 rows on "highest" would gain a sixth on one
#: thread, but lose as much on several, beside other busy hardware threads.
UNITS = {"highest": 128, "high": 128, "medium": 64}
ROWS = {"highest": 128, "high": 64, "medium": 32}
#: Columns at a time where a team shares out a layer by columns: each share packs all rows again.
SHARE = 512


@kernel
def square_backward(op, now, params, ws, x, y, dy, dx):
    """dx = dy W from W' itself, for the rows of one block."""
    ldx, ldy, mask = op["ld_in"], op["ld_out"], op["mask"] != 0
    multiply(op, dx.size // ldx, op["n_in"], op["n_out"], dy, ldy, ONE,
             span(params, op["param"], params.size), -ldy, dx, ldx, x if mask else dx, ldx,
             MASK if mask else WRITE, x.dtype.type(0))


@kernel
def square_columns_backward(op, now, params, ws, x, dy, rows, left, right):
    """Columns of dx = dy W, for all rows of the batch."""
    ldx, n, dx, mode = op["ld_in"], op["n_out"], span(ws, op["dx"] + left, ws.size), WRITE
    width = op["width"] if op["width"] > 0 else n
    for k in range(ZERO, n, width):  # panels of W'
        multiply(op, rows, right - left, min(width, n - k), span(dy, k, dy.size), op["ld_out"],
                 ONE, span(params, place(op, left, k), params.size), -op["ld_param"], dx, ldx, dx,
                 ldx, mode, x.dtype.type(0))
        mode = ADD


def is_square(layer: Layer, dtype: np.dtype[Any], n_in: int, n_out: int, rows: int,
              precision: str | None) -> bool:
    """Whether matrix tiles pay in training with batches of ``rows`` rows."""
    return (precision is not None and rows >= ROWS[precision]
            and min(n_in, n_out) >= UNITS[precision] and dtype == np.float32
            and isinstance(layer, Dense) and layer.kernels == Dense.kernels
            and type(layer).kernels_for is Dense.kernels_for and has_squares())


def use_squares(op: Array, dtype: np.dtype[Any], precision: str) -> None:
    """Make an op's products use matrix tiles, and no mirror of W."""
    op["mirror"], op["product"] = ON_TILES, address("product", PRODUCTS[precision], dtype)
    if op["backward"]:
        op["backward"] = address("backward", square_backward, dtype)
    if op["by_columns"]:
        op["by_columns"] = SHARE
        op["couple_backward"] = address("couple", square_columns_backward, dtype)
