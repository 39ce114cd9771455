"""A loss of the user's own, compiled into the engine: one function over one row.

The function becomes a kernel whose address goes into the op table, so the engine that runs
it is the one that was compiled before.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from .._jit import CompileError, compile_user, uncached_kernel
from .._validation import check_bool, check_choice
from ..table import new_address
from .base import Loss

#: So many functions used last keep their kernels; a loss holds its own. One kept by its function
#: would be kept for ever: Numba holds the functions of all kernels there are.
_KEPT = 64


@functools.lru_cache(_KEPT)
def _kernel_of(function: Callable[..., Any]) -> Any:
    row = compile_user(function)

    @uncached_kernel
    def custom(h, x, t, weight, error, dx):
        """One block; if ``row`` raises, what it has not written is NaN."""
        n, ld = h["n"], h["ld"]
        for r in range(weight.size):
            error[r] = np.nan
        for i in range(dx.size):
            dx[i] = np.nan
        for r in range(weight.size):
            w, lo = weight[r], r * ld
            total = row(x[lo:lo + n], t[lo:lo + n], dx[lo:lo + n])
            for i in range(lo, lo + n):
                dx[i] = w * dx[i]
            for i in range(lo + n, lo + ld):
                dx[i] = 0
            error[r] = w * total

    return custom


_address = functools.lru_cache(2 * _KEPT)(new_address)  # of two dtypes


def _check_function(function: Any) -> None:
    plain = getattr(function, "py_func", function)
    if not inspect.isfunction(plain):
        raise TypeError(f"function must be a Python or numba.njit function, got {function!r}")
    if getattr(function, "targetoptions", {}).get("parallel"):
        raise TypeError(f"function must not be compiled with parallel=True: {plain.__qualname__} "
                        "is called within threads")
    try:
        inspect.signature(plain).bind(None, None, None)
    except TypeError:
        raise TypeError(f"function must take (x, t, dx), got {plain.__qualname__}"
                        f"{inspect.signature(plain)}") from None


class CustomLoss(Loss):
    """A loss given by a function that Numba compiles.

    Parameters
    ----------
    function : callable
        ``function(x, t, dx)`` with one row each of outputs, targets and gradient (1-D, n
        numbers): returns E of the row and writes dE/dx into all of dx; it must not change x
        or t. A plain Python function that Numba can compile, or one compiled by
        ``numba.njit``. If it raises, E is NaN.
    probabilities : {None, "softmax", "sigmoid", "identity"}
        How outputs become probabilities, for ``predict_proba`` and ``predict_classes``.
    labels : bool
        Whether 1-D targets are class indices; the function sees them as rows of 0 and 1.
    reduction : {"mean", "sum"}
        Over the rows of a batch.

    Raises
    ------
    TypeError
        If the function does not take three arguments, does not compile, or does not return
        a number; if ``labels`` is no bool; for another reduction.
    ValueError
        For other ``probabilities`` or another reduction.

    Notes
    -----
    A network with such a loss cannot be saved: no file holds a function. To run without
    Numba, derive a class from ``Loss`` instead. A function is compiled once for all its losses,
    unless many others were used since. Numba never frees machine code, some megabytes for each
    function: a loop should use one function again, not define one each time.

    Examples
    --------
    >>> import fastbp
    >>> def quartic(x, t, dx):
    ...     error = 0.0
    ...     for i in range(x.size):
    ...         d = x[i] - t[i]
    ...         error += d**4
    ...         dx[i] = 4 * d**3
    ...     return error
    >>> loss = fastbp.CustomLoss(quartic)
    >>> loss.forward([[1.0, 3.0]], [[0.0, 1.0]])
    17.0
    >>> loss.backward()
    array([[ 4., 32.]])
    """

    _config_names = ("function",)
    _config_defaults = {"probabilities": None, "labels": False, **Loss._config_defaults}

    def __init__(self, function: Callable[..., Any], probabilities: str | None = None,
                 labels: bool = False, *, reduction: str = "mean") -> None:
        super().__init__(reduction)
        _check_function(function)
        if probabilities is not None:
            check_choice(probabilities, "probabilities", ("softmax", "sigmoid", "identity"))
        self.function, self.probabilities = function, probabilities
        self.labels = check_bool(labels, "labels")
        self._kernel = _kernel_of(function)
        self.address(np.dtype(np.float64))  # a function that does not compile is reported here

    @property
    def compiled(self) -> bool:
        """Whether the function does all the work: no subclass overrides its methods."""
        kind = type(self)
        return kind.forward is Loss.forward and kind.backward is Loss.backward

    def address(self, dtype: np.dtype[Any]) -> int:
        """Address of the kernel for ``dtype``."""
        try:
            return _address("loss", self._kernel, dtype)
        except CompileError as error:
            raise TypeError(f"{self!r}: the function must compile for rows of {dtype.name} and "
                            f"return a number; Numba says\n{error}") from error

    def __repr__(self) -> str:
        plain = getattr(self.function, "py_func", self.function)
        rest = [f"{k}={v!r}" for k, v in self.config().items() if k != "function"]
        return f"CustomLoss({', '.join([plain.__qualname__, *rest])})"
