"""Layers. A new one is a file here, and a line below."""

from .activations import ReLU, Sigmoid, Tanh
from .base import Layer
from .dense import Dense
from .dropout import Dropout
from .normalization import BatchNorm, LayerNorm
from .softmax import Softmax

#: Every layer by the name that model files and tests use.
LAYERS: dict[str, type[Layer]] = {
    c.__name__: c for c in (Dense, Sigmoid, Tanh, ReLU, Softmax, Dropout, BatchNorm, LayerNorm)}

__all__ = ["LAYERS", "BatchNorm", "Dense", "Dropout", "Layer", "LayerNorm", "ReLU", "Sigmoid",
           "Softmax", "Tanh"]
