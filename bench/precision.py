"""Products of fewer bits, on matrix tiles (AMX): ``matmul_precision`` of fastbp and of PyTorch.

    pip install -e ".[peers]"
    python -m bench.precision                    # rows of the grid with large layers
    python -m bench.precision 784-1024-10:256    # rows of your own: see bench.peers
    python -m bench.precision --report           # the table of the last run of these rows

"high" rounds the factors of a product to 16 bits, "medium" to the 8 of bfloat16; sums are float32.
On CPUs PyTorch's "high" is its "highest". All start from the same weights, must reach nearly the
same error, and are taken at their better number of threads, as in ``bench.peers``. Then a network
of 784-512-256-10 learns the 5,000 digits of the bundled MNIST at each precision, from several
seeds.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import fastbp
from fastbp import datasets
from fastbp._validation import PRECISIONS as LEVELS
from fastbp.peers.measure import PRECISIONS, best

from .command import measured, store

ROWS = ("mnist-m", "mnist-l", "dll", "fused64", "tabular", "wide", "big")
RESULTS = Path(__file__).parent / "precision.json"
SEEDS, EPOCHS, BATCH = 5, 15, 128


def accuracy(precision: str, seed: int) -> float:
    """Share of held-out digits that a trained network recognizes."""
    X, X_test, T, T_test = datasets.split(datasets.load("mnist"), 0.2, seed=seed)
    net = fastbp.Network([fastbp.Dense(784, 512, weight_init="he_uniform"), fastbp.ReLU(),
                          fastbp.Dense(512, 256, weight_init="he_uniform"), fastbp.ReLU(),
                          fastbp.Dense(256, 10)], "SoftmaxCrossEntropyLoss", seed=seed,
                         matmul_precision=precision)
    net.fit(X, T, epochs=EPOCHS, batch_size=BATCH, optimizer=fastbp.Adam(1e-3))
    return float((net.predict(X_test).argmax(axis=1) == T_test).mean())


def report(results: dict[str, Any]) -> str:
    """A Markdown table: microseconds a step, and ratios: PyTorch's best is at any precision."""
    table = best(results["records"])
    names = [n for n in PRECISIONS if any(n in own for own in table.values())]
    lines = ["| row | " + " | ".join(names) +
             " | highest / medium | best PyTorch / fastbp.medium |",
             "|---|" + "---:|" * (len(names) + 2)]
    for row, own in table.items():
        us = {name: record["us"] for name, record in own.items()}
        ours = us.get("fastbp.medium", float("nan"))
        peers = [us[n] for n in us if n.startswith("torch")]
        lines.append(f"| {row} | " + " | ".join(
            f"{us[n]:,.0f}" if n in us else "-" for n in names)
            + f" | {us['fastbp'] / ours:.2f} | {min(peers, default=float('nan')) / ours:.2f} |")
    told = ", ".join(f"{name} {share:.1%}" for name, share in results["accuracy"].items())
    return "\n".join([*lines, "", f"Microseconds a step on {results['cores']} cores "
                                  f"({results['cpu']}).",
                      f"Accuracy on held-out digits, mean of {SEEDS} seeds: {told}."])


def main() -> None:
    """Measure, keep, print."""
    found, path = measured(RESULTS, __doc__, ROWS, list(PRECISIONS), budget=2.0, repeat=5)
    if "accuracy" not in found:
        found["accuracy"] = {precision: statistics.mean(accuracy(precision, seed)
                                                        for seed in range(SEEDS))
                             for precision in LEVELS}
        store(found, path)
    print(report(found))


if __name__ == "__main__":
    main()
