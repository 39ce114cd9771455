"""What layers, losses, optimizers and schedules share: the arguments that make one like another.

They stand in model files, tell a continued run whether it is the same, and make the ``repr``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class Configured:
    """Base of what is made with arguments; a class with arguments names those that are attributes
    of the same name, or overrides ``config``."""

    _config_names: ClassVar[tuple[str, ...]] = ()
    #: Further arguments, left out where they have these values.
    _config_defaults: ClassVar[Mapping[str, Any]] = {}

    def config(self) -> dict[str, Any]:
        """Arguments that make an object like this one."""
        return {name: getattr(self, name) for name in self._config_names} | {
            name: value for name, default in self._config_defaults.items()
            if (value := getattr(self, name)) != default}

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.config().items())
        return f"{type(self).__name__}({arguments})"
