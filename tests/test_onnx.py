"""Networks as ONNX, by the reference evaluator and by ONNX Runtime."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp.data import Target
from fastbp.io.onnx import NODES, to_onnx
from fastbp.layers import LAYERS

from . import exports
from .builders import CHAINS, Scale, clusters
from .builders import network as chain_network

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


def outputs(data: bytes, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
    """Outputs by name; the two evaluators must agree."""
    from onnx.reference import ReferenceEvaluator

    parsed = onnx.load_from_string(data)
    onnx.checker.check_model(parsed, full_check=True)
    assert parsed.ir_version == 8
    assert {o.domain: o.version for o in parsed.opset_import} == {"": 17, "ai.onnx.ml": 3}
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    found = dict(zip(names, session.run(None, inputs), strict=True))
    with np.errstate(all="ignore"):  # the evaluator's own formulas overflow on the way
        again = dict(zip(names, ReferenceEvaluator(parsed).run(None, inputs), strict=True))
    for name, value in found.items():
        if value.dtype.kind == "f":
            assert exports.far(again[name], value) <= 1e-5
        else:
            assert list(map(str, again[name].ravel())) == list(map(str, value.ravel()))
    return found


def test_every_layer_has_its_nodes() -> None:
    assert set(NODES) == set(LAYERS.values())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("where", ["around", "alone"])
@pytest.mark.parametrize("case", exports.CASES)
def test_every_layer_gives_the_numbers_of_predict(case: str, where: str, dtype: str) -> None:
    network = getattr(exports, where)(case, dtype)
    for X in (exports.rows(dtype=dtype), exports.rows(1, dtype=dtype)):
        found = outputs(to_onnx(network), {"X": X})
        assert list(found) == ["Y"]
        assert exports.far(found["Y"], network.predict(X)) <= (
            1e-5 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("make", [fastbp.LayerNorm, fastbp.BatchNorm])
@pytest.mark.parametrize("epsilon", [1e-3, 1e-50])
def test_float64_keeps_every_bit_of_epsilon(make: Any, epsilon: float) -> None:
    network = fastbp.Network([fastbp.Flatten((4,)), make(epsilon=epsilon)], "mse", "float64")
    X = np.array([[2.0, 2, 2, 2], [0.01, 0.02, 0.03, 0.05]])
    found = outputs(to_onnx(network), {"X": X})["Y"]
    np.testing.assert_allclose(found, network.predict(X), rtol=1e-13)


@pytest.mark.parametrize(("dtype", "large"), [("float32", 1e20), ("float64", 1e160)])
def test_a_row_whose_squares_overflow_has_no_numbers(dtype: str, large: float) -> None:
    network = fastbp.Network([fastbp.Flatten((4,)), fastbp.LayerNorm()], "mse", dtype)
    X = np.array([[large, 2 * large, 0, 0], [1, 2, 0, 0]], dtype)
    found = runtime.InferenceSession(to_onnx(network)).run(None, {"X": X})[0]
    assert np.isnan(found[0]).all() and np.isfinite(found[1]).all()
    np.testing.assert_allclose(found, network.predict(X), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layer_norm_of_rows_far_from_0(dtype: str) -> None:
    network = fastbp.Network([fastbp.Flatten((33,)), fastbp.LayerNorm()], "mse", dtype)
    X = 1e4 + np.random.default_rng(0).normal(size=(40, 33)).astype(dtype)
    X = np.concatenate([X, np.full((1, 33), 12345.678, dtype)])
    assert exports.far(outputs(to_onnx(network), {"X": X})["Y"], network.predict(X)) <= (
        2e-6 if dtype == "float32" else 1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make", [fastbp.SiLU, fastbp.GELU, lambda: fastbp.GELU("tanh")])
def test_infinities_have_their_limits(make: Any, dtype: str) -> None:
    network = fastbp.Network([fastbp.Flatten((5,)), make()], "mse", dtype)
    X = np.array([[-np.inf, -1e30, np.inf, 1e30, np.nan]], dtype)
    found = runtime.InferenceSession(to_onnx(network)).run(None, {"X": X})[0]
    np.testing.assert_allclose(found[0], [0, 0, np.inf, 1e30, np.nan], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("chain", CHAINS)
def test_every_loss_gives_what_predict_proba_gives(chain: str, dtype: str) -> None:
    network = exports.shaken(chain_network(chain, dtype))
    X = exports.rows(dtype=dtype)
    found = outputs(to_onnx(network), {"X": X})
    assert exports.far(found["Y"], network.predict(X)) <= 1e-5
    if network.loss_function.probabilities is None:
        assert list(found) == ["Y"]
    else:
        assert list(found) == ["Y", "probabilities"]
        assert exports.far(found["probabilities"], network.predict_proba(X)) <= 1e-5


@pytest.mark.parametrize("classes", [["a", "b", "ä"], [10, -3, 2**40], [0.5, 1, 1.5]])
def test_labels(classes: list[Any]) -> None:
    network, X = exports.around("Tanh", loss="softmax_cross_entropy"), exports.rows()
    found = outputs(to_onnx(network, classes=classes), {"X": X})
    assert list(found) == ["label", "probabilities"]
    wanted = [classes[k] for k in network.predict_classes(X)]
    assert found["label"].tolist() == wanted and len(set(wanted)) == 3
    assert exports.far(found["probabilities"], network.predict_proba(X)) <= 1e-5


@pytest.mark.parametrize("classes", [["no", "yes"], [False, True]])
def test_one_output_of_two_classes(classes: list[Any]) -> None:
    network = exports.shaken(fastbp.Network(
        [fastbp.Dense(5, 7), fastbp.Tanh(), fastbp.Dense(7, 1)], "sigmoid_binary_cross_entropy"))
    X = exports.rows()
    found = outputs(to_onnx(network, classes=classes), {"X": X})
    p = network.predict_proba(X)
    assert exports.far(found["probabilities"], np.concatenate([1 - p, p], axis=1)) <= 1e-5
    assert found["label"].tolist() == [classes[k] for k in network.predict_classes(X)]
    assert len(set(found["label"].tolist())) == 2


def test_several_yes_or_no_and_scores() -> None:
    X = exports.rows()
    network = exports.around("ReLU", loss="sigmoid_binary_cross_entropy")
    found = outputs(to_onnx(network, classes=["x", "y", "z"]), {"X": X})
    np.testing.assert_array_equal(found["label"], network.predict_classes(X))
    network = exports.around("ReLU", loss="hinge")
    found = outputs(to_onnx(network, classes=["x", "y", "z"]), {"X": X})
    wanted = np.array(["x", "y", "z"])[network.predict(X).argmax(axis=1)]
    assert list(found) == ["label", "Y"] and found["label"].tolist() == wanted.tolist()


@pytest.mark.parametrize(("loss", "n_out"), exports.TOLD)
def test_a_column_of_classes_has_one_a_row(loss: str, n_out: int) -> None:
    model, X, wanted = exports.told(loss, n_out)
    assert outputs(to_onnx(model), {"X": X})["label"].tolist() == wanted


def test_raw_columns() -> None:
    columns = exports.table()
    network = exports.shaken(fastbp.Network(
        [fastbp.Dense(9, 8), fastbp.Tanh(), fastbp.Dense(8, 2)], "softmax_cross_entropy"))
    inputs = {name: value[:, None] for name, value in columns.items()}
    X = exports.features(columns)
    data = to_onnx(exports.model(network, classes=["n", "j"]))
    found = outputs(data, inputs)
    assert exports.far(found["probabilities"], network.predict_proba(X)) <= 1e-5
    assert found["label"].tolist() == [["n", "j"][k] for k in network.predict_classes(X)]
    assert len(set(found["label"].tolist())) == 2
    properties = {p.key: p.value for p in onnx.load_from_string(data).metadata_props}
    assert properties["fastbp"] == fastbp.__version__
    assert json.loads(properties["fastbp.features"]) == exports.FEATURES
    assert json.loads(properties["fastbp.classes"]) == ["n", "j"]
    with pytest.raises(Exception, match="(?i)out of (data )?bounds"):  # an unknown word
        runtime.InferenceSession(data).run(None, inputs | {"colour": np.full((30, 1), "pink",
                                                                              object)})
    # the target's own units, and a missing number that is refused
    network = exports.shaken(fastbp.Network([fastbp.Dense(9, 1)], "mse"))
    columns["age"][5] = np.nan
    for mean, scale in ((200.0, 30.0), (200.0, 1.0), (0.0, 30.0)):
        data = to_onnx(exports.model(network, task="regression", mean=mean, scale=scale))
        session = runtime.InferenceSession(data)
        found = session.run(["Y"], {name: value[:, None] for name, value in columns.items()})[0]
        assert np.isnan(found[5, 0])
        kept = np.arange(30) != 5
        assert exports.far(found[kept], network.predict(X[kept]) * scale + mean) <= 1e-5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_units_of_the_target_are_rounded_once_and_not_beyond_the_dtype(dtype: str) -> None:
    network = fastbp.Network([fastbp.Flatten((1,))], "mse", dtype)
    X = np.random.default_rng(0).normal(size=(500, 1)).astype(dtype)
    model = fastbp.Model(network, None, Target("t", "regression", mean=1.7e9 + 1, scale=3e7))
    found = outputs(to_onnx(model), {"X": X})["Y"]
    np.testing.assert_array_equal(found[:, 0], model.predict(X).astype(dtype))
    for mean, scale in ((0.0, 1e39), (1e39, 1.0)):
        model = fastbp.Model(network, None, Target("t", "regression", mean=mean, scale=scale))
        if dtype == "float64":
            to_onnx(model)
            continue
        for export in (to_onnx, fastbp.to_c):
            with pytest.raises(ValueError, match="float32$"):
                export(model)


def test_the_columns_of_a_trained_model() -> None:
    data = pytest.importorskip("fastbp.data")
    models = pytest.importorskip("fastbp.model")
    make = {c.__name__: c for c in (data.Numeric, data.Boolean, data.Categorical)}
    real = data.Preprocessor([make[type(c).__name__](**vars(c)) for c in exports.COLUMNS])
    columns = exports.table()
    target = data.Target("y", "classification", ["n", "j"])
    network = exports.shaken(fastbp.Network([fastbp.Dense(9, 2)], "softmax_cross_entropy"))
    model = models.Model(network, real, target)
    found = outputs(to_onnx(model), {name: value[:, None] for name, value in columns.items()})
    asked = columns | {"länge": np.array([v or None for v in columns["länge"]], object)}
    assert found["label"].tolist() == model.predict(asked).tolist()
    assert exports.far(found["probabilities"], model.predict_proba(asked)) <= 1e-5


def test_columns_named_like_anything() -> None:
    columns = [exports.Numeric(name, 1.0, 2.0) for name in ("Y", "0.weight", "constant", "")]
    network = exports.shaken(fastbp.Network([fastbp.Dense(4, 2)], "mse"))
    model = exports.model(network)
    model.preprocessor.columns = columns
    X = exports.rows(columns=4)
    found = outputs(to_onnx(model), {n: X[:, i:i + 1] for i, n in enumerate(
        ["Y", "0.weight", "constant", "column3"])})
    assert exports.far(found["Y_"], network.predict((X - 1) / 2)) <= 1e-5


def test_an_empty_word_that_is_a_category_is_not_a_missing_one() -> None:
    network = exports.shaken(fastbp.Network([fastbp.Dense(2, 2)], "mse"))
    model = exports.model(network)
    model.preprocessor.columns = [exports.Categorical("w", ("", "a"), fill="a")]
    found = outputs(to_onnx(model), {"w": np.array([[""], ["a"]], object)})
    assert exports.far(found["Y"], network.predict(np.eye(2, dtype=np.float32))) <= 1e-5


@pytest.mark.parametrize("encoding", ["onehot", "ordinal"])
@pytest.mark.parametrize("unknown", ["error", "ignore"])
def test_a_missing_word_that_predict_refuses_is_refused(encoding: str, unknown: str) -> None:
    network = exports.shaken(fastbp.Network([fastbp.Dense(2 if encoding == "onehot" else 1, 2)],
                                            "mse"))
    model = exports.model(network)
    model.preprocessor.columns = [exports.Categorical("w", ("b", "a"), encoding, unknown)]
    data = to_onnx(model)
    known = np.array([["b"], ["a"], *([["c"]] if unknown == "ignore" else [])], object)
    wanted = network.predict(
        model.preprocessor.columns[0].features(known[:, 0]).astype(np.float32))
    assert exports.far(outputs(data, {"w": known})["Y"], wanted) <= 1e-5
    with pytest.raises(Exception, match="(?i)out of (data )?bounds"):
        runtime.InferenceSession(data).run(None, {"w": np.array([["a"], [""]], object)})


def test_estimators() -> None:
    pd = pytest.importorskip("pandas")
    X, y = clusters(100)
    words = np.array(["red", "green", "blue", "grey"])[y]
    frame = pd.DataFrame(X, columns=list("abcdef"))
    model = fastbp.MLPClassifier(8, solver="lbfgs", random_state=0).fit(frame, words)
    data = to_onnx(model)
    found = outputs(data, {"X": X})
    assert found["label"].tolist() == model.predict(frame).tolist()
    assert exports.far(found["probabilities"], model.predict_proba(frame)) <= 1e-9
    properties = {p.key: p.value for p in onnx.load_from_string(data).metadata_props}
    assert json.loads(properties["fastbp.features"]) == list("abcdef")
    several = np.stack([y > 1, y % 2 == 1, y == 3], axis=1).astype(int)
    model = fastbp.MLPClassifier(8, solver="lbfgs", random_state=0).fit(X, several)
    np.testing.assert_array_equal(outputs(to_onnx(model), {"X": X})["label"], model.predict(X))
    model = fastbp.MLPClassifier(8, solver="lbfgs", random_state=0).fit(X, y > 1)
    found = outputs(to_onnx(model), {"X": X})
    assert found["label"].tolist() == model.predict(X).tolist()
    assert exports.far(found["probabilities"], model.predict_proba(X)) <= 1e-9
    counts = np.abs(X[:, 0]).round()
    for loss in ("squared_error", "poisson"):
        model = fastbp.MLPRegressor(loss, 8, solver="lbfgs", tol=1e9, random_state=0).fit(
            X, counts)
        assert exports.far(outputs(to_onnx(model), {"X": X})["Y"][:, 0], model.predict(X)) <= 1e-9


def test_a_model_of_counts_gives_rates() -> None:
    network, X = exports.shaken(fastbp.Network([fastbp.Dense(5, 1)], "poisson")), exports.rows()
    target = fastbp.data.Target("y", "regression", mean=3.0, scale=2.0)
    model = fastbp.Model(network, None, target)
    found = outputs(to_onnx(model), {"X": X})["Y"][:, 0]
    np.testing.assert_allclose(found, model.predict(X), rtol=1e-4)
    assert exports.far(outputs(to_onnx(network), {"X": X})["Y"], network.predict(X)) <= 1e-5
    shares = fastbp.Network([fastbp.Dense(5, 1)], "sigmoid_binary_cross_entropy")
    with pytest.raises(ValueError, match=r"'y' is of numbers .*: no ONNX of it; give the network"):
        to_onnx(fastbp.Model(shares, None, target))


def test_the_file_is_whole_and_names_its_weights(tmp_path: Path) -> None:
    network = exports.around("ReLU")
    data = to_onnx(network, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == data == fastbp.to_onnx(network)
    assert list(tmp_path.iterdir()) == [tmp_path / "m.onnx"]
    parsed = onnx.load(tmp_path / "m.onnx")
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in parsed.graph.initializer}
    for name, value in network.named_parameters().items():
        np.testing.assert_array_equal(weights[name], value)
    assert parsed.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_two_gibibytes_are_too_many() -> None:
    from fastbp.io.onnx_graph import too_large

    too_large(np.zeros(10, np.float32))
    with pytest.raises(ValueError, match=r"4\.0 GiB"):
        too_large(np.broadcast_to(np.float32(0), (2**30,)))
    with pytest.raises(ValueError, match=r"2\.0 GiB"):
        too_large(np.broadcast_to(np.float32(0), (2**29,)))


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with pytest.raises(TypeError, match="Scale"):
        to_onnx(fastbp.Network([fastbp.Dense(2, 2), Scale()], "mse"), path)
    with pytest.raises(TypeError, match="model must be a Network.*str"):
        to_onnx("m.onnx", path)  # type: ignore[arg-type]
    network = exports.around("ReLU", loss="softmax_cross_entropy")
    for classes, error in ((["a", "b"], ValueError), (["a", "b", 3], TypeError),
                           ([None] * 3, TypeError), ([2**63, 1, 2], ValueError)):
        with pytest.raises(error, match="classes must"):
            to_onnx(network, path, classes=classes)
    model = exports.model(fastbp.Network([fastbp.Dense(9, 2)], "mse"))
    model.preprocessor.columns = [*exports.COLUMNS[:-1], "dates"]
    with pytest.raises(TypeError, match="dates"):
        to_onnx(model, path)
    network.layers[0].weight[0, 0] = np.nan
    with pytest.raises(ValueError, match=r"0\.weight"):
        to_onnx(network, path)
    assert not list(tmp_path.iterdir())


def test_names_of_wide_tables_stay_short() -> None:
    from fastbp.io.onnx_graph import Graph

    graph = Graph(np.dtype(np.float32))
    given = [graph.fresh(name) for name in ["x", "x_", "x_2", *["x"] * 1000]]
    assert len(set(given)) == len(given) and max(map(len, given)) < 8
    assert graph.fresh("y") == "y" and graph.fresh("y") == "y_"


@pytest.mark.parametrize("export", [to_onnx, fastbp.to_c])
def test_columns_whose_rows_float32_makes_alike_are_named(export: Any) -> None:
    """Milliseconds of a day: all rows of an hour are one number of float32."""
    data = pytest.importorskip("fastbp.data")
    columns = [data.Numeric("age", 40.0, 12.5), data.Numeric("at", 1.7e12, 2.5e6),
               data.Numeric("id", 9e15, 1.0), data.Numeric("since", 1.7e9, 4e7)]
    target = Target("y", "regression", mean=1.7e9, scale=1000.0)
    told = {"column 'at': around 1.7e+12 numbers of float32 are 131072 apart",
            "column 'id': around 9e+15 numbers of float32 are 5.36871e+08 apart",
            "the target: around 1.7e+09 numbers of float32 are 128 apart"}
    for dtype, wanted in (("float32", told), ("float64", set())):
        network = fastbp.Network([fastbp.Dense(4, 1)], "mse", dtype)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            export(fastbp.Model(network, data.Preprocessor(columns), target))
        assert {str(w.message).split(", and the scale")[0] for w in caught} == wanted
        assert all(w.filename == __file__ for w in caught)
