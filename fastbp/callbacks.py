"""Hooks into training, called between chunks of compiled steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .network import Network


class Callback:
    """Base of callbacks: override what you need. Return True from a hook to stop."""

    def on_train_begin(self, network: Network, epochs: int, n_samples: int) -> None:
        """Before the first step."""

    def on_chunk_end(self, epoch: int, samples: int) -> bool | None:
        """After some steps (50 ms or so), ``samples`` rows into ``epoch``."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> bool | None:
        """After an epoch (counted from 0), with its figures."""

    def on_train_end(self) -> None:
        """After the last step, also when stopped or interrupted."""


class PrintEpoch(Callback):
    """One line an epoch, the figures by name."""

    def __init__(self) -> None:
        self._epochs = 0

    def on_train_begin(self, network: Network, epochs: int, n_samples: int) -> None:
        """Remember how many epochs there will be."""
        self._epochs = epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Print the line."""
        figures = "  ".join(f"{name} {value:.4g}" for name, value in logs.items())
        print(f"epoch {epoch + 1}/{self._epochs}  {figures}", flush=True)
