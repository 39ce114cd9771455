"""fastbp: small and medium neural networks, trained fast on CPUs."""

from .callbacks import Callback
from .gradcheck import gradcheck
from .io import load
from .layers import Dense, Layer, ReLU, Sigmoid, Softmax, Tanh
from .losses import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    L2Loss,
    Loss,
    SigmoidBinaryCrossEntropyLoss,
    SoftmaxCrossEntropyLoss,
)
from .network import Network
from .optimizers import SGD, Adam, Optimizer
from .training import History

__version__ = "0.1.0"

__all__ = [
    "SGD", "Adam", "BinaryCrossEntropyLoss", "Callback", "CrossEntropyLoss", "Dense", "History",
    "L2Loss", "Layer", "Loss", "Network", "Optimizer", "ReLU", "Sigmoid",
    "SigmoidBinaryCrossEntropyLoss", "Softmax", "SoftmaxCrossEntropyLoss", "Tanh", "gradcheck",
    "load",
]
