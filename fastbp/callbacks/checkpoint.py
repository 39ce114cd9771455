"""Save a run to disk, so that it can be resumed whatever stopped it."""

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
    """Write the whole run to one safetensors file, to be resumed by ``fit(resume=path)``.

    Saved are weights, optimizer state, step, epoch, position, seed, history and the state of the
    other callbacks: a resumed run gives the same bits as one that never stopped.
    ``fastbp.load`` reads the network alone, with the last weights, averaged where ``fit`` has
    ``average``; the best ones are what ``EarlyStopping`` keeps and gives to the network at the
    end of ``fit``. Each write replaces the file atomically.

    Parameters
    ----------
    path : path
    every : int
        Epochs between two writes; the last state is always written, also after an interrupt.
    seconds : float, optional
        Write also when this time has passed since the last write, within an epoch too.
    keep : {"last", "all"}
        "all" keeps each write in a file of its own: "{epoch}" in ``path`` is replaced by the
        epoch.

    Raises
    ------
    ValueError, TypeError
        For invalid arguments; at the start of a run, before training, for a network that cannot
        be saved, or the name of an open file, as ``/dev/stdout``.
    """

    def __init__(self, path: str | os.PathLike[str], every: int = 1,
                 seconds: float | None = None, keep: str = "last") -> None:
        self.path, self.every = as_path(path), check_size(every, "every")
        self.seconds = None if seconds is None else check_real(seconds, "seconds")
        self.keep = check_choice(keep, "keep", ("last", "all"))
        if self.keep == "all" and "{epoch}" not in self.path:
            raise ValueError(f'keep="all" needs "{{epoch}}" in path, got {self.path!r}')
        self.hooks: Any = ()
        self._written, self._step, self._folder = time.monotonic(), -1, ""

    def on_train_begin(self, network: Network, epochs: int, n_samples: int) -> None:
        """Start afresh; a network or path that cannot be written fails before training."""
        from ..io.files import check_place, number_of
        from ..io.safetensors import describe

        describe(network)
        if number_of(self.path) is not None:
            raise ValueError(f"path {self.path!r} is the name of an open file: a checkpoint "
                             "replaces its file, each write would add to this one")
        # A relative path stays what it was, wherever the process goes.
        self._folder = "" if os.path.isabs(self.path) else os.getcwd()
        if "{epoch}" not in str(Path(self.path).parent):  # a folder for each epoch may come later
            check_place(self.path)
        self._written, self._step = time.monotonic(), -1

    def on_chunk_end(self, epoch: int, samples: int) -> None:
        """Write if ``seconds`` have passed; the end of an epoch is left to ``on_epoch_end``, when
        its figures are known."""
        if self._due() and self.run.cursor[POSITION]:
            self._write()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Write after every ``every`` epochs, and if ``seconds`` have passed."""
        if (epoch + 1) % self.every == 0 or self._due():
            self._write()

    def _due(self) -> bool:
        return self.seconds is not None and time.monotonic() - self._written >= self.seconds

    def on_last_step(self) -> None:
        """Write the last state, unless it has been written."""
        self._write()

    def on_train_end(self) -> None:
        """Let go of the callbacks, of which this is one."""
        self.hooks = ()

    def _write(self) -> None:
        from ..io.checkpoint import save_run

        cursor = self.run.cursor
        if int(cursor[STEP]) == self._step:  # written, even if the run has gone back to it since
            return
        epoch = int(cursor[EPOCH]) - self.run.first_epoch + bool(cursor[POSITION])
        save_run(self.run, self.hooks,
                 Path(self._folder, self.path.replace("{epoch}", str(epoch))))
        self._written, self._step = time.monotonic(), int(cursor[STEP])
