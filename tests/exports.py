"""What the tests of exports share: a network of every layer, a table of every kind of column."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

import fastbp
from fastbp.data import Target
from fastbp.layers import LAYERS, Layer

#: Layers with arguments other than the defaults; all others are made with none.
SPECIAL: dict[str, Any] = {
    "LeakyReLU(0.3)": lambda: fastbp.LeakyReLU(0.3), "ELU(0.7)": lambda: fastbp.ELU(0.7),
    "GELU(tanh)": lambda: fastbp.GELU("tanh"), "BatchNorm(1e-3)": lambda: fastbp.BatchNorm(
        0.3, 1e-3), "LayerNorm(1e-2)": lambda: fastbp.LayerNorm(1e-2),
    "Dense(no bias)": lambda: fastbp.Dense(7, 7, bias=False)}
CASES = [*LAYERS, *SPECIAL]


def make(case: str) -> Layer:
    """A layer of 7 units."""
    if case in SPECIAL:
        return SPECIAL[case]()
    return fastbp.Dense(7, 7) if case == "Dense" else LAYERS[case]()


def around(case: str, dtype: str = "float32", loss: Any = "mse") -> fastbp.Network:
    """5 -> 7 -> the layer -> 3, with parameters that are all different from the initial ones."""
    network = fastbp.Network([fastbp.Dense(5, 7), make(case), fastbp.Dense(7, 3)], loss, dtype,
                             seed=3)
    return shaken(network)


def alone(case: str, dtype: str) -> fastbp.Network:
    """The layer last, where nothing hides its output; its 7 inputs are spread by weights."""
    return shaken(fastbp.Network([fastbp.Dense(5, 7), make(case)], "mse", dtype, seed=4))


def shaken(network: fastbp.Network) -> fastbp.Network:
    """Random biases, scales and running statistics; variances above 0."""
    rng = np.random.default_rng(1)
    for name, value in network.named_parameters().items():
        if name.endswith("var"):
            value[...] = rng.uniform(0.3, 2, value.shape)
        elif value.ndim == 1:
            value[...] += rng.normal(size=value.shape)
    return network


def rows(n: int = 40, columns: int = 5, dtype: str = "float32") -> np.ndarray:
    """Rows, some of them large, one 0."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, columns)) * rng.choice([0.1, 1, 5], (n, 1))
    X[0] = 0
    return X.astype(dtype)


def far(found: Any, wanted: Any) -> float:
    """Largest difference over the largest number wanted, or over 1."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    assert np.isfinite(wanted).all()
    return float(np.abs(found - wanted).max() / max(1.0, np.abs(wanted).max()))


#: Losses and outputs of ``told``.
TOLD = [("sigmoid_binary_cross_entropy", 3), ("sigmoid_binary_cross_entropy", 2), ("hinge", 1),
        ("hinge", 3), ("softmax_cross_entropy", 3), ("sigmoid_binary_cross_entropy", 1)]


def told(loss: str, n_out: int) -> tuple[fastbp.Model, np.ndarray, list[str]]:
    """A model of a column of classes, rows for it, and the class that each is."""
    names = list("abc"[:max(n_out, 2)])
    network = shaken(fastbp.Network([fastbp.Dense(5, n_out)], loss))
    X = rows()
    Y = network.predict(X)
    index = Y.argmax(axis=1) if n_out > 1 else (Y[:, 0] > 0).astype(int)
    assert len(set(index)) == len(names)
    model = fastbp.Model(network, None, Target("t", "classification", names))
    return model, X, [names[k] for k in index]


# -- columns of a table, as the interface of fastbp.data has them ---------------------------


@dataclass(frozen=True)
class Numeric:
    name: str
    mean: float = 0.0
    scale: float = 1.0
    fill: float | None = None

    def features(self, values: Any) -> np.ndarray:
        values = np.asarray(values, float)
        fill = np.nan if self.fill is None else self.fill
        return ((np.where(np.isnan(values), fill, values) - self.mean) / self.scale)[:, None]


@dataclass(frozen=True)
class Boolean:
    name: str
    fill: float | None = None

    def features(self, values: Any) -> np.ndarray:
        return Numeric(self.name, fill=self.fill).features(values)


@dataclass(frozen=True)
class Categorical:
    name: str
    categories: tuple[str, ...]
    encoding: str = "onehot"
    unknown: str = "error"
    fill: str | None = None

    def features(self, values: Any) -> np.ndarray:
        found = [self.fill if v == "" and self.fill else v for v in values]
        place = [self.categories.index(v) if v in self.categories else -1 for v in found]
        assert self.unknown == "ignore" or min(place) >= 0
        if self.encoding == "ordinal":
            return np.array(place, float)[:, None]
        return (np.array(place)[:, None] == np.arange(len(self.categories))).astype(float)


COLUMNS = (Numeric("age", 40.0, 12.5), Numeric("since", 1.7e9, 4e7, fill=1.65e9),
           Boolean("member", fill=1.0),
           Categorical("colour", ("red", "dark green", 'qu"o\\te??/')),
           Categorical("size", ("S", "M", "L"), "ordinal", "ignore"),
           Categorical("länge", ("kurz", "lang"), unknown="ignore", fill="lang"))
FEATURES = ["age", "since", "member", "colour=red", "colour=dark green", 'colour=qu"o\\te??/',
            "size", "länge=kurz", "länge=lang"]


def table(n: int = 30) -> dict[str, np.ndarray]:
    """Raw columns with missing values and unknown words where these are let in."""
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {
        "age": rng.uniform(18, 90, n).astype(np.float32),
        "since": rng.uniform(1.6e9, 1.8e9, n).astype(np.float32),
        "member": rng.integers(0, 2, n).astype(np.float32),
        "colour": rng.choice(COLUMNS[3].categories, n).astype(object),
        "size": rng.choice(["S", "M", "L", "XXL"], n).astype(object),
        "länge": rng.choice(["kurz", "lang", "mittel", ""], n).astype(object)}
    found["since"][3] = found["member"][4] = np.nan
    return found


def features(columns: dict[str, np.ndarray]) -> np.ndarray:
    """What the network sees of the columns."""
    parts = [column.features(columns[column.name]) for column in COLUMNS]
    return np.concatenate(parts, axis=1).astype(np.float32)


def model(network: fastbp.Network, **target: Any) -> Any:
    """With the attributes that a model with a preprocessor has."""
    own = {"classes": None, "mean": 0.0, "scale": 1.0, "task": "classification", **target}
    return SimpleNamespace(
        network=network, target=SimpleNamespace(**own),
        preprocessor=SimpleNamespace(columns=COLUMNS, feature_names=FEATURES, n_features=9))
