"""The options of ``fit``, for the functions that pass them on."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from .callbacks import Callback


class MoreOptions(TypedDict, total=False):
    """What ``partial_fit`` passes on."""

    shuffle: bool
    class_weight: Any
    validation_data: Any
    validation_split: float
    metrics: Sequence[str | Callable[..., float]]
    l1: float
    l2: float
    clip_value: float
    clip_norm: float
    max_norm: float
    average: float
    callbacks: Sequence[Callback]
    verbose: int
    resume: str | os.PathLike[str] | None


class CommonOptions(MoreOptions, total=False):
    """What ``fit_many`` passes on."""

    epochs: int
    batch_size: int
    optimizer: Any
    sample_weight: Any
    warm_start: bool


def passes_on(own: Callable[..., Any], function: Callable[..., Any], *but: str) -> None:
    """Make help and completion of ``own`` show the options of ``function``, without ``but``, in
    place of ``**options``."""
    signature = inspect.signature(own)
    *known, rest = signature.parameters.values()
    del own.__annotations__[rest.name]  # ``Unpack`` is for type checkers alone
    names = {*but, *(p.name for p in known)}
    options = [p for p in inspect.signature(function).parameters.values()
               if p.kind is p.KEYWORD_ONLY and p.name not in names]
    vars(own)["__signature__"] = signature.replace(parameters=[*known, *options])
