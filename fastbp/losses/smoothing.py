"""Label smoothing: targets that are never fully certain.

    t <- (1 - s) t + s / k

with k the number of classes, or 2 for a yes or no. It keeps a classifier from driving logits to
infinity. Source: C. Szegedy et al., Rethinking the Inception architecture, CVPR 2016, section 7.
"""

from __future__ import annotations

import numpy as np

from .._jit import kernel
from .._validation import check_real, checked
from .base import Loss

YES_OR_NO = np.int64(2)


@kernel
def smooth_targets(h, t, k):
    """Smooth the targets of a block in place, padding included; nothing to do if s is 0."""
    if h["a"] != 0:
        keep, even = t.dtype.type(1 - h["a"]), t.dtype.type(h["a"] / k)
        for i in range(t.size):
            t[i] = keep * t[i] + even


class Smoothed(Loss):
    """Base of losses that take ``label_smoothing``; their kernels find it as ``a``."""

    _config_defaults = {**Loss._config_defaults, "label_smoothing": 0.0}
    label_smoothing: float = checked(check_real, 0.0, 1.0)

    def __init__(self, reduction: str = "mean", *, label_smoothing: float = 0.0) -> None:
        super().__init__(reduction)
        self.label_smoothing = label_smoothing

    @property
    def changes_target(self) -> bool:
        """Whether there is smoothing, or a subclass has set this."""
        return self.label_smoothing != 0 or bool(self.__dict__.get("_changes"))

    @changes_target.setter
    def changes_target(self, value: bool) -> None:
        self._changes = value

    def _as(self, fused: Loss) -> Loss:
        """``fused`` with the settings of this loss, sharing later changes to them."""
        fused.__dict__ = self.__dict__
        return fused

    def constants(self) -> tuple[float, float]:
        """(label_smoothing, 0)."""
        return self.label_smoothing, 0.0
