"""Methods of ``Network`` that lead to modules above it, imported when first called."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import io, online, sensitivity, training


class _Door:
    """The function of that name in a module above as a method: imported when it is asked for."""

    def __init__(self, module: str) -> None:
        self.module = module

    def __set_name__(self, owner: type, name: str) -> None:
        self.owner, self.name = owner, name

    def __get__(self, instance: Any, owner: type) -> Any:
        function = getattr(import_module(f".{self.module}", __package__), self.name)
        setattr(self.owner, self.name, function)  # from now on as fast as any method
        return function.__get__(instance, owner)


class Doors:
    """Base of ``Network``: training, files, gradients of inputs."""

    if TYPE_CHECKING:
        fit, partial_fit, evaluate = training.fit, online.partial_fit, training.evaluate
        input_gradient, jacobian = sensitivity.input_gradient, sensitivity.jacobian
        save = io.save
    else:
        fit, partial_fit, evaluate = _Door("training"), _Door("online"), _Door("training")
        input_gradient, jacobian = _Door("sensitivity"), _Door("sensitivity")
        save = _Door("io")

    def summary(self) -> str:
        """A table of the layers: output size and number of parameters."""
        from .summary import table

        return table(self)  # type: ignore[arg-type]
