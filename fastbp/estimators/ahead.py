"""Many epochs in each compiled call; scikit-learn's rule is applied to them afterwards.

The engine watches the loss and ends a call with the epoch after which scikit-learn would
stop. Row orders drawn for epochs that never run are given back to the random generator, unless
something else has drawn from it since.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine import EPOCH, POSITION
from ..job import Job, do_all
from ..run import Run
from .solvers import Follow


@dataclass
class Fit(Job):
    """An estimator's job; ``follow`` is the first of its hooks. ``on_begun`` is called once all
    of them have begun."""

    follow: Follow | None = None
    on_begun: Callable[[], object] = lambda: None
    ahead: _Ahead | None = None

    @property
    def unwatched(self) -> bool:
        """Whether only ``follow`` looks at each epoch: then many of them run in each call."""
        return (self.follow is not None and self.follow.by_loss and len(self.hooks) == 1
                and self.run.compiled and not self.validation)

    def begin(self) -> bool:
        """As of ``Job``."""
        stop = super().begin()
        self.on_begun()
        if self.follow is not None and self.unwatched:
            self.ahead = _Ahead(self.run, self.follow)
        return stop

    def stopped(self) -> bool:
        """Whether training is over by scikit-learn's rule, before each call of many epochs."""
        return self.ahead is not None and self.ahead.stopped()

    def end(self, failed: BaseException | None = None) -> None:
        """As of ``Job``; reports all epochs that have run, also when interrupted."""
        do_all([*([self.ahead.look] if self.ahead is not None else []),
                functools.partial(super().end, failed)], failed)


class _Ahead:
    def __init__(self, run: Run, follow: Follow) -> None:
        self.run, self.follow, self.own = run, follow, follow.estimator
        self.last, self.seen = run.first_epoch + run.epochs, 0
        # Row orders of the current epoch and of later ones; the generator's state before the
        # last ``drawn`` of them.
        self.orders, self.latest = [run.order], run.order
        self.state, self.drawn = None, 0

    def stopped(self) -> bool:
        """Take note of the epochs that have run; True to stop, else prepare the next call."""
        if self.look():
            return True
        run, own = self.run, self.own
        if own.shuffle:
            steps = int(run.cursor[POSITION]) // run.batch_size + run.chunk
            self.draw(min(self.last - int(run.cursor[EPOCH]), -(-steps // run.steps_per_epoch)))
        run.watch = np.array([run.total, 1.0, own.best_loss_, own.tol,
                              own._no_improvement_count, own.n_iter_no_change, 0.0])
        return False

    def look(self) -> bool:
        """Report ended epochs to the estimator; whether training is over by its rule."""
        losses = self.run.history.get("loss", [])[self.seen:]
        for loss in losses:
            self.follow.note(loss)
        self.seen += len(losses)
        if self.own.shuffle:
            del self.orders[:len(losses)]
            if self.follow.ended:
                self.give_back()
        return self.follow.ended

    def draw(self, count: int) -> None:
        """Draw row orders of coming epochs, until there are ``count``."""
        if len(self.orders) < min(count, 2):  # all drawn so far are for epochs that do run
            self.state, self.drawn = self.own._random_state.get_state(legacy=False), 0
        while len(self.orders) < count:
            self.latest = self.follow.mixed(self.latest)
            self.orders.append(self.latest)
            self.drawn += 1
        self.run.order = self.orders[0] if len(self.orders) == 1 else np.concatenate(self.orders)

    def give_back(self) -> None:
        """Leave the generator as if orders of epochs that never ran had not been drawn.

        Not if others have drawn from it since: they would get the same numbers again.
        """
        if not self.orders or not self.drawn:
            return
        real, places = self.own._random_state, np.arange(self.latest.size)
        twin = copy.deepcopy(real)
        twin.set_state(self.state)
        for left in range(self.drawn, 0, -1):
            if left == len(self.orders):
                wanted = twin.get_state(legacy=False)
            twin.shuffle(places)
        if same(twin.get_state(legacy=False), real.get_state(legacy=False)):
            real.set_state(wanted)


def same(one: Any, other: Any) -> bool:
    """Whether these are equal: dicts, whose values may be dicts and arrays, or what is in them."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    return np.array_equal(one, other)
