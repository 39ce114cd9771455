"""The loss that a Keras model is compiled with, as the one of fastbp that is equal.

A string, a function or an object; its settings are the arguments that Keras passes to the
function. Keras' poisson has none: it takes rates, ``PoissonLoss`` their logarithms.
"""

from __future__ import annotations

import re
from typing import Any

from ..layers import Layer, Sigmoid, Softmax
from ..losses import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    HingeLoss,
    HuberLoss,
    Loss,
    MAELoss,
    MSELoss,
    SigmoidBinaryCrossEntropyLoss,
    SoftmaxCrossEntropyLoss,
)

#: Packages whose classes and functions are Keras' own.
PACKAGES = ("keras", "tf_keras", "tensorflow")

#: Losses that are equal whatever the last layer, by Keras' functions.
_PLAIN: dict[str, type[Loss]] = {
    "mean_squared_error": MSELoss, "mean_absolute_error": MAELoss, "huber": HuberLoss,
    "hinge": HingeLoss}
#: Those of logits, those of probabilities, and the layers whose outputs Keras leaves as they are
#: where it takes them for probabilities; others it scales or cuts off.
_ENTROPIES: dict[str, tuple[type[Loss], type[Loss], tuple[type[Layer], ...]]] = {
    "binary_crossentropy": (SigmoidBinaryCrossEntropyLoss, BinaryCrossEntropyLoss,
                            (Sigmoid, Softmax)),
    "categorical_crossentropy": (SoftmaxCrossEntropyLoss, CrossEntropyLoss, (Softmax,))}
_ENTROPIES["sparse_categorical_crossentropy"] = _ENTROPIES["categorical_crossentropy"]
_SHORT = {"mse": "mean_squared_error", "mae": "mean_absolute_error", "bce": "binary_crossentropy",
          "ce": "crossentropy"}
_REDUCTIONS = {"sum_over_batch_size": "mean", "mean": "mean", "mean_with_sample_weight": "mean",
               "auto": "mean", "sum": "sum"}


def from_keras(part: Any) -> bool:
    """Whether the class of ``part`` is Keras' own, in any of its packages."""
    return type(part).__module__.split(".")[0] in PACKAGES


def compiled_loss(model: Any, last: Layer) -> Loss | None:
    """The equal of the loss that ``model`` is compiled with, on the outputs of ``last``.

    Parameters
    ----------
    model : keras.Model
    last : Layer
        fastbp's layer for the last one of the model.

    Returns
    -------
    Loss or None
        None if the model is not compiled, or with a loss that fastbp does not have.
    """
    found = _named(getattr(model, "loss", None))
    if found is None:
        return None
    name, settings = found
    name = _SHORT.get(name.lower(), re.sub(r"\B(?=[A-Z])", "_", name).lower())
    if name == "crossentropy":  # Keras chooses by the outputs, and by the targets
        name = f"{'binary' if model.outputs[0].shape[-1] == 1 else 'categorical'}_crossentropy"
    own: dict[str, Any] = {"reduction": _REDUCTIONS.get(settings.pop("reduction", "mean"))}
    logits = settings.pop("from_logits", False)
    for key in ("delta", "label_smoothing"):
        if key in settings:
            own[key] = settings.pop(key)
    if settings.pop("axis", -1) not in (-1, 1) or settings.pop("ignore_class", None) is not None:
        return None
    kind = _PLAIN.get(name)
    if name in _ENTROPIES:
        of_logits, of_probabilities, layers = _ENTROPIES[name]
        kind = of_logits if logits else of_probabilities if isinstance(last, layers) else None
    if kind is None or own["reduction"] is None or settings:
        return None
    try:
        return kind(**own)
    except ValueError:  # a label_smoothing of 1
        return None


def _named(loss: Any) -> tuple[str, dict[str, Any]] | None:
    """Name and settings of a loss of Keras' own; None for a user's, for none, and for several."""
    if isinstance(loss, (list, tuple, dict)) and len(loss) == 1:  # one for each output
        loss = next(iter(loss.values() if isinstance(loss, dict) else loss))
    if isinstance(loss, str):
        return loss, {}
    if isinstance(loss, type) and loss.__module__.split(".")[0] in PACKAGES:
        loss = loss()
    settings: dict[str, Any] = {}
    if hasattr(loss, "fn") and from_keras(loss):
        settings = {"reduction": loss.reduction, **loss._fn_kwargs}
        loss = loss.fn
    name = getattr(loss, "__name__", None)
    if name is None or getattr(loss, "__module__", "").split(".")[0] not in PACKAGES:
        return None
    return name, settings
