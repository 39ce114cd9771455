"""Checks that the layers of a network fit together."""

from __future__ import annotations

import copy
from numbers import Integral
from typing import Any

from .layers import Layer


def check_layers(layers: Any) -> tuple[Layer, ...]:
    """The layers as a tuple; none of them is changed.

    Raises
    ------
    TypeError, ValueError
        For something that is not a layer, a layer used twice, sizes that do not match.
    """
    if isinstance(layers, Layer):
        raise TypeError(f"layers must be a sequence of layers, got {layers!r}")
    layers = tuple(layers)
    if not layers:
        raise ValueError("layers is empty: a network needs at least one")
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"layers[{i}] must be a Layer, got {layer!r}")
        if layer._owner is not None or any(layer is other for other in layers[:i]):
            raise ValueError(f"layers[{i}], {layer!r}, is in a network already: "
                             "copy.copy of it has the same parameters and is in none")
    width = next((layer.n_in for layer in layers if layer.n_in is not None), None)
    if width is None:
        raise ValueError(f"layers[0], {layers[0]!r}, and those above it must tell the number of "
                         "inputs; put in a Dense layer")
    for i, layer in enumerate(layers):  # on copies, so that no layer is changed unless all fit
        if layer.n_in is not None and layer.n_in != width:
            raise ValueError(f"layers[{i}], {layer!r}, takes {layer.n_in} inputs, "
                             f"the layer below gives {width}")
        given = layer.n_out is not None
        width = layer.n_out if given else copy.copy(layer).connect(width)
        if not isinstance(width, Integral) or isinstance(width, bool):
            what = "n_out must be" if given else "connect must return"
            raise TypeError(f"layers[{i}], {layer!r}: {what} the number of outputs, got {width!r}")
    return layers
