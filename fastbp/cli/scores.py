"""Scores of predictions, by scikit-learn's metrics."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._extras import needs
from .._validation import Array
from ..data import Target
from ..network import Network
from .models import probabilities

#: Names of the figures on the command line, and how they are printed.
TITLES = {"accuracy": ("accuracy", "{:.2%}"), "balanced_accuracy": ("balanced accuracy", "{:.2%}"),
          "f1": ("F1 (macro)", "{:.4f}"), "log_loss": ("log loss", "{:.4f}"),
          "roc_auc": ("ROC AUC", "{:.4f}"), "brier": ("Brier score", "{:.4f}"),
          "r2": ("R²", "{:.4f}"), "mae": ("mean absolute error", "{:.6g}"),
          "rmse": ("root mean squared error", "{:.6g}")}
#: Those of numbers; the others are of classes.
_NUMBERS = ("r2", "mae", "rmse")


def scores(target: Target, truth: Array, output: Array,
           weights: Array | None = None) -> dict[str, float | None]:
    """Figures by name; None for one that is undefined for these rows. Those of probabilities
    are left out where there are none.

    Parameters
    ----------
    target : Target
    truth : ndarray
        Class indices (n,), or numbers (n,) in the units of the column.
    output : ndarray
        Probabilities (n, classes), class indices (n,) where there are none, or numbers (n,).
    weights : ndarray, shape (n,), optional
        Not all zero.

    Raises
    ------
    ImportError
        Without scikit-learn.
    """
    with needs("scores need scikit-learn", "cli"):
        from sklearn import metrics
    if weights is not None:  # a row without weight is as none: its class does not occur
        truth, output, weights = (array[weights > 0] for array in (truth, output, weights))
    if not np.isfinite(output).all():  # scikit-learn refuses what has overflowed
        return {name: None for name in TITLES if (name in _NUMBERS) == (
            target.task == "regression")}
    own = {"sample_weight": weights}
    if target.task == "regression":
        several = len(truth) > 1 and bool(np.ptp(truth) > 0)
        return {"r2": float(metrics.r2_score(truth, output, **own)) if several else None,
                "mae": float(metrics.mean_absolute_error(truth, output, **own)),
                "rmse": float(metrics.root_mean_squared_error(truth, output, **own))}
    classes, present = output if output.ndim == 1 else output.argmax(axis=1), np.unique(truth)
    found: dict[str, float | None] = {
        "accuracy": float(metrics.accuracy_score(truth, classes, **own)),
        # Only of classes that occur: others have no recall.
        "balanced_accuracy": float(metrics.recall_score(truth, classes, labels=present,
                                                        average="macro", zero_division=0, **own)),
        "f1": float(metrics.f1_score(truth, classes, average="macro", zero_division=0, **own))}
    if output.ndim == 1:
        return found
    P = output.astype(np.float64)
    P /= P.sum(axis=1, keepdims=True)
    k = P.shape[1]
    found |= {"log_loss": float(metrics.log_loss(truth, P, labels=np.arange(k), **own)),
              "roc_auc": None}
    if len(present) == k:
        found["roc_auc"] = float(metrics.roc_auc_score(truth, P[:, 1], **own) if k == 2 else
                                 metrics.roc_auc_score(truth, P, multi_class="ovr", **own))
    if k == 2:
        found["brier"] = float(metrics.brier_score_loss(truth, P[:, 1], pos_label=1, **own))
    else:
        found["brier"] = float(np.average(np.square(P - np.eye(k)[truth]).sum(axis=1),
                                          weights=weights))
    return found


def of_network(network: Network, target: Target, X: Array, T: Array,
               weights: Array | None = None) -> dict[str, float | None]:
    """Scores of a network on rows of features and encoded targets, with their weights."""
    return scores(target, *compared(network, target, X, T), weights)


def compared(network: Network, target: Target, X: Array, T: Array) -> tuple[Array, Array]:
    """Truth and output of rows of features and encoded targets, as ``scores`` takes them."""
    if target.task == "regression":
        return target.decode(T), target.decode(network._expected(X))
    if network.loss_function.probabilities is None:
        classes, finite = network.predict_classes(X), np.isfinite(network.predict(X)).all(axis=1)
        return T, classes if finite.all() else np.where(finite, classes, np.nan)
    return T, probabilities(network, X)


def lines(found: dict[str, float | None], where: str = "") -> list[str]:
    """A line for each figure; ``where`` goes before its name."""
    texts = []
    for name, value in found.items():
        title, form = TITLES[name]
        texts.append(f"{where}{title} {'undefined' if value is None else form.format(value)}")
    return texts


def as_json(found: dict[str, Any]) -> dict[str, Any]:
    """The same with None for numbers that are not finite, which JSON cannot hold."""
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v
            for k, v in found.items()}
