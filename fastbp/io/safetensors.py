"""One safetensors file per model: tensors as (out, in), architecture as JSON metadata.

No pickle, no importable names: layers and losses come from fixed tables.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from .._validation import as_path
from ..layers import LAYERS
from ..losses import LOSSES, CustomLoss
from ..network import Network
from .files import write_whole
from .parts import cast

FORMAT = "fastbp-network-1"
#: Metadata that holds the version of fastbp that wrote a file.
VERSION = "fastbp.version"


def describe(network: Network) -> str:
    """Layers, loss, dtype and seed as JSON.

    Raises
    ------
    TypeError
        If a layer or loss is not one of fastbp's own.
    ValueError
        If the loss is a ``CustomLoss``, or the dtype would make a setting 0 or infinite.
    """
    if isinstance(network.loss_function, CustomLoss):
        raise ValueError(f"{network.loss_function!r} holds a function, which no model file can "
                         "keep: save the network with a loss of fastbp's own")
    for part, table in [*((layer, LAYERS) for layer in network.layers),
                        (network.loss_function, LOSSES)]:
        if table.get(type(part).__name__) is not type(part):  # type: ignore[attr-defined]
            raise TypeError(f"{part!r} is not one of fastbp's own and cannot be saved")
    network.check_constants()  # ``load`` would refuse what was set later
    return json.dumps({
        "format": FORMAT,
        "layers": [{"type": type(x).__name__, **x.config(),
                    **({} if x.trainable else {"trainable": False})} for x in network.layers],
        "loss": {"type": type(network.loss_function).__name__, **network.loss_function.config()},
        "dtype": network.dtype.name, "n_in": network.n_in, "seed": network.seed,
        "allow_nonfinite": network.allow_nonfinite,
        **({} if network.matmul_precision == "highest"
           else {"matmul_precision": network.matmul_precision}),
    })


def save(network: Network, path: str | os.PathLike[str]) -> None:
    """Write layers, loss and parameters to one safetensors file, whole or not at all.

    The state of an optimizer is left out. ``fastbp.load`` reads the file.

    Parameters
    ----------
    network : Network
    path : path

    Raises
    ------
    TypeError
        If a layer or loss is not one of fastbp's own, or ``path`` is no path.
    ValueError
        If the loss is a ``CustomLoss``, or the dtype would make a setting 0 or infinite.
    OSError
        If the file cannot be written; an earlier one stays as it was.
    """
    write(path, network.named_parameters(), {"fastbp": describe(network)})


def write(path: str | os.PathLike[str], tensors: dict[str, Any],
          metadata: dict[str, str]) -> None:
    """Write a safetensors file, whole or not at all; the metadata get fastbp's version."""
    from safetensors.numpy import save as encode

    # safetensors writes wrong bytes for arrays that are not C-contiguous.
    whole = {name: np.asarray(value, order="C") for name, value in tensors.items()}
    write_whole(path, encode(whole, metadata=metadata | {VERSION: version()}))


def version() -> str:
    """fastbp's version, which is in every file that it writes."""
    from .. import __version__  # here, as this module may be imported before it is set

    return __version__


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Tensors and metadata of a fastbp file.

    Raises
    ------
    TypeError
        If ``path`` is not a path.
    ValueError
        If it is empty, or the file damaged or not fastbp's.
    OSError
        If it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    path = as_path(path)
    with open(path, "rb"):  # a missing file is an OSError that names it
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if "fastbp" not in metadata:
                raise ValueError("no metadata of fastbp")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a fastbp model: {error}") from error
    return tensors, metadata


def load(path: str | os.PathLike[str]) -> Network:
    """The network in ``path``, as ``Network.save`` wrote it.

    Parameters
    ----------
    path : path
        A file of ``Network.save``, ``Model.save`` or a ``Checkpoint``.

    Returns
    -------
    Network

    Raises
    ------
    TypeError
        If ``path`` is not a path.
    ValueError
        If the file is damaged or not a fastbp model.
    OSError
        If it cannot be read.
    """
    return network_of(*read(path), path)


def network_of(tensors: dict[str, Any], metadata: dict[str, str],
               path: str | os.PathLike[str]) -> Network:
    """The network of what was read from ``path``.

    Raises
    ------
    ValueError
        If it describes none.
    """
    try:
        description = json.loads(metadata["fastbp"])
        if description["format"] != FORMAT:
            raise ValueError(f"its format is {description['format']!r}, which is not "
                             f"{FORMAT!r}, the one that is read here")
        return _build(description, {name: value for name, value in tensors.items()
                                    if not name.startswith("run/")})
    except (KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        writer = metadata.get(VERSION, version())
        by = "" if writer == version() else f" (written by fastbp {writer}, this is {version()})"
        raise ValueError(f"{os.fsdecode(path)} is not a fastbp model{by}: {error}") from error


def _make(table: dict[str, Any], entry: dict[str, Any]) -> Any:
    arguments = dict(entry)
    name = arguments.pop("type")
    if name not in table:
        raise ValueError(f"{name!r} is none of {sorted(table)}")
    return table[name](**arguments)


def _build(description: dict[str, Any], tensors: dict[str, Any]) -> Network:
    layers = []
    for entry in description["layers"]:
        arguments = dict(entry)
        trainable = arguments.pop("trainable", True)
        layers.append(_make(LAYERS, arguments))
        layers[-1].trainable = trainable
    width = description["n_in"]
    for k, layer in enumerate(layers):  # before anything of the claimed sizes is allocated
        width = layer.connect(width)
        for name, shape in layer.shapes().items():
            found = getattr(tensors.get(f"{k}.{name}"), "shape", None)
            if found != shape:
                raise ValueError(f"{k}.{name} has shape {found}, expected {shape}")
    network = Network(layers, _make(LOSSES, description["loss"]), description["dtype"],
                      description["seed"], allow_nonfinite=description["allow_nonfinite"],
                      matmul_precision=description.get("matmul_precision", "highest"))
    own = network.named_parameters()
    if own.keys() != tensors.keys():
        raise ValueError(f"tensors {sorted(tensors)}, expected {sorted(own)}")
    for name, value in tensors.items():
        if value.dtype.kind != "f":
            raise ValueError(f"{name} has dtype {value.dtype}, expected {network.dtype}")
        own[name][...] = cast(name, value, network.dtype)
    return network
