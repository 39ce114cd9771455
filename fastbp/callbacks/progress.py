"""Progress of a fit: a bar on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TextIO

from .base import Callback
from .log import PrintEpoch

if TYPE_CHECKING:
    from ..network import Network


def progress(file: TextIO | None = None) -> Callback:
    """A bar where ``file`` (stdout) is a terminal and rich is installed, else lines."""
    out = sys.stdout if file is None else file
    if not out.isatty():
        return PrintEpoch(file)
    try:
        from rich.console import Console
    except ImportError:
        print('for a progress bar: pip install "fastbp[cli]"', file=sys.stderr)
        return PrintEpoch(file)
    return ProgressBar(Console(file=out))


class ProgressBar(Callback):
    """Samples done, time, and the last epoch's figures, drawn by rich.

    Parameters
    ----------
    console : rich.console.Console, optional
        Where to draw; rich's own by default.

    Raises
    ------
    ImportError
        Without rich (extra ``cli``).
    """

    def __init__(self, console: Any = None) -> None:
        if find_spec("rich") is None:
            raise ImportError('ProgressBar needs rich: pip install "fastbp[cli]"')
        self._console, self._epochs, self._n = console, 0, 0
        self._bar: Any = None  # only while it is shown: it cannot be copied or pickled

    def on_train_begin(self, network: Network, epochs: int, n_samples: int) -> None:
        """Show the empty bar."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._epochs, self._n = epochs, n_samples
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"), BarColumn(bar_width=16),
            TimeRemainingColumn(compact=True), TextColumn("{task.fields[figures]}"),
            console=self._console)
        self._task = self._bar.add_task("", total=epochs * n_samples, epoch=f"0/{epochs}",
                                        figures="")
        self._bar.start()

    def on_chunk_end(self, epoch: int, samples: int) -> None:
        """Advance the bar."""
        self._bar.update(self._task, completed=epoch * self._n + samples)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Show the epoch's figures."""
        names = {"loss": "loss {:.4f}", "val_accuracy": "held-out accuracy {:.2%}",
                 "samples_per_s": "{:,.0f} samples/s"}
        figures = [text.format(logs[name]) for name, text in names.items() if name in logs]
        self._bar.update(self._task, epoch=f"{epoch + 1}/{self._epochs}",
                         figures="  ".join(figures))

    def on_train_end(self) -> None:
        """Stop drawing; the last state stays on the screen."""
        self._bar.stop()
        self._bar = None
