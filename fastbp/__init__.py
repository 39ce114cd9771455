"""fastbp: small and medium neural networks, trained fast on CPUs.

Names are imported when they are first used: a command that only shows its help, or a
shell that completes it, does not wait for Numba.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from .estimators import MLPClassifier, MLPRegressor
    from .gradients import gradcheck
    from .history import History
    from .io import load
    from .io.c import to_c
    from .io.keras import from_keras, to_keras
    from .io.onnx import to_onnx
    from .io.onnx_pipeline import register_skl2onnx
    from .io.sklearn import from_sklearn, to_sklearn
    from .io.torch import from_torch, to_torch, to_torch_state_dict
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
        "from_torch", "gradcheck", "load", "load_model", "register_skl2onnx", "schedules", "to_c",
        "to_keras", "to_onnx", "to_sklearn", "to_torch", "to_torch_state_dict",
    ]

__version__ = "0.1.0"

#: Modules of the public names.
_HOMES = {
    "callbacks": ("CSVLog", "Callback", "Checkpoint", "EarlyStopping", "JSONLines", "ProgressBar",
                  "ReduceOnPlateau", "StopOnNaN", "TensorBoard", "TimeLimit"),
    "estimators": ("MLPClassifier", "MLPRegressor"),
    "gradients": ("gradcheck",),
    "history": ("History",),
    "io": ("load",),
    "io.c": ("to_c",),
    "io.keras": ("from_keras", "to_keras"),
    "io.onnx": ("to_onnx",),
    "io.onnx_pipeline": ("register_skl2onnx",),
    "io.sklearn": ("from_sklearn", "to_sklearn"),
    "io.torch": ("from_torch", "to_torch", "to_torch_state_dict"),
    "layers": ("BatchNorm", "Dense", "Dropout", "ELU", "Flatten", "GELU", "Identity", "Layer",
               "LayerNorm", "LeakyReLU", "LogSoftmax", "ReLU", "SiLU", "Sigmoid", "Softmax",
               "Softplus", "Tanh"),
    "lbfgs": ("fit_lbfgs",),
    "losses": ("BinaryCrossEntropyLoss", "CrossEntropyLoss", "CustomLoss", "FocalLoss",
               "HingeLoss", "HuberLoss", "L2Loss", "Loss", "MAELoss", "MSELoss", "PoissonLoss",
               "QuantileLoss", "SigmoidBinaryCrossEntropyLoss", "SigmoidFocalLoss",
               "SoftmaxCrossEntropyLoss"),
    "many": ("fit_many",),
    "model": ("Model", "load_model"),
    "network": ("Network",),
    "optimizers": ("Adagrad", "Adam", "AdamW", "Lion", "Optimizer", "RMSprop", "SGD"),
    "schedules": ("Schedule",),
    "streaming": ("fit_stream",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def _public() -> list[str]:
    """``__all__``, without the names that need a package which is not there."""
    import sys
    from importlib.util import find_spec

    try:
        absent = not (sys.modules.get("sklearn") or find_spec("sklearn"))
    except ImportError:  # of a finder that hides it
        absent = True
    return sorted({"data", "schedules", *_HOME_OF} - {*_HOMES["estimators"] * absent})


def __getattr__(name: str) -> Any:
    """A public name or a module of fastbp, imported when it is first used."""
    from importlib import import_module
    from importlib.util import find_spec

    if name == "__all__":
        return _public()
    if name in _HOME_OF:
        from ._garbage import no_full_collections

        with no_full_collections():
            value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
        globals()[name] = value
        return value
    known = name.isidentifier() and not name.startswith("_")
    if known and find_spec(f"{__name__}.{name}") is not None:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_public()})
