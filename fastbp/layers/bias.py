"""The gradient of a dense layer's bias: the sum of the rows of dY."""

from __future__ import annotations

from .._jit import kernel
from ..kernels.add import add_scaled
from ..kernels.arrays import span, stack_array
from ..kernels.columns import ZERO
from ..kernels.passes import down_columns
from ..kernels.tile import ADD, SCALE
from .base import SQUARE_TASK_ROW

#: Most bytes of the bias in a tile of parameters.
_BIAS = SQUARE_TASK_ROW

#: Adds the rows in order: threads may cut them anywhere, and bits must not depend on where.
add_rows = down_columns(lambda dy: ((), (dy,)), 1)


@kernel(inline=True)
def bias_gradient(dy, ldy, rows, dbias, mode, scale):
    """The bias part of a tile's gradient, to ``dbias`` by ``mode`` (see ``kernels.tile``)."""
    columns = dbias.size
    total = span(stack_array(dy, _BIAS), ZERO, columns) if mode == SCALE else dbias
    if mode != ADD:
        for j in range(columns):
            total[j] = 0
    add_rows(rows, columns, ldy, (dy,), (), (), (), (), (total,))
    if mode == SCALE:
        add_scaled(dbias, scale, total)
