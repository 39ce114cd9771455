"""The classifier: binary, multi-class, multi-label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels
from sklearn.utils.validation import column_or_1d

from .._validation import Array, as_weights, check_real
from ..callbacks import Callback
from ..layers import Layer, Sigmoid, Softmax
from ..losses import BinaryCrossEntropyLoss, CrossEntropyLoss, Loss
from ..losses import get as get_loss
from ..outputs import by_class
from ..weights import class_weights
from .base import BaseMLP
from .parameters import stochastic


class MLPClassifier(ClassifierMixin, BaseMLP):  # type: ignore[misc]
    """scikit-learn's ``MLPClassifier`` on fastbp's engine, with further options.

    Parameters from ``dropout`` on are fastbp's own; their defaults change nothing.

    Parameters
    ----------
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
        Hold out rows, stop by the accuracy on them, keep the best weights.
    validation_fraction : float
        Fraction of the rows to hold out, stratified by class if there are enough of each.
    beta_1, beta_2, epsilon : float
        Of adam.
    max_fun : int
        Most evaluations of the loss by lbfgs.
    dropout : float
        Fraction of the hidden units to drop in each step.
    batch_norm : bool
        Normalise each hidden layer before its activation, over the batch.
    loss : Loss or str, optional
        A cross-entropy of ``fastbp.losses`` instead of the log loss. With one over classes, a
        binary problem has two outputs.
    class_weight : dict or "balanced", optional
        Weight of each class, 1 for those not named, times ``sample_weight``; "balanced" is
        n / (classes * count). A dict with all classes of y may name further ones. In training
        alone: held-out rows have their ``sample_weight``. Not for multi-label y.
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
    classes_ : ndarray
        Labels, sorted; indices of the columns of multi-label y.
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
    >>> from fastbp import MLPClassifier
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], ["no", "yes", "yes", "no"]
    >>> model = MLPClassifier(8, "tanh", solver="lbfgs", random_state=0).fit(X, y)
    >>> model.predict([[1, 0]])
    array(['yes'], dtype='<U3')
    """

    _numeric: dict[str, Any] = {}
    _share = 1.0

    def __init__(self, hidden_layer_sizes: int | Sequence[int] = (100,),
                 activation: str = "relu", *, solver: str = "adam", alpha: float = 0.0001,
                 batch_size: int | str = "auto", learning_rate: str = "constant",
                 learning_rate_init: float = 0.001, power_t: float = 0.5, max_iter: int = 200,
                 shuffle: bool = True, random_state: Any = None, tol: float = 1e-4,
                 verbose: bool = False, warm_start: bool = False, momentum: float = 0.9,
                 nesterovs_momentum: bool = True, early_stopping: bool = False,
                 validation_fraction: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.999,
                 epsilon: float = 1e-8, n_iter_no_change: int = 10, max_fun: int = 15000,
                 dropout: float = 0.0, batch_norm: bool = False,
                 loss: Loss | str | None = None, class_weight: Any = None,
                 callbacks: Sequence[Callback] = (), n_threads: int | None = None,
                 dtype: str = "auto", clip_norm: float = 0.0, average: float = 0.0,
                 matmul_precision: str = "highest") -> None:
        super().__init__(**locals())

    @available_if(stochastic)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None,
                    classes: Any = None) -> MLPClassifier:
        """One epoch over these rows, with the optimizer state of the epoch before.

        Parameters
        ----------
        X, y, sample_weight
            As in ``fit``.
        classes : array_like, shape (n_classes,), optional
            All labels that may come; required in the first call.

        Raises
        ------
        ValueError, TypeError
            As ``fit``; for classes that are missing in the first call or differ later, and for
            ``class_weight="balanced"``.
        """
        if classes is not None:
            classes = unique_labels(classes)
        if not hasattr(self, "network_"):
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
        elif classes is not None and not np.array_equal(classes, self.classes_):
            raise ValueError(f"classes={classes!r} are not those of the first call to "
                             f"partial_fit, {self.classes_!r}")
        if self.class_weight == "balanced":
            raise ValueError("class_weight='balanced' is not for partial_fit, which does not "
                             "see all classes: give a dict or sample_weight")
        self._fit(X, y, sample_weight, incremental=True, classes=classes)
        return self

    # -- targets ----------------------------------------------------------------------

    def _targets(self, y: Any, incremental: bool, going_on: bool,
                 classes: Array | None) -> Array:
        if getattr(y, "ndim", 1) == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        kind = str(type_of_target(y))
        if kind == "multiclass-multioutput":
            raise ValueError("y holds several classes a row; of such y only indicators (0 and "
                             "1, multi-label) are supported")
        labels = unique_labels(y)
        if not going_on:
            self.classes_ = labels if classes is None else classes
            several = kind.startswith("multilabel")
            self._kind = "multilabel" if several else kind_of(self.classes_)
        if incremental or not going_on:
            self._sparse = hasattr(y, "toarray")
        T = self._encode(y)
        if self.warm_start and not np.array_equal(labels, self.classes_):
            raise ValueError("warm_start can only be used where y has the same classes as "
                             f"before, {self.classes_}; got {labels}")
        return T

    def _encode(self, y: Any, name: str = "y") -> Array:
        """Class indices, one column of 0 and 1, or a column for each label."""
        if hasattr(y, "toarray"):
            y = y.toarray()
        if self._kind == "multilabel":
            if y.ndim != 2 or y.shape[1] != len(self.classes_):
                raise ValueError(f"{name} must have {len(self.classes_)} columns, got shape "
                                 f"{y.shape}")
            return (y > 0).astype(np.float32)
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        if y.ndim != 1:
            raise ValueError(f"{name} must have one class of {self.classes_} for each row, got "
                             f"shape {y.shape}; indicators are for one that began with them")
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"{name} has classes {unknown} that are not in classes_, "
                             f"{self.classes_}")
        index = np.searchsorted(self.classes_, y)
        return index if self._head()[0] > 1 else index[:, None].astype(np.float32)

    def _head(self, T: Any = None) -> tuple[int, Loss, list[Layer], str]:
        """(number of outputs, loss, layers below it, name of the output's activation)."""
        loss = None if self.loss is None else get_loss(self.loss)
        apart = self._kind == "multilabel" or (
            self._kind == "binary" and (loss is None or not loss.labels))
        link, name = ("sigmoid", "logistic") if apart else ("softmax", "softmax")
        loss = loss or (BinaryCrossEntropyLoss() if apart else CrossEntropyLoss())
        if loss.labels == apart or loss.probabilities not in (link, "identity"):
            raise ValueError(f"loss={self.loss!r} does not fit {self._kind} targets: it must "
                             f"make probabilities of outputs by {link}")
        n_out = max(len(self.classes_), 2)
        if apart:
            n_out = len(self.classes_) if self._kind == "multilabel" else 1
        head: list[Layer] = [Sigmoid() if apart else Softmax()]
        return n_out, loss, head if loss.probabilities == "identity" else [], name

    def _by_class(self, weights: Array | None, y: Any, dtype: np.dtype[Any]) -> Array | None:
        if self.class_weight is None:
            return weights
        if self._kind == "multilabel":
            raise ValueError("class_weight needs one class for each row, y has several labels: "
                             "give sample_weight")
        by_class = self.class_weight
        if isinstance(by_class, Mapping):
            classes = self.classes_.tolist()
            unknown = [label for label in by_class if label not in classes]
            # As in scikit-learn: beside all classes of y, further names are for other data.
            if unknown and not all(label in by_class for label in classes):
                raise ValueError(f"class_weight names {unknown}, not in y's {self.classes_}, of "
                                 "which it does not name all")
            by_class = {k: check_real(by_class[label], f"class_weight[{label!r}]")
                        for k, label in enumerate(classes) if label in by_class}
        T = self._encode(y)
        weights = class_weights(T, by_class, max(len(self.classes_), 2), weights, dtype)
        return as_weights(weights, len(T), dtype, "sample_weight times class_weight")

    def _strata(self, T: Array) -> Array | None:
        return None if self._kind == "multilabel" else T.ravel()

    # -- predictions ------------------------------------------------------------------

    def _score(self, T: Array, P: Array, weights: Array | None) -> float:
        """Accuracy; a multi-label row counts if all its labels are right."""
        if len(self.classes_) == 1 and self._kind != "multilabel":
            return 1.0  # there is nothing else to predict
        hits = P.argmax(axis=1) == T if T.ndim == 1 else ((P > 0.5) == (T > 0.5)).all(axis=1)
        return float(np.average(hits, weights=weights))

    def predict(self, X: Any) -> Array:
        """Labels (n,), or indicators (n, n_outputs) for a multi-label problem."""
        P = self._output(self._check_X(X))
        if self._kind == "multilabel":
            Y = (P > 0.5).astype(np.int64)
            if self._sparse:
                from scipy.sparse import csr_matrix

                return csr_matrix(Y)
            return Y
        index = P.argmax(axis=1) if P.shape[1] > 1 else (P[:, 0] > 0.5).astype(np.int64)
        return self.classes_[np.minimum(index, len(self.classes_) - 1)]

    def predict_proba(self, X: Any) -> Array:
        """Probabilities (n, n_classes), in the order of ``classes_``."""
        return by_class(self._output(self._check_X(X)))

    def predict_log_proba(self, X: Any) -> Array:
        """Logarithms of ``predict_proba``."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def kind_of(classes: Array) -> str:
    """Kind of problem with these mutually exclusive classes."""
    return "binary" if len(classes) <= 2 else "multiclass"
