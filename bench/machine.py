"""What this machine can do, and how much of it neighbours take.

    python -m bench.machine

On a rented machine another customer's thread may run on the other hardware thread of a core. FMAs
on registers hardly notice, but loads run at half the rate, and matrix tiles (AMX) too. So each
product is timed between two measurements of the rate of loads, and its share of the peak of FMAs
is reported separately for times when the core was ours alone and for the others. Then the costs
between two threads: a barrier, reading what the other has written, and a call of a team after a
pause.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import numpy as np

from fastbp._jit import kernel
from fastbp.kernels.launch import cores, launch
from fastbp.kernels.squares import has_squares
from fastbp.kernels.team import assemble, barrier, dismiss
from fastbp.peak import peak_flops

from . import bench_products  # asv would take an imported class for a benchmark of this module
from .bench_products import PRODUCTS, SHAPES

ROWS, TURNS = ("fused64", "mnist-m", "mnist-l", "tabular", "wide", "big"), 60
#: Shares of the best rate of loads: above the first the core is ours alone, below the second not.
#: Matrix tiles lower the clock by a tenth.
ALONE, TAKEN = 0.8, 0.7
_NUMBERS = np.ones(4096, np.float32)  # 16 KiB, in any L1 cache


@kernel
def sweep(x, times):
    """Sum of one number of each cache line of ``x``, eight at a time, ``times`` times."""
    total = x.dtype.type(0)
    for _ in range(times):
        for i in range(0, x.size, 128):
            total += (((x[i] + x[i + 16]) + (x[i + 32] + x[i + 48]))
                      + ((x[i + 64] + x[i + 80]) + (x[i + 96] + x[i + 112])))
    return total


@kernel
def meet(worker, size, sync, n):
    """Run ``n`` barriers; returns whether the team was complete."""
    complete = assemble(worker, sync, size)
    for i in range(n if complete else 0):
        barrier(sync, size, i + 1)
    dismiss(worker, sync)
    return complete


@kernel
def exchange(worker, size, sync, n, arrays, read):
    """``n`` times each thread writes its row of ``arrays`` and, if ``read``, reads the other's."""
    complete = assemble(worker, sync, size)
    total = arrays.dtype.type(0)
    for i in range(n if complete else 0):
        for j in range(arrays.shape[1]):
            arrays[worker, j] = i + j
        barrier(sync, size, 2 * i + 1)
        if read:
            total += sweep(arrays[1 - worker], 1)
        barrier(sync, size, 2 * i + 2)
    dismiss(worker, sync)
    return complete and total >= 0


def loads() -> float:
    """Rate of loads from the L1 cache, bytes/s."""
    sweep(_NUMBERS, 20)  # loads the cache
    began = time.perf_counter()
    sweep(_NUMBERS, 200)
    return 200 * _NUMBERS.nbytes / (time.perf_counter() - began)


def seconds(call: Callable[[], object]) -> float:
    """Time of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def complete_seconds(work: Callable[..., bool], *args: object) -> float:
    """The least time of 9 calls on two threads in which the team was complete."""
    found = []
    while len(found) < 9:
        began = time.perf_counter()
        if launch(work, 2, math.inf, *args):
            found.append(time.perf_counter() - began)
    return min(found)


def cells(row: str, product: str, backend: str, best: float, peak: float) -> list[str]:
    """Shares of ``peak`` alone and beside others; in brackets the number of measurements."""
    work = bench_products.Products()
    work.setup(row, product, backend)
    count = max(1, round(0.003 / seconds(work.multiply)))
    shares: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(TURNS):
        before = loads()
        spent = seconds(lambda: [work.multiply() for _ in range(count)])
        rate = min(before, loads()) / best
        if rate > ALONE or rate < TAKEN:
            shares[rate > ALONE].append(work.flops * count / spent / peak)
    return [f"{statistics.median(s):.2f} ({len(s)})" if s else "-" for s in shares.values()]


def products(best: float) -> None:
    """Print shares of one core's peak, alone and beside neighbours."""
    peak, backends = peak_flops(n_threads=1), ["fastbp", *["matrix tiles"] * has_squares()]
    names = [f"{kind}{when}" for kind in ("", "tiles ")[:len(backends)]
             for when in ("alone", "beside others")]
    print(f"| row | product | {' | '.join(names)} |\n|---|---{'|---:' * len(names)}|")
    for row in ROWS:
        for product in PRODUCTS:
            found = [cell for kind in backends for cell in cells(row, product, kind, best, peak)]
            print(f"| {row} {SHAPES[row]} | {product} | {' | '.join(found)} |", flush=True)


def team() -> None:
    """Print the costs between two threads."""
    launch(meet, 2, math.inf, 10)
    print(f"barrier: {complete_seconds(meet, 100_000) * 1e4:.0f} ns")
    arrays, n = np.zeros((2, 65536), np.float32), 300
    times = [complete_seconds(exchange, n, arrays, read) for read in (True, False)]
    rate = n * arrays[0].nbytes / (times[0] - times[1])
    print(f"what the other core wrote: {rate / 1e9:.1f} GB/s")
    for pause in (0.0, 0.01, 0.1):
        calls, complete = [], 0
        for _ in range(30):
            time.sleep(pause)
            began = time.perf_counter()
            complete += launch(meet, 2, math.inf, 1)
            calls.append(time.perf_counter() - began)
        print(f"call of a team after {pause:g} s: {statistics.median(calls) * 1e6:.0f} us, "
              f"{complete} of 30 complete")


def main() -> None:
    """Print all."""
    sweep(_NUMBERS, 1)
    rates = [loads() for _ in range(2000)]
    best = max(rates)
    print(f"multiply-adds: {peak_flops(n_threads=1) / 1e9:.0f} GFLOP/s a core; loads: "
          f"{best / 1e9:.0f} GB/s at best, less than {TAKEN} of that in "
          f"{sum(r < TAKEN * best for r in rates) / len(rates):.0%} of the time\n")
    products(best)
    print()
    if len(cores()) > 1:
        team()


if __name__ == "__main__":
    main()
