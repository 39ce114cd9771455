"""Statistics of parameters and gradients, and the share of the machine's peak."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastbp import (
    BatchNorm,
    CrossEntropyLoss,
    Dense,
    Dropout,
    L2Loss,
    Layer,
    Network,
    ReLU,
    Softmax,
)
from fastbp import peak as peaks
from fastbp.layer_statistics import gradient_statistics, weight_statistics
from fastbp.peak import share_of_peak, training_flops


def network(dtype: str = "float64") -> Network:
    return Network([Dense(5, 7), BatchNorm(), ReLU(), Dropout(0.3), Dense(7, 3), Softmax()],
                   CrossEntropyLoss(), dtype)


def test_weights_by_their_definitions() -> None:
    net = Network([Dense(2, 2)], L2Loss(), "float64")
    net.layers[0].weight[...] = [[3, 0], [0, -4]]
    before = net.params.copy()
    net.layers[0].weight[...] = [[3, 0], [1e-9, 1]]
    weight, bias = weight_statistics(net, before)
    assert (weight.name, weight.kind, weight.shape) == ("0.weight", "Dense", (2, 2))
    assert (weight.mean, weight.minimum, weight.maximum) == (pytest.approx(1), 0, 3)
    assert weight.norm == pytest.approx(10 ** 0.5)
    assert weight.std == pytest.approx(np.std([3, 0, 0, 1]))
    assert weight.near_zero == 0.5
    assert weight.change == pytest.approx(5 / 5)
    assert weight.quantiles[2] == pytest.approx(0.5)
    shares = [0.05, 0.25, 0.5, 0.75, 0.95]
    assert weight.quantiles == pytest.approx(np.quantile([3, 0, 1e-9, 1], shares))
    assert repr(weight_statistics(net, before.tolist())) == repr([weight, bias])
    assert repr(weight_statistics(net, np.repeat(before, 2)[::2])) == repr([weight, bias])
    assert weight.quantiles_before is not None and weight.quantiles_before[2] == 0
    assert bias.name == "0.bias" and bias.near_zero == 1 and np.isnan(bias.change)
    assert weight_statistics(net)[0].change is None


def test_every_tensor_and_no_padding() -> None:
    net = network("float32")
    named = net.named_parameters()
    found = weight_statistics(net)
    assert [w.name for w in found] == list(named)
    for w in found:
        assert w.mean == pytest.approx(named[w.name].astype(float).mean(), rel=1e-6), w.name


def test_gradients_are_those_of_the_network(rng: np.random.Generator) -> None:
    net = network()
    X, T = rng.normal(size=(50, 5)), rng.integers(0, 3, 50)
    net.loss_and_grad(X, T)
    own = {f"{i}.{name}": g.copy() for i, layer in enumerate(net.layers)
           for name, g in layer.gradients().items()}
    net.grads[...] = 7.0
    found = gradient_statistics(net, X, T)
    assert (net.grads == 7.0).all()
    assert [g.name for g in found] == ["0.weight", "0.bias", "1.weight", "1.bias", "4.weight",
                                       "4.bias"]
    for g in found:
        assert g.norm == pytest.approx(np.linalg.norm(own[g.name]))
        assert g.mean_abs == pytest.approx(np.abs(own[g.name]).mean())
        assert g.maximum == pytest.approx(np.abs(own[g.name]).max())
    assert found[0].ratio == pytest.approx(found[0].norm / np.linalg.norm(net.layers[0].weight))
    assert found[1].ratio == np.inf  # the biases are 0


def test_a_gradient_of_nothing_is_no_share_of_nothing() -> None:
    net = Network([Dense(2, 2)], L2Loss(), "float64")
    net.params[...] = 0
    X = np.ones((3, 2))
    assert [g.ratio for g in gradient_statistics(net, X, X - 1)] == [0, 0]
    assert [g.ratio for g in gradient_statistics(net, X, X)] == [np.inf, np.inf]


def test_gradients_stay_where_those_of_a_layer_fail() -> None:
    class Fails(Layer):
        def forward(self, X: Any, **_: Any) -> Any:
            return X

        def backward(self, dY: Any) -> Any:
            raise ZeroDivisionError

    net = Network([Fails(), Dense(2, 2)], L2Loss(), "float64")
    net.grads[...] = 3.0
    with pytest.raises(ZeroDivisionError):
        gradient_statistics(net, np.ones((3, 2)), np.ones((3, 2)))
    assert (net.grads == 3.0).all()


def test_what_does_not_fit_is_refused() -> None:
    net = network()
    with pytest.raises(ValueError, match=r"initial_params has shape \(3,\)"):
        weight_statistics(net, np.zeros(3))
    with pytest.raises(TypeError, match="initial_params must hold real numbers"):
        weight_statistics(net, net.params * 1j)
    with pytest.raises(ValueError, match="rows_per_s must be in .* got nan"):
        share_of_peak(net, float("nan"))
    for call in (weight_statistics, lambda network: gradient_statistics(network, [[0.0]], [0])):
        with pytest.raises(TypeError, match="network must be a Network, got 'a'"):
            call("a")
    net.grads[...] = 2.0
    with pytest.raises(ValueError, match="X"):
        gradient_statistics(net, np.zeros((2, 4)), [0, 1])
    assert (net.grads == 2.0).all()


def test_diverged_weights_have_statistics() -> None:
    net = network()
    net.layers[0].weight[0, 0] = np.nan
    assert np.isnan(weight_statistics(net)[0].norm)
    assert np.isfinite(weight_statistics(net)[-1].norm)


def test_work_is_counted_and_set_against_the_peak() -> None:
    net = network()
    assert training_flops(net) == 6 * (5 * 7 + 7 * 3) - 2 * 5 * 7
    found = share_of_peak(net, 1000.0, 1)
    assert found["gflops"] == pytest.approx(1000 * training_flops(net) / 1e9)
    assert found["share"] == pytest.approx(found["gflops"] / found["peak_gflops"])
    assert 0 < found["share"] < 0.01


def test_work_is_that_of_the_layers_that_learn_and_of_those_above_them() -> None:
    first, last = 5 * 7, 7 * 3
    for held, products in (((), 2 * first + 3 * last), ((0,), first + 3 * last),
                           ((0, 1), first + 2 * last), ((4,), 2 * first + 2 * last),
                           ((0, 4), first + 2 * last)):
        net = network()
        for k in held:
            net.layers[k].trainable = False
        assert training_flops(net) == 2 * products
    below = Network([Dropout(0.3), Dense(5, 7), ReLU(), Dense(7, 3)], L2Loss())
    assert training_flops(below) == 2 * (2 * first + 3 * last)
    normed = Network([BatchNorm(), Dense(5, 7), ReLU(), Dense(7, 3)], L2Loss())
    assert training_flops(normed) == 2 * 3 * (first + last)


@pytest.mark.parametrize(("dtype", "lanes"), [("float32", 16), ("float64", 8)])
def test_the_peak_is_the_best_of_what_all_threads_did(dtype: str, lanes: int,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    spun, times = [], iter([0.0, 4.0] * 20 + [0.0, 0.5] + [0.0, 3.0] * 29)
    monkeypatch.setattr(peaks, "thread_count", lambda n: n or 3)
    monkeypatch.setattr(peaks, "spin", lambda x, n: spun.append((x, n)))
    monkeypatch.setattr(peaks, "time", SimpleNamespace(perf_counter=lambda: next(times)))
    found = peaks.peak_flops(dtype, 2)
    each = spun[-1][1]
    assert spun[1:] == [(0.5, each)] * 100 and spun[-1][0].dtype == dtype
    assert found == 2 * each * 16 * lanes * 2 / 0.5  # 16 sums of so many numbers, two operations


def test_the_share_is_of_the_peak_of_that_type_and_those_threads(
        monkeypatch: pytest.MonkeyPatch) -> None:
    peak = {("float32", 2): 8e9, ("float64", 2): 4e9, ("float32", None): 32e9}
    monkeypatch.setattr(peaks, "peak_flops", lambda dtype, n=None: peak[dtype, n])
    for (dtype, threads), most in peak.items():
        found = share_of_peak(net := network(dtype), 1000.0, threads)
        assert found["peak_gflops"] == pytest.approx(most / 1e9)
        assert found["share"] == pytest.approx(1000 * training_flops(net) / most)


def test_statistics_of_large_numbers_are_finite() -> None:
    net = Network([Dense(3, 4)], L2Loss())  # float32, whose squares would be infinite
    net.layers[0].weight[...] = 1e25
    before = net.params.copy()
    net.layers[0].weight[...] = 3e25
    weight = weight_statistics(net, before)[0]
    assert (weight.norm, weight.change) == pytest.approx((3e25 * 12 ** 0.5, 2))
    assert (weight.near_zero, weight.std) == (0, pytest.approx(0, abs=1e18))
    found = gradient_statistics(net, [[1.0, 2.0, 2.0]], np.zeros((1, 4)))[0]
    assert found.norm == pytest.approx(3 * 2 * 5 * 3e25, rel=1e-5) and found.ratio > 0
