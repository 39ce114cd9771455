"""Learning rates that change while training: functions of the position in the run.

    Adam(learning_rate=Warmup(Cosine(0.01), epochs=3))

A rate depends on the step's position in epochs and on the length of the run, and on nothing
that happened before: a run that is resumed takes the same rates.
"""

from collections.abc import Callable

from .base import Constant, Schedule
from .compose import Function, Warmup
from .cosine import Cosine, CosineRestarts, OneCycle
from .falling import Exponential, InverseScaling, Step

#: Every schedule by name.
SCHEDULES: dict[str, Callable[..., Schedule]] = {c.__name__: c for c in (
    Constant, Step, Exponential, InverseScaling, Cosine, CosineRestarts, OneCycle, Warmup,
    Function)}

__all__ = ["SCHEDULES", "Constant", "Cosine", "CosineRestarts", "Exponential", "Function",
           "InverseScaling", "OneCycle", "Schedule", "Step", "Warmup"]
