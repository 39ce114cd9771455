"""``fastbp train``: from a table to a saved model, its configuration and its report."""

from __future__ import annotations

from typing import Any

import click

from . import config
from .options import Sectioned, train_options


@click.command("train", cls=Sectioned)
@click.argument("data")
@click.option("--config", type=click.Path(exists=True, dir_okay=False), is_eager=True,
              callback=config.read_into, metavar="FILE.toml",
              help="Options from a file; options on the command line take precedence.")
@click.pass_context
def command(ctx: click.Context, /, **settings: Any) -> int:
    """Train a network on DATA and save it.

    DATA is a file (.csv, .tsv, .parquet, .feather, .arrow, .npz, .npy) or the name of a bundled
    data set (see fastbp datasets). The folder --output gets model.safetensors, config.toml (which
    repeats the run: fastbp train --config), metrics.jsonl, report.html, result.json and a
    checkpoint.

    A finished run is only replaced with --overwrite, and only by a complete one. An unfinished one
    is kept in DIR/unfinished: --resume continues it and ends with the same bits as a run that was
    never interrupted. Use --resume on every start with schedulers that restart jobs, --overwrite
    with cron and make, which want new results.
    """
    from .run import train

    runs = config.grid_of(settings["grid"], command, ctx)
    typed = {name for name in settings
             if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE}
    for name in sorted(typed & runs.keys()):
        if "grid" in typed:
            raise click.UsageError(f"--{name.replace('_', '-')} and --grid {name} cannot both be "
                                   "given", ctx)
        del runs[name]  # of a config.toml, which has both
    settings["grid"] = tuple(entry for entry in settings["grid"]
                             if config.grid_of((entry,), command, ctx).keys() <= runs.keys())
    if not settings["early_stopping"] and ("patience" in typed or "patience" in runs):
        raise click.UsageError("--patience is for --early-stopping", ctx)
    if "validation_split" in typed and settings["validation_split"] and settings["validation"]:
        raise click.UsageError(f"--validation-split {settings['validation_split']} is for runs "
                               f"without --validation {settings['validation']}", ctx)
    if "seed" in typed:
        if "seeds" in typed:
            raise click.UsageError("--seed and --seeds cannot both be given", ctx)
        settings["seeds"] = None  # those of a config.toml, which has both
    return train(settings, runs)


command.params += train_options()
