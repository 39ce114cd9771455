"""The way of a batch through the ops: its passes, and ops that do the work of rectifiers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ._validation import Array
from .kernels.matmul import WHOLE
from .kernels.tile import CLIP
from .layers import Layer
from .layers.base import Kernels
from .table import PASS


def rectify(layers: Sequence[Layer], ops: Array, n_train: int, dtype: np.dtype[Any]) -> None:
    """Fuse rectifiers (ReLU) into adjacent products, which apply them as sums leave registers."""
    def kernels(k: int) -> Kernels:
        found = layers[k].kernels_for(dtype, int(ops[k]["n_in"]), int(ops[k]["n_out"]))
        assert found is not None
        return found

    for k in range(1, len(layers)):
        own, op = kernels(k), ops[k]
        if not own.rectifies or op["x"] != op["y"]:
            continue
        below, above = kernels(k - 1), kernels(k + 1) if k + 1 < n_train else None
        if below.forward in below.rectifying:
            ops[k - 1]["clip"], op["forward"] = CLIP, 0
        if above is not None and above.backward in above.rectifying and (
                op["dx"] == op["dy"] and ops[k + 1]["n_out"] <= WHOLE
                and not ops[k + 1]["by_columns"]):
            ops[k + 1]["mask"], op["backward"] = 1, 0


def passes_of(n_train: int, couplers: Sequence[int], ops: Array, lowest: int = 0) -> Array:
    """Passes of a batch, forward and back down to the ``lowest`` layer that learns: cut before
    each layer that couples rows or is divided by columns."""
    cuts, passes = [0, *couplers, n_train], []
    for i in range(len(cuts) - 1):
        done = int(i > 0 and ops["by_columns"][cuts[i]] > 0)
        passes.append([cuts[i] if i else -1, -1, i == 0, cuts[i] + done, cuts[i + 1], 0, 0, 1])
    if ops["first"][0] and ops["by_columns"][0]:  # X is read in place: nothing to load before
        passes.pop(0)
    passes[-1][5:] = 1, n_train - 1, max(couplers[-1] + 1 if couplers else 1, lowest + 1)
    for i, k in reversed(list(enumerate(couplers))):
        done = int(ops["by_columns"][k] > 0)
        if k > lowest or (k == lowest and not done):  # the lowest needs no gradient of its input
            passes.append([-1, k, 0, 0, 0, 0, k - done,
                           max(couplers[i - 1] + 1 if i else 1, lowest + 1)])
    return np.array([tuple(p) for p in passes], PASS)
