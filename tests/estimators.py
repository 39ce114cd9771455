"""Data of scikit-learn, and estimators of both libraries fitted alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

import sklearn
from sklearn import datasets, neural_network

import fastbp

VERSION = tuple(map(int, sklearn.__version__.split(".")[:2]))


def load(name: str) -> tuple[Any, Any]:
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    X = (X - X.mean(axis=0)) / (X.std(axis=0) + 1e-9)
    return X, y / y.std() if name == "diabetes" else y


def two_labels() -> tuple[Any, Any]:
    X, y = load("wine")
    return X, np.column_stack([y > 0, y > 1, y == 1]).astype(int)


IRIS = load("iris")


def both(data: tuple[Any, Any], fit: dict[str, Any] | None = None,
         **parameters: Any) -> tuple[Any, Any]:
    """scikit-learn's estimator and ours, fitted alike."""
    real = data[1].dtype.kind == "f"
    made = []
    for module in (neural_network, fastbp):
        model = (module.MLPRegressor if real else module.MLPClassifier)(
            random_state=3, **{"hidden_layer_sizes": (16,), **parameters})
        made.append(model.fit(*data, **(fit or {})))
    return made[0], made[1]


def assert_alike(theirs: Any, ours: Any, tolerance: float = 1e-9) -> None:
    for a, b in zip(theirs.coefs_ + theirs.intercepts_, ours.coefs_ + ours.intercepts_,
                    strict=True):
        np.testing.assert_allclose(b, a, atol=tolerance, rtol=tolerance)
    for name in ("n_iter_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(theirs, name) == getattr(ours, name), name
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-6)
    if theirs.solver != "lbfgs":
        assert ours.t_ == theirs.t_
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-6)
        for name in ("best_loss_", "best_validation_score_"):
            a, b = getattr(theirs, name), getattr(ours, name)
            assert (a is None) == (b is None) and (a is None or b == pytest.approx(a, rel=1e-6))
