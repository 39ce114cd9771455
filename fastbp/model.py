"""A network with its surroundings: the columns it reads, the column it predicts.

One safetensors file holds all of it: the network as ``Network.save`` writes it, and, as JSON,
what was learnt about the data. ``fastbp.load`` reads the network alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import numpy as np

from ._validation import Array, all_finite, as_path, check_mask
from .data.columns import rows_of, ways_of
from .data.preprocess import Preprocessor
from .data.target import Target
from .io.safetensors import describe, network_of, read, version, write
from .network import Network
from .outputs import by_class

if TYPE_CHECKING:
    from .data.table import Table

#: Name of the model file in a folder made by ``fastbp train``.
FILE = "model.safetensors"
#: Metadata keys of a model file, beside "fastbp", which describes the network.
PREPROCESSING, TARGET, INFO = "fastbp.preprocessing", "fastbp.target", "fastbp.info"


class Model:
    """A network, the preprocessing of a raw table into its features, and the meaning of its
    outputs.

    Parameters
    ----------
    network : Network
    preprocessor : Preprocessor, optional
        Without one, ``predict`` takes matrices (n, n_in).
    target : Target, optional
        Without one, ``predict`` gives class indices, or what the outputs stand for.
    info : dict, optional
        Further data to keep, plain JSON; "fastbp" (version) and "created" are added.

    Raises
    ------
    ValueError, TypeError
        If the parts do not fit together, or one has the wrong type.
    """

    def __init__(self, network: Network, preprocessor: Preprocessor | None = None,
                 target: Target | None = None, info: dict[str, Any] | None = None) -> None:
        for name, part, kind in (("network", network, Network),
                                 ("preprocessor", preprocessor, Preprocessor),
                                 ("target", target, Target)):
            if not isinstance(part, kind) and not (part is None and kind is not Network):
                raise TypeError(f"{name} must be a {kind.__name__}, got {part!r}")
        if preprocessor is not None and preprocessor.n_features != network.n_in:
            raise ValueError(f"the preprocessor makes {preprocessor.n_features} features, the "
                             f"network takes {network.n_in}")
        if target is not None and network.n_out != target.n_outputs and not (
                target.n_outputs == 2 and network.n_out == 1):
            raise ValueError(f"target {target.name!r} needs {target.n_outputs} outputs, the "
                             f"network has {network.n_out}")
        if not isinstance(info, (Mapping, type(None))):
            raise TypeError(f"info must be a dict, got {info!r}")
        self.network, self.preprocessor, self.target = network, preprocessor, target
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.info: dict[str, Any] = {"fastbp": version(), "created": now} | dict(info or {})

    def features(self, table: Any, *, first_row: int = 0) -> Array:
        """The network's input, made from raw columns or a matrix.

        Parameters
        ----------
        table : mapping from str to array_like, or array_like of shape (n, n_in)
            A matrix only where there is no preprocessor.
        first_row : int
            Number of the first row, for messages.

        Raises
        ------
        ValueError, TypeError
            If the table is invalid; names the column and row.
        """
        named = isinstance(table, Mapping) or (hasattr(table, "columns")
                                               and hasattr(table, "__contains__"))
        if self.preprocessor is not None:
            if not named:
                raise TypeError("this model takes a table: a path, or a mapping from column names "
                                f"to arrays; got {type(table).__name__}{ways_of(table)}")
            return self.preprocessor.transform(table, first_row=first_row,
                                               dtype=self.network.dtype)
        if not named:
            check_mask(table, "X")
            X = np.asarray(table)
            if X.ndim == 0:
                raise TypeError("this model takes a table: a path, a matrix, or a mapping from "
                                f"column names to arrays; got {type(table).__name__}")
            return X
        if not isinstance(table, Mapping):  # the names: polars' own are not what it iterates over
            table = {name: table[name] for name in table.columns}
        rows_of(table)
        for name, column in table.items():
            check_mask(column, f"column {name!r}")
        X = np.column_stack([np.asarray(column) for column in table.values()])
        self._check_finite(X, list(table), first_row)
        return X

    def _check_finite(self, X: Array, names: list[Any], first_row: int) -> None:
        """Refuse what the network would, which knows neither columns nor the first row."""
        net = self.network
        if net.allow_nonfinite or X.dtype.kind != "f" or X.shape[1] != net.n_in:
            return
        with np.errstate(over="ignore"):
            own = X.astype(net.dtype, copy=False)
        if not all_finite(own):
            i, j = np.argwhere(~np.isfinite(own))[0]
            raise ValueError(f"column {names[j]!r} holds {X[i, j]} in row {first_row + int(i)} "
                             f"(counted from 0), where a finite {net.dtype} is needed")

    def predict(self, table: Any) -> Array:
        """Predicted labels or numbers, as in the target column.

        Parameters
        ----------
        table : str, path, Table, mapping of columns, or array_like
            A file or bundled data set, read block by block; an opened table; columns by
            name; a matrix (n, n_in) where the model has no preprocessor.

        Returns
        -------
        ndarray, shape (n,)
            Without a target and with several outputs that are not classes: (n, n_out).

        Raises
        ------
        ValueError, TypeError, OSError
            If the table cannot be read or is invalid.
        """
        return self._over(table, self._labels)

    def predict_proba(self, table: Any) -> Array:
        """Probabilities (n, classes), in the order of ``target.classes``.

        Raises
        ------
        ValueError, TypeError, OSError
            As ``predict``; also if the network's outputs are no probabilities.
        """
        return self._over(table, self._probabilities)

    def _labels(self, X: Array) -> Array:
        network, target, loss = self.network, self.target, self.network.loss_function
        if target is None and loss.probabilities is not None:
            return network.predict_classes(X)
        Y = network._expected(X)  # of several yes/no outputs the likeliest is the class
        return Y if target is None else target.decode(Y, loss.threshold)

    def _probabilities(self, X: Array) -> Array:
        P = self.network.predict_proba(X)
        return P if self.target is None else by_class(P)

    def _over(self, table: Any, say: Any) -> Array:
        parts, at = [], 0
        for part in self._parts(table):
            X = self.features(part, first_row=at)
            at += len(X)
            parts.append(say(X))
        if not parts:
            raise ValueError("the table has no rows to predict")
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _parts(self, table: Any) -> Iterator[Any]:
        from .data.table import Table, open_table

        if isinstance(table, (str, os.PathLike)):
            table = open_table(table)
        if not isinstance(table, Table):
            yield table
            return
        table, names = self.inputs(table)
        for part in table.batches(names):  # of a Matrix with all columns, not only these
            yield part if self.preprocessor is not None else {name: part[name] for name in names}

    def inputs(self, table: Table, *others: str) -> tuple[Table, list[str]]:
        """The table as the model reads it, and the names of its inputs: where the model has no
        preprocessor, all columns but targets and ``others``."""
        if self.preprocessor is not None:
            return self.preprocessor.typed(table), self.preprocessor.names
        told = (table.target, self.target and self.target.name, *others)
        return table, [name for name in table.names if name not in told]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all of it to one file, completely or not at all.

        Raises
        ------
        TypeError, ValueError
            If ``path`` is no path, a layer or loss is not one of fastbp's own, or ``info`` is
            not plain JSON.
        OSError
            If the file cannot be written; an earlier one stays as it was.
        """
        metadata = {"fastbp": describe(self.network), INFO: json.dumps(self.info)}
        if self.preprocessor is not None:
            metadata[PREPROCESSING] = json.dumps(self.preprocessor.to_dict())
        if self.target is not None:
            metadata[TARGET] = json.dumps(self.target.to_dict())
        try:
            write(path, self.network.named_parameters(), metadata)
        except OSError as error:
            raise OSError(error.errno, f"model not saved: {error.strerror}", error.filename
                          ) from error

    def __repr__(self) -> str:
        return f"Model({self.network!r}, {self.preprocessor!r}, {self.target!r})"


def file_of(path: str | os.PathLike[str]) -> str:
    """The model file: ``path`` itself, or the one in a folder made by ``fastbp train``."""
    path = as_path(path)
    return os.path.join(path, FILE) if os.path.isdir(path) else path


def load_model(path: str | os.PathLike[str]) -> Model:
    """The model in ``path``, written by ``Model.save``, or by ``Network.save`` (a network alone).

    Parameters
    ----------
    path : path
        The file, or a folder made by ``fastbp train``.

    Returns
    -------
    Model

    Raises
    ------
    TypeError
        If ``path`` is no path.
    ValueError
        If the file is damaged, not fastbp's, or of a format that this version does not read.
    OSError
        If it cannot be read.
    """
    path = file_of(path)
    tensors, metadata = read(path)  # once: it may be replaced at any moment
    info = _json(metadata, INFO, path) or {}
    try:
        network = network_of(tensors, metadata, path)
        columns, target = _json(metadata, PREPROCESSING, path), _json(metadata, TARGET, path)
        return Model(network,
                     None if columns is None else Preprocessor.from_dict(columns),
                     None if target is None else Target.from_dict(target), info)
    except ValueError as error:
        writer = info.get("fastbp")
        if writer is not None and writer != version():
            raise ValueError(f"{path} was written by fastbp {writer}, this is "
                             f"{version()}: {error}") from error
        if path in str(error):
            raise
        raise ValueError(f"{path} is not a fastbp model: {error}") from error


def _json(metadata: dict[str, str], key: str, path: str) -> dict[str, Any] | None:
    if key not in metadata:
        return None
    try:
        found = json.loads(metadata[key])
        if not isinstance(found, dict):
            raise ValueError("no JSON object")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a fastbp model: {key}: {error}") from error
    return found
