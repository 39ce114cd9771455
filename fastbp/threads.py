"""How many threads train: as many as pay on this machine, by the times of the first calls.

A team passes weights and activations from core to core in every step. Where cores share a
cache that hardly shows; where they do not it takes 10 us, and a step of 13 us on one
thread takes 23 us on two. So for steps that are neither clearly small enough for one thread
nor clearly large enough for all, the first calls of a run try some numbers of threads, and later
runs of the same kind of step use the result. After a while the trial is repeated, as other load
at that moment may have decided it. The time of a step is kept as well: it tells how many steps
the first call of a run should take. No result depends on either number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .run import Run

#: Calls compared for each number of threads; seconds that one should take, for each thread of the
#: largest team: long beside its launch, in which threads wake one by one; and the most that one
#: should take, half of the limit of a call (``job.CHUNK_SECONDS``).
_TRIALS, _TRIAL_SECONDS, _LONGEST_TRIAL = 3, 0.005, 0.025
#: Seconds of training until the next trial, at first, and at most: a trial that confirms the
#: number doubles them, as each trial costs some ms with the slower numbers.
_AGAIN, _RARELY = 1.0, 60.0
#: A new trial begins after _LATE_CALLS calls in a row whose steps took more than _LATE times as
#: long as in the trial that chose the number.
_LATE_CALLS, _LATE = 3, 1.3
#: Fraction of the time that more threads must save.
_GAIN = 0.03


@dataclass
class _Kind:
    """What is known of a kind of step: the number of threads that pays, 0 before the first trial
    ends, the seconds of a step for which it was chosen, the seconds left until the next trial and
    the whole interval, and the times of a trial in progress."""

    size: int = 0
    chosen: float = 0.0
    left: float = 0.0
    again: float = 0.0
    times: dict[int, list[float]] = field(default_factory=dict)


#: Kinds of step that runs have had, and the seconds of a recent step. Keys are hashes: tables of
#: ops are long, and should two be alike, only time is lost.
_kinds: dict[int, _Kind] = {}
_paces: dict[int, float] = {}
#: Entries that each of them has at most. A run keeps what it shares when its entry goes.
_KEPT = 1000


class Threads:
    """The number of threads for a run's next call.

    Parameters
    ----------
    run : Run
    most : int
        Threads to use at most.

    Attributes
    ----------
    size : int
        Threads for the next call.
    """

    def __init__(self, run: Run, most: int) -> None:
        self.size, self._times = most, dict[int, list[float]]()
        self._late, self._slow, self._awake = 0, 0.0, False
        self._kind: _Kind | None = None
        self._step: int | None = None
        if not run.compiled:
            return
        plan = run.plan(most)
        step = plan.ops.tobytes(), run.batch_size, plan.n_threads
        if run.whole:  # times of a stream depend on its reader too
            self._step = hash((*step, type(run.optimizer), run.rules))
        if plan.settled or not run.whole:
            return
        key = hash((*step, run.steps_per_epoch if run.watched else 0))  # calls as long as that
        _make_room(_kinds, key)
        self._kind = _kinds.setdefault(key, _Kind())
        self._most = plan.n_threads
        self._trial_seconds = _LONGEST_TRIAL if plan.moves.size else (  # copied in each call
            min(_TRIAL_SECONDS * plan.n_threads, _LONGEST_TRIAL))
        if self._kind.size:
            self.size = self._kind.size
        else:
            self._try(self._kind)

    def _try(self, kind: _Kind) -> None:
        """Begin a trial, or join one that another run has begun."""
        self._times = kind.times = kind.times or {n: [] for n in sizes(self._most)}
        self.size, self._awake = self._next(), False

    def _next(self) -> int:
        """The size tried least often; the smallest of several."""
        return min(self._times, key=lambda n: (len(self._times[n]), n))

    def first_steps(self, longest: float) -> int | None:
        """Steps for a first call of half of ``longest``; None if the pace is not yet known."""
        pace = None if self._step is None else _paces.get(self._step)
        return None if pace is None else max(1, int(self.call_seconds(longest / 2) / pace))

    def call_seconds(self, longest: float) -> float:
        """How long the next call should take, at most ``longest``."""
        return min(longest, self._trial_seconds) if self._times else longest

    def told(self, steps: int, seconds: float, cut: bool) -> None:
        """Learn from a call; ``cut`` says that it could not have been longer."""
        if steps and self._step is not None and not (cut and self._step in _paces):
            _make_room(_paces, self._step)
            _paces[self._step] = seconds / steps
        kind = self._kind
        if kind is None:
            return
        if not self._times:
            kind.left -= seconds
            self.size = kind.size  # another run may have tried meanwhile
            self._watch(kind, steps, seconds)
            if kind.left < 0 or self._slow > 0:
                self._try(kind)
            return
        short = seconds < self._trial_seconds / 2
        if not steps or (short and not cut):
            return
        if short and not self._awake:  # it took longer as threads were asleep
            self._awake = True
            return
        self._times[self.size].append(seconds / steps)
        before, self.size = self.size, self._next()
        self._awake = self.size == before
        if len(self._times[self.size]) >= _TRIALS:
            self._decide(kind)

    def _watch(self, kind: _Kind, steps: int, seconds: float) -> None:
        """Count calls in a row that are too slow; after too many, note how slow the last was."""
        if steps and seconds >= self._trial_seconds / 2:
            late = seconds > _LATE * kind.chosen * steps
            self._late = self._late + 1 if late else 0
            if self._late == _LATE_CALLS:
                self._late, self._slow = 0, seconds / steps

    def pace(self, run: Run, taken: int, seconds: float, longest: float) -> None:
        """Set how many steps the next call takes, after one that took ``taken`` steps in
        ``seconds``: as many as fill ``longest`` seconds, or those of a trial."""
        self.told(taken, seconds, taken < run.chunk)
        # At most 8 times as many: the seconds of a first call may include compilation.
        most = taken * self.call_seconds(longest) / seconds
        run.chunk = max(1, int(min(most, 8 * run.chunk)))

    def _decide(self, kind: _Kind) -> None:
        """From now on use the smallest number that takes hardly longer than the best."""
        best = {n: min(times) for n, times in self._times.items()}
        enough = min(best.values()) * (1 + _GAIN)
        self.size = min(n for n, time in best.items() if time <= enough)
        same = kind.size == self.size
        # As slow as before with the same number: that is the pace now, no reason for a new trial.
        kind.chosen = max(best[self.size], self._slow if same else 0.0)
        steady, self._slow = same and self._slow == 0, 0.0
        kind.left = kind.again = min(2 * kind.again, _RARELY) if steady else _AGAIN
        kind.size, kind.times, self._times = self.size, {}, {}


def _make_room(known: dict[int, Any], key: int) -> None:
    """Drop the oldest entries if ``key`` would be one too many; other threads may do so, too."""
    if key not in known:
        for old in list(known)[:max(0, len(known) - _KEPT + 1)]:
            known.pop(old, None)


def sizes(most: int) -> list[int]:
    """Numbers of threads to try; few, as each needs a plan and its workspace."""
    found, ratio = [1], 2 if most <= 8 else 4
    while most > 1:
        found.append(most)
        most //= ratio
    return sorted(found)
