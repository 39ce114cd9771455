"""Metrics: what they are measured on, and which there cannot be."""

from __future__ import annotations

import numpy as np
import pytest

import fastbp

from .builders import clusters, data, network


def test_two_outputs_have_the_area_of_the_second() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    X, T = clusters(200)
    net = fastbp.Network([fastbp.Dense(6, 2)], "SoftmaxCrossEntropyLoss")
    history = net.fit(X, T > 1, epochs=1, metrics=["roc_auc"])
    assert history["roc_auc"] == [metrics.roc_auc_score(T > 1, net.predict_proba(X)[:, 1])]
    several = fastbp.Network([fastbp.Dense(6, 2)], "SigmoidBinaryCrossEntropyLoss")
    T = np.stack([T > 0, T > 2], axis=1)
    history = several.fit(X, T, epochs=1, metrics=["roc_auc"])
    assert history["roc_auc"] == [metrics.roc_auc_score(T, several.predict_proba(X))]


def test_metrics_that_cannot_be_are_refused_and_own_ones_kept() -> None:
    X, T = data("sigmoid-bce", 60)
    for chain, names in (("sigmoid-bce", ["log_loss", "balanced_accuracy"]),
                         ("mse", ["accuracy", "roc_auc"])):
        net = network(chain)
        before = net.params.copy()
        for name in names:
            with pytest.raises(ValueError, match=f"metrics: '{name}' needs"):
                net.fit(X, np.round(T), epochs=1, metrics=[name])
        np.testing.assert_array_equal(net.params, before)

    def accuracy(truth: np.ndarray, output: np.ndarray) -> float:
        return 7.0

    history = network("sigmoid-bce").fit(X, np.round(T), epochs=1, metrics=[accuracy],
                                         validation_split=0.5, callbacks=iter([
                                             fastbp.EarlyStopping("val_accuracy")]))
    assert history["val_accuracy"] == [7.0]
