"""Layers. A new one is a file here, and a line below."""

from .activations import ELU, Identity, LeakyReLU, ReLU, Sigmoid, Tanh
from .base import Layer
from .batch_norm import BatchNorm
from .dense import Dense
from .dropout import Dropout
from .flatten import Flatten
from .layer_norm import LayerNorm
from .smooth import GELU, SiLU, Softplus
from .softmax import LogSoftmax, Softmax

#: Every layer by the name that model files and tests use.
LAYERS: dict[str, type[Layer]] = {
    c.__name__: c for c in (
        Dense, Sigmoid, Tanh, ReLU, Softmax, Dropout, BatchNorm, LayerNorm, LeakyReLU, ELU, SiLU,
        Softplus, GELU, Identity, LogSoftmax, Flatten)}

#: Activations by name.
ACTIVATIONS: dict[str, type[Layer]] = {
    "relu": ReLU, "tanh": Tanh, "sigmoid": Sigmoid, "logistic": Sigmoid, "identity": Identity,
    "leaky_relu": LeakyReLU, "elu": ELU, "gelu": GELU, "silu": SiLU, "swish": SiLU,
    "softplus": Softplus, "softmax": Softmax, "log_softmax": LogSoftmax}

__all__ = ["ACTIVATIONS", "ELU", "GELU", "LAYERS", "BatchNorm", "Dense", "Dropout", "Flatten",
           "Identity", "Layer", "LayerNorm", "LeakyReLU", "LogSoftmax", "ReLU", "SiLU", "Sigmoid",
           "Softmax", "Softplus", "Tanh"]
