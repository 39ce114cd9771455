"""A training run as a file: the network's, with the run's arrays and description beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..callbacks import Callback
from ..run import Run
from .safetensors import describe, read, write

_FORMAT = "fastbp-run-1"


def _states(hooks: Sequence[Callback]) -> dict[str, dict[str, Any]]:
    """State of each callback that has any, by type and count of its kind."""
    found: dict[str, dict[str, Any]] = {}
    for hook in hooks:
        state = hook.state()
        if state:
            name, count = type(hook).__name__, 0
            while f"{name}.{count}" in found:
                count += 1
            found[f"{name}.{count}"] = state
    return found


def save_run(run: Run, hooks: Sequence[Callback], path: str | os.PathLike[str]) -> None:
    """Write ``run``, its network and the state of ``hooks`` to ``path``, whole or not at all.

    Raises
    ------
    TypeError
        If a layer or loss is not one of fastbp's own.
    OSError
        If the file cannot be written; an earlier one stays as it was.
    """
    arrays, described = run.state()
    tensors = {f"run/{name}": value for name, value in arrays.items()}
    callbacks: dict[str, dict[str, Any]] = {}
    for name, state in _states(hooks).items():
        callbacks[name] = {k: v for k, v in state.items() if not isinstance(v, np.ndarray)}
        tensors |= {f"run/{name}/{k}": v for k, v in state.items() if isinstance(v, np.ndarray)}
    described |= {"format": _FORMAT, "callbacks": callbacks}
    tensors["run/params"] = run.network.params
    write(path, tensors | dict(run.network.named_parameters()),
          {"fastbp": describe(run.network), "fastbp-run": json.dumps(described)})


def restore(run: Run, hooks: Sequence[Callback], path: str | os.PathLike[str]) -> None:
    """Stand where the run in ``path`` stood: parameters, state, history, callbacks.

    Raises
    ------
    ValueError
        If the file is no checkpoint, or of a run with other data, sizes or optimizer; nothing
        is changed then.
    OSError
        If it cannot be read.
    """
    tensors, metadata = read(path)
    if "fastbp-run" not in metadata:
        raise ValueError(f"{os.fspath(path)} holds a network but no run to resume")
    described = json.loads(metadata["fastbp-run"])
    own, found = json.loads(describe(run.network)), json.loads(metadata["fastbp"])
    if described.get("format") != _FORMAT or own != found:
        raise ValueError(f"{os.fspath(path)} is the run of another network: {found}")
    arrays = {name[4:]: value for name, value in tensors.items() if name.startswith("run/")}
    run.restore(arrays, described)
    run.network.params[...] = arrays["params"]
    wanted: dict[str, int] = {}
    for hook in hooks:
        name = type(hook).__name__
        key = f"{name}.{wanted.setdefault(name, 0)}"
        if key in described["callbacks"]:
            extra = {k[len(key) + 1:]: v for k, v in arrays.items() if k.startswith(key + "/")}
            hook.restore(described["callbacks"][key] | extra)
            wanted[name] += 1
