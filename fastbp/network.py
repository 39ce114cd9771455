"""The chain of layers closed by a loss.

A network owns four flat buffers: parameters, gradients, optimizer state, workspace.
Every tensor is a view into them. Two ways run it and give the same numbers to rounding:
the textbook loop, layer by layer in Python, and the compiled engine over the op table.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from . import engine
from ._jit import thread_count
from ._validation import Array, as_matrix, check_bool, check_dtype, check_size, same_length
from .kernels.team import launch
from .kernels.tile import pad
from .layers import Layer
from .losses import Loss
from .losses import get as get_loss
from .plan import Plan, aligned_zeros, make_plan
from .summary import table

if TYPE_CHECKING:
    from .training import History

#: Rows that one pass of predict, loss or loss_and_grad holds in the workspace.
CHUNK_ROWS = 4096
_NO_TARGET = {np.dtype(t): np.empty((0, 0), t) for t in ("f4", "f8")}
_NO_WEIGHTS = {np.dtype(t): np.empty(0, t) for t in ("f4", "f8")}
_NO_LABELS = np.empty(0, np.int64)


class Network:
    """A feed-forward network: layers in order, a loss on top.

    Parameters
    ----------
    layers : sequence of Layer
        From input to output; sizes must chain. A layer serves one network.
    loss : Loss or str
        A loss, or the name of one with default settings. A last ``Softmax`` under
        ``CrossEntropyLoss`` and a last ``Sigmoid`` under ``BinaryCrossEntropyLoss`` are
        computed together with it.
    dtype : {"float32", "float64"}
        Of all numbers in the network.
    seed : int
        For initial weights and shuffling, at least 0.
    allow_nonfinite : bool
        Let NaN and infinity in as input.

    Attributes
    ----------
    params, grads : ndarray, 1-D
        All parameters and their gradients. Tensors start on 64-byte boundaries with rows
        padded to vectors; pads stay zero. ``named_parameters`` shows the tensors.
    n_params : int
        Number of parameters, pads not counted.

    Raises
    ------
    TypeError, ValueError
        For what is no layer or loss, sizes that do not chain, a layer used twice.

    Examples
    --------
    >>> from fastbp import Dense, L2Loss, Network, Tanh
    >>> Network([Dense(2, 8), Tanh(), Dense(8, 1)], loss=L2Loss())
    Network(2 -> Dense(2, 8) -> Tanh() -> Dense(8, 1), loss=L2Loss(), dtype='float32')
    """

    def __init__(self, layers: Sequence[Layer], loss: Loss | str, dtype: Any = "float32",
                 seed: int = 0, *, allow_nonfinite: bool = False) -> None:
        self.layers = _check_layers(layers)
        self.loss_function = get_loss(loss)
        self.dtype = check_dtype(dtype)
        self.seed = check_size(seed, "seed", 0)
        self.allow_nonfinite = check_bool(allow_nonfinite, "allow_nonfinite")
        self.n_in = int(self.layers[0].n_in)  # type: ignore[arg-type]
        width = self.n_in
        for layer in self.layers:
            width = layer.connect(width)
        self.n_out = width
        fused = self.loss_function.fuse(self.layers[-1]) if len(self.layers) > 1 else None
        self._head_loss = fused or self.loss_function
        self._n_train = len(self.layers) - (fused is not None)
        self._allocate()
        self._plans: dict[tuple[int, int], Plan] = {}
        self._one_row = 1, self.n_in
        self._row_plan: tuple[Array, int] | None = None

    def _allocate(self) -> None:
        self._offsets, at = [], 0
        for layer in self.layers:
            self._offsets.append(at)
            at += pad(layer.layout(self.dtype)[1], self.dtype)
        self.params = aligned_zeros(at, self.dtype)
        self.grads = aligned_zeros(at, self.dtype)
        streams = np.random.SeedSequence(self.seed).spawn(len(self.layers))
        for k, (layer, offset, stream) in enumerate(zip(self.layers, self._offsets, streams,
                                                        strict=True)):
            layer.index = k
            part = slice(offset, offset + layer.layout(self.dtype)[1])
            drawn = layer.initialized
            layer.bind(self.params[part], self.grads[part])
            layer._owner = self
            if not drawn:
                layer.initialize(np.random.default_rng(stream))

    # -- what it is -------------------------------------------------------------------

    @property
    def n_params(self) -> int:
        """Number of parameters, pads not counted."""
        return sum(layer.n_params for layer in self.layers)

    @cached_property
    def compiled(self) -> bool:
        """Whether the engine knows every part; else the textbook loop runs."""
        return (self._head_loss.compiled
                and all(layer.kernels is not None for layer in self.layers))

    def named_parameters(self) -> dict[str, Array]:
        """Parameters as writable views by name: "0.weight" (n_out, n_in), "0.bias", ..."""
        return {f"{i}.{name}": value for i, layer in enumerate(self.layers)
                for name, value in layer.parameters().items()}

    def summary(self) -> str:
        """A table of the layers: output size and number of parameters."""
        return table(self)

    def __repr__(self) -> str:
        chain = " -> ".join([str(self.n_in), *map(repr, self.layers)])
        return f"Network({chain}, loss={self.loss_function!r}, dtype={self.dtype.name!r})"

    # -- running it -------------------------------------------------------------------

    def plan(self, capacity: int, n_threads: int | None = None) -> Plan:
        """The op table and workspace for batches of up to ``capacity`` rows."""
        key = capacity, thread_count(n_threads)
        found = self._plans.get(key)
        if found is None:
            found = make_plan(self.layers, self._n_train, self._head_loss, self._offsets,
                              self.dtype, *key)
            while len(self._plans) >= 4:
                del self._plans[next(iter(self._plans))]
            self._plans[key] = found
        return found

    def check_input(self, X: Any, name: str = "X") -> Array:
        """``X`` as the engine takes it, or an error that says what is wrong with it."""
        return as_matrix(X, name, self.dtype, self.n_in, allow_nonfinite=self.allow_nonfinite)

    def check_target(self, T: Any, name: str = "T") -> Array:
        """``T`` as class indices or rows of numbers, or an error that says what is wrong."""
        return self.loss_function.check_target(T, self.n_out, self.dtype, name,
                                               allow_nonfinite=self.allow_nonfinite)

    def _check_pair(self, X: Any, T: Any) -> tuple[Array, Array]:
        X, T = self.check_input(X), self.check_target(T)
        same_length(X, T)
        return X, T

    def split_target(self, T: Array) -> tuple[Array, Array]:
        """(rows, labels) for the engine; the one that is not given is empty."""
        return (_NO_TARGET[self.dtype], T) if T.ndim == 1 else (T, _NO_LABELS)

    def predict(self, X: Any) -> Array:
        """Output of the last layer.

        Parameters
        ----------
        X : array_like, shape (b, n_in)

        Returns
        -------
        ndarray, shape (b, n_out)

        Raises
        ------
        ValueError, TypeError
            If X is not a finite matrix of n_in columns.
        """
        if type(X) is np.ndarray and X.shape == self._one_row and X.dtype is self.dtype:
            flags = X.flags
            if flags.c_contiguous and flags.writeable and self.compiled:
                return self._predict_row(X)
        X = self.check_input(X)
        if not self.compiled:
            return self._forward(X, len(self.layers))
        Y = np.empty((len(X), self.n_out), self.dtype)
        for rows, plan in self._chunks(len(X)):
            self._evaluate(engine.PREDICT, plan, X, Y, rows, 1.0)
            ld, at = int(plan.ops["ld_out"][-1]), int(plan.ops["y"][-1])
            count = rows.stop - rows.start
            out = plan.workspace[at:at + count * ld].reshape(count, ld)
            Y[rows] = out[:, :self.n_out]
        return Y

    def _predict_row(self, X: Array) -> Array:
        """The short way for one row that needs no conversion: microseconds count here."""
        if self._row_plan is None:
            plan = self.plan(1, 1)
            self._row_plan = plan.ops, int(plan.ops["y"][-1] + plan.ops["ld_out"][-1])
        ops, size = self._row_plan
        Y = np.empty((1, self.n_out), self.dtype)
        if not engine.predict_row(ops, self.params, np.empty(size, self.dtype), X, Y):
            self.check_input(X)  # says what is wrong, unless it is allowed
        return Y

    def predict_proba(self, X: Any) -> Array:
        """Probabilities (b, n_out) of a network whose loss is a cross-entropy.

        Raises
        ------
        ValueError
            If the loss makes no probabilities of the output, or X is unfit.
        """
        link = self.loss_function.probabilities
        if link is None:
            raise ValueError(f"predict_proba needs a cross-entropy loss, not "
                             f"{self.loss_function!r}")
        Y = self.predict(X)
        if link == "identity":
            return Y
        from .layers import Sigmoid, Softmax

        return (Softmax() if link == "softmax" else Sigmoid()).forward(Y)

    def predict_classes(self, X: Any) -> Array:
        """Class indices (b,): the likeliest output, or output > 1/2 where there is one.

        Raises
        ------
        ValueError
            As ``predict_proba``.
        """
        P = self.predict_proba(X)
        return (P[:, 0] > 0.5).astype(np.int64) if self.n_out == 1 else P.argmax(axis=1)

    def loss(self, X: Any, T: Any) -> float:
        """The error E of targets T given X: the number that training descends.

        Parameters
        ----------
        X : array_like, shape (b, n_in)
        T : array_like, shape (b, n_out), or class indices (b,) where the loss takes them

        Raises
        ------
        ValueError, TypeError
            For unfit X or T, or lengths that differ.
        """
        X, T = self._check_pair(X, T)
        if not self.compiled:
            return self._head_loss.forward(self._forward(X, self._n_train), T)
        total = 0.0
        for rows, plan in self._chunks(len(X)):
            total += self._evaluate(engine.ERROR, plan, X, T, rows, self._scale(len(X)))
        return total

    def loss_and_grad(self, X: Any, T: Any) -> tuple[float, Array]:
        """The error E and its gradient, flat and laid out as ``params``.

        Also left in ``grads``; what is returned is a copy.

        Raises
        ------
        ValueError, TypeError
            As ``loss``.
        """
        X, T = self._check_pair(X, T)
        if not self.compiled:
            return self.textbook(X, T), self.grads.copy()
        total, summed = 0.0, np.zeros_like(self.params)
        for rows, plan in self._chunks(len(X)):
            total += self._evaluate(engine.GRADIENT, plan, X, T, rows, self._scale(len(X)))
            summed += self.grads
        self.grads[...] = summed
        return total, summed

    def textbook(self, X: Any, T: Any) -> float:
        """The same step as the text writes it: layer by layer, in Python.

        Returns E and leaves the gradients in the layers. The engine's oracle, and the way
        that networks with layers of the user's own run.
        """
        X, T = self._check_pair(X, T)
        error = self._head_loss.forward(self._forward(X, self._n_train), T)
        delta = self._head_loss.backward()
        for layer in reversed(self.layers[:self._n_train]):
            delta = layer.backward(delta)
        return error

    def _forward(self, X: Array, n_layers: int) -> Array:
        for layer in self.layers[:n_layers]:
            X = layer.forward(X)
        return X

    def _evaluate(self, mode: int, plan: Plan, X: Array, T: Array, rows: slice,
                  scale: float) -> float:
        return launch(engine.evaluate, plan.n_threads, mode, np.uint64(0), plan.one_pass,
                      plan.ops, plan.tasks, plan.head, self.params, self.grads, plan.workspace,
                      X, *self.split_target(T), _NO_WEIGHTS[self.dtype],
                      np.arange(rows.start, rows.stop), scale)

    def _scale(self, rows: int) -> float:
        return 1.0 / rows if self._head_loss.reduction == "mean" else 1.0

    def _chunks(self, n: int) -> list[tuple[slice, Plan]]:
        plan = self.plan(min(n, CHUNK_ROWS))
        size = plan.capacity
        return [(slice(i, min(i + size, n)), plan) for i in range(0, n, size)]

    # -- training and files -----------------------------------------------------------

    def fit(self, X: Any, T: Any, *, epochs: int = 10, batch_size: int = 32,
            optimizer: Any = "adam", shuffle: bool = True, validation_data: Any = None,
            callbacks: Any = (), verbose: int = 0, n_threads: int | None = None) -> History:
        """Train; see ``fastbp.training.fit``."""
        from .training import fit

        return fit(self, X, T, epochs=epochs, batch_size=batch_size, optimizer=optimizer,
                   shuffle=shuffle, validation_data=validation_data, callbacks=callbacks,
                   verbose=verbose, n_threads=n_threads)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write layers, loss and parameters to one safetensors file; see ``fastbp.load``."""
        from .io import save

        save(self, path)


def _check_layers(layers: Any) -> list[Layer]:
    if isinstance(layers, Layer):
        raise TypeError(f"layers must be a sequence of layers, got {layers!r}")
    layers = list(layers)
    if not layers:
        raise ValueError("layers is empty: a network needs at least one")
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"layers[{i}] must be a Layer, got {layer!r}")
        if layer._owner is not None or any(layer is other for other in layers[:i]):
            raise ValueError(f"layers[{i}], {layer!r}, is in a network already")
    if layers[0].n_in is None:
        raise ValueError(f"layers[0], {layers[0]!r}, must know its number of inputs; "
                         "start with a Dense layer")
    width = layers[0].n_in
    for i, layer in enumerate(layers):  # before anything is changed
        if layer.n_in is not None and layer.n_in != width:
            raise ValueError(f"layers[{i}], {layer!r}, takes {layer.n_in} inputs, "
                             f"the layer below gives {width}")
        width = width if layer.n_out is None else layer.n_out
    return layers
