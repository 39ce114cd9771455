"""fastbp train: what its options make of a network, an optimizer and arguments of fit."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("click")
pytest.importorskip("pyarrow")

import fastbp
from fastbp.callbacks import Checkpoint, EarlyStopping
from fastbp.cli import build, many, options
from fastbp.data import Target
from fastbp.schedules import CosineRestarts, OneCycle, Warmup

from .commands import settings

CLASSES = Target("t", "classification", ["a", "b", "c"])
NUMBERS = Target("t", "regression")


@pytest.mark.parametrize("activation", options.ACTIVATIONS)
def test_the_initial_weights_suit_the_activation(activation: str) -> None:
    rectifies = activation not in ("tanh", "sigmoid", "identity")
    layers = build.network(settings("--activation", activation), 4, CLASSES).layers
    dense = [layer for layer in layers if isinstance(layer, fastbp.Dense)]
    plain = [fastbp.Dense(4, 128), fastbp.Dense(128, 64), fastbp.Dense(64, 3)]
    he = [fastbp.Dense(4, 128, weight_init="he_uniform"),
          fastbp.Dense(128, 64, weight_init="he_uniform"), plain[-1]]
    assert list(map(repr, dense)) == list(map(repr, he if rectifies else plain))


def test_dropout_has_its_rate_in_every_hidden_layer() -> None:
    layers = build.network(settings("--dropout", "0.2"), 4, CLASSES).layers
    assert [layer.rate for layer in layers if isinstance(layer, fastbp.Dropout)] == [0.2, 0.2]


@pytest.mark.parametrize(("argv", "expected"), [
    ((), fastbp.Adam(1e-3)),
    (("--schedule", "one_cycle", "--lr", "0.5"), fastbp.Adam(OneCycle(0.5))),
    (("--schedule", "cosine_restarts", "--warmup", "2.5"),
     fastbp.Adam(Warmup(CosineRestarts(1e-3), 2.5))),
    (("--warmup", "0.5"), fastbp.Adam(Warmup(1e-3, 0.5))),
    (("--optimizer", "adamw"), fastbp.AdamW(1e-3)),
    (("--optimizer", "adamw", "--weight-decay", "0"), fastbp.AdamW(1e-3, weight_decay=0.0)),
    (("--optimizer", "lion", "--weight-decay", "0.3"), fastbp.Lion(1e-3, weight_decay=0.3)),
    (("--optimizer", "sgd", "--momentum", "0.9"), fastbp.SGD(1e-3, momentum=0.9)),
    (("--optimizer", "rmsprop", "--momentum", "0.9"), fastbp.RMSprop(1e-3, momentum=0.9))])
def test_the_optimizer_is_as_told(argv: tuple[str, ...], expected: fastbp.Optimizer) -> None:
    assert repr(build.optimizer(settings(*argv))) == repr(expected)


def test_arguments_of_fit_are_as_told() -> None:
    found = build.fit_options(settings(
        "--epochs", "7", "--batch-size", "9", "--l1", "0.1", "--l2", "0.2", "--clip-norm", "0.3",
        "--average", "0.4", "--class-weight", "balanced"), None, CLASSES)
    del found["optimizer"]
    assert found == {"epochs": 7, "batch_size": 9, "l1": 0.1, "l2": 0.2, "clip_norm": 0.3,
                     "average": 0.4, "class_weight": "balanced", "validation_data": None,
                     "metrics": []}


@pytest.mark.parametrize(("target", "rows", "metrics"), [
    (NUMBERS, 2, ["r2"]), (NUMBERS, 1, []), (CLASSES, 2, [])])
def test_r2_is_of_two_held_out_numbers_or_more(target: Target, rows: int,
                                               metrics: list[str]) -> None:
    held = np.zeros((rows, 4)), np.zeros((rows, 1))
    assert build.fit_options(settings(), held, target)["metrics"] == metrics


def test_early_stopping_and_checkpoints_are_as_told(tmp_path: Path) -> None:
    argv = ("--early-stopping", "--patience", "3", "--monitor", "val_accuracy", "--epochs", "8",
            "--checkpoint-every", "2m")
    stopping, checkpoint = build.callbacks(settings(*argv), (), tmp_path / "c", [])
    assert isinstance(stopping, EarlyStopping) and isinstance(checkpoint, Checkpoint)
    assert (stopping.monitor, stopping.patience) == ("val_accuracy", 3)
    assert (checkpoint.seconds, checkpoint.path) == (120, str(tmp_path / "c"))
    assert checkpoint.every > 8  # by time alone, and at the end


def test_without_held_out_rows_the_loss_decides_and_nothing_else_can() -> None:
    assert build.monitored(settings(), None) == "loss"
    assert build.monitored(settings(), ()) == "val_loss"
    assert build.monitored(settings("--monitor", "val_accuracy"), None) == "val_accuracy"


def test_a_run_whose_figure_is_no_number_is_never_the_best() -> None:
    def rank(monitor: str, **figures: float) -> tuple[float, float]:
        one: Any = SimpleNamespace(settings=settings("--monitor", monitor), figures=figures)
        return many.rank(one, SimpleNamespace(held=()))  # type: ignore[arg-type]

    nan = float("nan")
    for monitor, good, bad in (("val_loss", 0.5, 2.0), ("val_r2", 0.5, -2.0)):
        worse = rank(monitor, loss=1.0, **{monitor: bad})
        assert rank(monitor, loss=1.0, **{monitor: good}) < worse
        assert worse < rank(monitor, loss=0.1, **{monitor: nan})
        assert worse < rank(monitor, loss=0.1) < rank(monitor, loss=0.2)
