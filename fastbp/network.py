"""The chain of layers closed by a loss.

A network owns two flat buffers, parameters and gradients: every tensor is a view into them.
Two ways run it and give the same numbers to rounding: the textbook loop, layer by layer in
Python, and the compiled engine over the op table, in the workspace of a plan.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import cached_property
from threading import get_ident
from typing import TYPE_CHECKING, Any

import numpy as np

from . import engine
from ._jit import thread_count
from ._validation import (
    Array,
    as_matrix,
    as_weights,
    check_constants,
    check_dtype,
    same_length,
)
from .chain import check_layers
from .doors import Doors
from .kernels.launch import launch
from .kernels.vectors import aligned_zeros, pad
from .layers import Layer
from .losses import Loss
from .losses import get as get_loss
from .losses.base import error_of
from .outputs import Outputs
from .plan import Plan, make_plan
from .portable import Portable
from .table import has_kernels
from .textbook import Textbook
from .trainable import Trainable

if TYPE_CHECKING:
    from .run import Run

#: Rows in the workspace at a time in predict, loss and loss_and_grad.
CHUNK_ROWS = 4096
#: Plans that a network keeps, with their workspaces.
_KEPT_PLANS = 5
_NO_TARGET = {np.dtype(t): np.empty((0, 0), t) for t in ("f4", "f8")}
_NO_WEIGHTS = {np.dtype(t): np.empty(0, t) for t in ("f4", "f8")}
_NO_LABELS = np.empty(0, np.int64)


class Network(Doors, Outputs, Portable, Textbook, Trainable):
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
        For initial weights and shuffling, at least 0 and below 2**63.
    allow_nonfinite : bool
        Accept NaN and infinity as input; matrix tiles are then for "medium" products alone.
    matmul_precision : {"highest", "high", "medium"}
        Of large products of float32 in training, on processors with matrix tiles (AMX): "high"
        rounds their factors to 16 bits, "medium" to the 8 of bfloat16, which is faster. Sums
        are float32. It can be changed between two fits.

    Attributes
    ----------
    layers : tuple of Layer
        Fixed, as ``loss_function`` is. To start another network from what this one has learnt,
        use ``copy.copy(layer)``: it has a copy of the parameters and is in no network.
    params, grads : ndarray, 1-D
        All parameters and their gradients. Tensors start on 64-byte boundaries with rows
        padded to vectors. Padding is zero, and must stay so when all of ``params`` is written:
        kernels read some of it. ``named_parameters`` shows the tensors.
    n_params : int
        Number of parameters, padding not counted.
    last_run : Run or None
        Where the last fit ended: optimizer state, step and epoch counts. In a copy that a
        callback makes, or pickles, amid a fit: where that fit stood, once it has taken a step.

    Raises
    ------
    TypeError, ValueError
        For anything but a layer or loss, sizes that do not chain, a layer used twice, an
        invalid dtype, seed or precision, or a setting that the dtype would make 0 or infinite.

    Examples
    --------
    >>> from fastbp import Dense, L2Loss, Network, Tanh
    >>> Network([Dense(2, 8), Tanh(), Dense(8, 1)], loss=L2Loss())
    Network(2 -> Dense(2, 8) -> Tanh() -> Dense(8, 1), loss=L2Loss(), dtype='float32')
    """

    def __init__(self, layers: Sequence[Layer], loss: Loss | str, dtype: Any = "float32",
                 seed: int = 0, *, allow_nonfinite: bool = False,
                 matmul_precision: str = "highest") -> None:
        self.layers = check_layers(layers)
        self.loss_function = get_loss(loss)
        self.dtype = check_dtype(dtype)
        self.seed, self.allow_nonfinite = seed, allow_nonfinite
        self.matmul_precision = matmul_precision
        self.n_in = width = next(int(x.n_in) for x in self.layers if x.n_in is not None)
        for layer in self.layers:
            width = layer.connect(width)
        self.n_out = width
        self.check_constants()
        self._fuse()
        self._allocate()
        self._plans: dict[Any, Plan] = {}
        self._one_row = 1, self.n_in
        self._row_plan: tuple[Array, int] | None = None
        self.last_run: Run | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "loss":  # a method, which would go unnoticed until it is called
            raise AttributeError("the loss of a network is its loss_function, which cannot be "
                                 "replaced: make a new one, of copy.copy(layer)")
        super().__setattr__(name, value)

    def _allocate(self) -> None:
        self._offsets, at = [], 0
        for layer in self.layers:
            self._offsets.append(at)
            at += pad(layer.layout(self.dtype)[1], self.dtype)
        self.params = aligned_zeros(at, self.dtype)
        self.grads = aligned_zeros(at, self.dtype)
        streams = np.random.SeedSequence(self.seed).spawn(len(self.layers))
        before = [dict(vars(layer)) for layer in self.layers]
        try:
            for k, layer in enumerate(self.layers):
                layer.index, drawn, offset = k, layer.initialized, self._offsets[k]
                part = slice(offset, offset + layer.layout(self.dtype)[1])
                layer.bind(self.params[part], self.grads[part])
                layer._owner = weakref.ref(self)
                if not drawn:
                    layer.initialize(np.random.default_rng(streams[k]))
        except BaseException:  # of a user's initializer, say: leave the layers as they were
            for layer, kept in zip(self.layers, before, strict=True):
                vars(layer).clear()
                vars(layer).update(kept)
            raise

    # -- what it is -------------------------------------------------------------------

    @cached_property
    def n_params(self) -> int:
        """Number of parameters, padding not counted."""
        return sum(layer.n_params for layer in self.layers)

    @cached_property
    def compiled(self) -> bool:
        """Whether every part has compiled kernels; else the textbook loop runs."""
        return (self._head_loss.compiled
                and all(has_kernels(type(layer), "kernels", "forward", "backward")
                        for layer in self.layers))

    def named_parameters(self) -> dict[str, Array]:
        """Parameters as writable views by name: "0.weight" (n_out, n_in), "0.bias", ..."""
        return {f"{i}.{name}": value for i, layer in enumerate(self.layers)
                for name, value in layer.parameters().items()}

    def __repr__(self) -> str:
        chain = " -> ".join([str(self.n_in), *map(repr, self.layers)])
        more = self.matmul_precision
        more = "" if more == "highest" else f", matmul_precision={more!r}"
        return f"Network({chain}, loss={self.loss_function!r}, dtype={self.dtype.name!r}{more})"

    # -- running it -------------------------------------------------------------------

    def plan(self, capacity: int, n_threads: int | None = None, training: bool = False,
             carried: int = 0) -> Plan:
        """The op table and workspace for batches of up to ``capacity`` rows.

        Each calling thread has its own. ``training`` leaves out what only predictions run.
        ``carried``: see ``make_plan``.
        """
        key = self._plan_key(capacity, thread_count(n_threads), training, carried)
        found = self._plans.get(key)
        if found is None:
            n = self._n_train if training else len(self.layers)
            found = make_plan(self.layers[:n], self._n_train, self._head_loss, self._offsets[:n],
                              self.dtype, *key[:5])
            self._keep_plan(key, found)
        return found

    def _keep_plan(self, key: Any, plan: Plan) -> None:
        for old in list(self._plans)[:1 - _KEPT_PLANS]:
            self._plans.pop(old, None)
        self._plans[key] = plan

    def _plan_key(self, capacity: int, n_threads: int, training: bool, carried: int) -> Any:
        """Key of a plan; settings of layers and loss, which may change, are part of the plan."""
        return (capacity, n_threads, training, carried if n_threads > 1 else 0,
                self._tile_precision, get_ident(),
                self._head_loss.constants(),
                *[(x.constants(), not training or x.trainable) for x in self.layers])

    def check_constants(self) -> None:
        """Refuse settings of layers and loss that the dtype would make 0 or infinite."""
        for part in (*self.layers, self.loss_function):
            check_constants(part, self.dtype)

    def check_input(self, X: Any, name: str = "X") -> Array:
        """``X`` in the form that the engine takes, or an error that says what is wrong with it."""
        return as_matrix(self.layers[0].as_rows(X, name), name, self.dtype, self.n_in,
                         allow_nonfinite=self.allow_nonfinite)

    def check_target(self, T: Any, name: str = "T") -> Array:
        """``T`` as class indices or rows of numbers, or an error that says what is wrong."""
        return self.loss_function.check_target(T, self.n_out, self.dtype, name,
                                               allow_nonfinite=self.allow_nonfinite)

    def _check_pair(self, X: Any, T: Any) -> tuple[Array, Array]:
        X, T = self.check_input(X), self.check_target(T)
        same_length(X, T)
        return X, T

    def split_target(self, T: Array) -> tuple[Array, Array]:
        """(rows, labels) for the engine; one of the two is empty."""
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
        return self._predict(X)

    def _predict(self, X: Any, n_threads: int | None = None) -> Array:
        X = self.check_input(X)
        if not self.compiled:
            return self.forward(X)
        Y = np.empty((len(X), self.n_out), self.dtype)
        for rows, plan in self._chunks(len(X), n_threads):
            self._evaluate(engine.PREDICT, plan, X, Y, rows, 1.0)
            Y[rows] = plan.output(rows.stop - rows.start)
        return Y

    def _predict_row(self, X: Array) -> Array:
        """Short path for one row that needs no conversion: microseconds count here."""
        if self._row_plan is None:
            plan = self.plan(1, 1)
            last = int(plan.ops["y"][-1] + plan.ops["ld_out"][-1])
            alone = (plan.ops["extra"] < 0).all()
            self._row_plan = plan.ops, last if alone else plan.workspace.size
        ops, size = self._row_plan
        Y = np.empty((1, self.n_out), self.dtype)
        if not engine.predict_row(ops, self.params, np.empty(size, self.dtype), X, Y):
            self.check_input(X)  # raises, unless allow_nonfinite
        return Y

    def loss(self, X: Any, T: Any, *, sample_weight: Any = None) -> float:
        """The error E of targets T given X: the number that training descends.

        Parameters
        ----------
        X : array_like, shape (b, n_in)
        T : array_like, shape (b, n_out), or class indices (b,) where the loss takes them
        sample_weight : array_like, shape (b,), optional
            Weights of the rows; the mean is weighted.

        Raises
        ------
        ValueError, TypeError
            For invalid X, T or weights, or lengths that differ.
        """
        X, T = self._check_pair(X, T)
        weights = as_weights(sample_weight, len(X), self.dtype)
        if not self.compiled:
            return error_of(self._head_loss, self.forward(X, self._n_train), T, weights)
        total, scale = 0.0, self._scale(len(X), weights)
        for rows, plan in self._chunks(len(X)):
            total += self._evaluate(engine.ERROR, plan, X, T, rows, scale, weights)
        return total

    def loss_and_grad(self, X: Any, T: Any, *,
                      sample_weight: Any = None) -> tuple[float, Array]:
        """The error E and its gradient, flat and in the layout of ``params``.

        The gradient is also left in ``grads``; a copy is returned. It is of all layers, also of
        those that are not ``trainable``: ``untrained()`` is a mask of what steps of your own must
        leave alone. Dropout is off and normalisation uses its running statistics, as in
        ``predict``.

        Raises
        ------
        ValueError, TypeError
            As ``loss``.
        """
        X, T = self._check_pair(X, T)
        error = self._gradient(X, T, as_weights(sample_weight, len(X), self.dtype))
        return error, self.grads.copy()

    def _gradient(self, X: Array, T: Array, weights: Array | None,
                  n_threads: int | None = None) -> float:
        """Error of checked rows; leaves the gradient in ``grads``."""
        if not self.compiled:
            return self.textbook(X, T, sample_weight=weights)
        total, scale, summed = 0.0, self._scale(len(X), weights), np.zeros_like(self.grads)
        for rows, plan in self._chunks(len(X), n_threads):
            total += self._evaluate(engine.GRADIENT, plan, X, T, rows, scale, weights)
            summed += self.grads
        self.grads[...] = summed
        return total

    def _evaluate(self, mode: np.int64, plan: Plan, X: Array, T: Array, rows: slice,
                  scale: float, weights: Array | None = None) -> float:
        own = _NO_WEIGHTS[self.dtype] if weights is None else weights
        source = np.arange(rows.start, rows.stop, dtype=np.int64)
        what = source.size, 3 if mode == engine.GRADIENT else 1
        return launch(engine.evaluate, plan.team(*what), plan.work_of(*what), mode, np.uint64(0),
                      plan.one_pass, plan.ops, plan.tasks, plan.head, self.params, self.grads,
                      plan.workspace, X, *self.split_target(T), own, source, scale)

    def _scale(self, rows: int, weights: Array | None = None) -> float:
        if self._head_loss.reduction != "mean":
            return 1.0
        return 1.0 / (rows if weights is None else float(weights.sum(dtype=np.float64)))

    def _chunks(self, n: int, n_threads: int | None = None) -> list[tuple[slice, Plan]]:
        plan = self.plan(min(n, CHUNK_ROWS), n_threads)
        size = plan.capacity
        return [(slice(i, min(i + size, n)), plan) for i in range(0, n, size)]
