"""Which parameters of a network training changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ._validation import Array, check_bool

if TYPE_CHECKING:
    from .layers import Layer


class Trainable:
    """Base of ``Network``."""

    if TYPE_CHECKING:
        layers: tuple[Layer, ...]
        dtype: np.dtype[Any]
        params: Array
        _offsets: list[int]

    @property
    def trainable(self) -> bool:
        """Whether training changes any layer. Setting it sets it of every layer."""
        return any(layer.trainable for layer in self.layers if layer.shapes())

    @trainable.setter
    def trainable(self, value: bool) -> None:
        value = check_bool(value, "trainable")
        for layer in self.layers:
            layer.trainable = value

    def untrained(self) -> Array:
        """Mask of the flat parameters that training leaves alone: those of layers that are not
        trainable, buffers, and padding."""
        still = np.ones(self.params.size, bool)
        for layer, name, view in self._tensors(still):
            view[...] = not layer.trainable or name in layer.buffers
        return still

    def _tensors(self, flat: Array) -> Iterator[tuple[Layer, str, Array]]:
        """(layer, "weight", view into ``flat``) of each tensor; ``flat`` is laid out as
        ``params``."""
        for layer, at in zip(self.layers, self._offsets, strict=True):
            for tensor in layer.layout(self.dtype)[0]:
                yield layer, tensor.name, tensor.view(flat[at:])

    def check_trainable(self) -> None:
        """Refuse to train if every layer with parameters is frozen, or one is that cannot be.

        Raises
        ------
        ValueError
        """
        if all(layer.trainable for layer in self.layers):
            return
        kinds = {layer.trainable for layer in self.layers if layer.shapes()}
        if kinds == {False}:
            raise ValueError("no layer with parameters is trainable: set trainable=True of some")
        for layer in [x for x in self.layers if x._steady]:
            kernels = layer.kernels_for(self.dtype, int(layer.n_in or 0), int(layer.n_out or 0))
            if kernels and kernels.couple_forward:
                raise ValueError(f"{layer!r} cannot be held: its kernels_for gives none for that")
