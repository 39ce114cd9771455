"""Models: a network with its columns and its target, in one file."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import fastbp
from fastbp import Dense, Model, Network, ReLU, data, load_model
from fastbp.cli.predict import _columns
from fastbp.io.safetensors import read, write

from . import exports
from .builders import classifier, clusters


def table(n: int = 240, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    df = pd.DataFrame({"height": rng.normal(170, 10, n), "colour": rng.choice(["red", "blue"], n),
                       "member": rng.random(n) < 0.5})
    score = (df["height"] - 170) / 10 + 2 * (df["colour"] == "red") - 1
    df["group"] = np.where(score > 0, "up", "down")
    df["cost"] = 1000 + 50 * score
    return df


def trained(target: str, n_out: int | None = None, **options: Any) -> Model:
    df = table()
    other = {"group": "cost", "cost": "group"}[target]
    learned = data.learn(df, target, drop=[other], **options)
    assert learned.target is not None
    loss = {"group": "SoftmaxCrossEntropyLoss", "cost": "MSELoss"}[target]
    n_out = n_out or learned.target.n_outputs
    if target == "group" and n_out == 1:
        loss = "SigmoidBinaryCrossEntropyLoss"
    network = Network([Dense(learned.preprocessor.n_features, 16), ReLU(), Dense(16, n_out)], loss)
    network.fit(learned.preprocessor.transform(df), learned.target.encode(df[target]), epochs=60,
                optimizer=fastbp.Adam(0.01))
    return Model(network, learned.preprocessor, learned.target, {"config": {"epochs": 60}})


@pytest.mark.parametrize("n_out", [1, 2])
def test_predict_takes_the_raw_file(tmp_path: Path, n_out: int,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    model, new = trained("group", n_out), table(100, seed=1)
    labels = model.predict(new)
    assert (labels == new["group"]).mean() > 0.95
    P = model.predict_proba(new)
    assert P.shape == (100, 2)
    np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(np.array(["down", "up"])[P.argmax(axis=1)], labels)
    model.save(tmp_path / "m")
    again = load_model(tmp_path / "m")
    monkeypatch.setattr("fastbp.data.text._BLOCK_BYTES", 1024)
    new.drop(columns=["group"]).to_csv(tmp_path / "new.csv", index=False)
    np.testing.assert_array_equal(again.predict(tmp_path / "new.csv"), labels)
    np.testing.assert_allclose(again.predict_proba(str(tmp_path / "new.csv")), P, rtol=1e-5)
    np.testing.assert_array_equal(again.predict(data.open_table(new)), labels)
    np.testing.assert_array_equal(again.predict({k: new[k].to_numpy() for k in new}), labels)
    assert again.preprocessor == model.preprocessor
    assert again.info == model.info and again.info["fastbp"] == fastbp.__version__
    assert again.info["config"] == {"epochs": 60}
    np.testing.assert_array_equal(fastbp.load(tmp_path / "m").params, model.network.params)


def test_numbers_come_back_in_their_units(tmp_path: Path) -> None:
    model, new = trained("cost"), table(100, seed=1)
    model.save(tmp_path / "m")
    found = load_model(tmp_path / "m").predict(new)
    assert found.shape == (100,) and found.dtype == np.float64
    assert np.abs(found - new["cost"]).mean() < 10
    with pytest.raises(ValueError, match="cross-entropy"):
        model.predict_proba(new)


def test_a_network_alone_is_a_model_too(tmp_path: Path) -> None:
    X, T = clusters()
    net = classifier()
    net.fit(X, T, epochs=2)
    net.save(tmp_path / "m")
    model = load_model(tmp_path / "m")
    assert model.preprocessor is None and model.target is None
    np.testing.assert_array_equal(model.predict(X), net.predict_classes(X))
    np.testing.assert_array_equal(model.predict_proba(X), net.predict_proba(X))
    np.save(tmp_path / "X.npy", X)
    np.testing.assert_array_equal(model.predict(tmp_path / "X.npy"), net.predict_classes(X))
    np.testing.assert_array_equal(model.predict({f"c{i}": X[:, i] for i in range(6)}),
                                  net.predict_classes(X))
    for name, y in (("y.npz", "y"), ("t.csv", "told")):  # the truth beside X is no feature
        np.savez(tmp_path / "y.npz", X=X, y=T)
        pd.DataFrame(X).assign(told=T).to_csv(tmp_path / "t.csv", index=False)
        known = Model(net, target=data.Target(y, "classification", list("abcd")))
        for one in (known, model)[:1 + (y == "y")]:
            np.testing.assert_array_equal(one.predict_proba(tmp_path / name), net.predict_proba(X))
    line = Network([Dense(6, 3)], "MSELoss")
    np.testing.assert_array_equal(Model(line).predict(X), line.predict(X))
    assert "Network(6 ->" in repr(model)


class Polars:
    """A DataFrame as polars has it: what it iterates over are its columns, not their names."""

    def __init__(self, columns: dict[str, np.ndarray]) -> None:
        self._own, self.columns = columns, list(columns)

    def __contains__(self, name: str) -> bool:
        return name in self._own

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self._own.values())

    def __getitem__(self, name: str) -> np.ndarray:
        assert isinstance(name, str)
        return self._own[name]


def test_a_network_alone_reads_any_data_frame() -> None:
    X, net = clusters()[0], classifier()
    named = {f"c{i}": X[:, i] for i in range(6)}
    for table in (named, pd.DataFrame(named), Polars(named)):
        np.testing.assert_array_equal(Model(net).predict(table), net.predict_classes(X))
    with pytest.raises(ValueError, match="columns of the table have different lengths"):
        Model(net).predict(named | {"c5": X[:9, 5]})


@pytest.mark.parametrize("wrong", [None, 5.0, b"new.csv", {1.0}])
def test_what_is_no_table_is_named(wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"takes a table: .*; got {type(wrong).__name__}$"):
        Model(classifier()).predict(wrong)


def test_what_a_mask_hides_is_no_number() -> None:
    model = Model(Network([Dense(2, 1)], "mse"))
    X = np.ma.masked_equal([[1.0, 2.0], [3.0, 999.0]], 999.0)
    with pytest.raises(ValueError, match="^X has masked elements"):
        model.predict(X)
    with pytest.raises(ValueError, match="^column 'b' has masked elements"):
        model.predict({"a": X[:, 0], "b": X[:, 1]})
    np.testing.assert_array_equal(model.predict(X[:1]), model.predict(X.data[:1]))


def test_one_output_without_a_target_stays_one_column() -> None:
    X, net = clusters()[0], Network([Dense(6, 1)], "SigmoidBinaryCrossEntropyLoss")
    np.testing.assert_array_equal(Model(net).predict_proba(X), net.predict_proba(X))


def test_a_file_is_read_as_the_columns_were_learnt(tmp_path: Path) -> None:
    learned = data.learn({"code": ["01", "x"] * 8, "y": ["a", "b"] * 8}, "y")
    model = Model(Network([Dense(2, 2)], "SoftmaxCrossEntropyLoss"), learned.preprocessor,
                  learned.target)
    (tmp_path / "new.csv").write_text("code\n01\n01\n")  # words, whatever they look like
    expected = model.predict_proba({"code": ["01", "01"]})
    np.testing.assert_array_equal(model.predict_proba(tmp_path / "new.csv"), expected)


def test_a_model_that_is_saved_again_keeps_when_it_was_made(tmp_path: Path) -> None:
    made = {"fastbp": "0.0.1", "created": "2020-01-01T00:00:00+00:00"}
    Model(classifier(), info=made).save(tmp_path / "m")
    assert load_model(tmp_path / "m").info == made


def test_rows_in_messages_count_through_the_file(tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastbp.data.table.ROWS", 16)
    monkeypatch.setattr("fastbp.data.text._BLOCK_BYTES", 512)
    new = table(100, seed=1)
    new.loc[83, "colour"] = "green"
    new.to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(ValueError, match=r"column 'colour' holds 'green' in row 83"):
        trained("group").predict(tmp_path / "new.csv")
    lenient = trained("group", unknown="ignore")
    lenient.save(tmp_path / "m")
    assert len(load_model(tmp_path / "m").predict(tmp_path / "new.csv")) == 100
    with pytest.raises(ValueError, match=r"column 'colour' is missing: .*new\.csv has 'height'"):
        new.drop(columns="colour").to_csv(tmp_path / "new.csv", index=False)
        lenient.predict(tmp_path / "new.csv")
    with pytest.raises(ValueError, match="column 'colour' is missing; the table has 'height'"):
        lenient.predict(new.drop(columns="colour"))
    with pytest.raises(TypeError, match=r"got Series: give its \.to_frame\(\)$"):
        lenient.predict(pd.Series([1.0], name="n"))
    with pytest.raises(TypeError, match=r"got Series: .*if it is a row give df\.iloc\[\[i\]\]"):
        lenient.predict(new.iloc[0])
    assert len(lenient.predict(new.iloc[[0]])) == 1
    with pytest.raises(TypeError, match=r"takes a table.* got Table: give its \.to_pandas\(\) or"):
        lenient.predict(pa.table({"height": [1.0]}))
    with pytest.raises(TypeError, match="takes a table.* got ndarray"):
        lenient.predict(np.ones((3, 4)))


@pytest.mark.parametrize(("loss", "n_out"), exports.TOLD)
def test_a_column_of_classes_has_one_a_row(loss: str, n_out: int) -> None:
    model, X, wanted = exports.told(loss, n_out)
    assert model.predict(X).tolist() == wanted
    assert _columns(model, X, True)["prediction"].tolist() == wanted


def test_numbers_are_what_outputs_stand_for(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(9, 2))
    target = data.Target("y", "regression", mean=1, scale=4)
    counts = Network([Dense(2, 1)], "PoissonLoss", "float64")
    rates = np.exp(counts.predict(X)[:, 0])
    shares = Network([Dense(2, 1)], "SigmoidBinaryCrossEntropyLoss", "float64")
    for net, wanted in ((counts, rates), (shares, shares.predict_proba(X)[:, 0])):
        model = Model(net, None, target)
        np.testing.assert_allclose(model.predict(X), 1 + 4 * wanted)
        assert list(_columns(model, X, True)) == ["prediction"]
        np.testing.assert_allclose(_columns(model, X, True)["prediction"], 1 + 4 * wanted)
    np.testing.assert_allclose(Model(counts).predict(X)[:, 0], rates)
    np.testing.assert_allclose(_columns(Model(counts), X, True)["prediction"], rates)


def test_parts_that_do_not_fit() -> None:
    learned = data.learn({"x": np.arange(9), "y": np.arange(9) % 3}, "y")
    with pytest.raises(ValueError, match="makes 1 features, the network takes 2"):
        Model(Network([Dense(2, 3)], "MSELoss"), learned.preprocessor)
    with pytest.raises(ValueError, match="needs 3 outputs, the network has 2"):
        Model(Network([Dense(1, 2)], "MSELoss"), learned.preprocessor, learned.target)
    with pytest.raises(ValueError, match="needs 3 outputs, the network has 1"):
        Model(Network([Dense(1, 1)], "MSELoss"), learned.preprocessor, learned.target)
    parts: list[Any] = [Network([Dense(1, 3)], "MSELoss"), learned.preprocessor, learned.target]
    for i, name in enumerate(["network", "preprocessor", "target"]):
        with pytest.raises(TypeError, match=f"{name} must be a {name.title()}, got Learned"):
            Model(*parts[:i], learned, *parts[i + 1:])
    with pytest.raises(TypeError, match=r"info must be a dict, got \[1, 2\]"):
        Model(classifier(), info=[1, 2])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="network must be a Network, got Prep"):
        Model(parts[1], parts[0], parts[2])


def test_other_formats_and_versions_are_told(tmp_path: Path) -> None:
    path = tmp_path / "m"
    trained("group").save(path)
    tensors, metadata = read(path)

    def changed(**entries: str | None) -> None:
        write(path, tensors, {k: v for k, v in (metadata | entries).items() if v is not None})

    later = json.dumps({"fastbp": "9.0"})
    columns = json.dumps({"format": "fastbp-preprocessing-9"})
    changed(**{"fastbp.preprocessing": columns, "fastbp.info": later})
    with pytest.raises(ValueError, match=r"m was written by fastbp 9\.0, this is .*: "
                                         r"preprocessing of format 'fastbp-preprocessing-9'"):
        load_model(path)
    network = json.dumps(json.loads(metadata["fastbp"]) | {"format": "fastbp-network-9"})
    changed(**{"fastbp": network, "fastbp.info": later})
    with pytest.raises(ValueError, match=r"written by fastbp 9\.0.*'fastbp-network-9'"):
        load_model(path)
    changed(**{"fastbp.target": json.dumps({"format": "fastbp-target-9"})})
    with pytest.raises(ValueError, match="m is not a fastbp model: target of format"):
        load_model(path)
    for wrong in ("{", "[]"):
        changed(**{"fastbp.info": wrong})
        with pytest.raises(ValueError, match=r"m is not a fastbp model: fastbp\.info"):
            load_model(path)
    changed(**{"fastbp.info": None})
    assert load_model(path).target is not None
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match="m is not a fastbp model"):
        load_model(path)
    with pytest.raises(FileNotFoundError, match="none'$"):
        load_model(tmp_path / "none")


def test_the_folder_of_a_model_stands_for_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="model.safetensors"):
        load_model(tmp_path)
    trained("group").save(tmp_path / "model.safetensors")
    for path in (tmp_path, str(tmp_path)):
        np.testing.assert_array_equal(load_model(path).predict(table()),
                                      load_model(tmp_path / "model.safetensors").predict(table()))


@pytest.mark.parametrize(("part", "place", "value"), [
    ("fastbp.target", ["mean"], 10**400), ("fastbp.target", ["classes", 0], None),
    ("fastbp.target", ["classes", 0], 1), ("fastbp", ["layers", 0, "n_in"], 10**400),
    ("fastbp", ["seed"], 10**400), ("fastbp.preprocessing", ["columns", 0, "mean"], 10**400),
    ("fastbp.preprocessing", ["columns", 0, "mean"], None),
    ("fastbp.preprocessing", ["columns", 0, "scale"], None),
    ("fastbp.preprocessing", ["columns", 0, "fill"], "1"),
    ("fastbp.preprocessing", ["columns", 1, "categories", 1], 7)], ids=str)
def test_values_of_another_kind_are_told_when_loaded(part: str, place: list[Any], value: Any,
                                                     tmp_path: Path) -> None:
    """Not when something is predicted: a file needs no trust in who wrote it."""
    path = tmp_path / "m"
    trained("group", missing="error").save(path)
    load_model(path)
    tensors, metadata = read(path)
    changed = inner = json.loads(metadata[part])
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    write(path, tensors, metadata | {part: json.dumps(changed)})
    with pytest.raises(ValueError, match="m is not a fastbp model"):
        load_model(path)


def test_saved_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, model = tmp_path / "m", trained("group")
    model.save(path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    model.network.params[...] = 0
    with pytest.raises(OSError, match=r"model not saved: No space left on device: '.*/m'") as e:
        model.save(path)
    assert e.value.errno == errno.ENOSPC and e.value.filename == str(path)
    monkeypatch.undo()
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError, match=r"model not saved: No such file.*none/m'"):
        model.save(tmp_path / "none" / "m")
    with pytest.raises(IsADirectoryError, match="model not saved"):
        model.save(tmp_path)
    model.info["function"] = print
    with pytest.raises(TypeError, match="JSON"):
        model.save(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_replaced_while_it_is_read_gives_one_model(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a service does that loads what a scheduled run has just trained anew."""
    path, models = tmp_path / "m.safetensors", [trained("group"), trained("group")]
    models[1].network.params *= 2
    models[0].save(path)

    def replaced(*args: Any) -> Any:
        found = read(*args)
        models[1].save(path)
        return found

    for module in ("fastbp.model", "fastbp.io.safetensors"):
        monkeypatch.setattr(f"{module}.read", replaced)
    np.testing.assert_array_equal(load_model(path).network.params, models[0].network.params)
    np.testing.assert_array_equal(load_model(path).network.params, models[1].network.params)
