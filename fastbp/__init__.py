"""fastbp: small and medium neural networks, trained fast on CPUs."""

from .callbacks import Callback
from .gradcheck import gradcheck
from .io import load
from .layers import Dense, Layer, ReLU, Sigmoid, Softmax, Tanh
from .losses import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    CustomLoss,
    FocalLoss,
    HingeLoss,
    HuberLoss,
    L2Loss,
    Loss,
    MAELoss,
    MSELoss,
    PoissonLoss,
    QuantileLoss,
    SigmoidBinaryCrossEntropyLoss,
    SigmoidFocalLoss,
    SoftmaxCrossEntropyLoss,
)
from .network import Network
from .optimizers import SGD, Adam, Optimizer
from .training import History

__version__ = "0.1.0"

__all__ = [
    "SGD", "Adam", "BinaryCrossEntropyLoss", "Callback", "CrossEntropyLoss", "CustomLoss",
    "Dense", "FocalLoss", "HingeLoss", "History", "HuberLoss", "L2Loss", "Layer", "Loss",
    "MAELoss", "MSELoss", "Network", "Optimizer", "PoissonLoss", "QuantileLoss", "ReLU",
    "Sigmoid", "SigmoidBinaryCrossEntropyLoss", "SigmoidFocalLoss", "Softmax",
    "SoftmaxCrossEntropyLoss", "Tanh", "gradcheck", "load",
]
