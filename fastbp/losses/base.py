"""The generic loss: sits on top, takes prediction and target, starts the backward pass.

The error of a batch is sum_r w_r E_r with w_r = 1/b (mean) or 1 (sum): one kernel gives
both the reported value and the gradient that is descended.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from .._configured import Configured
from .._jit import driver, prange
from .._typing import overridable
from .._validation import (
    Array,
    as_array,
    as_labels,
    as_matrix,
    as_weights,
    check_choice,
    check_constants,
    same_length,
)
from ..layers.activations import Sigmoid
from ..layers.base import Layer, _float_dtype
from ..layers.drivers import ROW_BLOCK
from ..layers.softmax import Softmax
from ..table import HEAD, address, call_loss, has_kernels


@driver
def loss_rows(head, x, t, weight, error, dx):
    n = head[0]["n"]
    for block in prange((weight.size + ROW_BLOCK - 1) // ROW_BLOCK):
        lo, hi = block * ROW_BLOCK, min((block + 1) * ROW_BLOCK, weight.size)
        call_loss(head[0]["loss"], (head[0], x[lo * n:hi * n], t[lo * n:hi * n], weight[lo:hi],
                                    error[lo:hi], dx[lo * n:hi * n]))


class Loss(Configured):
    """Base of all losses. A subclass in NumPy alone is trained by the textbook loop.

    Parameters
    ----------
    reduction : {"mean", "sum"}
        Over the rows of a batch.

    Attributes
    ----------
    kernel : compiled function or None
        Block kernel of role "loss" (see ``table``); None for losses in Python only.
    labels : bool
        Whether a 1-D target holds class indices.
    fractions : bool
        Whether rows of targets must lie in [0, 1].
    probabilities : str or None
        "softmax" or "sigmoid" if that turns predictions into probabilities, "identity" if
        they are probabilities, None for regression.
    threshold : float
        A single output above it is the second class; its probability, where there is one.
    changes_target : bool
        Whether the kernel overwrites the targets; it then gets a copy of its own.

    Raises
    ------
    ValueError, TypeError
        For another reduction.
    """

    _config_defaults: ClassVar[Mapping[str, Any]] = {"reduction": "mean"}
    kernel: ClassVar[Any] = None
    labels: bool = False
    fractions: bool = False
    probabilities: str | None = None
    threshold: float = 0.5
    changes_target: bool = False
    _dx: Array | None = None

    def __init__(self, reduction: str = "mean") -> None:
        try:
            self.reduction = reduction
        except TypeError as error:  # QuantileLoss(0.9)
            taken = inspect.signature(type(self)).parameters.values()
            own = [p.name for p in taken if p.kind is p.KEYWORD_ONLY and p.name != "reduction"]
            if not own:
                raise
            raise TypeError(f"{error}; {type(self).__name__} takes {', '.join(own)} by name"
                            ) from None

    @property
    def reduction(self) -> str:
        """"mean", unless set: a user's subclass need not call ``__init__``."""
        found: str = vars(self).get("reduction", "mean")
        return found

    @reduction.setter
    def reduction(self, value: str) -> None:
        vars(self)["reduction"] = check_choice(value, "reduction", ("mean", "sum"))

    def address(self, dtype: np.dtype[Any]) -> int:
        """Address of the kernel for ``dtype``."""
        return address("loss", type(self).kernel, dtype)

    @property
    def compiled(self) -> bool:
        """Whether there is a kernel for the engine."""
        return has_kernels(type(self), "kernel", "forward", "backward")

    @property
    def classes(self) -> bool:
        """Whether outputs stand for classes."""
        return self.labels or self.probabilities is not None

    def expected(self, Y: Array) -> Array:
        """The expected targets, given outputs Y: probabilities where there are any."""
        if self.probabilities in (None, "identity"):
            return Y
        return (Softmax() if self.probabilities == "softmax" else Sigmoid()).forward(Y)

    def constants(self) -> tuple[float, float]:
        """The constants ``a`` and ``b`` of the head, for the kernel."""
        return 0.0, 0.0

    def fuse(self, layer: Layer) -> Loss | None:
        """The loss that does the work of ``layer`` and this one, or None."""
        return None

    def check_target(self, T: Any, n_out: int, dtype: np.dtype[Any], name: str = "T", *,
                     allow_nonfinite: bool = False) -> Array:
        """Targets as int64 class indices (b,) or as rows (b, n_out) of ``dtype``.

        Raises
        ------
        ValueError, TypeError
            For a wrong shape, a label out of range, non-finite or non-numeric values.
        """
        array = as_array(T, name)
        if self.labels and n_out > 1 and (array.ndim == 1 or array.shape[1:] == (1,)):
            return as_labels(T, name, n_out)
        if array.ndim == 1 and n_out == 1:
            array = array[:, None]
        rows = as_matrix(array, name, dtype, n_out, allow_nonfinite=allow_nonfinite)
        if self.fractions and (bad := (rows < 0) | (rows > 1)).any():
            raise ValueError(f"{name} must be in [0, 1], got {rows[bad][0]}")
        if self.labels and self.probabilities and (bad := rows < 0).any():
            raise ValueError(f"{name} must be at least 0, got {rows[bad][0]}")
        return rows

    @overridable
    def forward(self, X: Any, T: Any, *, sample_weight: Any = None,
                allow_nonfinite: bool = True) -> float:
        """The error E of predictions X (b, n) against targets T; keeps the gradient.

        Parameters
        ----------
        X : array_like, shape (b, n)
        T : array_like, shape (b, n), or class indices (b,) where the loss takes them
        sample_weight : array_like, shape (b,), optional
            Weight of each row, at least 0; the mean is then sum(w E) / sum(w), 0 if all w are 0.
        allow_nonfinite : bool
            False rejects NaN and infinity in X.

        Returns
        -------
        float

        Raises
        ------
        ValueError, TypeError
            For mismatched shapes, labels out of range, weights below 0 or not finite, or what is
            not numbers.
        """
        if not self.address(_float_dtype(X)):
            raise NotImplementedError(f"{type(self).__name__}.forward")
        X = as_matrix(X, "X", _float_dtype(X), allow_nonfinite=allow_nonfinite)
        n = X.shape[1]
        T = self.check_target(T, n, X.dtype, allow_nonfinite=allow_nonfinite)
        same_length(X, T)
        check_constants(self, X.dtype)
        weight = as_weights(sample_weight, len(X), X.dtype, zeros=True)
        if weight is None:
            weight = np.ones(len(X), X.dtype)
        if self.reduction == "mean":
            total = weight.sum(dtype=np.float64)
            weight = weight * X.dtype.type(1 / total if total > 0 else 0)
        error, dX = np.empty(len(X), X.dtype), np.empty_like(X)
        head = np.zeros(1, HEAD)
        head["loss"], head["n"], head["ld"] = self.address(X.dtype), n, n
        head["a"], head["b"] = self.constants()
        rows = one_hot(T, n, X.dtype)
        if self.changes_target and rows is T:
            rows = T.copy()
        loss_rows(head, X.ravel(), rows.ravel(), weight, error, dX.ravel())
        self._dx = dX
        return float(np.sum(error, dtype=np.float64))

    def backward(self) -> Array:
        """dX (b, n) at the predictions of the last ``forward``."""
        if self._dx is None:
            raise ValueError(f"{type(self).__name__}.backward needs a forward before it")
        return self._dx


def error_of(loss: Loss, X: Array, T: Array, weights: Array | None) -> float:
    """``loss.forward`` as a float, with weights if there are any: that of a user's loss need not
    take weights, and may return a NumPy scalar."""
    if weights is None:
        return float(loss.forward(X, T))
    check_weighs(loss, "sample_weight")
    return float(loss.forward(X, T, sample_weight=weights))


def check_weighs(loss: Loss, name: str) -> None:
    """Refuse weights, passed as argument ``name``, if a user's ``forward`` does not take them.

    Raises
    ------
    TypeError
        If it has no argument ``sample_weight``.
    """
    if type(loss).forward is Loss.forward:
        return  # looking up a signature is slow
    taken = inspect.signature(loss.forward).parameters.values()
    if not any(p.name == "sample_weight" or p.kind is p.VAR_KEYWORD for p in taken):
        raise TypeError(f"{name} needs a loss that takes weights: {type(loss).__name__}.forward "
                        "has no argument sample_weight")


def one_hot(T: Array, n: int, dtype: np.dtype[Any]) -> Array:
    """Class indices (b,) as rows of 0 and 1 (b, n); rows pass unchanged."""
    if T.ndim == 2:
        return T
    rows = np.zeros((len(T), n), dtype)
    rows[np.arange(len(T)), T] = 1
    return rows
