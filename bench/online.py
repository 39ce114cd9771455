"""Batches that come one by one: a call of ``partial_fit`` against a step of each peer.

    pip install -e ".[peers]"
    python -m bench.online                       # rows of the grid with small steps
    python -m bench.online 20-50-3:64:tanh:adam  # rows of your own: see bench.peers
    python -m bench.online --report              # the table of the last run of these rows

Each call gets NumPy arrays, as an environment, a queue or a user's own loop has them. JAX runs
its steps asynchronously: ``jax.call`` waits only for the last one, ``jax.wait`` for each, as a
loop that reads the loss does. All start from the same weights, must reach the same error, and
are taken at their better number of threads, as in ``bench.peers``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastbp.peers.measure import CALLS, best

from .command import measured, place

ROWS = ("xor", "iris", "rl", "width45", "digits", "kann", "mnist-s", "mnist-m")
RESULTS = Path(__file__).parent / "online.json"


def report(results: dict[str, Any]) -> str:
    """A Markdown table: microseconds a call."""
    table = best(results["records"])
    names = [n for n in CALLS if any(n in own for own in table.values())]
    lines = ["| row | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for row, own in table.items():
        lines.append(f"| {row} | " + " | ".join(
            f"{own[n]['us']:,.0f}" if n in own else "-" for n in names) + " |")
    return "\n".join([*lines, "", f"Microseconds a call on {place(results)}."])


def main() -> None:
    """Measure, keep, print."""
    found, _ = measured(RESULTS, __doc__, ROWS, list(CALLS), budget=0.6, repeat=5)
    print(report(found))


if __name__ == "__main__":
    main()
