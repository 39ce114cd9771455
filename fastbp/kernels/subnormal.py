"""Flush subnormal numbers to zero for a while.

A core takes tens to hundreds of cycles for a product of numbers below 1.2e-38 (float32). The
moments of a weight that no longer gets a gradient end there: 0.9 times the smallest of these
numbers rounds to itself, so they stay subnormal forever.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .._jit import DISABLED
from .lanes import call_llvm
from .vectors import ARM, X86

_I32, _I64, _VOID = ir.IntType(32), ir.IntType(64), ir.VoidType()
#: Bits of the control register: for results and operands (FTZ, DAZ) on x86, one for both (FZ) on
#: ARM.
FLUSH = 0x8040 if X86 else 1 << 24 if ARM else 0


def _get_control(typingctx):
    """The thread's floating-point control register; 0 on other machines."""

    def codegen(context, builder, signature, args):
        if X86:
            place = cgutils.alloca_once(builder, _I32)
            call_llvm(builder, "llvm.x86.sse.stmxcsr", _VOID, _bytes(builder, place))
            return builder.zext(builder.load(place), _I64)
        if ARM:
            return call_llvm(builder, "llvm.aarch64.get.fpcr", _I64)
        return _I64(0)

    return types.int64(), codegen


def _set_control(typingctx, value):
    """Set what ``get_control`` returns."""

    def codegen(context, builder, signature, args):
        if X86:
            place = cgutils.alloca_once(builder, _I32)
            builder.store(builder.trunc(args[0], _I32), place)
            call_llvm(builder, "llvm.x86.sse.ldmxcsr", _VOID, _bytes(builder, place))
        elif ARM:
            call_llvm(builder, "llvm.aarch64.set.fpcr", _VOID, args[0])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


def _bytes(builder: Any, place: Any) -> Any:
    return builder.bitcast(place, ir.IntType(8).as_pointer())


get_control: Any = (lambda: 0) if DISABLED else intrinsic(_get_control)
set_control: Any = (lambda value: None) if DISABLED else intrinsic(_set_control)
