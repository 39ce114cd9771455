"""Each registered optimizer by itself: one update of a million parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbp.optimizers import OPTIMIZERS

SIZE = 1_000_000
#: Arguments of every optimizer; a test checks that none is missing.
CASES: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9}, "Adam": {}, "AdamW": {}, "RMSprop": {}, "Adagrad": {}, "Lion": {}}


class Optimizers:
    params = (list(CASES),)
    param_names = ("optimizer",)

    def setup(self, optimizer: str) -> None:
        self.optimizer = OPTIMIZERS[optimizer](**CASES[optimizer])
        rng = np.random.default_rng(0)
        self.params, self.grads = rng.normal(size=(2, SIZE)).astype(np.float32)
        self.slots = np.zeros((self.optimizer.n_slots, SIZE), np.float32)
        self.time_update(optimizer)

    def time_update(self, optimizer: str) -> None:
        self.optimizer.update(self.params, self.grads, self.slots, 1, 1e-3)
