"""``fastbp evaluate``: scores of a model on a table that has the true values."""

from __future__ import annotations

import json

import click

from .kinds import Once, json_option, missing_target_option, table_options, weight_option


@click.command("evaluate", cls=Once)
@click.argument("model", type=click.Path(exists=True))
@click.argument("data")
@click.option("--target", metavar="COL",
              help="Column with the true values; default: the model's target.")
@weight_option
@missing_target_option
@table_options
@json_option
def command(model: str, data: str, target: str | None, weight: str | None, missing_target: str,
            charset: str, delimiter: str | None, decimal: str, batch_rows: int,
            as_json: bool) -> None:
    """Score MODEL on DATA by scikit-learn's metrics.

    Classes: accuracy, balanced accuracy, F1; and of probabilities log loss, area under the ROC
    curve, Brier score.
    Numbers: R², mean absolute and root mean squared error.
    """
    import numpy as np

    from ..data import open_table
    from ..data.weights import check_any
    from ..model import load_model
    from . import models, scores
    from .exits import say, tell
    from .prepare import opened

    found = load_model(model)
    table = opened(data, delimiter=delimiter, decimal=decimal, charset=charset)
    own = models.target_of(found, target, table)
    if missing_target == "drop":
        table = open_table(table, drop_missing=[own.name])
    pairs, weights = [], []
    for X, T, weighs in models.batches(found, table, batch_rows, own, weight):
        assert T is not None
        if weighs is not None:
            weights.append(weighs)
        pairs.append(scores.compared(found.network, own, X, T))
    if not pairs:
        raise ValueError(f"{data} has no rows")
    whole = None
    if weight is not None:
        whole = np.concatenate(weights)
        check_any(whole, weight, "")
    truth, output = map(np.concatenate, zip(*pairs, strict=True))
    figures = scores.scores(own, truth, output, whole)
    rows, gone = len(truth), {}
    if missing_target == "drop":
        gone = {"dropped": table.dropped}
        say(f"{data}: {table.dropped:,} rows without a target dropped")
    if as_json:
        tell(json.dumps({"model": model, "data": data, "task": own.task, "rows": rows,
                         **gone, "scores": scores.as_json(figures)}))
        return
    tell(f"{rows:,} rows")
    for line in scores.lines(figures):
        tell(line)
