"""Plots for classifiers: confusion matrix, calibration, ROC curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._validation import Array, check_finite, same_length
from .canvas import axes, few, finish, legend, say, short
from .targets import (
    are_probabilities,
    check_names,
    kinds,
    labels,
    loose,
    metrics,
    names,
    pair,
    scores,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Most classes for which each cell of a confusion matrix has its number.
ANNOTATED = 12
#: Most classes for which it needs no more room than other plots.
_SMALL = 4
#: Most labels of classes along an axis.
_TICKS = 12
#: Bins of a calibration curve.
BINS = 10
#: Most classes of a confusion matrix.
_MOST = 10_000
#: Most curves of a plot, and most points of each.
_CURVES, _POINTS = 10, 200


def counts(T: Any, predicted: Any, classes: Sequence[Any] | None = None) -> Array:
    """Number of rows of each class (down) that are predicted as each class (across).

    ``predicted`` is classes as of ``T``, or outputs with a column for each class.

    Raises
    ------
    ValueError, TypeError, ImportError
        As ``confusion_matrix``.
    """
    given = loose(predicted, "predicted")
    check_names(classes)
    if (given.ndim == 2 and given.shape[1] != 1) or _are_scores(given, T, classes):
        own, Y = pair(T, predicted, classes)
        k, found = Y.shape[1], Y.argmax(axis=1)
    else:
        n = None if classes is None else len(classes)
        own, found = labels(T, n, classes), labels(predicted, n, classes, "predicted")
        same_length(own, found, "T", "predicted")
        k = n or int(max(own.max(initial=0), found.max(initial=0))) + 1
        if k > _MOST:  # numbers that are not classes could need a table of any size
            raise ValueError(f"a confusion matrix of at most {_MOST} classes, got label {k - 1}")
    if not len(own):
        raise ValueError(f"a confusion matrix needs rows, T has shape {np.shape(T)}")
    return metrics().confusion_matrix(own, found, labels=np.arange(k))


def _are_scores(given: Array, T: Any, classes: Sequence[Any] | None) -> bool:
    """Whether these (n,) or (n, 1) are scores of class 1 of two: floats that are neither classes
    nor indices of more than two, of which ``T`` is where ``classes`` does not tell."""
    if given.dtype.kind != "f":
        return False
    column, k = given.ndim == 2, _count(T) if classes is None else len(classes)
    two = k == 2
    probable = bool(((given >= 0) & (given <= 1) | np.isnan(given)).all())
    known, alike = np.zeros(given.shape, bool), True
    if classes is not None and "f" in kinds(classes):
        known = np.isin(given, list(classes))
        alike = two and classes[0] <= 0 < classes[1]  # scores and classes in one, as -1 and 1
        if known.all():
            return column and probable and two
    if column or probable:
        return two
    whole = ((given >= 0) & (given == np.floor(given))).all()
    return bool(two and not whole and (alike or not known.any()))


def _count(T: Any) -> int:
    """How many classes there are in targets without ``classes``, two at least."""
    array = loose(T, "T")
    if array.ndim == 2 and array.shape[1] > 1:
        return array.shape[1]
    return max(int(labels(array, None, None).max(initial=0)) + 1, 2)


def confusion_matrix(T: Any, predicted: Any, classes: Sequence[Any] | None = None, *,
                     ax: Axes | None = None) -> Axes:
    """True classes down, predicted classes across, each cell shaded by its share of the row.

    Parameters
    ----------
    T : array_like
        Class indices (n,), or what ``classes`` holds; or rows with one 1 (n, k).
    predicted : array_like
        The same, (n,) or (n, 1), or outputs: (n, k), or (n, 1) of class 1 of two. Floats (n,) are
        classes if each is one, else outputs of class 1 of two; a mixture of classes and others
        is refused unless all lie in [0, 1]. Floats (n, 1) are classes only if some do not, or
        there are more than two classes.
    classes : sequence, optional
        The classes in the order of their indices: names, numbers as those of ``classes_``, or
        booleans; their indices by default. If they are numbers, T holds these and no indices.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError, TypeError
        For targets outside the classes, lengths that differ, or no rows.
    ImportError
        Without matplotlib or scikit-learn (extra ``plot``).
    """
    table = counts(T, predicted, classes)
    k = len(table)
    known = names(classes, k)
    size = 4.5, 4.3 if k > _SMALL else 3.0
    ax = finish(axes(ax, size), "Confusion matrix", "predicted", "true")
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    ax.imshow(share, cmap=tint("C0"), vmin=0, vmax=1, interpolation="none", aspect="equal")
    ax.grid(False)
    at = few(k, _TICKS)
    cut = [short(known[i], 12) for i in at]
    ax.set_xticks(at, labels=cut, parse_math=False)
    if max(map(len, cut)) > 3:
        ax.tick_params(axis="x", rotation=90)
    ax.set_yticks(at, labels=cut, parse_math=False)
    ax.tick_params(length=0)
    if k <= ANNOTATED:
        for i, j in np.ndindex(k, k):
            if table[i, j]:
                cell = ax.text(j, i, _compact(int(table[i, j])), ha="center", va="center")
                if share[i, j] > 0.8:
                    cell.set_color("white")
    return ax


def _compact(count: int) -> str:
    """A count in at most four characters."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size * (10 if unit == "k" else 1):
            return f"{count / size:.1f}{unit}" if count < 10 * size else f"{count // size}{unit}"
    return str(count)


def tint(colour: str, least: float = 0.0) -> Any:
    """A colour map from opacity ``least`` to full ``colour``: fits any background."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    rgb = to_rgb(colour)
    return LinearSegmentedColormap.from_list("tint", [(*rgb, least), (*rgb, 1.0)])


def confidence(T: Any, output: Any, classes: Sequence[Any] | None = None
               ) -> tuple[Array, Array, str]:
    """(hits, probabilities, meaning): what a calibration curve compares.

    For two classes, whether the row is of the second, and its probability; for more, whether
    the likeliest class is right, and its probability; for labels of their own, each output.

    Raises
    ------
    ValueError, TypeError
        As ``calibration``.
    """
    target, Y = loose(T, "T"), scores(output)
    if target.ndim == 2 and target.shape == Y.shape and not are_probabilities(Y):
        if not (np.isin(target, (0, 1)).all() and ((Y >= 0) & (Y <= 1)).all()):
            raise ValueError("calibration needs probabilities in [0, 1] and targets of 0 and 1")
        return target.ravel().astype(np.int64), Y.ravel(), "of yes"
    own, Y = pair(T, output, classes)
    if len(Y) and not are_probabilities(Y):
        raise ValueError("calibration needs probabilities: rows in [0, 1] that sum to 1")
    if Y.shape[1] == 2:
        return own, Y[:, 1].clip(0, 1), f"of {short(names(classes, 2)[1])}"
    return (Y.argmax(axis=1) == own).astype(np.int64), Y.max(axis=1).clip(0, 1), (
        "of the predicted class")


def _bins(P: Array) -> Array:
    """The bin of each probability, as in scikit-learn's calibration_curve."""
    return np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], P)


def calibration_error(hits: Array, P: Array) -> float:
    """Mean over rows of |share of hits - mean probability| in their bin, of ``BINS`` bins."""
    gaps = np.bincount(_bins(P), hits - P, BINS)
    return float(np.abs(gaps).sum() / len(P))


def calibration(T: Any, output: Any, classes: Sequence[Any] | None = None, *,
                ax: Axes | None = None) -> Axes:
    """How often predictions of each probability are right; on the diagonal, as often as predicted.

    Bars, and the sizes of the dots, show the share of the rows in each of ten bins.

    Parameters
    ----------
    T : array_like
        Class indices (n,), or what ``classes`` holds; rows with one 1 (n, k), or rows of 0 and 1
        if each output is a label of its own.
    output : array_like
        Probabilities: (n, k), or (n, 1) of class 1.
    classes : sequence, optional
        As in ``confusion_matrix``.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError, TypeError
        If ``output`` holds no probabilities, or T does not fit it.
    ImportError
        Without matplotlib or scikit-learn (extra ``plot``).
    """
    metrics()
    from sklearn.calibration import calibration_curve

    hits, P, meaning = confidence(T, output, classes)
    ax = finish(axes(ax), "Calibration", f"probability {meaning}", "share that is right")
    if not len(P):
        say(ax, "no rows")
        return ax
    share, mean = calibration_curve(hits, P, n_bins=BINS, strategy="uniform")
    rows = np.bincount(_bins(P), minlength=BINS) / len(P)
    ax.bar((np.arange(BINS) + 0.5) / BINS, rows, 0.9 / BINS, color="C0", alpha=0.2, linewidth=0,
           label="share of the rows")
    ax.plot([0, 1], [0, 1], "--", color="0.55", linewidth=1, label="as told")
    ax.plot(mean, share, color="C0", linewidth=1.2, label="found")
    ax.scatter(mean, share, 10 + 50 * rows[rows > 0], color="C0", linewidths=0, zorder=3)
    ax.set(xlim=(0, 1), ylim=(0, 1.03))
    legend(ax)
    return ax


def roc(T: Any, output: Any, classes: Sequence[Any] | None = None, *,
        ax: Axes | None = None) -> Axes:
    """True against false positives at every threshold, each class against the rest.

    Of many classes the ten with the smallest areas are drawn, and the worst of them is named.

    Parameters
    ----------
    T, output, classes, ax
        As in ``calibration``; ``output`` may be any scores, the higher the likelier.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError, TypeError
        If T does not fit ``output``, or has fewer than two classes, or ``output`` is not finite.
    ImportError
        Without matplotlib or scikit-learn (extra ``plot``).
    """
    yes, Y, known = one_against_rest(T, output, classes)
    check_finite(Y, "output")
    found = sorted((float(metrics().roc_auc_score(t, y)), i)
                   for i, (t, y) in enumerate(zip(yes.T, Y.T, strict=True))
                   if 0 < t.sum() < t.size)
    if not found:
        raise ValueError("roc needs rows of at least two classes")
    if len(known) == 2 and (yes.sum(axis=1) == 1).all():
        found = found[-1:] if found[-1][1] == 1 else found[:1]  # the two curves are mirrored
    ax = finish(axes(ax), "ROC", "false positive rate", "true positive rate")
    ax.plot([0, 1], [0, 1], "--", color="0.55", linewidth=1)
    for area, i in reversed(found[:_CURVES]):
        x, y, _ = metrics().roc_curve(yes[:, i], Y[:, i])
        at = np.unique(np.linspace(0, len(x) - 1, _POINTS).astype(int))
        worst = (area, i) == found[0]
        lead = "" if len(found) == 1 else "least "
        ax.plot(x[at], y[at], **({"color": "C1" if lead else "C0", "label":
                f"{lead}area {area:.3f}, {short(known[i])}"} if worst else
                {"color": "C0", "alpha": 0.45, "linewidth": 1}))
    ax.set(xlim=(-0.02, 1), ylim=(0, 1.02))
    legend(ax, loc="lower right")
    return ax


def one_against_rest(T: Any, output: Any, classes: Sequence[Any] | None = None
                     ) -> tuple[Array, Array, list[str]]:
    """(0 or 1 (n, k), scores (n, k), names): each class as a problem of its own.

    Raises
    ------
    ValueError, TypeError
        As ``roc``.
    """
    target, Y = loose(T, "T"), scores(output)
    if target.ndim == 2 and target.shape == Y.shape:
        if not np.isin(target, (0, 1)).all():
            raise ValueError("T must hold class indices, or rows of 0 and 1")
        return target.astype(np.int64), Y, names(classes, Y.shape[1])
    own, Y = pair(T, output, classes)
    yes = (own[:, None] == np.arange(Y.shape[1])).astype(np.int64)
    return yes, Y, names(classes, Y.shape[1])
