"""Checks of arguments of ``fit``: callbacks, metrics, weights, validation data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import numpy as np

from ._validation import Array, as_weights, check_size, same_length
from ._warning import warn
from .callbacks import Callback, CSVLog, Lambda, Monitor
from .layers import BatchNorm, Sigmoid, Softmax
from .losses.base import check_weighs
from .metrics import FIGURES, Metric, get_metrics
from .network import Network

#: Classes of callbacks of which ``check_callbacks`` has warned.
_warned_of = WeakSet[type]()


def check_callbacks(callbacks: Any, name: str = "callbacks") -> list[Callback]:
    """``callbacks`` as a list; warns once of a class with a hook that nothing calls.

    Raises
    ------
    TypeError
        For anything but a sequence of callbacks.
    """
    if not isinstance(callbacks, Iterable):
        raise TypeError(f"{name} must be a sequence of Callback objects, got {callbacks!r}")
    hooks = list(callbacks)
    for hook in hooks:
        if not isinstance(hook, Callback):
            hint = ""
            if callable(hook) and not isinstance(hook, type):
                hint = ": give a function (epoch, logs) as fastbp.callbacks.Lambda(function)"
            raise TypeError(f"{name} must hold Callback objects, got {hook!r}{hint}")
        _check_hooks(type(hook))
    return hooks


def _check_hooks(kind: type[Callback]) -> None:
    """Warn of methods named like hooks that ``Callback`` does not have, as on_epoch_begin."""
    unknown = sorted({name for base in kind.__mro__ if issubclass(base, Callback)
                      for name, value in vars(base).items()
                      if name.startswith("on_") and callable(value)
                      and not hasattr(Callback, name)})
    if unknown and kind not in _warned_of:
        known = [name for name in vars(Callback) if name.startswith("on_")]
        warn(f"{kind.__name__} has {', '.join(unknown)}, which fit never calls: the hooks of a "
             f"Callback are {', '.join(known)}. A method of your own that is no hook should have "
             "another name")
        _warned_of.add(kind)


def check_network(network: Any, name: str = "network") -> None:
    """Refuse anything but a network.

    Raises
    ------
    TypeError
        If ``network`` is something else.
    """
    if not isinstance(network, Network):
        raise TypeError(f"{name} must be a Network, got {network!r}")


def check_outputs(network: Network) -> None:
    """Refuse to train a network that cannot learn; warn of one that learns slowly because its loss
    takes probabilities for logits.

    Raises
    ------
    ValueError
        For a softmax of one output, which is 1 whatever the weights are.
    """
    if network.n_out == 1 and network._head_loss.probabilities == "softmax":
        raise ValueError(f"{network.loss_function!r} needs an output for each class, got 1: for "
                         "two classes end with 2, or with 1 under SigmoidBinaryCrossEntropyLoss()")
    last, own = network.layers[-1], network.loss_function
    if own.probabilities in ("softmax", "sigmoid") and isinstance(last, (Softmax, Sigmoid)):
        warn(f"{own!r} takes the {own.probabilities} of its input itself: leave out the last "
             f"{last!r}, whose outputs it would take for logits", RuntimeWarning)


def check_batch_size(network: Network, batch_size: Any, name: str = "batch_size") -> int:
    """``batch_size``, or another number of rows, as an integer.

    Raises
    ------
    ValueError
        If it is below 1, or 1 where ``BatchNorm`` learns: one row has no variance.
    """
    size = check_size(batch_size, name)
    if size == 1 and any(isinstance(layer, BatchNorm) and layer.trainable
                         for layer in network.layers):
        raise ValueError(f"{name} must be at least 2 for BatchNorm, which takes mean and variance "
                         f"from the rows of a batch, got {batch_size!r}")
    return size


@dataclass(frozen=True)
class Validation:
    """Held-out rows."""

    X: Array
    T: Array
    weights: Array | None


def check_validation(network: Network, data: Any) -> Validation | None:
    """``validation_data`` in the form that the network takes.

    Raises
    ------
    TypeError, ValueError
        For anything but a pair or triple, or data that do not fit the network.
    """
    if data is None:
        return None
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        raise TypeError("validation_data must be a pair (X, T) or (X, T, sample_weight), got "
                        f"{type(data).__name__}")
    X, T = (network.check_input(data[0], "validation_data[0]"),
            network.check_target(data[1], "validation_data[1]"))
    same_length(X, T, "validation_data[0]", "validation_data[1]")
    weights = as_weights(data[2] if len(data) == 3 else None, len(X), network.dtype,
                         "validation_data[2]")
    if weights is not None:
        check_weighs(network._head_loss, "validation_data[2]")
    return Validation(X, T, weights)


def hold_out(network: Network, X: Array, T: Array, weights: Array | None, own: Array | None,
             share: float) -> tuple[Array, Array, Array | None, Validation]:
    """(X, T, weights) to train on, and a share of the rows to hold out, drawn by the network's
    seed, with their ``own`` weights: class weights are for training only.

    Raises
    ------
    ValueError
        If one of the two parts would have no rows.
    """
    count = round(len(X) * share)
    if not 0 < count < len(X):
        raise ValueError(f"validation_split={share} of {len(X)} rows leaves nothing on one side")
    order = np.random.default_rng([network.seed, len(X)]).permutation(len(X))
    held, kept = np.sort(order[:count]), np.sort(order[count:])
    return (X[kept], T[kept], None if weights is None else weights[kept],
            Validation(X[held], T[held], None if own is None else own[held]))


def measured(network: Network, validation: Validation | None,
             metrics: Sequence[Metric]) -> Sequence[Metric]:
    """``metrics``, preceded by accuracy if there are held-out rows and the loss is of classes."""
    if (validation is None or not network.loss_function.classes
            or any(metric.name == "accuracy" for metric in metrics)):
        return metrics
    return [*get_metrics("accuracy"), *metrics]


def figures_of(network: Network, validation: Validation | None,
               metrics: Sequence[Metric]) -> list[str]:
    """Names of the figures of an epoch, without what callbacks add."""
    names = [metric.name for metric in measured(network, validation, metrics)]
    if validation is not None:
        names = ["val_loss", *(f"val_{name}" for name in names)]
    return sorted([*FIGURES, *names])


def check_monitors(hooks: Sequence[Callback], network: Network, validation: Validation | None,
                   metrics: Sequence[Metric]) -> None:
    """Refuse callbacks that monitor a figure that epochs will not have, or one of which they do
    not know whether less is better, and logs of other figures.

    Raises
    ------
    ValueError
        Names the figures that there will be, or that figure.
    """
    figures, known = figures_of(network, validation, metrics), True
    for hook in hooks:
        if isinstance(hook, Lambda) or not type(hook).__module__.startswith("fastbp."):
            known = False  # a user's callback may add figures for those after it
        if known and isinstance(hook, (Monitor, CSVLog)):
            hook.check(figures)
        if isinstance(hook, Monitor):
            hook.check_mode()


def check_weights(network: Network, weights: Array | None, held: Validation | None,
                  name: str) -> None:
    """Refuse weights that leave no row to train or validate on, or that the loss does not take;
    ``name`` is the argument that the training weights come from.

    Raises
    ------
    ValueError, TypeError
        Says which rows.
    """
    if weights is not None:
        check_weighs(network._head_loss, name)
    out = None if held is None else held.weights
    for own, what, source in ((weights, "trained on", name), (out, "held out", "sample_weight")):
        if own is not None and not own.any():
            raise ValueError(f"{source} is zero for every row that is {what}")
