"""Seconds of a step, measured the same way everywhere."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from fastbp.peers.fastbp import Backend
from fastbp.peers.measure import steps_for


def seconds_per_step(epochs: Callable[[int], None], steps: int, budget: float = 0.4,
                     repeat: int = 5) -> float:
    """Median over ``repeat`` runs of about ``budget`` seconds in all."""
    count = steps_for(epochs, steps, budget / repeat)
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        epochs(count)
        times.append((time.perf_counter() - began) / (count * steps))
    return statistics.median(times)


def time_ratio(one: Backend, other: Backend, turns: int = 5) -> float:
    """Median over turns of the time of a step of ``one`` over that of ``other``."""
    counts = [steps_for(b.epochs, b.steps, 0.05) for b in (one, other)]
    ratios = []
    for _ in range(turns):
        first, second = (seconds_per_step(lambda n, b=b, c=c: b.epochs(n * c),  # type: ignore[misc]
                                          b.steps * c, budget=0, repeat=1)
                         for b, c in zip((one, other), counts, strict=True))
        ratios.append(first / second)
    return statistics.median(ratios)
