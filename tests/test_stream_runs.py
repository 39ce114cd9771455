"""Runs over blocks amid an epoch: what they count, hold and wait for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import fit_stream
from fastbp.ahead import Ahead
from fastbp.callbacks import Callback
from fastbp.run import Run

from .builders import StopAt, classifier, clusters

X, T = clusters(120)


class Orders(Callback):
    """Calls take one step each; keeps the orders in which they saw the rows of their block."""

    def __init__(self) -> None:
        self.seen = list[list[int]]()

    def on_train_begin(self, network: fastbp.Network, epochs: int, n_samples: int) -> None:
        self.run.chunk = 1

    def on_chunk_end(self, epoch: int, samples: int) -> None:
        self.run.chunk = 1
        self.seen.append(self.run.order.tolist())


def test_each_block_of_each_epoch_has_an_order_of_its_own() -> None:
    orders = Orders()
    fit_stream(classifier(), [(X, T)] * 3, epochs=2, batch_size=120, callbacks=[orders])
    assert all(sorted(order) == list(range(120)) for order in orders.seen)
    assert len(orders.seen) == len(set(map(tuple, orders.seen))) == 6


@pytest.mark.parametrize("steps", [2, 6])
def test_a_loss_amid_an_epoch_is_the_mean_over_the_rows_seen_in_it(steps: int) -> None:
    """Rows of the first block weigh little, those of the second much; four steps an epoch."""
    weights, rows = np.repeat([0.01, 5.0], 60), slice(0, 60)
    net, optimizer = classifier("float64"), fastbp.SGD(1e-9)
    history = fit_stream(net, [(X[rows], T[rows], weights[rows]), (X[60:], T[60:], weights[60:])],
                         epochs=3, batch_size=30, shuffle=False, optimizer=optimizer,
                         callbacks=[StopAt(steps)])
    assert len(history["loss"]) == 1 + steps // 4
    assert history["loss"][-1] == pytest.approx(classifier("float64").loss(X[rows], T[rows]))


def test_the_old_block_is_let_go_before_the_next_is_waited_for(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """Else three of them would be in memory."""
    take, held, orders = Ahead.take, list[int](), Orders()

    def watched(ahead: Ahead[Any]) -> Any:
        held.append(orders.run.X.size + orders.run.T.size + orders.run.order.size)
        return take(ahead)

    monkeypatch.setattr(Ahead, "take", watched)
    fit_stream(classifier(), [(X, T)] * 3, epochs=2, callbacks=[orders])
    assert held == [0] * 6


def test_a_team_that_leaves_a_core_to_the_reader_looks_again_soon(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a tenth of its steps, then all if the reader is done."""
    counts, advance = list[int](), Run.advance

    def watched(self: Run, n_steps: int, n_threads: int) -> None:
        counts.append(n_steps)
        advance(self, n_steps, n_threads)

    class Many(Callback):
        def on_train_begin(self, network: fastbp.Network, epochs: int, n_samples: int) -> None:
            self.run.chunk = 21

    monkeypatch.setattr("fastbp.streaming.cores", lambda: [0])
    monkeypatch.setattr(Run, "advance", watched)
    monkeypatch.setattr(Ahead, "busy", property(lambda _: len(counts) < 2, lambda *_: None),
                        raising=False)
    fit_stream(classifier(), [(X, T)], epochs=1, batch_size=5, n_threads=1, callbacks=[Many()])
    assert counts[:3] == [3, 3, 15] and sum(counts) == 24
