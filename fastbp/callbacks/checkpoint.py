"""Keep a run on disk, so that it can go on after whatever stopped it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._validation import as_path, check_choice, check_real, check_size
from ..engine import EPOCH, POSITION, STEP
from .base import Callback

if TYPE_CHECKING:
    from ..network import Network


class Checkpoint(Callback):
    """Write the whole run to one safetensors file, to go on from with ``fit(resume=path)``.

    Weights, optimizer state, step, epoch, position, seed, history and the state of the other
    callbacks: a run that goes on from there gives the same bits as one that never stopped.
    ``fastbp.load`` reads the network alone. Each write replaces the file in one move.

    Parameters
    ----------
    path : path
    every : int
        Epochs between two writes; the last is always written, also after an interrupt.
    seconds : float, optional
        Write also when so many seconds have passed, within an epoch too.
    keep : {"last", "all"}
        "all" writes each to a file of its own, "{epoch}" in ``path`` becoming the epoch.

    Raises
    ------
    ValueError, TypeError
        For invalid arguments; at the start of a run, before training, for a network that no file
        can hold.
    """

    def __init__(self, path: str | os.PathLike[str], every: int = 1,
                 seconds: float | None = None, keep: str = "last") -> None:
        self.path, self.every = as_path(path), check_size(every, "every")
        self.seconds = None if seconds is None else check_real(seconds, "seconds")
        self.keep = check_choice(keep, "keep", ("last", "all"))
        if self.keep == "all" and "{epoch}" not in self.path:
            raise ValueError(f'keep="all" needs "{{epoch}}" in path, got {self.path!r}')
        self.hooks: Any = ()
        self._written, self._step = time.monotonic(), -1

    def on_train_begin(self, network: Network, epochs: int, n_samples: int) -> None:
        """Nothing of this run is written; what cannot be fails before training."""
        from ..io.files import check_place
        from ..io.safetensors import describe

        describe(network)
        if "{epoch}" not in str(Path(self.path).parent):  # a folder an epoch may be made later
            check_place(self.path)
        self._written, self._step = time.monotonic(), -1

    def on_chunk_end(self, epoch: int, samples: int) -> None:
        """Write where ``seconds`` have passed; at the end of an epoch ``on_epoch_end`` does,
        when its figures are in."""
        if self._due() and self.run.cursor[POSITION]:
            self._write()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Write every so many epochs, and where ``seconds`` have passed."""
        if (epoch + 1) % self.every == 0 or self._due():
            self._write()

    def _due(self) -> bool:
        return self.seconds is not None and time.monotonic() - self._written >= self.seconds

    def on_last_step(self) -> None:
        """Write the last state, unless that is done."""
        self._write()

    def _write(self) -> None:
        from ..io.checkpoint import save_run

        cursor = self.run.cursor
        if int(cursor[STEP]) == self._step:  # also where the run went back to what was written
            return
        epoch = int(cursor[EPOCH]) - self.run.first_epoch + bool(cursor[POSITION])
        save_run(self.run, self.hooks, Path(self.path.replace("{epoch}", str(epoch))))
        self._written, self._step = time.monotonic(), int(cursor[STEP])
