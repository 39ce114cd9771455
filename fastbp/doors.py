"""Methods of ``Network`` that lead to modules above it, imported when first called."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ._validation import Array

if TYPE_CHECKING:
    from . import online, training


class _Door:
    """A function of a module above as a method: ``found`` imports it when it is asked for."""

    def __init__(self, found: Callable[[], Any]) -> None:
        self.found = found

    def __set_name__(self, owner: type, name: str) -> None:
        self.owner, self.name = owner, name

    def __get__(self, instance: Any, owner: type) -> Any:
        function = self.found()
        setattr(self.owner, self.name, function)  # from now on as fast as any method
        return function.__get__(instance, owner)


def _fit() -> Any:
    from .training import fit

    return fit


def _partial_fit() -> Any:
    from .online import partial_fit

    return partial_fit


def _evaluate() -> Any:
    from .training import evaluate

    return evaluate


class Doors:
    """Base of ``Network``: training, files, gradients of inputs."""

    if TYPE_CHECKING:
        fit, partial_fit, evaluate = training.fit, online.partial_fit, training.evaluate
    else:
        fit, partial_fit, evaluate = _Door(_fit), _Door(_partial_fit), _Door(_evaluate)

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
