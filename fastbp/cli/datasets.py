"""``fastbp datasets``: data sets that are part of Python packages."""

from __future__ import annotations

import json

import click

from .exits import tell
from .kinds import json_option


@click.command("datasets")
@json_option
def command(as_json: bool) -> None:
    """List the bundled data sets: rows, columns, task.

    Nothing is downloaded; a set whose package is missing says what to install.
    """
    from ..datasets import DATASETS, load

    found = list[dict[str, str | int]]()
    for name in DATASETS:
        try:
            data = load(name)
        except ImportError as error:
            found.append({"name": name, "missing": str(error)})
            continue
        found.append({"name": name, "rows": data.X.shape[0], "columns": data.X.shape[1],
                      "task": "classification" if data.n_classes else "regression",
                      "classes": data.n_classes})
    if as_json:
        tell(json.dumps(found))
        return
    for entry in found:
        if "missing" in entry:
            tell(f"{entry['name']:15}{entry['missing']}")
            continue
        task = str(entry["task"]) + (f", {entry['classes']} classes" if entry["classes"] else "")
        tell(f"{entry['name']:15}{entry['rows']:>6,} rows {entry['columns']:>4} columns  "
             f"{task}")
