"""From options to a network and to arguments of ``fit``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from .. import schedules
from ..callbacks import Callback, Checkpoint, EarlyStopping
from ..data import Target
from ..layers import ACTIVATIONS, BatchNorm, Dense, Dropout, Layer, Softmax
from ..losses import SHORT_NAMES, Loss
from ..network import Network
from ..optimizers import OPTIMIZERS, Optimizer
from .options import LOSSES

#: Activations that best keep the variance of their inputs with He's initial weights.
_RECTIFIERS = ("relu", "leaky_relu", "elu", "gelu", "silu", "softplus")


def network(settings: Mapping[str, Any], n_in: int, target: Target) -> Network:
    """A network with hidden layers as the options say, and a softmax for classes."""
    layers, width = list[Layer](), n_in
    init: Any = {"weight_init": "he_uniform"} if settings["activation"] in _RECTIFIERS else {}
    for hidden in settings["hidden"]:
        layers.append(Dense(width, hidden, **init))
        if settings["batch_norm"]:
            layers.append(BatchNorm())
        layers.append(ACTIVATIONS[settings["activation"]]())
        if settings["dropout"]:
            layers.append(Dropout(settings["dropout"]))
        width = hidden
    layers.append(Dense(width, target.n_outputs))
    error = loss(settings, target)
    if error.probabilities == "identity":
        layers.append(Softmax())
    return Network(layers, error, settings["dtype"], settings["seed"],
                   matmul_precision=settings["matmul_precision"])


def loss(settings: Mapping[str, Any], target: Target) -> Loss:
    """The loss by its options.

    Raises
    ------
    ValueError
        For one that does not fit the target, or label smoothing with a loss that has none.
    """
    known = LOSSES[target.task]
    name = known[0] if settings["loss"] == "auto" else settings["loss"]
    holds = f"target {target.name!r} holds " + (
        "numbers, not classes" if target.task == "regression" else "classes, not numbers") + (
        ", as guessed (--task says otherwise)" if settings["task"] == "auto" else "")
    if name not in known:
        raise ValueError(f"--loss {name}: {holds}; there are {', '.join(known)}")
    smoothing = settings["label_smoothing"]
    if smoothing and name != "cross_entropy":
        raise ValueError(f"--label-smoothing {smoothing}: " + (
            holds if target.task == "regression" else f"--loss {name} has none"))
    return SHORT_NAMES[name](**({"label_smoothing": smoothing} if smoothing else {}))


def optimizer(settings: Mapping[str, Any]) -> Optimizer:
    """The optimizer with its schedule.

    Raises
    ------
    click.UsageError
        For a momentum with an optimizer that has none.
    """
    name, rate = settings["optimizer"], settings["lr"]
    if settings["schedule"] != "constant":
        kind = "".join(word.title() for word in settings["schedule"].split("_"))
        rate = schedules.SCHEDULES[kind](rate)
    if settings["warmup"]:
        rate = schedules.Warmup(rate, settings["warmup"])
    options: dict[str, Any] = {}
    if settings["weight_decay"] is not None:
        options["weight_decay"] = settings["weight_decay"]
    if settings["momentum"]:
        if name not in ("sgd", "rmsprop"):
            raise click.UsageError(f"--momentum {settings['momentum']}: {name} has none")
        options["momentum"] = settings["momentum"]
    made: Optimizer = {n.lower(): make for n, make in OPTIMIZERS.items()}[name](rate, **options)
    return made


def fit_options(settings: Mapping[str, Any], held: Any, target: Target) -> dict[str, Any]:
    """Arguments of ``fit`` and ``fit_stream`` from the options."""
    weight = None if settings["class_weight"] == "none" else settings["class_weight"]
    return {"epochs": settings["epochs"], "batch_size": settings["batch_size"],
            "optimizer": optimizer(settings), "l1": settings["l1"], "l2": settings["l2"],
            "clip_norm": settings["clip_norm"], "average": settings["average"],
            "class_weight": weight, "validation_data": held,
            "metrics": ["r2"] if has_r2(held, target) else []}


def has_r2(held: Any, target: Target) -> bool:
    """Whether held-out rows have an R^2: of numbers, and of two rows or more."""
    return target.task == "regression" and held is not None and len(held[0]) > 1


def monitored(settings: Mapping[str, Any], held: Any) -> str:
    """The figure that decides early stopping and which run is best."""
    monitor: str = settings["monitor"]
    return "loss" if held is None and monitor == "val_loss" else monitor


def callbacks(settings: Mapping[str, Any], held: Any, checkpoint: Any,
              more: Sequence[Callback]) -> list[Callback]:
    """Early stopping, checkpoint, and ``more``."""
    found = list(more)
    if settings["early_stopping"]:
        found.append(EarlyStopping(monitored(settings, held), settings["patience"]))
    # ``every`` is beyond the last epoch: checkpoints are written by time only, and at the end.
    found.append(Checkpoint(checkpoint, every=max(settings["epochs"], 1) + 1,
                            seconds=settings["checkpoint_every"]))
    return found
