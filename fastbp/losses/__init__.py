"""Losses. A new one is a file here, and a line below."""

from typing import Any

from .._validation import check_choice
from .absolute import MAELoss, QuantileLoss
from .base import Loss
from .cross_entropy import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    SigmoidBinaryCrossEntropyLoss,
    SoftmaxCrossEntropyLoss,
)
from .custom import CustomLoss
from .focal import FocalLoss, SigmoidFocalLoss
from .huber import HuberLoss
from .margin import HingeLoss
from .poisson import PoissonLoss
from .squared import L2Loss, MSELoss

#: Every loss by the name that model files and tests use.
LOSSES: dict[str, type[Loss]] = {c.__name__: c for c in (
    L2Loss, MSELoss, MAELoss, HuberLoss, QuantileLoss, PoissonLoss, HingeLoss, CrossEntropyLoss,
    SoftmaxCrossEntropyLoss, BinaryCrossEntropyLoss, SigmoidBinaryCrossEntropyLoss, FocalLoss,
    SigmoidFocalLoss)}

#: The same by short names.
SHORT_NAMES: dict[str, type[Loss]] = {
    "l2": L2Loss, "mse": MSELoss, "mae": MAELoss, "huber": HuberLoss, "quantile": QuantileLoss,
    "poisson": PoissonLoss, "hinge": HingeLoss, "cross_entropy": CrossEntropyLoss,
    "softmax_cross_entropy": SoftmaxCrossEntropyLoss,
    "binary_cross_entropy": BinaryCrossEntropyLoss,
    "sigmoid_binary_cross_entropy": SigmoidBinaryCrossEntropyLoss, "focal": FocalLoss,
    "sigmoid_focal": SigmoidFocalLoss}


def get(loss: Any) -> Loss:
    """The loss itself, or one with default settings by its class name or short name."""
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str):
        known = {**LOSSES, **SHORT_NAMES}
        return known[check_choice(loss, "loss", known)]()
    raise TypeError(f"loss must be a Loss or a name, got {loss!r}")


__all__ = ["LOSSES", "SHORT_NAMES", "BinaryCrossEntropyLoss", "CrossEntropyLoss", "CustomLoss",
           "FocalLoss", "HingeLoss", "HuberLoss", "L2Loss", "Loss", "MAELoss", "MSELoss",
           "PoissonLoss", "QuantileLoss", "SigmoidBinaryCrossEntropyLoss", "SigmoidFocalLoss",
           "SoftmaxCrossEntropyLoss"]
