"""Each loss: hand-worked numbers, naive loops, complex steps, digits that confidence costs."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastbp
from fastbp import table
from fastbp.kernels import vectors
from fastbp.losses import LOSSES, SHORT_NAMES, Loss

from . import naive
from .builders import REGRESSION

LN2 = math.log(2)
#: X, T, E as mean over rows, dX; worked by hand.
HAND = {
    # row 1: (1 + 4) / 2, row 2: 0
    "L2Loss": ([[1, 2], [3, 4]], [[0, 0], [3, 4]], 1.25, [[0.5, 1], [0, 0]]),
    # (1 + 4 + 1) / 4; 2 (x - t) / 4
    "MSELoss": ([[1, 2, -1, 0]], [[0, 0, 0, 0]], 1.5, [[0.5, 1, -0.5, 0]]),
    # (1 + 3) / 2 and (0 + 2) / 2, halved; signs over 2 outputs and 2 rows
    "MAELoss": ([[1, -3], [2, 2]], [[0, 0], [2, 4]], 1.5, [[0.25, -0.25], [0, -0.25]]),
    # 1/2 (1/2)^2 and 1 (3 - 1/2), halved; (1/2, 1) / 2
    "HuberLoss": ([[0.5, 3]], [[0, 0]], 1.3125, [[0.25, 0.5]]),
    # half of the absolute errors 1 and 3, halved
    "QuantileLoss": ([[1, -3]], [[0, 0]], 1, [[0.25, -0.25]]),
    # (1 - 3 0 + 2 - log 2) / 2; (rate - count) / 2
    "PoissonLoss": ([[0, LN2]], [[3, 1]], (3 - LN2) / 2, [[-1, 0.5]]),
    # (1/2 + 3) / 2 and (0 + 1) / 2, halved; a margin of just 1 does not pull
    "HingeLoss": ([[0.5, 2], [-1, 0]], [[1, 0], [0, 1]], 1.125, [[-0.25, 0.25], [0, -0.25]]),
    # -log(1/2) and -log(1/4), halved; dx = -t / x / 2
    "CrossEntropyLoss": ([[0.5, 0.5], [0.25, 0.75]], [[1, 0], [1, 0]], 1.5 * LN2,
                         [[-1, 0], [-2, 0]]),
    # softmax = (1/4, 3/4)
    "SoftmaxCrossEntropyLoss": ([[0, math.log(3)]], [[1, 0]], 2 * LN2, [[-0.75, 0.75]]),
    # -log(1/2) - log(1 - 3/4); (x - t) / (x (1 - x))
    "BinaryCrossEntropyLoss": ([[0.5, 0.75]], [[1, 0]], 3 * LN2, [[-2, 4]]),
    # the same of sigmoid(0) and sigmoid(log 3); x - t
    "SigmoidBinaryCrossEntropyLoss": ([[0, math.log(3)]], [[1, 0]], 3 * LN2, [[-0.5, 0.75]]),
    # (3/4)^2 2 log 2; v = (3/4)^2 (2 (1/4) (-2 log 2) / (3/4) - 1), dx = (1 - 1/4, -3/4) v
    "FocalLoss": ([[0, math.log(3)]], [[1, 0]], 9 / 8 * LN2,
                  [[-(9 / 16 * LN2 + 27 / 64), 9 / 16 * LN2 + 27 / 64]]),
    # q = (1/2, 3/4), c = (1, 2) log 2: sum of q^2 c; q^2 (p - t -+ 2 c p (1 - p) / q)
    "SigmoidFocalLoss": ([[0, math.log(3)]], [[1, 0]], 11 / 8 * LN2,
                         [[-(0.5 + LN2) / 4, 9 / 16 * (0.75 + LN2)]]),
}
REGRESSION_NAMES = [loss.__name__ for loss in REGRESSION]
PROBABILITIES = ("CrossEntropyLoss", "BinaryCrossEntropyLoss")


def sample(name: str, rows: int, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.uniform(0.05, 0.95, (rows, n)) if name in PROBABILITIES else rng.normal(size=(rows, n))
    if LOSSES[name] in REGRESSION:
        return X, rng.normal(size=(rows, n))
    if name == "PoissonLoss":
        return X, rng.poisson(2.0, (rows, n)).astype(float)
    if name == "HingeLoss":
        return X, rng.integers(0, 2, (rows, n)).astype(float)
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


#: Arguments other than the defaults.
SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("HuberLoss", {"delta": 0.3}), ("HuberLoss", {"delta": 5.0}),
    ("QuantileLoss", {"quantile": 0.9}), ("QuantileLoss", {"quantile": 0.01}),
    ("FocalLoss", {"gamma": 0.0}), ("FocalLoss", {"gamma": 0.5}), ("FocalLoss", {"gamma": 3.7}),
    ("SigmoidFocalLoss", {"gamma": 0.0}), ("SigmoidFocalLoss", {"gamma": 1.5, "alpha": 0.25}),
    ("SigmoidFocalLoss", {"alpha": 1.0}), ("CrossEntropyLoss", {"label_smoothing": 0.1}),
    ("SoftmaxCrossEntropyLoss", {"label_smoothing": 0.1}),
    ("BinaryCrossEntropyLoss", {"label_smoothing": 0.3}),
    ("SigmoidBinaryCrossEntropyLoss", {"label_smoothing": 0.3})]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "arguments"), SETTINGS)
def test_arguments_do_what_the_formula_says(name: str, arguments: dict[str, Any],
                                            dtype: str) -> None:
    X, T = (a.astype(dtype) for a in sample(name, 66, 5))
    if LOSSES[name].labels:
        T[::2] = np.eye(5)[np.arange(33) % 5]
    kept = T.copy()
    loss = LOSSES[name](**arguments)
    assert loss.config() == arguments
    found, exact_x = loss.forward(X, T), X.astype(float)
    np.testing.assert_array_equal(T, kept)  # the caller's targets are his own
    expected = naive.complex_step(lambda x: naive.mean_loss(name, x, T, **arguments), exact_x)
    tolerance = 1e-11 if dtype == "float64" else 1e-4
    assert found == pytest.approx(naive.mean_loss(name, exact_x, T, **arguments).real,
                                  rel=tolerance)
    assert np.abs(loss.backward() - expected).max() <= tolerance * np.abs(expected).max()
    net = fastbp.Network([fastbp.Dense(5, 5)], loss, dtype)
    net.layers[0].parameters()["weight"][...] = np.eye(5)  # the engine pads its rows
    assert net.loss(X, T) == pytest.approx(found, rel=1e-6 if dtype == "float32" else 1e-14)
    error, grad = net.loss_and_grad(X, T)
    assert net.textbook(X, T) == pytest.approx(error, rel=1e-6 if dtype == "float32" else 1e-14)
    np.testing.assert_allclose(net.grads, grad, rtol=0, atol=tolerance * np.abs(grad).max())


@pytest.mark.parametrize(("name", "argument", "values"), [
    ("HuberLoss", "delta", (0, -1, np.inf, np.nan)), ("QuantileLoss", "quantile", (0, 1, np.nan)),
    ("FocalLoss", "gamma", (-1, np.nan)), ("SigmoidFocalLoss", "gamma", (-0.1,)),
    ("SigmoidFocalLoss", "alpha", (-0.1, 1.1)), ("CrossEntropyLoss", "label_smoothing", (-0.1, 1)),
    ("SigmoidBinaryCrossEntropyLoss", "label_smoothing", (1.0,))])
def test_arguments_out_of_range(name: str, argument: str, values: tuple[float, ...]) -> None:
    for value in values:
        with pytest.raises(ValueError, match=f"{argument} must be in .*got {value}"):
            LOSSES[name](**{argument: value})
    with pytest.raises(TypeError, match=argument):
        LOSSES[name](**{argument: "much"})
    with pytest.raises(TypeError, match="reduction"):
        LOSSES[name](0.5)


def test_targets_that_a_loss_cannot_take() -> None:
    with pytest.raises(ValueError, match="T must be at least 0, got -1"):
        fastbp.PoissonLoss().forward([[1.0]], [[-1]])
    for soft in (fastbp.SoftmaxCrossEntropyLoss(), fastbp.CrossEntropyLoss(), fastbp.FocalLoss()):
        with pytest.raises(ValueError, match="T must be at least 0, got -2"):
            soft.forward([[0.5, 0.5]], [[3, -2]])
    for loss in (fastbp.HingeLoss(), fastbp.SigmoidFocalLoss()):
        with pytest.raises(ValueError, match=r"T must be in \[0, 1\], got -1"):
            loss.forward([[1.0, 2.0]], [[1, -1]])


@pytest.mark.parametrize(("weight", "error", "message"), [
    ([1, -1, 1], ValueError, "at least 0, got -1"), ([1, math.nan, 1], ValueError, "holds nan"),
    (["1", "2", "3"], TypeError, "real numbers"), ([1j, 1, 1], TypeError, "real numbers"),
    ([[1], [1], [1]], ValueError, r"shape \(3,\), got \(3, 1\)"), ([1, 2], ValueError, "shape"),
    (1.0, ValueError, "shape")])
def test_weights_that_no_loss_can_take(weight: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"sample_weight .*{message}"):
        fastbp.L2Loss().forward(np.ones((3, 2)), np.zeros((3, 2)), sample_weight=weight)


@pytest.mark.parametrize("name", REGRESSION_NAMES)
def test_regression_at_the_extremes(name: str) -> None:
    loss = LOSSES[name]("sum")
    for dtype in ("float32", "float64"):
        for x in (1e4, -1e4, np.inf, -np.inf):
            error = loss.forward(np.array([[x, 0]], dtype), [[0, 0]])
            assert error == np.inf if np.isinf(x) else 0 < error < 1e9
            g = loss.backward()[0]
            assert g[1] == 0 and g[0] * x > 0
            assert np.isfinite(g[0]) or name in ("L2Loss", "MSELoss")


def test_poisson_and_hinge_at_the_extremes() -> None:
    inf, poisson, hinge = np.inf, fastbp.PoissonLoss(), fastbp.HingeLoss()
    for x, t, error, g in [(-1e4, 0, 0, 0), (-1e4, 2, 2e4, -2), (1e4, 3, inf, inf),
                           (inf, 3, inf, inf), (-inf, 0, 0, 0), (-inf, 1, inf, -1)]:
        assert poisson.forward([[x]], [[t]]) == error
        assert poisson.backward() == g
    for x, t, error, g in [(1e4, 1, 0, 0), (1e4, 0, 10001, 1), (-1e4, 1, 10001, -1),
                           (inf, 1, 0, 0), (inf, 0, inf, 1), (-inf, 1, inf, -1)]:
        assert hinge.forward([[x]], [[t]]) == error
        assert hinge.backward() == g


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 3.5])
def test_focal_at_the_extremes(gamma: float, dtype: str) -> None:
    softmax = fastbp.FocalLoss("sum", gamma=gamma)
    binary = fastbp.SigmoidFocalLoss("sum", gamma=gamma)
    for x in (1e4, np.inf):
        for top in (0, 1):
            X = np.array([[x, 0] if top == 0 else [0, x]], dtype)
            for label in (0, 1):
                assert softmax.forward(X, [label]) == (0 if label == top else x)
                expected = 0 if label == top else 1
                g = softmax.backward()[0]
                assert g[top] == expected and g[1 - top] == -expected
        for z, t in ((x, 0), (x, 1), (-x, 0), (-x, 1)):
            wrong = (z > 0) != t
            assert binary.forward(np.array([[z]], dtype), [[t]]) == (x if wrong else 0)
            assert binary.backward() == (np.sign(z) if wrong else 0)
    assert np.isnan(binary.forward(np.array([[np.nan]], dtype), [[1]]))


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_keeps_its_digits(gamma: float) -> None:
    """The gradient too, where 1 - p is far below the last digit of p."""
    for z in (0.1, 5.0, 30.0, 60.0):
        with mpmath.workdps(400):
            def e(x: mpmath.mpf) -> mpmath.mpf:
                p = 1 / (1 + mpmath.exp(-x))
                return -(1 - p) ** gamma * mpmath.log(p)

            reference, slope = e(mpmath.mpf(z)), mpmath.diff(e, z)
        for loss, X, T in ((fastbp.FocalLoss(gamma=gamma), [[z, 0.0]], [[1, 0]]),
                           (fastbp.SigmoidFocalLoss(gamma=gamma), [[z]], [[1]])):
            assert abs(loss.forward(X, T) - reference) <= 1e-12 * reference
            assert abs(loss.backward()[0, 0] - slope) <= 1e-12 * abs(slope)


def test_gamma_zero_is_cross_entropy() -> None:
    for name, plain in (("FocalLoss", "SoftmaxCrossEntropyLoss"),
                        ("SigmoidFocalLoss", "SigmoidBinaryCrossEntropyLoss")):
        (X, T), focal, other = sample(name, 9, 4), LOSSES[name](gamma=0), LOSSES[plain]()
        assert focal.forward(X, T) == pytest.approx(other.forward(X, T), rel=1e-13)
        np.testing.assert_allclose(focal.backward(), other.backward(), atol=1e-14)


def torch_twins() -> dict[str, Any]:
    torch = pytest.importorskip("torch")
    f = torch.nn.functional

    def focal(x: Any, t: Any) -> Any:
        ce = f.cross_entropy(x, t, reduction="none")
        return ((1 - torch.exp(-ce)) ** 2 * ce).mean()

    def sigmoid_focal(x: Any, t: Any) -> Any:  # as torchvision.ops.sigmoid_focal_loss has it
        p, ce = torch.sigmoid(x), f.binary_cross_entropy_with_logits(x, t, reduction="none")
        p_t, share = p * t + (1 - p) * (1 - t), 0.25 * t + 0.75 * (1 - t)
        return (share * ce * (1 - p_t) ** 2).sum() / len(x)

    return {
        "mse": (fastbp.MSELoss(), "rows", f.mse_loss),
        "mae": (fastbp.MAELoss(), "rows", f.l1_loss),
        "huber": (fastbp.HuberLoss(delta=0.7), "rows",
                  lambda x, t: f.huber_loss(x, t, delta=0.7)),
        "poisson": (fastbp.PoissonLoss(), "counts", f.poisson_nll_loss),
        "smoothed": (fastbp.SoftmaxCrossEntropyLoss(label_smoothing=0.2), "labels",
                     lambda x, t: f.cross_entropy(x, t, label_smoothing=0.2)),
        "focal": (fastbp.FocalLoss(), "labels", focal),
        "sigmoid_focal": (fastbp.SigmoidFocalLoss(alpha=0.25), "bits", sigmoid_focal)}


@pytest.mark.parametrize("name", ["mse", "mae", "huber", "poisson", "smoothed", "focal",
                                  "sigmoid_focal"])
def test_the_same_as_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    loss, kind, twin = torch_twins()[name]
    X = rng.normal(size=(40, 6)) * 2
    T = {"rows": rng.normal(size=(40, 6)), "counts": rng.poisson(2.0, (40, 6)).astype(float),
         "labels": rng.integers(0, 6, 40), "bits": rng.integers(0, 2, (40, 6)).astype(float)}[kind]
    x = torch.tensor(X, requires_grad=True)
    error = twin(x, torch.tensor(T))
    error.backward()
    assert loss.forward(X, T) == pytest.approx(error.item(), rel=1e-12)
    np.testing.assert_allclose(loss.backward(), x.grad.numpy(), rtol=1e-10, atol=1e-14)


def test_names() -> None:
    for name, loss in {**SHORT_NAMES, **LOSSES}.items():
        assert type(fastbp.losses.get(name)) is loss
    assert set(SHORT_NAMES.values()) == set(LOSSES.values())
    with pytest.raises(ValueError, match=r"loss must be one of \[.*'MSELoss'.*'mse'.*got 'rmse'"):
        fastbp.losses.get("rmse")


def test_fusion_happens_only_between_the_pair() -> None:
    ce, bce = fastbp.CrossEntropyLoss("sum"), fastbp.BinaryCrossEntropyLoss()
    fused = ce.fuse(fastbp.Softmax())
    assert isinstance(fused, fastbp.SoftmaxCrossEntropyLoss) and fused.reduction == "sum"
    assert isinstance(bce.fuse(fastbp.Sigmoid()), fastbp.SigmoidBinaryCrossEntropyLoss)
    assert ce.fuse(fastbp.Sigmoid()) is None and bce.fuse(fastbp.Softmax()) is None
    assert fastbp.L2Loss().fuse(fastbp.Softmax()) is None


@pytest.mark.parametrize("settings", [{}, {"label_smoothing": 0.25}], ids=str)
@pytest.mark.parametrize(("layer", "loss"), [(fastbp.Softmax, fastbp.CrossEntropyLoss),
                                             (fastbp.Sigmoid, fastbp.BinaryCrossEntropyLoss)])
def test_fused_is_the_two_taken_apart(layer: type[fastbp.Layer], loss: type[Loss],
                                      settings: dict[str, Any]) -> None:
    X, T = np.random.default_rng(0).normal(size=(9, 5)) * 3, np.eye(5)[np.arange(9) % 5]
    top, apart = layer(), loss(**settings)
    together = loss(**settings).fuse(layer())
    assert together is not None and together.config() == settings
    error = apart.forward(top.forward(X), T)
    assert together.forward(X, T) == pytest.approx(error, rel=1e-13)
    np.testing.assert_allclose(together.backward(), top.backward(apart.backward()), atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "n"), [
    *(("SoftmaxCrossEntropyLoss", n) for n in (1, 2, 3, 10, 16, 31, 32)),
    *((name, n) for name in ("L2Loss", "MSELoss", "SigmoidBinaryCrossEntropyLoss")
      for n in (1, 2, 3, 4, 5)),
    *(("SigmoidBinaryCrossEntropyLoss", n) for n in (17, 32, 33))])
@pytest.mark.parametrize("rows", [1, 7, 64, 131])
def test_rows_as_lanes_are_the_rows_one_by_one(rows: int, name: str, n: int, dtype: str) -> None:
    """Padded rows of a few outputs go another way than packed ones, to the same numbers."""
    rng, tiny = np.random.default_rng(n), np.finfo(dtype).smallest_subnormal
    X = rng.normal(size=(rows, n)).astype(dtype) * 3
    X[::5, 0], X[1::5, 0], X[2::7, -1] = np.inf, -np.inf, np.nan
    X[3::5], X[4::5, 0] = X[3::5, :1], 1e4
    T = rng.dirichlet(np.ones(n), rows).astype(dtype)
    T[::2] = np.eye(n)[rng.integers(0, n, len(T[::2]))]
    weight = rng.uniform(0, 2, rows).astype(dtype)
    weight[-1] = tiny
    found = []
    for ld in (vectors.row_length(n, dtype), n + (n % (64 // X.itemsize) == 0)):
        x, t, dx = (np.full((rows, ld), np.nan, dtype) for _ in range(3))
        x[:, :n], t[:, :n] = X, T
        head, error = np.zeros(1, table.HEAD), np.full(rows, np.nan, dtype)
        head["n"], head["ld"], head["a"] = n, ld, LOSSES[name]().constants()[0]
        LOSSES[name].kernel(head[0], x.ravel(), t.ravel(), weight, error, dx.ravel())
        assert (dx[:, n:] == 0).all()
        found.append((error, dx[:, :n]))
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
