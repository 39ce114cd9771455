"""How many threads train: as many as pay on this machine, by the times of the first calls.

A team hands weights and activations from core to core in every step. Where cores share a
cache that is hardly seen; where they do not it takes 10 us, and a step of 13 us on one
thread takes 23 us on two. So for steps that are neither small enough for one thread nor
large enough for all on any machine, the first calls of a run try some numbers, and later
runs of the shape know. No result depends on the number.
"""

from __future__ import annotations

from typing import Any

from .network import Network

#: Calls of each number of threads that are compared, and how long one should take: long
#: beside its launch. Seconds.
_TRIALS, _TRIAL_SECONDS = 3, 0.002
#: More threads must save so much of the time.
_GAIN = 0.03
#: What runs before found out, by shape of the step.
_found: dict[Any, int] = {}


class Threads:
    """The number of threads for a run's next call.

    Parameters
    ----------
    network : Network
    batch_size : int
    most : int
        Threads to use at most.

    Attributes
    ----------
    size : int
        Threads for the next call.
    """

    def __init__(self, network: Network, batch_size: int, most: int) -> None:
        self.size, self._times = most, dict[int, list[float]]()
        if most == 1 or not network.compiled:
            return
        plan = network.plan(batch_size, most)
        if plan.settled:
            return
        self._key = plan.ops.tobytes(), batch_size, plan.n_threads
        self.size = _found.get(self._key, 1)
        if self._key not in _found:
            tried = most = plan.n_threads
            while tried:
                self._times[tried], tried = [], tried // 2

    def call_seconds(self, longest: float) -> float:
        """How long the next call should take, at most ``longest``."""
        return min(longest, _TRIAL_SECONDS) if self._times else longest

    def told(self, steps: int, seconds: float, cut: bool) -> None:
        """Learn from a call; ``cut`` says that it could not be longer."""
        if not self._times or (seconds < _TRIAL_SECONDS / 2 and not cut):
            return
        self._times[self.size].append(seconds / steps)
        fewest = min(self._times, key=lambda n: len(self._times[n]))
        if len(self._times[fewest]) < _TRIALS:
            self.size = fewest
            return
        best = {n: min(times) for n, times in self._times.items()}
        enough = min(best.values()) * (1 + _GAIN)
        self.size = _found[self._key] = min(n for n, time in best.items() if time <= enough)
        self._times = {}
