"""Checks of the parameters that both estimators have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .._validation import (
    PRECISIONS,
    Array,
    as_array,
    check_bool,
    check_choice,
    check_finite,
    check_real,
    check_size,
    check_threads,
)
from ..arguments import check_callbacks
from ..layers import Layer, ReLU, Sigmoid, Tanh

ACTIVATIONS: dict[str, type[Layer] | None] = {
    "identity": None, "logistic": Sigmoid, "tanh": Tanh, "relu": ReLU}


def check_parameters(own: Any) -> None:
    """Refuse invalid parameters.

    Raises
    ------
    ValueError, TypeError
        Names the first one.
    """
    check_choice(own.activation, "activation", ACTIVATIONS)
    check_choice(own.solver, "solver", ("adam", "lbfgs", "sgd"))
    check_choice(own.learning_rate, "learning_rate", ("adaptive", "constant", "invscaling"))
    for name in ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping",
                 "batch_norm"):
        check_bool(getattr(own, name), name)
    if not isinstance(own.verbose, (bool, np.bool_)):  # numbers are allowed, as in scikit-learn
        check_size(own.verbose, "verbose", 0)
    for name in ("max_iter", "max_fun"):
        check_size(getattr(own, name), name)
    for name in ("alpha", "power_t", "tol", "clip_norm"):
        check_real(getattr(own, name), name)
    for name in ("validation_fraction", "beta_1", "beta_2", "dropout", "average"):
        check_real(getattr(own, name), name, 0.0, 1.0)
    for name in ("learning_rate_init", "epsilon"):
        check_real(getattr(own, name), name, open_low=True)
    check_real(own.momentum, "momentum", 0.0, 1.0, open_high=False)
    if own.batch_size != "auto":
        size = check_size(own.batch_size, "batch_size")
        if size == 1 and own.batch_norm and own.solver != "lbfgs":
            raise ValueError("batch_size must be at least 2 for batch_norm=True, which takes mean "
                             "and variance from the rows of a batch, got 1")
    if own.n_iter_no_change != np.inf:
        check_size(own.n_iter_no_change, "n_iter_no_change")
    check_threads(own.n_threads)
    check_choice(own.dtype, "dtype", ("auto", "float32", "float64"))
    check_choice(own.matmul_precision, "matmul_precision", PRECISIONS)
    if not isinstance(own.callbacks, Sequence):  # an iterator would be empty in the next fit
        raise TypeError("callbacks must be a sequence of Callback objects, got "
                        f"{own.callbacks!r}")
    check_callbacks(own.callbacks)
    if own.solver == "lbfgs":
        for name in ("dropout", "batch_norm", "clip_norm", "average", "callbacks"):
            if value := getattr(own, name):
                raise ValueError(f"{name} goes with the solvers adam and sgd, not lbfgs; "
                                 f"got {value!r}")


def stochastic(estimator: Any) -> bool:
    """Whether the estimator has ``partial_fit``.

    Raises
    ------
    AttributeError
        If not.
    """
    if estimator.solver not in ("adam", "sgd"):
        raise AttributeError(f"partial_fit goes with the solvers adam and sgd, not "
                             f"{estimator.solver}")
    return True


def sizes_of(own: Any) -> list[int]:
    """Units of each hidden layer.

    Raises
    ------
    ValueError, TypeError
        For sizes that are not integers of at least 1.
    """
    sizes = own.hidden_layer_sizes
    sizes = list(sizes) if isinstance(sizes, Iterable) else [sizes]
    return [check_size(size, "hidden_layer_sizes") for size in sizes]


def check_arrays(values: Any, name: str, shapes: list[tuple[int, ...]],
                 dtype: np.dtype[Any]) -> list[Array]:
    """``values`` as finite arrays of these shapes.

    Raises
    ------
    ValueError, TypeError
        For the first that does not fit, or a wrong number of arrays.
    """
    given = list(values)
    if len(given) != len(shapes):
        raise ValueError(f"{name} must be {len(shapes)} arrays, one a layer, got {len(given)}")
    found = []
    for k, (value, shape) in enumerate(zip(given, shapes, strict=True)):
        array = as_array(value, f"{name}[{k}]")
        if array.shape != shape:
            raise ValueError(f"{name}[{k}] must have shape {shape}, got {array.shape}")
        with np.errstate(over="ignore"):
            found.append(array.astype(dtype))
        check_finite(found[-1], f"{name}[{k}]")
    return found
