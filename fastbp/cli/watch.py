"""What looks on while a run trains: signals, divergence, figures, progress."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..callbacks import Callback
from ..callbacks.log import json_line
from ..callbacks.progress import progress
from .exits import SIGNALS

if TYPE_CHECKING:
    from ..network import Network


class Watch(Callback):
    """Stops at the next step after a signal, and when the loss is no number any more.

    Attributes
    ----------
    seconds : float
        That training took.
    """

    seconds = 0.0

    def on_train_begin(self, network: Network, epochs: int, n_samples: int) -> None:
        """Start the clock."""
        self._began = time.monotonic()

    def on_chunk_end(self, epoch: int, samples: int) -> bool:
        """Look at signals and at the error so far."""
        return bool(SIGNALS.caught) or not np.isfinite(self.run.errors[0])

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> bool:
        """Look at signals and at the loss."""
        return bool(SIGNALS.caught) or not np.isfinite(logs["loss"])

    def on_train_end(self) -> None:
        """Stop the clock."""
        self.seconds = time.monotonic() - self._began


class Metrics(Callback):
    """The figures of each epoch as a line of JSON; a run that goes on has each epoch once.

    Parameters
    ----------
    path : path
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(self, network: Network, epochs: int, n_samples: int) -> None:
        """Write the epochs that a checkpoint brought along."""
        self.path.write_text("".join(lines(self.run.history)), encoding="utf-8")

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Write the line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json_line({"epoch": epoch + 1, **logs}))


def lines(history: dict[str, list[float]], **more: int) -> list[str]:
    """A line of JSON for each epoch of a history; an epoch cut short has fewer figures."""
    return [json_line({**more, "epoch": i + 1,
                       **{k: v[i] for k, v in history.items() if i < len(v)}})
            for i in range(len(history.get("loss", ())))]


def shown(quiet: bool) -> list[Callback]:
    """A bar on a terminal, lines elsewhere, on stderr."""
    return [] if quiet else [progress(sys.stderr)]
