"""``fastbp train``: a classifier of real images, from nothing to a saved model."""

from __future__ import annotations

import argparse
import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from .. import datasets
from ..callbacks import Callback
from ..callbacks.progress import progress
from ..layers import Dense, Layer, ReLU, Softmax
from ..losses import CrossEntropyLoss
from ..network import Network
from ..optimizers import OPTIMIZERS

#: Share of the rows that training never sees.
HELD_OUT = 0.2


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def _seed(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def _rate(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a finite number above 0")
    return value


def _widths(text: str) -> list[int]:
    return [_count(width) for width in text.split(",")] if text else []


def add(subparsers: Any) -> None:
    """Declare the arguments."""
    p = subparsers.add_parser("train", help="train a classifier and save it",
                              description=__doc__.replace("``", ""),
                              formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("dataset", choices=sorted(datasets.DATASETS), help="images to learn")
    p.add_argument("--epochs", type=_count, default=40, help="passes over the data")
    p.add_argument("--batch-size", type=_count, default=32, help="rows a step")
    p.add_argument("--learning-rate", type=_rate, default=1e-3, help="step size")
    p.add_argument("--optimizer", choices=[n.lower() for n in OPTIMIZERS], default="adam",
                   help="rule that corrects the weights")
    p.add_argument("--hidden", type=_widths, default="128,64", metavar="N,N,...",
                   help="widths of the hidden ReLU layers; empty for none")
    p.add_argument("--seed", type=_seed, default=0, help="of weights, shuffling and split")
    p.add_argument("--threads", type=_count, help="at most so many; all by default")
    p.add_argument("--output", type=Path, metavar="FILE",
                   help="where to save the model; fastbp-DATASET.safetensors by default")
    p.add_argument("--quiet", action="store_true", help="print the result alone")
    p.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train, evaluate on held-out rows, save."""
    output = arguments.output or Path(f"fastbp-{arguments.dataset}.safetensors")
    _check_writable(output)
    data = datasets.load(arguments.dataset)
    rows = datasets.split(data, HELD_OUT, arguments.seed)
    network = build(data.X.shape[1], arguments.hidden, data.n_classes, arguments.seed)
    by_name = {name.lower(): make for name, make in OPTIMIZERS.items()}
    if not arguments.quiet:
        print(f"{arguments.dataset}: {len(rows.X_train):,} images to learn from, "
              f"{len(rows.X_test):,} held out\n{network.summary()}", flush=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "loss is", RuntimeWarning)  # told below, once
        history = network.fit(
            rows.X_train, rows.T_train, epochs=arguments.epochs,
            batch_size=arguments.batch_size,
            optimizer=by_name[arguments.optimizer](arguments.learning_rate),
            validation_data=(rows.X_test, rows.T_test), n_threads=arguments.threads,
            callbacks=[_StopIfDiverged(), *([] if arguments.quiet else [progress()])])
    if not np.isfinite(network.params).all():
        raise ValueError(f"training diverged (loss {history['loss'][-1]}), nothing saved; "
                         f"try a --learning-rate below {arguments.learning_rate}")
    network.save(output)
    print(f"held-out accuracy {history['val_accuracy'][-1]:.2%}\nmodel saved to {output}")
    return 0


class _StopIfDiverged(Callback):
    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> bool:
        return not math.isfinite(logs["loss"])


def build(n_in: int, hidden: list[int], n_classes: int, seed: int) -> Network:
    """ReLU layers of the widths ``hidden`` under a softmax."""
    widths, layers = [n_in, *hidden], list[Layer]()
    for m, n in zip(widths, hidden, strict=False):
        layers += [Dense(m, n, weight_init="he_uniform"), ReLU()]
    layers += [Dense(widths[-1], n_classes), Softmax()]
    return Network(layers, CrossEntropyLoss(), seed=seed)


def _check_writable(output: Path) -> None:
    """Find out before training, not after."""
    if output.is_dir():
        raise IsADirectoryError(f"--output {output} is a directory")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"--output {output}: no such directory {output.parent}")
    if not os.access(output.parent, os.W_OK):
        raise PermissionError(f"--output {output}: cannot write in {output.parent}")
