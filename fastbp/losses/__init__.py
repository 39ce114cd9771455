"""Losses. A new one is a file here, and a line below."""

from typing import Any

from .._validation import check_choice
from .base import Loss
from .cross_entropy import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    SigmoidBinaryCrossEntropyLoss,
    SoftmaxCrossEntropyLoss,
)
from .squared import L2Loss

#: Every loss by the name that model files and tests use.
LOSSES: dict[str, type[Loss]] = {c.__name__: c for c in (
    L2Loss, CrossEntropyLoss, SoftmaxCrossEntropyLoss, BinaryCrossEntropyLoss,
    SigmoidBinaryCrossEntropyLoss)}


def get(loss: Any) -> Loss:
    """The loss itself, or one with default settings by its name."""
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str):
        return LOSSES[check_choice(loss, "loss", LOSSES)]()
    raise TypeError(f"loss must be a Loss or a name, got {loss!r}")


__all__ = ["LOSSES", "BinaryCrossEntropyLoss", "CrossEntropyLoss", "L2Loss", "Loss",
           "SigmoidBinaryCrossEntropyLoss", "SoftmaxCrossEntropyLoss"]
