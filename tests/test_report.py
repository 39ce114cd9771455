"""The report: one page, whole, true, harmless, and readable in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

from sklearn.metrics import classification_report, f1_score, r2_score  # noqa: E402

from fastbp import (  # noqa: E402
    Adam,
    BatchNorm,
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    Dense,
    HingeLoss,
    L2Loss,
    Network,
    PoissonLoss,
    ReLU,
    Sigmoid,
    SigmoidBinaryCrossEntropyLoss,
    Softmax,
    Tanh,
    datasets,
    report,
)
from fastbp.report import Report, from_network  # noqa: E402
from fastbp.report.markup import text  # noqa: E402
from fastbp.report.scores import judge, of_classifier  # noqa: E402

from .browser import Browser, open_browser  # noqa: E402

EVIL = '<script>window.injected = true</script>"\'&$\\frac{'
EVIL_NAMES = [EVIL, "<img src=x onerror='window.injected = true'>", "\x00\ud800\u202e漢字"]


def digits() -> Report:
    parts = datasets.split(datasets.load("digits"))
    net = Network([Dense(64, 32), BatchNorm(), ReLU(), Dense(32, 10), Softmax()],
                  CrossEntropyLoss())
    before = net.params.copy()
    history = net.fit(parts.X_train, parts.T_train, epochs=12, optimizer=Adam(1e-2),
                      validation_data=(parts.X_test, parts.T_test), metrics=["f1"])
    return from_network(net, history, parts.X_test, parts.T_test, title="Handwritten digits",
                        config={"optimizer": {"name": "adam", "learning_rate": 0.01}, "seed": 0},
                        timings={"load": 0.25, "fit": 61.0}, initial_params=before,
                        peak={"gflops": 37.0, "peak_gflops": 148.0, "share": 0.25})


def hundred() -> Report:
    rng = np.random.default_rng(0)
    T, Y = np.arange(3000) % 100, rng.normal(size=(3000, 100))
    Y[np.arange(3000), T] += 4
    P = np.exp(Y)
    history = {"loss": (rng.random(10_000) + 1).tolist(), "learning_rate": [0.1] * 10_000}
    return Report("A hundred classes, ten thousand epochs", history, T_true=T,
                  output=P / P.sum(axis=1, keepdims=True),
                  classes=[f"class {i} with a name that goes on" for i in range(100)],
                  config={"k" * 200: "v" * 2000})


def evil() -> Report:
    T = np.array([0, 1, 2, 0, 1, 2, 2, 1])
    return Report(EVIL, {"loss": [1.0, 0.5], f"val_{EVIL}": [1.0, 2.0]}, T_true=T,
                  output=np.eye(3)[T[::-1]] * 0.7 + 0.1, classes=EVIL_NAMES,
                  config={EVIL: {EVIL: EVIL}}, timings={EVIL: 1.0}, notes=[EVIL])


def regression(outputs: int, epochs: int) -> Report:
    rng = np.random.default_rng(outputs)
    X = rng.normal(size=(900, 4))
    T = np.stack([X[:, i % 4] * (i + 1) for i in range(outputs)], axis=1)
    net = Network([Dense(4, 8), Tanh(), Dense(8, outputs)], L2Loss())
    return from_network(net, net.fit(X, T, epochs=epochs), X, T, title="Numbers")


def binary() -> Report:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 4))
    T = (X[:, 0] + rng.normal(size=400) > 0).astype(int)
    net = Network([Dense(4, 1), Sigmoid()], BinaryCrossEntropyLoss())
    return from_network(net, net.fit(X, T, epochs=5, validation_split=0.2), X, T,
                        classes=["no", "yes"])


def multilabel() -> Report:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 4))
    T = (X[:, :3] + rng.normal(size=(400, 3)) > 0).astype(int)
    net = Network([Dense(4, 3)], SigmoidBinaryCrossEntropyLoss())
    return from_network(net, net.fit(X, T, epochs=5), X, T, classes=["rain", "wind", "snow"])


def hinge() -> Report:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 4))
    net = Network([Dense(4, 3)], HingeLoss())
    return from_network(net, net.fit(X, X[:, :3].argmax(1), epochs=5), X, X[:, :3].argmax(1))


def diverged() -> Report:
    nan = float("nan")
    return Report("Diverged", {"loss": [1.0, 9.0, nan, float("inf")], "val_loss": [nan] * 4,
                               "learning_rate": [1.0] * 4}, T_true=[0, 1, 2, 1],
                  output=[[0.2, 0.5, 0.3], [nan] * 3, [0.1, 0.1, 0.8], [0.3, 0.3, 0.4]])


def lost() -> Report:
    net = Network([Dense(2, 2), Softmax()], CrossEntropyLoss(), allow_nonfinite=True)
    net.params[...] = np.nan
    return Report("All lost", {"loss": [float("nan")]}, network=net, T_true=[0, 1],
                  output=net.predict(np.zeros((2, 2))), X=np.zeros((2, 2)), T=[0, 1])


def untested() -> Report:
    net = Network([Dense(2, 2)], L2Loss())
    return Report("No held-out rows", {"loss": [1.0]}, "regression", net)


#: name -> (report, charts that its page has).
CASES: dict[str, tuple[Any, int]] = {
    "digits": (digits, 10), "hundred": (hundred, 5), "evil": (evil, 5), "binary": (binary, 9),
    "one output, one epoch": (lambda: regression(1, 1), 7),
    "five outputs": (lambda: regression(5, 3), 11), "multilabel": (multilabel, 7),
    "hinge": (hinge, 7), "diverged": (diverged, 5), "lost": (lost, 3), "untested": (untested, 2),
    "nothing": (lambda: Report("Nothing"), 0)}


@pytest.fixture(scope="module")
def reports() -> dict[str, Report]:
    return {name: make() for name, (make, _) in CASES.items()}


@pytest.fixture(scope="module")
def pages(reports: dict[str, Report], tmp_path_factory: pytest.TempPathFactory
          ) -> dict[str, Path]:
    folder, found = tmp_path_factory.mktemp("pages"), {}
    for i, (name, made) in enumerate(reports.items()):
        found[name] = folder / f"{i}.html"
        report.write(found[name], made)
    return found


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


class Reader(HTMLParser):
    """Tags, whether they close, and the rows of tables as text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data

    def row(self, name: str) -> list[str]:
        return next(row for row in self.rows if row[0] == name)


# -- the page -------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_every_page_is_whole_and_stands_alone(name: str, pages: dict[str, Path]) -> None:
    page = pages[name].read_text(encoding="utf-8")
    found = Reader(page)
    assert found.open == []
    tags = [tag for tag, _ in found.tags]
    assert tags.count("svg") == tags.count("figure") == CASES[name][1]
    assert "script" not in tags and "img" not in tags
    assert not re.search(r"https?:|//[\w.]+/|@import|@font-face", page)
    for tag, attributes in found.tags:
        assert not any(key.startswith("on") for key in attributes), (tag, attributes)
        for key in ("href", "src"):
            assert (attributes.get(key) or "#").startswith(("#", "data:")), (tag, attributes)
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(a.get("role") == "img" and a.get("aria-label") for t, a in found.tags if t == "svg")
    assert all(a.get("scope") in ("row", "col") for tag, a in found.tags if tag == "th")
    assert tags.count("h1") == 1


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("name", CASES)
def test_every_page_in_a_browser(name: str, width: int, pages: dict[str, Path],
                                 browser: Browser) -> None:
    seen = browser.look(pages[name], width)
    assert [m for m in seen["console"] if m["level"] in ("SEVERE", "WARNING")] == []
    assert seen["wide"] <= seen["width"] == width
    assert len(seen["charts"]) == CASES[name][1]
    for chart in seen["charts"]:
        assert chart["drawn"] and chart["inside"], chart
        nothing = {"no finite value", "all zero or not finite"} & set(chart["words"])
        assert (chart["marks"] == 0) == bool(nothing) == (name == "lost"), chart
        assert chart["text"] >= 9, chart
        assert chart["cut"] == [], chart
    assert len(seen["ids"]) == len(set(seen["ids"])) and seen["broken"] == 0
    assert all(url.startswith("data:") for url in seen["resources"])
    assert seen["scripts"] == 0 and not seen["injected"]


def test_dark_where_the_reader_wants_it(pages: dict[str, Path], browser: Browser) -> None:
    def light(colour: str) -> float:
        return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3

    for dark in (False, True):
        seen = browser.look(pages["digits"], 1280, dark)
        assert (light(seen["ground"]) < 64) == dark
        assert (light(seen["ink"]) > 192) == (light(seen["line"]) > 128) == dark


# -- what it says ---------------------------------------------------------------------


def test_figures_of_classes_are_scikit_learns(reports: dict[str, Report],
                                              pages: dict[str, Path]) -> None:
    made, page = reports["digits"], Reader(pages["digits"].read_text())
    guess = np.asarray(made.output).argmax(axis=1)
    told = classification_report(made.T_true, guess, output_dict=True)
    for k in range(10):
        own = told[str(k)]
        rows = [row for row in page.rows if row[0] == str(k) and len(row) == 6]
        assert rows[0][1:5] == [f"{own['precision']:.1%}", f"{own['recall']:.1%}",
                                f"{own['f1-score']:.1%}", f"{own['support']:.0f}"]
    assert page.row("macro mean")[3] == f"{told['macro avg']['f1-score']:.1%}"
    assert f"<dd>{told['accuracy']:.1%}</dd>" in pages["digits"].read_text()
    assert page.row("optimizer.learning_rate") == ["optimizer.learning_rate", "0.01"]
    assert page.row("fit") == ["fit", "1.02 min"] and page.row("load") == ["load", "250 ms"]
    assert "25.0% of the machine&#x27;s peak: 37 of 148 GFLOP/s" in pages["digits"].read_text()


def test_commonest_mistakes_come_first() -> None:
    T, guess = [0, 0, 0, 1, 1, 2], [1, 1, 0, 2, 1, 2]
    page = Reader(report.html(Report("", T_true=T, output=np.eye(3)[guess], classes="abc")))
    at = next(i for i, row in enumerate(page.rows) if row[:2] == ["true", "predicted"])
    assert page.rows[at + 1:at + 3] == [["a", "b", "2", "66.7%"], ["b", "c", "1", "50.0%"]]


def test_a_class_without_rows_is_no_part_of_the_mean() -> None:
    T, guess = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    found = of_classifier(T, np.eye(3)[guess], "abc")
    assert dict(found.overall)["F1, mean over classes"] == pytest.approx(
        f1_score(T, guess, average="macro"))
    assert [row[0] for row in found.rows] == ["a", "b", "c"]


def test_figures_of_a_regression(reports: dict[str, Report], pages: dict[str, Path]) -> None:
    made, page = reports["five outputs"], Reader(pages["five outputs"].read_text())
    for i in range(5):
        told = r2_score(made.T_true[:, i], made.output[:, i])
        assert float(page.row(f"output {i}")[1].replace("−", "-")) == pytest.approx(told, rel=1e-3)
    assert "largest error" in pages["five outputs"].read_text()


def test_multilabel_is_judged_label_by_label(reports: dict[str, Report],
                                             pages: dict[str, Path]) -> None:
    made, page = reports["multilabel"], Reader(pages["multilabel"].read_text())
    assert made.task == "multilabel"
    told = classification_report(made.T_true.astype(int), np.asarray(made.output) > 0.5,
                                 target_names=made.classes, output_dict=True, zero_division=0)
    for name in made.classes:
        assert page.row(name)[1] == f"{told[name]['precision']:.1%}"
        assert page.row(name)[4] == f"{told[name]['support']:.0f}"


def test_the_task_says_what_is_judged_whatever_the_outputs_look_like() -> None:
    rng = np.random.default_rng(0)
    T, scores = rng.integers(0, 3, 60), rng.normal(size=(60, 3))
    told = f"<dd>{(scores.argmax(axis=1) == T).mean():.1%}</dd>"
    for output in (scores, 1 / (1 + np.exp(-scores))):
        page = report.html(Report("", T_true=np.eye(3)[T], output=output))
        assert page == report.html(Report("", T_true=T, output=output)) and told in page
        assert "each yes or no" not in page
    labels, P = np.array([[1, 1], [0, 1], [0, 0]]), np.array([[0.4, 0.6], [0.3, 0.7], [0.6, 0.4]])
    page = report.html(Report("", task="multilabel", T_true=labels, output=P))
    assert f"each yes or no</dt><dd>{((P > 0.5) == labels).mean():.1%}</dd>" in page
    assert "log loss" not in page and "probability of yes" in page
    logits = np.log(P / (1 - P))  # yes above 0; no calibration of what is no probability
    page = report.html(Report("", task="multilabel", T_true=labels, output=logits))
    assert f"each yes or no</dt><dd>{((P > 0.5) == labels).mean():.1%}</dd>" in page
    assert "probability of yes" not in page and "ROC, each label" in page
    page = report.html(Report("", task="multilabel", T_true=labels[:, :1], output=P[:, :1],
                              classes=["wet"]))
    assert "ROC, each label" in page and "wet" in page


def test_margins_are_no_probabilities_wherever_they_lie() -> None:
    X = np.array([[0.2], [0.4], [0.6], [0.9]])
    net = Network([Dense(1, 1)], HingeLoss(), "float64")
    net.layers[0].weight[...], net.layers[0].bias[...] = 1, 0
    for T in (np.ones(4, int), np.array([1, 1, 0, 1])):
        made = from_network(net, {}, X, T)
        told = f"<dd>{net.evaluate(X, T, metrics=['accuracy'])['accuracy']:.1%}</dd>"
        page = report.html(made)
        assert f"accuracy</dt>{told}" in page and "alibration" not in page
    several = Report("", task="multilabel", T_true=np.eye(2), output=[[0.4, 0], [0.4, 0.2]],
                     threshold=0)
    page = report.html(several)
    assert "each yes or no</dt><dd>75.0%</dd>" in page and "alibration" not in page


def test_a_history_of_validation_alone() -> None:
    assert "Rows a second" in report.html(Report("", {"val_samples_per_s": [2.0]}))


def test_a_history_is_a_series_too_and_may_end_in_a_hole() -> None:
    figures = {"loss": pd.Series([1.0, 0.25]), "val_loss": [0.5, None]}  # as JSON has NaN
    page = re.sub("<[^>]*>|\\s", "", report.html(Report("", figures)))
    assert "lasttrainingloss0.25lastvalidationlossNaN" in page


def test_trouble_is_told(pages: dict[str, Path]) -> None:
    page = pages["diverged"].read_text()
    assert "loss is not finite in 2 epochs, first in epoch 3." in page
    assert "val_loss is not finite in 4 epochs, first in epoch 1." in page
    assert "1 of 4 rows are left out" in page
    assert "2 of 2 rows are left out" in pages["lost"].read_text()
    assert "No held-out rows were given." in pages["untested"].read_text()
    assert "No history was given." in pages["nothing"].read_text()


def test_names_of_users_are_text(pages: dict[str, Path]) -> None:
    page = pages["evil"].read_text()
    assert "<script" not in page and "<img" not in page
    assert page.count("&lt;script&gt;window.injected = true&lt;/script&gt;") >= 5
    assert "漢字" in page and "\x00" not in page and "\u202e" not in page


def test_spaces_of_any_width_stay() -> None:
    assert text("東京\u3000駅 1\u202f000\xa0€\x1b\r") == "東京\u3000駅 1\u202f000\xa0€\ufffd\ufffd"


def test_target_brings_a_regression_back_to_its_units() -> None:
    class Target:
        name, classes, mean, scale = "price", None, 100.0, 10.0

    X = np.random.default_rng(0).normal(size=(20, 2))
    net = Network([Dense(2, 1)], L2Loss(), "float64")
    made = from_network(net, {}, X, X[:, :1], target=Target())
    np.testing.assert_allclose(made.T_true, X[:, :1] * 10 + 100)
    np.testing.assert_allclose(made.output, net.predict(X) * 10 + 100)
    np.testing.assert_array_equal(made.T, X[:, :1])
    assert list(made.classes) == ["price"] and made.task == "regression"


def test_rates_are_judged_against_counts() -> None:
    X = np.random.default_rng(0).normal(size=(20, 2))
    counts = np.arange(20.0)[:, None]
    net = Network([Dense(2, 1)], PoissonLoss(), "float64")
    made = from_network(net, {}, X, counts)
    np.testing.assert_allclose(made.output, np.exp(net.predict(X)))
    figures = judge(made.task, made.T_true, made.output, None).outputs
    told = net.evaluate(X, counts, metrics=["r2"])["r2"]
    assert figures is not None and figures[0][1] == pytest.approx(told)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("loss", ["bce", "hinge"])
def test_fractions_are_judged_by_what_they_are_nearer_to(loss: str, outputs: int) -> None:
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(40, 2)), rng.random((40, outputs))
    net = Network([Dense(2, outputs)], SigmoidBinaryCrossEntropyLoss() if loss == "bce"
                  else HingeLoss(), "float64")
    made = from_network(net, {}, X, T)
    np.testing.assert_array_equal(made.T, T)
    hits = net.predict_classes(X).reshape(40, -1) == (
        T.argmax(axis=1)[:, None] if made.task == "classification" and outputs > 1 else T > 0.5)
    found = judge(made.task, made.T_true, made.output, None, made.threshold).classes
    assert found is not None and found.overall[0][1] == hits.mean()
    assert f"<dd>{hits.mean():.1%}</dd>" in report.html(made)


# -- files and bad input --------------------------------------------------------------


def test_the_same_report_is_the_same_bytes(reports: dict[str, Report],
                                           pages: dict[str, Path]) -> None:
    assert report.html(reports["binary"]) == pages["binary"].read_text(encoding="utf-8")


def test_the_style_of_a_notebook_does_not_leak(reports: dict[str, Report],
                                               pages: dict[str, Path]) -> None:
    import matplotlib

    with matplotlib.rc_context({"lines.linewidth": 9.0, "svg.fonttype": "path", "font.size": 3}):
        assert report.html(reports["diverged"]) == pages["diverged"].read_text(encoding="utf-8")
        assert matplotlib.rcParams["lines.linewidth"] == 9.0


@pytest.mark.parametrize(("parts", "error", "message"), [
    ({"task": "ranking"}, ValueError, "task must be one of"),
    ({"network": "net"}, TypeError, "network must be a Network"),
    ({"history": [1.0]}, TypeError, "history must be"),
    ({"history": SimpleNamespace(history={"loss": [1.0]})}, TypeError, "history must be a dict"),
    ({"history": {"loss": ["x"]}}, TypeError, r"history\['loss'\]"),
    ({"T_true": [0]}, ValueError, "T_true is given without output"),
    ({"output": [[1.0]]}, ValueError, "output is given without T_true"),
    ({"X": [[1.0]]}, ValueError, "X is given without T"),
    ({"T_true": [0, 5], "output": np.eye(3)[:2]}, ValueError, r"T\[1\] is 5"),
    ({"T_true": [0, 1, 2], "output": np.eye(3)[:2]}, ValueError, "T has 3 rows"),
    ({"T_true": [0, 1], "output": np.eye(2), "classes": "abc"}, ValueError, "classes has 3 names"),
    ({"T_true": [[0, 2]], "output": [[0.1, 0.2]], "task": "multilabel"}, ValueError, "0 and 1"),
    ({"T_true": [1.0], "output": [[1.0, 2.0]], "task": "regression"}, ValueError, "go together"),
    ({"config": "adam"}, TypeError, "config must be a dict"),
    ({"timings": {"fit": "long"}}, TypeError, r"timings\['fit'\]"),
    ({"threshold": "0.5"}, TypeError, "threshold must be a number, got '0.5'"),
    ({"threshold": np.nan}, ValueError, "threshold must be in .*, got nan"),
    ({"peak": {"share": 1.0}}, ValueError, "peak must hold")])
def test_parts_that_do_not_fit_leave_the_file_as_it_was(
        parts: dict[str, Any], error: type[Exception], message: str, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("before")
    with pytest.raises(error, match=message):
        report.write(path, Report("", **parts))
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


def test_a_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("before")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            report.write(path, Report("x"))
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]
    report.write(path, Report("x"))
    assert path.read_text().endswith("</html>\n")
