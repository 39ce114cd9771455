"""Orders of rows drawn for epochs ahead: enough for each call, and given back where none ran."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

from fastbp.engine import EPOCH, POSITION
from fastbp.estimators.ahead import _Ahead
from fastbp.estimators.solvers import Follow

#: Rows, steps of two rows an epoch.
ROWS, STEPS = 5, 3


class Fit:
    """A fit of as many epochs whose losses end it after ``ends`` of them, without a network."""

    def __init__(self, epochs: int, ends: int, first: int = 0) -> None:
        self.rng, self.ends, self.used = np.random.RandomState(0), ends, list[list[int]]()
        self.own = SimpleNamespace(
            shuffle=True, _random_state=self.rng, best_loss_=0.5, tol=0.25, n_iter_no_change=7,
            _no_improvement_count=3)
        self.follow: Any = SimpleNamespace(estimator=self.own, ended=False, note=self.note)
        self.follow.mixed = lambda order: Follow.mixed(self.follow, order)
        cursor = np.zeros(9, np.int64)
        cursor[EPOCH] = first
        self.run = SimpleNamespace(
            first_epoch=first, epochs=epochs, order=self.follow.mixed(np.arange(ROWS)),
            cursor=cursor, batch_size=2, steps_per_epoch=STEPS, chunk=1, total=2.0, history={})
        self.ahead = _Ahead(self.run, self.follow)  # type: ignore[arg-type]

    def note(self, loss: float) -> None:
        self.follow.ended = len(self.run.history["loss"]) >= self.ends

    def call(self, chunk: int) -> bool:
        """So many steps, fewer where the fit ends; whether it has."""
        run, losses = self.run, self.run.history.setdefault("loss", [])
        run.chunk = chunk
        if len(losses) == run.epochs:
            return self.ahead.look() or True
        if self.ahead.stopped():
            return True
        left = run.epochs - len(losses)
        steps = run.cursor[POSITION] // 2 + chunk
        assert run.order.size == ROWS * min(left, -(-steps // STEPS)), "an order an epoch"
        assert run.watch.tolist() == [2, 1, 0.5, 0.25, 3, 7, 0]
        begun = len(losses)
        for _ in range(chunk):
            at = ROWS * (len(losses) - begun)
            if run.cursor[POSITION] == 0:
                self.used.append(run.order[at:at + ROWS].tolist())
            run.cursor[POSITION] += 2
            if run.cursor[POSITION] >= ROWS:
                run.cursor[[POSITION, EPOCH]] = 0, run.cursor[EPOCH] + 1
                losses.append(0.0)
                if len(losses) in (self.ends, run.epochs):
                    break
        return False


def state(rng: np.random.RandomState) -> tuple[Any, ...]:
    name, keys, *rest = rng.get_state()
    return name, keys.tolist(), *rest


@pytest.mark.parametrize("first", [0, 4])
@pytest.mark.parametrize("ends", [1, 2, 5, 8, 99])
def test_orders_and_draws_are_those_of_epochs_that_run(ends: int, first: int) -> None:
    chunks = np.random.default_rng(0)
    for _ in range(20):
        fit, one = Fit(9, ends, first), np.random.RandomState(0)
        while not fit.call(int(chunks.choice([1, 2, 3, 4, 7, 20]))):
            pass
        order, expected = np.arange(ROWS), []
        for _ in range(min(ends, 9)):
            places = np.arange(ROWS)
            one.shuffle(places)
            order = order[places]
            expected.append(order.tolist())
        assert fit.used == expected
        assert state(fit.rng) == state(one)


def test_a_generator_that_others_have_drawn_from_is_not_set_back() -> None:
    fit = Fit(9, ends=2)
    fit.call(20)  # all nine orders are drawn
    fit.rng.random_sample()
    before = state(fit.rng)
    assert fit.call(1) and state(fit.rng) == before
