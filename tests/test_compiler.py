"""What becomes machine code, when, and what the compiler is told."""

from __future__ import annotations

import sys
from pathlib import Path

from .programs import entries, run


def test_no_full_collections_while_a_kernel_is_compiled() -> None:
    *during, after = run("""
import gc
from numba import types
from numba.extending import intrinsic
from fastbp._jit import CompileError, entry_point, kernel
@intrinsic
def look(typingctx, x):
    print(*gc.get_threshold())
    return types.none(x), lambda context, *_: context.get_dummy_value()
@kernel
def inner(n):
    look(n)
@kernel
def outer(n):
    inner(n)
    look(n * 0.5)
    n.nothing
gc.set_threshold(12345, 6, 7)
try:
    entry_point(outer, (types.int64,))
except CompileError:
    print(*gc.get_threshold())
""", FASTBP_CACHE_DIR="").splitlines()
    assert len(during) > 1 and after == "12345 6 7"
    assert set(during) == {"12345 6 1000000"} or sys.version_info >= (3, 14)


def test_no_full_collections_while_fastbp_is_imported() -> None:
    found = run("""
import gc
import fastbp._garbage
gc.set_threshold(123, 2, 3)
full = []
gc.callbacks.append(lambda phase, about: full.append(about["generation"] == 2))
from fastbp import Network
print(len(full) > 10, any(full), *gc.get_threshold())
""")
    assert found.split() == ["True", "False", "123", "2", "3"] or sys.version_info >= (3, 14)


def test_machine_code_that_failed_once_is_made_later() -> None:
    out = run("""
from numba import types
from numba.core.codegen import JITCodeLibrary
from fastbp._jit import entry_point
from fastbp.kernels.matmul import is_packed
signature, whole = (types.int64,) * 4, JITCodeLibrary._finalize_final_module
is_packed.compile(signature)
def fail(library):
    raise MemoryError
JITCodeLibrary._finalize_final_module = fail
try:
    entry_point(is_packed, signature)
except MemoryError:
    JITCodeLibrary._finalize_final_module = whole
    print(entry_point(is_packed, signature) > 0)
""", FASTBP_CACHE_DIR="")
    assert out.split() == ["True"]


def test_a_kernel_is_optimised_where_it_is_called_by_address() -> None:
    vectors = run("""
from fastbp._jit import entry_point
from fastbp.layers.activations import relu_forward
from fastbp.table import signature
import numpy as np
types = signature("forward", np.dtype("float32"))
relu_forward.compile(types)
library = relu_forward.overloads[types].library
before = " x float>" in library.get_llvm_str()
entry_point(relu_forward, types)
print(before, " x float>" in library.get_llvm_str())
""", FASTBP_CACHE_DIR="")
    assert vectors.split() == ["False", "True"]


def test_long_chains_are_computed_side_by_side() -> None:
    divided = run("""
from fastbp._jit import entry_point
from fastbp.layers.activations import tanh_forward
from fastbp.layers.smooth import gelu_forward
from fastbp.table import signature
import numpy as np
for kernel in (tanh_forward, gelu_forward):
    for dtype in ("float32", "float64"):
        types = signature("forward", np.dtype(dtype))
        entry_point(kernel, types)
        code = kernel.overloads[types].library.get_llvm_str()
        bodies = code.split("vector.body")[1:]  # to the end of its block
        print(max(body.split("br i1")[0].count(" fdiv ") for body in bodies) >= 4)
""", FASTBP_CACHE_DIR="")
    assert divided.split() == ["True"] * 4


def test_what_is_cold_stays_a_call() -> None:
    called = run("""
from numba import types
from fastbp._jit import entry_point, kernel
@kernel(cold=True)
def seldom(x):
    return x * 3
@kernel
def often(x):
    return x + 2
@kernel
def both(x):
    return seldom(x) + often(x)
entry_point(both, (types.int64,))
code = both.overloads[(types.int64,)].library.get_llvm_str()
calls = [line for line in code.splitlines() if " call " in line]
print(any("seldom" in line for line in calls), any("often" in line for line in calls))
""", FASTBP_CACHE_DIR="")
    assert called.split() == ["True", "False"]


_LAZY = """
import numpy as np, fastbp
from numba.core import event
from fastbp.kernels.columns import columns
from fastbp.kernels.matmul import small_product
class Names(event.Listener):
    def on_start(self, e):
        names.append(e.data["dispatcher"].py_func.__name__)
    def on_end(self, e):
        pass
names = []
event.register("numba:compile", Names())
def fit(layer):
    net = fastbp.Network([fastbp.Dense(3, 4), layer, fastbp.Dense(4, 2)], "l2")
    net.fit(np.ones((5, 3)), np.ones((5, 2)))
    return net.params.sum()
"""


def test_only_kernels_that_are_called_by_address_become_machine_code(tmp_path: Path) -> None:
    def waits(code: str, kernel: str) -> list[str]:
        look = (f"[getattr(c.library, 'waits', False) for c in {kernel}.overloads.values()], "
                "'columns' in names, 'small_product' in names")
        return run(f"{_LAZY}{code}\nprint({look})", FASTBP_CACHE_DIR=str(tmp_path)).split()

    assert waits("fit(fastbp.ReLU())", "columns") == ["[True]", "True", "True"]
    assert waits("fit(fastbp.ReLU())", "small_product") == ["[False]", "False", "False"]
    # A new caller copies what the cache has, without compiling it again ...
    assert waits("fit(fastbp.BatchNorm())", "columns") == ["[]", "False", "False"]
    (folder,) = {p.parent for p in entries(tmp_path)}
    for path in folder.glob("small_product-*"):
        path.unlink()
    assert waits("fit(fastbp.ReLU())", "columns") == ["[True]", "False", "True"]
    # ... and what the cache has no machine code for gets it where somebody asks.
    code = """
signature = next(iter(columns.overloads))
from fastbp._jit import entry_point
assert entry_point(columns, signature) == entry_point(columns, signature) > 0
"""
    for path in folder.glob("small_product-*"):
        path.unlink()
    assert waits("fit(fastbp.ReLU())" + code, "columns") == ["[False]", "False", "True"]
