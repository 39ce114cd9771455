"""What only type checkers see."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def overridable(method: Callable[..., Result]) -> Callable[..., Result]:
    """Decorator: a subclass of a user's may take fewer arguments than the method, which to type
    checkers takes any."""
    return method
