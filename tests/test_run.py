"""What a run counts, keeps and leaves out."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import training
from fastbp.callbacks import Checkpoint
from fastbp.run import Run
from fastbp.step_sizes import StepSizes

from .builders import StopAt, classifier, clusters


def run_of(net: fastbp.Network, rows: int = 200, **options: Any) -> Run:
    X, T = clusters(rows)
    return Run(net, net.check_input(X), T, 30, fastbp.Adam(), True, **options)


def test_weights_are_summed_in_float64() -> None:
    weights = np.array([2**24, 1, 1], np.float32)
    run = run_of(classifier(), 3, weights=weights)
    assert run.total == 2**24 + 2
    run = run_of(classifier(), 4, weights=np.append(weights, np.float32(1)))
    assert run.total_of(3) == 2**24 + 2


def test_a_pickled_run_leaves_out_what_belongs_to_the_process() -> None:
    run = run_of(classifier())
    run.advance(2, 1)
    run.given = {"optimizer": "adam"}, None
    assert run._lasting[0] is not None
    again = pickle.loads(pickle.dumps(run))
    assert again._lasting == (None,) and again.given is None and again._panels is None
    run.advance(3, 1)
    again.advance(3, 1)
    np.testing.assert_array_equal(run.network.params, again.network.params)


def test_the_average_of_statistics_moves_with_them() -> None:
    """Those of batch norm are among the parameters, but no step's gradient is theirs."""
    X, T = clusters()
    net = fastbp.Network([fastbp.Dense(6, 8), fastbp.BatchNorm(), fastbp.ReLU(),
                          fastbp.Dense(8, 4)], "SoftmaxCrossEntropyLoss", "float64")
    run = Run(net, net.check_input(X), T, 50, fastbp.SGD(0.1), True,
              rules=fastbp.rules.Rules(average=0.8))
    expected = run.average.copy()
    for _ in range(6):
        run.advance(1, 1)
        expected += 0.2 * (net.params - expected)
    np.testing.assert_allclose(run.average, expected, rtol=1e-12, atol=1e-15)
    with run.averaged():
        mean = net.named_parameters()["1.running_mean"].copy()
    apart = np.abs(mean - net.named_parameters()["1.running_mean"])
    assert 0.01 < apart.max() < np.abs(mean).max()


def test_rows_of_a_resumed_epoch_count_from_where_it_goes_on(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    X, T = clusters(70)
    options: dict[str, Any] = {"epochs": 1, "batch_size": 10, "n_threads": 1}
    classifier().fit(X, T, callbacks=[StopAt(3), Checkpoint(tmp_path / "run.st")], **options)
    calls: list[float] = []

    def clock() -> float:
        calls.append(len(calls))
        return calls[-1]

    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=clock))
    history = classifier().fit(X, T, callbacks=[Checkpoint(tmp_path / "run.st")],
                               resume=tmp_path / "run.st", **options)
    assert history["samples_per_s"] == [40 / calls[-1]]


def test_sizes_made_ahead_are_of_the_same_settings() -> None:
    sizes = StepSizes()

    def ask(optimizer: fastbp.Optimizer, first: int, scale: float) -> float:
        return float(sizes.of(optimizer, first, 1, scale,
                              lambda n: np.full(n, 0.1 * scale))[0][0, 2])

    for first in range(1, 4):  # from the second on, of those made ahead
        assert ask(fastbp.SGD(0.1), first, 1.0) == 0.1
    assert ask(fastbp.SGD(0.1), 4, 0.5) == 0.05
    assert ask(fastbp.SGD(0.1), 5, 0.5) == 0.05
    with pytest.raises(ZeroDivisionError):  # another learning rate is asked for
        sizes.of(fastbp.SGD(0.2), 6, 1, 0.5, lambda n: 1 / 0)  # type: ignore[arg-type,return-value]


class Alike(fastbp.SGD):
    """Takes other steps than ``SGD`` with the same settings."""

    def sizes(self, rates: Any, steps: Any) -> Any:
        return super().sizes(2 * rates, steps)


def test_sizes_made_ahead_are_of_the_same_optimizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastbp.step_sizes._KNOWN", frozenset((fastbp.SGD, Alike)))
    sizes = StepSizes()
    found = [float(sizes.of(kind(0.1), first, 1, 1.0, lambda n: np.full(n, 0.1))[0][0, 0])
             for first, kind in enumerate((fastbp.SGD, fastbp.SGD, Alike), start=1)]
    assert found[0] == found[1] == pytest.approx(found[2] / 2)
