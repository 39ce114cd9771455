"""Settings of layers, losses and networks, which may be set at any time."""

from __future__ import annotations

import copy
import inspect
import re
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp._validation import _Checked
from fastbp.layers import LAYERS, Layer, base
from fastbp.losses import LOSSES

#: Of each setting, values that are refused, and one that is taken but is not the default.
BAD: dict[str, tuple[list[Any], Any]] = {
    "rate": ([1.0, 2.0, -0.1, np.nan, None, "a"], 0.25),
    "momentum": ([2.0, -1e-9, np.nan, None], 0.3), "epsilon": ([0.0, -1.0, np.inf, "1"], 0.25),
    "negative_slope": ([-0.1, np.inf, None], 0.3), "alpha": ([-0.1, np.nan, "1"], 0.3),
    "approximate": (["erf", None, 1], "tanh"), "label_smoothing": ([1.5, -0.1, np.nan], 0.1),
    "gamma": ([-1.0, np.inf, None], 3.0), "delta": ([0.0, -1.0, np.nan], 2.0),
    "quantile": ([0.0, 1.5, None], 0.9), "deviance": ([1, None, "yes"], True),
    "reduction": (["total", None, 3], "sum")}
FIXED = {"n_in", "n_out", "bias", "weight_init", "dtype", "seed", "shape"}  # from the start


def parts() -> list[Any]:
    made = [kind(3, 2) if kind is fastbp.Dense else kind() for kind in LAYERS.values()]
    return made + [kind() for kind in LOSSES.values()]


def test_every_setting_is_checked_whenever_it_is_set() -> None:
    seen = set()
    for part in parts():
        names = set(inspect.signature(type(part)).parameters) - FIXED
        for name in names:
            bad, good = BAD[name]
            before = getattr(part, name)
            for value in bad:
                with pytest.raises((ValueError, TypeError), match=f"^{name} must be"):
                    setattr(part, name, value)
                assert getattr(part, name) == before
            setattr(part, name, good)
            assert getattr(part, name) == good and part.config()[name] == good
        seen |= names
    assert seen == set(BAD)


def test_settings_are_read_as_fast_as_other_attributes() -> None:
    found = [(kind, name) for kind in (*LAYERS.values(), *LOSSES.values())
             for name in dir(kind) if isinstance(inspect.getattr_static(kind, name), _Checked)]
    assert len(found) > 12 and not hasattr(_Checked, "__get__")


@pytest.mark.parametrize(("name", "value", "error"), [
    ("seed", 2**70, ValueError), ("seed", -1, ValueError), ("seed", 1.5, TypeError),
    ("allow_nonfinite", 1, TypeError), ("matmul_precision", "low", ValueError)])
def test_settings_of_a_network_are_checked(name: str, value: Any, error: type[Exception]) -> None:
    net = fastbp.Network([fastbp.Dense(3, 2)], "l2")
    before = getattr(net, name)
    with pytest.raises(error, match=f"^{name} must be"):
        setattr(net, name, value)
    assert getattr(net, name) == before


def test_a_loss_that_calls_no_constructor_is_a_mean() -> None:
    class Own(fastbp.L2Loss):
        def __init__(self) -> None:
            pass

    class Sum(fastbp.L2Loss):
        reduction = "sum"  # type: ignore[assignment]

        def __init__(self) -> None:
            pass

    assert Own().reduction == "mean" and Own().config() == {}
    X, T = np.ones((3, 2)), np.zeros((3, 2))
    assert Sum().forward(X, T) == 3 * Own().forward(X, T)


class Own(Layer):
    """Of the user: predictions run layer by layer."""

    def forward(self, X: Any, *, allow_nonfinite: bool = True) -> Any:
        return X

    def backward(self, dY: Any) -> Any:
        return dY


def test_threads_that_predict_layer_by_layer_share_no_scratch(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel writes as many numbers as its call has rows: scratch of another call is no place
    for them. Here that other call comes between any two lines of the first."""
    forward_rows, sizes, inside = base.forward_rows, [], False

    def counted(op: Any, key: Any, params: Any, extra: Any, x: Any, y: Any) -> None:
        sizes.append(x.size)
        assert extra.size == net.layers[0].extra_size(x.size // 5, 5)
        forward_rows(op, key, params, extra, x, y)

    def interrupted(frame: Any, event: str, argument: Any) -> Any:
        nonlocal inside
        if event == "line" and not inside:
            inside = True
            net.predict(inputs[0])
            inside = False
        return interrupted

    monkeypatch.setattr(base, "forward_rows", counted)
    net = fastbp.Network([fastbp.LayerNorm(), Own(), fastbp.Dense(5, 2)], "l2")
    inputs = [np.random.default_rng(rows).normal(size=(rows, 5)).astype("f4")
              for rows in (1, 2000)]
    expected, before = net.predict(inputs[1]), sys.gettrace()
    sys.settrace(lambda frame, *_: interrupted if frame.f_code is Layer.forward.__code__ else None)
    try:
        found = net.predict(inputs[1])
    finally:
        sys.settrace(before)
    np.testing.assert_array_equal(found, expected)
    assert sizes.count(5) > 5 and sizes.count(10_000) == 2


def test_what_backward_needs_is_of_one_forward() -> None:
    layer, X = fastbp.LayerNorm(), np.random.default_rng(0).normal(size=(6, 5))
    net = fastbp.Network([layer, fastbp.Dense(5, 2)], "l2", "float64")
    assert net.layers[0] is layer
    layer.forward(X)
    kept = layer._kept
    assert kept is not None and kept[2].size == layer.extra_size(6, 5)
    layer.forward(X[:2])
    layer._kept = kept
    dX = layer.backward(np.ones((6, 5)))
    layer.forward(X)
    np.testing.assert_array_equal(dX, layer.backward(np.ones((6, 5))))


@pytest.mark.parametrize(("part", "name", "value"), [
    (fastbp.BatchNorm(), "epsilon", 1e-60), (fastbp.LayerNorm(), "epsilon", 1e60),
    (fastbp.LeakyReLU(), "negative_slope", 1e60), (fastbp.ELU(), "alpha", 1e-40),
    (fastbp.HuberLoss(), "delta", 1e-60)])
def test_a_setting_beyond_the_dtype_is_refused(part: Any, name: str, value: float,
                                               tmp_path: Path) -> None:
    def network(dtype: str = "float32") -> fastbp.Network:
        is_loss = isinstance(part, fastbp.Loss)
        layers = [fastbp.Dense(2, 2, weight_init="zeros"), *([] if is_loss else [copy.copy(part)])]
        return fastbp.Network(layers, part if is_loss else "mse", dtype)

    X, before, net = np.ones((4, 2)), getattr(part, name), network()
    says = f"{name} of {type(part).__name__}.* must be .*for float32, got {re.escape(str(value))}"
    setattr(net.loss_function if isinstance(part, fastbp.Loss) else net.layers[-1], name, value)
    for call in (lambda: net.fit(X, X, epochs=1), lambda: net.loss(X, X),
                 lambda: net.save(tmp_path / "net")):
        with pytest.raises(ValueError, match=says):
            call()
    assert not net.params[:4].any() and net.last_run is None and not [*tmp_path.iterdir()]
    setattr(part, name, value)
    with pytest.raises(ValueError, match=says):
        network()
    for dtype, refused in (("float32", True), ("float64", False)):  # by itself
        alone = copy.copy(part)
        with pytest.raises(ValueError, match=says) if refused else nullcontext():
            alone.forward(X.astype(dtype), *[X] * isinstance(part, fastbp.Loss))
    network("float64").loss(X, X)
    setattr(part, name, before)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_constant_of_ones_own_may_be_infinite(dtype: str) -> None:
    class Above(fastbp.ReLU):
        def constants(self) -> tuple[float, float]:
            return -np.inf, 0.0

    X = np.ones((4, 2))
    net = fastbp.Network([fastbp.Dense(2, 2), Above()], "mse", dtype)
    assert np.isfinite(net.fit(X, X, epochs=1)["loss"]).all()


@pytest.mark.parametrize(("rule", "value"), [
    ("l1", 1e-60), ("l2", 1e300), ("clip_value", 1e-60), ("clip_norm", 1e-60),
    ("max_norm", 1e-60)])
def test_a_rule_beyond_the_dtype_is_refused(rule: str, value: float) -> None:
    X, net = np.ones((4, 2)), fastbp.Network([fastbp.Dense(2, 2)], "mse")
    before = net.params.copy()
    for fit in net.fit, net.partial_fit:
        with pytest.raises(ValueError, match=rf"^{rule} must be in .* or 0 for float32, got 1e"):
            fit(X, X, **{rule: value})
    with pytest.raises(ValueError, match="^weight_decay must be in .* or 0 for"):
        net.fit(X, X, optimizer=fastbp.SGD(weight_decay=1e300))
    assert (net.params == before).all() and net.last_run is None
    net.fit(X, X, epochs=1, **{rule: 0})
    wide = fastbp.Network([fastbp.Dense(2, 2)], "mse", "float64")
    wide.fit(X, X, epochs=1, **{rule: 1e-60})


def test_a_constant_that_is_no_number_is_refused() -> None:
    class Odd(fastbp.ReLU):
        def constants(self) -> tuple[float, float]:
            return float("nan"), 0.0

    with pytest.raises(ValueError, match=r"constant of Odd\(\) must be in .*, got nan"):
        fastbp.Network([fastbp.Dense(2, 2), Odd()], "mse")
