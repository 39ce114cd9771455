"""Methods of ``Network`` that lead to modules above it, imported when first called."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ._validation import Array

if TYPE_CHECKING:
    from .history import History


@functools.cache  # a call takes microseconds, of which an import statement would be a part
def _partial_fit() -> Callable[..., History]:
    from .online import partial_fit

    return partial_fit


class Doors:
    """Base of ``Network``: training, files, gradients of inputs."""

    def fit(self, X: Any, T: Any, **options: Any) -> History:
        """Train on X and T; see ``fastbp.training.fit`` for the options."""
        from .training import fit

        return fit(self, X, T, **options)  # type: ignore[arg-type]

    def partial_fit(self, X: Any, T: Any, **options: Any) -> History:
        """One more epoch, with the optimizer state of the last call; see
        ``fastbp.online.partial_fit``."""
        return _partial_fit()(self, X, T, **options)

    def evaluate(self, X: Any, T: Any, **options: Any) -> dict[str, float]:
        """Loss and metrics on X and T; see ``fastbp.training.evaluate``."""
        from .training import evaluate

        return evaluate(self, X, T, **options)  # type: ignore[arg-type]

    def input_gradient(self, X: Any, T: Any) -> Array:
        """dE/dX; see ``fastbp.sensitivity``."""
        from .sensitivity import input_gradient

        return input_gradient(self, X, T)  # type: ignore[arg-type]

    def jacobian(self, X: Any) -> Array:
        """dY/dX of each row; see ``fastbp.sensitivity``."""
        from .sensitivity import jacobian

        return jacobian(self, X)  # type: ignore[arg-type]

    def summary(self) -> str:
        """A table of the layers: output size and number of parameters."""
        from .summary import table

        return table(self)  # type: ignore[arg-type]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write layers, loss and parameters to one safetensors file; see ``fastbp.load``."""
        from .io import save

        save(self, path)  # type: ignore[arg-type]
