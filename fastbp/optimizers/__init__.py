"""Optimizers. A new one is a file here, and a line below."""

from collections.abc import Callable
from typing import Any

from .._validation import check_choice
from .adagrad import Adagrad
from .adam import Adam
from .adamw import AdamW
from .base import Optimizer
from .lion import Lion
from .rmsprop import RMSprop
from .sgd import SGD

#: Every optimizer by the name that model files and tests use.
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    c.__name__: c for c in (SGD, Adam, AdamW, RMSprop, Adagrad, Lion)}


def get(optimizer: Any) -> Optimizer:
    """The optimizer itself, or one with default settings by its name ("sgd", "adam", ...)."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, str):
        by_name = {name.lower(): c for name, c in OPTIMIZERS.items()}
        return by_name[check_choice(optimizer.lower(), "optimizer", by_name)]()
    raise TypeError(f"optimizer must be an Optimizer or a name, got {optimizer!r}")


__all__ = ["OPTIMIZERS", "SGD", "Adagrad", "Adam", "AdamW", "Lion", "Optimizer", "RMSprop"]
