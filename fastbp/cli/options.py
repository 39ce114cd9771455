"""The options of ``fastbp train``, in sections; each is a key of the configuration too."""

from __future__ import annotations

from itertools import chain
from typing import Any

import click

from .kinds import Character, Charset, Count, Duration, Once, Real, Seeds, Widths

# Repeated here, as the modules that define them import Numba; a test compares.
ACTIVATIONS = ("relu", "tanh", "sigmoid", "leaky_relu", "elu", "gelu", "silu", "softplus",
               "identity")
LOSSES = {"classification": ("cross_entropy", "focal"), "regression": ("mse", "mae", "huber")}
PRECISIONS = ("highest", "high", "medium")
OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop", "adagrad", "lion")
SCHEDULES = ("constant", "cosine", "cosine_restarts", "one_cycle", "step", "exponential",
             "inverse_scaling")
#: Options for which ``--grid`` takes several values.
GRID = ("hidden", "activation", "dropout", "batch_norm", "optimizer", "lr", "momentum", "schedule",
        "warmup", "batch_size", "epochs", "l1", "l2", "weight_decay", "clip_norm", "average",
        "label_smoothing", "patience", "matmul_precision")
#: Options of the call that do not change the result: not kept in config.toml.
OF_THE_CALL = ("config", "output", "overwrite", "resume", "as_json", "quiet")


class Option(click.Option):
    """An option with its section of the help."""

    section = "Options"


def _option(section: str, *names: str, **settings: Any) -> Option:
    if settings.get("default") is not None and not settings.get("is_flag"):
        settings.setdefault("show_default", True)
    option = Option(names, **settings)
    option.section = section
    return option


def _data() -> list[Option]:
    file = click.Path(dir_okay=False)
    return [
        _option("Data", "--target", metavar="COL", help="Column to predict."),
        _option("Data", "--weight", metavar="COL",
                help="Column with the weights of the rows, in training and scores; not a "
                     "feature."),
        _option("Data", "--task", type=click.Choice(["auto", "classification", "regression"]),
                default="auto", help="Kind of target; auto goes by its values."),
        _option("Data", "--ignore", metavar="COL", multiple=True,
                help="Column to leave out; repeatable."),
        _option("Data", "--categorical", metavar="COL", multiple=True,
                help="Numeric column to treat as categories; repeatable."),
        _option("Data", "--encoding", type=click.Choice(["onehot", "ordinal"]),
                default="onehot", help="Encoding of categorical columns."),
        _option("Data", "--max-categories", type=Count(), default=100,
                help="Most categories that a column may have."),
        _option("Data", "--unknown", type=click.Choice(["error", "ignore"]), default="error",
                help="Categories that training has not seen."),
        _option("Data", "--missing", type=click.Choice(["refuse", "impute"]), default="refuse",
                help="Missing values; impute: the mean, or the most frequent category."),
        _option("Data", "--missing-target", type=click.Choice(["error", "drop"]), default="error",
                help="Rows whose target is missing; drop: as if the files did not have them."),
        _option("Data", "--na", metavar="WORD", multiple=True,
                help="Marker of missing values in a text file, such as '?'; repeatable."),
        _option("Data", "--standardise/--no-standardise", default=None,
                help="Scale numbers to mean 0 and standard deviation 1; default: all but bundled "
                     "images."),
        _option("Data", "--delimiter", type=Character(),
                help="Field separator of a text file."),
        _option("Data", "--decimal", type=click.Choice([".", ","]), default=".",
                help="Decimal mark of a text file; with a comma the default separator is a "
                     "semicolon."),
        _option("Data", "--charset", type=Charset(), default="utf-8",
                help="Encoding of a text file, such as cp1252 or gbk."),
        _option("Data", "--validation", type=file, metavar="FILE",
                help="File with the rows to validate on."),
        _option("Data", "--validation-split", type=Real(0, 1), default=0.2,
                help="Without --validation: fraction to validate on, of the rows left by "
                     "--test-split; 0 for none."),
        _option("Data", "--test-split", type=Real(0, 1), default=0.0,
                help="Fraction of the rows kept for the final scores."),
        _option("Data", "--split-seed", type=Count(0, 2**32 - 1), default=0,
                help="Seed of both splits; --seeds does not change it."),
        _option("Data", "--stream/--no-stream", default=None,
                help="Read the file block by block; default: if it is large for the memory."),
    ]


def _network() -> list[Option]:
    return [
        _option("Network", "--hidden", type=Widths(), default="128,64",
                help="Widths of the hidden layers; '' for none."),
        _option("Network", "--activation", type=click.Choice(ACTIVATIONS), default="relu",
                help="Activation of the hidden layers."),
        _option("Network", "--batch-norm/--no-batch-norm", default=False,
                help="Batch normalisation after each hidden layer."),
        _option("Network", "--dropout", type=Real(0, 1), default=0.0,
                help="Fraction of hidden units dropped in training."),
        _option("Network", "--dtype", type=click.Choice(["float32", "float64"]),
                default="float32", help="Precision of the network and its features."),
        _option("Network", "--matmul-precision", type=click.Choice(PRECISIONS),
                default="highest", help="Of large products of float32 in training, on processors "
                "with matrix tiles (AMX): high rounds their factors to 16 bits, medium to 8 "
                "(bfloat16), which is faster."),
    ]


def _training() -> list[Option]:
    part = "Training"
    return [
        _option(part, "--epochs", type=Count(), default=40, help="Passes over the data."),
        _option(part, "--batch-size", type=Count(), default=32, help="Rows per step."),
        _option(part, "--loss", type=click.Choice(["auto", *chain(*LOSSES.values())]),
                default="auto", help="Auto: cross_entropy for classes, mse for numbers."),
        _option(part, "--optimizer", type=click.Choice(OPTIMIZERS), default="adam",
                help="Update rule."),
        _option(part, "--lr", "--learning-rate", "lr", type=Real(with_low=False), default=1e-3,
                help="Learning rate."),
        _option(part, "--momentum", type=Real(0, 1), default=0.0,
                help="Momentum of sgd and rmsprop."),
        _option(part, "--schedule", type=click.Choice(SCHEDULES), default="constant",
                help="Schedule of the learning rate."),
        _option(part, "--warmup", type=Real(), default=0.0,
                help="Epochs in which the learning rate rises from 0."),
        _option(part, "--l1", type=Real(), default=0.0, help="Penalty on absolute weights."),
        _option(part, "--l2", type=Real(), default=0.0, help="Penalty on squared weights."),
        _option(part, "--weight-decay", type=Real(),
                help="Weight decay of the optimizer; default: the optimizer's own."),
        _option(part, "--clip-norm", type=Real(), default=0.0,
                help="Clip the gradient to this norm; 0 for no limit."),
        _option(part, "--average", type=Real(0, 1), default=0.0,
                help="Decay of a moving average of the weights; 0 for none."),
        _option(part, "--label-smoothing", type=Real(0, 1), default=0.0,
                help="Probability spread over all classes in the targets."),
        _option(part, "--class-weight", type=click.Choice(["none", "balanced"]), default="none",
                help="Balanced: rare classes count as much as common ones."),
        _option(part, "--early-stopping/--no-early-stopping", default=False,
                help="Stop when --monitor no longer improves; keep the best epoch."),
        _option(part, "--patience", type=Count(0), default=10,
                help="Epochs without improvement that early stopping tolerates."),
        _option(part, "--monitor", metavar="FIGURE", default="val_loss",
                help="Figure that decides on early stopping and the best of several runs; without "
                     "rows to validate on, val_loss means loss."),
        _option(part, "--seed", type=Count(0), default=0,
                help="Seed of the initial weights and of shuffling."),
        _option(part, "--threads", type=Count(), help="Most threads to use; default: all."),
        _option(part, "--time-limit", type=Duration(),
                help="Stop all runs after this time, such as 90s, 10m or 1h30m, but keep the "
                     "result."),
    ]


def _many() -> list[Option]:
    return [
        _option("Several runs at once", "--seeds", type=Seeds(),
                help="One run per seed, instead of --seed; the best is kept."),
        _option("Several runs at once", "--grid", multiple=True, metavar="NAME=V,V,...",
                help="One run per value, such as lr=1e-3,1e-2 or hidden=64,128:64. Repeated: "
                     "every combination."),
    ]


def _output() -> list[Option]:
    part = "Output"
    return [
        _option(part, "--output", "-o", type=click.Path(file_okay=False), metavar="DIR",
                help="Folder for the results; default: fastbp-NAME."),
        _option(part, "--overwrite", is_flag=True,
                help="Replace a finished run once the new one is complete; restart an unfinished "
                     "one."),
        _option(part, "--resume", is_flag=True,
                help="Continue an unfinished run, if there is one. A finished one stays as it is, "
                     "unless it is a single run and --epochs asks for more."),
        _option(part, "--checkpoint-every", type=Duration(), default=30.0,
                help="Seconds between checkpoints, or a time such as 5m."),
        _option(part, "--report/--no-report", default=True, help="Write report.html."),
        _option(part, "--json", "as_json", is_flag=True,
                help="Print nothing but one line of JSON on stdout."),
        _option(part, "--quiet", "-q", is_flag=True, help="Show no progress."),
    ]


def train_options() -> list[Option]:
    """All options, in the order of the help."""
    return [*_data(), *_network(), *_training(), *_many(), *_output()]


class Sectioned(Once):
    """A command whose help shows options by section."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A list for each section."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if isinstance(param, click.Argument):
                continue
            record = param.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(param, "section", "Options"), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)
