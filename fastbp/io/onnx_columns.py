"""A preprocessor as ONNX: an input for each raw column, features concatenated.

    numbers     Cast to float64, NaN -> fill, (value - mean) / scale, Cast to the network's
    words       LabelEncoder to the index among the categories, then Equal with each of them
                (one-hot) or Cast (ordinal)

A word that is refused, unknown or missing, gets an index that is out of range for a Gather: the
runtime then fails, as ``predict`` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .onnx_graph import ML, Graph


def features_of(g: Graph, columns: Sequence[Any]) -> str:
    """Add an input for each column; return the matrix of features that the network reads.

    Parameters
    ----------
    g : Graph
    columns : sequence of Numeric, Boolean, Categorical

    Returns
    -------
    str
        Name of the features (N, n_features).
    """
    words = {id(c) for c in columns if type(c).__name__ == "Categorical"}
    inputs = [g.take(str(c.name) or f"column{k}", object if id(c) in words else g.dtype, 1)
              for k, c in enumerate(columns)]
    parts = [_words(g, c, x) if id(c) in words else _number(g, c, x)
             for c, x in zip(columns, inputs, strict=True)]
    return parts[0] if len(parts) == 1 else g.op("Concat", *parts, axis=1)


def _number(g: Graph, column: Any, x: str) -> str:
    double = np.dtype(np.float64)
    if g.dtype != double:
        x = g.op("Cast", x, to=g.kind(double))
    if column.fill is not None:
        x = g.op("Where", g.op("IsNaN", x), g.constant(double.type(column.fill), "fill"), x)
    mean, scale = getattr(column, "mean", 0.0), getattr(column, "scale", 1.0)
    if mean != 0:
        x = g.op("Sub", x, g.constant(double.type(mean), "mean"))
    if scale != 1:
        x = g.op("Div", x, g.constant(double.type(scale), "scale"))
    return x if g.dtype == double else g.op("Cast", x, to=g.kind(g.dtype))


def _words(g: Graph, column: Any, x: str) -> str:
    categories = list(column.categories)
    count, keys = len(categories), list(categories)
    places = list(range(count))
    known = [*places, *([] if column.unknown == "error" else [-1])]  # unknown words come last
    if "" not in keys:  # a missing word
        keys.append("")
        places.append(len(known) if column.fill is None else categories.index(column.fill))
    place = g.op("LabelEncoder", x, domain=ML, keys_strings=keys, values_int64s=places,
                 default_int64=count)
    place = g.op("Gather", g.constant(np.array(known)), place)
    if column.encoding == "ordinal":
        return g.op("Cast", place, to=g.kind(g.dtype))
    hot = g.op("Equal", place, g.constant(np.arange(count)[None]))
    return g.op("Cast", hot, to=g.kind(g.dtype))
