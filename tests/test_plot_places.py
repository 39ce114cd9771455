"""What plots draw where: every mark against numbers worked out by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

from fastbp import Dense, Network, plot  # noqa: E402
from fastbp.layer_statistics import (  # noqa: E402
    WeightStatistics,
    gradient_statistics,
    weight_statistics,
)
from fastbp.plot.canvas import log_axis, thin  # noqa: E402
from fastbp.plot.classes import _compact, calibration_error, counts, one_against_rest  # noqa: E402
from fastbp.plot.curves import _thousands, best_epoch  # noqa: E402
from fastbp.plot.targets import are_probabilities, labels, scores  # noqa: E402

from .axes import curve, texts  # noqa: E402


def test_large_counts_are_cut_to_four_characters() -> None:
    told = {0: "0", 999: "999", 1000: "1000", 9999: "9999", 10_000: "10k", 99_999: "99k",
            1_000_000: "1.0M", 9_949_999: "9.9M", 10_000_000: "10M", 2_500_000_000: "2.5G"}
    assert {n: _compact(n) for n in told} == told


def test_large_values_of_an_axis_have_units() -> None:
    told = {0.0: "0", 250.0: "250", -2e3: "-2k", 15e3: "15k", 4e6: "4M", 5e9: "5G", 2.5e12: "2.5T"}
    assert {value: _thousands(value, 0) for value in told} == told
    ax = plot.history({"samples_per_s": [12_000.0, 15_000.0]}, "samples_per_s")
    assert ax.yaxis.get_major_formatter()(12_000, 0) == "12k"
    ax = plot.history({"loss": [12.0, 15.0]})
    assert "k" not in ax.yaxis.get_major_formatter()(12_000, 0)


@pytest.mark.parametrize(("value", "limits"), [(3.0, (0, 6)), (-2.0, (-4, 0)), (0.0, (-1, 1))])
def test_a_constant_is_in_the_middle(value: float, limits: tuple[float, float]) -> None:
    assert plot.learning_rate({"learning_rate": [value] * 3}).get_ylim() == limits


@pytest.mark.parametrize(("metric", "best"), [
    ("loss", 1), ("rmse", 1), ("mae", 1), ("max_error", 1), ("mean_poisson_deviance", 1),
    ("accuracy", 2), ("f1", 2), ("roc_auc", 2), ("r2", 2), ("recall", 2), ("learning", None)])
def test_the_best_epoch_has_the_least_error_or_the_most_of_what_is_good(
        metric: str, best: int | None) -> None:
    assert best_epoch({f"val_{metric}": np.array([0.5, 0.25, 0.75, np.nan])}, metric) == best


@pytest.mark.parametrize(("high", "ticks"), [(1000, 1), (20, 3), (3, 9)])
def test_decades_have_as_many_ticks_as_they_need(high: float, ticks: int) -> None:
    ax = plot.history({"loss": [1.0, 2.0]})
    ax.set_ylim(1, high)
    log_axis(ax, "y")
    assert len(ax.yaxis.get_major_locator()._subs) == ticks


def test_a_gap_in_a_long_curve_stays_one() -> None:
    y = np.ones(6000)
    y[1000:1100] = np.nan
    x, short = thin(np.arange(6000), y)
    assert {x[np.isnan(short)].min() // 100, x[np.isnan(short)].max() // 100} == {10}


# -- classes --------------------------------------------------------------------------


def test_cells_of_a_confusion_matrix_have_numbers_that_can_be_read() -> None:
    ax = plot.confusion_matrix([0] * 10 + [1] * 10, [0] * 9 + [1] * 6 + [0] * 5, ["no", "yes"])
    cells = {t.get_position(): (t.get_text(), t.get_color()) for t in ax.texts}
    assert cells[0, 0] == ("9", "white")  # on a dark ground
    assert [cells[at][0] for at in ((1, 0), (0, 1), (1, 1))] == ["1", "5", "5"]
    assert all(cells[at][1] != "white" for at in ((1, 0), (0, 1), (1, 1)))
    assert [t.get_text() for t in ax.get_xticklabels()] == ["no", "yes"]
    for k, told in ((12, 12), (13, 0)):
        assert len(plot.confusion_matrix(np.arange(k), np.arange(k)).texts) == told
    ax = plot.confusion_matrix(np.arange(26), np.arange(26), "abcdefghijklmnopqrstuvwxyz")
    for axis in (ax.xaxis, ax.yaxis):
        assert "".join(t.get_text() for t in axis.get_ticklabels()) == "adgjmpsvy"
        assert axis.get_ticklocs().tolist() == list(range(0, 26, 3))


def test_numbers_of_a_confusion_matrix_are_classes_or_scores() -> None:
    T = [0, 1, 1]
    two = [[1, 0], [1, 1]]
    for given in ([0, 0, 1], [0.0, 0.0, 1.0], [0.2, 0.4, 0.9], [[0.2], [0.4], [0.9]],
                  [-1.5, -0.5, 2.0]):  # one probability or score of class 1
        np.testing.assert_array_equal(counts(T, given), two)
    np.testing.assert_array_equal(counts(T, [0.0, 2.0, 1.0]), [[1, 0, 0], [0, 1, 1], [0, 0, 0]])
    np.testing.assert_array_equal(counts(T, [0, 0, 1], "abc"), [[1, 0, 0], [1, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(counts([False, True, True], [0, 0, 1], [False, True]), two)


@pytest.mark.parametrize("classes", [[1.0, 2.0], [1, 2], [0, 1], [1, 0], [-1, 1], [0.0, 0.3]])
def test_floats_are_classes_if_all_are_and_scores_otherwise(classes: list[float]) -> None:
    T, kind = [classes[i] for i in (0, 1, 1, 0, 1)], type(classes[0])
    np.testing.assert_array_equal(counts(T, np.full(5, 0.9), classes), [[0, 2], [0, 3]])
    np.testing.assert_array_equal(counts(T, np.full((5, 1), 1.0), classes), [[0, 2], [0, 3]])
    for own in kind, float:
        np.testing.assert_array_equal(counts(T, np.array(T, own), classes), [[2, 0], [0, 3]])
        one = np.full(5, classes[0], own)  # all of one class
        np.testing.assert_array_equal(counts(T, one, classes), [[2, 0], [3, 0]])


@pytest.mark.parametrize(("predicted", "classes", "said"), [
    ([1.5, 99.0], [1.5, 2.5], "predicted holds 99.0, which is none of the classes: 1.5, 2.5"),
    ([99.5, 2.5], [1.5, 2.5], "predicted holds 99.5, which is none"),
    ([1.0, -7.5], np.array([1, 2]), "predicted holds -7.5, which is none"),
    ([1.5, np.nan], [1.5, 2.5], "predicted holds nan, which is none"),
    ([0.0, 2.0], [0, 1], "predicted holds 2.0, which is none"),
    ([1.5, 99.0], [1.5, 2.5, 3.5], "predicted holds 99.0, which is none"),
    ([0.2, 0.9], [1, 2, 3], "predicted holds 0.2, which is none"),
    ([[0.2], [0.9]], [1, 2, 3], "predicted holds 0.2, which is none"),
    ([0.2, 0.9], "abc", "predicted[0] is 0.2, no class index below 3"),
    ([[10], [30]], [10, 20], "predicted holds 30, which is none of the classes: 10, 20"),
    ([["a"], ["c"]], "ab", "predicted holds 'c', which is none of the classes: a, b")])
def test_predictions_that_are_neither_classes_nor_scores_are_refused(
        predicted: Any, classes: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
        counts([classes[0], classes[1]], predicted, classes)


@pytest.mark.parametrize(("predicted", "classes"), [
    ([[10], [20]], [10, 20]), ([[10.0], [20.0]], [10, 20]), ([[1.5], [2.5]], [1.5, 2.5]),
    ([["a"], ["b"]], "ab"), ([[0], [1]], "ab"), ([[False], [True]], "ab"), ([[1], [0]], [1, 0]),
    ([[True], [False]], [True, False]), ([0.2, 0.7], [1.5, 2.5]), ([-3.5, 9.5], [1.5, 2.5]),
    ([-1.0, 0.5], [-1, 1]), ([-2.5, 1.0], [0, 1]), ([0.0, 1.0], [1.5, 2.5])])
def test_columns_of_classes_are_classes_and_scores_of_two_are_scores(predicted: Any, classes: Any
                                                                     ) -> None:
    T = [classes[0], classes[1]]
    np.testing.assert_array_equal(counts(T, predicted, classes), np.eye(2))


def test_floats_of_three_named_classes_are_indices() -> None:
    for predicted in ([0.0, 1.0, 1.0], [[0.0], [1.0], [1.0]]):
        np.testing.assert_array_equal(counts([0, 1, 2], predicted, "abc"),
                                      [[1, 0, 0], [0, 1, 0], [0, 1, 0]])


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize(("predicted", "wanted"), [
    ([0.0, 2.0, 1.0], [[1, 0, 0], [0, 0, 1], [0, 1, 0]]),
    ([0.0, 1.0, 1.0], [[1, 0, 0], [0, 1, 0], [0, 1, 0]])])
def test_floats_are_indices_where_the_targets_have_three_classes(
        predicted: list[float], wanted: list[list[int]], column: bool) -> None:
    given = np.array(predicted)[:, None] if column else np.array(predicted)
    for T in ([0, 1, 2], [[0], [1], [2]], np.eye(3)):
        np.testing.assert_array_equal(counts(T, given), wanted)
    with pytest.raises(ValueError, match=r"^predicted\[1\] is 0.7, no class index"):
        counts([0, 1, 2], np.where(given == 0, 0.0, 0.7))


@pytest.mark.parametrize(("T", "classes", "error", "said"), [
    ([0, 1], {"a"}, TypeError, "classes must be a sequence of names, got {'a'}"),
    ([0, 1], frozenset("a"), TypeError, "classes must be a sequence of names, got frozenset("),
    (["a", "b"], ["a", "b", "a"], ValueError, "classes holds 'a' more than once: T is looked up"),
    ([1, 2], [1, 2, 2], ValueError, "classes holds 2 more than once: T is looked up there")])
def test_classes_to_look_up_have_an_order_and_are_different(
        T: Any, classes: Any, error: type[Exception], said: str) -> None:
    for draw in (plot.confusion_matrix, plot.calibration, plot.roc):
        with pytest.raises(error, match=f"^{re.escape(said)}"):
            draw(T, np.eye(len(classes))[:2] if len(classes) > 1 else [0.1, 0.9], classes)


@pytest.mark.parametrize("classes", [[1, 2, 3], np.array([1, 2, 3]), [1.0, 2.0, 3.0], [2, 0, 1],
                                     [-1, 0, 1], "abc", ["1", "2", "3"]])
def test_targets_are_looked_up_in_classes_of_their_kind(classes: Any) -> None:
    at, own = np.array([1, 0, 1, 0, 2]), np.array(list(classes))
    for T in (own[at], own[at][:, None], own[at].tolist(), own[at].astype(object)):
        assert labels(T, 3, classes).tolist() == at.tolist()
    wanted = [[2, 0, 0], [0, 2, 0], [0, 0, 1]]
    np.testing.assert_array_equal(counts(own[at], np.eye(3)[at], classes), wanted)
    np.testing.assert_array_equal(counts(own[at], own[at], classes), wanted)
    ones = own[[1, 1]]  # floats that could be scores
    np.testing.assert_array_equal(counts(ones, ones, classes), np.diag([0, 2, 0]))
    if own.dtype.kind == "U":
        assert labels(at, 3, classes).tolist() == at.tolist()


def test_objects_are_treated_as_the_numbers_and_booleans_that_they_are() -> None:
    for T, classes in (([False, True], ["no", "yes"]), ([0, 1], ["no", "yes"]),
                       ([False, True], [False, True]), ([True, False], [True, False]),
                       ([2, 1], [2, 1]), ([0.5, 1.5], [0.5, 1.5]), (["no", 1], ["no", 1])):
        given = np.array(T, object)
        for own in (given, given[:, None]):
            assert labels(own, 2, classes).tolist() == [0, 1], T
            np.testing.assert_array_equal(counts(own, own, classes), np.eye(2))
    np.testing.assert_array_equal(counts([0, 1], np.array([0.2, 0.7], object)), np.eye(2))
    assert labels(np.array([2**62 + 1, 2**62], object), 2, [2**62, 2**62 + 1]).tolist() == [1, 0]
    with pytest.raises(ValueError, match="T holds None, which is none of the classes: no, yes"):
        labels(np.array([None, 1], object), 2, ["no", "yes"])


def test_lists_among_targets_and_classes_are_named() -> None:
    T = np.empty(2, object)
    T[:] = "no", ["yes"]
    for given in (T, T[:, None]):
        with pytest.raises(ValueError, match=r"^T holds \['yes'\], which is none of"):
            labels(given, 2, ["no", "yes"])
    with pytest.raises(TypeError, match="^T must hold real numbers"):
        labels(T, 2, None)
    with pytest.raises(TypeError, match=r"^classes must be a sequence of names, got \[\['a'\]"):
        labels(["a", "b"], 2, [["a"], ["b"]])


def test_booleans_are_no_and_yes_unless_they_are_the_classes() -> None:
    T, P = np.array([False, True, True]), [0.2, 0.9, 0.4]
    for classes in (["no", "yes"], [5, 7], [0, 1], [False, True], None):
        assert labels(T, 2, classes).tolist() == [0, 1, 1]
    assert labels(T, 2, [True, False]).tolist() == [1, 0, 0]
    assert plot.roc(T, P, ["no", "yes"]).get_legend() is not None


@pytest.mark.parametrize(("T", "classes", "said"), [
    ([1, 0], [1, 2, 3], "T holds 0, which is none of the classes: 1, 2, 3"),
    ([1.0, np.nan], [1, 2], "T holds nan, which is none of the classes: 1, 2"),
    (["a", "x"], "ab", "T holds 'x', which is none of the classes: a, b"),
    ([0], range(1, 90), "T holds 0, which is none of the classes: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, "
                        "...")])
def test_a_target_that_is_none_of_the_classes_is_named(T: Any, classes: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        labels(T, len(classes), classes)


def test_words_without_classes_are_told_to_give_them() -> None:
    y, P = np.array(["a", "b", "a"]), np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
    said = r"^T must hold real numbers, .*; give the classes it holds, as classes=clf.classes_$"
    for T in (y, y.astype(object)):
        for draw, output in ((plot.confusion_matrix, y), (plot.roc, P), (plot.calibration, P)):
            with pytest.raises(TypeError, match=said):
                draw(T, output)
            draw(T, output, classes=["a", "b"])
    with pytest.raises(TypeError, match="^predicted .*; give the classes"):
        plot.confusion_matrix([0, 1, 0], y)
    with pytest.raises(TypeError, match="complex128$"):
        plot.roc(np.zeros(3, complex), P)


def test_one_column_is_of_class_1() -> None:
    np.testing.assert_allclose(scores([0.25, 1.0]), [[0.75, 0.25], [0, 1]])
    np.testing.assert_allclose(scores([[0.25], [1.5]]), [[-0.25, 0.25], [-1.5, 1.5]])
    assert labels([True, False], 2, [True, False]).tolist() == [0, 1]
    assert are_probabilities(np.array([[0.25, 0.75]]))
    assert not are_probabilities(np.array([[0.25, 0.5]]))
    assert not are_probabilities(np.array([[-0.5, 1.5]]))


def test_a_probability_between_two_bins_is_in_the_lower_as_in_scikit_learn() -> None:
    ax = plot.calibration([0, 1, 1, 0], [0.1, 0.5, 0.55, 0.65])
    assert [round(bar.get_height(), 6) for bar in ax.patches] == [
        0.25, 0, 0, 0, 0.25, 0.25, 0.25, 0, 0, 0]
    assert curve(ax, "found").get_xdata().tolist() == [0.1, 0.5, 0.55, 0.65]
    hits, P = np.array([1, 0]), np.array([0.2, 0.8])  # off to both sides: no balance
    assert calibration_error(hits, P) == pytest.approx(0.8)


def test_the_worst_class_of_many_is_drawn_and_named() -> None:
    T = np.repeat(np.arange(12), 10)
    Y = np.eye(12)[T] + np.random.default_rng(0).random((120, 12)) * 0.5
    Y[:, 7] = np.random.default_rng(1).random(120)
    ax = plot.roc(T, Y, [f"class {i}" for i in range(12)])
    assert len(ax.lines) == 11  # ten of twelve, and the diagonal
    said = ax.get_legend().get_texts()[0].get_text()
    assert said.startswith("least area 0.") and said.endswith(", class 7")
    yes, same, names = one_against_rest([1, 0], [[0.2, 0.3, 0.5]] * 2)
    assert yes.tolist() == [[0, 1, 0], [1, 0, 0]] and names == ["0", "1", "2"]
    assert same.shape == (2, 3)


# -- numbers --------------------------------------------------------------------------


def test_predictions_go_right_and_true_values_up() -> None:
    T, Y = [10.0, 30.0, 20.0], [1.0, 3.0, 2.0]
    ax = plot.prediction(T, Y)
    dots = ax.lines[0]
    assert (dots.get_xdata().tolist(), dots.get_ydata().tolist()) == (Y, T)
    means = curve(ax, "mean of a tenth of the rows")
    assert means.get_xdata().tolist() == [1, 2, 3] and means.get_ydata().tolist() == [10, 20, 30]
    diagonal = curve(ax, "as told")
    ends = diagonal.get_transform().transform([[0, 0], [1, 1]])
    x, y = ax.transData.inverted().transform(ends).T
    np.testing.assert_allclose(y, x, atol=1e-9)
    assert x[0] <= 1 and x[1] >= 3
    ax = plot.residuals(T, Y)
    assert ax.lines[0].get_ydata() == [0, 0] and ax.lines[-1].get_ydata().tolist() == [9, 27, 18]
    clouds = [len(plot.residuals(np.zeros(n), np.zeros(n)).collections) for n in (600, 601)]
    assert clouds == [0, 1]


# -- tensors --------------------------------------------------------------------------


def _weights(quantiles: Any, norm: float = 1.0, before: Any = None) -> WeightStatistics:
    net = Network([Dense(2, 1)], "mse")
    return replace(weight_statistics(net)[0], quantiles=np.array(quantiles), norm=norm,
                   quantiles_before=before, minimum=quantiles[0] - 1.0,
                   maximum=quantiles[-1] + 1.0)


def test_boxes_of_weights_hold_the_middle_half() -> None:
    found = [_weights([0, 1, 2, 4, 8]), _weights([0] * 5, np.nan),
             _weights([-4, -2, 0, 1, 2], before=np.array([0, 3, 4, 5, 9]))]
    ax = plot.weights(found)
    boxes = [(round(b.get_y() + b.get_height() / 2, 2), b.get_x(), b.get_width())
             for b in ax.patches]
    assert boxes == [(0, 1, 3), (2, -2, 3), (2.36, 3, 2)]  # nothing beside what is not finite
    whole, most = ([line.tolist() for line in lines.get_segments()] for lines in ax.collections)
    assert whole == [[[-1, 0], [9, 0]], [[-5, 2], [3, 2]]]
    assert most == [[[0, 0], [8, 0]], [[-4, 2], [2, 2]]]
    median = ax.lines[-1]
    assert median.get_xdata().tolist() == [2, 0] and list(median.get_ydata()) == [0, 2]
    assert texts(plot.weights([])) == ["no parameters"]


def test_gradients_are_beside_their_tensors() -> None:
    net = Network([Dense(2, 2), Dense(2, 1)], "mse")
    made = gradient_statistics(net, np.ones((3, 2)), np.zeros((3, 1)))[0]
    ax = plot.gradients([replace(made, norm=norm, ratio=ratio) for norm, ratio in (
        (2.0, np.inf), (0.0, 1.0), (np.nan, 0.5), (8.0, 4.0))])
    norms, ratios = curve(ax, "gradient"), curve(ax, "gradient / weights")
    assert norms.get_xdata().tolist() == [2, 8] and norms.get_ydata().tolist() == [0, 3]
    assert ratios.get_xdata().tolist() == [1, 0.5, 4] and ratios.get_ydata().tolist() == [1, 2, 3]
    assert ax.get_xscale() == "log"
