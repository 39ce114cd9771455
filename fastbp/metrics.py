"""Metrics by name or function, measured on the outputs of a network.

Those that need more than a line are scikit-learn's (extra ``sklearn``), imported when used.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ._extras import needs
from ._validation import Array, all_finite, check_choice

if TYPE_CHECKING:
    from .network import Network

#: Figures that every epoch has.
FIGURES = ("loss", "learning_rate", "samples_per_s")


class Metric(NamedTuple):
    """A name and a function (T, output, weights) -> number.

    ``takes`` says what ``output`` is: "classes", "probabilities", "expected" (the targets that
    outputs predict: probabilities, rates of counts, else the outputs) or "output".
    """

    name: str
    function: Callable[..., float]
    takes: str = "output"


def _accuracy(T: Array, classes: Array, weights: Array | None) -> float:
    hits = classes == T
    if weights is None:
        return float(np.count_nonzero(hits) / hits.size)
    return float(np.average(hits if hits.ndim == 1 else hits.mean(axis=1), weights=weights))


def _mean_squared_error(T: Array, Y: Array, weights: Array | None) -> float:
    return float(np.average(np.square(Y - T, dtype=np.float64).mean(axis=1), weights=weights))


def _root_mean_squared_error(T: Array, Y: Array, weights: Array | None) -> float:
    return float(np.sqrt(_mean_squared_error(T, Y, weights)))


def _mean_absolute_error(T: Array, Y: Array, weights: Array | None) -> float:
    return float(np.average(np.abs(Y - T, dtype=np.float64).mean(axis=1), weights=weights))


def _sklearn(name: str, **options: Any) -> Callable[..., float]:
    def measured(T: Array, given: Array, weights: Array | None) -> float:
        with needs(f"metric {name!r} is scikit-learn's", "sklearn"):
            from sklearn import metrics
        if not all_finite(given):  # the network has diverged: no error here
            return math.nan
        own = dict(options)
        if name == "roc_auc_score" and given.ndim == 2:
            if given.shape[1] == 1 or (given.shape[1] == 2 and T.ndim == 1):
                given = given[:, -1]
            elif T.ndim == 1:  # each class against the rest; as labels, rows need no sum of 1
                T = np.eye(given.shape[1], dtype=np.int64)[T]
        if name == "log_loss":
            own["labels"] = np.arange(max(given.shape[1], 2))
        return float(getattr(metrics, name)(T, given, sample_weight=weights, **own))

    return measured


def _own(name: str, function: Callable[..., Any], T: Array, Y: Array, weights: Any) -> float:
    value = function(T, Y)
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"metrics: {name!r} must give a number, got {value!r}") from None


#: Metrics that need rows of numbers as targets, and those that need one class for each row.
_OF_ROWS, _OF_CLASSES = ("mse", "rmse", "mae", "r2"), ("balanced_accuracy", "log_loss")
#: Metrics by name.
METRICS: dict[str, Metric] = {m.name: m for m in (
    Metric("accuracy", _accuracy, "classes"),
    Metric("balanced_accuracy", _sklearn("balanced_accuracy_score"), "classes"),
    Metric("f1", _sklearn("f1_score", average="macro"), "classes"),
    Metric("roc_auc", _sklearn("roc_auc_score"), "probabilities"),
    Metric("log_loss", _sklearn("log_loss"), "probabilities"),
    Metric("mse", _mean_squared_error, "expected"),
    Metric("rmse", _root_mean_squared_error, "expected"),
    Metric("mae", _mean_absolute_error, "expected"),
    Metric("r2", _sklearn("r2_score"), "expected"))}


def get_metrics(metrics: Any) -> list[Metric]:
    """Metrics by their names; functions (T, output) under their own names.

    Raises
    ------
    ValueError, TypeError
        For unknown names, anything that is neither, and a name that is given twice or is that of
        another figure of an epoch.
    """
    if isinstance(metrics, str) or callable(metrics):
        metrics = [metrics]
    if not isinstance(metrics, Iterable):
        raise TypeError(f"metrics must be a sequence of names or functions, got {metrics!r}")
    found: list[Metric] = []
    for metric in metrics:
        if isinstance(metric, Metric):
            found.append(metric)
        elif isinstance(metric, str):
            found.append(METRICS[check_choice(metric, "metrics", METRICS)])
        elif callable(metric):
            name = getattr(metric, "__name__", "metric")
            found.append(Metric(name, functools.partial(_own, name, metric)))
        else:
            raise TypeError(f"metrics must hold names or functions, got {metric!r}")
        if found[-1].name in (*FIGURES, *(m.name for m in found[:-1])):
            raise ValueError(f"metrics: {found[-1].name!r} names another figure already; give "
                             "the function a name of its own, by def or __name__")
    return found


def one_class(network: Network, T: Array) -> bool:
    """Whether each row of T is of one class, not a yes or no for each output."""
    loss = network.loss_function
    if T.ndim == 1 or not loss.labels or loss.probabilities is not None:
        return loss.labels
    return bool((np.count_nonzero(T > 0.5, axis=1) == 1).all())  # margins: any number of ones


def check_metrics(metrics: Sequence[Metric], network: Network, T: Array) -> None:
    """Refuse metrics that cannot be measured for this network and these targets.

    Raises
    ------
    ValueError
        Names the metric.
    """
    loss = network.loss_function
    for metric in metrics:
        name, ours = metric.name, metric is METRICS.get(metric.name)
        if metric.takes == "probabilities" and loss.probabilities is None:
            raise ValueError(f"metrics: {name!r} needs a cross-entropy loss, not {loss!r}")
        if metric.takes == "classes" and not loss.classes:
            raise ValueError(f"metrics: {name!r} needs a loss of classes, not {loss!r}")
        if ours and name in _OF_ROWS and T.ndim == 1:
            raise ValueError(f"metrics: {name!r} needs rows of numbers as targets, got class "
                             f"indices of shape {T.shape}")
        if ours and name in _OF_CLASSES and network.n_out > 1 and not one_class(network, T):
            raise ValueError(f"metrics: {name!r} needs one class for each row, and under {loss!r} "
                             "each output is a yes or no")


def measure(network: Network, Y: Array, T: Array, metrics: Sequence[Metric],
            weights: Array | None = None, *, fused: bool = False) -> dict[str, float]:
    """Each metric of outputs Y of ``network`` for targets T; if ``fused``, Y is the input of the
    last layer, which is computed together with the loss. Metrics of classes and probabilities are
    NaN if any output is not finite.

    Raises
    ------
    ImportError
        For a metric of scikit-learn's if that is missing.
    TypeError
        If a user's function returns no number.
    """
    if not metrics:
        return {}
    finite, of_classes = True, {"classes", "probabilities"}
    kinds, loss = {metric.takes for metric in metrics}, network.loss_function
    if kinds & of_classes and not (finite := all_finite(Y)):
        if fused:  # outputs may be finite where what goes into the last layer is not
            Y, fused = network._head_loss.expected(Y), False
            finite = all_finite(Y)
        if not finite:  # NaN is of no class, though argmax finds one
            kinds = kinds - of_classes
    given: dict[str, tuple[Array, Array]] = {}
    if kinds == {"classes"} and network.n_out > 1 and one_class(network, T):
        # Turned into probabilities or not, the largest output stays the largest.
        given["classes"] = T if T.ndim == 1 else T.argmax(axis=1), Y.argmax(axis=1)
        kinds = set()
    elif fused:
        Y = network._head_loss.expected(Y)
    if "expected" in kinds:
        given["expected"] = T, loss.expected(Y)
    if kinds & of_classes:
        P = Y if loss.probabilities is None else loss.expected(Y)
        if network.n_out == 1:
            labels, classes = T[:, 0] > 0.5, P[:, 0] > loss.threshold
        elif one_class(network, T):
            labels = T if T.ndim == 1 else T.argmax(axis=1)
            classes = P.argmax(axis=1)
        else:  # a yes or no for each output: multi-label
            labels, classes = T > 0.5, loss.threshold < P
        given |= {"probabilities": (labels, P), "classes": (labels, classes)}
    if "output" in kinds:  # for a user's functions, which may write to both
        given["output"] = T.copy(), Y.copy() if len(kinds) > 1 else Y
    return {m.name: m.function(*given[m.takes], weights)
            if finite or m.takes not in of_classes else math.nan for m in metrics}
