"""Figures of merit by name or function, measured on the outputs of a network.

Those that need more than a line are scikit-learn's (extra ``sklearn``), imported when asked
for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ._validation import Array, check_choice
from .network import Network


class Metric(NamedTuple):
    """A name and a function (T, output, weights) -> number.

    ``output`` is what ``takes`` says: "classes", "probabilities" or "output".
    """

    name: str
    function: Callable[..., float]
    takes: str = "output"


def _accuracy(T: Array, classes: Array, weights: Array | None) -> float:
    hits = classes == T
    return float(np.average(hits if hits.ndim == 1 else hits.mean(axis=1), weights=weights))


def _mean_squared_error(T: Array, Y: Array, weights: Array | None) -> float:
    return float(np.average(np.square(Y - T, dtype=np.float64).mean(axis=1), weights=weights))


def _root_mean_squared_error(T: Array, Y: Array, weights: Array | None) -> float:
    return float(np.sqrt(_mean_squared_error(T, Y, weights)))


def _mean_absolute_error(T: Array, Y: Array, weights: Array | None) -> float:
    return float(np.average(np.abs(Y - T, dtype=np.float64).mean(axis=1), weights=weights))


def _sklearn(name: str, **options: Any) -> Callable[..., float]:
    def measured(T: Array, given: Array, weights: Array | None) -> float:
        try:
            from sklearn import metrics
        except ImportError as error:
            raise ImportError(f'metric {name!r} is scikit-learn\'s: pip install '
                              '"fastbp[sklearn]"') from error
        own = dict(options)
        if name == "roc_auc_score" and given.ndim == 2:
            if given.shape[1] == 1:
                given = given[:, 0]
            else:
                own |= {"multi_class": "ovr", "labels": np.arange(given.shape[1])}
        if name == "log_loss":
            own["labels"] = np.arange(max(given.shape[1], 2))
        return float(getattr(metrics, name)(T, given, sample_weight=weights, **own))

    return measured


#: Metrics by name.
METRICS: dict[str, Metric] = {m.name: m for m in (
    Metric("accuracy", _accuracy, "classes"),
    Metric("balanced_accuracy", _sklearn("balanced_accuracy_score"), "classes"),
    Metric("f1", _sklearn("f1_score", average="macro"), "classes"),
    Metric("roc_auc", _sklearn("roc_auc_score"), "probabilities"),
    Metric("log_loss", _sklearn("log_loss"), "probabilities"),
    Metric("mse", _mean_squared_error), Metric("rmse", _root_mean_squared_error),
    Metric("mae", _mean_absolute_error), Metric("r2", _sklearn("r2_score")))}


def get_metrics(metrics: Any) -> list[Metric]:
    """Metrics by their names; functions (T, output) under their own names.

    Raises
    ------
    ValueError, TypeError
        For unknown names and what is neither.
    """
    if isinstance(metrics, str) or callable(metrics):
        metrics = [metrics]
    found = []
    for metric in metrics:
        if isinstance(metric, Metric):
            found.append(metric)
        elif isinstance(metric, str):
            found.append(METRICS[check_choice(metric, "metrics", METRICS)])
        elif callable(metric):
            found.append(Metric(getattr(metric, "__name__", "metric"),
                                lambda T, Y, weights, f=metric: float(f(T, Y))))
        else:
            raise TypeError(f"metrics must hold names or functions, got {metric!r}")
    return found


def measure(network: Network, X: Array, T: Array, metrics: Sequence[Metric],
            weights: Array | None = None) -> dict[str, float]:
    """Each metric of ``network`` on X and T.

    Raises
    ------
    ValueError
        If a metric needs classes and the loss makes none.
    """
    if not metrics:
        return {}
    kinds = {metric.takes for metric in metrics}
    given: dict[str, tuple[Array, Array]] = {}
    if kinds & {"classes", "probabilities"}:
        P = network.predict_proba(X)
        if network.n_out == 1:
            labels, classes = T[:, 0] > 0.5, P[:, 0] > 0.5
        elif network.loss_function.labels:
            labels = T if T.ndim == 1 else T.argmax(axis=1)
            classes = P.argmax(axis=1)
        else:  # a yes or no for each output: multi-label
            labels, classes = T > 0.5, P > 0.5
        given |= {"probabilities": (labels, P), "classes": (labels, classes)}
    if "output" in kinds:
        given["output"] = T, network.predict(X)
    return {m.name: m.function(*given[m.takes], weights) for m in metrics}
