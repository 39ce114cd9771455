"""The regressor: one output or several, squared error or Poisson."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import column_or_1d

from .._validation import Array
from ..callbacks import Callback
from ..layers import Layer
from ..losses import L2Loss, Loss, PoissonLoss
from ..losses import get as get_loss
from .base import BaseMLP
from .parameters import stochastic


class MLPRegressor(RegressorMixin, BaseMLP):  # type: ignore[misc]
    """scikit-learn's ``MLPRegressor`` on fastbp's engine, with further options.

    Parameters from ``dropout`` on are fastbp's own; their defaults change nothing.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}, or Loss or str
        Half the squared error, half the Poisson deviance (outputs are e^z), or a loss of
        ``fastbp.losses`` for regression. For several outputs the sum of their squared errors
        is minimised, and the mean reported.
    hidden_layer_sizes : int or sequence of int
        Units of each hidden layer; empty for none.
    activation : {"identity", "logistic", "tanh", "relu"}
        After each hidden layer.
    solver : {"adam", "sgd", "lbfgs"}
    alpha : float
        L2 penalty alpha / 2 sum w^2 over the weights, divided by the number of rows of the
        batch (by the sum of their sample weights, if any).
    batch_size : int or "auto"
        "auto" is min(200, rows). Not for lbfgs. At least 2 with ``batch_norm``.
    learning_rate : {"constant", "invscaling", "adaptive"}
        With sgd: unchanged; learning_rate_init / (samples seen + 1)^power_t; or divided by 5
        whenever training would stop, until it is at most 1e-6.
    learning_rate_init, power_t : float
    max_iter : int
        Most epochs, or iterations of lbfgs.
    shuffle : bool
        A new order of the rows in each epoch.
    random_state : int, RandomState or None
        For initial weights, held-out rows and row orders; the draws are scikit-learn's.
    tol, n_iter_no_change : float, int
        Training stops when the loss, or the score with early stopping, has not improved by
        ``tol`` for more than ``n_iter_no_change`` epochs in a row. With lbfgs ``tol`` bounds the
        largest component of the gradient.
    verbose : bool
        Print loss and score of each epoch.
    warm_start : bool
        ``fit`` goes on from the present weights.
    momentum, nesterovs_momentum : float, bool
        Of sgd.
    early_stopping : bool
        Hold out rows, stop by the R^2 on them, keep the best weights.
    validation_fraction : float
        Fraction of the rows to hold out.
    beta_1, beta_2, epsilon : float
        Of adam.
    max_fun : int
        Most evaluations of the loss by lbfgs.
    dropout : float
        Fraction of the hidden units to drop in each step.
    batch_norm : bool
        Normalise each hidden layer before its activation, over the batch.
    callbacks : sequence of fastbp.Callback
        Called after each epoch; see ``fastbp.callbacks``.
    n_threads : int, optional
        Most threads to use; the result does not depend on it.
    dtype : {"auto", "float32", "float64"}
        "auto" is float32 for X of float32, else float64.
    clip_norm : float
        Largest norm of the gradient, 0 for no limit.
    average : float
        Decay of a moving average of the parameters, which is scored and kept in their place;
        0 for none.
    matmul_precision : {"highest", "high", "medium"}
        As of ``fastbp.Network``. Not for lbfgs.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        Weights (n_in, n_out) and biases (n_out,) of each layer: read-only copies; new lists
        can be assigned.
    loss_, loss_curve_, best_loss_ : float, list, float or None
        Mean over the batches of an epoch as they were trained, penalty included; the best is
        None with early stopping. With lbfgs there is only ``loss_``.
    validation_scores_, best_validation_score_ : list, float; or None
        With early stopping.
    n_iter_, t_ : int
        Epochs or iterations of the last fit; samples seen.
    n_layers_, n_outputs_, out_activation_ : int, int, str
    n_features_in_, feature_names_in_ : int, ndarray
        The names only if X had some.
    network_ : fastbp.Network
        The trained network: for ``save``, ``summary``, ``jacobian``, ...
    history_ : fastbp.History
        Figures of each epoch of the last fit.

    Examples
    --------
    >>> from fastbp import MLPRegressor
    >>> X = [[k / 10] for k in range(11)]
    >>> y = [x[0] ** 2 for x in X]
    >>> model = MLPRegressor(hidden_layer_sizes=8, solver="lbfgs", random_state=0).fit(X, y)
    >>> round(model.score(X, y), 1)
    1.0
    """

    _numeric = {"y_numeric": True}

    def __init__(self, loss: str | Loss = "squared_error",
                 hidden_layer_sizes: int | Sequence[int] = (100,),
                 activation: str = "relu", *, solver: str = "adam", alpha: float = 0.0001,
                 batch_size: int | str = "auto", learning_rate: str = "constant",
                 learning_rate_init: float = 0.001, power_t: float = 0.5, max_iter: int = 200,
                 shuffle: bool = True, random_state: Any = None, tol: float = 1e-4,
                 verbose: bool = False, warm_start: bool = False, momentum: float = 0.9,
                 nesterovs_momentum: bool = True, early_stopping: bool = False,
                 validation_fraction: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.999,
                 epsilon: float = 1e-8, n_iter_no_change: int = 10, max_fun: int = 15000,
                 dropout: float = 0.0, batch_norm: bool = False,
                 callbacks: Sequence[Callback] = (), n_threads: int | None = None,
                 dtype: str = "auto", clip_norm: float = 0.0, average: float = 0.0,
                 matmul_precision: str = "highest") -> None:
        super().__init__(**locals())

    @available_if(stochastic)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """One epoch over these rows, with the optimizer state of the epoch before.

        Parameters
        ----------
        X, y, sample_weight
            As in ``fit``.

        Raises
        ------
        ValueError, TypeError
            As ``fit``.
        """
        self._fit(X, y, sample_weight, incremental=True)
        return self

    # -- targets ----------------------------------------------------------------------

    @property
    def _share(self) -> float:
        return 1 / self.n_outputs_ if self.loss == "squared_error" else 1.0

    def _targets(self, y: Array, incremental: bool, going_on: bool, classes: None) -> Array:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return self._encode(y)

    def _encode(self, y: Array, name: str = "y") -> Array:
        """Rows (n, n_outputs)."""
        if isinstance(self._made_loss(), PoissonLoss) and (y < 0).any():
            raise ValueError(f"{name} must be at least 0 for loss={self.loss!r}, got {y.min()}")
        return y[:, None] if y.ndim == 1 else y

    def _made_loss(self) -> Loss:
        if self.loss == "poisson":
            return PoissonLoss(deviance=True)
        return L2Loss() if self.loss == "squared_error" else get_loss(self.loss)

    def _head(self, T: Array) -> tuple[int, Loss, list[Layer], str]:
        loss = self._made_loss()
        if loss.classes:
            raise ValueError(f"loss={self.loss!r} is not for regression")
        return T.shape[1], loss, [], "exp" if isinstance(loss, PoissonLoss) else "identity"

    # -- predictions ------------------------------------------------------------------

    def _score(self, T: Array, Y: Array, weights: Array | None) -> float:
        """R^2, the mean over the outputs; a constant target counts 1 if met exactly, else 0."""
        T = T.astype(np.float64)
        error = np.average(np.square(T - Y), axis=0, weights=weights)
        spread = np.average(np.square(T - np.average(T, axis=0, weights=weights)), axis=0,
                            weights=weights)
        varied = 1 - error / np.where(spread > 0, spread, 1)
        return float(np.where(spread > 0, varied, error == 0).mean())

    def predict(self, X: Any) -> Array:
        """Values (n,), or (n, n_outputs) if there are several outputs."""
        Y = self._output(self._check_X(X))
        return Y[:, 0] if Y.shape[1] == 1 else Y

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
