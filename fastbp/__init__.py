"""fastbp: small and medium neural networks, trained fast on CPUs."""

from typing import TYPE_CHECKING, Any

from . import data, schedules
from .callbacks import (
    Callback,
    Checkpoint,
    CSVLog,
    EarlyStopping,
    JSONLines,
    ProgressBar,
    ReduceOnPlateau,
    StopOnNaN,
    TensorBoard,
    TimeLimit,
)
from .gradcheck import gradcheck
from .history import History
from .io import load
from .layers import (
    ELU,
    GELU,
    BatchNorm,
    Dense,
    Dropout,
    Flatten,
    Identity,
    Layer,
    LayerNorm,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from .lbfgs import fit_lbfgs
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
from .many import fit_many
from .model import Model, load_model
from .network import Network
from .optimizers import SGD, Adagrad, Adam, AdamW, Lion, Optimizer, RMSprop
from .schedules import Schedule
from .streaming import fit_stream

if TYPE_CHECKING:
    from .estimators import MLPClassifier, MLPRegressor
    from .io.c import to_c
    from .io.keras import from_keras, to_keras
    from .io.onnx import to_onnx
    from .io.sklearn import from_sklearn, to_sklearn
    from .io.torch import from_torch, to_torch, to_torch_state_dict

__version__ = "0.1.0"

__all__ = [
    "Adagrad", "Adam", "AdamW", "BatchNorm", "BinaryCrossEntropyLoss", "CSVLog", "Callback",
    "Checkpoint", "CrossEntropyLoss", "CustomLoss", "Dense", "Dropout", "ELU", "EarlyStopping",
    "Flatten", "FocalLoss", "GELU", "HingeLoss", "History", "HuberLoss", "Identity",
    "JSONLines", "L2Loss", "Layer", "LayerNorm", "LeakyReLU", "Lion", "LogSoftmax", "Loss",
    "MAELoss", "MLPClassifier", "MLPRegressor", "MSELoss", "Model", "Network", "Optimizer",
    "PoissonLoss", "ProgressBar", "QuantileLoss", "RMSprop", "ReLU", "ReduceOnPlateau", "SGD",
    "Schedule", "SiLU", "Sigmoid", "SigmoidBinaryCrossEntropyLoss", "SigmoidFocalLoss",
    "Softmax", "SoftmaxCrossEntropyLoss", "Softplus", "StopOnNaN", "Tanh", "TensorBoard",
    "TimeLimit", "data", "fit_lbfgs", "fit_many", "fit_stream", "from_keras", "from_sklearn",
    "from_torch", "gradcheck", "load", "load_model", "schedules", "to_c", "to_keras",
    "to_onnx", "to_sklearn", "to_torch", "to_torch_state_dict",
]

#: What is imported when it is asked for, and where it is.
_LATER = {
    "MLPClassifier": "estimators", "MLPRegressor": "estimators", "to_c": "io.c",
    "from_keras": "io.keras", "to_keras": "io.keras", "to_onnx": "io.onnx",
    "from_sklearn": "io.sklearn", "to_sklearn": "io.sklearn", "from_torch": "io.torch",
    "to_torch": "io.torch", "to_torch_state_dict": "io.torch"}


def __getattr__(name: str) -> Any:
    """The estimators, which import scikit-learn, and exports, when they are asked for."""
    if name in _LATER:
        from importlib import import_module

        return getattr(import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
