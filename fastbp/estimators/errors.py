"""What an error in ``fit`` leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

#: By these scikit-learn ends the callbacks of a fit, also after an error.
_TO_END = ("_callback_fit_ctx", "_skl_callbacks_to_teardown")


@contextmanager
def as_before_on_error(estimator: Any) -> Iterator[Callable[[], None]]:
    """If the block raises before it calls what it is given, all attributes are as before, and a
    ``random_state`` that is the user's own generator."""
    before, network = vars(estimator).copy(), vars(estimator).get("network_")
    precision = getattr(network, "matmul_precision", None)
    rng = before.get("random_state")  # of None, NumPy's is left alone: others draw from it too
    state = rng.get_state(legacy=False) if isinstance(rng, np.random.RandomState) else None
    try:
        yield before.clear
    except BaseException:
        own = vars(estimator)
        if before:
            before |= {name: own[name] for name in _TO_END if name in own}
            own.clear()
            own.update(before)
            if network is not None:
                network.matmul_precision = precision
            if state is not None:
                rng.set_state(state)
        raise
