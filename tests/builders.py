"""Networks, data and parts of one's own that several tests share."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastbp

#: name -> (layers, loss): every layer and loss, fused and apart, on 5 inputs and 3 outputs.
CHAINS: dict[str, Any] = {
    "relu-softmax": (lambda: [fastbp.Dense(5, 9), fastbp.ReLU(), fastbp.Dense(9, 3),
                              fastbp.Softmax()], fastbp.CrossEntropyLoss),
    "tanh-l2": (lambda: [fastbp.Dense(5, 17), fastbp.Tanh(), fastbp.Dense(17, 3)],
                fastbp.L2Loss),
    "sigmoid-bce": (lambda: [fastbp.Dense(5, 6), fastbp.Sigmoid(), fastbp.Dense(6, 3),
                             fastbp.Sigmoid()], fastbp.BinaryCrossEntropyLoss),
    "no-bias-logits": (lambda: [fastbp.Dense(5, 33, bias=False), fastbp.Tanh(),
                                fastbp.Dense(33, 3)], fastbp.SoftmaxCrossEntropyLoss),
    "binary-logits": (lambda: [fastbp.Dense(5, 3)], fastbp.SigmoidBinaryCrossEntropyLoss),
    "softmax-l2": (lambda: [fastbp.Dense(5, 4), fastbp.Softmax(), fastbp.Dense(4, 3),
                            fastbp.Softmax()], fastbp.L2Loss),
    "sigmoid-ce": (lambda: [fastbp.Dense(5, 3), fastbp.Sigmoid()], fastbp.CrossEntropyLoss),
    "norms": (lambda: [fastbp.Dense(5, 7), fastbp.BatchNorm(), fastbp.ReLU(),
                       fastbp.Dropout(0.3), fastbp.Dense(7, 20), fastbp.LayerNorm(),
                       fastbp.Tanh(), fastbp.Dense(20, 3)], fastbp.SoftmaxCrossEntropyLoss),
    "smooth": (lambda: [fastbp.Dense(5, 9), fastbp.SiLU(), fastbp.Dense(9, 6), fastbp.GELU(),
                        fastbp.Identity(), fastbp.Dense(6, 4), fastbp.Softplus(),
                        fastbp.Dense(4, 3), fastbp.LogSoftmax()], fastbp.L2Loss),
    "leaky": (lambda: [fastbp.Dense(5, 9), fastbp.LeakyReLU(), fastbp.Dense(9, 18), fastbp.ELU(),
                       fastbp.Dense(18, 3)], fastbp.SoftmaxCrossEntropyLoss),
    # in place over what keeps its output, and over what keeps its input
    "sigmoid-tanh": (lambda: [fastbp.Dense(5, 9), fastbp.Sigmoid(), fastbp.Tanh(),
                              fastbp.Dense(9, 3)], fastbp.L2Loss),
    "softmax-relu": (lambda: [fastbp.Dense(5, 9), fastbp.Softmax(), fastbp.ReLU(),
                              fastbp.Dense(9, 3)], fastbp.L2Loss),
    "silu-identity-elu": (lambda: [fastbp.Dense(5, 9), fastbp.Sigmoid(), fastbp.Identity(),
                                   fastbp.SiLU(), fastbp.ELU(), fastbp.Dense(9, 3)],
                          fastbp.L2Loss),
    "softmax-bce": (lambda: [fastbp.Dense(5, 3), fastbp.Softmax()],
                    fastbp.BinaryCrossEntropyLoss),
    "flatten": (lambda: [fastbp.Flatten(), fastbp.Dense(5, 4), fastbp.Flatten((4,)),
                         fastbp.Tanh(), fastbp.Dense(4, 3)], fastbp.SoftmaxCrossEntropyLoss),
    "mse": (lambda: [fastbp.Dense(5, 3)], fastbp.MSELoss),
    "mae": (lambda: [fastbp.Dense(5, 3)], fastbp.MAELoss),
    "huber": (lambda: [fastbp.Dense(5, 3)], fastbp.HuberLoss),
    "quantile": (lambda: [fastbp.Dense(5, 3)], fastbp.QuantileLoss),
    "poisson": (lambda: [fastbp.Dense(5, 3)], fastbp.PoissonLoss),
    "deviance": (lambda: [fastbp.Dense(5, 3)], lambda r: fastbp.PoissonLoss(r, deviance=True)),
    "hinge": (lambda: [fastbp.Dense(5, 3)], fastbp.HingeLoss),
    "focal": (lambda: [fastbp.Dense(5, 3)], fastbp.FocalLoss),
    "sigmoid-focal": (lambda: [fastbp.Dense(5, 3)], fastbp.SigmoidFocalLoss),
}
#: Losses whose targets are any numbers, not probabilities.
REGRESSION = (fastbp.L2Loss, fastbp.MSELoss, fastbp.MAELoss, fastbp.HuberLoss,
              fastbp.QuantileLoss)


def network(chain: str, dtype: str = "float64", reduction: str = "mean",
            seed: int = 0) -> fastbp.Network:
    layers, loss = CHAINS[chain]
    return fastbp.Network(layers(), loss(reduction), dtype, seed)


def data(chain: str, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """X and T, rows of probabilities where the loss wants them."""
    rng = np.random.default_rng(0)
    X, loss = rng.normal(size=(rows, 5)), CHAINS[chain][1]
    if loss in REGRESSION:
        return X, rng.normal(size=(rows, 3))
    return X, rng.dirichlet(np.ones(3), rows)


def classifier(dtype: str = "float32", seed: int = 0, **options: Any) -> fastbp.Network:
    return fastbp.Network([fastbp.Dense(6, 20), fastbp.ReLU(), fastbp.Dense(20, 4),
                           fastbp.Softmax()], fastbp.CrossEntropyLoss(), dtype, seed, **options)


def clusters(rows: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Four separable classes of 6 features."""
    rng = np.random.default_rng(0)
    T = rng.integers(0, 4, rows)
    centres = np.random.default_rng(7).normal(size=(4, 6)) * 3
    return centres[T] + rng.normal(size=(rows, 6)), T


class Scale(fastbp.Layer):
    """A user's layer over NumPy alone: Y = a X, one trained number a column."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        assert self.n_in is not None
        return {"a": (self.n_in,)}

    def initialize(self, rng: np.random.Generator) -> None:
        self.parameters()["a"][...] = 1

    def forward(self, X: Any, *, allow_nonfinite: bool = True) -> Any:
        self._x, self._y = X, X * self.parameters()["a"]
        return self._y

    def backward(self, dY: Any) -> Any:
        self.gradients()["a"][...] = (dY * self._x).sum(axis=0)
        return dY * self.parameters()["a"]


class StopAt(fastbp.Callback):
    """Stops after so many chunks, wherever that is."""

    def __init__(self, chunks: int) -> None:
        self.left = chunks

    def on_train_begin(self, network: fastbp.Network, epochs: int, n_samples: int) -> None:
        self.run.chunk = 1

    def on_chunk_end(self, epoch: int, samples: int) -> bool:
        self.run.chunk, self.left = 1, self.left - 1
        return self.left <= 0


class Figures(fastbp.Callback):
    """Puts given values among the figures of each epoch, before other callbacks see them."""

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        logs["figure"] = self.values[epoch]
