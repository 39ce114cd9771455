"""A model taken apart for an export: what it reads, what it computes, what its outputs mean."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._validation import Array
from .._warning import warn
from ..losses import LOSSES, PoissonLoss
from ..network import Network

#: Kinds of columns that a preprocessor may have.
COLUMNS = ("Numeric", "Boolean", "Categorical")
#: Part of a standard deviation that may lie between two numbers of a column.
_COARSE = 0.01


def check_known(network: Any, known: Container[type], where: str) -> None:
    """Refuse an object that is not a network, and layers that are not ``known``.

    Raises
    ------
    TypeError
        Names the layer.
    """
    if not isinstance(network, Network):
        own = next((name for name in ("network_", "network") if hasattr(network, name)), None)
        raise TypeError(f"network must be a Network, got {type(network).__name__}"
                        + (f": give its .{own}" if own else ""))
    _check_layers(network, known, f"{where} has no equivalent")


def _check_layers(network: Network, known: Container[type], why: str) -> None:
    for layer in network.layers:
        if type(layer) not in known:
            raise TypeError(f"{layer!r} is not one of fastbp's own layers: {why}")


@dataclass(frozen=True)
class Parts:
    """A model as exports write it.

    Attributes
    ----------
    network : Network
    columns : tuple or None
        Descriptions of the raw columns; None if the model takes features.
    features : list of str
        Names of the features; empty if there are none.
    classes : list or None
        Labels by index; with ``several`` the names of the outputs.
    link : {"softmax", "sigmoid", "identity", None}
        Function from the network's outputs to probabilities; None for regression.
    several : bool
        Whether each output is a label of its own.
    exponential : bool
        Whether the outputs are logarithms of what is predicted.
    mean, scale : float
        Predictions are outputs, or their exponentials, * scale + mean.
    """

    network: Network
    columns: tuple[Any, ...] | None
    features: list[str]
    classes: list[Any] | None
    link: str | None
    several: bool
    exponential: bool
    mean: float
    scale: float

    @property
    def binary(self) -> bool:
        """Whether one output tells two classes apart."""
        return self.classes is not None and self.network.n_out == 1


def take_apart(model: Any, classes: Sequence[Any] | None, known: Container[type],
               what: str) -> Parts:
    """The parts of a network, an estimator or a model.

    Parameters
    ----------
    model : Network, fitted estimator of fastbp, or object with ``network``, ``preprocessor``
        and ``target``
    classes : sequence of str, int, float or bool, or None
        Labels in place of the model's own.
    known : container of type
        Layers that the export can write.
    what : str
        Name of the export, for messages.

    Raises
    ------
    TypeError
        For no model, a layer of the user's own, or a column of unknown kind.
    ValueError
        For classes that do not fit the outputs, a target of numbers under a loss that makes
        probabilities of the outputs, or parameters that are not finite.
    """
    network, columns, features, own = model, None, [], None
    mean, scale, exponential, one_of = 0.0, 1.0, False, False
    if hasattr(model, "network_"):  # an estimator
        network = model.network_
        features = [str(name) for name in getattr(model, "feature_names_in_", ())]
        exponential = model.out_activation_ == "exp"
        own = model.classes_.tolist() if hasattr(model, "classes_") else None
    elif hasattr(model, "network"):
        network, target, preprocessor = model.network, model.target, model.preprocessor
        exponential = isinstance(network.loss_function, PoissonLoss)
        if target is not None and target.task == "regression" and (
                network.loss_function.probabilities not in (None, "identity")):
            raise ValueError(f"target {target.name!r} is of numbers that "
                             f"{network.loss_function!r} makes of the outputs: no {what} of it; "
                             "give the network")
        if preprocessor is not None:
            columns, features = tuple(preprocessor.columns), list(preprocessor.feature_names)
        if target is not None:
            own, mean, scale = target.classes, float(target.mean), float(target.scale)
            one_of = own is not None  # a column has one class in each row, whatever the loss
    if not isinstance(network, Network):
        bare = "an unfitted " * (hasattr(model, "hidden_layer_sizes")
                                 and type(model).__module__.startswith("fastbp."))
        raise TypeError("model must be a Network, a Model or a fitted estimator of fastbp, got "
                        f"{bare}{type(model).__name__}")
    loss = network.loss_function
    _check_layers(network, known, f"no {what} of it")
    for name, value in network.named_parameters().items():
        if not np.isfinite(value).all():
            raise ValueError(f"{name} holds NaN or infinity: no {what} of it")
    for column in columns or ():
        if type(column).__name__ not in COLUMNS:
            raise TypeError(f"column {column!r} is none of {COLUMNS}: no {what} of it")
    several = not (one_of or loss.probabilities is None or loss.labels or network.n_out == 1)
    return Parts(network, columns, features, _fit(classes, own, network.n_out), loss.probabilities,
                 several, exponential, mean, scale)


def warn_of_digits(parts: Parts, dtype: np.dtype[Any], advice: str) -> None:
    """Warn of columns, and targets, whose rows are alike once their numbers are ``dtype``; those
    of ``predict`` are float64. ``advice``: where they would not be."""
    wide = [(f"column {column.name!r}", column.mean, column.scale)
            for column in parts.columns or () if hasattr(column, "scale")]
    for what, mean, scale in [*wide, ("the target", parts.mean, parts.scale)]:
        with np.errstate(all="ignore"):
            apart = np.spacing(np.abs(dtype.type(mean)))
        if dtype != np.float64 and not apart <= _COARSE * scale:
            warn(f"{what}: around {mean:g} numbers of {dtype} are {apart:g} apart, and the scale "
                 f"in the model is {scale:g}: predictions of the file may differ from those of "
                 f"predict, {advice}")


def _fit(classes: Sequence[Any] | None, own: Sequence[Any] | None,
         n_out: int) -> list[Any] | None:
    """Classes as a list of one plain type, as many as the outputs distinguish."""
    if classes is None and own is None:
        return None
    if isinstance(classes, (str, bytes, Mapping, Set)) or getattr(classes, "ndim", 1) != 1 or not (
            classes is None or isinstance(classes, Iterable)):
        raise TypeError(f"classes must be a sequence of labels, got {classes!r}")
    found = [x.item() if isinstance(x, np.generic) else x
             for x in (own if classes is None else classes)]  # type: ignore[union-attr]
    kinds = {type(x) for x in found}
    if kinds == {int, float}:
        found, kinds = [float(x) for x in found], {float}
    if len(kinds) != 1 or not kinds <= {str, int, float, bool}:
        raise TypeError("classes must be all of one type, str, int, float or bool; got "
                        f"{found[:10]!r}")
    if classes is None and len(found) == 1:  # an estimator that has seen only one class
        found = found * max(n_out, 2)
    if len(found) != max(n_out, 2):
        raise ValueError(f"classes must be {max(n_out, 2)} for {n_out} outputs, got "
                         f"{len(found)}: {found[:10]!r}")
    if classes is not None and len(set(found)) < len(found):
        raise ValueError(f"classes must differ, got {found[:10]!r}")
    if kinds == {float} and not np.isfinite(found).all():
        raise ValueError(f"classes must be finite, got {found[:10]!r}")
    if kinds == {int} and max(map(abs, found)) >= 2**63:
        raise ValueError("classes must be whole numbers between -(2**63 - 1) and 2**63 - 1, got "
                         f"{max(found, key=abs)}")
    return found


def cast(name: str, value: Array, dtype: np.dtype[Any]) -> Array:
    """A tensor in a network's dtype.

    Raises
    ------
    ValueError
        If finite numbers of it would become infinite.
    """
    with np.errstate(over="ignore"):
        found = value.astype(dtype)
    if (np.isinf(found) & np.isfinite(value)).any():
        raise ValueError(f"{name} holds numbers beyond {dtype}")
    return found


def loss_for(layer: Any, loss: Any) -> Any:
    """``loss``, or if it is None the one that goes with the last ``layer``."""
    names = {"Softmax": "CrossEntropyLoss", "Sigmoid": "BinaryCrossEntropyLoss"}
    return LOSSES[names.get(type(layer).__name__, "MSELoss")]() if loss is None else loss


def need(settings: Mapping[str, Any], **wanted: Any) -> None:
    """Refuse settings of a layer other than the wanted, each one value or a tuple of them.

    Raises
    ------
    ValueError
        Names the setting.
    """
    for name, value in wanted.items():
        found = settings.get(name, value)
        if found not in (value if isinstance(value, tuple) else (value,)):
            raise ValueError(f"{name}={found!r} has no equivalent in fastbp")
