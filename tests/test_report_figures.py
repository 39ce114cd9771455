"""The report's figures: as text, and against what is worked out by hand or by scikit-learn."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")
metrics = pytest.importorskip("sklearn.metrics")

from fastbp import (  # noqa: E402
    Dense,
    HingeLoss,
    L2Loss,
    MLPClassifier,
    MLPRegressor,
    Network,
    ReLU,
    Softmax,
    report,
)
from fastbp.report import Report, from_network, markup  # noqa: E402
from fastbp.report.page import _headline, _top  # noqa: E402
from fastbp.report.scores import judge, of_classifier  # noqa: E402
from fastbp.report.sections import Charts, _curve_caption, _troubles  # noqa: E402
from fastbp.report.sections import learning as learning_section  # noqa: E402
from fastbp.report.sections import outcome as outcome_section  # noqa: E402
from fastbp.report.sections import running as running_section  # noqa: E402

NAN = float("nan")


@pytest.fixture
def captions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What charts say, in their order, in place of drawing them."""
    found = list[str]()
    monkeypatch.setattr(Charts, "__call__",
                        lambda _, make, caption: found.append(caption) or caption)
    return found


@pytest.mark.parametrize(("value", "text"), [
    (None, "–"), (0, "0"), (-3.0, "−3"), (1234567, "1,234,567"), (999_999_999, "999,999,999"),
    (1e9, "1e9"), (-2.5e12, "−2.5e12"), (0.123456, "0.1235"), (-0.5, "−0.5"), (1234.5, "1,234"),
    (9999.4, "9,999"), (1.25e-5, "1.25e−5"), (2e-12, "2e−12"), (math.inf, "∞"), (-math.inf, "−∞"),
    (NAN, "NaN")])
def test_numbers_are_short_and_keep_their_size(value: float | None, text: str) -> None:
    assert markup.number(value) == text


def test_counts_shares_and_times_have_their_units() -> None:
    assert [markup.compact(n) for n in (7, 65_432, 999_999, 1e6, 2.345e7, 1e9, 7.8e10)] == [
        "7", "65,432", "999,999", "1 M", "23.4 M", "1 G", "78 G"]
    assert [markup.share(x) for x in (0, 0.0345, 1, None, NAN, math.inf)] == [
        "0.0%", "3.5%", "100.0%", "–", "–", "–"]
    assert [markup.seconds(x) for x in (0, 3e-6, 0.0025, 2, 90, 7200, NAN, math.inf)] == [
        "0 s", "3 µs", "2.5 ms", "2 s", "1.5 min", "2 h", "NaN", "∞"]


def test_the_line_under_the_title_has_the_widths_and_cuts_many() -> None:
    def widths(*sizes: int) -> str:
        net = Network([Dense(a, b) for a, b in zip(sizes, sizes[1:], strict=False)], "mse")
        return _top(Report("", task="regression", network=net), None)

    assert "regression · 3 – 1,200 – 2 · float32" in widths(3, 1200, 2)
    assert "1 – 2 – 3 – 4 – 5 – 6 – 7 – … – 11 – 12 ·" in widths(*range(1, 13))


def test_the_page_opens_with_the_figures_of_the_run() -> None:
    net = Network([Dense(2, 3), ReLU(), Dense(3, 1)], "mse")
    made = Report("", {"loss": [3.0, 1.5], "val_loss": [4.0, 2.0, 2.5],
                       "samples_per_s": [1e6, 3e6, 8e6]}, "regression", net,
                  timings={"fit": 90.0, "load": 1.0})
    assert _headline(made, None) == [
        ("last training loss", "1.5"), ("last validation loss", "2.5"), ("epochs", "3"),
        ("parameters", "13"), ("rows a second, median", "3 M"), ("fit", "1.5 min")]
    T, Y = np.array([[1.0, 0], [2, 4], [4, 8], [NAN, 1]]), np.array([[2.0, 0], [2, 2], [2, 8],
                                                                     [1, 1]])
    told = dict(_headline(Report("", task="regression"), judge("regression", T, Y, None)))
    each = list(zip(T[:3].T, Y[:3].T, strict=True))
    assert told == {
        "R² (mean)": markup.number(np.mean([metrics.r2_score(t, y) for t, y in each]), 3),
        "root mean squared error (mean)": markup.number(np.mean(
            [metrics.mean_squared_error(t, y) ** 0.5 for t, y in each]), 3),
        "mean absolute error (mean)": markup.number(np.mean(
            [metrics.mean_absolute_error(t, y) for t, y in each]), 3), "held-out rows": "4"}


def test_rows_that_are_not_finite_are_counted_and_left_out() -> None:
    T = np.array([1.0, 2.0, np.inf, NAN, 3.0])
    Y = np.array([1.5, np.inf, 1.0, 2.0, 2.0])
    found = judge("regression", T, Y, ["price"])
    assert found.lost == 3 and found.T.tolist() == [1, 3] and found.Y.tolist() == [1.5, 2]
    assert found.outputs == [("price", pytest.approx(1 - 1.25 / 2), pytest.approx(0.625 ** 0.5),
                              pytest.approx(0.75), pytest.approx(0.25), 2)]
    one = judge("regression", T[:1], Y[:1], None)
    assert one.outputs is not None and one.outputs[0][0] == "output 0"
    assert math.isnan(one.outputs[0][1]) and one.outputs[0][2:] == (0.5, 0.5, -0.5, 1)


def test_areas_and_means_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    T = rng.integers(0, 3, 50)  # none of the fourth class
    P = rng.dirichlet(np.ones(4), 50)
    found = of_classifier(T, P, "abcd")
    areas = [metrics.roc_auc_score(k == T, P[:, k]) for k in range(3)]
    assert [row[5] for row in found.rows] == [*map(pytest.approx, areas), None]
    macro, weighted = found.averages
    assert macro[0] == "macro mean" and macro[5] == pytest.approx(np.mean(areas))
    assert weighted[0] == "weighted mean" and weighted[5] is None
    assert weighted[1:4] == pytest.approx(metrics.precision_recall_fscore_support(
        T, P.argmax(axis=1), average="weighted", zero_division=0)[:3])
    assert macro[4] == weighted[4] == 50
    told = dict(found.overall)
    assert told["log loss"] == pytest.approx(metrics.log_loss(T, P, labels=range(4)))
    near = dict(of_classifier(T, P * 1.0005, "abcd").overall)  # as much as float32 may be off
    assert near["log loss"] == pytest.approx(told["log loss"], rel=1e-9)
    assert told["accuracy"] == (P.argmax(axis=1) == T).mean()
    assert [name for name, *_ in found.mistakes] and all(
        share == pytest.approx(n / ("abcd".index(name) == T).sum())
        for name, _, n, share in found.mistakes)
    scores = dict(of_classifier(T, P * 3 - 1, "abcd").overall)  # no probabilities
    assert scores.keys() == {"accuracy", "F1, mean over classes"}


def test_labels_are_calibrated_one_by_one() -> None:
    T, P = np.array([[1, 0], [0, 0], [1, 1]]), np.array([[0.9, 0.2], [0.4, 0.1], [0.7, 0.9]])
    told = dict(of_classifier(T, P, None, several=True).overall)
    hits, chance = T.ravel(), P.ravel()
    bins = [np.ceil(round(p * 10, 6)) for p in chance]
    gaps = [abs(sum(hits[i] - chance[i] for i in range(6) if bins[i] == b)) for b in set(bins)]
    assert told["calibration error"] == pytest.approx(sum(gaps) / 6)
    logits = of_classifier([[1], [0]], [[0.25], [-3.0]], None, several=True)  # yes above 0
    assert dict(logits.overall)["accuracy of each yes or no"] == 1


def test_captions_say_where_a_curve_goes() -> None:
    known = {"loss": np.array([3.0, 1.0, 2.0]), "val_loss": np.array([4.0, 2.5, NAN]),
             "f1": np.array([0.5]), "val_accuracy": np.array([0.5, 0.9, 0.8])}
    assert _curve_caption(known, "loss") == (
        "Loss: training 3 to 2, validation 4 to 2.5, best 2.5 in epoch 2.")
    assert _curve_caption(known, "f1") == "F1: training 0.5."
    assert _curve_caption(known, "accuracy") == (
        "Accuracy: validation 0.5 to 0.8, best 0.9 in epoch 2.")
    assert _curve_caption({"loss": np.array([NAN])}, "loss") == "Loss: no finite value."
    assert _troubles(Report("", {"loss": [1.0, NAN, 2.0], "val_f1": [NAN]})) == [
        "loss is not finite in 1 epoch, first in epoch 2."]


@pytest.mark.parametrize(("rates", "said"), [
    ([0.1, 0.1], "0.1 throughout"), ([0.1, 0.2, 0.05], "from 0.1 to 0.05"),
    ([NAN, 0.5, 0.1], "from 0.5 to 0.1"), ([NAN], "no finite value")])
def test_the_learning_rate_comes_second(rates: list[float], said: str,
                                        captions: list[str]) -> None:
    page = learning_section(Report("", {"f1": [1.0], "learning_rate": rates, "loss": [1.0]}),
                            Charts())
    assert f"Loss: training 1.Learning rate: {said}.F1: training 1." in page and len(captions) == 3


def test_the_worst_outputs_are_drawn_in_their_order() -> None:
    T = np.array([[0.0] * 5, [1.0] * 5])
    Y = T - [0.1, 4, 0.2, 3, 2]
    charts: Any = []
    page = outcome_section(Report("", task="regression"), judge("regression", T, Y, "abcde"),
                           lambda make, caption: charts.append((make, caption)) or "")
    assert [caption.split(":")[0] for _, caption in charts] == [
        f"{what} of {name}" for name in "bde" for what in ("Residuals", "True against predicted")]
    assert charts[0][1] == "Residuals of b: mean 4, root mean square 4."
    residuals, prediction = (make() for make, _ in charts[:2])
    assert residuals.get_title() == "Residuals: b"
    assert residuals.lines[-1].get_ydata().tolist() == [4, 4]
    assert prediction.lines[0].get_xdata().tolist() == [-4, -3]
    assert "Drawn are the 3 outputs of 5 with the largest error." in page


@pytest.mark.parametrize("missing", [None, NAN])
def test_rows_without_a_target_are_left_out_whatever_holds_them(missing: Any) -> None:
    T: Any = np.array([0, 1, 2, missing], object)
    found = judge("regression", T, [0.0, 1.0, 3.0, 4.0], None)
    assert found.lost == 1 and found.outputs is not None and found.outputs[0][5] == 3
    assert found.outputs == judge("regression", T[:3], [0.0, 1.0, 3.0], None).outputs
    page = report.html(Report("", task="regression", T_true=T, output=[0.0, 1.0, 3.0, 4.0]))
    assert "1 of 4 rows are left out" in page
    yes: Any = np.array([[0, 1], [1, 0], [missing, 1]], object)
    several = judge("multilabel", yes, np.full((3, 2), 0.7), None)
    assert several.lost == 1 and several.classes is not None
    assert several.classes.overall[0][1] == 0.5


def test_the_mean_area_of_all_classes_is_told(captions: list[str]) -> None:
    T, P = np.array([0, 0, 1, 2]), np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.3, 0.6, 0.1],
                                             [0.1, 0.1, 0.8]])
    outcome_section(Report("", T_true=T, output=P), judge("classification", T, P, None), Charts())
    mean = np.mean([metrics.roc_auc_score(k == T, P[:, k]) for k in range(3)])
    assert captions[0].endswith("; most often 0 is taken for 1 (1).")
    assert captions[2] == (
        f"ROC, each class against the rest: area {markup.number(mean)} on average.")


def test_the_share_of_the_peak_has_a_bar_from_0_to_1() -> None:
    for share, value in ((0.25, "0.2500"), (1.5, "1.0000"), (-1.0, "0.0000"), (NAN, "0.0000")):
        page = running_section(Report("", peak={"gflops": 3.0, "peak_gflops": 12.0,
                                                "share": share}))
        assert f'value="{value}"' in page and "3 of 12 GFLOP/s" in page


def test_a_report_of_a_network_has_its_task_and_names() -> None:
    class Known:
        name, classes = "kind", ["a", "b", "c"]

    def made(loss: Any, outputs: int, **options: Any) -> Report:
        return from_network(Network([Dense(2, outputs)], loss), {}, **options)

    assert made(HingeLoss(), 3, target=Known()).task == "classification"
    assert made(HingeLoss(), 3, target=Known()).classes == ["a", "b", "c"]
    assert made(HingeLoss(), 3, target=Known(), classes="xyz").classes == "xyz"
    assert [made(loss, n).task for loss, n in (("SigmoidBinaryCrossEntropyLoss", 1), (
        "SigmoidBinaryCrossEntropyLoss", 2), ("mse", 2))] == [
        "classification", "multilabel", "regression"]


def test_weights_before_training_and_rows_of_gradients_are_told(captions: list[str]) -> None:
    net = Network([Dense(2, 1)], L2Loss())
    before = net.params.copy()
    net.layers[0].weight[...] *= 3
    made = Report("", task="regression", network=net, initial_params=before, X=np.ones((7, 2)),
                  T=np.ones((7, 1)))
    page = report.sections.layers(made, Charts())
    assert "grey: the middle half before training" in captions[0]
    assert captions[1].endswith("on 7 rows.") and "<td class=\"n\">200%</td>" in page


@pytest.mark.parametrize("classes", [np.array([1, 2, 3]), [2.0, 0.0, 1.0]])
def test_classes_that_are_numbers_are_what_the_truth_holds(classes: Any, captions: list[str]
                                                           ) -> None:
    at = np.array([0, 1, 0, 1, 1])  # the largest class does not occur
    T, output = np.asarray(classes)[at], np.eye(3)[at] * 0.8 + 0.1
    found = judge("classification", T, output, classes)
    assert found.classes is not None and dict(found.classes.overall)["accuracy"] == 1
    assert [(row[0], row[4]) for row in found.classes.rows] == [
        (str(name), n) for name, n in zip(classes, (2, 3, 0), strict=True)]
    outcome_section(Report("", T_true=T, output=output, classes=classes), found, Charts())
    assert captions[0].endswith("no row is wrong.")


@pytest.mark.parametrize("classes", [[1, 2, 3], ["a", "b", "c"]])
def test_a_report_of_a_network_takes_indices_whatever_the_classes(classes: Any) -> None:
    net = Network([Dense(3, 3), Softmax()], "cross_entropy")
    net.layers[0].weight, net.layers[0].bias = np.eye(3), np.zeros(3)
    made = from_network(net, {}, np.eye(3)[:2], [0, 1], classes=classes)
    found = judge(made.task, made.T_true, made.output, made.classes)
    assert found.classes is not None and dict(found.classes.overall)["accuracy"] == 1
    assert [row[0] for row in found.classes.rows] == list(map(str, classes))


@pytest.mark.parametrize("names", [["ant", "bee", "cow"], ["no", "yes"]])
@pytest.mark.parametrize("form", [np.array, list, lambda y: np.array(y, object)[:, None]])
def test_a_report_of_a_network_looks_words_up_in_the_classes(names: list[str], form: Any) -> None:
    index = np.arange(60) % len(names)
    X, y = np.random.default_rng(0).normal(size=(60, 4)), np.array(names)[index]
    model = MLPClassifier(4, max_iter=3, tol=0, random_state=0).partial_fit(X, y, classes=names)
    found = from_network(model.network_, {}, X, form(y), classes=model.classes_)
    np.testing.assert_array_equal(np.ravel(found.T_true), index)
    assert list(found.classes) == names
    with pytest.raises(ValueError, match="T holds 'dog', which is none of the classes: "):
        from_network(model.network_, {}, X, form(["dog"] * 60), classes=model.classes_)
    with pytest.raises(TypeError, match="T must hold .*; give the classes it holds, as classes="):
        from_network(model.network_, {}, X, form(y))


def test_a_report_of_an_estimator_takes_what_its_fit_takes() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    for y in (np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)], X.argmax(axis=1) + 1,
              np.array(["x", "y", "z"])[X.argmax(axis=1)], (X > 0).astype(int)):
        model = MLPClassifier(8, solver="lbfgs", max_iter=50, random_state=0).fit(X, y)
        made = from_network(model, model.history_, X, y)
        made.check()
        found = judge(made.task, made.T_true, made.output, made.classes, made.threshold)
        assert found.classes is not None
        assert made.task == ("multilabel" if y.ndim == 2 else "classification")
        assert found.classes.overall[0][1] == (model.predict(X) == y).mean()
        assert [row[0] for row in found.classes.rows] == list(map(str, model.classes_))
    rows = MLPRegressor("squared_error", 8, solver="lbfgs", max_iter=2000).fit(X, X[:, 0])
    made = from_network(rows, rows.history_, X.tolist(), X[:, 0].tolist())
    (line,) = judge(made.task, made.T_true, made.output, None).outputs or []
    assert line[1] == pytest.approx(rows.score(X, X[:, 0]))
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match=rf"^T holds {bad} at \(0, 0\)") as error:
            from_network(rows, rows.history_, X, np.where(np.arange(60) == 0, bad, X[:, 0]))
        assert "allow_nonfinite" not in str(error.value)  # estimators have no such option
    for wrong, said in ((MLPClassifier(), "got MLPClassifier()"),
                        (SimpleNamespace(network=rows.network_), "give its .network"), (3, "3")):
        with pytest.raises(TypeError, match=f"^network must be a Network or .*{said}"):
            from_network(wrong, {})
