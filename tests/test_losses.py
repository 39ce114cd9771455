"""Each loss: hand-worked numbers, naive loops, complex steps, digits that confidence costs."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastbp
from fastbp.losses import LOSSES, Loss

from . import naive

LN2 = math.log(2)
#: X, T, E as mean over rows, dX; worked by hand.
HAND = {
    # row 1: (1 + 4) / 2, row 2: 0
    "L2Loss": ([[1, 2], [3, 4]], [[0, 0], [3, 4]], 1.25, [[0.5, 1], [0, 0]]),
    # -log(1/2) and -log(1/4), halved; dx = -t / x / 2
    "CrossEntropyLoss": ([[0.5, 0.5], [0.25, 0.75]], [[1, 0], [1, 0]], 1.5 * LN2,
                         [[-1, 0], [-2, 0]]),
    # softmax = (1/4, 3/4)
    "SoftmaxCrossEntropyLoss": ([[0, math.log(3)]], [[1, 0]], 2 * LN2, [[-0.75, 0.75]]),
    # -log(1/2) - log(1 - 3/4); (x - t) / (x (1 - x))
    "BinaryCrossEntropyLoss": ([[0.5, 0.75]], [[1, 0]], 3 * LN2, [[-2, 4]]),
    # the same of sigmoid(0) and sigmoid(log 3); x - t
    "SigmoidBinaryCrossEntropyLoss": ([[0, math.log(3)]], [[1, 0]], 3 * LN2, [[-0.5, 0.75]]),
}
PROBABILITIES = ("CrossEntropyLoss", "BinaryCrossEntropyLoss")


def sample(name: str, rows: int, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.uniform(0.05, 0.95, (rows, n)) if name in PROBABILITIES else rng.normal(size=(rows, n))
    if name == "L2Loss":
        return X, rng.normal(size=(rows, n))
    if LOSSES[name].labels:
        return X, rng.dirichlet(np.ones(n), rows)
    return X, rng.uniform(size=(rows, n))


def test_every_loss_has_a_hand_worked_example_and_a_naive_twin() -> None:
    assert set(HAND) == set(naive.LOSSES) == set(LOSSES)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LOSSES)
def test_hand_worked(name: str, dtype: str) -> None:
    X, T, error, dX = HAND[name]
    tolerance = 1e-6 if dtype == "float32" else 1e-15
    loss = LOSSES[name]()
    assert loss.forward(np.array(X, dtype), T) == pytest.approx(error, rel=tolerance)
    np.testing.assert_allclose(loss.backward(), dX, rtol=tolerance, atol=tolerance)
    summed = LOSSES[name]("sum")
    assert summed.forward(np.array(X, dtype), T) == pytest.approx(error * len(X), rel=tolerance)
    np.testing.assert_allclose(summed.backward(), np.multiply(dX, len(X)), rtol=tolerance,
                               atol=tolerance)


@pytest.mark.parametrize("name", LOSSES)
@given(rows=st.sampled_from([1, 2, 63, 64, 65, 130]), n=st.sampled_from([1, 2, 9, 16, 21]),
       dtype=st.sampled_from(["float32", "float64"]), seed=st.integers(0, 1000),
       reduction=st.sampled_from(["mean", "sum"]))
def test_forward_is_the_naive_loop(name: str, rows: int, n: int, dtype: str, seed: int,
                                   reduction: str) -> None:
    X, T = (a.astype(dtype) for a in sample(name, rows, n, seed))
    expected = naive.mean_loss(name, X.astype(np.float64), T.astype(np.float64), reduction).real
    target = T
    if n == 1 and LOSSES[name].labels:
        target = np.ones_like(T)
        expected = naive.mean_loss(name, X.astype(np.float64), target, reduction).real
    tolerance = 1e-12 if dtype == "float64" else 1e-4
    found = LOSSES[name](reduction).forward(X, target)
    assert found == pytest.approx(expected, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("rows", "n"), [(1, 2), (3, 5), (66, 3), (2, 17)])
@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_complex_steps(name: str, rows: int, n: int, reduction: str) -> None:
    X, T = sample(name, rows, n)
    loss = LOSSES[name](reduction)
    loss.forward(X, T)
    expected = naive.complex_step(lambda x: naive.mean_loss(name, x, T, reduction), X)
    assert np.abs(loss.backward() - expected).max() <= 1e-11 * np.abs(expected).max()


@pytest.mark.parametrize("name", LOSSES)
def test_gradcheck(name: str) -> None:
    assert fastbp.gradcheck(LOSSES[name](), *sample(name, 4, 5)) <= 1e-6


@pytest.mark.parametrize("name", LOSSES)
def test_float32_follows_float64(name: str) -> None:
    X, T = (a.astype(np.float32) for a in sample(name, 70, 6))
    single, double = LOSSES[name](), LOSSES[name]()
    assert single.forward(X, T) == pytest.approx(double.forward(X.astype(float), T), rel=1e-4)
    np.testing.assert_allclose(single.backward(), double.backward(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", [k for k, v in LOSSES.items() if v.labels])
def test_labels_are_rows_with_a_one(name: str, rng: np.random.Generator) -> None:
    X, _ = sample(name, 20, 4)
    labels = rng.integers(0, 4, 20)
    by_label, by_row = LOSSES[name](), LOSSES[name]()
    for T in (labels, labels.astype(np.uint8), labels.astype(float), labels[:, None],
              labels.tolist()):
        assert by_label.forward(X, T) == by_row.forward(X, np.eye(4)[labels])
        np.testing.assert_array_equal(by_label.backward(), by_row.backward())


def exact(x: np.ndarray, label: int) -> mpmath.mpf:
    with mpmath.workdps(400):
        return mpmath.log(mpmath.fsum(mpmath.exp(mpmath.mpf(float(v)) - float(x[label]))
                                      for v in x))


@pytest.mark.parametrize("n", [2, 3, 10, 100])
def test_cross_entropy_keeps_its_digits_from_uniform_to_confident(n: int) -> None:
    rng = np.random.default_rng(n)
    for confidence in (0, 1e-8, 1e-3, 1, 5, 10, 20, 36, 40, 100, 300, 600):
        x = rng.normal(size=n) * min(confidence, 1)
        x[1] += confidence
        for label in (0, 1):
            loss, reference = fastbp.losses.SoftmaxCrossEntropyLoss(), exact(x, label)
            found = loss.forward(x[None], [label])
            assert abs(found - reference) <= 1e-12 * reference, (confidence, label)


@pytest.mark.parametrize("z", [0.0, 1e-8, 0.5, 3.0, 20.0, 40.0, 300.0, 700.0])
def test_binary_cross_entropy_keeps_its_digits(z: float) -> None:
    for sign in (1, -1):
        for t in (0, 1):
            with mpmath.workdps(400):
                reference = mpmath.log1p(mpmath.exp(-sign * z if t else sign * z))
            found = fastbp.losses.SigmoidBinaryCrossEntropyLoss().forward([[sign * z]], [[t]])
            assert abs(found - reference) <= 1e-12 * reference


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fused_losses_at_the_extremes(dtype: str) -> None:
    softmax = fastbp.losses.SoftmaxCrossEntropyLoss("sum")
    inf = np.inf

    def at(x: list[float], label: int) -> tuple[float, np.ndarray]:
        return softmax.forward(np.array([x], dtype), [label]), softmax.backward()[0]

    assert at([1e4, -1e4], 0)[0] == 0 and at([1e4, -1e4], 1)[0] == 2e4
    assert at([inf, 0], 0)[0] == 0 and at([inf, 0], 1)[0] == inf
    assert at([0, -inf], 0)[0] == 0 and at([0, -inf], 1)[0] == inf
    np.testing.assert_array_equal(at([inf, 0], 0)[1], [0, 0])
    assert np.isnan(at([np.nan, 0], 1)[0]) and np.isnan(at([np.nan, 0], 1)[1]).all()
    binary = fastbp.losses.SigmoidBinaryCrossEntropyLoss("sum")
    for z, t, error in [(1e4, 1, 0), (1e4, 0, 1e4), (-1e4, 0, 0), (-1e4, 1, 1e4), (inf, 1, 0),
                        (inf, 0, inf), (-inf, 0, 0), (-inf, 1, inf)]:
        assert binary.forward(np.array([[z]], dtype), [[t]]) == error
    assert np.isnan(binary.forward(np.array([[np.nan]], dtype), [[1]]))


@pytest.mark.parametrize("name", LOSSES)
def test_nan_in_nan_out(name: str) -> None:
    X, T = sample(name, 3, 4)
    if LOSSES[name].labels:
        T = np.eye(4)[[0, 1, 2]]  # a zero weight must not hide it
    X[1, 3] = np.nan
    loss = LOSSES[name]()
    assert np.isnan(loss.forward(X, T))
    assert np.isnan(loss.backward()[1, 3])
    assert np.isfinite(loss.backward()[[0, 2]]).all()


def test_fusion_happens_only_between_the_pair() -> None:
    ce, bce = fastbp.CrossEntropyLoss("sum"), fastbp.BinaryCrossEntropyLoss()
    fused = ce.fuse(fastbp.Softmax())
    assert isinstance(fused, fastbp.SoftmaxCrossEntropyLoss) and fused.reduction == "sum"
    assert isinstance(bce.fuse(fastbp.Sigmoid()), fastbp.SigmoidBinaryCrossEntropyLoss)
    assert ce.fuse(fastbp.Sigmoid()) is None and bce.fuse(fastbp.Softmax()) is None
    assert fastbp.L2Loss().fuse(fastbp.Softmax()) is None


@pytest.mark.parametrize(("layer", "loss"), [(fastbp.Softmax, fastbp.CrossEntropyLoss),
                                             (fastbp.Sigmoid, fastbp.BinaryCrossEntropyLoss)])
def test_fused_is_the_two_taken_apart(layer: type[fastbp.Layer], loss: type[Loss]) -> None:
    X, T = np.random.default_rng(0).normal(size=(9, 5)) * 3, np.eye(5)[np.arange(9) % 5]
    top, apart = layer(), loss()
    together = loss().fuse(layer())
    assert together is not None
    error = apart.forward(top.forward(X), T)
    assert together.forward(X, T) == pytest.approx(error, rel=1e-13)
    np.testing.assert_allclose(together.backward(), top.backward(apart.backward()), atol=1e-14)
