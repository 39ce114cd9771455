"""Derive the planner's constants on this machine: from where threads and shards pay.

    python -m bench.constants

Two sweeps over networks m-m-10 of ReLU, each step timed both ways in turns. Threads: the work
of a step (the planner's measure, multiply-adds) against the time on one thread over that on
all. Shards: the bytes of activations of a batch against the time without shards over that
with them. ``plan.PARALLEL_THRESHOLD`` and ``plan.SHARD_ACTIVATIONS`` stand where the ratio
passes 1 for good.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fastbp import plan
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
    backend = FastbpBackend(Workload("", (width, width, 10), batch, "relu", optimizer="sgd"))
    ops = backend.network.plan(batch, 1).ops
    total = 0
    for k, op in enumerate(ops):
        dense = op["n_rows"] > 0
        total += batch * int(op["ld_out"]) * (int(op["n_in"]) * (3 if k else 2) if dense else 4)
    return total


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


def main() -> None:
    """Print both sweeps."""
    print("| width | work of a step | one thread / all |\n|---:|---:|---:|")
    for width in (32, 64, 96, 128, 192, 256, 384):
        work = Workload("", (width, width, 10), 32, "relu", optimizer="sgd")
        with constants(PARALLEL_THRESHOLD=0):
            found = ratio(work, lambda w=work: FastbpBackend(w, 1),
                          lambda w=work: FastbpBackend(w))
        print(f"| {width} | {work_of(width, 32):,} | {found:.2f} |", flush=True)
    print(f"\nPARALLEL_THRESHOLD = {plan.PARALLEL_THRESHOLD:,}\n")
    print("| batch | bytes of activations | whole / shards |\n|---:|---:|---:|")
    for batch in (1024, 2048, 4096, 8192, 16384):
        work = Workload("", (24, 24, 24, 2), batch, "tanh", optimizer="adam")

        def made(limit: int, w: Workload = work) -> FastbpBackend:
            with constants(SHARD_ACTIVATIONS=limit):
                backend = FastbpBackend(w)
                backend.epochs(1)
            return backend

        whole = made(1 << 60)
        size = whole.network.plan(batch).workspace.nbytes
        found = ratio(work, lambda: made(1 << 60), lambda: made(0))  # noqa: B023
        print(f"| {batch} | {size:,} | {found:.2f} |", flush=True)
    print(f"\nSHARD_ACTIVATIONS = {plan.SHARD_ACTIVATIONS:,}")


if __name__ == "__main__":
    main()
