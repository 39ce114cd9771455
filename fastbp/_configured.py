"""What layers, losses, optimizers and schedules share: the arguments that make one like another.

They stand in model files, tell a continued run whether it is the same, and make the ``repr``.
"""

from __future__ import annotations

from typing import Any, ClassVar


class Configured:
    """Base of what is made with arguments; a class with arguments names those that are attributes
    of the same name, or overrides ``config``."""

    _config_names: ClassVar[tuple[str, ...]] = ()

    def config(self) -> dict[str, Any]:
        """Arguments that make an object like this one."""
        return {name: getattr(self, name) for name in self._config_names}

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.config().items())
        return f"{type(self).__name__}({arguments})"
