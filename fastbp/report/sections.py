"""The sections of the page, each made of parts of the report; "" if it has none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any

import numpy as np

from .. import plot
from .._validation import Array
from ..layer_statistics import gradient_statistics, weight_statistics
from ..plot import curves, targets
from ..plot.canvas import plain
from .data import Report
from .drawing import draw
from .markup import facts, figure, note, number, seconds, share, table, text
from .scores import Classes, Outcome

#: Most outputs of a regression that are drawn.
DRAWN_OUTPUTS = 3
#: Figures of a history whose chart is elsewhere, or that have none.
_NOT_METRICS = ("loss", "learning_rate", "epoch")


class Charts:
    """Draws charts with ids that are unique within a page."""

    def __init__(self) -> None:
        self._keys: Iterator[int] = count(1)

    def __call__(self, make: Callable[[], Any], caption: str) -> str:
        """The chart that ``make`` draws, over its caption."""
        words = plain(caption)
        return figure(draw(make, f"chart{next(self._keys)}", words), words)


def _section(title: str, *parts: str) -> str:
    body = "\n".join(part for part in parts if part)
    return f"<section><h2>{text(title)}</h2>\n{body}\n</section>" if body else ""


def _grid(*charts: str) -> str:
    return f'<div class="charts">{"".join(charts)}</div>' if charts else ""


# -- learning -------------------------------------------------------------------------


def learning(report: Report, chart: Charts) -> str:
    """Loss, metrics and learning rate by epoch."""
    known = {name: values for name, values in curves.series(report.history).items()
             if len(values)}
    if not known:
        return _section("Learning", '<p class="none">No history was given.</p>')
    names = dict.fromkeys(name.removeprefix("val_") for name in known)
    order = [*(["loss"] if "loss" in names else []),
             *(name for name in names if name not in _NOT_METRICS)]
    charts = [chart(partial(plot.history, known, name), _curve_caption(known, name))
              for name in order]
    if "learning_rate" in known:
        rates = known["learning_rate"]
        finite = rates[np.isfinite(rates)]
        said = ("no finite value" if not len(finite) else
                f"{number(finite[0])} throughout" if (finite == finite[0]).all() else
                f"from {number(finite[0])} to {number(finite[-1])}")
        charts.insert(1, chart(lambda: plot.learning_rate(known), f"Learning rate: {said}."))
    return _section("Learning", *(note(n) for n in _troubles(report)), _grid(*charts))


def _curve_caption(known: dict[str, Array], name: str) -> str:
    words, said = curves.words(name), []
    if name == "samples_per_s" and np.isfinite(known.get(name, np.nan)).any():
        return f"Rows a second: {np.nanmedian(known[name]):,.0f} in the median."
    for label, values in (("training", known.get(name)), ("validation", known.get(f"val_{name}"))):
        finite = values[np.isfinite(values)] if values is not None else np.empty(0)
        if values is not None and len(values) == 1 and len(finite):
            said.append(f"{label} {number(finite[0])}")
        elif len(finite):
            said.append(f"{label} {number(finite[0])} to {number(finite[-1])}")
    best = curves.best_epoch(known, name)
    if best is not None and len(known[f"val_{name}"]) > 1:
        said.append(f"best {number(known[f'val_{name}'][best])} in epoch {best + 1:,}")
    return f"{words[:1].upper()}{words[1:]}: {', '.join(said) or 'no finite value'}."


def _troubles(report: Report) -> list[str]:
    found = []
    for name, values in report.history.items():
        wrong = np.flatnonzero(~np.isfinite(np.asarray(values, np.float64)))
        if len(wrong) and "loss" in name:
            times = "1 epoch" if len(wrong) == 1 else f"{len(wrong):,} epochs"
            found.append(f"{name} is not finite in {times}, first in epoch {wrong[0] + 1:,}.")
    return found


# -- held-out rows --------------------------------------------------------------------


def outcome(report: Report, found: Outcome | None, chart: Charts) -> str:
    """Performance of the network on held-out rows."""
    title = "Held-out data"
    if found is None:
        return _section(title, '<p class="none">No held-out rows were given.</p>')
    parts = [note(f"{found.lost:,} of {found.lost + len(found.Y):,} rows are left out: target or "
                  "output is not finite.")] if found.lost else []
    if found.classes is not None:
        parts += _classes(report, found.T, found.Y, found.classes, chart)
    if found.outputs is not None:
        parts += _numbers(*targets.numbers(found.T, found.Y), found.outputs, chart)
    return _section(title, *parts)


def _classes(report: Report, T: Array, Y: Array, found: Classes, chart: Charts) -> list[str]:
    charts, several = [], report.task == "multilabel"
    if several:
        (T, Y), known = targets.numbers(T, Y), report.classes
    else:
        T, Y = targets.pair(T, Y, report.classes, report.threshold)
        known = targets.names(report.classes, Y.shape[1])  # T holds indices from here
        worst = found.mistakes[0] if found.mistakes else None
        charts.append(chart(
            lambda: plot.confusion_matrix(T, Y, known),
            "Confusion matrix, shaded by the share of each true class" + (
                f"; most often {worst[0]} is taken for {worst[1]} ({worst[2]:,})." if worst
                else "; no row is wrong.")))
    error = dict(found.overall).get("calibration error")
    if error is not None:
        each = (T.ravel(), Y.ravel(), ("no", "yes")) if several else (T, Y, known)
        charts.append(chart(lambda: plot.calibration(*each),
                            f"Calibration: off by {share(error)} on average."))
    areas = [area for *_, area in found.rows if area is not None]
    if areas:
        area = number(float(np.mean(areas)))
        names = ("no", "yes") if several and len(found.rows) == 1 else known
        charts.append(chart(lambda: plot.roc(T, Y, names), (
            f"ROC: area under the curve {area}." if len(found.rows) == 2 and not several else
            f"ROC, each {'label' if several else 'class against the rest'}: area {area} on "
            "average.")))

    def cells(row: tuple[Any, ...]) -> tuple[str, ...]:
        name, p, r, f, n, area = row
        return (name, share(p), share(r), share(f), f"{n:,}",
                "–" if area is None else f"{area:.4f}")

    head = ("label" if several else "class", "precision", "recall", "F1", "rows", "ROC area")
    parts = [table(head, map(cells, found.rows), "By label" if several else "By class",
                   list(map(cells, found.averages)))]
    if found.mistakes:
        parts.append(table(("true", "predicted ", "rows", "share of class"),
                           [(a, b, f"{n:,}", share(s)) for a, b, n, s in found.mistakes],
                           "Commonest mistakes"))
    return [_grid(*charts), f'<div class="pair">{"".join(parts)}</div>']


def _numbers(T: Array, Y: Array, found: list[Any], chart: Charts) -> list[str]:
    worst = sorted(range(len(found)), key=lambda i: -found[i][2])[:DRAWN_OUTPUTS]
    charts, name = [], None
    for i in sorted(worst):
        title, r2, rmse, _, bias, _ = found[i]
        of = "" if len(found) == 1 else f" of {title}"
        name = None if len(found) == 1 else title
        charts += [
            chart(partial(plot.residuals, T[:, i], Y[:, i], name=name),
                  f"Residuals{of}: mean {number(bias)}, root mean square {number(rmse)}."),
            chart(partial(plot.prediction, T[:, i], Y[:, i], name=name),
                  f"True against predicted{of}: R² {number(r2)}. On the dashed line predictions "
                  "are right on average.")]
    said = "" if len(found) <= DRAWN_OUTPUTS else (
        f'<p class="none">Drawn are the {DRAWN_OUTPUTS} outputs of {len(found):,} with the '
        "largest error.</p>")
    rows = [(title, number(r2), number(rmse), number(mae), number(bias), f"{n:,}")
            for title, r2, rmse, mae, bias, n in found]
    head = ("output", "R²", "RMSE", "MAE", "mean residual", "rows")
    return [said, _grid(*charts), table(head, rows, "By output")]


# -- the network ----------------------------------------------------------------------


def layers(report: Report, chart: Charts) -> str:
    """Weights and gradients, tensor by tensor."""
    network = report.network
    if network is None:
        return ""
    chain = table(("layer", "what ", "output", "parameters"),
                  [(str(i), repr(layer), f"{layer.n_out:,}", f"{layer.n_params:,}")
                   for i, layer in enumerate(network.layers)], "Layers",
                  [("loss", repr(network.loss_function), f"{network.n_out:,}",
                    f"{network.n_params:,}")])
    found = weight_statistics(network, report.initial_params)
    if not found:
        return _section("Network", chain)
    charts = [chart(lambda: plot.weights(found), "Weights of each tensor: all (thin), nine "
                    "tenths (thick), middle half (box), median (tick)" +
                    ("; grey: the middle half before training." if report.initial_params
                     is not None else "."))]
    last = ["change"] if report.initial_params is not None else []
    tables = [table(["tensor", "mean", "std", "least", "most", "norm", "near zero", *last],
                    [[w.name, *(number(v, 3) for v in (w.mean, w.std, w.minimum, w.maximum,
                                                       w.norm)), share(w.near_zero),
                      *(share(w.change, 0) for _ in last)] for w in found], "Weights")]
    if report.X is not None:
        slopes = gradient_statistics(network, report.X, report.T)
        charts.append(chart(lambda: plot.gradients(slopes), "Norm of each gradient, and over the "
                            f"norm of its weights, on {len(report.X):,} rows."))
        tables.append(table(("tensor", "norm", "mean size", "largest", "over weights"),
                            [(g.name, number(g.norm, 3), number(g.mean_abs, 3),
                              number(g.maximum, 3), number(g.ratio, 3)) for g in slopes],
                            "Gradients"))
    return _section("Network", chain, _grid(*charts),
                    f'<div class="pair wider">{"".join(tables)}</div>')


# -- how it was run -------------------------------------------------------------------


def running(report: Report) -> str:
    """Configuration, timings, fraction of the machine's peak."""
    parts = [facts(report.config, "Configuration")] if report.config else []
    if report.timings:
        parts.append(facts({name: seconds(float(value)) for name, value in
                            report.timings.items()}, "Timings"))
    if report.peak is not None:
        part = report.peak["share"]
        said = (f"{share(part)} of the machine's peak: {number(report.peak['gflops'], 3)} of "
                f"{number(report.peak['peak_gflops'], 3)} GFLOP/s.")
        value = min(max(float(np.nan_to_num(part)), 0.0), 1.0)
        parts.append(f'<div class="card"><h3>Share of peak</h3><p>{text(said)}</p><meter min="0" '
                     f'max="1" value="{value:.4f}" aria-label="{text(said)}"></meter></div>')
    return _section("Run", f'<div class="pair">{"".join(parts)}</div>' if parts else "")
