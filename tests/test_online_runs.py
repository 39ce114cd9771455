"""partial_fit: what a call looks at anew, though it goes on with the run of the one before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp.run import Run
from fastbp.threads import Threads

from .builders import classifier, clusters

X, T = clusters(120)


def test_settings_beyond_the_dtype_are_refused_as_in_fit() -> None:
    net, rule = classifier(), fastbp.Adam()
    net.partial_fit(X, T, optimizer=rule)
    before, rule.epsilon = net.params.copy(), 1e-40
    with pytest.raises(ValueError, match="^epsilon must be in .* for float32, got 1e-40"):
        net.partial_fit(X, T, optimizer=rule)
    np.testing.assert_array_equal(net.params, before)


def test_steps_of_another_size_begin_with_one_and_with_threads_of_their_own(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """The pace of small batches would make a call of large ones long."""
    counts, take, net = list[int](), Run.take, classifier()
    monkeypatch.setattr(Threads, "first_steps", lambda *_: 0)  # nothing is known of their pace
    net.partial_fit(X[:20], T[:20])
    run = net.last_run
    assert run is not None and run.given is not None
    small, run.chunk = run.given[1], 1000

    def taken(run: Run, n_steps: int, n_threads: int) -> Any:
        counts.append(n_steps)
        return take(run, n_steps, n_threads)

    monkeypatch.setattr(Run, "take", taken)
    net.partial_fit(X, T)
    assert net.last_run is run and counts[0] == 1 and run.given[1] is not small


def test_a_schedule_begins_anew_with_each_warm_start() -> None:
    """In the steps, too, not in the history alone."""
    nets, options = [classifier() for _ in range(2)], {"shuffle": False, "warm_start": True}
    for net, rate in zip(nets, (fastbp.schedules.Step(0.1, 0.5, 1), 0.1), strict=True):
        for _ in range(3):  # one epoch each, all at the rate of the first
            net.fit(X, T, epochs=1, optimizer=fastbp.SGD(rate), **options)
    np.testing.assert_array_equal(nets[0].params, nets[1].params)
