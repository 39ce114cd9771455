"""Seconds of a step, measured the same way everywhere."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

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
