"""fit: what it learns, what it tells, what it leaves alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp.kernels.random import shuffle
from fastbp.layers import Layer

from .builders import classifier, clusters


def test_learns_separable_classes() -> None:
    X, T = clusters(600)
    net = classifier()
    history = net.fit(X[:400], T[:400], epochs=30, validation_data=(X[400:], T[400:]))
    assert history["val_accuracy"][-1] > 0.95
    assert history["loss"][-1] < history["loss"][0] / 3
    assert set(history) == {"loss", "learning_rate", "samples_per_s", "val_loss", "val_accuracy"}
    assert all(len(v) == 30 for v in history.values()) and history.history is history
    assert history["val_loss"][-1] == pytest.approx(net.loss(X[400:], T[400:]))
    assert history["val_accuracy"][-1] == np.mean(net.predict_classes(X[400:]) == T[400:])


def test_regression_reaches_least_squares() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    T = X @ [[1.0], [2], [-1]] + 0.5
    net = fastbp.Network([fastbp.Dense(3, 1)], fastbp.L2Loss(), "float64")
    history = net.fit(X, T, epochs=200, batch_size=50, optimizer=fastbp.SGD(0.1, 0.5))
    np.testing.assert_allclose(net.layers[0].weight, [[1, 2, -1]], atol=1e-8)
    assert "val_loss" not in history


def test_loss_of_an_epoch_is_the_mean_over_rows() -> None:
    X, T = clusters(10)
    for reduction, whole in (("mean", 1), ("sum", 10)):
        net = fastbp.Network([fastbp.Dense(6, 4)], fastbp.SoftmaxCrossEntropyLoss(reduction))
        expected = fastbp.SoftmaxCrossEntropyLoss().forward(net.predict(X), T) * whole
        history = net.fit(X, T, epochs=1, batch_size=3, optimizer=fastbp.SGD(1e-12))
        assert history["loss"][0] == pytest.approx(expected, rel=1e-5)


def test_batch_larger_than_the_data_and_no_epochs() -> None:
    X, T = clusters(10)
    net = classifier()
    before = net.params.copy()
    assert net.fit(X, T, epochs=0) == {}
    np.testing.assert_array_equal(net.params, before)
    net.fit(X, T, epochs=1, batch_size=1000)
    assert (net.params != before).any()


def test_inputs_are_never_changed() -> None:
    X, T = clusters(50)
    X.flags.writeable = T.flags.writeable = False
    kept = X.copy(), T.copy()
    classifier("float64").fit(X, T, epochs=2, validation_data=(X, T))
    np.testing.assert_array_equal(X, kept[0])
    np.testing.assert_array_equal(T, kept[1])


@pytest.mark.parametrize("n", [1, 2, 3, 10, 1000])
def test_a_shuffle_is_a_permutation(n: int) -> None:
    order = np.empty(n, np.int64)
    shuffle(order, 3, 0)
    np.testing.assert_array_equal(np.sort(order), np.arange(n))


def test_shuffles_are_uniform() -> None:
    """Each of 24 orders of 4 rows about as often: chi-squared, 23 degrees of freedom."""
    order, counts = np.empty(4, np.int64), {}
    for epoch in range(4800):
        shuffle(order, 1, epoch)
        key = tuple(order.tolist())
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 24
    assert sum((c - 200) ** 2 / 200 for c in counts.values()) < 60  # p < 1e-4 beyond


class Recorder(fastbp.Callback):
    def __init__(self, stop_after: int = 10**9, stop_in_chunk: bool = False) -> None:
        self.events: list[Any] = []
        self.stop_after, self.stop_in_chunk = stop_after, stop_in_chunk

    def on_train_begin(self, network: fastbp.Network, epochs: int, n_samples: int) -> None:
        self.events.append(("begin", epochs, n_samples))

    def on_chunk_end(self, epoch: int, samples: int) -> bool:
        self.events.append(("chunk", epoch, samples))
        return self.stop_in_chunk

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> bool:
        self.events.append(("epoch", epoch, sorted(logs)))
        return epoch + 1 >= self.stop_after

    def on_train_end(self) -> None:
        self.events.append(("end",))


def test_callbacks_hear_everything_in_order() -> None:
    X, T = clusters(40)
    hook = Recorder()
    classifier().fit(X, T, epochs=2, batch_size=8, callbacks=[hook])
    kinds = [e[0] for e in hook.events]
    assert hook.events[0] == ("begin", 2, 40) and kinds[-1] == "end"
    assert kinds.count("epoch") == 2 and kinds.count("end") == 1
    for epoch in (0, 1):
        samples = [e[2] for e in hook.events if e[:2] == ("chunk", epoch)]
        assert samples[-1] == 40 and samples == sorted(samples)


def test_callbacks_stop_training() -> None:
    X, T = clusters(40)
    first, second = Recorder(stop_after=3), Recorder()
    history = classifier().fit(X, T, epochs=9, callbacks=[first, second])
    assert len(history["loss"]) == 3 and second.events[-1] == ("end",)
    hook = Recorder(stop_in_chunk=True)
    classifier().fit(X, T, epochs=9, batch_size=1, callbacks=[hook])
    assert [e[0] for e in hook.events].count("chunk") == 1


def test_an_interrupt_ends_cleanly() -> None:
    class Interrupt(Recorder):
        def on_chunk_end(self, epoch: int, samples: int) -> bool:
            raise KeyboardInterrupt

    X, T = clusters(40)
    hook, net = Interrupt(), classifier()
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, T, callbacks=[hook])
    assert hook.events[-1] == ("end",)
    net.fit(X, T, epochs=1)


def test_verbose_prints_a_line_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    X, T = clusters(40)
    classifier().fit(X, T, epochs=2, validation_data=(X, T), verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[1].startswith("epoch 2/2") and "val_accuracy" in lines[1]
    classifier().fit(X, T, epochs=1)
    assert capsys.readouterr().out == ""


def test_a_diverging_fit_warns() -> None:
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(50, 3)), rng.normal(size=(50, 1))
    net = fastbp.Network([fastbp.Dense(3, 1)], "L2Loss")
    with pytest.warns(RuntimeWarning, match="learning_rate"):
        net.fit(X, T, epochs=8, optimizer=fastbp.SGD(1e6))


class Scale(Layer):
    """A user's layer over NumPy alone: Y = a X, one trained number a column."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        assert self.n_in is not None
        return {"a": (self.n_in,)}

    def initialize(self, rng: np.random.Generator) -> None:
        self.parameters()["a"][...] = 1

    def forward(self, X: Any, *, allow_nonfinite: bool = True) -> Any:
        self._x, self._y = X, X * self.parameters()["a"]
        return self._y

    def backward(self, dY: Any) -> Any:
        self.gradients()["a"][...] = (dY * self._x).sum(axis=0)
        return dY * self.parameters()["a"]


class Absolute(fastbp.Loss):
    """A user's loss."""

    def forward(self, X: Any, T: Any, *, allow_nonfinite: bool = True) -> float:
        self._dx = np.sign(X - T) / len(X)
        return float(np.abs(X - T).sum() / len(X))


class SignDescent(fastbp.Optimizer):
    """A user's optimizer."""

    def update(self, params: Any, grads: Any, slots: Any, step: int, learning_rate: float) -> None:
        params -= learning_rate * np.sign(grads)


def test_parts_of_the_users_own_train() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3))
    T = 3 * X[:, :1] + 1
    own_layer = fastbp.Network([fastbp.Dense(3, 3), Scale(), fastbp.Dense(3, 1)], "L2Loss")
    own_loss = fastbp.Network([fastbp.Dense(3, 1)], Absolute())
    own_optimizer = fastbp.Network([fastbp.Dense(3, 1)], "L2Loss")
    assert not own_layer.compiled and not own_loss.compiled and own_optimizer.compiled
    for net, optimizer in [(own_layer, fastbp.Adam(0.01)), (own_loss, fastbp.Adam(0.03)),
                           (own_optimizer, SignDescent(0.01))]:
        history = net.fit(X, T, epochs=60, batch_size=16, optimizer=optimizer)
        assert history["loss"][-1] < history["loss"][0] / 2
        assert net.loss(X, T) < history["loss"][0]
        assert net.predict(X).shape == (80, 1)
    assert fastbp.gradcheck(own_layer, X[:5], T[:5]) < 1e-6
