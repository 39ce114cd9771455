"""scikit-learn's MLP, one ``partial_fit`` an epoch or a batch, for workloads that it can express.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

from .workload import Workload


class SklearnBackend:
    """MLPClassifier or MLPRegressor without penalty, from our initial weights."""

    def __init__(self, work: Workload, n_threads: int) -> None:
        if work.loss != "l2" and work.sizes[-1] == 2:
            raise NotImplementedError("two classes become one logistic output")
        self.work, self.steps = work, work.batches
        self.X, T = work.data()
        self.T = T.ravel() if T.ndim == 2 and T.shape[1] == 1 else T
        make: Any = MLPRegressor if work.loss == "l2" else MLPClassifier
        self.net = make(
            hidden_layer_sizes=work.sizes[1:-1], solver=work.optimizer, alpha=0.0, momentum=0.0,
            nesterovs_momentum=False, learning_rate_init=work.learning_rate,
            activation={"sigmoid": "logistic"}.get(work.hidden, work.hidden),
            batch_size=work.batch, shuffle=True, random_state=0)
        self.more = {} if work.loss == "l2" else {"classes": np.arange(work.sizes[-1])}
        b = work.batch
        self.net.partial_fit(self.X[:b], self.T[:b], **self.more)
        start = work.initial_weights()
        self.net.coefs_, self.net.intercepts_ = start[::2], start[1::2]
        del self.net._optimizer

    def epochs(self, n: int, shuffle: bool = True) -> None:
        """Train ``n`` epochs."""
        self.net.shuffle = shuffle
        for _ in range(n):
            self.net.partial_fit(self.X, self.T)

    def weights(self) -> list[np.ndarray]:
        """Copies of W as (m, n) and bias of each layer."""
        return [a.copy() for pair in zip(self.net.coefs_, self.net.intercepts_, strict=True)
                for a in pair]


class SklearnCalls(SklearnBackend):
    """A call of ``partial_fit`` for each batch, without shuffling."""

    def epochs(self, n: int, shuffle: bool = True) -> None:
        """Train; batches are consecutive rows of the data."""
        b = self.work.batch
        for _ in range(n):
            for i in range(0, len(self.X), b):
                self.net.partial_fit(self.X[i:i + b], self.T[i:i + b])
