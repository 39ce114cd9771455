"""Networks that nobody chose: fastbp against NumPy and JAX on sizes drawn at random.

    pip install -e ".[peers]"
    python -m bench.drawn [--count 60] [--seed 0]

Sizes and batches are drawn evenly on a logarithmic scale, for steps of up to a millisecond or so,
as are activation, optimizer and loss. Each network is timed as in ``bench.peers``: from the same
weights, to the same error, every backend at its better number of threads. Prints the spread of
the ratios and the networks at its lower end, by names that ``bench.peers`` takes.
"""

from __future__ import annotations

import argparse
import math
import statistics
from typing import Any

import numpy as np

from fastbp.peers.measure import best, compare
from fastbp.peers.workload import read, row_of

BACKENDS = ("fastbp", "numpy", "jax.scan")
#: Smallest and largest number of inputs, hidden units and rows of a batch; largest number of
#: outputs, hidden layers and floating-point operations a step.
INPUTS, UNITS, BATCH = (2, 1024), (8, 1024), (8, 1024)
OUTPUTS, DEPTH, FLOPS = 20, 3, 4e8
#: Networks at the lower end that are named.
NAMED = 5


def draw(count: int, seed: int) -> list[dict[str, Any]]:
    """``count`` different workloads, determined by the seed."""
    rng, found = np.random.default_rng(seed), dict[str, dict[str, Any]]()

    def between(low: int, high: int) -> int:
        return round(math.exp(rng.uniform(math.log(low), math.log(high))))

    while len(found) < count:
        sizes = [between(*INPUTS), *(between(*UNITS) for _ in range(rng.integers(1, DEPTH + 1))),
                 int(rng.integers(1, OUTPUTS + 1))]
        words = [rng.choice(["relu", "tanh", "sigmoid"]), rng.choice(["sgd", "adam"])]
        real = sizes[-1] == 1 or rng.random() < 0.3
        row = row_of(":".join(["-".join(map(str, sizes)), str(between(*BATCH)), *words,
                               "l2" if real else "softmax_cross_entropy"]))
        if read([row])[row["name"]].flops <= FLOPS:
            found[row["name"]] = row
    return list(found.values())


def ratios(records: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Ratio of each peer's time to fastbp's, by network, for peers whose error agrees."""
    return {name: {peer: record["us"] / own["fastbp"]["us"] for peer, record in own.items()
                   if peer != "fastbp"} for name, own in best(records).items()}


def report(found: dict[str, dict[str, float]]) -> str:
    """The spread of the ratios, by peer and of the best of them, and the lower end."""
    sides = {peer: sorted(own[peer] for own in found.values() if peer in own)
             for peer in BACKENDS[1:]}
    sides["best of them"] = sorted(min(own.values()) for own in found.values() if own)
    sides = {name: own for name, own in sides.items() if own}  # a peer may not be installed
    lines = ["| time over fastbp's | networks | least | a tenth below | median | most "
             "| geometric mean |", "|---|---:|---:|---:|---:|---:|---:|"]
    for name, own in sides.items():
        figures = (own[0], own[len(own) // 10], statistics.median(own), own[-1],
                   statistics.geometric_mean(own))
        lines.append(f"| {name} | {len(own)} | " + " | ".join(f"{x:.2f}" for x in figures) + " |")
    lines += ["", "Least of the best peer:", ""]
    least = {name: min(own.values()) for name, own in found.items() if own}
    for name in sorted(least, key=least.__getitem__)[:NAMED]:
        lines.append(f"    {name}  " + ", ".join(
            f"{peer} {ratio:.2f}" for peer, ratio in found[name].items()))
    return "\n".join(lines)


def main() -> None:
    """Draw, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=60, help="networks")
    parser.add_argument("--seed", type=int, default=0, help="what draws them")
    given = parser.parse_args()
    found = compare(draw(given.count, given.seed), BACKENDS, budget=0.6, repeat=3)
    print(report(ratios(found["records"])))


if __name__ == "__main__":
    main()
