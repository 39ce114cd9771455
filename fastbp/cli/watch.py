"""Callbacks of a run: signals, time limit, divergence, figures, progress."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..callbacks import Callback
from ..callbacks.log import json_line
from ..callbacks.progress import progress
from .exits import SIGNALS, say

if TYPE_CHECKING:
    from ..network import Network


class Limit:
    """Time limit of all runs of a call.

    Parameters
    ----------
    seconds : float, optional
        Counted from the beginning of the first run.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds, self._end = math.inf if seconds is None else seconds, math.inf

    def begin(self) -> bool:
        """Begin a run; True if time is over, which it never is for the first."""
        if self._end == math.inf:
            self._end = time.monotonic() + self.seconds
            return False
        return self.over

    @property
    def over(self) -> bool:
        """Whether time is over."""
        return time.monotonic() >= self._end


class Watch(Callback):
    """Stops at the next step after a signal, when time is over, or when the loss is not finite.

    Parameters
    ----------
    limit : Limit

    Attributes
    ----------
    seconds : float
        Time that training took.
    """

    seconds = 0.0

    def __init__(self, limit: Limit) -> None:
        self.limit = limit

    def on_train_begin(self, network: Network, epochs: int, n_samples: int) -> bool:
        """Start the clock, or stop at once."""
        self._began = time.monotonic()
        return self.limit.begin() or bool(SIGNALS.caught)

    def on_chunk_end(self, epoch: int, samples: int) -> bool:
        """Look at signals, at the time and at the error so far."""
        return bool(SIGNALS.caught) or self.limit.over or not np.isfinite(self.run.errors[0])

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> bool:
        """Look at signals and at the loss."""
        return bool(SIGNALS.caught) or not np.isfinite(logs["loss"])

    def on_train_end(self) -> None:
        """Stop the clock."""
        self.seconds = time.monotonic() - self._began


class Metrics(Callback):
    """Writes each epoch's figures as a line of JSON; a resumed run has each epoch only once.

    Parameters
    ----------
    path : path
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(self, network: Network, epochs: int, n_samples: int) -> None:
        """Write the epochs from a checkpoint."""
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


class Over(Callback):
    """Says of a resumed run that all its epochs are trained, as no progress would show it."""

    def on_train_begin(self, network: Network, epochs: int, n_samples: int) -> None:
        """Compare the epochs from a checkpoint with those wanted."""
        if 0 < epochs <= len(self.run.history.get("loss", ())):
            say(f"all of --epochs {epochs} are trained: only the results are to be written")


def shown(quiet: bool) -> list[Callback]:
    """A bar on a terminal, lines elsewhere, on stderr."""
    return [] if quiet else [Over(), progress(sys.stderr)]
