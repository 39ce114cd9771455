"""``fastbp predict``: a model's prediction for each row of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .kinds import table_options


@click.command("predict")
@click.argument("model", type=click.Path(exists=True))
@click.argument("data")
@click.option("--output", "-o", type=click.Path(dir_okay=False), metavar="FILE",
              help="File to write: .csv, .tsv, .csv.gz, .parquet, .feather or .arrow; default: "
                   "CSV on stdout.")
@click.option("--probabilities/--no-probabilities", default=True, show_default=True,
              help="Also write a probability column per class.")
@table_options
def command(model: str, data: str, output: str | None, probabilities: bool,
            charset: str, delimiter: str | None, decimal: str, batch_rows: int) -> None:
    """Predict each row of DATA by MODEL, in the order of the rows.

    MODEL is a file, or a folder that fastbp train made; DATA as for train, with the columns that
    the model was trained on. A file is written whole or not at all.
    """
    from ..model import load_model
    from . import models, writers
    from .prepare import opened

    if output is not None and Path(output).exists() and Path(data).exists() and (
            Path(output).samefile(data)):
        raise click.UsageError(f"--output {output} would replace DATA: choose another")
    found = load_model(model)
    table = opened(data, delimiter=delimiter, decimal=decimal, charset=charset)
    with writers.open_writer(output) as writer:
        at = 0
        for X, *_ in models.batches(found, table, batch_rows):
            writer.write(_columns(found, X, probabilities))
            at += len(X)
        if not at:
            raise ValueError(f"{data} has no rows")


def _columns(model: Any, X: Any, with_probabilities: bool) -> dict[str, Any]:
    """Columns of the result by name."""
    from . import models

    network, target, loss = model.network, model.target, model.network.loss_function
    if loss.probabilities is None or (target is not None and target.task == "regression"):
        Y = network._expected(X)
        if target is not None:
            return {"prediction": target.decode(Y, loss.threshold)}
        names = ["prediction"] if Y.shape[1] == 1 else [f"y{i}" for i in range(Y.shape[1])]
        return dict(zip(names, Y.T, strict=True))
    if target is None and network.n_out > 1 and not loss.labels:
        # each output is a label of its own
        P = network.predict_proba(X)
        return {f"y{i}": P[:, i] for i in range(P.shape[1])}
    P = models.probabilities(network, X)
    classes = P.argmax(axis=1)
    found = {"prediction": classes if target is None else target.decode(P)}
    if with_probabilities:
        found |= {f"probability={name}": P[:, i]
                  for i, name in enumerate(models.classes_of(model))}
    return found
