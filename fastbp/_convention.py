"""Calling convention of kernels called by address: an array is a pointer and its shape.

Numba passes seven words for a 1-D array, most of which a kernel does not use; all go through the
stack and are copied in every call. A step of a tiny network is some calls with four to six arrays
and little else. So an address points to a function of this convention, into which LLVM inlines
Numba's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils

#: Whether LLVM vectorises a loop in code that it has inlined: that of Numba 0.61 does not, so
#: there Numba's function is called.
INLINES = llvm.llvm_version_info >= (20,)


def function_type(context: Any, kinds: Iterable[Any]) -> Any:
    """LLVM type of a function with arguments of these Numba types that returns nothing."""
    words = [word for kind in kinds for word in _words(context, kind)]
    return ir.FunctionType(ir.VoidType(), words)


def _words(context: Any, kind: Any) -> list[Any]:
    if isinstance(kind, types.Array):
        size = context.get_value_type(types.intp)
        return [context.get_data_type(kind.dtype).as_pointer(), *[size] * kind.ndim]
    return list(context.get_arg_packer([kind]).argument_types)


def flatten(context: Any, builder: Any, kinds: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    """The words that pass values of these Numba types."""
    words: list[Any] = []
    for kind, value in zip(kinds, values, strict=True):
        if isinstance(kind, types.Array):
            array = context.make_array(kind)(context, builder, value)
            words += [array.data, *cgutils.unpack_tuple(builder, array.shape, kind.ndim)]
        else:
            words += context.get_arg_packer([kind]).as_arguments(builder, [value])
    return words


def array_of(context: Any, builder: Any, kind: Any, data: Any, shape: Sequence[Any]) -> Any:
    """A contiguous array at ``data``, which it does not own."""
    from numba.np.arrayobj import populate_array  # a tenth of import time, only for compilation

    made = context.make_array(kind)(context, builder)
    size = context.get_constant(types.intp, kind.dtype.bitwidth // 8)
    steps = [size]
    for length in reversed(shape[1:]):
        steps.insert(0, builder.mul(steps[0], length))
    populate_array(made, data, list(shape), steps, size, None)
    return made._getvalue()


def _gather(context: Any, builder: Any, kinds: Iterable[Any], words: Sequence[Any]) -> list[Any]:
    """Values of these Numba types from the words that pass them."""
    values, rest = [], list(words)
    for kind in kinds:
        count = len(_words(context, kind))
        own, rest = rest[:count], rest[count:]
        if isinstance(kind, types.Array):
            values.append(array_of(context, builder, kind, own[0], own[1:]))
        else:
            values += context.get_arg_packer([kind]).from_arguments(builder, own)
    return values


def widen(function: Any) -> None:
    """Vectorise loops with full registers, even where LLVM expects AVX-512 to lower the clock."""
    # The base class's add: llvmlite's own refuses attributes that it does not know.
    set.add(function.attributes, '"prefer-vector-width"="512"')


def entry_name(fndesc: Any) -> str:
    """Name of the function of this convention that wraps a Numba function."""
    return f"entry.{fndesc.llvm_func_name}"


def entry_module(context: Any, fndesc: Any) -> Any:
    """LLVM module with that function, which calls Numba's."""
    module = context.codegen()._create_empty_module(entry_name(fndesc))
    kinds = fndesc.argtypes
    entry = ir.Function(module, function_type(context, kinds), entry_name(fndesc))
    widen(entry)
    builder, inner = ir.IRBuilder(entry.append_basic_block()), context.declare_function(
        module, fndesc)
    context.call_conv.call_function(builder, inner, fndesc.restype, kinds,
                                    _gather(context, builder, kinds, entry.args))
    if not INLINES:
        for call in builder.block.instructions:
            if getattr(call, "callee", None) is inner:
                call.attributes.add("noinline")
    builder.ret_void()
    return module
