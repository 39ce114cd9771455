"""A training run as a file: that of its network, plus the run's arrays and description."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .._validation import check_real, check_size
from ..callbacks import Callback
from ..engine import EPOCH, STEP
from ..run import Run
from .safetensors import describe, read, write

_FORMAT = "fastbp-run-1"


def _states(hooks: Sequence[Callback]) -> dict[str, dict[str, Any]]:
    """State of each callback that has any, by its type and its number among that type."""
    states = {name: hook.state() for name, hook in _named(hooks)}
    return {name: state for name, state in states.items() if state}


def _named(hooks: Sequence[Callback]) -> Iterator[tuple[str, Callback]]:
    counts = Counter[str]()
    for hook in hooks:
        kind = type(hook).__name__
        yield f"{kind}.{counts[kind]}", hook
        counts[kind] += 1


def save_run(run: Run, hooks: Sequence[Callback], path: str | os.PathLike[str]) -> None:
    """Write ``run``, its network and the state of ``hooks`` to ``path``, whole or not at all.

    Raises
    ------
    TypeError
        If a layer or loss is not one of fastbp's own, or a callback's state not plain values.
    ValueError
        If the loss is a ``CustomLoss``.
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
    with run.averaged():  # as the end of the run would leave it; the raw ones are run/params
        network = {name: value.copy() for name, value in run.network.named_parameters().items()}
    write(path, tensors | network,
          {"fastbp": describe(run.network), "fastbp-run": json.dumps(described, default=_plain)})


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"state of a callback must be numbers, text and arrays, got {value!r}")


def restore(run: Run, hooks: Sequence[Callback], path: str | os.PathLike[str]) -> None:
    """Put ``run`` into the state saved in ``path``: parameters, state, history, callbacks.

    Raises
    ------
    ValueError
        If the file is not a checkpoint, is damaged, or is of a run with other data, sizes,
        optimizer or rules, or whose callbacks follow other figures; network and callbacks are
        unchanged then.
    OSError
        If it cannot be read.
    """
    tensors, metadata = read(path)
    if "fastbp-run" not in metadata:
        raise ValueError(f"{os.fsdecode(path)} holds a network but no run to resume")
    params, own = run.network.params.copy(), [dict(vars(hook)) for hook in hooks]
    try:
        _restore(run, hooks, tensors, json.loads(metadata["fastbp-run"]), metadata["fastbp"])
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError, RecursionError
            ) as error:
        run.network.params[...] = params
        for hook, values in zip(hooks, own, strict=True):  # those restored before one that failed
            vars(hook).clear()
            vars(hook).update(values)
        what = f"it has no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{os.fsdecode(path)} cannot be resumed: {what}") from error


def _restore(run: Run, hooks: Sequence[Callback], tensors: dict[str, Any],
             described: dict[str, Any], network: str) -> None:
    own, found = json.loads(describe(run.network)), json.loads(network)
    # A callback may have changed ``trainable`` during the run: the saved state counts.
    trainable = [layer.pop("trainable", True) for layer in found["layers"]]
    for layer in own["layers"]:
        layer.pop("trainable", None)
    if described["format"] != _FORMAT:
        raise ValueError(f"its format is {described['format']!r}, not {_FORMAT!r}")
    if own != found:
        saved, here = _apart(found), _apart(own)
        raise ValueError("it is the run of another network: it has "
                         f"{_beside(saved, here)}, this one {_beside(here, saved)}")
    arrays = {name[4:]: value for name, value in tensors.items() if name.startswith("run/")}
    run.restore(arrays, described)
    _check(run)
    for key, hook in _named(hooks):
        if key in described["callbacks"]:
            extra = {k[len(key) + 1:]: v for k, v in arrays.items() if k.startswith(key + "/")}
            hook.restore(described["callbacks"][key] | extra)
    for layer, value in zip(run.network.layers, trainable, strict=True):
        layer.trainable = value


def _apart(network: dict[str, Any]) -> dict[str, Any]:
    """A description with an entry for each layer."""
    return {**network, "layers": len(network["layers"]),
            **{f"layers[{k}]": layer for k, layer in enumerate(network["layers"])}}


def _beside(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """What one description has otherwise than the other."""
    return {key: value for key, value in one.items() if key not in other or other[key] != value}


def _check(run: Run) -> None:
    """Refuse what no run can have saved."""
    check_real(run.rate_scale, "rate_scale")
    for name, at in (("first_step", STEP), ("first_epoch", EPOCH)):
        first, now = check_size(getattr(run, name), name, 0), int(run.cursor[at])
        if first > now:
            raise ValueError(f"{name} is {first}, after the {now} where it stands")
