"""How the cost of a step grows with the work: time per FLOP as one size grows 64-fold.

    pip install -e ".[peers]"
    python -m bench.growth

Prints, for each axis, time per FLOP relative to the best of the axis, and draws ``growth.svg``.
All sizes of an axis are timed in turns and the best turn of each counts: on a shared machine the
others measure its neighbours.
"""

from __future__ import annotations

from pathlib import Path

from fastbp.peers.fastbp import FastbpBackend
from fastbp.peers.workload import Workload

from .timing import seconds_per_step

FACTORS = (1, 2, 4, 8, 16, 32, 64)
#: Smallest size of each axis; the other axes are fixed at WIDTH, DEPTH, BATCH, ROWS meanwhile.
AXES = {"width": 16, "depth": 1, "batch": 8, "rows": 256}
WIDTH, DEPTH, BATCH, ROWS = 64, 2, 64, 4096
TURNS = 8


def workload(axis: str, size: int) -> tuple[Workload, int]:
    """The network with ``axis`` at ``size``, and the rows of its data."""
    at = {"width": WIDTH, "depth": DEPTH, "batch": BATCH, "rows": ROWS} | {axis: size}
    sizes = (at["width"],) * (at["depth"] + 1) + (10,)
    return Workload(f"{axis}-{size}", sizes, at["batch"], "relu", optimizer="sgd"), at["rows"]


def measure(axis: str, n_threads: int | None = None) -> list[tuple[int, float, float]]:
    """(size, seconds a step, seconds per FLOP) along one axis."""
    backends, best = [], [float("inf")] * len(FACTORS)
    for factor in FACTORS:
        work, rows = workload(axis, AXES[axis] * factor)
        backend = FastbpBackend(work, n_threads)
        rows = min(rows, len(backend.X)) // work.batch * work.batch
        backend.X, backend.T = backend.X[:rows], backend.T[:rows]
        backend.steps = rows // work.batch
        backends.append(backend)
    for _ in range(TURNS):
        for k, backend in enumerate(backends):
            step = seconds_per_step(backend.epochs, backend.steps, budget=0.3)
            best[k] = min(best[k], step)
    return [(AXES[axis] * factor, step, step / backend.work.flops)
            for factor, step, backend in zip(FACTORS, best, backends, strict=True)]


def main() -> None:
    """Measure, print, draw."""
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=(7, 4))
    print("| axis | " + " | ".join(f"x{f}" for f in FACTORS) + " | worst / best |")
    print("|---|" + "---:|" * (len(FACTORS) + 1))
    for axis in AXES:
        found = measure(axis)
        best = min(per_flop for _, _, per_flop in found)
        ratios = [per_flop / best for _, _, per_flop in found]
        ax.plot(FACTORS, ratios, "o-", label=f"{axis} (from {AXES[axis]})")
        print(f"| {axis} from {AXES[axis]} | " + " | ".join(f"{r:.2f}" for r in ratios)
              + f" | {max(ratios):.2f} |", flush=True)
    ax.set(xscale="log", xlabel="growth of the work", ylabel="time per FLOP / best",
           ylim=(0, None))
    ax.set_xticks(FACTORS, [f"x{f}" for f in FACTORS])
    ax.legend()
    ax.grid(alpha=0.3)
    plt.savefig(Path(__file__).parent / "growth.svg", bbox_inches="tight")


if __name__ == "__main__":
    main()
