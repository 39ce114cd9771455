"""A workload that every backend runs alike: its data, network, optimizer and error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._validation import check_choice, check_size
from ..layers import Dense, Layer, ReLU, Sigmoid, Softmax, Tanh
from ..losses import CrossEntropyLoss, L2Loss, Loss
from ..network import Network
from ..optimizers import SGD, Adam, Optimizer

HIDDEN: dict[str, type[Layer]] = {"relu": ReLU, "tanh": Tanh, "sigmoid": Sigmoid}
LEARNING_RATE = {"sgd": 0.01, "adam": 1e-3}
#: What may follow sizes and batch in a workload's text (see ``row_of``), in this order.
_WORDS = {"hidden": tuple(HIDDEN), "optimizer": tuple(LEARNING_RATE),
          "loss": ("softmax_cross_entropy", "l2"), "dtype": ("float32", "float64")}
#: Largest number of bytes of input in a workload's data, and of batches.
_DATA_BYTES, BATCHES = 32e6, 256


@dataclass(frozen=True)
class Workload:
    """One row of the grid."""

    name: str
    sizes: tuple[int, ...]
    batch: int
    hidden: str
    optimizer: str
    loss: str = "softmax_cross_entropy"
    dtype: str = "float32"

    @property
    def flops(self) -> int:
        """Floating-point operations of the matrix products in one step."""
        products = [m * n for m, n in zip(self.sizes, self.sizes[1:], strict=False)]
        return self.batch * (6 * sum(products) - 2 * products[0])

    @property
    def batches(self) -> int:
        """Batches in the data, which are one epoch."""
        bytes_each = self.batch * self.sizes[0] * np.dtype(self.dtype).itemsize
        return int(max(2, min(BATCHES, _DATA_BYTES // bytes_each)))

    @property
    def learning_rate(self) -> float:
        """Step size of the optimizer."""
        return LEARNING_RATE[self.optimizer]

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets (class indices, or rows of numbers for the L2 loss)."""
        rng = np.random.default_rng(0)
        n = self.batch * self.batches
        X = rng.standard_normal((n, self.sizes[0]), np.dtype(self.dtype))
        if self.loss == "l2":
            return X, rng.standard_normal((n, self.sizes[-1]), np.dtype(self.dtype))
        return X, rng.integers(0, self.sizes[-1], n)

    def network(self) -> Network:
        """The network, at its initial weights."""
        layers: list[Layer] = []
        for m, n in zip(self.sizes, self.sizes[1:], strict=False):
            layers += [Dense(m, n), HIDDEN[self.hidden]()]
        loss: Loss = L2Loss()
        layers.pop()
        if self.loss != "l2":
            layers.append(Softmax())
            loss = CrossEntropyLoss()
        return Network(layers, loss, dtype=self.dtype)

    def initial_weights(self) -> list[np.ndarray]:
        """W as (m, n) and bias, layer by layer: every backend starts from these."""
        dense = [x for x in self.network().layers if isinstance(x, Dense)]
        return [a for x in dense for a in (np.ascontiguousarray(x.weight.T), x.bias.copy())]

    def error(self, weights: list[np.ndarray], rows: int = 2000) -> float:
        """Error over the first rows of the data, in float64, by the same code for all backends."""
        X, T = (a[:rows] for a in self.data())
        y = X.astype(np.float64)
        for k in range(0, len(weights), 2):
            y = y @ weights[k].astype(np.float64) + weights[k + 1]
            if k + 2 < len(weights):
                made: Any = {"relu": lambda z: np.maximum(z, 0), "tanh": np.tanh,
                             "sigmoid": lambda z: 1 / (1 + np.exp(-z))}[self.hidden]
                y = made(y)
        if self.loss == "l2":
            return float(np.sum((y - T) ** 2) / 2 / len(y))
        y -= y.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(y).sum(axis=1)) - y[np.arange(len(y)), T]))

    def make_optimizer(self) -> Optimizer:
        """fastbp's optimizer."""
        make: Any = {"sgd": SGD, "adam": Adam}[self.optimizer]
        return make(self.learning_rate)


def read(rows: list[dict[str, Any]]) -> dict[str, Workload]:
    """Workloads by name, from rows like those of grid.json."""
    found = {}
    for row in rows:
        row = {k: v for k, v in row.items() if k != "why"}
        row["sizes"] = tuple(row["sizes"])
        found[row["name"]] = Workload(**row)
    return found


def _size(text: str, name: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"{name} must be a whole number, got {text!r}")
    return check_size(int(text), name)


def row_of(text: str) -> dict[str, Any]:
    """A workload from ``sizes:batch[:hidden[:optimizer[:loss[:dtype]]]]``.

    Raises
    ------
    ValueError
        If the text is invalid; names the part.
    """
    parts = text.split(":")
    if not 2 <= len(parts) <= 2 + len(_WORDS):
        raise ValueError(f"{text!r} has {len(parts)} parts between colons")
    row: dict[str, Any] = {"name": text, "hidden": "relu", "optimizer": "sgd"}
    row["sizes"] = [_size(n, "sizes") for n in parts[0].split("-")]
    row["batch"] = _size(parts[1], "batch")
    if len(row["sizes"]) < 2:
        raise ValueError(f"sizes must be those of inputs and outputs at least, got {parts[0]}")
    for (name, known), word in zip(_WORDS.items(), parts[2:], strict=False):
        row[name] = check_choice(word, name, known)
    if row["sizes"][-1] < 2 and row.get("loss") != "l2":
        raise ValueError("softmax_cross_entropy needs at least 2 outputs; one is for the loss l2, "
                         f"as in {parts[0]}:{parts[1]}:{row['hidden']}:{row['optimizer']}:l2")
    return row
