"""Words that several threads read and write, and what a thread does while it waits for one."""

from __future__ import annotations

import sys
import time
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .lanes import call_llvm
from .vectors import ARM, X86


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


def _fetch_add(typingctx, sync, index, value):
    """Add ``value`` to sync[index] atomically; returns the value before."""

    def codegen(context, builder, signature, args):
        at = _pointer(context, builder, signature.args[0], args[0], args[1])
        return builder.atomic_rmw("add", at, args[2], "seq_cst")

    return types.int64(sync, types.int64, types.int64), codegen


def _decide(typingctx, sync, index, value):
    """Set sync[index] to ``value`` if it is 0, atomically; returns the value after."""

    def codegen(context, builder, signature, args):
        at = _pointer(context, builder, signature.args[0], args[0], args[1])
        zero = ir.Constant(ir.IntType(64), 0)
        found = builder.cmpxchg(at, zero, args[2], "seq_cst", "seq_cst")
        return builder.select(builder.extract_value(found, 1), args[2],
                              builder.extract_value(found, 0))

    return types.int64(sync, types.int64, types.int64), codegen


def _swap(typingctx, array, index, old, new):
    """Set array[index] to ``new`` if it is ``old``, atomically; returns whether it was."""

    def codegen(context, builder, signature, args):
        at = _pointer(context, builder, signature.args[0], args[0], args[1])
        found = builder.cmpxchg(at, args[2], args[3], "seq_cst", "seq_cst")
        return builder.extract_value(found, 1)

    return types.boolean(array, types.int64, types.int64, types.int64), codegen


def _store(typingctx, array, index, value):
    """Set array[index], after all that this thread has written before."""

    def codegen(context, builder, signature, args):
        at = _pointer(context, builder, signature.args[0], args[0], args[1])
        builder.store_atomic(args[2], at, "release", 8)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), codegen


def _load(typingctx, sync, index):
    """sync[index] as other threads last stored it."""

    def codegen(context, builder, signature, args):
        at = _pointer(context, builder, signature.args[0], args[0], args[1])
        return builder.load_atomic(at, "acquire", 8)

    return types.int64(sync, types.int64), codegen


def _breathe(typingctx, polite):
    """Hint to the core that this is a spin loop; if ``polite``, yield to other threads."""

    def codegen(context, builder, signature, args):
        void, i32 = ir.VoidType(), ir.IntType(32)
        if X86:
            call_llvm(builder, "llvm.x86.sse2.pause", void)
        elif ARM:
            call_llvm(builder, "llvm.aarch64.hint", void, i32(1))
        if sys.platform != "win32":
            with builder.if_then(args[0]):
                call_llvm(builder, "sched_yield", i32)
        return context.get_dummy_value()

    return types.void(types.boolean), codegen


def _now(typingctx):
    """Nanoseconds of ``CLOCK_MONOTONIC``; 0 where there is none."""

    def codegen(context, builder, signature, args):
        i32, i64 = ir.IntType(32), ir.IntType(64)
        if not HAS_CLOCK:
            return i64(0)
        parts = cgutils.alloca_once(builder, ir.ArrayType(i64, 2))  # seconds, nanoseconds
        first = builder.gep(parts, [i32(0), i32(0)])
        call_llvm(builder, "clock_gettime", i32, i32(time.CLOCK_MONOTONIC), first)
        second = builder.load(builder.gep(parts, [i32(0), i32(1)]))
        return builder.add(builder.mul(builder.load(first), i64(10**9)), second)

    return types.int64(), codegen


HAS_CLOCK = hasattr(time, "CLOCK_MONOTONIC")
fetch_add: Any = intrinsic(_fetch_add)
decide: Any = intrinsic(_decide)
swap: Any = intrinsic(_swap)
store: Any = intrinsic(_store)
load: Any = intrinsic(_load)
breathe: Any = intrinsic(_breathe)
now: Any = intrinsic(_now)
