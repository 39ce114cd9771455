"""Fits that Ctrl-C or an error ends keep what they have learnt."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    ReduceOnPlateau,
)

from .builders import StopAt, classifier, clusters


def test_an_interrupt_leaves_a_checkpoint(tmp_path: Path) -> None:
    X, T = clusters(64)
    path = tmp_path / "run.st"

    class Interrupt(Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            if epoch == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        classifier().fit(X, T, epochs=5, callbacks=[Checkpoint(path, every=99), Interrupt()])
    whole, resumed = classifier(), classifier()
    whole.fit(X, T, epochs=5)
    resumed.fit(X, T, epochs=5, resume=path)
    np.testing.assert_array_equal(whole.params, resumed.params)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("calls", [2, 5, 7])
def test_an_interrupt_amid_a_call_of_steps_loses_none(
        stream: bool, calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastbp import run

    X, T = clusters(150)
    path, left, launch = tmp_path / "run", [calls], run.launch

    def interrupted(*args: Any) -> Any:
        launch(*args)
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    def fit(**options: Any) -> tuple[fastbp.Network, Any]:
        net, hooks = classifier("float64"), options.pop("callbacks", [])
        hooks = [ReduceOnPlateau("loss", patience=0, min_delta=9.0), StopAt(999), *hooks]
        options = {"epochs": 3, "batch_size": 32, "callbacks": hooks, **options}
        return net, (fastbp.fit_stream(net, [(X[:90], T[:90]), (X[90:], T[90:])], **options)
                     if stream else net.fit(X, T, **options))

    whole, expected = fit()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(run, "launch", interrupted)
        fit(callbacks=[Checkpoint(path, every=9)])
    again, found = fit(resume=path)
    np.testing.assert_array_equal(again.params, whole.params)
    assert found["loss"] == expected["loss"]
    assert found["learning_rate"] == expected["learning_rate"]


@pytest.mark.parametrize("epochs", [1, 3])
def test_an_interrupt_where_nobody_looks_keeps_the_epochs_that_ended(
        epochs: int, ctrl_c: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastbp import engine, run

    X, T = clusters(64)
    launch = run.launch

    def interrupted(*args: Any) -> None:
        launch(*args)
        if args[-2][engine.EPOCH] == epochs:
            signal.raise_signal(signal.SIGINT)

    whole, taken = classifier(), classifier()
    expected = whole.fit(X, T, epochs=epochs)
    monkeypatch.setattr(run, "launch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        taken.fit(X, T, epochs=epochs)
    assert taken.last_run is not None and taken.last_run.history["loss"] == expected["loss"]
    np.testing.assert_array_equal(taken.params, whole.params)


def test_an_interrupt_amid_validation_keeps_the_figures_of_the_epoch(
        ctrl_c: None, tmp_path: Path) -> None:
    X, T = clusters(64)
    path, left = tmp_path / "run", [2]

    def once(truth: Any, output: Any) -> float:
        left[0] -= 1
        if left[0] == 0:
            signal.raise_signal(signal.SIGINT)
        return float(output.max())

    def fit(**options: Any) -> Any:
        return classifier().fit(X, T, epochs=4, validation_data=(X, T), metrics=[once], **options)

    with pytest.raises(KeyboardInterrupt):
        fit(callbacks=[Checkpoint(path)])
    assert left == [0]
    found, expected = fit(resume=path), fit()
    for name in ("loss", "val_loss", "val_once", "learning_rate"):
        assert found[name] == expected[name]


@pytest.mark.parametrize("fails", [KeyboardInterrupt, ZeroDivisionError])
def test_what_fails_after_the_last_step_of_an_epoch_loses_it_for_nobody(
        fails: type[BaseException], tmp_path: Path) -> None:
    X, T = clusters(64)
    path = tmp_path / "run"

    class Fails(Callback):
        def on_chunk_end(self, epoch: int, samples: int) -> None:
            if epoch == 2 and samples == 64:
                raise fails

    def fit(*first: Callback, **options: Any) -> tuple[fastbp.Network, Any]:
        net = classifier()
        hooks = [*first, EarlyStopping("loss", patience=3, min_delta=9.0)]
        return net, net.fit(X, T, epochs=9, callbacks=[*hooks, *options.pop("last", [])],
                            **options)

    whole, expected = fit()
    with pytest.raises(fails):
        fit(Fails(), last=[Checkpoint(path)])
    again, found = fit(resume=path)
    np.testing.assert_array_equal(again.params, whole.params)
    assert found["loss"] == expected["loss"] and len(found["loss"]) == 5


def test_what_fails_within_an_epoch_of_a_later_fit_is_raised() -> None:
    X, T = clusters(64)

    class Fails(StopAt):
        def on_chunk_end(self, epoch: int, samples: int) -> bool:
            raise ZeroDivisionError

    net = classifier()
    net.fit(X, T, epochs=2)
    with pytest.raises(ZeroDivisionError):
        net.fit(X, T, epochs=3, warm_start=True, callbacks=[Fails(9)])
    assert net.last_run is not None and net.last_run.history == {}
