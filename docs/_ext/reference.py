"""The reference, made from ``fastbp.__all__``: a name that is public is on it, by its module."""

from __future__ import annotations

import importlib
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import fastbp

#: Modules in the order of the page, with a line for each.
GROUPS = {
    "network": ("Network", "What trains and predicts."),
    "training": ("Training", "`Network.fit` takes the options of `fastbp.training.fit`, "
                             "`Network.evaluate` those of `evaluate`."),
    "layers": ("Layers", "Arguments that are not sizes are optional."),
    "losses": ("Losses", "The mean over the rows of a batch, unless `reduction=\"sum\"`."),
    "optimizers": ("Optimizers", "Given to `fit` as objects or by name."),
    "schedules": ("Learning rates", "In `fastbp.schedules`; given as `learning_rate`."),
    "callbacks": ("Callbacks", "What happens between epochs."),
    "estimators": ("Estimators", "The interface of scikit-learn (extra `sklearn`)."),
    "data": ("Tables", "Columns to features, targets, blocks of rows."),
    "io": ("Files and other libraries", "Saving, loading, exporting."),
    "plot": ("Plots", "With Matplotlib (extra `plot`), on axes of yours or new ones."),
    "report": ("Reports", "One page on a training run, in one file."),
    "initializers": ("Initial weights", "Given to `Dense` by name."),
    "metrics": ("Metrics", "Given to `fit` and `evaluate` by the names in `fastbp.metrics`, or as "
                           "functions (T, output) -> number."),
    "more": ("More", "")}
#: Modules that share a group of the page.
SAME = {"many": "training", "lbfgs": "training", "history": "training", "gradients": "network",
        "gradcheck": "network", "sensitivity": "network", "layer_statistics": "network",
        "model": "data", "streaming": "training", "datasets": "data", "chain": "network"}
#: Public by their module: name -> group.
ALSO = {"training.fit": "training", "online.partial_fit": "training",
        "training.evaluate": "training", "callbacks.Lambda": "callbacks",
        "callbacks.Monitor": "callbacks", "callbacks.PrintEpoch": "callbacks",
        "sensitivity.input_gradient": "network", "sensitivity.jacobian": "network",
        "layer_statistics.weight_statistics": "network",
        "layer_statistics.WeightStatistics": "network",
        "layer_statistics.gradient_statistics": "network",
        "layer_statistics.GradientStatistics": "network", "peak.share_of_peak": "report"}
#: Modules that are public as a whole.
WHOLE = ("schedules", "data", "plot", "report")


def members() -> Iterator[tuple[str, str]]:
    """(group, dotted name below fastbp) of all that is public."""
    for name in fastbp.__all__:
        thing = getattr(fastbp, name)
        if isinstance(thing, ModuleType):
            assert name in WHOLE, f"say in WHOLE that fastbp.{name} is public"
        else:
            yield _group(thing.__module__), name
    for module in WHOLE:
        thing = importlib.import_module(f"fastbp.{module}")
        for inner in thing.__all__:
            if callable(getattr(thing, inner)) and inner not in fastbp.__all__:
                yield module, f"{module}.{inner}"
    for name, group in ALSO.items():
        yield group, name
    for name in importlib.import_module("fastbp.initializers").INITIALIZERS:
        yield "initializers", f"initializers.{name}"


def _group(module: str) -> str:
    first = module.split(".")[1]
    first = SAME.get(first, first)
    return first if first in GROUPS else "more"


def _notes() -> dict[str, str]:
    """By group, what docstrings name that has no page of its own."""
    rules, metrics = (importlib.import_module(f"fastbp.{name}") for name in ("rules", "metrics"))
    head, formulas, *_ = (rules.__doc__ or "").split("\n\n")
    listed = ", ".join(f"`{name}`" for name in metrics.METRICS)
    return {"training": f"`fastbp.rules`: {head[0].lower()}{head[1:-1]}.\n\n```text\n"
                        f"{textwrap.dedent(formulas)}\n```",
            "metrics": f"The names: {listed}."}


def page() -> str:
    """The page in Markdown."""
    found: dict[str, list[str]] = {group: [] for group in GROUPS}
    for group, name in members():
        found[group].append(name)
    lines = ["# Reference", "",
             f"Every public name of fastbp {fastbp.__version__}, from its docstring. Shapes: `b` "
             "rows, `n_in` and `n_out` columns."]
    notes = _notes()
    for group, names in found.items():
        title, text = GROUPS[group]
        if names or group in notes:
            lines += ["", f"## {title}", "", text]
        if group in notes:
            lines += ["", notes[group]]
        if names:
            listed = "\n".join(f"   {n}" for n in sorted(names, key=str.lower))
            lines += ["", "```{eval-rst}", ".. currentmodule:: fastbp", "", ".. autosummary::",
                      "   :toctree: .", "   :nosignatures:", "", listed, "```"]
    return "\n".join(lines) + "\n"


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    folder = Path(app.srcdir) / "reference"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*"):  # of names that are gone
        old.unlink()
    (folder / "index.md").write_text(page())
    return {"parallel_read_safe": True}
