"""Derive the planner's constants on this machine: from where threads and shards pay.

    python -m bench.constants

Each sweep times steps or calls both ways, in turns, and prints the ratio of the times against the
quantity by which the planner decides (constants of ``sharing``). ``LAUNCH_WORK``,
``SHARD_ACTIVATIONS``, ``CUT_BYTES``, ``PANEL_STEPS``, ``PREFETCH_BYTES`` and ``layers.dense.WIDE``
are where the ratio passes 1 for good, ``OWN_ROWS``, ``PANEL_ROWS``, ``PANEL_BYTES``,
``COPIED_BYTES``, ``PICK_COLUMNS`` and ``PICK_FAR`` where it comes down to 1, ``PICK_BYTES`` where
it is worth a second or two of compilation, once. For threads this point depends on the machine:
the ratio has passed 1 at 200,000 and at 4,000,000, with shards below 100,000 and, where cores
share no cache, far above. From ``SETTLED_WORK`` a thread on it always has; between
``PARALLEL_THRESHOLD`` or ``SHARDED_THRESHOLD`` and there a run tries.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastbp import sharing
from fastbp._jit import thread_count
from fastbp.callbacks import Lambda
from fastbp.layers import dense
from fastbp.peers import workload
from fastbp.peers.fastbp import FastbpBackend
from fastbp.peers.workload import Workload

from .timing import ratio_of_times, seconds_per_step


@contextmanager
def constants(where: Any = sharing, **values: int) -> Iterator[None]:
    """Set constants of the planner, or of the module ``where``, within a context."""
    kept = {name: getattr(where, name) for name in values}
    for name, value in values.items():
        setattr(where, name, value)
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(where, name, value)


def work_of(width: int, batch: int) -> int:
    """Multiply-adds of a step as the planner counts them."""
    return Workload("", (width, width, 10), batch, "relu", "sgd").network().plan(batch, 1).work


def ratio(work: Workload, one: Callable[[], FastbpBackend],
          other: Callable[[], FastbpBackend], turns: int = 5) -> float:
    """Median over turns of the ratio of the time of ``one`` to that of ``other``."""
    sides = one(), other()
    for side in sides:
        side.epochs(1)
    return ratio_of_times(*sides, turns=turns)


def launched(call: Callable[[], object], turns: int = 5) -> float:
    """Median over turns of the ratio of a call's time on one thread to that on all."""
    found = []
    for _ in range(turns):
        times = []
        for limit in (1 << 60, 0):
            with constants(LAUNCH_WORK=limit):
                times.append(seconds_per_step(lambda n: [call() for _ in range(n)] and None, 1,
                                              budget=0.05, repeat=1))
        found.append(times[0] / times[1])
    return statistics.median(found)


def either_way(work: Workload, name: str, low: int, high: int, where: Any = sharing,
               n_threads: int | None = None) -> float:
    """Ratio of a step's time with constant ``name`` at ``high`` to that with it at ``low``."""
    def made(value: int) -> FastbpBackend:
        with constants(where, **{name: value}):
            backend = FastbpBackend(work, n_threads)
            backend.epochs(1)  # plans
        return backend

    with constants(SETTLED_WORK=0, PARALLEL_THRESHOLD=0):  # both on the same threads
        return ratio(work, lambda: made(high), lambda: made(low))


def threads() -> None:
    """The work of a step from which more threads pay."""
    plain, sharded = {"PARALLEL_THRESHOLD": 0}, {"PARALLEL_THRESHOLD": 1 << 60,
                                                 "SHARDED_THRESHOLD": 0}
    for batch, widths, limits in ((32, (32, 64, 96, 128, 192, 256, 384), plain),
                                  (128, (8, 16, 32, 64, 96), sharded)):
        print(f"| width, batches of {batch} | work of a step | one thread / all |")
        print("|---:|---:|---:|")
        for width in widths:
            work = Workload("", (width, width, 10), batch, "relu", optimizer="sgd")
            with constants(SETTLED_WORK=0, **limits):
                found = ratio(work, lambda w=work: FastbpBackend(w, 1),
                              lambda w=work: FastbpBackend(w))
            print(f"| {width} | {work_of(width, batch):,} | {found:.2f} |", flush=True)
        print()
    print(f"PARALLEL_THRESHOLD = {sharing.PARALLEL_THRESHOLD:,}, SHARDED_THRESHOLD = "
          f"{sharing.SHARDED_THRESHOLD:,}, SETTLED_WORK = {sharing.SETTLED_WORK:,} a thread\n")


def calls() -> None:
    """The same for a call of ``predict``."""
    print("| rows of 64-100-10 | work of predict | one thread / all |\n|---:|---:|---:|")
    for rows in (256, 512, 1024, 2048, 4096):
        network = Workload("", (64, 100, 10), 32, "relu", "sgd").network()
        X = np.random.default_rng(0).normal(size=(rows, 64)).astype(np.float32)
        work = network.plan(rows).work // 3
        found = launched(lambda net=network, X=X: net.predict(X))  # type: ignore[misc]
        print(f"| {rows} | {work:,} | {found:.2f} |", flush=True)
    print(f"\nLAUNCH_WORK = {sharing.LAUNCH_WORK:,}\n")


def shards() -> None:
    """The bytes of a batch's activations from which sixteen shards pay, and where a few do."""
    print("| batch | bytes of activations | whole / shards |\n|---:|---:|---:|")
    for batch in (1024, 2048, 4096, 8192, 16384):
        work = Workload("", (24, 24, 24, 2), batch, "tanh", optimizer="adam")
        with constants(SHARD_ACTIVATIONS=1 << 60):
            size = work.network().plan(batch).workspace.nbytes
        with constants(FEW_WEIGHTS=0):
            found = either_way(work, "SHARD_ACTIVATIONS", 0, 1 << 60)
        print(f"| {batch} | {size:,} | {found:.2f} |", flush=True)
    print(f"\nSHARD_ACTIVATIONS = {sharing.SHARD_ACTIVATIONS:,}\n")
    print("| width | batch | bytes of weights | activations / weights | whole / a few shards | "
          "one thread |\n|---:|---:|---:|---:|---:|---:|")
    for width, batch in ((48, 128), (64, 128), (64, 256), (64, 2048), (120, 128), (120, 256),
                         (120, 2048), (240, 512), (240, 2048), (480, 1024), (480, 2048)):
        work = Workload("", (100, width, width, 10), batch, "relu", optimizer="adam")
        ops = work.network().plan(batch).ops
        dense, size = ops[ops["param"] >= 0], work.network().params.size
        times = batch * (dense["ld_in"][0] + dense["ld_out"].sum()) / size
        found = [either_way(work, "FEW_WEIGHTS", 1 << 60, 0, n_threads=n) for n in (None, 1)]
        print(f"| {width} | {batch} | {4 * size:,} | {times:.1f} | {found[0]:.2f} | "
              f"{found[1]:.2f} |", flush=True)
    print(f"\nFEW_WEIGHTS = {sharing.FEW_WEIGHTS:,}\n")


def copies() -> None:
    """The bytes of gradients of other threads' shards up to which each thread has a copy of all
    parameters."""
    print("| sizes | batch | bytes of others' gradients | one set of parameters / copies |\n"
          "|---|---:|---:|---:|")
    for sizes, batch in (((24, 8, 2), 200), ((10, 24, 24, 10), 128), ((4, 32, 16, 4), 10000),
                         ((10, 45, 45, 10), 128), ((16, 64, 64, 10), 128), ((16, 64, 64, 10), 256),
                         ((16, 96, 96, 10), 256), ((64, 96, 96, 10), 512)):
        work = Workload("", sizes, batch, "tanh", optimizer="adam")
        with constants(COPIED_BYTES=1 << 60, SHARDED_THRESHOLD=0):
            made = work.network().plan(batch, training=True, carried=3)
            found = either_way(work, "COPIED_BYTES", 1 << 60, 0)
        shards = int(made.head["shards"][0])
        size = 4 * (shards - shards // made.n_threads) * made.n_params
        print(f"| {'-'.join(map(str, sizes))} | {batch} | {size:,} | {found:.2f} |", flush=True)
    print(f"\nCOPIED_BYTES = {sharing.COPIED_BYTES:,}\n")


def columns() -> None:
    """The rows for each thread up to which wide layers are better shared out by columns."""
    print("| rows a thread | width | by rows / by columns |\n|---:|---:|---:|")
    for width in (512, 1024):
        for rows in (16, 64, 256, 512):
            batch = rows * thread_count(None)
            work = Workload("", (width, width, width, 10), batch, "relu", "sgd")
            with constants(PANEL_BYTES=0):
                found = either_way(work, "OWN_ROWS", 1 << 30, 0)
            print(f"| {rows} | {width} | {found:.2f} |", flush=True)
    print(f"\nOWN_ROWS = {sharing.OWN_ROWS}\n")


class InPanels(FastbpBackend):
    """Calls of an epoch, with the given ``sharing.PANEL_STEPS``."""

    def __init__(self, work: Workload, panel_steps: int) -> None:
        super().__init__(work, callbacks=[Lambda(lambda *_: None)])
        self.panel_steps = panel_steps

    def epochs(self, n: int, shuffle: bool = True) -> None:
        """As ``FastbpBackend``."""
        with constants(PANEL_STEPS=self.panel_steps):
            super().epochs(n, shuffle)


def panels() -> None:
    """The bytes of weights from which panels pay, and those up to which a call converts the
    parameters to panels and back."""
    print("| layer | bytes of weights | whole / panels, first | above another |\n"
          "|---:|---:|---:|---:|")
    for m, n in ((64, 64), (128, 64), (128, 96), (128, 128), (256, 128), (256, 256)):
        batch = min(m, n) // 4 * thread_count(None)
        found = [either_way(Workload("", (*sizes, n, 10), batch, "relu", "sgd"), "CUT_BYTES", 0,
                            1 << 60) for sizes in ((m,), (16, m))]
        print(f"| {m} x {n} | {4 * m * n:,} | {found[0]:.2f} | {found[1]:.2f} |", flush=True)
    print(f"\nCUT_BYTES = {sharing.CUT_BYTES:,}\n")
    print("| width | rows for each column | whole / panels |\n|---:|---:|---:|")
    for width in (256, 512):
        for rows in (0.25, 0.5, 1, 2):
            work = Workload("", (width, width, width, 10), int(rows * width), "relu", "sgd")
            with constants(OWN_ROWS=1 << 60):
                found = either_way(work, "PANEL_ROWS", 1 << 30, 0)
            print(f"| {width} | {rows} | {found:.2f} |", flush=True)
    print(f"\nPANEL_ROWS = {sharing.PANEL_ROWS}\n")
    print("| width | bytes carried | whole / panels |\n|---:|---:|---:|")
    for width in (512, 768, 1000, 1400):
        work = Workload("", (width, width, width, 10), 64, "relu", "sgd")
        found = either_way(work, "PANEL_BYTES", 1 << 60, 0)
        print(f"| {width} | {work.network().params.nbytes:,} | {found:.2f} |", flush=True)
    print(f"\nPANEL_BYTES = {sharing.PANEL_BYTES:,}\n")
    print("| steps of a call | sgd: whole / panels | adam |\n|---:|---:|---:|")
    for steps in (1, 2, 3, 6, 9, 18):
        found = []
        for optimizer in ("sgd", "adam"):
            work = Workload("", (784, 128, 10), 128, "relu", optimizer)
            with constants(workload, BATCHES=steps):
                found.append(ratio(work, lambda w=work: InPanels(w, 1 << 60),  # type: ignore[misc]
                                   lambda w=work: InPanels(w, 0)))  # type: ignore[misc]
        print(f"| {steps} | {found[0]:.2f} | {found[1]:.2f} |", flush=True)
    print(f"\nPANEL_STEPS = {sharing.PANEL_STEPS} for each array carried: 1, and 3 of Adam\n")


def picks() -> None:
    """The bytes of a row of X from which training better reads it in place, and up to which bytes
    of a row of output that a thread computes from it."""
    print("| columns of X | bytes of a row | gathered / in place |\n|---:|---:|---:|")
    for m in (32, 64, 100, 200, 400, 784):
        work = Workload("", (m, 64, 10), 64, "relu", "sgd")
        found = either_way(work, "PICK_BYTES", 0, 1 << 60, n_threads=1)
        print(f"| {m} | {4 * m:,} | {found:.2f} |", flush=True)
    print(f"\nPICK_BYTES = {sharing.PICK_BYTES:,}\n")
    print("| columns of y | bytes of a row | gathered / in place | in batches of 1,000 |\n"
          "|---:|---:|---:|---:|")
    for n in (32, 64, 128, 192, 256):
        with constants(PICK_COLUMNS=1 << 60, PICK_FAR=1 << 60):
            found = [either_way(Workload("", (784, n, 10), batch, "relu", "sgd"), "PICK_BYTES", 0,
                                1 << 60, n_threads=1) for batch in (64, 1000)]
        print(f"| {n} | {4 * n:,} | {found[0]:.2f} | {found[1]:.2f} |", flush=True)
    print(f"\nPICK_COLUMNS = {sharing.PICK_COLUMNS}, PICK_FAR = {sharing.PICK_FAR}\n")


class Prefetching(FastbpBackend):
    """Training on one thread with the given ``sharing.PREFETCH_BYTES``."""

    def __init__(self, work: Workload, prefetch_bytes: int) -> None:
        super().__init__(work, 1)
        self.prefetch_bytes = prefetch_bytes

    def epochs(self, n: int, shuffle: bool = True) -> None:
        """As ``FastbpBackend``."""
        with constants(PREFETCH_BYTES=self.prefetch_bytes):
            super().epochs(n, shuffle)


def asks() -> None:
    """The bytes of X from which it is better to prefetch rows."""
    print("| bytes of X | rows of 32 bytes: not prefetched / prefetched | of 256 bytes |\n"
          "|---:|---:|---:|")
    for size in (1 << k for k in range(16, 26)):
        found = []
        for m in (8, 64):
            work = Workload("", (m, 64, 10), 32, "relu", "sgd")
            with constants(workload, BATCHES=size // (4 * m * work.batch)):
                found.append(ratio(work, lambda w=work: Prefetching(w, 1 << 60),  # type: ignore[misc]
                                   lambda w=work: Prefetching(w, 0)))  # type: ignore[misc]
        print(f"| {size:,} | {found[0]:.2f} | {found[1]:.2f} |", flush=True)
    print(f"\nPREFETCH_BYTES = {sharing.PREFETCH_BYTES:,}\n")


def mirrors() -> None:
    """The bytes of weights from which the backward pass is better without a mirror."""
    print("| width | bytes of weights | with mirror / without |\n|---:|---:|---:|")
    for width in (256, 384, 496, 640, 768):
        work = Workload("", (width, width, width, 10), 128, "relu", "sgd")
        found = either_way(work, "WIDE", 0, 1 << 60, dense, n_threads=1)
        print(f"| {width} | {4 * width * width:,} | {found:.2f} |", flush=True)
    print(f"\nWIDE = {dense.WIDE:,}")


def main() -> None:
    """Print the sweeps."""
    for sweep in (threads, calls, shards, copies, columns, panels, picks, asks, mirrors):
        sweep()


if __name__ == "__main__":
    main()
