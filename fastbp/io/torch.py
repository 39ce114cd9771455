"""Networks to PyTorch and back: modules, and state dicts as files have them.

Every layer of fastbp has an equivalent there, with the same names and shapes of tensors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import layers as L
from .._extras import needs
from .._validation import Array, check_dtype, named
from ..layers import Layer
from ..losses import Loss
from ..network import Network
from .parts import cast, check_known, loss_for, need

#: The PyTorch module for each of fastbp's layers: a function of ``torch.nn`` and the layer.
MODULES: dict[type[Layer], Callable[[Any, Any], Any]] = {
    L.Dense: lambda t, x: t.Linear(x.n_in, x.n_out, bias=x.bias is not None),
    L.Sigmoid: lambda t, x: t.Sigmoid(),
    L.Tanh: lambda t, x: t.Tanh(),
    L.ReLU: lambda t, x: t.ReLU(),
    L.Softmax: lambda t, x: t.Softmax(dim=-1),
    L.LogSoftmax: lambda t, x: t.LogSoftmax(dim=-1),
    L.Dropout: lambda t, x: t.Dropout(x.rate),
    L.BatchNorm: lambda t, x: t.BatchNorm1d(x.n_in, x.epsilon, x.momentum),
    L.LayerNorm: lambda t, x: t.LayerNorm(x.n_in, x.epsilon),
    L.LeakyReLU: lambda t, x: t.LeakyReLU(x.negative_slope),
    L.ELU: lambda t, x: t.ELU(x.alpha),
    L.SiLU: lambda t, x: t.SiLU(),
    L.Softplus: lambda t, x: t.Softplus(threshold=40),  # the curve in float64 too
    L.GELU: lambda t, x: t.GELU(x.approximate),
    L.Identity: lambda t, x: t.Identity(),
    L.Flatten: lambda t, x: t.Flatten(),
}


def _torch() -> Any:
    with needs("this needs PyTorch", "torch"):
        import torch
    return torch


def to_torch(network: Network) -> Any:
    """The network as a ``torch.nn.Sequential`` with the same parameters, in evaluation mode.

    Parameters
    ----------
    network : Network

    Returns
    -------
    torch.nn.Sequential
        A module for each layer, with copies of the parameters in the network's dtype, without
        ``requires_grad`` if the layer is not trainable; without the loss.

    Raises
    ------
    ImportError
        Without PyTorch (extra ``torch``).
    TypeError
        If ``network`` is something else, or has a layer of the user's own: names it.
    """
    check_known(network, MODULES, "PyTorch")
    torch = _torch()
    modules = []
    for layer in network.layers:
        module = MODULES[type(layer)](torch.nn, layer)
        for name, value in layer.parameters().items():
            getattr(module, name).data = torch.from_numpy(np.array(value, order="C"))
        module.requires_grad_(layer.trainable)
        modules.append(module)
    return torch.nn.Sequential(*modules).train(False)


def to_torch_state_dict(network: Network) -> dict[str, Any]:
    """The parameters as ``to_torch(network).state_dict()``: "0.weight" (out, in), ...

    Parameters
    ----------
    network : Network

    Returns
    -------
    dict from str to torch.Tensor

    Raises
    ------
    ImportError, TypeError
        As ``to_torch``.
    """
    return dict(to_torch(network).state_dict())


def from_torch(source: Any, network: Network | None = None, *, loss: Loss | str | None = None,
               dtype: Any = None) -> Network:
    """A network from a PyTorch model, or one that is filled with its parameters.

    Parameters
    ----------
    source : torch.nn.Module or mapping from str to tensor or array
        A module with an equivalent in fastbp, or a ``torch.nn.Sequential`` of such, nested or
        not; or a state dict, which does not tell activations and so needs ``network``. Tensors
        are taken by name if the names are those of ``named_parameters``, else in order. A last
        Flatten after a Linear is left out.
    network : Network, optional
        Network to fill; its layers with parameters must be those of ``source``.
    loss : Loss or str, optional
        For a new network. By default the cross-entropy that goes with a last softmax or
        sigmoid, else ``MSELoss``.
    dtype : {"float32", "float64"}, optional
        For a new network; by default that of the tensors, float32 for narrower ones.

    Returns
    -------
    Network
        ``network`` if one was given.

    Raises
    ------
    ImportError
        For a module, without PyTorch (extra ``torch``).
    TypeError
        For a module without equivalent, or options that do not go with ``source``.
    ValueError
        For a setting of a module without equivalent, modules that share a parameter, or tensors
        that do not fit or hold numbers beyond the dtype; ``network`` is unchanged then.
    """
    if isinstance(source, Mapping):
        if network is None:
            raise TypeError("a state dict tells no activations: give the network to fill")
        if loss is not None or dtype is not None:
            raise TypeError("loss and dtype are of a new network, not of one to fill")
        return fill(network, {str(k): _array(v) for k, v in source.items()})
    torch = _torch()
    if not isinstance(source, torch.nn.Module):
        raise TypeError("source must be a torch.nn.Module or a state dict, got "
                        f"{type(source).__name__}")
    _check_unshared(source)
    if network is not None:
        return from_torch(dict(source.state_dict()), network, loss=loss, dtype=dtype)
    pairs = []
    for module in _flat(torch.nn, source):
        with named(repr(module)):
            pairs.append((module, _layer(torch.nn, module)))
    if not pairs:
        raise ValueError(f"{source!r} has no layers")
    _check_rows(pairs)
    while type(pairs[-1][1]) is L.Flatten and L.Dense in [type(layer) for _, layer in pairs]:
        pairs.pop()  # flat already: the loss and the classes go by the layer below
    if dtype is None:
        wide = any(value.dtype == torch.float64 for value in source.state_dict().values())
        dtype = "float64" if wide else "float32"
    layers = [layer for _, layer in pairs]
    made = Network(layers, loss_for(layers[-1], loss), check_dtype(dtype))
    for k, (module, layer) in enumerate(pairs):
        size = getattr(module, "num_features", getattr(module, "normalized_shape", layer.n_in))
        if size not in (layer.n_in, (layer.n_in,)):
            raise ValueError(f"{module!r} does not fit rows of {layer.n_in} numbers")
        own, found = layer.parameters(), module.state_dict()
        found.pop("num_batches_tracked", None)
        # A tensor that a module has as None stays 1 or 0.
        lost = [name for name in own if name not in found and getattr(module, name) is not None]
        if lost or not found.keys() <= own.keys():
            raise ValueError(f"{module!r} has tensors {sorted(found)}, expected {sorted(own)}")
        for name, value in found.items():
            own[name][...] = _real(f"{k}.{name}", _array(value), made.dtype)
        wanted = [value.requires_grad for value in module.parameters(recurse=False)]
        layer.trainable = not wanted or any(wanted)
    return made


def _check_unshared(module: Any) -> None:
    """Refuse a tensor in two places: fastbp's layers have each their own."""
    seen: dict[int, str] = {}
    for name, value in (*module.named_parameters(remove_duplicate=False),
                        *module.named_buffers(remove_duplicate=False)):
        first = seen.setdefault(id(value), name)
        if first != name:
            raise ValueError(f"{first} and {name} are one tensor, which has no equivalent in "
                             "fastbp: give the Sequential within, if it is one module of two "
                             "names; for two of the same values, the state_dict() and a network "
                             "to fill")


def fill(network: Network, tensors: dict[str, Array]) -> Network:
    """Put tensors into ``network``: by its own names, else layer by layer in order.

    Parameters
    ----------
    network : Network
    tensors : dict of ndarray
        By names that end in the parameter's, as "0.weight" and "fc.weight"; any
        "num_batches_tracked" is ignored.

    Raises
    ------
    TypeError, ValueError
        If they do not fit; the network is unchanged then.
    """
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network, got {type(network).__name__}")
    own = network.named_parameters()
    found = {k: v for k, v in tensors.items() if k.split(".")[-1] != "num_batches_tracked"}
    if own.keys() != found.keys():
        places = list(dict.fromkeys(name.rpartition(".")[0] for name in found))
        kept = [str(k) for k, layer in enumerate(network.layers) if layer.shapes()]
        if len(places) != len(kept):
            raise ValueError(f"tensors of {len(places)} layers, {places}, for {len(kept)} layers "
                             f"with parameters of {network!r}")
        new = dict(zip(_in_order(places), kept, strict=True))
        found = {f"{new[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": value
                 for name, value in found.items()}
    if own.keys() != found.keys():
        raise ValueError(f"tensors {sorted(tensors)} do not fit {network!r}, which has "
                         f"{sorted(own)}")
    new_values = {}
    for name, value in found.items():
        if value.shape != own[name].shape:
            raise ValueError(f"{name} has shape {value.shape}, the network's is "
                             f"{own[name].shape}")
        new_values[name] = _real(name, value, network.dtype)
    for name, value in new_values.items():
        own[name][...] = value
    return network


def _in_order(places: list[str]) -> list[str]:
    """In the given order, but by number if only numbers differ: files sort names as text."""
    parts = [re.split(r"(\d+)", place) for place in places]
    words = {tuple(p[::2]) for p in parts}
    if len(words) > 1:
        return places
    return sorted(places, key=lambda place: [int(n) for n in re.findall(r"\d+", place)])


def _array(value: Any) -> Array:
    """A tensor or array as a NumPy array; bfloat16, which NumPy does not have, as float32."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() and value.itemsize < 4 else value
        return np.asarray(value.numpy())
    return np.asarray(value)


def _real(name: str, value: Array, dtype: np.dtype[Any]) -> Array:
    if value.dtype.kind not in "iuf":
        raise ValueError(f"{name} must hold real numbers, got dtype {value.dtype}")
    return cast(name, value, dtype)


def _flat(nn: Any, module: Any) -> list[Any]:
    if module._forward_hooks or module._forward_pre_hooks:
        raise ValueError(f"{module!r} has forward hooks, as of pruning, weight_norm or "
                         "spectral_norm, which have no equivalent in fastbp: remove them first")
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        return [inner for child in module for inner in _flat(nn, child)]
    return [module]


def _check_rows(pairs: list[tuple[Any, Layer]]) -> None:
    """Refuse a softmax before the first Flatten, which may be over one axis of several. After a
    Linear it is allowed: a network with one refuses rows that are not flat."""
    kinds = [type(layer) for _, layer in pairs]
    until = kinds.index(L.Flatten) if L.Flatten in kinds else 0
    until = kinds.index(L.Dense) if L.Dense in kinds[:until] else until
    for module, layer in pairs[:until]:
        if isinstance(layer, (L.Softmax, L.LogSoftmax)):
            raise ValueError(f"{module!r} before the first Flatten, where rows may have several "
                             "axes, has no equivalent in fastbp")


def _layer(nn: Any, module: Any) -> Layer:
    """The layer for a module."""
    kind = type(module)
    simple = {nn.Sigmoid: L.Sigmoid, nn.Tanh: L.Tanh, nn.ReLU: L.ReLU, nn.SiLU: L.SiLU,
              nn.Identity: L.Identity}
    if kind in simple:
        return simple[kind]()
    if kind is nn.Linear:
        return L.Dense(module.in_features, module.out_features, bias=module.bias is not None)
    if kind is nn.Flatten:
        need(vars(module), start_dim=1, end_dim=(-1, 1))
        return L.Flatten()
    if kind in (nn.Softmax, nn.LogSoftmax):
        need(vars(module), dim=(-1, 1, None))
        return L.Softmax() if kind is nn.Softmax else L.LogSoftmax()
    if kind is nn.Dropout:
        return L.Dropout(module.p)
    if kind is nn.LeakyReLU:
        return L.LeakyReLU(module.negative_slope)
    if kind is nn.ELU:
        return L.ELU(module.alpha)
    if kind is nn.GELU:
        return L.GELU(module.approximate)
    if kind is nn.Softplus:
        need(vars(module), beta=1)
        if module.threshold < 20:  # from 20 on the line is the curve, to 2e-9
            raise ValueError(f"threshold={module.threshold!r} has no equivalent in fastbp, it "
                             "must be 20 or more")
        return L.Softplus()
    if kind is nn.BatchNorm1d:
        need(vars(module), track_running_stats=True)
        if module.momentum is None:
            raise ValueError("momentum=None has no equivalent in fastbp")
        return L.BatchNorm(module.momentum, module.eps)
    if kind is nn.LayerNorm:
        if len(module.normalized_shape) != 1:
            raise ValueError(f"it normalises {module.normalized_shape}, not a row")
        return L.LayerNorm(module.eps)
    raise TypeError("it has no equivalent in fastbp")
