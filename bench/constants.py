"""Derive the planner's constants on this machine: from where threads and shards pay.

    python -m bench.constants

Four sweeps, each step or call timed both ways in turns. Threads: the work of a step of m-m-10
(the planner's measure, multiply-adds) against the time on one thread over that on all. Calls:
the same of ``predict``. Shards: the bytes of activations of a batch against the time without
shards over that with them. Columns: the rows a thread against the time of wide layers shared out
by rows over that by columns. ``plan.LAUNCH_WORK`` and ``plan.SHARD_ACTIVATIONS`` stand where the
ratio passes 1 for good, ``plan.OWN_ROWS`` where it comes down to 1. For threads that depends on
the machine: it has passed 1 at 400,000 and at 4,000,000; below ``plan.PARALLEL_THRESHOLD`` it
never did, from ``plan.SETTLED_WORK`` a thread it always has, and between them a run tries.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from fastbp import plan
from fastbp._jit import thread_count
from fastbp.peers.fastbp import FastbpBackend
from fastbp.peers.workload import Workload

from .timing import seconds_per_step


@contextmanager
def constants(**values: int) -> Iterator[None]:
    """The planner with other constants."""
    kept = {name: getattr(plan, name) for name in values}
    for name, value in values.items():
        setattr(plan, name, value)
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(plan, name, value)


def work_of(width: int, batch: int) -> int:
    """Multiply-adds of a step as the planner counts them."""
    return Workload("", (width, width, 10), batch, "relu", "sgd").network().plan(batch, 1).work


def ratio(work: Workload, one: Callable[[], FastbpBackend],
          other: Callable[[], FastbpBackend], turns: int = 5) -> float:
    """Median over turns of the time of ``one`` over that of ``other``."""
    sides, found = (one(), other()), []
    for side in sides:
        side.epochs(1)
    for _ in range(turns):
        first, second = (seconds_per_step(s.epochs, s.steps, budget=0.05, repeat=1)
                         for s in sides)
        found.append(first / second)
    return statistics.median(found)


def launched(call: Callable[[], object], turns: int = 5) -> float:
    """Median over turns of the time of a call on one thread over that on all."""
    found = []
    for _ in range(turns):
        times = []
        for limit in (1 << 60, 0):
            with constants(LAUNCH_WORK=limit):
                times.append(seconds_per_step(lambda n: [call() for _ in range(n)] and None, 1,
                                              budget=0.05, repeat=1))
        found.append(times[0] / times[1])
    return statistics.median(found)


def main() -> None:
    """Print the sweeps."""
    print("| width | work of a step | one thread / all |\n|---:|---:|---:|")
    for width in (32, 64, 96, 128, 192, 256, 384):
        work = Workload("", (width, width, 10), 32, "relu", optimizer="sgd")
        with constants(PARALLEL_THRESHOLD=0, SETTLED_WORK=0):
            found = ratio(work, lambda w=work: FastbpBackend(w, 1),
                          lambda w=work: FastbpBackend(w))
        print(f"| {width} | {work_of(width, 32):,} | {found:.2f} |", flush=True)
    print(f"\nPARALLEL_THRESHOLD = {plan.PARALLEL_THRESHOLD:,}, SETTLED_WORK = "
          f"{plan.SETTLED_WORK:,} a thread\n")
    print("| rows of 64-100-10 | work of predict | one thread / all |\n|---:|---:|---:|")
    for rows in (256, 512, 1024, 2048, 4096):
        network = Workload("", (64, 100, 10), 32, "relu", "sgd").network()
        X = np.random.default_rng(0).normal(size=(rows, 64)).astype(np.float32)
        work = network.plan(rows).work // 3
        found = launched(lambda net=network, X=X: net.predict(X))  # type: ignore[misc]
        print(f"| {rows} | {work:,} | {found:.2f} |", flush=True)
    print(f"\nLAUNCH_WORK = {plan.LAUNCH_WORK:,}\n")
    print("| batch | bytes of activations | whole / shards |\n|---:|---:|---:|")
    for batch in (1024, 2048, 4096, 8192, 16384):
        work = Workload("", (24, 24, 24, 2), batch, "tanh", optimizer="adam")

        def made(limit: int, w: Workload = work) -> FastbpBackend:
            with constants(SHARD_ACTIVATIONS=limit):
                backend = FastbpBackend(w)
                backend.epochs(1)
            return backend

        with constants(SETTLED_WORK=0):  # both on the same threads
            size = made(1 << 60).network.plan(batch).workspace.nbytes
            found = ratio(work, lambda: made(1 << 60), lambda: made(0))  # noqa: B023
        print(f"| {batch} | {size:,} | {found:.2f} |", flush=True)
    print(f"\nSHARD_ACTIVATIONS = {plan.SHARD_ACTIVATIONS:,}\n")
    print("| rows a thread | width | by rows / by columns |\n|---:|---:|---:|")
    for width in (512, 1024):
        for rows in (16, 64, 256, 512):
            batch = rows * thread_count(None)
            work = Workload("", (width, width, width, 10), batch, "relu", "sgd")

            def shared(limit: int, w: Workload = work) -> FastbpBackend:
                with constants(OWN_ROWS=limit):
                    backend = FastbpBackend(w)
                    backend.epochs(1)
                return backend

            with constants(SETTLED_WORK=0):  # both on all threads
                found = ratio(work, lambda: shared(0), lambda: shared(1 << 30))  # noqa: B023
            print(f"| {rows} | {width} | {found:.2f} |", flush=True)
    print(f"\nOWN_ROWS = {plan.OWN_ROWS}")


if __name__ == "__main__":
    main()
