"""The chain of layers: gradients, buffers, prediction, what it says about itself."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import engine
from fastbp.layers import LAYERS
from fastbp.losses import LOSSES

from . import naive
from .builders import CHAINS, Scale, classifier, clusters, data, network


def test_chains_cover_every_layer_and_loss() -> None:
    nets = [network(chain) for chain in CHAINS]
    assert {type(x).__name__ for net in nets for x in net.layers} == set(LAYERS)
    assert {type(net._head_loss).__name__ for net in nets} == set(LOSSES)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("chain", CHAINS)
def test_gradient_is_the_complex_step(chain: str, reduction: str) -> None:
    net = network(chain, reduction=reduction)
    X, T = data(chain, 7)
    error, grad = net.loss_and_grad(X, T)
    names = [type(layer).__name__ for layer in net.layers]
    loss, arguments = type(net.loss_function).__name__, net.loss_function.config()
    values = [[p.copy() for p in layer.parameters().values()] for layer in net.layers]
    expected = naive.network_error(names, values, loss, X, T, **arguments)
    assert error == pytest.approx(complex(expected).real, rel=1e-12)
    assert net.loss(X, T) == pytest.approx(error, rel=1e-14)
    for k, (layer, offset) in enumerate(zip(net.layers, net._offsets, strict=True)):
        for i, tensor in enumerate(layer.layout(net.dtype)[0]):
            if tensor.name in layer.buffers:
                assert not tensor.view(grad[offset:]).any()
                continue

            def moved(p: np.ndarray, k: int = k, i: int = i) -> complex:
                own = [list(v) for v in values]
                own[k][i] = p
                return naive.network_error(names, own, loss, X, T, **arguments)

            numeric = naive.complex_step(moved, values[k][i])
            found = tensor.view(grad[offset:])
            assert np.abs(found - numeric).max() <= 1e-11 * max(np.abs(numeric).max(), 1e-3)


@pytest.mark.parametrize("chain", CHAINS)
def test_gradcheck(chain: str) -> None:
    assert fastbp.gradcheck(network(chain), *data(chain, 5)) <= 1e-6


def test_gradcheck_sees_a_wrong_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    right, right_of_dense = fastbp.Tanh.backward, fastbp.Dense.backward
    monkeypatch.setattr(fastbp.Tanh, "backward", lambda self, dY: 1.01 * right(self, dY))
    X = np.array([[0.3, -0.2]])
    assert fastbp.gradcheck(fastbp.Tanh(), X, np.ones((1, 2))) > 1e-3
    first = fastbp.Network([fastbp.Tanh(), fastbp.Dense(2, 1)], "mse")
    assert fastbp.gradcheck(first, X, [[1.0]]) > 1e-3  # that of the inputs
    monkeypatch.setattr(fastbp.Dense, "backward",
                        lambda self, dY: right_of_dense(self, dY) * np.nan)
    assert np.isnan(fastbp.gradcheck(fastbp.Dense(2, 1), X, [[1.0]]))
    assert np.isnan(fastbp.gradcheck(first, X, [[1.0]]))


def test_gradcheck_leaves_what_it_checks_as_it_was() -> None:
    dense, norm, loss = fastbp.Dense(3, 2, dtype="float64"), fastbp.BatchNorm(), fastbp.MSELoss()
    X, T = np.random.default_rng(0).normal(size=(2, 4, 3))
    X.flags.writeable = False
    dense.forward(X[:2])
    loss.forward(X, T)
    expected = dense.backward(T[:2, :2]), dense.weight_grad.copy(), loss.backward()
    for target, given in ((dense, T[:, :2]), (norm, T), (loss, X * 2),
                          (fastbp.Network([fastbp.Dense(3, 3)], loss), X)):
        assert fastbp.gradcheck(target, X, given) < 1e-6
    found = dense.backward(T[:2, :2]), dense.weight_grad, loss.backward()
    for own, before in zip(found, expected, strict=True):
        np.testing.assert_array_equal(own, before)
    assert norm.forward(np.ones((2, 5))).shape == (2, 5), "a layer without a size has none yet"


def test_gradcheck_is_of_the_largest_gradient_of_a_tensor() -> None:
    class Off(fastbp.Loss):
        """dX is a tenth too large."""

        def forward(self, X: Any, T: Any, **_: Any) -> float:
            self._dx = 1.1 * np.asarray(T)
            return float(np.sum(X * T))

    X = np.ones((2, 3))
    for size in (1e-6, 1.0, 1e6):
        assert fastbp.gradcheck(Off(), X, size * X) == pytest.approx(0.1 / 1.1, rel=1e-4)
    assert fastbp.gradcheck(Off(), X, 0 * X) == 0


@pytest.mark.parametrize("chain", CHAINS)
def test_float32_follows_float64(chain: str) -> None:
    single, double = network(chain, "float32"), network(chain)
    for name, value in double.named_parameters().items():
        value[...] = single.named_parameters()[name]
    X, T = data(chain, 100)
    (e, g), (error, _) = single.loss_and_grad(X, T), double.loss_and_grad(X, T)
    assert e == pytest.approx(error, rel=1e-4)
    for a, b in zip(single.layers, double.layers, strict=True):
        for name, grad in b.gradients().items():
            gap = np.abs(a.gradients()[name] - grad).max()
            assert gap <= 1e-4 * max(np.abs(grad).max(), 1e-2)
    np.testing.assert_allclose(single.predict(X), double.predict(X), rtol=1e-4, atol=1e-5)
    assert g.dtype == np.float32


def test_gradients_of_inputs_are_of_the_sum_or_the_mean() -> None:
    X, T = data("tanh-l2", 7)
    whole, mean = (network("tanh-l2", reduction=kind) for kind in ("sum", "mean"))
    for compiled in True, False:
        vars(whole)["compiled"] = vars(mean)["compiled"] = compiled
        np.testing.assert_allclose(whole.input_gradient(X, T), 7 * mean.input_gradient(X, T))


def test_a_copy_of_a_layer_has_parameters_of_its_own() -> None:
    net = classifier("float64")
    twin, before = copy.copy(net.layers[0]), net.params.copy()
    np.testing.assert_array_equal(twin.weight, net.layers[0].weight)
    twin.weight, twin.bias = np.ones((20, 6)), np.ones(20)
    np.testing.assert_array_equal(net.params, before)


def test_buffers_are_flat_and_tensors_are_views() -> None:
    net = classifier()
    first = net.layers[0]
    assert isinstance(first, fastbp.Dense)
    assert net.params.ndim == 1 and net.params.ctypes.data % 64 == 0
    for owner, views in [(net.params, net.named_parameters()),
                         (net.grads, {"w": first.weight_grad, "b": first.bias_grad})]:
        assert all(np.shares_memory(owner, v) and v.flags.writeable for v in views.values())
    first.weight[...] = 7
    assert (net.named_parameters()["0.weight"] == 7).all()
    net.params[...] = 0
    assert (first.weight == 0).all()
    np.testing.assert_allclose(net.predict(np.ones((2, 6))), 0.25)
    for layer, offset in zip(net.layers, net._offsets, strict=True):
        for value in layer.parameters().values():
            assert (value.ctypes.data - net.params.ctypes.data) // 4 >= offset
    own = fastbp.Network([Scale(), fastbp.Dense(5, 3), Scale(), fastbp.Dense(3, 2)], "mse")
    assert {v.ctypes.data % 64 for v in own.named_parameters().values()} == {0}


def test_a_gradient_step_descends() -> None:
    net = classifier("float64")
    X, T = clusters()
    error, grad = net.loss_and_grad(X, T)
    kept = grad.copy()
    net.params -= 0.01 * grad
    assert net.loss(X, T) < error
    net.loss_and_grad(X[:5], T[:5])
    np.testing.assert_array_equal(grad, kept)  # what was returned is the caller's own


def test_pads_stay_zero() -> None:
    net = classifier()
    X, T = clusters()
    net.fit(X, T, epochs=3)
    before = net.params.copy()
    for value in net.named_parameters().values():
        value[...] = 0
    assert (net.params == 0).all() and (before != 0).any()


def test_chunks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    X, T = clusters(500)
    net = classifier("float64")
    whole, error, (_, grad) = net.predict(X), net.loss(X, T), net.loss_and_grad(X, T)
    monkeypatch.setattr("fastbp.network.CHUNK_ROWS", 64)
    np.testing.assert_array_equal(net.predict(X), whole)
    assert net.loss(X, T) == pytest.approx(error, rel=1e-13)
    np.testing.assert_allclose(net.loss_and_grad(X, T)[1], grad, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("chain", CHAINS)
def test_error_and_output_of_one_pass(chain: str, dtype: str,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """What validation takes of an epoch, to the bit, in chunks and not."""
    net, (X, T) = network(chain, dtype), data(chain, 50)
    X, T = net._check_pair(X, np.abs(T) if "poisson" in chain else T)
    weights = np.linspace(0, 2, len(X)).astype(dtype)
    for rows in (4096, 16):
        monkeypatch.setattr("fastbp.network.CHUNK_ROWS", rows)
        for own in (None, weights):
            error, Y, fused = net._judge(X, T, own)
            assert error == net.loss(X, T, sample_weight=own)
            assert fused == (net._n_train < len(net.layers))
            Y = net._head_loss.expected(Y) if fused else Y
            np.testing.assert_array_equal(Y, net.predict(X))


def test_a_network_with_python_layers_is_judged_in_one_pass() -> None:
    passes = []

    class Counts(Scale):
        def forward(self, X: Any, *, allow_nonfinite: bool = True) -> Any:
            passes.append(len(X))
            return super().forward(X)

    X, T = clusters(20)
    net = fastbp.Network([Counts(), fastbp.Dense(6, 4), fastbp.Softmax()], "cross_entropy")
    found = net.evaluate(X, T, metrics=["accuracy", "f1"])
    assert passes == [20]
    assert found["loss"] == net.loss(X, T)
    assert found["accuracy"] == np.mean(net.predict(X).argmax(axis=1) == T)


def test_predictions() -> None:
    X, T = clusters(30)
    net = classifier()
    P = net.predict(X)
    assert P.shape == (30, 4) and P.dtype == np.float32
    np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(net.predict_proba(X), P)
    np.testing.assert_array_equal(net.predict_classes(X), P.argmax(axis=1))
    np.testing.assert_array_equal(net.predict(X[3:4]), P[3:4])
    two = fastbp.Network([fastbp.Dense(6, 2)], "SoftmaxCrossEntropyLoss")
    np.testing.assert_array_equal(two.predict_classes(X), two.predict(X).argmax(axis=1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("chain", CHAINS)
def test_one_row_is_the_same_by_the_short_way(chain: str, dtype: str) -> None:
    net, (X, _) = network(chain, dtype), data(chain, 9)
    X = X.astype(dtype)
    whole = net.predict(X)
    for r in range(9):
        row = X[r:r + 1].copy()
        assert net._row_plan is None or r
        found = net.predict(row)
        np.testing.assert_allclose(found, whole[r:r + 1], rtol=1e-6 if dtype == "float32"
                                   else 1e-14)
        assert found.dtype == dtype and net._row_plan is not None
        apart, fixed = np.repeat(row, 2, axis=1)[:, ::2], row.copy()
        fixed.flags.writeable = False
        kinds = getattr(engine.predict_row, "_ways_in", None)
        for other in (row.tolist(), apart, fixed):
            np.testing.assert_array_equal(net.predict(other), found)
        assert kinds == getattr(engine.predict_row, "_ways_in", None)  # none is compiled for these
    net.params *= 2  # nothing is remembered but the plan
    assert (net.predict(X[:1].copy()) != whole[:1]).any()
    row[0, 2] = np.inf
    with pytest.raises(ValueError, match=r"X holds inf at \(0, 2\)"):
        net.predict(row)
    net.allow_nonfinite = True
    assert not np.isfinite(net.predict(np.full_like(row, np.nan))).any()


@pytest.mark.parametrize(("loss", "link"), [(fastbp.SoftmaxCrossEntropyLoss, fastbp.Softmax),
                                            (fastbp.SigmoidBinaryCrossEntropyLoss,
                                             fastbp.Sigmoid)])
def test_probabilities_of_logits(loss: type[fastbp.Loss], link: type[fastbp.Layer]) -> None:
    net = fastbp.Network([fastbp.Dense(5, 3)], loss())
    X = np.random.default_rng(0).normal(size=(9, 5))
    np.testing.assert_allclose(net.predict_proba(X), link().forward(net.predict(X)), rtol=1e-6)


def test_each_of_several_labels_is_by_itself() -> None:
    net = fastbp.Network([fastbp.Dense(2, 2)], "SigmoidBinaryCrossEntropyLoss")
    net.params[...] = 0
    net.layers[0].weight[...] = np.eye(2)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(net.predict_classes([[3, 0.2], [-3, 1], [0, -1]]),
                                  [[1, 1], [0, 1], [0, 0]])


def test_single_output_classes_and_regression() -> None:
    net = fastbp.Network([fastbp.Dense(2, 1), fastbp.Sigmoid()], fastbp.BinaryCrossEntropyLoss())
    net.params[...] = 0
    net.layers[0].weight[...] = [[1, 0]]  # type: ignore[attr-defined]
    np.testing.assert_array_equal(net.predict_classes([[3, 0], [-3, 0], [0, 9]]), [1, 0, 0])
    regression = fastbp.Network([fastbp.Dense(2, 1)], fastbp.L2Loss())
    with pytest.raises(ValueError, match="L2Loss"):
        regression.predict_proba([[1, 2]])
    with pytest.raises(ValueError, match="predict_classes needs a loss of classes, not L2Loss"):
        regression.predict_classes([[1, 2]])


def test_seeds() -> None:
    assert classifier(seed=2**63 - 1).fit(*clusters(10), epochs=1)["loss"]
    with pytest.raises(ValueError, match=r"seed must be below 2\*\*63, got 9223372036854775808"):
        classifier(seed=2**63)
    one, two, other = classifier(seed=1), classifier(seed=1), classifier(seed=2)
    np.testing.assert_array_equal(one.params, two.params)
    assert (one.params != other.params).any()
    first, second = (x for x in one.layers if isinstance(x, fastbp.Dense))
    assert first.weight.ravel()[0] != second.weight.ravel()[0]


def test_a_layer_looked_at_before_keeps_its_weights() -> None:
    dense = fastbp.Dense(3, 2)
    dense.weight[...] = 5
    net = fastbp.Network([dense], fastbp.L2Loss(), "float64")
    assert (dense.weight == 5).all() and dense.weight.dtype == np.float64
    assert np.shares_memory(dense.weight, net.params)


def test_summary_and_repr() -> None:
    net = fastbp.Network([fastbp.Dense(6, 200), fastbp.ReLU(), fastbp.Dense(200, 4),
                          fastbp.Softmax()], fastbp.CrossEntropyLoss())
    net.layers[1].trainable = net.layers[2].trainable = False  # the first has nothing to hold
    assert [line.rstrip() for line in net.summary().splitlines()] == [
        "   layer                         output  parameters",
        "---------------------------------------------------",
        "   input                              6",
        "0  Dense(6, 200)                    200       1,400",
        "1  ReLU()                           200           0",
        "2  Dense(200, 4), not trainable       4         804",
        "3  Softmax()                          4           0",
        "---------------------------------------------------",
        "   CrossEntropyLoss()                         2,204"]
    assert net.n_params == 2204
    net = classifier()
    assert repr(net) == ("Network(6 -> Dense(6, 20) -> ReLU() -> Dense(20, 4) -> Softmax(), "
                         "loss=CrossEntropyLoss(), dtype='float32')")
    net.matmul_precision = "medium"
    assert repr(net).endswith(", dtype='float32', matmul_precision='medium')")


def test_a_pickled_network_owns_its_layers() -> None:
    net = fastbp.Network([fastbp.Dense(4, 8), fastbp.LeakyReLU(0.1), fastbp.Dense(8, 3)], "mse")
    row, again = np.ones((1, 4), np.float32), pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(again.predict(row), net.predict(row))
    assert again._row_plan is not None  # by the short way too
    for one in (net, again):
        one.layers[1].negative_slope = 0.9  # type: ignore[attr-defined]
    np.testing.assert_array_equal(again.predict(row), net.predict(row))
    with pytest.raises(ValueError, match="in a network already"):
        fastbp.Network([again.layers[0]], "mse")


def test_several_threads_predict_with_one_network() -> None:
    from concurrent.futures import ThreadPoolExecutor

    net = fastbp.Network([fastbp.Dense(6, 200), fastbp.Tanh(), fastbp.Dense(200, 4)], "L2Loss")
    inputs = [np.random.default_rng(i).normal(size=(300 + i % 3, 6)) for i in range(40)]
    expected = [net.predict(X) for X in inputs]
    with ThreadPoolExecutor(8) as pool:
        for found, one in zip(pool.map(net.predict, inputs * 5), expected * 5, strict=True):
            np.testing.assert_array_equal(found, one)


def test_the_last_plans_are_kept() -> None:
    plans = [(net := classifier()).plan(1), *map(net.plan, range(2, 9))]
    for rows in (8, 7, 6, 5, 8):
        assert net.plan(rows) is plans[rows - 1]
    assert len(net._plans) <= 5 and net.plan(1) is not plans[0]


def test_settings_may_change() -> None:
    X, T = np.random.default_rng(0).normal(size=(40, 4)).astype("f4"), np.arange(40) % 3

    def net(slope: float, smoothing: float) -> fastbp.Network:
        return fastbp.Network(
            [fastbp.Dense(4, 8), fastbp.LeakyReLU(slope), fastbp.Dense(8, 3), fastbp.Softmax()],
            fastbp.CrossEntropyLoss(label_smoothing=smoothing), seed=1)

    changed = net(0.1, 0.0)
    for slope, smoothing in ((0.1, 0.0), (0.9, 0.0), (0.9, 0.1)):  # one at a time
        changed.layers[1].negative_slope = slope  # type: ignore[attr-defined]
        changed.loss_function.label_smoothing = smoothing  # type: ignore[attr-defined]
        made = net(slope, smoothing)
        for batch in (X[:k].copy() for k in (1, 2, 40)):
            np.testing.assert_array_equal(changed.predict(batch), made.predict(batch))
            assert changed.loss(batch, T[:len(batch)]) == made.loss(batch, T[:len(batch)])


@pytest.mark.parametrize("name", ["params", "grads"])
def test_assigned_buffers_are_copied_into(name: str) -> None:
    net = classifier()
    own = getattr(net, name)
    setattr(net, name, np.ones(own.shape))
    assert getattr(net, name) is own
    assert (own == 1).all()
    with pytest.raises(ValueError, match=rf"^{name} must have shape \({own.size},\), got \(2,\)"):
        setattr(net, name, np.ones(2))
    with pytest.raises(TypeError, match=f"^{name} must hold real numbers"):
        setattr(net, name, own * 1j)
    assert (own == 1).all()


def test_layers_and_loss_of_a_network_cannot_be_replaced() -> None:
    """Plans, offsets and files are made of them; copies go on in another network."""
    net = network("tanh-l2")
    for name, value in (("layers", list(net.layers)), ("loss_function", fastbp.MSELoss())):
        with pytest.raises(AttributeError, match=f"{name} of a network cannot be replaced"):
            setattr(net, name, value)
    with pytest.raises(TypeError):
        net.layers[0] = fastbp.Dense(3, 3)  # type: ignore[index]
    with pytest.raises(ValueError, match="in a network already: copy.copy of it"):
        fastbp.Network([net.layers[0]], "mse")
    kept = copy.copy(net.layers[0])
    other = fastbp.Network([kept, fastbp.ReLU(), fastbp.Dense(kept.n_out or 0, 2)], "mse")
    np.testing.assert_array_equal(other.layers[0].weight,  # type: ignore[attr-defined]
                                  net.layers[0].weight.astype("f4"))  # type: ignore[attr-defined]
    class Wide(fastbp.Network):
        def __init__(self, width: int) -> None:
            self.layers = (fastbp.Dense(3, width), fastbp.Dense(width, 2))
            super().__init__(self.layers, "mse")

    assert Wide(5).n_params == 32  # before there are parameters anything goes
    again = pickle.loads(pickle.dumps(net))
    with pytest.raises(AttributeError, match="cannot be replaced"):
        again.layers = ()


@pytest.mark.parametrize("name, value", [
    ("n_in", 2), ("n_out", 100_000), ("dtype", "float64"), ("loss", "mse"),
    ("loss_function", "mse"), ("layers", ())])
def test_what_plans_and_parameters_follow_is_fixed(name: str, value: Any) -> None:
    net = classifier()
    with pytest.raises(AttributeError, match=rf"\b{name}\b.* cannot be replaced"):
        setattr(net, name, value)
    assert net.predict(clusters(3)[0]).shape == (3, 4)


@pytest.mark.parametrize("k, name, value", [
    (0, "n_out", 100_000), (0, "n_in", 2), (1, "n_out", 3), (2, "n_in", 3),
    (2, "use_bias", False)])
def test_sizes_of_a_layer_are_fixed_in_a_network(k: int, name: str, value: Any) -> None:
    net = classifier()
    layer = net.layers[k]
    now = getattr(layer, name)
    with pytest.raises(AttributeError, match=f"{name} of .* from {now} to {value}"):
        setattr(layer, name, value)
    setattr(layer, name, now)
    alone = copy.copy(layer)
    if not layer.shapes():  # nothing follows it any more
        setattr(alone, name, value)
    else:
        with pytest.raises(AttributeError, match=name):
            setattr(alone, name, value)


def test_all_layers_are_held_and_released_at_once() -> None:
    net = classifier()
    net.trainable = False
    assert not net.trainable and not any(layer.trainable for layer in net.layers)
    with pytest.raises(ValueError, match="no layer with parameters is trainable"):
        net.fit(*clusters(20))
    net.layers[1].trainable = True  # it has no parameters
    assert not net.trainable
    net.layers[0].trainable = True
    assert net.trainable
    with pytest.raises(TypeError, match="trainable must be True or False, got 'no'"):
        net.trainable = "no"  # type: ignore[assignment]
    net.trainable = True
    assert all(layer.trainable for layer in net.layers)
