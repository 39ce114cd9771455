"""Fitted networks from scikit-learn's MLPClassifier and MLPRegressor, and back to them.

Both consist of dense layers with one kind of activation between them; a network of that form
can be either. Missing biases become 0, batch norm after a dense layer is merged into its
weights, dropout is left out, and a softmax of two outputs becomes a sigmoid of one, as in
scikit-learn: softmax of (a, b) is sigmoid of b - a.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import layers as L
from .._extras import needs
from .._validation import Array
from ..layers import Layer
from ..network import Network
from .parts import take_apart

_ACTIVATIONS: dict[type[Layer], str] = {L.Sigmoid: "logistic", L.Tanh: "tanh", L.ReLU: "relu"}
#: What an estimator keeps of its training, besides the weights.
_HISTORY = ("n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "validation_scores_",
            "best_validation_score_", "_no_improvement_count")


def _neural() -> Any:
    with needs("this needs scikit-learn", "sklearn"):
        from sklearn import neural_network
    return neural_network


def from_sklearn(estimator: Any) -> Any:
    """fastbp's estimator from a fitted one of scikit-learn; its ``network_`` is the Network.

    Parameters
    ----------
    estimator : sklearn.neural_network.MLPClassifier or MLPRegressor
        Fitted.

    Returns
    -------
    fastbp.MLPClassifier or fastbp.MLPRegressor
        Fitted, with the same parameters, weights and classes; ``partial_fit`` can go on, but
        the optimizer starts without the moments of earlier steps.

    Raises
    ------
    ImportError
        Without scikit-learn (extra ``sklearn``).
    TypeError
        For anything else.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    """
    neural = _neural()
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted

    from .. import estimators
    from ..estimators.classifier import kind_of

    if not isinstance(estimator, (neural.MLPClassifier, neural.MLPRegressor)):
        raise TypeError("estimator must be scikit-learn's MLPClassifier or MLPRegressor, got "
                        f"{type(estimator).__name__}")
    check_is_fitted(estimator)
    classifies = isinstance(estimator, neural.MLPClassifier)
    kind: Any = estimators.MLPClassifier if classifies else estimators.MLPRegressor
    own = kind().get_params()
    new = kind(**{k: v for k, v in estimator.get_params().items()
                  if k in own and not (classifies and k == "loss")})
    weights, width = estimator.coefs_, estimator.coefs_[0].shape[0]
    new._random_state = check_random_state(0)  # what is drawn from it is replaced below
    if classifies:
        new.classes_ = np.array(estimator.classes_)
        several = estimator._label_binarizer.y_type_.startswith("multilabel")
        new._kind = "multilabel" if several else kind_of(new.classes_)
        new._sparse = bool(getattr(estimator._label_binarizer, "sparse_input_", False))
    rows = np.zeros((1, width), weights[0].dtype)
    new._start(rows, *new._head(np.zeros((1, estimator.n_outputs_))))
    new.coefs_, new.intercepts_ = weights, estimator.intercepts_
    new._random_state = check_random_state(estimator.random_state)
    new.history_ = _history(estimator)
    _carry(estimator, new)
    return new


def to_sklearn(model: Any, *, classes: Sequence[Any] | None = None) -> Any:
    """A fitted estimator of scikit-learn that predicts the same.

    Parameters
    ----------
    model : Network, Model without preprocessor, or fitted estimator of fastbp
    classes : sequence, optional
        Labels of the outputs in ascending order, in place of the model's own or of 0, 1, ...

    Returns
    -------
    sklearn.neural_network.MLPClassifier or MLPRegressor
        A classifier if the loss gives probabilities. ``partial_fit`` can go on with it.

    Raises
    ------
    ImportError
        Without scikit-learn (extra ``sklearn``).
    TypeError
        If ``model`` is something else, or has a layer of the user's own.
    ValueError
        For a network that scikit-learn's cannot represent: other layers, or activations that
        differ, or rates before version 1.7; labels that are not in ascending order, or for a loss
        without probabilities.
    """
    neural = _neural()
    from scipy.sparse import csr_matrix
    from sklearn import __version__
    from sklearn.preprocessing import LabelBinarizer
    from sklearn.utils import check_random_state

    parts = take_apart(model, classes, L.LAYERS.values(), "estimator")
    if parts.columns is not None:
        raise ValueError("the model has a preprocessor, which no estimator of scikit-learn holds: "
                         "give its network")
    if parts.classes is not None and parts.link is None:
        raise ValueError(f"classes {parts.classes} need a loss that makes probabilities, as "
                         f"scikit-learn's classifiers do, not {parts.network.loss_function!r}")
    weights, biases, activation, output = _stack(parts.network, parts.link)
    if parts.link is not None and len(biases[-1]) == (1 if parts.several else 2):
        raise ValueError("scikit-learn's networks have one output for two classes, and for two "
                         f"labels sigmoids; this one is {parts.network!r}")
    if parts.exponential:
        if output != "identity" or parts.mean != 0 or parts.scale != 1:
            raise ValueError("scikit-learn's rates are exponentials of a last Dense layer, not of "
                             f"{parts.network!r}, and in no other units: mean {parts.mean:g}, "
                             f"scale {parts.scale:g}")
        output = "exp"
    elif output == "identity":
        weights[-1], biases[-1] = weights[-1] * parts.scale, biases[-1] * parts.scale + parts.mean
    own = model.get_params() if hasattr(model, "get_params") else {}
    kind = neural.MLPRegressor if parts.link is None else neural.MLPClassifier
    known = kind().get_params()
    given = {k: v for k, v in own.items() if k in known and v is not None and k != "loss"}
    given["hidden_layer_sizes"] = tuple(b.size for b in biases[:-1])
    if activation is not None:  # else the estimator's own, for a later fit
        given["activation"] = activation
    if output == "exp":
        if "loss" not in known:
            raise ValueError("a network of rates (PoissonLoss) needs scikit-learn 1.7 or later, "
                             f"whose MLPRegressor takes loss='poisson'; this is {__version__}")
        given["loss"] = "poisson"
    new = kind(**given)
    if parts.link is not None:
        count = len(biases[-1])
        labels = np.array(_labels(model, parts.classes, max(count, 2)))
        if not parts.several and (labels[1:] <= labels[:-1]).any():
            raise ValueError(f"scikit-learn keeps classes in ascending order, got {labels}")
        indicators: Any = np.eye(count, dtype=int)
        if getattr(model, "_sparse", False):  # predictions are sparse too, then
            indicators = csr_matrix(indicators)
        new._label_binarizer = LabelBinarizer().fit(indicators if parts.several else labels)
        new.classes_ = np.arange(count) if parts.several else new._label_binarizer.classes_
    new.coefs_, new.intercepts_, new.out_activation_ = weights, biases, output
    new.n_layers_, new.n_outputs_ = len(weights) + 1, len(biases[-1])
    new.n_features_in_ = parts.network.n_in
    new._random_state = check_random_state(new.random_state)
    new._best_coefs, new._best_intercepts = [w.copy() for w in weights], [b.copy() for b in biases]
    new.__dict__ |= {"n_iter_": 0, "t_": 0, "_no_improvement_count": 0, "loss_curve_": [],
                     "best_loss_": np.inf, "validation_scores_": None,
                     "best_validation_score_": None}
    _carry(model, new)
    return new


def _carry(old: Any, new: Any) -> None:
    for name in (*_HISTORY, "n_features_in_", "feature_names_in_"):
        if name in vars(old):
            value = vars(old)[name]
            setattr(new, name, list(value) if isinstance(value, list) else value)


def _history(estimator: Any) -> Any:
    from ..history import History

    history = History()
    history.update({"loss": [float(x) for x in getattr(estimator, "loss_curve_", None) or []]})
    return history


def _labels(model: Any, classes: list[Any] | None, count: int) -> Any:
    if classes is None:
        return range(count)
    own = getattr(model, "classes_", None)  # with its dtype; ``classes`` repeats a single one
    return own if own is not None and [*own] * (len(classes) // len(own)) == classes else classes


def _stack(network: Network, link: str | None
           ) -> tuple[list[Array], list[Array], str | None, str]:
    """(weights (n_in, n_out), biases, hidden activation or None, that of the output)."""
    weights: list[Array] = []
    biases: list[Array] = []
    between: list[str] = []
    last = ""  # activation after the last dense layer
    for layer in network.layers:
        if type(layer) in (L.Dropout, L.Flatten, L.Identity):
            continue
        if isinstance(layer, L.Dense):
            if weights:
                between.append(last or "identity")
            bias = np.zeros(layer.weight.shape[0], network.dtype)
            weights.append(np.array(layer.weight.T, order="C"))
            biases.append(bias if layer.bias is None else layer.bias.copy())
            last = ""
        elif isinstance(layer, L.BatchNorm) and weights and not last:
            own = layer.parameters()
            scale = own["weight"] / np.sqrt(own["running_var"] + network.dtype.type(layer.epsilon))
            weights[-1] = weights[-1] * scale
            biases[-1] = (biases[-1] - own["running_mean"]) * scale + own["bias"]
        elif weights and not last:
            last = "softmax" if isinstance(layer, L.Softmax) else _ACTIVATIONS.get(
                type(layer), repr(layer))
        else:
            raise ValueError(f"{layer!r} is where scikit-learn's networks have none")
    end = last or {"softmax": "softmax", "sigmoid": "logistic"}.get(link or "", "identity")
    activation = between[0] if between else None
    if set(between) - {"identity", *_ACTIVATIONS.values()} or len(set(between)) > 1:
        raise ValueError("scikit-learn's networks have one activation, identity, logistic, tanh "
                         f"or relu, after each hidden layer; this one has {between}")
    fits = ("identity",) if link is None else ("softmax", "logistic")
    if not weights or end not in fits or (last and link in ("softmax", "sigmoid")):
        raise ValueError(f"no output of scikit-learn's networks is that of {network!r}")
    if end == "softmax" and weights[-1].shape[1] == 2:
        weights[-1] = weights[-1][:, 1:] - weights[-1][:, :1]
        biases[-1], end = biases[-1][1:] - biases[-1][:1], "logistic"
    return weights, biases, activation, end
