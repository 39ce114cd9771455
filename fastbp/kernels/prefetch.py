"""Ask for a cache line before it is needed."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .._jit import DISABLED, kernel
from .tile import VECTOR_BYTES


def _prefetch(typingctx, array, index):
    """Bring the line of array[index] near, to be written."""

    def codegen(context, builder, signature, args):
        i8p, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        at = builder.bitcast(builder.gep(data, [args[1]]), i8p)
        touch = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [i8p, i32, i32, i32]),
            "llvm.prefetch.p0")
        builder.call(touch, [at, i32(1), i32(2), i32(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), codegen


prefetch: Any = (lambda array, index: None) if DISABLED else intrinsic(_prefetch)


@kernel
def prefetch_rows(array, at, count, columns, ld):
    """The lines of ``count`` rows of ``columns`` elements, ``ld`` apart, from ``at`` on."""
    for i in range(count):
        line, end = at + i * ld, at + i * ld + columns
        while line < end:
            prefetch(array, line)
            line += VECTOR_BYTES // array.itemsize
