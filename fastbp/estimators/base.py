"""What both estimators share: checks, building the network, fit.

Parameters, attributes and their meaning are those of scikit-learn's MLP (release 1.9). For the
same ``random_state`` so are initial weights, the order of the rows and the steps, to
rounding. The code is fastbp's own.
"""

from __future__ import annotations

import copy
import functools
import numbers
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from .._validation import Array, as_weights, check_finite, check_range, named
from .._warning import warn
from ..arguments import Validation, check_monitors
from ..history import History
from ..layers import BatchNorm, Dense, Dropout, Layer
from ..lbfgs import minimise
from ..losses import Loss
from ..network import Network
from ..rules import Rules
from ..run import Run
from ..training import train
from .ahead import Fit, same
from .callbacks import (
    CallbackSupportMixin,
    Relay,
    begin_fit,
    end_fit,
    with_callbacks,
)
from .errors import as_before_on_error
from .parameters import ACTIVATIONS, check_arrays, check_parameters, sizes_of
from .solvers import Follow, SkAdam, SkSGD, reporting, threads_for
from .sparse import dense, dense_blocks
from .split import Given, given, split

Fitted = TypeVar("Fitted", bound="BaseMLP")


class BaseMLP(CallbackSupportMixin, BaseEstimator):  # type: ignore[misc]
    """Base of the estimators; ``parameters`` become attributes, checked in ``fit``."""

    def __init__(self, /, **parameters: Any) -> None:
        parameters.pop("self")
        parameters.pop("__class__")
        self.__dict__.update(parameters)

    # -- checks -----------------------------------------------------------------------

    def _dtypes(self, going_on: bool) -> Any:
        if going_on:
            return self.network_.dtype
        return (np.float64, np.float32) if self.dtype == "auto" else np.dtype(self.dtype)

    def _check_X(self, X: Any) -> Any:
        """Checked X to predict from, perhaps sparse."""
        check_is_fitted(self)
        return validate_data(self, X, accept_sparse=("csr", "csc"), reset=False,
                             dtype=self.network_.dtype)

    # -- the network ------------------------------------------------------------------

    def _plan(self) -> dict[str, Any]:
        """What the network is built from: training goes on only with the same."""
        loss = self.loss
        if isinstance(loss, Loss):  # not by its repr: functions may share a name
            loss = {"class": type(loss), **loss.config()}
        return {"hidden_layer_sizes": sizes_of(self), "activation": self.activation,
                "dropout": self.dropout, "batch_norm": self.batch_norm, "loss": loss,
                "dtype": self.network_.dtype.name if self.dtype == "auto" else self.dtype}

    def _build(self, n_in: int, n_out: int, dtype: np.dtype[Any], loss: Loss,
               head: list[Layer]) -> Network:
        rng, widths = self._random_state, [n_in, *sizes_of(self), n_out]
        hidden, start = ACTIVATIONS[self.activation], []
        layers: list[Layer] = []
        for k in range(1, len(widths)):
            m, n = widths[k - 1:k + 1]
            bound = np.sqrt((2.0 if self.activation == "logistic" else 6.0) / (m + n))
            start.append((rng.uniform(-bound, bound, (m, n)), rng.uniform(-bound, bound, n)))
            layers.append(Dense(m, n))
            if k < len(widths) - 1:
                layers += [BatchNorm()] if self.batch_norm else []
                layers += [hidden()] if hidden is not None else []
                layers += [Dropout(self.dropout)] if self.dropout else []
        seed = int(rng.randint(2**31 - 1)) if self.dropout else 0
        network = Network(layers + head, copy.copy(loss), dtype, seed)
        for layer, (weight, bias) in zip(_dense_layers(network), start, strict=True):
            layer.weight, layer.bias = weight.T, bias
        return network

    def _start(self, X: Array, n_out: int, loss: Loss, head: list[Layer],
               out_activation: str) -> None:
        """Build the network and reset all results, for a first fit."""
        self.network_ = self._build(X.shape[1], n_out, X.dtype, loss, head)
        self._built = self._plan()
        self.n_layers_, self.n_outputs_ = len(sizes_of(self)) + 2, n_out
        self.out_activation_ = out_activation
        self.n_iter_ = self.t_ = self._no_improvement_count = 0
        for name in ("loss_curve_", "best_loss_", "validation_scores_",
                     "best_validation_score_"):
            self.__dict__.pop(name, None)

    @property
    def coefs_(self) -> list[Array]:
        """Weights of each dense layer, (n_in, n_out), as read-only copies.

        To change the weights assign a list to the attribute, or use ``network_``.
        """
        return [_frozen(layer.weight.T) for layer in _dense_layers(self.network_)]

    @coefs_.setter
    def coefs_(self, values: Any) -> None:
        layers = _dense_layers(self.network_)
        arrays = check_arrays(values, "coefs_", [layer.weight.T.shape for layer in layers],
                              self.network_.dtype)
        for layer, value in zip(layers, arrays, strict=True):
            layer.weight = value.T

    @property
    def intercepts_(self) -> list[Array]:
        """Biases of each dense layer, (n_out,); see ``coefs_``."""
        return [_frozen(layer.bias) for layer in _dense_layers(self.network_)]

    @intercepts_.setter
    def intercepts_(self, values: Any) -> None:
        layers = _dense_layers(self.network_)
        arrays = check_arrays(values, "intercepts_", [layer.bias.shape for layer in layers],
                              self.network_.dtype)
        for layer, value in zip(layers, arrays, strict=True):
            layer.bias = value

    # -- fit --------------------------------------------------------------------------

    def fit(self: Fitted, X: Any, y: Any, sample_weight: Any = None,
            validation_data: Any = None, *, X_val: Any = None, y_val: Any = None,
            sample_weight_val: Any = None) -> Fitted:
        """Train.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (n, n_features)
            A sparse matrix is converted to a dense array, which must fit in memory;
            predictions convert some rows at a time.
        y : array_like, shape (n,) or (n, n_outputs)
        sample_weight : array_like, shape (n,), optional
            At least 0 and not all 0.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Evaluated after each epoch (``history_``); early stopping uses it instead of
            holding out rows.
        X_val, y_val, sample_weight_val : array_like, optional
            The same, by the names that a ``Pipeline(transform_input=["X_val"])`` can transform.

        Raises
        ------
        ValueError, TypeError
            For invalid data or parameters, or if weights are not finite after training.
        """
        held = given(validation_data, X_val, y_val, sample_weight_val)
        self._fit(X, y, sample_weight, held)
        return self

    @with_callbacks
    def _fit(self, X: Any, y: Any, sample_weight: Any, validation: Given | None = None,
             incremental: bool = False, classes: Array | None = None) -> None:
        with as_before_on_error(self) as begun:
            check_parameters(self)
            if incremental and self.early_stopping:
                raise ValueError("partial_fit does not support early_stopping=True")
            if self.solver == "lbfgs" and validation is not None:
                raise ValueError(f"{validation.names[0]}: rows to validate on go with the solvers "
                                 "adam and sgd, not lbfgs")
            going_on = hasattr(self, "network_") and (self.warm_start or incremental)
            if going_on and not same(self._built, self._plan()):
                raise ValueError(f"the network that is there has {self._built}, the parameters "
                                 f"ask for {self._plan()}: fit with warm_start=False first")
            X, y = validate_data(self, X, y, accept_sparse=("csr", "csc"), multi_output=True,
                                 dtype=self._dtypes(going_on), reset=not going_on,
                                 **self._numeric)
            X = np.ascontiguousarray(dense(X))
            T = self._targets(y, incremental, going_on, classes)
            own = self._weights(sample_weight, X)
            weights = self._by_class(own, y, X.dtype)
            n_out, loss, *rest = self._head(T)
            n_out = self.network_.n_out if going_on else n_out

            def target(T: Array, name: str) -> Array:
                T = loss.check_target(T, n_out, X.dtype, name, allow_nonfinite=True)
                check_finite(T, name)  # without check_target's advice, which is for networks
                return T

            T, held = target(T, "y"), self._held_out(validation, X.dtype, target)
            self._random_state = check_random_state(self.random_state)
            if not going_on:
                self._start(X, n_out, loss, *rest)
            rows, scored = (X, T, weights), held
            if self.early_stopping and held is None and self.solver != "lbfgs":
                rows, scored = split(*rows, own, self._strata(T), self.validation_fraction,
                                     self._random_state)
            check_monitors(self.callbacks, self.network_, scored, ())
            self.network_.matmul_precision = self.matmul_precision
            relay = begin_fit(self, 1 if incremental else self.max_iter, X, y, sample_weight)
            if self.solver == "lbfgs":
                begun()
                self._lbfgs(*rows)
            else:
                self._descend(*rows, held, scored, incremental, relay, begun)
        if not np.isfinite(self.network_.params).all():
            raise ValueError("the solver left weights that are not finite; inputs may be large "
                             "and need scaling, or learning_rate_init may be too large")
        end_fit(self, relay, X, y)

    def _weights(self, given: Any, X: Array, name: str = "sample_weight") -> Array | None:
        if isinstance(given, numbers.Real):
            given = np.full(len(X), given)
        return as_weights(given, len(X), X.dtype, name)

    def _by_class(self, weights: Array | None, y: Any, dtype: np.dtype[Any]) -> Array | None:
        """``weights`` to train by: times those of the classes."""
        return weights

    def _held_out(self, data: Given | None, dtype: np.dtype[Any],
                  target: Callable[[Array, str], Array]) -> Validation | None:
        if data is None:
            return None
        pair, of_y, of_weights = data.names
        with named(pair):
            X, y = validate_data(self, data.X, data.y, accept_sparse=("csr", "csc"),
                                 reset=False, multi_output=True, dtype=dtype, **self._numeric)
        X = np.ascontiguousarray(dense(X))
        T = target(self._encode(y, of_y), of_y)
        return Validation(X, T, self._weights(data.sample_weight, X, of_weights))

    def _lbfgs(self, X: Array, T: Array, weights: Array | None) -> None:
        total = len(X) if weights is None else float(weights.sum(dtype=np.float64))
        self.history_, l2 = History(), float(self.alpha) / total

        def reported(error: float) -> float:  # as ``reporting`` does
            squares = sum(float(np.square(layer.weight, dtype=np.float64).sum())
                          for layer in self.network_.layers if isinstance(layer, Dense))
            return self._share * error + (1 - self._share) * 0.5 * l2 * squares

        def each(error: float) -> None:
            error = reported(error)
            self.history_.append({"loss": error})
            if self.verbose:
                print(f"Iteration {len(self.history_['loss'])}, loss = {error:.8f}")

        found = minimise(self.network_, X, T, weights, l2, max_iter=self.max_iter,
                         max_fun=self.max_fun, tol=self.tol, each=each,
                         n_threads=threads_for(self.network_, len(X), self.n_threads))
        self.n_iter_ = min(int(found.nit), self.max_iter)
        self.loss_ = reported(float(found.fun))
        if found.status != 0:
            warn(f"lbfgs failed to converge after {self.n_iter_} iteration(s) (status="
                 f"{found.status}): {found.message}. Raise max_iter={self.max_iter} or scale the "
                 "data", ConvergenceWarning)

    def _descend(self, X: Array, T: Array, weights: Array | None, held: Validation | None,
                 scored: Validation | None, incremental: bool, relay: Relay | None,
                 begun: Callable[[], None]) -> None:
        network = self.network_
        if not hasattr(self, "loss_curve_"):
            self.__dict__ |= {"loss_curve_": [], "best_loss_": np.inf,
                              "validation_scores_": None, "best_validation_score_": None}
        if self.early_stopping and self.validation_scores_ is None:
            self.__dict__ |= {"validation_scores_": [], "best_validation_score_": -np.inf,
                              "best_loss_": None}
        elif not self.early_stopping and self.best_loss_ is None:
            self.__dict__["best_loss_"] = np.inf
        size = min(200, len(X)) if self.batch_size == "auto" else self.batch_size
        if size > len(X):
            warn(f"batch_size={size} is larger than the {len(X)} rows, which make one batch")
        epochs = 1 if incremental else self.max_iter
        check_range(self.alpha, "alpha", network.dtype)
        run = Run(network, X, T, min(size, len(X)), self._optimizer(), False, weights=weights,
                  rules=Rules(l2=float(self.alpha), clip_norm=self.clip_norm,
                              average=self.average, by_rows=True), epochs=epochs)
        earlier = network.last_run
        warm = incremental and earlier is not None and run.can_follow(earlier)
        score = None
        if self.early_stopping:
            assert scored is not None
            score = functools.partial(self._held_out_score, scored)
        follow = Follow(self, score)
        self.n_iter_, self.history_ = 0, run.history
        try:
            with reporting(network, self._share):
                job = Fit(run, scored if held or self.callbacks else None,
                          hooks=[follow, *([relay] if relay else []), *self.callbacks],
                          warm_start=warm, brief=incremental, follow=follow, on_begun=begun,
                          n_threads=threads_for(network, len(X), self.n_threads))
                train(job, job.stopped)
        except KeyboardInterrupt:
            warn("Training interrupted by user.")
        if not self.n_iter_ and run.history:
            self.loss_ = run.history["loss"][-1]
        if self.n_iter_ == self.max_iter and not follow.ended and not incremental:
            warn(f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                 "optimization hasn't converged yet.", ConvergenceWarning)

    def _optimizer(self) -> SkAdam | SkSGD:
        if self.solver == "adam":
            return SkAdam(self.learning_rate_init, beta1=self.beta_1, beta2=self.beta_2,
                          epsilon=self.epsilon)
        return SkSGD(self.learning_rate_init, float(self.momentum), self.nesterovs_momentum)

    def _strata(self, T: Array) -> Array | None:
        """Classes that held-out rows are drawn from in equal shares."""
        return None

    def _output(self, X: Any) -> Array:
        found = [self.network_._expected(rows, self.n_threads) for rows in dense_blocks(X)]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _held_out_score(self, data: Validation) -> float:
        Y = self._output(data.X)
        return self._score(data.T, Y, data.weights) if np.isfinite(Y).all() else np.nan

    # -- scikit-learn -----------------------------------------------------------------

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _dense_layers(network: Network) -> list[Dense]:
    return [layer for layer in network.layers if isinstance(layer, Dense)]


def _frozen(values: Array) -> Array:
    values = values.copy()
    values.flags.writeable = False
    return values
