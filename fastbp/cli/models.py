"""Models applied to the tables that commands are given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._validation import Array
from ..data import Table, Target
from ..data.columns import column, rows_of
from ..data.truth import truth, truth_names
from ..model import Model
from ..network import Network
from ..outputs import by_class


def batches(model: Model, table: Table, rows: int, target: Target | None = None,
            weight: str | None = None) -> Iterator[tuple[Array, Array | None, Array | None]]:
    """(features, encoded targets or None, weights or None) block by block.

    Raises
    ------
    ValueError, OSError
        If the table does not fit the model: names column and row.
    """
    if target is not None:
        table = target.typed(table)
    told, at = [] if target is None else truth_names(target, weight), 0
    table, names = model.inputs(table, *told)
    for piece in table.batches([*names, *told], rows):
        n = rows_of(piece)
        with table.counted():
            X = model.features({name: column(piece, name) for name in names}
                               if model.preprocessor is None else piece, first_row=at)
            known = () if target is None else truth(piece, target, weight, at)
            T, own, *_ = *known, None, None
        if n:
            yield X, T, own
        at += n


def target_of(model: Model, name: str | None, table: Table) -> Target:
    """What the model predicts; for a network alone, class indices or plain numbers.

    Raises
    ------
    ValueError
        If the column with the truth is not known, or is an input of the model, or the network's
        outputs are neither classes nor a number.
    """
    network, known = model.network, model.target
    if model.preprocessor is not None and name in model.preprocessor.names:
        raise ValueError(f"--target {name}: the model predicts from this column")
    if known is not None:
        return known if name is None else Target(name, known.task, known.classes, known.mean,
                                                 known.scale)
    name = name or table.target
    if name is None:
        raise ValueError("--target is needed: the model file names no column to predict")
    if network.loss_function.classes:
        return Target(name, "classification", list(range(max(network.n_out, 2))))
    if network.n_out != 1:
        raise ValueError(f"the model has {network.n_out} outputs that are no classes: there is "
                         "no column to compare them with")
    return Target(name, "regression")


def probabilities(network: Network, X: Array) -> Array:
    """Probabilities (n, classes) of rows of features."""
    return by_class(network.predict_proba(X))


def classes_of(model: Model) -> list[Any]:
    """Names of the classes."""
    if model.target is not None and model.target.classes is not None:
        return model.target.classes
    return list(range(max(model.network.n_out, 2)))
