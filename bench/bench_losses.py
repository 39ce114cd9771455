"""Each registered loss by itself: error and gradient of 1,024 rows of 10."""

from __future__ import annotations

import numpy as np

from fastbp.losses import LOSSES

#: Every loss; a test checks that none is missing.
CASES = ("L2Loss", "MSELoss", "MAELoss", "HuberLoss", "QuantileLoss", "PoissonLoss", "HingeLoss",
         "CrossEntropyLoss", "SoftmaxCrossEntropyLoss", "BinaryCrossEntropyLoss",
         "SigmoidBinaryCrossEntropyLoss", "FocalLoss", "SigmoidFocalLoss")


class Losses:
    params = (list(CASES), ["float32", "float64"])
    param_names = ("loss", "dtype")

    def setup(self, loss: str, dtype: str) -> None:
        rng = np.random.default_rng(0)
        self.loss = LOSSES[loss]()
        self.X = rng.uniform(0.01, 0.99, (1024, 10)).astype(dtype)
        self.T = rng.dirichlet(np.ones(10), 1024).astype(dtype)
        self.loss.forward(self.X, self.T)

    def time_forward(self, loss: str, dtype: str) -> None:
        self.loss.forward(self.X, self.T)
