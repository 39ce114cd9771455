"""Warnings show the user's line, in whatever way the call has come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp.callbacks import Callback, Checkpoint, StopOnNaN

from .builders import classifier, clusters

X, T = np.random.default_rng(0).normal(size=(2, 20, 3))
LARGE = fastbp.SGD(1e20)


def regressor(seed: int = 0) -> fastbp.Network:
    return fastbp.Network([fastbp.Dense(3, 3)], "mse", seed=seed)


def diverge(hooks: list[Callback]) -> object:
    return regressor().fit(X, T, epochs=3, optimizer=LARGE, callbacks=hooks)


def diverge_in_part(hooks: list[Callback]) -> object:
    return regressor().partial_fit(X, T, batch_size=4, optimizer=LARGE, callbacks=hooks)


def diverge_in_a_stream(hooks: list[Callback]) -> object:
    return fastbp.fit_stream(regressor(), [(X, T)], epochs=3, optimizer=LARGE, callbacks=hooks)


def diverge_beside_others(hooks: list[Callback]) -> object:
    return fastbp.fit_many([regressor()], X, T, epochs=3, optimizer=LARGE, callbacks=hooks)


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("call", [diverge, diverge_in_part, diverge_in_a_stream,
                                  diverge_beside_others])
def test_a_diverging_fit_is_told_at_its_line(call: Callable[..., object], watched: bool) -> None:
    with pytest.warns(RuntimeWarning) as told:
        call([StopOnNaN()] if watched else [])
    found = [str(warning.message) for warning in told]
    assert any("diverged" in text if watched else "loss is" in text for text in found)
    assert {(warning.filename, warning.lineno) for warning in told} == {
        (__file__, call.__code__.co_firstlineno + 1)}


@pytest.mark.parametrize("n_threads", [1, 2])
def test_each_of_many_networks_is_named(n_threads: int, tmp_path: Path) -> None:
    checkpoint, (X, T) = tmp_path / "run.safetensors", clusters(60)
    classifier(seed=1).fit(X, T, epochs=1, callbacks=[Checkpoint(checkpoint)])
    nets = [classifier(seed=i) for i in range(4)]
    with pytest.warns(Warning) as told:
        fastbp.fit_many(nets, X, T, epochs=1, n_threads=n_threads, options=[
            {"optimizer": fastbp.SGD(1e38)}, {"resume": checkpoint}, {},
            {"optimizer": fastbp.SGD(1e38), "callbacks": [StopOnNaN()]}])
    found = [str(warning.message).split() for warning in told]
    assert [words[:2] for words in found] == [
        ["networks[0]:", "loss"], ["networks[1]:", str(checkpoint)], ["networks[3]:", "training"]]
    assert {warning.filename for warning in told} == {__file__}


def test_a_warning_that_is_an_error_ends_fit_many() -> None:
    nets = [regressor(i) for i in range(3)]
    with pytest.raises(RuntimeWarning, match=r"networks\[0\]: loss is"):
        fastbp.fit_many(nets, X, T, epochs=3, optimizer=LARGE, n_threads=1)
    assert nets[0].last_run is not None


def test_scikit_learn_between_is_no_users_line() -> None:
    pytest.importorskip("sklearn")
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline

    from fastbp import MLPClassifier

    def fitted(model: Any) -> None:
        model.fit(*clusters(60))

    model = MLPClassifier(max_iter=1, hidden_layer_sizes=(3,))
    for outer in (model, make_pipeline(model), GridSearchCV(model, {"alpha": [0.1]}, cv=2)):
        with pytest.warns(UserWarning, match="converged") as told:
            fitted(outer)
        assert {(warning.filename, warning.lineno) for warning in told} == {
            (__file__, fitted.__code__.co_firstlineno + 1)}
