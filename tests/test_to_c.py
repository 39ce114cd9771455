"""Networks as C: compiled with all warnings as errors, equal to predict."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp.data import Categorical, Numeric
from fastbp.io.c import identifier, to_c
from fastbp.io.c_layers import CALLS, HELPERS
from fastbp.layers import LAYERS

from . import exports
from .builders import CHAINS, Scale, clusters
from .builders import network as chain_network

CC = shutil.which("cc")
needs_cc = pytest.mark.skipif(CC is None, reason="no C compiler here")
FLAGS = ["-O2", "-Wall", "-Wextra", "-Werror", "-std=c99", "-pedantic", "-Wmissing-prototypes",
         "-Wno-unused-command-line-argument"]


class Compiled:
    """A source as the functions in it, called row by row."""

    def __init__(self, source: str, folder: Path, name: str = "model", dtype: str = "float32",
                 *flags: str) -> None:
        assert source.isascii()
        (folder / f"{name}.c").write_text(source)
        if not (folder / "m.so").exists():
            subprocess.run([str(CC), *FLAGS, *flags, "-shared", "-fPIC",
                            *map(str, folder.glob("*.c")), "-o", "m.so", "-lm"], cwd=folder,
                           check=True)
        self.library, self.name, self.dtype = ctypes.CDLL(str(folder / "m.so")), name, dtype

    def rows(self, function: str, X: Any, n_out: int) -> np.ndarray:
        call = getattr(self.library, f"{self.name}_{function}")
        X = np.ascontiguousarray(X, self.dtype)
        Y = np.full((len(X), n_out + 1), 77, self.dtype)  # one more: nothing else is written
        for x, y in zip(X, Y, strict=True):
            call(x.ctypes.data_as(ctypes.c_void_p), y.ctypes.data_as(ctypes.c_void_p))
        assert (Y[:, n_out] == 77).all()
        return Y[:, :n_out]

    def classes(self, X: Any) -> list[int]:
        call = getattr(self.library, f"{self.name}_predict_class")
        return [call(x.ctypes.data_as(ctypes.c_void_p))
                for x in np.ascontiguousarray(X, self.dtype)]


def same(found: Any, wanted: Any, dtype: str = "float32") -> None:
    tolerance = 1e-6 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


def test_every_layer_has_its_call() -> None:
    assert set(CALLS) == set(LAYERS.values())


@needs_cc
@pytest.mark.parametrize("case", exports.CASES)
def test_every_layer_gives_the_numbers_of_predict(case: str, tmp_path: Path) -> None:
    networks = {f"{where.__name__}_{dtype}": where(case, dtype)
                for where in (exports.around, exports.alone) for dtype in ("float32", "float64")}
    for name, network in networks.items():
        to_c(network, tmp_path / f"{name}.c", name)
    for name, network in networks.items():
        X = exports.rows(dtype=network.dtype.name)
        model = Compiled((tmp_path / f"{name}.c").read_text(), tmp_path, name, network.dtype.name)
        wanted = network.predict(X)
        found = model.rows("predict", X, network.n_out)
        size = max(np.abs(wanted).max(), 1)  # some tens: 1e-6 is of their size
        same(found / size, wanted / size, network.dtype.name)
        assert len(np.unique(found)) > 5


@needs_cc
@pytest.mark.parametrize(("dtype", "large"), [("float32", 1e20), ("float64", 1e160)])
def test_a_row_whose_squares_overflow_has_no_numbers(dtype: str, large: float,
                                                     tmp_path: Path) -> None:
    network = fastbp.Network([fastbp.Flatten((4,)), fastbp.LayerNorm()], "mse", dtype)
    X = np.array([[large, 2 * large, 0, 0], [1, 2, 0, 0]], dtype)
    found = Compiled(to_c(network), tmp_path, dtype=dtype).rows("predict", X, 4)
    assert np.isnan(found[0]).all() and np.isfinite(found[1]).all()
    same(found, network.predict(X), dtype)


@needs_cc
@pytest.mark.parametrize("chain", [c for c in CHAINS if c != "relu-softmax"])
def test_probabilities_and_classes(chain: str, tmp_path: Path) -> None:
    network, X = exports.shaken(chain_network(chain, "float32")), exports.rows()
    source = to_c(network, name=f"{chain} net")
    model = Compiled(source, tmp_path, identifier(f"{chain} net"))
    same(model.rows("predict", X, 3), network.predict(X))
    if network.loss_function.probabilities is None:
        assert "predict_proba" not in source and "predict_class" not in source
        return
    same(model.rows("predict_proba", X, 3), network.predict_proba(X))
    if network.loss_function.labels:
        assert model.classes(X) == network.predict_classes(X).tolist()
        X[2, 1] = np.nan
        assert model.classes(X[2:3]) == [-1]
    else:
        assert "predict_class" not in source


@needs_cc
@pytest.mark.parametrize(("loss", "n_out"), exports.TOLD)
def test_a_column_of_classes_has_one_a_row(loss: str, n_out: int, tmp_path: Path) -> None:
    model, X, wanted = exports.told(loss, n_out)
    compiled = Compiled(to_c(model), tmp_path)
    assert ["abc"[k] for k in compiled.classes(X)] == wanted
    X[0, 0] = np.nan
    assert compiled.classes(X[:1]) == [-1]


@needs_cc
def test_raw_columns_words_and_labels(tmp_path: Path) -> None:
    columns = exports.table()
    network = exports.shaken(fastbp.Network(
        [fastbp.Dense(9, 8), fastbp.Tanh(), fastbp.Dense(8, 2)], "softmax_cross_entropy"))
    words = ['n"$real*/', "jä"]
    source = to_c(exports.model(network, classes=words), tmp_path / "tabelle.c", "tabelle")
    assert (tmp_path / "tabelle.c").read_text() == source
    assert "#define TABELLE_N_IN 6" in source and "#define TABELLE_N_PROBABILITIES 2" in source
    model = Compiled(source, tmp_path, "tabelle")
    place = model.library.tabelle_category
    raw = np.zeros((30, 6), np.float32)
    for i, name in enumerate(columns):
        raw[:, i] = columns[name] if i < 3 else [
            np.nan if v == "" else place(i, v.encode()) for v in columns[name]]
    X = exports.features(columns)
    same(model.rows("predict_proba", raw, 2), network.predict_proba(X))
    assert model.classes(raw) == network.predict_classes(X).tolist()
    assert len(set(model.classes(raw))) == 2
    labels = (ctypes.c_char_p * 2).in_dll(model.library, "tabelle_classes")
    assert [label.decode() for label in labels] == words
    assert [place(3, c.encode()) for c in exports.COLUMNS[3].categories] == [0, 1, 2]
    assert place(3, b"pink") == place(0, b"red") == place(99, b"red") == -1
    # what predict refuses: an unknown colour, a missing age, a missing size
    for column, value in ((3, place(3, b"pink")), (0, np.nan), (4, np.nan)):
        odd = raw[:1].copy()
        odd[0, column] = value
        assert np.isnan(model.rows("predict", odd, 2)).all() and model.classes(odd) == [-1]


@needs_cc
@pytest.mark.parametrize(("classes", "kind"), [
    ([10, 1 - 2**63, 2**63 - 1], ctypes.c_longlong), ([0.1, 1.5, -2.0], ctypes.c_double),
    (["a", "b??/", "c"], ctypes.c_char_p)])
def test_classes_are_a_table(classes: list[Any], kind: Any, tmp_path: Path) -> None:
    network = exports.around("ReLU", loss="softmax_cross_entropy")
    model = Compiled(to_c(network, classes=classes), tmp_path)
    found = list((kind * 3).in_dll(model.library, "model_classes"))
    assert [f.decode() if isinstance(f, bytes) else f for f in found] == classes


@needs_cc
def test_an_unfitted_estimator_is_said_to_be_one() -> None:
    """It was refused as if "MLPClassifier" were no fitted estimator of fastbp at all."""
    for export in (fastbp.to_c, fastbp.to_onnx, fastbp.to_sklearn):
        with pytest.raises(TypeError, match="got an unfitted MLPClassifier$"):
            export(fastbp.MLPClassifier())


def test_estimators_and_units_of_the_target(tmp_path: Path) -> None:
    X, y = clusters(100)
    X = X.astype(np.float64)
    for k, make in enumerate((lambda: fastbp.MLPRegressor("squared_error", 8, solver="lbfgs",
                                                          tol=1e9, random_state=0),
                              lambda: fastbp.MLPRegressor("poisson", 8, solver="lbfgs", tol=1e9,
                                                          random_state=0))):
        estimator = make().fit(X, np.abs(X[:, 0]).round())
        (tmp_path / str(k)).mkdir()
        model = Compiled(to_c(estimator), tmp_path / str(k), dtype="float64")
        same(model.rows("predict", X, 1)[:, 0], estimator.predict(X), "float64")
    binary = fastbp.MLPClassifier(8, solver="lbfgs", random_state=0, max_iter=5, tol=1e9).fit(
        X, y > 1)
    (tmp_path / "b").mkdir()
    model = Compiled(to_c(binary, dtype="float32"), tmp_path / "b")
    same(model.rows("predict_proba", X, 2), binary.predict_proba(X.astype(np.float32)), "float32")
    assert [[False, True][k] for k in model.classes(X)] == binary.predict(X).tolist()
    network = exports.shaken(fastbp.Network([fastbp.Dense(9, 1)], "mse"))
    raw = np.zeros((1, 6), np.float32)
    raw[0, 1] = 1.7e9
    X = exports.features({"age": [0.0], "since": [np.float32(1.7e9)], "member": [0.0],
                          "colour": ["red"], "size": ["S"], "länge": ["kurz"]})
    for mean, scale in ((200.0, 30.0), (200.0, 1.0)):
        (tmp_path / f"t{scale}").mkdir()
        source = to_c(exports.model(network, mean=mean, scale=scale))
        model = Compiled(source, tmp_path / f"t{scale}")
        same(model.rows("predict", raw, 1), network.predict(X) * scale + mean)


@needs_cc
def test_on_the_stack_threads_may_run_it_at_once(tmp_path: Path) -> None:
    network = exports.around("GELU")
    model = Compiled(to_c(network), tmp_path, "model", "float32", "-DMODEL_STORAGE=")
    X = exports.rows(400)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda k: model.rows("predict", X[k::4], 3), range(4)))
    for k in range(4):
        same(found[k], network.predict(X)[k::4])


@needs_cc
@pytest.mark.parametrize("make", [fastbp.SiLU, fastbp.GELU, lambda: fastbp.GELU("tanh"),
                                  fastbp.Softmax, fastbp.LogSoftmax, fastbp.ReLU, fastbp.Softplus,
                                  fastbp.LeakyReLU, fastbp.ELU])
def test_infinities_have_their_limits(make: Any, tmp_path: Path) -> None:
    network = fastbp.Network([fastbp.Flatten((3,)), make()], "mse")
    model = Compiled(to_c(network), tmp_path)
    with np.errstate(all="ignore"):
        X = np.array([[np.inf, -np.inf, 3e38], [-np.inf, 0, 1], [np.inf, 1, np.inf],
                      [-np.inf, -np.inf, -np.inf], [np.nan, 1, 2]], "f4")
        same(model.rows("predict", X, 3), network.forward(X))


@needs_cc
def test_layer_norm_of_rows_far_from_0(tmp_path: Path) -> None:
    network = fastbp.Network([fastbp.Flatten((33,)), fastbp.LayerNorm()], "mse")
    X = np.full((2, 33), 12345.678, "f4")
    X[1] += np.random.default_rng(0).normal(size=33).astype("f4")
    model = Compiled(to_c(network), tmp_path)
    np.testing.assert_allclose(model.rows("predict", X, 33), network.predict(X), atol=1e-5)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler here")
def test_it_is_cpp_too(tmp_path: Path) -> None:
    network = exports.shaken(fastbp.Network([fastbp.Dense(9, 2)], "softmax_cross_entropy"))
    to_c(exports.model(network, classes=["n", "j"]), tmp_path / "m.cpp")
    subprocess.run(["g++", "-Wall", "-Wextra", "-Werror", "-c", "m.cpp"], cwd=tmp_path, check=True)


def test_the_top_says_where_missing_values_may_be() -> None:
    source = to_c(exports.model(fastbp.Network([fastbp.Dense(9, 1)], "mse")))
    told: dict[str, str] = dict(re.findall(r"x\[(\d)\]: (.*)", source))
    assert [i for i in told if "or NaN for missing" in told[i]] == ["1", "2", "5"]


def test_columns_of_a_frame_without_names_have_their_numbers() -> None:
    columns = fastbp.data.Preprocessor([Numeric(0), Categorical(1, ("n", "j"))])  # type: ignore[arg-type]
    source = to_c(fastbp.Model(fastbp.Network([fastbp.Dense(3, 1)], "mse"), columns))
    assert "x[0]: 0, a number\n" in source and "x[1]: 1, the place of its word: 0 n" in source


def test_features_of_an_estimator_may_have_any_names() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"$name in $": [0.0, 1.0], "b*/": [1.0, 0.0]})
    estimator = fastbp.MLPRegressor("squared_error", 2, solver="sgd", random_state=0)
    source = to_c(estimator.partial_fit(frame, [0.0, 1.0]))
    assert " * x[0]: $name in $\n * x[1]: b* /\n" in source


def test_weights_are_written_to_the_last_bit() -> None:
    network = exports.around("Dense")
    source = to_c(network)
    text = source.split("model_0_weight[35] = {")[1].split("}")[0]
    values = [float.fromhex(v.strip().rstrip("f")) for v in text.split(",")]
    np.testing.assert_array_equal(np.float32(values).reshape(5, 7).T, network.layers[0].weight)
    assert "malloc" not in source
    assert [line for line in source.splitlines() if line.startswith("#include")] == [
        "#include <math.h>", "#include <string.h>"]
    assert all(text.count("{") == text.count("}") for text in HELPERS.values())


def test_names_are_made_such_as_c_allows() -> None:
    assert identifier("my-model v2") == "my_model_v2" and identifier("2nd") == "model_2nd"
    assert "void my_net_predict(" in to_c(exports.around("ReLU"), name="my net")
    for name, error in (("äö", ValueError), ("", ValueError), (3, TypeError)):
        with pytest.raises(error, match="name must"):
            to_c(exports.around("ReLU"), name=name)  # type: ignore[arg-type]


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.c"
    with pytest.raises(TypeError, match="Scale"):
        to_c(fastbp.Network([fastbp.Dense(2, 2), Scale()], "mse"), path)
    network = exports.around("ReLU", "float64")
    network.layers[0].weight[0, 0] = 1e300
    assert "0x1.7e43c8800759cp+996" in to_c(network)
    with pytest.raises(ValueError, match=r"0\.weight: .*too large for float32"):
        to_c(network, path, dtype="float32")
    small = fastbp.Network([fastbp.Dense(2, 2), fastbp.LayerNorm(1e-50)], "mse", "float64")
    with pytest.raises(ValueError, match="layer 1: epsilon=1e-50 is 0 in float32"):
        to_c(small, path, dtype="float32")
    with pytest.raises(ValueError, match="dtype must be"):
        to_c(network, path, dtype="int8")
    several = exports.around("ReLU", loss="softmax_cross_entropy")
    for odd in ("a\0b", "\ud800"):
        with pytest.raises(ValueError, match="C has no string of") as found:
            to_c(several, path, classes=[odd, "b", "c"])
        assert repr(odd) in str(found.value)
    assert not list(tmp_path.iterdir())
