"""Seconds of a step, measured the same way everywhere."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from fastbp.peers.fastbp import Backend
from fastbp.peers.measure import epochs_for


def seconds(epochs: Callable[[int], None], count: int) -> float:
    """How long ``count`` epochs take."""
    began = time.perf_counter()
    epochs(count)
    return time.perf_counter() - began


def seconds_per_step(epochs: Callable[[int], None], steps: int, budget: float = 0.4,
                     repeat: int = 5) -> float:
    """Median over ``repeat`` runs of about ``budget`` seconds in all."""
    count = epochs_for(epochs, budget / repeat)
    return statistics.median(seconds(epochs, count) for _ in range(repeat)) / (count * steps)


def ratio_of_times(one: Backend, other: Backend, turns: int = 5) -> float:
    """Median over turns of the ratio of a step's time with ``one`` to that with ``other``."""
    counts = [epochs_for(b.epochs, 0.05) for b in (one, other)]
    shares = counts[0] * one.steps / (counts[1] * other.steps)
    return statistics.median(seconds(one.epochs, counts[0]) / seconds(other.epochs, counts[1])
                             for _ in range(turns)) / shares
