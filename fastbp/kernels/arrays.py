"""Unchecked arrays: views of others, arrays on the stack, and arrays at addresses.

A slice costs Numba some twenty instructions, for negative indices and bounds. Offsets of the op
table are valid by construction; a step of a small network consists of little but slices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .._convention import array_of
from .._jit import DISABLED, kernel
from .vectors import VECTOR_BYTES


def _span(typingctx, array, start, stop):
    """array[start:stop], for bounds from 0 to its size."""

    def codegen(context, builder, signature, args):
        data = context.make_array(array)(context, builder, args[0]).data
        return array_of(context, builder, array, builder.gep(data, [args[1]]),
                        [builder.sub(args[2], args[1])])

    return array(array, types.int64, types.int64), codegen


def _stack_array(typingctx, like, size):
    """An uninitialised array on the stack, of the dtype of ``like``; ``size`` is constant, in
    bytes."""
    array = types.Array(like.dtype, 1, "C")

    def codegen(context, builder, signature, args):
        element = context.get_data_type(like.dtype)
        n = size.literal_value * 8 // like.dtype.bitwidth
        with builder.goto_entry_block():  # cgutils.alloca_once would clear it
            data = builder.alloca(ir.ArrayType(element, n))
        data.align = VECTOR_BYTES
        return array_of(context, builder, array, builder.bitcast(data, element.as_pointer()),
                        [context.get_constant(types.intp, n)])

    return array(like, size), codegen


def _address(typingctx, array):
    """The address of the data of ``array``."""

    def codegen(context, builder, signature, args):
        data = context.make_array(array)(context, builder, args[0]).data
        return builder.ptrtoint(data, ir.IntType(64))

    return types.int64(array), codegen


def _array_at(typingctx, address, like):
    """An array of the type of the scalar ``like`` at ``address``. Its size is unknown: that given
    is none that ``NUMBA_BOUNDSCHECK`` would find an index to exceed."""
    array = types.Array(like, 1, "C")

    def codegen(context, builder, signature, args):
        element = context.get_data_type(like)
        return array_of(context, builder, array, builder.inttoptr(args[0], element.as_pointer()),
                        [context.get_constant(types.intp, types.intp.maxval)])

    return array(address, like), codegen


def _lanes_of(typingctx, array):
    """Number of elements of ``array`` in a vector: a constant, while ``itemsize`` is a variable,
    by which to divide takes longer than to transpose a small block."""

    def codegen(context, builder, signature, args):
        return context.get_constant(types.intp, VECTOR_BYTES * 8 // array.dtype.bitwidth)

    return types.intp(array), codegen


span: Any = intrinsic(_span)
address_of: Any = intrinsic(_address)
array_at: Any = intrinsic(_array_at)
stack_array: Any = intrinsic(prefer_literal=True)(_stack_array)
lanes_of: Any = intrinsic(_lanes_of)

if DISABLED:
    def span(array, start, stop):  # noqa: F811
        """The same in NumPy."""
        return array[start:stop]

    def address_of(array):  # noqa: F811
        """In Python the array itself, for ``array_at``."""
        return array

    def array_at(address, like):  # noqa: F811
        """The array that ``address_of`` gave."""
        return address

    def stack_array(like, size):  # noqa: F811
        """The same in NumPy."""
        return np.empty(size // like.itemsize, like.dtype)

    def lanes_of(array):  # noqa: F811
        """The same in NumPy."""
        return VECTOR_BYTES // array.itemsize


@kernel(inline=True)
def row_of(array, r, ld):
    """Row ``r`` of an array with rows of ``ld`` elements."""
    return span(array, r * ld, (r + 1) * ld)
