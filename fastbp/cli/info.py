"""``fastbp info``: what is in a model file."""

from __future__ import annotations

import json
from typing import Any

import click

from .exits import tell
from .kinds import json_option


@click.command("info")
@click.argument("model", type=click.Path(exists=True))
@json_option
def command(model: str, as_json: bool) -> None:
    """Show what is in MODEL: layers, columns, sizes, who wrote it and how."""
    from ..model import load_model
    from ..plot.canvas import plain

    found = load_model(model)
    entries = _entries(found, model)
    if as_json:
        tell(json.dumps(entries))
        return
    tell(found.network.summary())
    for key in ("loss", "dtype", "parameters", "file", "bytes", "fastbp", "created", "rows"):
        if entries.get(key) is not None:
            value = entries[key]
            tell(f"{key:12}{f'{value:,}' if isinstance(value, int) else value}")
    if entries["matmul_precision"] != "highest":
        tell(f"products    of {entries['matmul_precision']} precision, in training")
    for name, value in entries["scores"].items():
        tell(f"{name:18}{'undefined' if value is None else value}  ({entries['scores_on']})")
    for column in entries["columns"]:
        tell(f"column      {plain(column['name'])}: {plain(column['what'])}")
    if entries["na"]:
        tell(f"missing     {plain(', '.join(map(repr, entries['na'])))}")
    if entries["target"] is not None:
        target = entries["target"]
        what = ", ".join(map(str, target["classes"])) if target["classes"] else (
            f"mean {target['mean']:g}, spread {target['scale']:g}")
        tell(f"target      {plain(target['name'])}: {target['task']}, {plain(what)}")


def _entries(found: Any, path: str) -> dict[str, Any]:
    import os

    from ..model import file_of

    network, file = found.network, file_of(path)
    columns = [] if found.preprocessor is None else [
        {"name": c.name, "kind": type(c).__name__.lower(), "what": _what(c)}
        for c in found.preprocessor.columns]
    return {"file": file, "bytes": os.path.getsize(file),
            "layers": [repr(layer) for layer in network.layers],
            "loss": repr(network.loss_function), "dtype": network.dtype.name,
            "matmul_precision": network.matmul_precision,
            "inputs": network.n_in, "outputs": network.n_out, "parameters": network.n_params,
            "columns": columns,
            "na": list(found.preprocessor.na_values) if found.preprocessor else [],
            "target": None if found.target is None else {
                k: v for k, v in found.target.to_dict().items() if k != "format"},
            "fastbp": found.info.get("fastbp"), "created": found.info.get("created"),
            "rows": found.info.get("rows"), "scores": found.info.get("scores") or {},
            "scores_on": found.info.get("scores_on"), "config": found.info.get("config")}


def _what(column: Any) -> str:
    categories = getattr(column, "categories", None)
    fill = "" if column.fill is None else f", missing become {column.fill}"
    if categories is not None:
        names = ", ".join(categories[:8]) + (", ..." if len(categories) > 8 else "")
        return f"{len(categories)} categories ({names}), {column.encoding}{fill}"
    if hasattr(column, "mean"):
        return f"number, mean {column.mean:g}, scale {column.scale:g}{fill}"
    return f"true or false{fill}"
