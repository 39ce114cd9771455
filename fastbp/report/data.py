"""What a report is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._validation import check_choice, check_finite, check_real, same_length
from ..network import Network
from ..plot import curves, targets

#: Kinds of problems that a network solves.
TASKS = ("classification", "multilabel", "regression")


@dataclass
class Report:
    """What is known about a training run; parts that are not given are left out of the page.

    Parameters
    ----------
    title : str
    history : mapping of str to sequence of float
        Figures by epoch, as ``fit`` returns them: loss, val_loss, learning_rate, ...
    task : {"classification", "multilabel", "regression"}
        Multilabel: each output is a label of its own, yes or no.
    network : Network, optional
        For sizes, weights and gradients.
    T_true : array_like, optional
        Truth of held-out rows. Classification: class indices (n,), what ``classes`` holds, or
        rows with one 1 (n, k). Multilabel: rows of 0 and 1. Regression: (n,) or (n, k).
    output : array_like, optional
        Predictions for the same rows: probabilities (n, k), or (n, 1) of class 1, or
        other scores, the higher the likelier; for regression numbers, shaped as ``T_true``.
    classes : sequence, optional
        Names of classes or labels or, for regression, of outputs. Classes that are numbers are
        what ``T_true`` holds, in place of indices.
    config : mapping
        Settings, nested to any depth.
    timings : mapping of str to float
        Seconds by name; those of "fit" are shown at the top of the page.
    peak : mapping, optional
        "gflops", "peak_gflops" and "share", as ``fastbp.peak.share_of_peak`` gives them.
    initial_params : array_like, optional
        A copy of ``network.params`` from before training.
    X, T : array_like, optional
        Rows and targets, as the network takes them, whose gradients are shown.
    notes : sequence of str
        Sentences to show at the top.
    threshold : float, optional
        An output of a single column, or of a label of its own, is a yes above it; by default
        0.5 if all lie in [0, 1], as probabilities do, else 0.
    """

    title: str
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    task: str = "classification"
    network: Network | None = None
    T_true: Any = None
    output: Any = None
    classes: Sequence[Any] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    peak: Mapping[str, float] | None = None
    initial_params: Any = None
    X: Any = None
    T: Any = None
    notes: Sequence[str] = ()
    threshold: float | None = None

    @property
    def tested(self) -> bool:
        """Whether there are held-out rows to show."""
        return self.T_true is not None and self.output is not None and len(self.output) > 0

    def check(self) -> None:
        """Check that all parts fit together.

        Raises
        ------
        ValueError, TypeError
            For parts that do not fit.
        """
        check_choice(self.task, "task", TASKS)
        if self.network is not None and not isinstance(self.network, Network):
            raise TypeError(f"network must be a Network, got {self.network!r}")
        for part, other in (("T_true", "output"), ("output", "T_true"), ("X", "T"), ("T", "X")):
            if getattr(self, part) is not None and getattr(self, other) is None:
                raise ValueError(f"{part} is given without {other}")
        for name in ("history", "config", "timings"):
            if not isinstance(getattr(self, name), Mapping):
                raise TypeError(f"{name} must be a dict, got {getattr(self, name)!r}")
        curves.series(self.history)
        for key, seconds in self.timings.items():
            if isinstance(seconds, (str, bytes)) or not np.isscalar(seconds):
                raise TypeError(f"timings[{key!r}] must be a number of seconds, got {seconds!r}")
        if self.peak is not None and not {"gflops", "peak_gflops", "share"} <= set(self.peak):
            raise ValueError("peak must hold 'gflops', 'peak_gflops' and 'share', got "
                             f"{dict(self.peak)!r}")
        if self.threshold is not None:
            check_real(self.threshold, "threshold", -np.inf)
        if self.tested:
            self._check_outcome()

    def _check_outcome(self) -> None:
        if self.task == "classification":
            _, Y = targets.pair(self.T_true, self.output, self.classes)
        else:
            T, Y = targets.numbers(self.T_true, self.output)
            same_length(T, Y, "T_true", "output")
            if self.task == "multilabel" and not np.isin(T, (0, 1)).all():
                raise ValueError("T_true of a multilabel task must hold 0 and 1 alone")
        targets.names(self.classes, Y.shape[1])


def from_network(network: Any, history: Mapping[str, Sequence[float]], X: Any = None,
                 T: Any = None, *, title: str = "Training report",
                 classes: Sequence[Any] | None = None, target: Any = None, **parts: Any) -> Report:
    """The report of a trained network on held-out rows.

    Parameters
    ----------
    network : Network or fitted estimator of fastbp
    history : History or mapping
        What ``fit`` returned, or an estimator's ``history_``.
    X, T : array_like, optional
        Held-out rows and targets, as the network or estimator takes them; with a network words
        are looked up in ``classes``. Of targets between 0 and 1, a yes or no is judged by whether
        it is above 0.5, one of several classes by the largest.
    title : str
    classes : sequence, optional
        Names of classes, labels or outputs, in their order; by default ``classes_`` of an
        estimator.
    target : optional
        The target before encoding: its ``classes`` name the outputs of a classifier, ``mean``
        and ``scale`` convert a regression back to its own units.
    **parts
        Further parts of the ``Report``: config, timings, peak, initial_params, notes, ...

    Returns
    -------
    Report
        Task, outputs, truth and threshold follow from the loss of the network.

    Raises
    ------
    ValueError, TypeError
        For another network, and invalid X or T.
    """
    estimator, network = network, getattr(network, "network_", network)
    if not isinstance(network, Network):
        hint = ": give its .network" if hasattr(network, "network") else ""
        raise TypeError("network must be a Network or a fitted estimator of fastbp, got "
                        f"{network!r}{hint}")
    if estimator is not network:
        classes = getattr(estimator, "classes_", None) if classes is None else classes
        if X is not None and T is not None:
            X = estimator._check_X(X)
            T = estimator._encode(T if hasattr(T, "toarray") else targets.loose(T, "T"), "T")
            T = network.loss_function.check_target(T, network.n_out, network.dtype,
                                                   allow_nonfinite=True)
            check_finite(T, "T")  # without check_target's advice, which is for networks
    loss = network.loss_function
    one_class = loss.labels or network.n_out == 1
    task = "regression" if not loss.classes else (
        "classification" if one_class else "multilabel")
    own = getattr(target, "classes", None) if classes is None else classes
    targets.check_names(own)
    if own is not None and targets.kinds(own):
        own = list(map(str, own))  # as names: the truth is indices, whatever the classes are
    report = Report(title, history, task, network, classes=own, **parts)
    if classes is None and own is None and task == "regression" and network.n_out == 1:
        report.classes = [target.name] if getattr(target, "name", None) else None
    if loss.classes and report.threshold is None:
        report.threshold = loss.threshold
    if X is None and T is None:
        return report
    if task == "classification" and targets.words(targets.loose(T, "T")):
        T = targets.labels(T, None, own)
    report.X, report.T = network._check_pair(X, T)
    truth, output = report.T, network._expected(X)
    if task == "regression" and target is not None:
        mean, scale = float(target.mean), float(target.scale)
        truth, output = (A.astype(np.float64) * scale + mean for A in (truth, output))
    elif loss.classes and (network.n_out == 1 or task == "multilabel"):
        truth = np.where(np.isnan(truth), truth, truth > 0.5)
    report.T_true, report.output = truth, output
    return report
