"""A user's own loss in the engine: the same numbers, no new engine, errors that say why."""

from __future__ import annotations

import functools
import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba.core import event

import fastbp
from fastbp._jit import DISABLED
from fastbp.losses import custom

from .builders import clusters


def half_square(x: Any, t: Any, dx: Any) -> Any:
    error = 0.0
    for i in range(x.size):
        d = x[i] - t[i]
        error += d * d / 2
        dx[i] = d
    return error


def allocates(x: Any, t: Any, dx: Any) -> Any:
    d = x - t
    dx[:] = d
    return 0.5 * np.sum(d * d)


def quartic(x: Any, t: Any, dx: Any) -> Any:
    d = x - t
    dx[:] = 4 * d**3
    return np.sum(d**4)


def entropy(x: Any, t: Any, dx: Any) -> Any:
    e = np.exp(x - np.max(x))
    p = e / np.sum(e)
    dx[:] = p - t
    return -np.sum(t * np.log(p))


FORMS = {"plain": half_square, "plain-allocates": allocates, "njit": numba.njit(half_square),
         "njit-allocates": numba.njit(allocates),
         "lambda": lambda x, t, dx: half_square_compiled(x, t, dx)}
half_square_compiled = numba.njit(half_square)


def network(loss: Any, dtype: str = "float64", n_out: int = 3) -> fastbp.Network:
    return fastbp.Network([fastbp.Dense(6, 7), fastbp.Tanh(), fastbp.Dense(7, n_out)], loss, dtype)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", FORMS)
def test_it_is_what_fastbp_has_of_its_own(form: str, dtype: str, reduction: str) -> None:
    custom = fastbp.CustomLoss(FORMS[form], reduction=reduction)
    own, tolerance = fastbp.L2Loss(reduction), 1e-12 if dtype == "float64" else 1e-5
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(130, 6)).astype(dtype), rng.normal(size=(130, 3)).astype(dtype)
    assert custom.forward(X[:, :3], T) == pytest.approx(own.forward(X[:, :3], T), rel=tolerance)
    np.testing.assert_allclose(custom.backward(), own.backward(), rtol=tolerance, atol=tolerance)
    assert custom.backward().dtype == dtype
    nets = [network(loss, dtype) for loss in (custom, own)]
    assert nets[0].compiled
    (e, g), (error, grad) = (net.loss_and_grad(X, T) for net in nets)
    assert e == pytest.approx(error, rel=tolerance)
    np.testing.assert_allclose(g, grad, rtol=tolerance, atol=130 * tolerance)
    assert nets[0].textbook(X, T) == pytest.approx(error, rel=tolerance)
    history = [net.fit(X, T, epochs=3, optimizer=fastbp.SGD(1e-3), batch_size=50) for net in nets]
    np.testing.assert_allclose(history[0]["loss"], history[1]["loss"], rtol=100 * tolerance)
    np.testing.assert_allclose(nets[0].params, nets[1].params, rtol=0, atol=100 * tolerance)


def test_gradcheck_sees_right_and_wrong() -> None:
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(4, 6)), rng.normal(size=(4, 3))
    right = fastbp.CustomLoss(quartic)
    assert fastbp.gradcheck(right, X[:, :3], T) <= 1e-6
    assert fastbp.gradcheck(network(right), X, T) <= 1e-6

    def wrong(x: Any, t: Any, dx: Any) -> Any:
        error = quartic_compiled(x, t, dx)
        dx[0] *= 1.01
        return error

    assert fastbp.gradcheck(fastbp.CustomLoss(wrong), X[:, :3], T) > 1e-3


quartic_compiled = numba.njit(quartic)


def test_labels_and_probabilities() -> None:
    X, T = clusters()
    custom = fastbp.CustomLoss(entropy, "softmax", True)
    nets = [network(loss, n_out=4) for loss in (custom, fastbp.SoftmaxCrossEntropyLoss())]
    history = [net.fit(X, T, epochs=5, validation_data=(X, T)) for net in nets]
    for key in ("loss", "val_loss", "val_accuracy"):
        np.testing.assert_allclose(history[0][key], history[1][key], rtol=1e-9)
    np.testing.assert_allclose(nets[0].predict_proba(X), nets[1].predict_proba(X), rtol=1e-9)
    np.testing.assert_array_equal(nets[0].predict_classes(X), nets[1].predict_classes(X))
    with pytest.raises(ValueError, match=r"predict_proba.*CustomLoss\(quartic\)"):
        network(fastbp.CustomLoss(quartic)).predict_proba(X)
    with pytest.raises(ValueError, match="label 4"):
        custom.forward(np.zeros((1, 4)), [4])


def test_the_kernel_lives_as_long_as_the_network() -> None:
    def own(x: Any, t: Any, dx: Any) -> Any:
        dx[:] = 1
        return np.sum(x)

    net = network(fastbp.CustomLoss(own))
    X, T = np.zeros((5, 6)), np.zeros((5, 3))
    before = net.loss(X, T)
    del own
    gc.collect()
    for k in range(3):  # other functions, so that freed code would be written over
        fastbp.CustomLoss(lambda x, t, dx, k=k: 0.0 * k).forward(X, X)
    assert net.loss(X, T) == before


@pytest.mark.skipif(DISABLED, reason="nothing is compiled")
def test_the_engine_is_not_compiled_again() -> None:
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(20, 6)), rng.normal(size=(20, 3))
    network("l2").fit(X, T, epochs=1)
    compiled = []

    class Listener(event.Listener):  # type: ignore[misc]
        def on_start(self, e: Any) -> None:
            compiled.append(e.data["dispatcher"].py_func.__module__)

        def on_end(self, e: Any) -> None:
            pass

    with event.install_listener("numba:compile", Listener()):
        def fresh(x: Any, t: Any, dx: Any) -> Any:
            dx[:] = x
            return 0.5 * np.sum(x * x)

        network(fastbp.CustomLoss(fresh)).fit(X, T, epochs=1)
        first = len(compiled)
        network(fastbp.CustomLoss(fresh)).fit(X, T, epochs=1)
    assert {m for m in compiled if m.startswith("fastbp")} == {"fastbp.losses.custom"}
    assert len(compiled) == first > 0  # one function is compiled once


def no_number(x: Any, t: Any, dx: Any) -> None:
    dx[:] = 0


def unknown_name(x: Any, t: Any, dx: Any) -> Any:
    return there_is_no_such_thing(x)  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(("function", "message"), [
    (3, "must be a Python or numba.njit function, got 3"),
    (np.sum, "must be a Python or numba.njit function"),
    (lambda x, t: 0.0, r"must take \(x, t, dx\), got <lambda>\(x, t\)"),
    (lambda x, t, dx, more: 0.0, r"must take \(x, t, dx\), got <lambda>\(x, t, dx, more\)"),
    (lambda *, x: 0.0, r"must take \(x, t, dx\)"),
    pytest.param(no_number, "no_number.*must compile for rows of float64 and return a number",
                 marks=pytest.mark.skipif(DISABLED, reason="nothing is compiled")),
    pytest.param(unknown_name, r"unknown_name(.|\n)*there_is_no_such_thing",
                 marks=pytest.mark.skipif(DISABLED, reason="nothing is compiled")),
    pytest.param(numba.njit(parallel=True)(half_square), "parallel=True: half_square",
                 marks=pytest.mark.skipif(DISABLED, reason="nothing is compiled")),
])
def test_functions_that_are_none(function: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        fastbp.CustomLoss(function)


def test_other_arguments() -> None:
    with pytest.raises(ValueError, match="probabilities must be one of"):
        fastbp.CustomLoss(quartic, "tanh")
    with pytest.raises(TypeError, match="labels must be True or False"):
        fastbp.CustomLoss(quartic, None, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="reduction"):
        fastbp.CustomLoss(quartic, reduction="max")
    loss = fastbp.CustomLoss(quartic, "sigmoid", True, reduction="sum")
    assert repr(loss) == ("CustomLoss(quartic, probabilities='sigmoid', labels=True, "
                          "reduction='sum')")
    assert repr(fastbp.CustomLoss(**loss.config())) == repr(loss)
    assert "CustomLoss" not in fastbp.losses.LOSSES


@pytest.mark.skipif(DISABLED, reason="Python raises")
def test_one_that_raises_gives_nan() -> None:
    def touchy(x: Any, t: Any, dx: Any) -> Any:
        dx[:] = 1
        if x[0] > 0:
            raise ValueError("too large")
        return np.sum(x)

    loss = fastbp.CustomLoss(touchy)
    assert loss.forward([[-1.0, 0.0], [-1.0, 0.0]], np.zeros((2, 2))) == -1
    assert np.isnan(loss.forward([[-1.0, 0.0], [1.0, 0.0]], np.zeros((2, 2))))


def test_it_cannot_be_saved_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"CustomLoss\(quartic\) holds a function"):
        network(fastbp.CustomLoss(quartic)).save(tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_as_plain_python(tmp_path: Path) -> None:
    """NUMBA_DISABLE_JIT=1: the same steps."""
    script = tmp_path / "own.py"  # Numba wants a file to read a function from
    script.write_text("""
import numba, numpy as np, fastbp
def own(x, t, dx):
    d = x - t
    dx[:] = 4 * d ** 3
    return np.sum(d ** 4)
X = np.random.default_rng(0).normal(size=(9, 5))
for function in (own, numba.njit(own)):
    net = fastbp.Network([fastbp.Dense(5, 3)], fastbp.CustomLoss(function), "float64")
    assert net.compiled
    net.fit(X, X[:, :3], epochs=2, batch_size=4)
    print(*net.params, net.loss(X, X[:, :3]))
""")
    plain, compiled = (
        subprocess.run([sys.executable, str(script)], env={**os.environ, "NUMBA_DISABLE_JIT": v},
                       check=True, capture_output=True, text=True).stdout.split()
        for v in ("1", "0"))
    assert len(plain) == len(compiled) > 30
    np.testing.assert_allclose(np.array(plain, float), np.array(compiled, float), rtol=1e-12,
                               atol=1e-12)


@pytest.mark.skipif(DISABLED, reason="kernels are plain Python then")
def test_functions_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_kernel_of", "_address"):  # as they are, but for the size
        kept = getattr(custom, name)
        assert kept.cache_parameters()["maxsize"] in (64, 128)
        monkeypatch.setattr(custom, name, functools.lru_cache(2)(kept.__wrapped__))
    alive = []
    for k in range(5):
        def own(x: Any, t: Any, dx: Any, k: int = k) -> Any:
            dx[:] = x - t
            return float(k)

        alive.append(weakref.ref(own))
        loss = fastbp.CustomLoss(own)
        assert loss.forward([[1.0]], [[2.0]]) == k
        if not k:
            held = loss
    gc.collect()
    assert [one() is not None for one in alive] == [True, False, False, True, True]
    assert held.forward([[1.0]], [[2.0]]) == 0
    with event.install_recorder("numba:compile") as compiled:  # those used last cost nothing
        again = fastbp.CustomLoss(own)
        assert again.forward([[1.0]], [[2.0]]) == 4 and again._kernel is loss._kernel
    assert not compiled.buffer
