"""The machine's peak rate of multiply-adds, and the share of it that training reaches."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import kernel, thread_count
from ._validation import check_dtype, check_real, check_threads
from .layers import Dense
from .network import Network

_CHAINS, _BYTES = 16, 64


@intrinsic
def _fma_chains(typingctx, x, n):
    """n rounds of independent vector FMAs whose operands stay in registers."""

    def codegen(context, builder, signature, args):
        bits = signature.args[0].bitwidth
        lanes = _BYTES * 8 // bits
        element, int64, int32 = context.get_data_type(signature.args[0]), ir.IntType(64), \
            ir.IntType(32)
        vector = ir.VectorType(element, lanes)
        fma = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{lanes}f{bits}")
        undefined = ir.Constant(vector, ir.Undefined)
        x = builder.shuffle_vector(
            builder.insert_element(undefined, args[0], int32(0)), undefined,
            ir.Constant(ir.VectorType(int32, lanes), None))
        entry, loop, done = builder.block, *(builder.append_basic_block() for _ in range(2))
        builder.branch(loop)
        builder.position_at_end(loop)
        i = builder.phi(int64)
        i.add_incoming(int64(0), entry)
        sums = [builder.phi(vector) for _ in range(_CHAINS)]
        results = [builder.call(fma, [s, x, x]) for s in sums]
        for s, result in zip(sums, results, strict=True):
            s.add_incoming(x, entry)
            s.add_incoming(result, loop)
        following = builder.add(i, int64(1))
        i.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, args[1]), loop, done)
        builder.position_at_end(done)
        total = results[0]
        for result in results[1:]:
            total = builder.fadd(total, result)
        return builder.extract_element(total, int32(0))

    return x(x, types.int64), codegen


@kernel
def spin(x, n):
    """``n`` rounds of multiply-adds of x, as many in each as fill a core."""
    return _fma_chains(x, n)


def peak_flops(dtype: str = "float32", n_threads: int | None = None) -> float:
    """Peak multiply-add rate of ``n_threads`` cores (all by default) in FLOP/s, best of several
    measurements.

    Raises
    ------
    ValueError, TypeError
        For a dtype other than float32 or float64, or ``n_threads`` that is no integer above 0.
    """
    threads, x = thread_count(check_threads(n_threads)), check_dtype(dtype).type(0.5)
    rounds = 1_000_000
    spin(x, 1)
    flops = threads * rounds * _CHAINS * (_BYTES // x.itemsize) * 2
    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(50):  # at first threads may share a core
            began = time.perf_counter()
            list(pool.map(lambda _: spin(x, rounds), range(threads)))
            best = min(best, time.perf_counter() - began)
    return float(flops / best)


def training_flops(network: Network) -> int:
    """Floating-point operations of the matrix products that train ``network`` on one row.

    Up to three products with each weight, of two operations each: the output, the gradient of
    the input if a layer below learns, and that of the weights unless the layer is held.
    """
    layers = network.layers
    learns = [layer.trainable and layer.trained_rows()[0] > 0 for layer in layers]
    return sum(2 * int(layer.n_in) * int(layer.n_out) * (1 + any(learns[:k]) + learns[k])
               for k, layer in enumerate(layers) if isinstance(layer, Dense))


def share_of_peak(network: Network, rows_per_s: float,
                  n_threads: int | None = None) -> dict[str, float]:
    """How near training came to the machine's peak, which is measured for a moment.

    Parameters
    ----------
    network : Network
    rows_per_s : float
        Rows trained per second: "samples_per_s" of a history.
    n_threads : int, optional
        Threads that training ran on; all by default.

    Returns
    -------
    dict
        "gflops" reached, "peak_gflops", and "share", their quotient.

    Raises
    ------
    ValueError, TypeError
        If ``rows_per_s`` is no number of at least 0, or ``n_threads`` no integer above 0.
    """
    reached = training_flops(network) * check_real(rows_per_s, "rows_per_s")
    peak = peak_flops(network.dtype.name, n_threads)
    return {"gflops": reached / 1e9, "peak_gflops": peak / 1e9, "share": reached / peak}
