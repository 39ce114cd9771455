"""Dense stacks from Keras 3 and back, over any of its backends.

Keras has kernels as (in, out), and calls the scale and shift of a normalisation gamma and beta;
its momentum of batch norm is the weight of the old average, not of the new batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import layers as L
from .._extras import needs
from .._validation import Array, check_dtype, named
from .._warning import warn
from ..layers import Layer
from ..losses import Loss
from ..network import Network
from .keras_loss import PACKAGES, compiled_loss
from .keras_loss import from_keras as _from_keras
from .parts import cast, check_known, loss_for, need


def _activation(name: str) -> Callable[[Any, Any, str], Any]:
    return lambda k, layer, dtype: k.layers.Activation(name, dtype=dtype)


def _gelu(keras: Any, layer: Any, dtype: str) -> Any:
    if layer.approximate == "none":
        return keras.layers.Activation("gelu", dtype=dtype)
    return lambda x: keras.ops.gelu(x, approximate=True)  # no layer has this form


#: The Keras layer for each of fastbp's: a function of Keras, layer and dtype.
MODULES: dict[type[Layer], Callable[[Any, Any, str], Any]] = {
    L.Dense: lambda k, x, dtype: k.layers.Dense(x.n_out, use_bias=x.bias is not None,
                                                dtype=dtype),
    L.Sigmoid: _activation("sigmoid"), L.Tanh: _activation("tanh"), L.ReLU: _activation("relu"),
    L.SiLU: _activation("silu"), L.Softplus: _activation("softplus"),
    L.Identity: _activation("linear"), L.LogSoftmax: _activation("log_softmax"),
    L.Softmax: lambda k, x, dtype: k.layers.Softmax(dtype=dtype),
    L.Flatten: lambda k, x, dtype: k.layers.Flatten(dtype=dtype),
    L.GELU: _gelu,
    L.LeakyReLU: lambda k, x, dtype: k.layers.LeakyReLU(x.negative_slope, dtype=dtype),
    L.ELU: lambda k, x, dtype: k.layers.ELU(x.alpha, dtype=dtype),
    L.Dropout: lambda k, x, dtype: k.layers.Dropout(x.rate, dtype=dtype),
    L.LayerNorm: lambda k, x, dtype: k.layers.LayerNormalization(epsilon=x.epsilon, dtype=dtype),
    L.BatchNorm: lambda k, x, dtype: k.layers.BatchNormalization(
        momentum=1 - x.momentum, epsilon=x.epsilon, dtype=dtype),
}
#: Activations of Keras by name.
ACTIVATIONS: dict[str, Callable[[], Layer]] = {
    "sigmoid": L.Sigmoid, "tanh": L.Tanh, "relu": L.ReLU, "silu": L.SiLU, "swish": L.SiLU,
    "softplus": L.Softplus, "linear": L.Identity, "log_softmax": L.LogSoftmax,
    "softmax": L.Softmax, "gelu": L.GELU, "elu": L.ELU, "leaky_relu": lambda: L.LeakyReLU(0.2)}


def to_keras(network: Network) -> Any:
    """The network as a Keras model with the same parameters.

    Parameters
    ----------
    network : Network

    Returns
    -------
    keras.Sequential, or keras.Model if a GELU has the form "tanh"
        A layer for each, with copies of the parameters in the network's dtype, though most
        backends compute in float32; without the loss.

    Raises
    ------
    ImportError
        Without Keras 3 and a backend (extra ``keras``).
    TypeError
        If ``network`` is something else, or has a layer of the user's own: names it.
    """
    check_known(network, MODULES, "Keras")
    with needs("to_keras needs Keras 3 and one of its backends", "keras"):
        import keras
    made = [MODULES[type(layer)](keras, layer, network.dtype.name) for layer in network.layers]
    start = keras.Input((network.n_in,), dtype=network.dtype.name)
    if all(isinstance(part, keras.layers.Layer) for part in made):
        model = keras.Sequential([start, *made])
    else:
        end = start
        for part in made:
            end = part(end)
        model = keras.Model(start, end)
    for layer, part in zip(network.layers, made, strict=True):
        values = [np.array(v, order="C") for v in layer.parameters().values()]
        if isinstance(layer, L.Dense):
            values[0] = np.array(layer.weight.T, order="C")
        if values:
            part.set_weights(values)
            part.trainable = layer.trainable
    return model


def from_keras(model: Any, *, loss: Loss | str | None = None, dtype: Any = None) -> Network:
    """A network from a Keras model: a chain of dense layers and those that go with them.

    Regularizers and constraints are of training alone and are left out, with a ``UserWarning``.

    Parameters
    ----------
    model : keras.Sequential or functional keras.Model
        Built. ``Dense``, ``Activation``, ``ReLU``, ``LeakyReLU``, ``ELU``, ``Softmax``,
        ``Dropout``, ``BatchNormalization``, ``LayerNormalization``, ``Flatten``, ``Identity``,
        and ``Normalization`` and ``Rescaling`` as a ``BatchNorm`` that is not trainable, one
        after the other; nested models too. Rows are flat: a model may take images only if a
        ``Flatten`` comes first.
    loss : Loss or str, optional
        By default the one that the model is compiled with, if fastbp has its equal
        (``BinaryCrossEntropyLoss`` sums over outputs, Keras takes their mean); else the
        cross-entropy that goes with a last softmax or sigmoid, else ``MSELoss``, with a warning
        if the model is compiled with another.
    dtype : {"float32", "float64"}, optional
        By default that of the weights, float32 for narrower ones.

    Returns
    -------
    Network

    Raises
    ------
    TypeError
        If ``model`` is something else, or has a layer without equivalent: names it.
    ValueError
        For a setting without equivalent, a model that is not a chain or is not built, a layer or
        weight that is used twice, or weights beyond the dtype.
    """
    if not (_from_keras(model) and hasattr(model, "layers")):
        raise TypeError(f"model must be a Sequential or functional model of Keras, got "
                        f"{type(model).__name__}")
    if not model.built:
        raise ValueError(f"{model.name} is not built: the size of its input is not known")
    layers: list[Layer] = []
    given: list[tuple[str, Layer, list[Array]]] = []
    shape = model.inputs[0].shape  # valid until a Flatten, for its number of axes only
    wide, left_out, owners = False, list[str](), dict[int, Any]()
    for part in _chain(model):
        for weight in getattr(part, "weights", ()):
            if (other := owners.get(id(weight))) is not None:
                how = (f"{part.name} is used twice" if other is part else
                       f"{other.name} and {part.name} share a weight")
                raise ValueError(f"{how}, which has no equivalent in fastbp: its layers have each "
                                 "their own weights")
            owners[id(weight)] = part
        config, own = part.get_config(), []
        left_out += (f"{part.name}: {name}" for name in config if _is_of_training(part, name))
        if hasattr(part, "get_weights"):
            own = [np.asarray(w) for w in part.get_weights()]
        wide |= any(w.dtype == np.float64 for w in own)
        with named(part.name):
            for layer in _layers(part, config, own):
                values = _values(part, config, own) if layer.shapes() else []
                _check_axes(layer, config, shape, values)
                shape = (None, None) if isinstance(layer, L.Flatten) else shape
                layers.append(layer)
                if values:
                    layer.trainable = layer.trainable and bool(part.trainable)
                    given.append((part.name, layer, values))
    if not layers:
        raise ValueError(f"{model.name} has no layers")
    if dtype is None:
        dtype = "float64" if wide else "float32"
    own_loss = getattr(model, "loss", None) if loss is None else None
    if loss is None:
        loss = compiled_loss(model, layers[-1])
    network = Network(layers, loss_for(layers[-1], loss), check_dtype(dtype))
    for part_name, layer, values in given:
        for (name, place), value in zip(layer.parameters().items(), values, strict=True):
            place[...] = cast(f"{part_name}: {name}", value, network.dtype)
    if loss is None and own_loss is not None:
        name = getattr(own_loss, "name", getattr(own_loss, "__name__", own_loss))
        warn(f"not taken over: the loss {name}. {network.loss_function!r} is in its place: give "
             "loss= if that is not what further training should minimise")
    if left_out:
        advice = ": for kernels give fit its l1=, l2= or max_norm="  # those of dense layers
        warn(f"not taken over: {', '.join(left_out)}. Predictions are the same; the loss and "
             f"further training are without{advice * any(': kernel_' in x for x in left_out)}")
    return network


def _chain(model: Any) -> Iterator[Any]:
    """Layers and operations in order, those of nested models too.

    Raises
    ------
    ValueError
        If they are not a chain.
    """
    described = model.get_config()
    parts = list(getattr(model, "operations", model.layers))
    if "input_layers" in described:  # functional: the description has the connections
        feeds = {}
        for entry in described["layers"]:
            nodes = entry["inbound_nodes"]
            found = list(_sources(nodes))
            feeds[entry["name"]] = found[0] if found else None
            if len(nodes) > 1 or len(found) > 1:
                raise ValueError(f"{model.name} is no chain: {entry['name']} has inputs {found}")
        if len(model.outputs) != 1:
            raise ValueError(f"{model.name} is no chain: it has {len(model.outputs)} outputs")
        order = [feeds.get(part.name) for part in parts]
        if order != [None, *(part.name for part in parts[:-1])]:
            raise ValueError(f"{model.name} is no chain: its layers are fed by {order}")
    for part in parts:
        if type(part).__name__ == "InputLayer":
            continue
        if hasattr(part, "layers") and _from_keras(part):
            yield from _chain(part)
        else:
            yield part


def _sources(node: Any) -> Iterator[str]:
    """Names of the layers that a description of a node refers to."""
    if isinstance(node, dict):
        if "keras_history" in node:
            yield node["keras_history"][0]
        for value in node.values():
            yield from _sources(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _sources(value)


def _check_axes(layer: Layer, config: dict[str, Any], shape: Any, values: list[Array]) -> None:
    """Refuse a layer that would not see a whole row at once, as all layers do in fastbp."""
    if len(shape) > 2 and not (values and all(v.ndim == 0 for v in values)):
        if isinstance(layer, (L.Dense, L.Softmax, L.LogSoftmax, L.LayerNorm, L.BatchNorm)):
            raise ValueError(f"inputs of shape {tuple(shape)}, of which it takes one axis, have "
                             "no equivalent in fastbp: a Flatten must stand before it")
        if isinstance(layer, L.Flatten):
            need(config, data_format="channels_last")


def _is_of_training(part: Any, name: str) -> bool:
    """Whether a setting is a regularizer or constraint that does something."""
    given = getattr(part, name, None)
    if given is None or not name.endswith(("_regularizer", "_constraint")):
        return False
    settings = given.get_config() if _from_keras(given) else {}
    factors = [settings[key] for key in ("l1", "l2", "factor") if key in settings]
    return not factors or any(factors)


def _activated(part: Any, config: dict[str, Any]) -> list[Layer]:
    """The activation of a layer: a name, or a layer within."""
    inner, name = part.activation, config["activation"]
    if _from_keras(inner) and not inner.get_weights():
        return _layers(inner, inner.get_config(), [])
    # A user's function may have the name of one of Keras'.
    own = getattr(inner, "__module__", "").split(".")[0] in PACKAGES
    if not own or not isinstance(name, str) or name not in ACTIVATIONS:
        raise TypeError(f"activation {name!r} has no equivalent in fastbp")
    return [ACTIVATIONS[name]()]


def _layers(part: Any, config: dict[str, Any], own: list[Array]) -> list[Layer]:
    """fastbp's layers for one of Keras: a dense one may include its activation."""
    kind = type(part).__name__ if _from_keras(part) else ""
    last = (-1, 1, [-1], [1])
    if kind == "Dense":
        if not own:
            raise ValueError("not built: it has no weights yet")
        for name in ("lora_enabled", "quantization_mode"):
            need({name: getattr(part, name, None)}, **{name: (None, False)})
        n_in, n_out = own[0].shape
        layers: list[Layer] = [L.Dense(n_in, n_out, bias=bool(config["use_bias"]))]
        return layers + ([] if config["activation"] == "linear" else _activated(part, config))
    if kind == "Activation":
        return _activated(part, config)
    if kind == "Flatten":
        return [L.Flatten()]
    if kind == "Identity":
        return []
    if kind == "ReLU":
        need(config, max_value=None, threshold=(0, 0.0))
        slope = float(config.get("negative_slope") or 0)
        return [L.LeakyReLU(slope) if slope else L.ReLU()]
    if kind == "LeakyReLU":
        return [L.LeakyReLU(float(config["negative_slope"]))]
    if kind == "ELU":
        return [L.ELU(float(config["alpha"]))]
    if kind == "Softmax":
        need(config, axis=last)
        return [L.Softmax()]
    if kind == "Gelu":  # an operation between layers
        return [L.GELU("tanh" if config["approximate"] else "none")]
    if kind == "Dropout":
        need(config, noise_shape=None)
        return [L.Dropout(float(config["rate"]))]
    if kind == "BatchNormalization":
        need(config, axis=last, renorm=False)
        return [L.BatchNorm(1 - float(config["momentum"]), float(config["epsilon"]))]
    if kind in ("Normalization", "Rescaling"):
        if kind == "Normalization":
            axes = np.ravel([] if config["axis"] is None else config["axis"])
            need({"axis": tuple(axes.tolist())}, axis=((-1,), (1,), ()))
        constant = L.BatchNorm(epsilon=1e-14)  # its root is Keras' divisor for variance 0
        constant.trainable = False
        return [constant]
    if kind == "LayerNormalization":
        need(config, axis=last, rms_scaling=False)
        return [L.LayerNorm(float(config["epsilon"]))]
    raise TypeError(f"a {type(part).__name__} has no equivalent in fastbp")


def _values(part: Any, config: dict[str, Any], own: list[Array]) -> list[Array]:
    """Weights in the order of the parameters of fastbp's layer."""
    kind, zero, one = type(part).__name__, np.zeros(()), np.ones(())
    if kind == "Dense":
        return [own[0].T, *own[1:]]
    if kind == "Rescaling":
        return [np.asarray(part.scale), np.asarray(part.offset), zero, one]
    if kind == "Normalization":
        if part.mean is None:
            raise ValueError("not built: it has no mean yet")
        mean, spread = (np.asarray(v) for v in (part.mean, part.variance))
        mean, spread = (v.reshape(-1 if v.size > 1 else ()) for v in (mean, spread))
        if config["invert"]:
            return [np.maximum(np.sqrt(spread), 1e-7), mean, zero, one]
        return [one, zero, mean, spread]
    if not own and (config["scale"] or config["center"]):
        raise ValueError("not built: it has no weights yet")
    rest = list(own)
    gamma = rest.pop(0) if config["scale"] else np.ones(1, np.float32)
    beta = rest.pop(0) if config["center"] else np.zeros(1, np.float32)
    return [gamma, beta, *rest]
