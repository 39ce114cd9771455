"""Callbacks that adapt the learning rate."""

from __future__ import annotations

from .._validation import check_real, check_size
from .base import Monitor


class ReduceOnPlateau(Monitor):
    """Multiply the learning rate by ``factor`` when a figure stops improving.

    Later fits of a network with ``warm_start``, and ``partial_fit``, go on at the lowered share of
    their rates; an estimator's ``fit`` begins anew, as scikit-learn's does.

    Parameters
    ----------
    monitor, patience, min_delta, mode
        See ``fastbp.callbacks.Monitor``.
    factor : float
        In (0, 1).
    cooldown : int
        Epochs after a reduction that do not count as waiting.
    minimum : float
        Smallest share of the initial rate.

    Raises
    ------
    ValueError, TypeError
        For values outside these ranges.
    """

    def __init__(self, monitor: str = "val_loss", patience: int = 10, min_delta: float = 0.0,
                 mode: str = "auto", factor: float = 0.1, cooldown: int = 0,
                 minimum: float = 0.0) -> None:
        self.factor = check_real(factor, "factor", 0.0, 1.0, open_low=True)
        self.cooldown = check_size(cooldown, "cooldown", 0)
        self.minimum = check_real(minimum, "minimum", 0.0, 1.0)
        super().__init__(monitor, patience, min_delta, mode)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Reduce the rate when patience is exhausted."""
        cooling = min(self.wait + 1, 0)
        if self.improved(logs):
            self.wait = cooling  # progress does not end a cooldown
        elif self.wait > self.patience:
            scale = self.run.rate_scale  # one already below the minimum stays
            self.run.rate_scale = min(scale, max(scale * self.factor, self.minimum))
            self.wait = -self.cooldown
