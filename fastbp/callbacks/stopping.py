"""Callbacks that end training: no more progress, time limit, numbers that are not finite."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from .._validation import Array, check_bool, check_real, check_size
from .._warning import warn
from ..engine import EPOCH
from .base import Callback, Monitor

if TYPE_CHECKING:
    from ..network import Network


class EarlyStopping(Monitor):
    """Stop when a figure has not improved for more than ``patience`` epochs in a row.

    Parameters
    ----------
    monitor, patience, min_delta, mode
        See ``fastbp.callbacks.Monitor``.
    restore_best : bool
        Give the network the parameters of the best epoch at the end.
    start_epoch : int
        Do not stop before this many epochs.

    Attributes
    ----------
    best_epoch : int
        Counted from 0; -1 if no epoch has been the best yet.
    stopped : bool

    Raises
    ------
    ValueError, TypeError
        For values outside these ranges.
    """

    def __init__(self, monitor: str = "val_loss", patience: int = 10, min_delta: float = 0.0,
                 mode: str = "auto", restore_best: bool = True, start_epoch: int = 0) -> None:
        self.restore_best = check_bool(restore_best, "restore_best")
        self.start_epoch = check_size(start_epoch, "start_epoch", 0)
        super().__init__(monitor, patience, min_delta, mode)

    def reset(self) -> None:
        """Forget what was seen."""
        super().reset()
        self.best_epoch, self.stopped = -1, False
        self._params: Array | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> bool:
        """Keep the best parameters; stop when patience is exhausted."""
        if self.improved(logs):
            self.best_epoch = epoch
            if self.restore_best:
                with self.run.averaged():
                    params = self.run.network.params.copy()
                if np.isfinite(params.sum(dtype=np.float64)):  # a last step may have overflowed
                    self._params = params
        self.stopped = self._over(epoch + 1)
        return self.stopped

    def _over(self, epochs: int) -> bool:
        return self.wait > self.patience and epochs >= self.start_epoch

    def on_train_end(self) -> None:
        """Restore the best parameters."""
        if self.restore_best and self._params is not None:
            self.run.network.params[...] = self._params

    def state(self) -> dict[str, Any]:
        """Best value, its epoch and parameters."""
        kept = {} if self._params is None else {"params": self._params}
        return super().state() | {"best_epoch": self.best_epoch} | kept

    def restore(self, state: dict[str, Any]) -> None:
        """Take up all of these.

        Raises
        ------
        ValueError
            As ``Monitor``; and for parameters of another size.
        """
        super().restore(state)
        kept, own = state.get("params"), self.run.network.params
        if kept is not None and (kept.shape, kept.dtype) != (own.shape, own.dtype):
            raise ValueError(f"the saved {type(self).__name__} has parameters of shape "
                             f"{kept.shape} and {kept.dtype}, the network of {own.shape} and "
                             f"{own.dtype}")
        self.best_epoch, self._params = int(state["best_epoch"]), kept
        self.stopped = self._over(int(self.run.cursor[EPOCH]) - self.run.first_epoch)


class TimeLimit(Callback):
    """Stop at the end of the chunk of steps in which the time limit is reached.

    Parameters
    ----------
    seconds : float
        Above 0.

    Raises
    ------
    ValueError, TypeError
        For any other value.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = check_real(seconds, "seconds", open_low=True)
        self._end = math.inf

    def on_train_begin(self, network: Network, epochs: int, n_samples: int) -> None:
        """Start the clock."""
        self._end = time.monotonic() + self.seconds

    def on_chunk_end(self, epoch: int, samples: int) -> bool:
        """Whether the time limit is reached."""
        return time.monotonic() >= self._end


class StopOnNaN(Callback):
    """Stop when the loss or a parameter is no longer finite; go back to the last good state.

    States are kept at the ends of epochs: parameters, their average, the optimizer's state and
    the step. A ``Checkpoint`` then holds that state, and ``warm_start`` goes on from it.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._good: Any = None

    def on_train_begin(self, network: Network, epochs: int, n_samples: int) -> None:
        """The initial state is good."""
        self.stopped, self._good = False, self.run.kept()

    def on_chunk_end(self, epoch: int, samples: int) -> bool:
        """Check the error so far."""
        return self._check(float(self.run.errors[0]))

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> bool:
        """Check the epoch's loss and the parameters; keep the state if they are finite."""
        if not self._check(logs["loss"] + float(self.run.network.params.sum(dtype=np.float64))):
            self._good = self.run.kept()
        return self.stopped

    def _check(self, value: float) -> bool:
        if not (self.stopped or np.isfinite(value)):
            self.stopped = True
            self.run.go_back(self._good)  # now, before a checkpoint is written
        return self.stopped

    def on_train_end(self) -> None:
        """Warn if training diverged."""
        self._good = None
        if self.stopped:
            warn("training diverged; the network is back at the end of its last good epoch",
                 RuntimeWarning)
