"""Losses. A new one is a file here, a line below and a branch in ``dispatch``."""

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

__all__ = ["LOSSES", "BinaryCrossEntropyLoss", "CrossEntropyLoss", "L2Loss", "Loss",
           "SigmoidBinaryCrossEntropyLoss", "SoftmaxCrossEntropyLoss"]
