"""fastbp: small and medium neural networks, trained fast on CPUs."""

from . import schedules
from .callbacks import Callback
from .gradcheck import gradcheck
from .io import load
from .layers import Dense, Layer, ReLU, Sigmoid, Softmax, Tanh
from .lbfgs import fit_lbfgs
from .losses import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    L2Loss,
    Loss,
    SigmoidBinaryCrossEntropyLoss,
    SoftmaxCrossEntropyLoss,
)
from .network import Network
from .optimizers import SGD, Adagrad, Adam, AdamW, Lion, Optimizer, RMSprop
from .schedules import Schedule
from .training import History

__version__ = "0.1.0"

__all__ = [
    "SGD", "Adagrad", "Adam", "AdamW", "BinaryCrossEntropyLoss", "Callback", "CrossEntropyLoss",
    "Dense", "History", "L2Loss", "Layer", "Lion", "Loss", "Network", "Optimizer", "RMSprop",
    "ReLU", "Schedule", "Sigmoid", "SigmoidBinaryCrossEntropyLoss", "Softmax",
    "SoftmaxCrossEntropyLoss", "Tanh", "fit_lbfgs", "gradcheck", "load",
    "schedules",
]
