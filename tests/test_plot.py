"""Plots say what the numbers say, on axes of the caller's or their own."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

from matplotlib.figure import Figure  # noqa: E402

from fastbp import CrossEntropyLoss, Dense, Network, Softmax, Tanh, plot  # noqa: E402
from fastbp.layer_statistics import weight_statistics  # noqa: E402
from fastbp.plot.canvas import MAX_POINTS, few, plain, short, thin  # noqa: E402
from fastbp.plot.classes import calibration_error, confidence  # noqa: E402

from .axes import curve, texts  # noqa: E402

HISTORY = {"loss": [3.0, 2.0, 1.5], "val_loss": [3.0, 1.0, 2.0], "val_accuracy": [0.2, 0.9, 0.8],
           "learning_rate": [0.1, 0.1, 0.01]}


def outcome(k: int = 3, rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(k)
    T, Y = rng.integers(0, k, rows), rng.normal(size=(rows, k))
    Y[np.arange(rows), T] += 1.5
    P = np.exp(Y)
    return T, P / P.sum(axis=1, keepdims=True)


def net() -> Network:
    return Network([Dense(4, 6), Tanh(), Dense(6, 3), Softmax()], CrossEntropyLoss())


def rendered(ax: Any) -> str:
    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        ax.figure.savefig(out, format="svg")
    return out.getvalue()


RNG = np.random.default_rng(0)
EVERY: dict[str, Callable[[Any], Any]] = {
    "history": lambda ax: plot.history(HISTORY, ax=ax),
    "learning_rate": lambda ax: plot.learning_rate(HISTORY, ax=ax),
    "confusion_matrix": lambda ax: plot.confusion_matrix(*outcome(), ax=ax),
    "calibration": lambda ax: plot.calibration(*outcome(), ax=ax),
    "roc": lambda ax: plot.roc(*outcome(), ax=ax),
    "residuals": lambda ax: plot.residuals([1, 2, 3], [1.5, 2, 2], ax=ax),
    "prediction": lambda ax: plot.prediction([1, 2, 3], [1.5, 2, 2], ax=ax),
    "weights": lambda ax: plot.weights(net(), ax=ax),
    "gradients": lambda ax: plot.gradients(net(), RNG.normal(size=(9, 4)), RNG.integers(0, 3, 9),
                                           ax=ax)}


def test_every_public_plot_is_tried() -> None:
    assert sorted(EVERY) == sorted(plot.__all__)


@pytest.mark.parametrize("name", EVERY)
def test_each_draws_where_it_is_told_or_on_its_own(name: str) -> None:
    given = Figure().subplots()
    assert EVERY[name](given) is given
    own = EVERY[name](None)
    assert own.figure is not given.figure and own.get_title()
    assert own.has_data() and "<path" in rendered(own)
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules[
        "matplotlib.pyplot"].get_fignums()


def test_curves_hold_the_history() -> None:
    ax = plot.history(HISTORY)
    assert list(curve(ax, "training").get_xdata()) == [1, 2, 3]
    assert list(curve(ax, "training").get_ydata()) == HISTORY["loss"]
    assert list(curve(ax, "validation").get_ydata()) == HISTORY["val_loss"]
    best = curve(ax, "best, epoch 2")
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (2, 1.0)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [
        "training", "validation", "best, epoch 2"]
    accuracy = plot.history(HISTORY, "accuracy")
    assert curve(accuracy, "best, epoch 2").get_ydata()[0] == 0.9  # here most is best
    assert list(plot.learning_rate(HISTORY).lines[0].get_ydata()) == HISTORY["learning_rate"]


def test_history_of_keras_and_one_that_lacks_the_metric() -> None:
    class Keras:
        history = HISTORY

    assert list(curve(plot.history(Keras()), "training").get_ydata()) == HISTORY["loss"]
    with pytest.raises(ValueError, match="history has no 'f1', only"):
        plot.history(HISTORY, "f1")
    with pytest.raises(ValueError, match="no 'learning_rate'"):
        plot.learning_rate({"loss": [1.0]})
    with pytest.raises(TypeError, match="history must be"):
        plot.history([1, 2])
    with pytest.raises(TypeError, match=r"history\['loss'\] must hold numbers"):
        plot.history({"loss": ["low"]})


def test_nan_leaves_a_gap_and_only_nan_says_so() -> None:
    ax = plot.history({"loss": [1.0, np.inf, 3.0, np.nan]})
    np.testing.assert_array_equal(curve(ax, "training").get_ydata(), [1, np.nan, 3, np.nan])
    assert ax.get_xlim()[1] > 4
    ax = plot.history({"loss": [np.nan], "val_loss": [np.nan]})
    assert texts(ax) == ["no finite value"]
    assert texts(plot.learning_rate({"learning_rate": [np.nan]})) == ["no finite value"]


def test_one_epoch_and_values_over_decades() -> None:
    ax = plot.history({"loss": [2.0]})
    assert curve(ax, "training").get_marker() == "o"
    low, high = ax.get_xlim()
    assert low < 1 < high
    assert ax.get_yscale() == "linear"
    assert plot.history({"loss": [100.0, 1.0]}).get_yscale() == "log"
    assert plot.history({"loss": [100.0, 0.0]}).get_yscale() == "linear"


def test_long_curves_keep_their_ends_and_extremes() -> None:
    y = np.random.default_rng(0).normal(size=10_000)
    y[4321], y[6543] = 50, -50
    x = np.arange(1, 10_001)
    short_x, short_y = thin(x, y)
    assert len(short_x) <= MAX_POINTS + 2
    assert {50.0, -50.0} <= set(short_y) and short_x[0] == 1 and short_x[-1] == 10_000
    assert (np.diff(short_x) > 0).all()
    np.testing.assert_array_equal(short_y, y[short_x - 1])
    gap = y.copy()
    gap[2000:4000] = np.nan
    assert np.isnan(thin(x, gap)[1]).any()
    assert thin(x[:5], y[:5])[1] is not None and len(thin(x[:5], y[:5])[0]) == 5


def test_confusion_matrix_counts() -> None:
    T, predicted = [0, 0, 1, 2, 2, 2], [0, 1, 1, 2, 2, 0]
    ax = plot.confusion_matrix(T, predicted, ["a", "b", "c"])
    image = np.asarray(ax.images[0].get_array())
    np.testing.assert_allclose(image, [[0.5, 0.5, 0], [0, 1, 0], [1 / 3, 0, 2 / 3]])
    assert sorted(texts(ax)) == ["1", "1", "1", "1", "2"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b", "c"]
    one_hot = np.eye(3)[predicted]
    other = plot.confusion_matrix(np.eye(3)[T], one_hot)
    np.testing.assert_array_equal(np.asarray(other.images[0].get_array()), image)
    floats = plot.confusion_matrix(np.array(T, float), np.array(predicted, float))
    np.testing.assert_array_equal(np.asarray(floats.images[0].get_array()), image)
    named = plot.confusion_matrix(np.array(["a", "a", "b", "c", "c", "c"]), one_hot,
                                  ["a", "b", "c"])
    np.testing.assert_array_equal(np.asarray(named.images[0].get_array()), image)


def test_confusion_matrix_of_two_classes_by_one_probability() -> None:
    ax = plot.confusion_matrix([0, 1, 1, 0], [[0.1], [0.9], [0.2], [0.3]])
    np.testing.assert_array_equal(np.asarray(ax.images[0].get_array()), [[1, 0], [0.5, 0.5]])


def test_many_classes_stay_readable() -> None:
    ax = plot.confusion_matrix(*outcome(100), [f"class number {i}" for i in range(100)])
    labels = [t.get_text() for t in ax.get_xticklabels()]
    assert len(labels) <= 12 and all(len(label) <= 12 for label in labels)
    assert not ax.texts


def test_calibration_by_hand() -> None:
    T = [0] * 8 + [1] * 2 + [1] * 9 + [0]
    P = np.repeat([0.25, 0.85], 10)
    ax = plot.calibration(T, P[:, None], ["no", "yes"])
    found = curve(ax, "found")
    np.testing.assert_allclose(found.get_xdata(), [0.25, 0.85])
    np.testing.assert_allclose(found.get_ydata(), [0.2, 0.9])
    assert "yes" in ax.get_xlabel()
    heights = [bar.get_height() for bar in ax.patches]
    assert heights[2] == heights[8] == 0.5 and sum(heights) == 1
    hits, p, _ = confidence(T, P)
    assert calibration_error(hits, p) == pytest.approx(0.05)


def test_calibration_of_many_classes_and_of_labels() -> None:
    P = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    hits, p, _ = confidence([0, 1], P)
    assert hits.tolist() == [1, 0] and p.tolist() == [0.7, 0.6]
    hits, p, _ = confidence([[1, 0, 1]], [[0.9, 0.8, 0.7]])
    assert hits.tolist() == [1, 0, 1] and p.tolist() == [0.9, 0.8, 0.7]
    with pytest.raises(ValueError, match="calibration needs probabilities"):
        plot.calibration([0, 1], [[3.0, -1.0], [2.0, 5.0]])


def test_roc_by_hand() -> None:
    ax = plot.roc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    assert len(ax.lines) == 2  # the two classes mirror each other
    assert ax.get_legend().get_texts()[0].get_text() == "area 0.750, 1"
    T, Y = outcome(15)
    ax = plot.roc(T, Y)
    assert len(ax.lines) == 11
    assert ax.get_legend().get_texts()[0].get_text().startswith("least area")
    with pytest.raises(ValueError, match="two classes"):
        plot.roc([0, 0], [0.1, 0.2])


def test_two_labels_as_many_times_as_there_are_rows_are_no_mirrors() -> None:
    T = np.array([[1, 1], [0, 0], [1, 0], [0, 1]])
    assert len(plot.roc(T, np.array([[0.9, 0.1], [0.2, 0.3], [0.4, 0.6], [0.5, 0.5]])).lines) == 3


def test_a_row_far_off_is_seen_among_many() -> None:
    predicted = np.append(np.tile(np.linspace(0, 1, 100), 20), 5.0)
    ax = plot.residuals(np.append(predicted[:-1], 50.0), predicted)
    rendered(ax)
    cloud = ax.collections[0]
    alone = np.asarray(cloud.get_array()) == 1
    assert alone.sum() == 1 and cloud.get_facecolors()[alone, 3] > 0.2


def test_residuals_and_predictions() -> None:
    ax = plot.residuals([1.0, 2.0, np.nan], [[0.5], [2.5], [1.0]], name="price $")
    dots = ax.lines[-1]
    assert dots.get_xdata().tolist() == [0.5, 2.5] and dots.get_ydata().tolist() == [0.5, -0.5]
    assert ax.get_title() == "Residuals: price $"
    many = np.linspace(0, 1, 5000)
    ax = plot.prediction(many + 1, many)
    assert np.sum(ax.collections[0].get_array()) == 5000  # every row is in a hexagon
    np.testing.assert_allclose(curve(ax, "mean of a tenth of the rows").get_ydata()
                               - curve(ax, "mean of a tenth of the rows").get_xdata(), 1)
    assert texts(plot.residuals([np.nan], [1.0])) == ["no finite value"]
    for draw in plot.residuals, plot.prediction:  # no axis holds what is so far apart
        assert texts(draw([1e308], [-1e308])) == ["no finite value"]
        ax = draw([1e307, -1e307, 2e307], [-1e307, 1e307, 0])
        ax.figure.canvas.draw()
    with pytest.raises(ValueError, match="2 columns"):
        plot.residuals(np.zeros((3, 2)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="do not go together"):
        plot.residuals([1, 2], [1, 2, 3])


@pytest.mark.parametrize(("T", "Y", "message"), [
    ([0, 3], np.eye(3)[:2], r"T\[1\] is 3, no class index below 3"),
    ([0, -1], np.eye(3)[:2], r"T\[1\] is -1"), ([0.5, 1], np.eye(3)[:2], r"T\[0\] is"),
    ([0, np.nan], np.eye(3)[:2], r"T\[1\] is nan"), ([1e30, 1], np.eye(3)[:2], r"T\[0\] is 1e"),
    ([0], np.eye(3), "T has 1 rows"), (np.array(["x", "a"]), np.eye(3)[:2], "'x', which is none"),
    ([0, 1], np.zeros((2, 2, 2)), "shape")])
def test_unfit_targets_are_named(T: Any, Y: Any, message: str) -> None:
    for draw in (plot.confusion_matrix, plot.roc):
        with pytest.raises(ValueError, match=message):
            draw(T, Y, ["a", "b", "c"])


def test_unfit_predictions_are_named() -> None:
    with pytest.raises(ValueError, match="T has 3 rows, predicted has 2"):
        plot.confusion_matrix([0, 1, 1], [0, 1])
    with pytest.raises(ValueError, match=r"output holds nan at \(1, 0\)"):
        plot.roc([0, 1], [[0.5, 0.5], [np.nan, 0.5]])
    with pytest.raises(ValueError, match="two classes"):
        plot.roc([], np.zeros((0, 3)))


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: plot.confusion_matrix([], []), ValueError, r"needs rows, T has shape \(0,\)"),
    (lambda: plot.confusion_matrix([], np.zeros((0, 3))), ValueError, "needs rows"),
    (lambda: plot.confusion_matrix(np.zeros((2, 0)), np.eye(2)), ValueError, r"T must be class"),
    (lambda: plot.confusion_matrix([0, 1], [[1, 0], [1]]), ValueError, "predicted is not a rect"),
    (lambda: plot.confusion_matrix([[0, 1], [1]], [0, 1]), ValueError, "T is not a rectangular"),
    (lambda: plot.confusion_matrix([0, 1], [0, 1], 2), TypeError, "classes must be a seq.* got 2"),
    (lambda: plot.confusion_matrix([0, 10**9], [0, 1]), ValueError, "most 10000 .* 1000000000"),
    (lambda: plot.confusion_matrix(np.eye(5)[:3], np.eye(3)), ValueError, "T has 5 columns"),
    (lambda: plot.calibration(np.eye(2), np.eye(3)[:2]), ValueError, "T has 2 columns, for 3 cl"),
    (lambda: plot.roc(np.eye(2), [0.2, 0.8], ax=3), TypeError, "ax must be axes .*got 3"),
    (lambda: plot.roc([0, 1], [0.1, 0.2], 2), TypeError, "classes must be a sequence .* got 2"),
    (lambda: plot.roc([[0], [1, 1]], [0.1, 0.2]), ValueError, "T is not a rectangular array"),
    (lambda: plot.calibration([[0], [1, 1]], [0.1, 0.2]), ValueError, "T is not a rectangular"),
    (lambda: plot.calibration([0, 1], [0.1, 0.2], 2), TypeError, "classes must be a sequence"),
    (lambda: plot.history(HISTORY, ["loss"]), TypeError, r"metric must be .*\['loss'\]"),
    (lambda: plot.weights("a"), TypeError, "network must be a Network or a .*WeightSta.*got 'a'"),
    (lambda: plot.weights(None), TypeError, "network must be a Network .*, got None"),
    (lambda: plot.gradients("a"), TypeError, "network must be .*GradientStatistics, got 'a'"),
    (lambda: plot.gradients(weight_statistics(net())), TypeError, "network must be .*GradientS")])
def test_what_cannot_be_drawn_is_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_calibration_of_no_rows_says_so() -> None:
    for outputs in (np.zeros((0, 3)), np.zeros((0, 2)), []):
        assert texts(plot.calibration([], outputs)) == ["no rows"]


@pytest.mark.parametrize("T", [np.array([0, 1, 2]), np.array(["a", "b", "c"]), np.eye(3)])
def test_masked_targets_are_refused(T: Any) -> None:
    mask = np.arange(T.size).reshape(T.shape) == 1
    masked, Y = np.ma.masked_array(T, mask), np.full((3, 3), 1 / 3)
    for draw in (plot.confusion_matrix, plot.calibration, plot.roc):
        with pytest.raises(ValueError, match="T has masked elements"):
            draw(masked, Y, ["a", "b", "c"])
    with pytest.raises(ValueError, match="predicted has masked elements"):
        plot.confusion_matrix([0, 1, 2], np.ma.masked_equal([0, 1, 2], 1))


def test_names_that_do_not_match_the_outputs() -> None:
    with pytest.raises(ValueError, match="classes has 2 names for 3 outputs"):
        plot.confusion_matrix([0, 1], np.eye(3)[:2], ["a", "b"])


def test_weights_and_gradients_of_each_tensor() -> None:
    network = net()
    before = network.params.copy()
    ax = plot.weights(network, before)
    assert [t.get_text() for t in ax.get_yticklabels()] == list(network.named_parameters())
    median = ax.lines[-1].get_xdata()
    np.testing.assert_allclose(median, [np.median(v) for v in
                                        network.named_parameters().values()], atol=1e-7)
    network.layers[0].weight[0] = np.nan
    assert len(plot.weights(network).lines[-1].get_xdata()) == 3
    ax = plot.gradients(network_without_error(), np.zeros((2, 2)), np.zeros((2, 1)))
    assert texts(ax) == ["all zero or not finite"]


def network_without_error() -> Network:
    network = Network([Dense(2, 1)], "mse")
    network.params[...] = 0
    return network


@pytest.mark.filterwarnings("ignore:Glyph .* missing:UserWarning")
def test_names_are_text_and_never_mathematics() -> None:
    T, Y = outcome(3)
    for name in ("$\\frac{$", "_hidden", "a\x00b\nc", "\ud800", "漢字"):
        for draw in (plot.confusion_matrix, plot.roc):
            ax = draw(T, Y, [name] * 3)
            assert "<text" in rendered(ax)
    ax = plot.roc([0, 1], [0.1, 0.2], ["_no", "_yes"])
    assert ax.get_legend().get_texts()[0].get_text() == "area 1.000, _yes"
    assert plain("a\x00b\nc") == "a\N{REPLACEMENT CHARACTER}b c"
    assert short("abcdefghij", 5) == "abcd…" and short("abc", 5) == "abc"
    assert list(few(100, 12)) == list(range(0, 100, 9)) and list(few(3, 12)) == [0, 1, 2]


def test_importing_is_light_and_says_what_is_missing() -> None:
    code = """
import sys
import fastbp.plot, fastbp.report
assert not {"matplotlib", "sklearn"} & set(sys.modules)
sys.modules["matplotlib"] = sys.modules["matplotlib.figure"] = None
try:
    fastbp.plot.history({"loss": [1.0]})
except ImportError as error:
    assert "fastbp[plot]" in str(error), error
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)
