"""Metrics of held-out rows, by scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .._validation import Array, as_array
from ..plot import classes as of_classes
from ..plot import targets

#: Most pairs of classes that the page lists as confused.
_PAIRS = 10


class Outcome(NamedTuple):
    """Held-out rows that are finite, their metrics, and how many rows are not finite."""

    T: Array
    Y: Array
    lost: int
    classes: Classes | None = None
    outputs: list[tuple[str, float, float, float, float, int]] | None = None


class Classes(NamedTuple):
    """A classifier's metrics: overall, by class, and the most common mistakes."""

    overall: list[tuple[str, float]]
    rows: list[tuple[str, float, float, float, int, float | None]]
    averages: list[tuple[str, float, float, float, int, float | None]]
    mistakes: list[tuple[str, str, int, float]]


def judge(task: str, T: Any, output: Any, classes: Sequence[Any] | None,
          threshold: float | None = None) -> Outcome:
    """Metrics of all rows whose target and output are finite."""
    T = np.asarray(T) if task == "classification" else as_array(T, "T")  # None becomes NaN
    Y = np.asarray(output)
    finite = np.isfinite(Y.astype(np.float64).reshape(len(Y), -1)).all(axis=1)
    if T.dtype.kind == "f":
        finite &= np.isfinite(T.reshape(len(T), -1)).all(axis=1)
    T, Y, lost = T[finite], Y[finite], int((~finite).sum())
    if not len(Y):
        return Outcome(T, Y, lost)
    if task == "regression":
        return Outcome(T, Y, lost, outputs=of_regression(T, Y, classes))
    return Outcome(T, Y, lost, of_classifier(
        T, Y, classes, several=task == "multilabel", threshold=threshold))


def of_classifier(T: Any, output: Any, classes: Sequence[Any] | None, *,
                  several: bool = False, threshold: float | None = None) -> Classes:
    """Precision, recall, F1, support and area under the ROC curve of each class.

    Parameters
    ----------
    T, output, classes, threshold
        As in ``Report``.
    several : bool
        Whether each output is a label of its own.
    """
    metrics = targets.metrics()
    if several:
        truth, Y = targets.numbers(T, output)
        truth = yes = truth.astype(np.int64)
        inside = bool(((Y >= 0) & (Y <= 1)).all())
        least = (0.5 if inside else 0.0) if threshold is None else threshold
        probable = inside and least > 0  # nobody is sure of a yes at probability 0
        guess = (least < Y).astype(np.int64)
    else:
        truth, Y = targets.pair(T, output, classes, threshold)
        yes, guess = np.eye(Y.shape[1], dtype=np.int64)[truth], Y.argmax(axis=1)
        probable = targets.are_probabilities(Y)
    names = targets.names(classes, Y.shape[1])
    options: dict[str, Any] = {"labels": np.arange(len(names)), "zero_division": 0.0}
    figures = metrics.precision_recall_fscore_support(truth, guess, average=None, **options)
    if not several:  # the mean over the classes that there are, as scikit-learn's
        options["labels"] = np.union1d(truth, guess)
    areas = [float(metrics.roc_auc_score(t, y)) if 0 < t.mean() < 1 else None
             for t, y in zip(yes.T, Y.T, strict=True)]
    rows = [(name, float(p), float(r), float(f), int(n), area)
            for name, p, r, f, n, area in zip(names, *figures, areas, strict=True)]
    known = [area for area in areas if area is not None]
    averages = [_average(metrics, truth, guess, kind, options,
                         float(np.mean(known)) if known and kind == "macro" else None)
                for kind in ("macro", "weighted")]
    overall = [("accuracy of each yes or no" if several else "accuracy",
                float((truth == guess).mean())), ("F1, mean over classes", averages[0][3])]
    if probable:
        hits, P, _ = of_classes.confidence(truth.ravel(), Y.ravel() if several else Y)
        overall.append(("calibration error", of_classes.calibration_error(hits, P)))
        if not several:
            overall.append(("log loss", float(metrics.log_loss(
                truth, (Y / Y.sum(axis=1, keepdims=True)).clip(0, 1),
                labels=np.arange(len(names))))))
    return Classes(overall, rows, averages, [] if several else _mistakes(truth, guess, names))


def _average(metrics: Any, truth: Array, guess: Array, kind: str, options: dict[str, Any],
             area: float | None) -> tuple[str, float, float, float, int, float | None]:
    p, r, f, _ = metrics.precision_recall_fscore_support(truth, guess, average=kind, **options)
    return f"{kind} mean", float(p), float(r), float(f), len(truth), area


def _mistakes(truth: Array, guess: Array, names: list[str]) -> list[tuple[str, str, int, float]]:
    table = targets.metrics().confusion_matrix(truth, guess, labels=np.arange(len(names)))
    sizes = table.sum(axis=1)
    np.fill_diagonal(table, 0)
    order = np.argsort(-table, axis=None, kind="stable")[:_PAIRS]
    pairs = [tuple(map(int, np.unravel_index(at, table.shape))) for at in order]
    return [(names[i], names[j], int(table[i, j]), float(table[i, j] / sizes[i]))
            for i, j in pairs if table[i, j]]


def of_regression(T: Any, output: Any, names: Sequence[Any] | None
                  ) -> list[tuple[str, float, float, float, float, int]]:
    """(name, R², RMSE, MAE, mean residual, rows) of each output."""
    metrics = targets.metrics()
    T, Y = targets.numbers(T, output)
    titles = [f"output {i}" for i in range(Y.shape[1])] if names is None else map(str, names)
    found = []
    for name, t, y in zip(titles, T.T, Y.T, strict=True):
        r2 = float(metrics.r2_score(t, y)) if len(t) > 1 else float("nan")
        found.append((name, r2, float(metrics.mean_squared_error(t, y)) ** 0.5,
                      float(metrics.mean_absolute_error(t, y)), float((t - y).mean()), len(t)))
    return found
