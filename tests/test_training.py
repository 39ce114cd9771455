"""fit: what it learns, what it tells, what it leaves alone."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import threads
from fastbp.layers import Layer
from fastbp.run import Run

from .builders import Scale, classifier, clusters


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


def test_loss_of_an_epoch_is_the_same_wherever_calls_end() -> None:
    X, T = clusters(100)  # of 4 steps an epoch
    found = []
    for calls in ([12], [3, 5, 4], [6, 1, 5], [1] * 12):
        net = classifier()
        run = Run(net, net.check_input(X), T, 32, fastbp.Adam(), True)
        found.append([error for steps in calls for error in run.take(steps, 1)])
    assert len(found[0]) == 3 and all(errors == found[0] for errors in found[1:])


def test_rates_in_the_history_are_those_of_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_paces", {})  # then the first calls are of 1 and 8 steps
    (X, T), rate = clusters(100), fastbp.schedules.Function(lambda epoch: 1 / (1 + epoch))
    for hooks in [], [fastbp.Callback()]:
        history = classifier().fit(X, T, epochs=20, optimizer=fastbp.SGD(rate),
                                   n_threads=1, callbacks=hooks)
        assert history["learning_rate"] == [1 / (1 + epoch) for epoch in range(20)]


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


@pytest.mark.parametrize("verbose", [1, True, np.True_])
def test_verbose_prints_a_line_an_epoch(verbose: Any, capsys: pytest.CaptureFixture[str]) -> None:
    X, T = clusters(40)
    classifier().fit(X, T, epochs=2, validation_data=(X, T), verbose=verbose)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[1].startswith("epoch 2/2") and "val_accuracy" in lines[1]
    classifier().fit(X, T, epochs=1)
    assert capsys.readouterr().out == ""


def test_a_diverging_fit_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_paces", {})  # then the first calls are of 1 and 8 steps
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(50, 3)), rng.normal(size=(50, 1))
    for rate, late in (1e6, False), (20.0, True):
        net = fastbp.Network([fastbp.Dense(3, 1)], "L2Loss")
        with pytest.warns(RuntimeWarning, match="learning_rate") as found:
            history = net.fit(X, T, epochs=30, optimizer=fastbp.SGD(rate), n_threads=1)
        first = next(k for k, loss in enumerate(history["loss"]) if not np.isfinite(loss))
        assert (first > 6) == late and f"in epoch {first + 1};" in str(found[0].message)
        assert len(found) == 1


def test_the_warning_names_data_that_may_not_be_finite() -> None:
    X = np.array([[1.0], [np.nan]])
    net = fastbp.Network([fastbp.Dense(1, 1)], "mse", allow_nonfinite=True)
    with pytest.warns(RuntimeWarning, match="loss is nan .* data without the NaN and infinity"):
        net.fit(X, [1.0, 2.0], epochs=2)


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


def test_gradcheck_gives_a_users_layer_its_parameters() -> None:
    X, dY = np.random.default_rng(0).normal(size=(2, 5, 3))
    layer = Scale()
    assert fastbp.gradcheck(layer, X, dY) < 1e-6
    assert layer.n_in is None and not layer.initialized


class Twice(Layer):
    """A user's layer that gives more than it takes: Y = (X, 2 X). Calls no ``__init__``."""

    def __init__(self, by: float) -> None:
        self.by = by

    def connect(self, n_in: int) -> int:
        self.n_in, self.n_out = n_in, 2 * n_in
        return self.n_out

    def forward(self, X: Any, *, allow_nonfinite: bool = True) -> Any:
        return np.hstack([X, self.by * X])

    def backward(self, dY: Any) -> Any:
        left, right = np.hsplit(dY, 2)
        return left + self.by * right


def test_a_users_layer_may_give_rows_of_another_length() -> None:
    X, T = np.random.default_rng(0).normal(size=(2, 20, 3))
    net = fastbp.Network([fastbp.Dense(3, 4), Twice(2.0), fastbp.Dense(8, 3)], "L2Loss")
    assert fastbp.gradcheck(net, X, T) < 1e-6
    wrong = [fastbp.Dense(3, 4), Twice(2.0), fastbp.Dense(4, 3)]
    with pytest.raises(ValueError, match="takes 4 inputs, the layer below gives 8"):
        fastbp.Network(wrong, "L2Loss")
    assert wrong[1].n_in is None


class Weighted(Layer):
    """A layer of a user's with a parameter, which gives more than it takes."""

    def connect(self, n_in: int) -> int:
        super().connect(n_in)
        self.n_out = 2 * n_in
        return self.n_out

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"a": (self.n_in,)}

    def initialize(self, rng: np.random.Generator) -> None:
        self.parameters()["a"][...] = rng.normal(size=self.n_in)

    def forward(self, X: Any, *, allow_nonfinite: bool = True) -> Any:
        self._x = X
        return np.hstack([X, X * self.parameters()["a"]])

    def backward(self, dY: Any) -> Any:
        left, right = np.hsplit(dY, 2)
        self.gradients()["a"][...] = (right * self._x).sum(axis=0)
        return left + right * self.parameters()["a"]


def test_a_users_layer_with_parameters_connects_again_in_a_copy() -> None:
    X, T = np.random.default_rng(0).normal(size=(2, 20, 3))
    net = fastbp.Network([fastbp.Dense(3, 4), Weighted(), fastbp.Dense(8, 3)], "L2Loss")
    assert fastbp.gradcheck(net, X, T) < 1e-6
    again = fastbp.Network([*map(copy.copy, net.layers)], "L2Loss")
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
    with pytest.raises(AttributeError, match="n_out of Weighted.* cannot be changed from 8 to 4"):
        again.layers[1].n_out = 4
    with pytest.raises(AttributeError, match=r"n_in of Weighted.* from 4 to array\(\[4\]\)"):
        again.layers[1].n_in = np.array([4])


class Doubles(Layer):
    """Works in place, as it should not: the layer below may need what it overwrites."""

    def forward(self, X: Any, *, allow_nonfinite: bool = True) -> Any:
        X *= 2
        return X

    def backward(self, dY: Any) -> Any:
        return 2 * dY


class DoublesToo(fastbp.ReLU):
    """The same with kernels that it does not use."""

    forward = Doubles.forward  # type: ignore[assignment]
    backward = Doubles.backward  # type: ignore[assignment]


@pytest.mark.parametrize("kind", [Doubles, DoublesToo])
def test_rows_of_the_caller_are_never_written_to(kind: type[Layer]) -> None:
    X, T = np.random.default_rng(0).normal(size=(2, 20, 3))
    given = X.copy()
    net = fastbp.Network([kind(), fastbp.Dense(3, 3)], "L2Loss", "float64")
    net.fit(X, T, epochs=1, batch_size=20, shuffle=False, validation_data=(X, T))
    first = net.predict(X)
    np.testing.assert_array_equal(first, net.predict(X))
    net.loss(X, T), net.loss_and_grad(X, T), net.evaluate(X, T), net.input_gradient(X, T)
    net.partial_fit(X, T, batch_size=20)
    net.textbook(X, T, key=1), net.forward(X, key=1)
    np.testing.assert_array_equal(X, given)


class Mute(Layer):
    """Sets its lengths, but does not tell."""

    def connect(self, n_in: int) -> Any:
        super().connect(n_in)


@pytest.mark.parametrize("above", [[], [fastbp.Tanh()], [fastbp.Dense(4, 3)]])
def test_a_layer_whose_connect_tells_no_length_is_named(above: list[Layer]) -> None:
    layers = [fastbp.Dense(3, 4), Mute(), *above]
    with pytest.raises(TypeError, match=r"^layers\[1\], Mute\(\): connect must .* got None$"):
        fastbp.Network(layers, "L2Loss")
    assert layers[1].n_in is None
    for width in (4.0, True):
        layers[1].n_out = width  # type: ignore[assignment]
        with pytest.raises(TypeError, match=rf"Mute\(\): n_out must be .* got {width}$"):
            fastbp.Network(layers, "L2Loss")


class Own(Layer):
    """A user's layer of a function."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def forward(self, X: Any, *, allow_nonfinite: bool = True) -> Any:
        return self.function(X)

    def backward(self, dY: Any) -> Any:
        return dY


class Squared(fastbp.Loss):
    """A user's loss that gives a number of NumPy's. Calls no ``__init__``."""

    def __init__(self) -> None:
        pass

    def forward(self, X: Any, T: Any, *, allow_nonfinite: bool = True) -> Any:
        self._dx = (X - T) / X.dtype.type(len(X))
        return np.mean(np.square(X - T)) * X.dtype.type(X.shape[1] / 2)


@pytest.mark.parametrize("function", [np.float64, np.ndarray.tolist])
def test_what_a_users_last_layer_returns_becomes_the_networks_numbers(function: Any) -> None:
    X, T = np.random.default_rng(0).normal(size=(2, 20, 3))
    nets = [fastbp.Network([fastbp.Dense(3, 3), *more], Squared())
            for more in ([], [Own(function)])]
    plain, own = (net.predict(X) for net in nets)
    assert own.dtype == np.float32
    np.testing.assert_array_equal(plain, own)
    assert [type(net.loss(X, T)) for net in nets] == [float, float]


def test_a_users_last_layer_of_another_length_is_refused() -> None:
    """Not broadcast against the targets."""
    X, T = np.random.default_rng(0).normal(size=(2, 20, 3))
    net = fastbp.Network([fastbp.Dense(3, 3), Own(lambda X: X[:, :1])], Squared())
    for run in (net.fit, net.loss, lambda X, T: net.predict(X)):
        with pytest.raises(ValueError, match=r"Own\(\)\.forward\(X\) must have 3 columns"):
            run(X, T)


@pytest.mark.parametrize("options", [{"sample_weight": np.ones(20)},
                                     {"validation_data": (np.ones((3, 3)),) * 2 + (np.ones(3),)}])
def test_weights_that_a_users_loss_does_not_take_are_refused_first(options: Any) -> None:
    X, T = np.random.default_rng(0).normal(size=(2, 20, 3))
    net = fastbp.Network([fastbp.Dense(3, 3)], Squared())
    before = net.params.copy()
    with pytest.raises(TypeError, match=r"Squared\.forward has no argument sample_weight"):
        net.fit(X, T, **options)
    assert net.last_run is None
    np.testing.assert_array_equal(net.params, before)
    for weigh in (net.loss, net.loss_and_grad, lambda *a, **k: fastbp.fit_lbfgs(net, *a, **k)):
        with pytest.raises(TypeError, match=r"Squared\.forward has no argument sample_weight"):
            weigh(X, T, sample_weight=np.ones(20))
    np.testing.assert_array_equal(net.params, before)


def test_a_users_optimizer_without_a_rate_is_refused_first() -> None:
    class Rateless(SignDescent):
        def __init__(self) -> None:
            pass

    X, T = np.random.default_rng(0).normal(size=(2, 20, 3))
    net = fastbp.Network([fastbp.Dense(3, 3)], "mse")
    before = net.params.copy()
    with pytest.raises(TypeError, match=r"Rateless\.__init__ must call super\(\)\.__init__"):
        net.fit(X, T, optimizer=Rateless())
    assert net.last_run is None
    np.testing.assert_array_equal(net.params, before)


def test_a_users_parts_say_what_they_lack() -> None:
    """A loss without ``forward`` has no kernel to call either."""
    X, T = np.random.default_rng(0).normal(size=(2, 20, 3))
    loss, layer, optimizer = (type("Bare", (base,), {})
                              for base in (fastbp.Loss, Layer, fastbp.Optimizer))
    for layers, head, rule, lacks in (
            ([], loss(), "adam", "forward"), ([layer()], "L2Loss", "adam", "forward"),
            ([], "L2Loss", optimizer(0.1), "update")):
        with pytest.raises(NotImplementedError, match=rf"^Bare\.{lacks}$"):
            fastbp.Network([fastbp.Dense(3, 3), *layers], head).fit(X, T, optimizer=rule)


class Loud(fastbp.Tanh):
    """A user's layer that goes on from one of fastbp's: Y = 5 tanh X."""

    def forward(self, X: Any, *, allow_nonfinite: bool = True) -> Any:
        return 5 * super().forward(X)

    def backward(self, dY: Any) -> Any:
        return super().backward(5 * dY)


def test_methods_of_a_subclass_count() -> None:
    class Seven(fastbp.L2Loss):
        def forward(self, *args: Any, **options: Any) -> float:
            return 7.0

    class Still(fastbp.SGD):
        def update(self, *args: Any) -> None:
            pass

    X, T = np.random.default_rng(0).normal(size=(2, 20, 3))
    loud = fastbp.Network([fastbp.Dense(3, 3), Loud()], "L2Loss")
    assert fastbp.gradcheck(loud, X, T) < 1e-6 and np.abs(loud.predict(X)).max() > 1
    assert fastbp.Network([fastbp.Dense(3, 3)], Seven()).loss(X, T) == 7
    before = loud.params.copy()
    loud.fit(X, T, optimizer=Still(0.1))
    np.testing.assert_array_equal(loud.params, before)


def test_methods_of_a_subclass_count_in_a_loss_that_fuses_or_is_compiled_from_a_function() -> None:
    class Double(fastbp.CrossEntropyLoss):
        def forward(self, *args: Any, **options: Any) -> float:
            return 2 * super().forward(*args, **options)

        def backward(self) -> Any:
            return 2 * super().backward()

    class Own(fastbp.CustomLoss):
        def forward(self, *args: Any, **options: Any) -> float:
            return 7.0 + 0 * super().forward(*args, **options)

    class Named(fastbp.CrossEntropyLoss):
        """Changes nothing: it is fused as its base."""

    def flat(x: Any, t: Any, dx: Any) -> float:
        dx[:] = 0
        return 0.0

    X, T = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 3
    layers = [fastbp.Dense(3, 3), fastbp.Softmax()]
    one, two, same = (fastbp.Network(copy.deepcopy(layers), loss, "float64")
                      for loss in (fastbp.CrossEntropyLoss(), Double(), Named()))
    np.testing.assert_allclose(two.loss(X, T), 2 * one.loss(X, T), rtol=1e-12)
    assert fastbp.gradcheck(two, X, T) < 1e-6
    assert same.compiled and same.loss(X, T) == one.loss(X, T)
    net = fastbp.Network([fastbp.Dense(3, 3)], Own(flat))
    assert net.loss(X, X) == 7 and net.fit(X, X, epochs=1)["loss"] == [7.0]


def test_gradients_stay_when_a_users_layer_fails() -> None:
    class Fails(Own):
        def backward(self, dY: Any) -> Any:
            raise RuntimeError("not today")

    X, T = np.random.default_rng(0).normal(size=(2, 20, 3))
    net = fastbp.Network([Fails(np.sin), fastbp.Dense(3, 3)], "L2Loss")
    net.grads[...] = 5
    for run in (net.input_gradient, lambda X, T: net.jacobian(X)):
        with pytest.raises(RuntimeError, match="not today"):
            run(X, T)
        assert (net.grads == 5).all()


@pytest.mark.parametrize("options", [{}, {"metrics": ["mse"]}])
def test_a_loss_that_is_not_finite_is_told_once_a_fit(options: dict[str, Any]) -> None:
    X, T = np.random.default_rng(0).normal(size=(2, 20, 3))
    net = fastbp.Network([fastbp.Dense(3, 3)], "mse")
    for _ in range(2):
        with pytest.warns(RuntimeWarning, match="loss is .* in epoch") as told:
            history = net.fit(X, T, epochs=9, optimizer=fastbp.SGD(1e20), **options)
        assert not np.isfinite(history["loss"][-8:]).any()
        assert len(told) == 1 and told[0].filename == __file__
