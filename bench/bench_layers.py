"""Each registered layer by itself, forward and backward, at one batch of 256 rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbp.layers import LAYERS

ROWS, WIDTH = 256, 256
#: Constructor arguments of every layer; a test checks that none is missing.
CASES: dict[str, tuple[Any, ...]] = {
    "Dense": (WIDTH, WIDTH), "Sigmoid": (), "Tanh": (), "ReLU": (), "Softmax": (), "Dropout": (),
    "BatchNorm": (), "LayerNorm": (), "LeakyReLU": (), "ELU": (), "SiLU": (), "Softplus": (),
    "GELU": (), "Identity": (), "LogSoftmax": (), "Flatten": ()}


class Layers:
    params = (list(CASES), ["float32", "float64"])
    param_names = ("layer", "dtype")

    def setup(self, layer: str, dtype: str) -> None:
        arguments = CASES[layer]
        self.layer = LAYERS[layer](*arguments, **({"dtype": dtype} if arguments else {}))
        self.layer.key = 1  # as in a step of training: dropout draws, batches have their moments
        rng = np.random.default_rng(0)
        self.X = rng.normal(size=(ROWS, WIDTH)).astype(dtype)
        self.dY = self.layer.forward(self.X)
        self.layer.backward(self.dY)

    def time_forward(self, layer: str, dtype: str) -> None:
        self.layer.forward(self.X)

    def time_backward(self, layer: str, dtype: str) -> None:
        self.layer.backward(self.dY)
