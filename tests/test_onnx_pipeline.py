"""Pipelines of scikit-learn as ONNX: what ONNX Runtime gives is what the pipeline predicts."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLPClassifier, MLPRegressor, register_skl2onnx, to_onnx

pytest.importorskip("sklearn")
onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
skl2onnx = pytest.importorskip("skl2onnx")
pd = pytest.importorskip("pandas")

from sklearn.calibration import CalibratedClassifierCV  # noqa: E402
from sklearn.cluster import KMeans  # noqa: E402
from sklearn.compose import ColumnTransformer, make_column_selector  # noqa: E402
from sklearn.decomposition import PCA  # noqa: E402
from sklearn.ensemble import VotingClassifier, VotingRegressor  # noqa: E402
from sklearn.feature_selection import SelectKBest  # noqa: E402
from sklearn.impute import SimpleImputer  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline  # noqa: E402
from sklearn.preprocessing import (  # noqa: E402
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    StandardScaler,
)

rng = np.random.default_rng(0)
X = rng.normal(3, [1, 10, 0.1, 5], (300, 4))
SCORE = (X - 3) / [1, 10, 0.1, 5] @ rng.normal(size=(4, 3))
FIT, HELD = slice(200), slice(200, None)
FAST: dict[str, Any] = {"solver": "lbfgs", "alpha": 1.0, "max_iter": 1000, "tol": 1e-2,
                        "random_state": 0}
NORMALIZED = {"batch_norm": True, "solver": "adam", "tol": 1e9}


def classifier(**own: Any) -> MLPClassifier:
    return MLPClassifier((8,), **{**FAST, **own})


def regressor(**own: Any) -> MLPRegressor:
    return MLPRegressor(hidden_layer_sizes=(8,), **{**FAST, **own})


def outputs(data: bytes, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
    """Outputs of ONNX Runtime by name, from exactly these inputs."""
    parsed = onnx.load_from_string(data)
    onnx.checker.check_model(parsed, full_check=True)
    assert len({o.domain for o in parsed.opset_import}) == len(parsed.opset_import)
    assert {o.domain: o.version for o in parsed.opset_import}[""] == 17 and parsed.ir_version == 8
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == list(inputs)
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def floats(X: Any) -> dict[str, Any]:
    return {"X": np.asarray(X, np.float32)}


def by_column(frame: Any) -> dict[str, Any]:
    return {name: frame[[name]].to_numpy(object if isinstance(frame[name].iloc[0], str)
                                         else np.float32) for name in frame.columns}


def check(pipeline: Any, found: dict[str, np.ndarray], rows: Any) -> None:
    """Outputs are what the pipeline predicts, to the rounding of float32."""
    if hasattr(pipeline, "predict_proba"):
        assert list(found) == ["label", "probabilities"]
        wanted = pipeline.predict_proba(rows)
        assert found["probabilities"].dtype == np.float32
        np.testing.assert_allclose(found["probabilities"], wanted, atol=1e-5)
        assert found["probabilities"].std() > 0.05
        labels = pipeline.predict(rows)
        assert found["label"].shape == labels.shape
        # rounding may tell otherwise where two classes are level, which none of the rows are
        np.testing.assert_array_equal(found["label"], labels)
        assert len(np.unique(labels)) > 1
        return
    assert list(found) == ["Y"]
    wanted = pipeline.predict(rows)
    assert found["Y"].dtype == np.float32 and found["Y"].ndim == 2
    np.testing.assert_allclose(found["Y"].reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-4)
    assert wanted.std() > 0.1


TARGETS = {"binary": (SCORE[:, 0] > 0).astype(int), "bool": SCORE[:, 0] > 0,
           "classes": SCORE.argmax(axis=1) * 5 - 5, "floats": SCORE.argmax(axis=1) * 1.0,
           "words": np.array(["red", "dark green", "bläu"])[SCORE.argmax(axis=1)],
           "two words": np.where(SCORE[:, 0] > 0, "yes", "no"),
           "labels": (SCORE > 0).astype(int)}


@pytest.mark.parametrize("dtype", ["float32", "auto"])
@pytest.mark.parametrize("case", TARGETS)
def test_classifiers(case: str, dtype: str) -> None:
    y = TARGETS[case]
    pipeline = make_pipeline(StandardScaler(), classifier(dtype=dtype)).fit(X[FIT], y[FIT])
    check(pipeline, outputs(to_onnx(pipeline), floats(X[HELD])), X[HELD])


@pytest.mark.parametrize("own", [
    {**NORMALIZED, "dropout": 0.2}, {"activation": "tanh"},
    {"loss": "softmax_cross_entropy"}, {"loss": "focal", "activation": "logistic"}],
    ids=lambda own: next(iter(own)))
def test_layers_and_losses(own: dict[str, Any]) -> None:
    y = TARGETS["words"]
    pipeline = make_pipeline(StandardScaler(), classifier(**own)).fit(X[FIT], y[FIT])
    check(pipeline, outputs(to_onnx(pipeline), floats(X[HELD])), X[HELD])


@pytest.mark.parametrize(("y", "own"), [
    (SCORE[:, 0], {}), (SCORE, NORMALIZED),
    (np.abs(SCORE[:, 0]).round(), {"loss": "poisson"})], ids=["one", "several", "exponential"])
def test_regressors(y: np.ndarray, own: dict[str, Any]) -> None:
    pipeline = make_pipeline(StandardScaler(), regressor(**own)).fit(X[FIT], y[FIT])
    check(pipeline, outputs(to_onnx(pipeline), floats(X[HELD])), X[HELD])


@pytest.mark.parametrize("steps", [
    [PolynomialFeatures(2), StandardScaler()], [PowerTransformer()], [MinMaxScaler()],
    [make_pipeline(StandardScaler(), PCA(3))], [StandardScaler(), SelectKBest(k=2)],
    [FeatureUnion([("a", StandardScaler()), ("b", PCA(2))]), StandardScaler()], []],
    ids=lambda steps: "-".join(type(step).__name__ for step in steps) or "none")
def test_steps(steps: list[Any]) -> None:
    """Also of a DataFrame: if its columns go into the same step they are one input."""
    y = TARGETS["words"]
    frame = pd.DataFrame(X, columns=["a a", "b", "label", "Y"])
    for rows in (X, frame):
        pipeline = make_pipeline(*steps, make_pipeline(classifier())).fit(rows[FIT], y[FIT])
        for data in (to_onnx(pipeline), to_onnx(pipeline, X=rows[:3])):
            check(pipeline, outputs(data, floats(X[HELD])), rows[HELD])
        properties = {p.key: p.value for p in onnx.load_from_string(data).metadata_props}
        assert properties["fastbp"] == fastbp.__version__
        assert json.loads(properties["fastbp.classes"]) == sorted(set(y))
    assert json.loads(properties["fastbp.features"]) == list(frame)


@pytest.mark.parametrize("nothing", ["passthrough", None])
def test_steps_that_do_nothing(nothing: str | None) -> None:
    y, scaled = TARGETS["words"], (X - 3) / [1, 10, 0.1, 5]
    last = Pipeline([("nothing", nothing), ("net", classifier())])
    for steps in ([last], [nothing, last], [StandardScaler(), nothing, last],
                  [Pipeline([("nothing", nothing)]), nothing, StandardScaler(), last]):
        pipeline = Pipeline([(f"step{i}", step) for i, step in enumerate(steps)])
        pipeline.fit(scaled[FIT], y[FIT])
        data = to_onnx(pipeline)
        assert [step for _, step in pipeline.steps] == steps
        check(pipeline, outputs(data, floats(scaled[HELD])), scaled[HELD])
    part = Pipeline([("nothing", nothing), ("scale", StandardScaler())])
    alone = Pipeline([("nothing", nothing)])
    for joined in (FeatureUnion([("a", part), ("b", "passthrough")]),
                   ColumnTransformer([("a", part, [0, 2]), ("b", alone, [1])],
                                     remainder="passthrough")):
        pipeline = make_pipeline(joined, classifier()).fit(scaled[FIT], y[FIT])
        check(pipeline, outputs(to_onnx(pipeline), floats(scaled[HELD])), scaled[HELD])
        assert part.steps[0] == ("nothing", nothing)
    frame, y = table()
    pipeline = Pipeline([("nothing", nothing), ("columns", columns()), ("net", classifier())])
    pipeline.fit(frame[FIT], y[FIT])
    check(pipeline, outputs(to_onnx(pipeline, X=frame[:1]), by_column(frame[HELD])), frame[HELD])


def table(n: int = 300) -> tuple[Any, np.ndarray]:
    """Rows of every kind of column, and what depends on all of them."""
    own = np.random.default_rng(1)
    frame = pd.DataFrame({
        "age": own.integers(18, 90, n), "in come": own.normal(2e4, 5e3, n),
        "member": own.integers(0, 2, n).astype(bool), "size": own.choice(["S", "M", "L"], n),
        "colour": pd.Categorical(own.choice(["red", "grün", "dark blue"], n)),
        "town": own.choice(["", "Ulm", "Bonn"], n), "rooms": own.integers(1, 4, n),
        "in_come": own.normal(size=n).astype(np.float32)})
    score = (frame["age"] / 30 + (frame["in come"] - 2e4) / 5e3 + frame["member"]
             + (frame["colour"] == "red") + (frame["town"] == "Ulm") + frame["rooms"])
    frame.loc[::7, "in come"] = np.nan
    frame.loc[3, "in_come"] = np.nan
    return frame, np.array(["low", "middle", "high"])[np.digitize(score, [4, 5.5])]


NUMBERS = ["age", "in come", "member", "in_come"]


def columns(**own: Any) -> ColumnTransformer:
    impute = SimpleImputer(missing_values="", strategy="most_frequent")
    return ColumnTransformer([
        ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), NUMBERS),
        ("words", OneHotEncoder(handle_unknown="ignore"), ["colour", "rooms"]),
        ("filled", make_pipeline(impute, OneHotEncoder(drop="first")), ["town"]),
        ("sizes", OrdinalEncoder(categories=[["S", "M", "L"]]), ["size"])], **own)


@pytest.mark.parametrize("dtype", ["float32", "auto"])
def test_columns_of_a_table(dtype: str) -> None:
    frame, y = table()
    pipeline = make_pipeline(columns(), classifier(dtype=dtype)).fit(frame[FIT], y[FIT])
    held = frame[HELD].copy()
    held.loc[held.index[0], "age"] = np.nan  # never missing in training
    held["colour"] = held["colour"].astype(object)
    held.loc[held.index[1], "colour"] = "pink"
    check(pipeline, outputs(to_onnx(pipeline, X=frame[:2]), by_column(held)), held)


def test_numbers_of_pandas_own_kinds() -> None:
    frame, y = table()
    frame["age"], frame["member"] = frame["age"].astype("Int64"), frame["member"].astype("boolean")
    frame.loc[1, "age"] = frame.loc[1, "member"] = pd.NA
    transformer = ColumnTransformer([("all", SimpleImputer(), NUMBERS)])
    pipeline = make_pipeline(transformer, StandardScaler(), classifier()).fit(frame[FIT], y[FIT])
    held = frame[HELD]
    check(pipeline, outputs(to_onnx(pipeline, X=frame), by_column(held[NUMBERS])), held)


def test_columns_that_are_dropped_are_no_inputs() -> None:
    frame, y = table()
    frame.insert(0, "when", pd.Timestamp("2024-01-01"))
    pipeline = make_pipeline(columns(), classifier()).fit(frame[FIT], y[FIT])
    held = frame[HELD].drop(columns="when")
    for rows in (frame, frame.drop(columns="when")):
        check(pipeline, outputs(to_onnx(pipeline, X=rows[:1]), by_column(held)), held)


def test_columns_chosen_by_kind_and_by_place() -> None:
    frame, y = table()
    frame = frame[["age", "member", "size", "rooms", "in_come"]].fillna(0)
    words = make_column_selector(dtype_exclude=["number", "bool"])
    for transformer in (
            ColumnTransformer([("w", OneHotEncoder(), words)], remainder=StandardScaler()),
            ColumnTransformer([("w", OneHotEncoder(), [2, 3])], remainder="passthrough"),
            ColumnTransformer([("w", OneHotEncoder(), ["size"]), ("n", "passthrough", [0, 1])])):
        pipeline = Pipeline([("columns", transformer), ("scale", StandardScaler()),
                             ("net", regressor())])
        pipeline.fit(frame[FIT], np.unique(y, return_inverse=True)[1][FIT])
        data = to_onnx(pipeline, X=frame)
        read = [i.name for i in onnx.load_from_string(data).graph.input]
        check(pipeline, outputs(data, by_column(frame[HELD][read])), frame[HELD])


def test_columns_named_like_anything() -> None:
    frame, y = table()
    frame = frame[["age", "in_come", "member", "rooms"]].fillna(0)
    frame.columns = ["probabilities", "label_", "label", "0 weight"]
    pipeline = make_pipeline(ColumnTransformer([("all", StandardScaler(), list(frame))]),
                             classifier()).fit(frame[FIT], y[FIT])
    found = outputs(to_onnx(pipeline, X=frame), by_column(frame[HELD]))
    assert list(found) == ["label__", "probabilities_"]
    check(pipeline, {name.rstrip("_"): value for name, value in found.items()}, frame[HELD])


def test_encoders_read_columns_and_arrays_of_words() -> None:
    frame, y = table()
    frame = frame[["size", "rooms"]]
    pipeline = make_pipeline(OneHotEncoder(), classifier()).fit(frame[FIT], y[FIT])
    check(pipeline, outputs(to_onnx(pipeline, X=frame), by_column(frame[HELD])), frame[HELD])
    words = table()[0][["size", "town"]].to_numpy(object)
    pipeline = make_pipeline(OneHotEncoder(), classifier()).fit(words[FIT], y[FIT])
    check(pipeline, outputs(to_onnx(pipeline, X=words[:2]), {"X": words[HELD]}), words[HELD])


# -- skl2onnx itself -------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [13, 17, None])
def test_skl2onnx_converts_what_is_registered(opset: int | None) -> None:
    register_skl2onnx()
    register_skl2onnx()
    for case in ("words", "bool", "labels"):
        y = TARGETS[case]
        model = make_pipeline(StandardScaler(), classifier(**NORMALIZED))
        model.fit(X[FIT], y[FIT])
        data = skl2onnx.to_onnx(model, X[:1].astype(np.float32), target_opset=opset,
                                options={"zipmap": False}).SerializeToString()
        session = runtime.InferenceSession(data)
        names = [o.name for o in session.get_outputs()]
        check(model, dict(zip(names, session.run(None, floats(X[HELD])), strict=True)), X[HELD])
    with pytest.raises(ValueError, match="at least 13.*got 12"):
        skl2onnx.to_onnx(model, X[:1].astype(np.float32), target_opset=12)


def test_probabilities_by_class_and_in_float64() -> None:
    register_skl2onnx()
    for case in ("words", "bool"):
        model = classifier().fit(X[FIT], TARGETS[case][FIT])
        data = skl2onnx.to_onnx(model, X[:1].astype(np.float32)).SerializeToString()  # zipmap
        labels, found = runtime.InferenceSession(data).run(None, floats(X[HELD]))
        assert labels.tolist() == model.predict(X[HELD]).tolist()
        wanted = model.predict_proba(X[HELD])
        got = np.array([[row[c] for c in model.classes_] for row in found])
        np.testing.assert_allclose(got, wanted, atol=1e-5)
    options = {"zipmap": False}
    data = skl2onnx.to_onnx(model, X[:1], options=options).SerializeToString()
    found = runtime.InferenceSession(data).run(None, {"X": X[HELD]})[1]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-15)


def test_estimators_inside_those_of_scikit_learn() -> None:
    register_skl2onnx()
    y, rows = TARGETS["words"], (X - 3) / [1, 10, 0.1, 5]
    members = [("a", classifier()), ("b", LogisticRegression(solver="newton-cg"))]
    for model in (VotingClassifier(members, voting="soft", flatten_transform=False),
                  CalibratedClassifierCV(classifier(), cv=2)):
        model.fit(rows[FIT], y[FIT])
        data = skl2onnx.to_onnx(model, rows[:1].astype(np.float32), target_opset=17,
                                options={"zipmap": False}).SerializeToString()
        check(model, outputs(data, floats(rows[HELD])), rows[HELD])
    frame = pd.DataFrame(rows.astype(np.float32), columns=list("abcd"))
    model = classifier().fit(frame[FIT], y[FIT])  # by itself, an input for each column
    data = skl2onnx.to_onnx(model, frame[:1], target_opset=17,
                            options={"zipmap": False}).SerializeToString()
    check(model, outputs(data, by_column(frame[HELD])), frame[HELD])
    model = VotingRegressor([("a", regressor()), ("b", regressor(random_state=1))])
    model.fit(rows[FIT], SCORE[FIT, 0])
    data = skl2onnx.to_onnx(model, rows[:1].astype(np.float32)).SerializeToString()
    found = runtime.InferenceSession(data).run(None, floats(rows[HELD]))[0]
    np.testing.assert_allclose(found[:, 0], model.predict(rows[HELD]), atol=1e-4)


# -- what is refused -------------------------------------------------------------------------


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    path, (frame, y) = tmp_path / "m.onnx", table()
    pipeline = make_pipeline(columns(), classifier())
    with pytest.raises(TypeError, match="fitted.*unfitted MLPClassifier"):
        to_onnx(pipeline, path, X=frame)
    pipeline.fit(frame, y)
    with pytest.raises(ValueError, match="must be a DataFrame.*'age'.*NoneType"):
        to_onnx(pipeline, path)
    with pytest.raises(ValueError, match="must be a DataFrame.*ndarray"):
        to_onnx(pipeline, path, X=frame.to_numpy())
    with pytest.raises(ValueError, match="'town' is missing"):
        to_onnx(pipeline, path, X=frame.drop(columns="town"))
    with pytest.raises(ValueError, match="\"\" for missing words: 'size' holds nan"):
        to_onnx(pipeline, path, X=frame.assign(size=[np.nan, *frame["size"][1:]]))
    with pytest.raises(ValueError, match="classes are not for pipelines.*'a'"):
        to_onnx(pipeline, path, X=frame, classes=["a", "b", "c"])
    with pytest.raises(ValueError, match="X is only for pipelines, not for MLPClassifier"):
        to_onnx(pipeline[-1], path, X=frame)
    other = make_pipeline(StandardScaler(), LogisticRegression(solver="newton-cg"))
    other.fit(X, TARGETS["binary"])
    with pytest.raises(TypeError, match=r"got LogisticRegression: .*skl2onnx\.to_onnx"):
        to_onnx(other, path)
    other = make_pipeline(StandardScaler(), classifier()).fit(X, TARGETS["binary"])
    for odd, message in ((X[:, :2], r"X must have 4 columns.*\(300, 2\)"),
                         (X[0], r"X must have 4 columns.*\(4,\)"),
                         (frame[["age", "size", "town", "colour"]], "not both.*DataFrame")):
        with pytest.raises(ValueError, match=message):
            to_onnx(other, path, X=odd)
    other[-1].network_.layers[0].weight[0, 0] = np.nan
    with pytest.raises(ValueError, match=r"0\.weight"):
        to_onnx(other, path)
    assert not list(tmp_path.iterdir())


def test_a_step_that_skl2onnx_converts_to_something_else_is_refused() -> None:
    missing = X.copy()
    missing[::5, 0] = np.nan
    pipeline = make_pipeline(SimpleImputer(add_indicator=True), classifier())
    pipeline.fit(missing, TARGETS["binary"])
    with pytest.raises(ValueError, match=r"fitted on 5 features.* shapes \[\[None, 4\]"):
        to_onnx(pipeline)
    frame = pd.DataFrame(missing, columns=["a", "b", "c", "d"]).assign(unused=None)
    transformer = ColumnTransformer([("n", SimpleImputer(add_indicator=True), ["a", "b"])])
    pipeline = make_pipeline(transformer, classifier()).fit(frame, TARGETS["binary"])
    with pytest.raises(ValueError, match="'unused' holds None; skl2onnx says.*fitted on 3 feat"):
        to_onnx(pipeline, X=frame)
    pipeline = make_pipeline(KMeans(3, random_state=0), classifier()).fit(X, TARGETS["binary"])
    with pytest.raises(ValueError, match="fitted on 3 features and gets the shapes"):
        to_onnx(pipeline)  # its labels, too


def test_without_skl2onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = make_pipeline(StandardScaler(), classifier()).fit(X, TARGETS["binary"])
    load = builtins.__import__

    def refuse(name: str, *args: Any) -> Any:
        if name.split(".")[0] == "skl2onnx":
            raise ImportError(name)
        return load(name, *args)

    monkeypatch.setattr(builtins, "__import__", refuse)
    for use in (register_skl2onnx, lambda: to_onnx(pipeline)):
        with pytest.raises(ImportError, match=r'pip install "fastbp\[skl2onnx\]"'):
            use()
    to_onnx(pipeline[-1])


def test_the_file_is_written(tmp_path: Path) -> None:
    pipeline = make_pipeline(StandardScaler(), classifier()).fit(X, TARGETS["binary"])
    data = to_onnx(pipeline, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == data
