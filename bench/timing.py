"""Seconds of a step, and the machine's peak, measured the same way everywhere."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from fastbp.peak import peak_flops


def steps_for(epoch: Callable[[int], None], steps: int, budget: float) -> int:
    """Epochs of ``steps`` steps that fill ``budget`` seconds; warms up on the way."""
    epoch(1)
    began = time.perf_counter()
    epoch(1)
    return max(1, round(budget / (time.perf_counter() - began)))


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


__all__ = ["peak_flops", "seconds_per_step", "steps_for"]
