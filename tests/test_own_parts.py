"""Parts of the user's own beside what surrounds training: what they leave, share and say."""

from __future__ import annotations

import copy
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import Callback, Checkpoint, CSVLog, Dense, Network
from fastbp.layers import Layer
from fastbp.schedules import Function

X, T = np.random.default_rng(0).normal(size=(60, 3)), np.random.default_rng(1).normal(size=(60, 2))


class Plain(fastbp.Optimizer):
    def update(self, params: Any, grads: Any, slots: Any, step: int, learning_rate: float) -> None:
        params -= learning_rate * grads


class Squared(fastbp.Loss):
    def forward(self, X: Any, T: Any, *, allow_nonfinite: bool = True) -> float:
        self._d = X - T
        return float(0.5 * (self._d**2).sum() / len(X))

    def backward(self) -> Any:
        return self._d / len(self._d)


class Sine(Layer):
    """Works in place on the gradient from above."""

    def forward(self, X: Any, *, allow_nonfinite: bool = True) -> Any:
        self._cos = np.cos(X)
        return np.sin(X)

    def backward(self, dY: Any) -> Any:
        dY *= self._cos
        return dY


def test_layers_are_out_of_training_after_a_textbook_fit() -> None:
    net = Network([Dense(3, 5), fastbp.BatchNorm(), fastbp.Dropout(0.5), Dense(5, 2)], "l2",
                  dtype="float64")
    net.fit(X, T, epochs=2, optimizer=Plain(0.01))
    expected, Y = net.predict(X), X
    for layer in net.layers:
        Y = layer.forward(Y)
    np.testing.assert_allclose(Y, expected, atol=1e-12)
    np.testing.assert_array_equal(net.predict(X), expected)


def test_a_layer_may_tell_its_inputs_alone() -> None:
    class Three(Sine):
        n_in = 3

    net = Network([Three(), Dense(3, 2)], "l2")
    assert (net.n_in, net.layers[0].n_out) == (3, 3)
    with pytest.raises(ValueError, match="takes 3 inputs, the layer below gives 4"):
        Network([Dense(2, 4), Three()], "l2")


def test_rows_have_their_weights_without_the_engine_too() -> None:
    net, weights = Network([Dense(3, 2), fastbp.Tanh()], "l2", dtype="float64"), np.arange(60.0)
    found = []
    for compiled in True, False:
        vars(net)["compiled"] = compiled
        figures = net.evaluate(X, T, sample_weight=weights, metrics=["mse"])
        error, grad = net.loss_and_grad(X, T, sample_weight=weights)
        found.append([*figures.values(), net.loss(X, T, sample_weight=weights), error, *grad])
    np.testing.assert_allclose(*found, rtol=1e-12)
    each = 0.5 * np.square(net.predict(X) - T).sum(axis=1)
    assert found[0][0] == pytest.approx(np.average(each, weights=weights))


def test_constants_of_a_subclass_count_where_its_base_is_fused() -> None:
    class Smooth(fastbp.CrossEntropyLoss):
        def constants(self) -> tuple[float, float]:
            return 0.2, 0.0

    labels = np.arange(60) % 2
    nets = [Network([Dense(3, 2), fastbp.Softmax()], loss) for loss in (
        Smooth(), fastbp.CrossEntropyLoss(label_smoothing=0.2), fastbp.CrossEntropyLoss())]
    own, smooth, plain = (net.loss(X, labels) for net in nets)
    assert own == pytest.approx(smooth, rel=1e-6) != pytest.approx(plain, rel=1e-2)


def test_a_gradient_that_was_not_returned_is_missed() -> None:
    class Forgetful(Sine):
        def backward(self, dY: Any) -> Any:
            super().backward(dY)

    for layers in ([Dense(3, 2), Forgetful()], [Forgetful(), Dense(3, 2)]):
        with pytest.raises(TypeError, match="Forgetful.*.backward returned None"):
            Network(layers, "l2").fit(X, T)
        with pytest.raises(TypeError, match="Forgetful.*.backward returned None"):
            Network([*map(copy.copy, layers)], "l2").jacobian(X[:2])


def test_a_layer_may_work_in_place_on_gradients() -> None:
    net = Network([Dense(3, 2), Sine()], "l2", dtype="float64")
    assert fastbp.gradcheck(net, X[:4], T[:4]) < 1e-6
    assert fastbp.gradcheck(Sine(), X[:4], np.ones((4, 3))) < 1e-6


@pytest.mark.parametrize("layer", [fastbp.Tanh, Sine])
def test_networks_that_python_trains_share_no_loss(layer: Any) -> None:
    for loss in (Squared(), fastbp.L2Loss()):
        nets = [Network([Dense(3, 2), layer()], loss, seed=i) for i in range(3)]
        before = [net.params.copy() for net in nets]
        if layer is fastbp.Tanh and isinstance(loss, fastbp.L2Loss):  # all compiled
            assert len(fastbp.fit_many(nets, X, T, epochs=1)) == 3
            message = "share one L2Loss"
            with pytest.raises(ValueError, match=message):
                fastbp.fit_many(nets, X, T, epochs=1, optimizer=Plain(0.1))
            continue
        with pytest.raises(ValueError, match=r"networks\[0\] and networks\[1\] share one"):
            fastbp.fit_many(nets, X, T, epochs=1)
        for net, params in zip(nets, before, strict=True):
            np.testing.assert_array_equal(net.params, params)


def test_pads_stay_zero_whatever_an_optimizer_does() -> None:
    class Shifts(fastbp.Optimizer):
        def update(self, params: Any, *rest: Any) -> None:
            params += 1.0

    net = Network([Dense(3, 2), fastbp.BatchNorm()], "l2")
    net.fit(X, T, epochs=2, optimizer=Shifts(0.1))
    assert np.count_nonzero(net.params) <= net.n_params < net.params.size
    assert (net.layers[0].bias == 4).all()  # type: ignore[attr-defined]  # two epochs of two steps
    nets = [Network([fastbp.BatchNorm(), Dense(3, 2)], "l2") for _ in range(2)]
    for net, kind in zip(nets, (Shifts, Plain), strict=True):
        net.fit(X, T, epochs=2, optimizer=kind(0.1))
    one, other = (net.layers[0].parameters() for net in nets)
    assert (one["weight"] != other["weight"]).all()
    for name in fastbp.BatchNorm.buffers:  # which are no optimizer's
        np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize("trainable", [True, False])
def test_a_held_layer_with_averages_of_its_own_is_out_of_training(trainable: bool) -> None:
    class Averaging(Sine):
        buffers = ("mean",)

        def shapes(self) -> dict[str, tuple[int, ...]]:
            return {"mean": (3,)}

        def initialize(self, rng: np.random.Generator) -> None:
            self.parameters()["mean"][...] = 0

        def forward(self, X: Any, *, allow_nonfinite: bool = True) -> Any:
            keys.append(self.key)
            return super().forward(X)

    own, keys = Averaging(), list[int]()
    own.trainable = trainable
    net = Network([own, Dense(3, 2)], "l2")
    net.fit(X, T, epochs=1)
    assert len(keys) == 2 and [key != 0 for key in keys] == [trainable] * 2
    net.predict(X)
    assert keys[-1] == own.key == 0


def test_streamed_weights_that_a_loss_does_not_take_are_refused_first(tmp_path: Path) -> None:
    net = Network([Dense(3, 2)], Squared())
    net.fit(X, T, epochs=1)
    run, log = net.last_run, tmp_path / "log.csv"
    log.write_text("old\n")
    with pytest.raises(TypeError, match="weights of a block needs a loss that takes weights"):
        fastbp.fit_stream(net, [(X, T, np.ones(60))], epochs=1, callbacks=[CSVLog(log)])
    with pytest.raises(TypeError, match="^class_weight needs a loss that takes weights"):
        fastbp.fit_stream(net, [(X, np.eye(2)[np.arange(60) % 2])], class_weight={0: 2.0},
                          callbacks=[CSVLog(log)])
    assert net.last_run is run and log.read_text() == "old\n"


def test_layers_of_a_network_that_fails_are_free() -> None:
    first = Dense(3, 4)
    with pytest.raises(ValueError, match="weight_init must give shape"):
        Network([first, Dense(4, 2, weight_init=lambda rng, m, n: np.zeros((m, n)))], "l2")
    one, other = Network([first, Dense(4, 2)], "l2"), Network([Dense(3, 4), Dense(4, 2)], "l2")
    np.testing.assert_array_equal(one.params, other.params)


def rate(epoch: float) -> float:
    return 0.01 / (1 + epoch)


def test_functions_are_told_apart_by_name() -> None:
    assert repr(Function(rate)) == "Function(rate)"
    assert "learning_rate=Function(rate)," in repr(fastbp.Adam(Function(rate)))


def test_states_go_back_to_the_callbacks_that_had_them(tmp_path: Path) -> None:
    class Last(Callback):
        def __init__(self, name: str) -> None:
            self.name, self.value = name, None

        def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
            self.value = logs.get(self.name)

        def state(self) -> dict[str, Any]:
            return {} if self.value is None else {"value": self.value}

        def restore(self, state: dict[str, Any]) -> None:
            self.value = state["value"]

    found = []
    for options in ({}, {"resume": tmp_path / "run.st"}):
        hooks = [Last("val_r2"), Last("loss")]
        told = pytest.warns(UserWarning, match="2 epochs already") if options else nullcontext()
        with told:
            Network([Dense(3, 2)], "l2").fit(X, T, epochs=2, callbacks=[
                *hooks, *([] if options else [Checkpoint(tmp_path / "run.st")])], **options)
        found.append([hook.value for hook in hooks])
    assert found[0] == found[1] and found[0][0] is None and found[0][1] > 0


def test_a_callback_may_call_what_it_has_as_it_likes(tmp_path: Path,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    class Until(Callback):
        stopped = True

        def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
            logs |= {"largest": np.float32(1.5), "lost": np.float64("nan"), "mood": "fine"}

    history = Network([Dense(3, 2)], "l2").fit(X, T, epochs=2, verbose=1, callbacks=[
        Until(), fastbp.JSONLines(tmp_path / "a.jsonl")])
    assert len(history["loss"]) == 2
    line = json.loads((tmp_path / "a.jsonl").read_text().splitlines()[0])
    assert (line["largest"], line["lost"], line["mood"]) == (1.5, None, "fine")
    assert "mood fine" in capsys.readouterr().out


@pytest.mark.parametrize("call, made, message", [
    ("forward", lambda Z: Z[:, :1], r"forward\(X\) must have 5 columns, got shape \(32, 1\)"),
    ("forward", lambda Z: Z[1:], r"forward\(X\) must have 32 rows, got shape \(31, 5\)"),
    ("forward", lambda Z: Z.repeat(2, 0), r"forward\(X\) must have 32 rows, got shape \(64, 5\)"),
    ("backward", lambda Z: Z[:, :1], r"backward\(dY\) must have 5 columns, got shape \(32, 1\)"),
    ("backward", lambda Z: Z[1:], r"backward\(dY\) must have 32 rows, got shape \(31, 5\)")])
def test_a_layer_that_returns_another_shape_is_named(call: str, made: Any, message: str) -> None:
    """The layer beside it said that its X or dY was wrong, and not whose doing that was."""
    class Odd(Sine):
        def forward(self, X: Any, *, allow_nonfinite: bool = True) -> Any:
            Y = super().forward(X)
            return made(Y) if call == "forward" else Y

        def backward(self, dY: Any) -> Any:
            dX = super().backward(dY)
            return made(dX) if call == "backward" else dX

    net = Network([Dense(3, 5), Odd(), Dense(5, 2)], "l2")
    before = net.params.copy()
    with pytest.raises(ValueError, match=r"^Odd\(\)\." + message):
        net.fit(X, T, epochs=1, batch_size=32)
    np.testing.assert_array_equal(net.params, before)


@pytest.mark.parametrize("decoupled", [False, True])
def test_an_optimizer_of_ones_own_decays_weights_by_a_call(decoupled: bool) -> None:
    class Decays(Plain):
        def update(self, params: Any, grads: Any, slots: Any, step: int,
                   learning_rate: float) -> None:
            params -= learning_rate * self.decayed(params, grads, learning_rate)

    Decays.decoupled = decoupled
    kind = type("Sgd", (fastbp.SGD,), {"decoupled": decoupled})
    nets = [Network([Dense(3, 2)], "mse", "float64") for _ in range(2)]
    for net, optimizer in zip(nets, (Decays, kind), strict=True):
        net.fit(X, T, epochs=2, optimizer=optimizer(0.1, weight_decay=0.5))
    np.testing.assert_allclose(nets[0].params, nets[1].params, rtol=1e-12)


def test_an_optimizer_that_gives_new_parameters_is_refused() -> None:
    class Gives(Plain):
        def update(self, params: Any, grads: Any, *_: Any) -> Any:
            return params - grads

    with pytest.raises(TypeError, match=r"Gives\.update must change params in place .* ndarray"):
        Network([Dense(3, 2)], "mse").fit(X, T, optimizer=Gives(0.1))
