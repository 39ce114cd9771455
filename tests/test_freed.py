"""Memory is freed with the last name of a network, before the garbage collector comes: that counts
objects, and the arrays of a hundred networks are few."""

from __future__ import annotations

import copy
import gc
import pickle
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp

from .builders import Scale, classifier, clusters

X, T = clusters(64)


def own() -> fastbp.Network:
    """With a layer of Python's."""
    return fastbp.Network([fastbp.Dense(6, 5), Scale(), fastbp.Dense(5, 4)],
                          "SoftmaxCrossEntropyLoss")


USES: dict[str, Callable[[Any], object]] = {
    "none": lambda net: None,
    "predict": lambda net: (net.predict(X), net.predict(X[:1]), net.predict_proba(X)),
    "gradients": lambda net: (net.loss_and_grad(X, T), net.textbook(X, T), net.jacobian(X)),
    "fit": lambda net: net.fit(X, T, epochs=2),
    "fit with all": lambda net: net.fit(
        X, T, epochs=2, optimizer="adam", average=0.9, validation_split=0.2,
        metrics=["accuracy"], callbacks=[fastbp.EarlyStopping(), fastbp.ReduceOnPlateau()]),
    "warm start": lambda net: (net.fit(X, T, epochs=1), net.fit(X, T, epochs=1, warm_start=True)),
    "partial_fit": lambda net: [net.partial_fit(X, T) for _ in range(3)],
    "fit_stream": lambda net: fastbp.fit_stream(net, [(X, T)] * 2, epochs=1),
    "fit_many": lambda net: fastbp.fit_many([net, copy.deepcopy(net)], X, T, epochs=1),
    "copies": lambda net: (net.fit(X, T, epochs=1), copy.copy(net), copy.deepcopy(net),
                           pickle.dumps(net)),
    "setting": lambda net: (net.predict(X[:1]), setattr(net.layers[0], "trainable", False))}


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def freed(make: Callable[[], Any], use: Callable[[Any], object]) -> bool:
    """Whether the network ``make`` gives is gone after ``use``, and the state of its run; perhaps
    not at first, as the compiler's own errors may keep what called it."""
    return _gone(make, use) or _gone(make, use)


def _gone(make: Callable[[], Any], use: Callable[[Any], object]) -> bool:
    net = make()
    use(net)
    parts = [net, net.params.base, net.last_run]
    known = [weakref.ref(part) for part in parts if part is not None]
    del net, parts
    return all(ref() is None for ref in known)


@pytest.mark.parametrize("name", USES)
@pytest.mark.parametrize("make", [classifier, own])
def test_a_network_is_freed_with_its_last_name(name: str, make: Callable[[], Any]) -> None:
    assert freed(make, USES[name])


def test_checkpoints_free_what_they_have_saved(tmp_path: Path) -> None:
    def use(net: fastbp.Network) -> None:
        net.fit(X, T, epochs=2, callbacks=[fastbp.Checkpoint(tmp_path / "run.st")])
        net.fit(X, T, epochs=3, resume=tmp_path / "run.st")

    assert freed(classifier, use)


class Fail(fastbp.Callback):
    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        raise RuntimeError("as a user's callback may")


FAILURES: dict[str, Callable[[Any], object]] = {
    "rows": lambda net: net.fit(X, T[:5], epochs=1),
    "callback": lambda net: net.fit(X, T, epochs=1, callbacks=[Fail()]),
    "resume": lambda net: net.fit(X, T, epochs=1, resume=__file__),
    "partial_fit": lambda net: [net.partial_fit(X, T, optimizer=name) for name in ("sgd", "adam")],
    "fit_stream": lambda net: fastbp.fit_stream(net, [(X, T), (X, T[:5])], epochs=1),
    "fit_many": lambda net: fastbp.fit_many([net], X, T, epochs=1, callbacks=[Fail()])}


@pytest.mark.parametrize("name", FAILURES)
def test_an_error_that_was_caught_keeps_nothing(name: str) -> None:
    def use(net: fastbp.Network) -> None:
        with suppress(RuntimeError, ValueError):
            FAILURES[name](net)
            raise AssertionError

    gone = False
    for _ in range(100):  # the thread of a stream or a pool may not have let go yet
        if gone := freed(classifier, use):
            break
        time.sleep(0.01)
    assert gone


def test_copies_and_loaded_networks_go_on_and_are_freed(tmp_path: Path) -> None:
    """Also when the one is gone that had the run before."""
    net = classifier()
    net.fit(X, T, epochs=1, optimizer="adam")
    net.save(tmp_path / "net.st")
    expected = copy.deepcopy(net)
    expected.partial_fit(X, T)

    for make in (copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))):
        other = make(pickle.loads(pickle.dumps(net)))
        other.partial_fit(X, T)
        np.testing.assert_array_equal(other.params, expected.params)
        assert freed(lambda make=make: make(pickle.loads(pickle.dumps(net))), USES["partial_fit"])
    assert freed(lambda: fastbp.load(tmp_path / "net.st"), USES["partial_fit"])


def test_a_run_knows_its_network_until_that_is_gone() -> None:
    classifier().fit(X, T, epochs=1)  # compiles
    net = classifier()
    net.fit(X, T, epochs=1)
    run = net.last_run
    assert run is not None and run.network is net
    other = copy.copy(net)
    assert other.last_run is run and other.layers[0]._owner() is other
    del net
    assert run.network is None
    other.fit(X, T, epochs=1, warm_start=True)
    assert other.last_run is not run and other.last_run.network is other
    again = pickle.loads(pickle.dumps(run))
    assert again.network is None
    with pytest.raises(ValueError, match="needs the optimizer of the fit before, Adam"):
        copy.copy(other).fit(X, T, epochs=1, optimizer="sgd", warm_start=True)


def test_a_layer_outlives_its_network() -> None:
    layer = classifier().layers[0]
    layer.trainable = False
    assert layer.weight.any() and not layer.trainable
    with pytest.raises(ValueError, match="is in a network already"):
        fastbp.Network([layer], "mse")


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_estimators_are_freed(solver: str) -> None:
    pytest.importorskip("sklearn")

    def make() -> Any:
        model = fastbp.MLPClassifier((5,), solver=solver, max_iter=250, tol=0.1).fit(X, T)
        model.predict(X)
        if solver != "lbfgs":
            model.partial_fit(X, T)
        return model.network_

    assert freed(make, USES["none"])
