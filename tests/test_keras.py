"""Dense stacks from Keras and back."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp.io.keras import MODULES
from fastbp.layers import LAYERS
from fastbp.losses import LOSSES

from . import exports
from .builders import Scale

os.environ.setdefault("KERAS_BACKEND", "numpy")  # the one that needs no other package
keras = pytest.importorskip("keras")
K = keras.layers
# Keras' own variables, whenever weights are read
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def run(model: Any, X: np.ndarray) -> np.ndarray:
    return np.asarray(model.predict(X, verbose=0))


def close(found: Any, wanted: Any) -> None:
    """Most backends of Keras compute float64 in float32."""
    assert exports.far(found.astype(wanted.dtype), wanted) <= 1e-5


def test_every_layer_has_its_equal() -> None:
    assert set(MODULES) == set(LAYERS.values())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", exports.CASES)
def test_every_layer_there_and_back(case: str, dtype: str, tmp_path: Path) -> None:
    network, X = exports.around(case, dtype), exports.rows(dtype=dtype)
    model = fastbp.to_keras(network)
    close(run(model, X), network.predict(X))
    assert all(w.dtype == dtype for w in model.get_weights())
    again = fastbp.from_keras(model)
    assert again.dtype == dtype
    np.testing.assert_array_equal(again.params, network.params)
    for ours, theirs in zip(network.layers, again.layers, strict=True):
        assert type(ours) is type(theirs)
        for name, value in ours.config().items():
            assert theirs.config()[name] == (pytest.approx(value) if isinstance(value, float)
                                             else value)
    model.save(tmp_path / "m.keras")
    close(run(keras.models.load_model(tmp_path / "m.keras"), X), network.predict(X))


def test_what_is_not_trained_there_is_not_here() -> None:
    network = fastbp.Network([fastbp.Dense(5, 4), fastbp.BatchNorm(), fastbp.ReLU(),
                              fastbp.Dense(4, 3)], "SoftmaxCrossEntropyLoss")
    network.fit(np.random.default_rng(0).normal(size=(50, 5)), np.arange(50) % 3, epochs=1)
    network.layers[0].trainable = network.layers[1].trainable = False
    model = fastbp.to_keras(network)
    assert [len(layer.trainable_weights) for layer in model.layers] == [0, 0, 0, 2]
    again = fastbp.from_keras(model)
    assert [x.trainable for x in again.layers] == [False, False, True, True]
    np.testing.assert_array_equal(again.params, network.params)
    model.trainable = False
    assert [x.trainable for x in fastbp.from_keras(model).layers] == [False, False, True, False]


def test_numbers_beyond_the_dtype_are_named() -> None:
    model = keras.Sequential([keras.Input((3,)), K.Dense(2, dtype="float64", name="wide")])
    model.set_weights([np.zeros((3, 2)), np.full(2, 1e300)])
    assert (fastbp.from_keras(model).layers[0].bias == 1e300).all()
    with pytest.raises(ValueError, match="wide: bias holds numbers beyond float32"):
        fastbp.from_keras(model, dtype="float32")


def shaken(model: Any) -> Any:
    rng = np.random.default_rng(0)
    for layer in model.layers:
        layer.set_weights([np.abs(w + rng.normal(size=w.shape)) if w.ndim == 1
                           else rng.normal(size=w.shape) for w in layer.get_weights()])
    return model


def test_models_as_people_write_them() -> None:
    X = exports.rows()
    model = shaken(keras.Sequential([
        K.Input((5,)), K.Flatten(), K.Dense(8, activation="relu"),
        K.BatchNormalization(scale=False), K.Dropout(0.3),
        K.Dense(6, "elu", use_bias=False), K.LayerNormalization(center=False), K.Dense(6),
        K.Dense(6, activation=K.LeakyReLU(0.1)), K.Activation(K.ELU(0.5)),
        K.ReLU(negative_slope=0.1), K.BatchNormalization(center=False), K.Dense(6, "leaky_relu"),
        K.Activation("swish"), K.Identity(), K.LayerNormalization(scale=False, center=False),
        K.Dense(3, "softmax")]))
    network = fastbp.from_keras(model)
    close(network.predict(X), run(model, X))
    assert isinstance(network.loss_function, fastbp.CrossEntropyLoss)
    assert network.layers[3].momentum == pytest.approx(0.01)
    assert fastbp.from_keras(model, loss="focal", dtype="float64").dtype == np.float64
    # functional, with a model and an operation within
    start = K.Input((5,))
    inner = shaken(keras.Sequential([K.Input((5,)), K.Dense(4, "tanh"), K.Dense(4)]))
    end = K.Dense(2, "sigmoid")(keras.ops.gelu(inner(start), approximate=False))
    model = keras.Model(start, end)
    network = fastbp.from_keras(model)
    close(network.predict(X), run(model, X))
    assert isinstance(network.loss_function, fastbp.BinaryCrossEntropyLoss)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_constants_before_the_first_layer(dtype: str) -> None:
    X = exports.rows()
    X[:, 1] = 3.0  # no spread
    adapting = K.Normalization()
    for part in (adapting, K.Normalization(axis=None, mean=2.0, variance=9.0),
                 K.Normalization(mean=[1.0] * 5, variance=[4.0] * 5, invert=True),
                 K.Rescaling(1 / 255), K.Rescaling(2.0, offset=[1.0, 2.0, 3.0, 4.0, 5.0])):
        model = keras.Sequential([K.Input((5,)), part, K.Dense(3, "tanh")])
        if part is adapting:
            adapting.adapt(X + np.array([0, 0, 100, 0, 0], X.dtype))
        network = fastbp.from_keras(model, dtype=dtype)
        close(network.predict(X), run(model, X))
        before = network.layers[0].parameters()["running_mean"].copy()
        network.fit(X, np.zeros((len(X), 3)), epochs=1)
        assert (network.layers[0].parameters()["running_mean"] == before).all()
        assert not network.layers[0].trainable and network.layers[1].trainable
    images = keras.Sequential([K.Input((4, 5)), K.Rescaling(0.5, 1.0), K.Flatten(), K.Dense(2)])
    X = np.random.default_rng(0).normal(size=(7, 4, 5)).astype("float32")
    network = fastbp.from_keras(images)
    assert network.dtype == np.float32  # as its weights, whatever the constants are
    close(network.predict(X.reshape(7, 20)), run(images, X))


def functional(make: Any) -> Any:
    start = K.Input((4,))
    return keras.Model(start, make(start))


def twice(x: Any) -> Any:
    layer = K.Dense(4)
    return layer(layer(x))


def branches(x: Any) -> Any:
    y = K.Dense(4)(x)
    return K.Add()([K.Dense(4)(y), y])


def inner_of_two(x: Any) -> Any:
    k = K.Input((4,))
    first = K.Dense(4)(k)
    return keras.Model(k, [first, K.Dense(4)(first)])(x)[0]


def two_outputs(x: Any) -> list[Any]:
    first = K.Dense(4)(x)
    return [first, K.Dense(4)(first)]


def adapted() -> Any:
    model = keras.Sequential([K.Input((4,)), K.Dense(4, name="adapted")])
    model.layers[0].enable_lora(2)
    return model


def before_flatten(part: Any, shape: tuple[int, ...] = (4, 3)) -> Any:
    return keras.Sequential([K.Input(shape), K.ReLU(), part, K.Flatten(), K.Dense(2)])


def said(part: Any, **settings: Any) -> Any:
    """A layer that says of itself what only some versions of Keras can make."""
    own = part.get_config
    part.get_config = lambda: own() | settings
    return part


def relu(x: Any) -> Any:
    """Not Keras', whatever its name."""
    return -x


class Own(K.Dense):
    """A layer of the user's own."""


@pytest.mark.parametrize(("make", "error", "match"), [
    (lambda: functional(twice), ValueError, "no chain"),
    (lambda: functional(branches), ValueError, "no chain"),
    (lambda: functional(two_outputs), ValueError, "no chain.*2 outputs"),
    (lambda: functional(inner_of_two), ValueError, "no chain.*2 outputs"),
    (adapted, ValueError, "adapted: lora_enabled=True"),
    (lambda: functional(K.Dense(4, activation=K.PReLU())), TypeError, "PReLU"),
    (lambda: functional(K.Dropout(0.1, name="d", noise_shape=(1,))), ValueError, "d: noise"),
    (lambda: functional(K.Softmax(axis=0, name="s")), ValueError, "s: axis=0"),
    (lambda: functional(said(K.BatchNormalization(name="n"), renorm=True)), ValueError,
     "n: renorm=True"),
    (lambda: functional(said(K.LayerNormalization(name="n"), rms_scaling=True)), ValueError,
     "n: rms_scaling=True"),
    (lambda: before_flatten(K.BatchNormalization(epsilon=0.0, name="b"), (4,)), ValueError,
     "b: epsilon"),
    *((lambda part=part: before_flatten(part), ValueError, f"{part.name}: .*a Flatten must")
      for part in (K.Softmax(), K.Activation("softmax"), K.Activation("log_softmax"), K.Dense(3),
                   K.LayerNormalization(scale=False, center=False), K.BatchNormalization())),
    (lambda: before_flatten(K.LayerNormalization(name="n"), (4, 1)), ValueError, "n: .*Flatten"),
    (lambda: before_flatten(K.Rescaling([1.0, 2.0, 3.0], name="r")), ValueError, "r: .*Flatten"),
    (lambda: before_flatten(K.Normalization(name="m")), ValueError, "m: .*Flatten"),
    (lambda: before_flatten(K.Normalization(axis=(1, 2), name="m")), ValueError, "m: axis"),
    (lambda: before_flatten(K.Flatten(data_format="channels_first")), ValueError, "data_format"),
    (lambda: keras.Sequential([K.Softmax(), K.Flatten()]), ValueError, "not built"),
    (lambda: functional(lambda x: K.Dense(2)(K.GaussianNoise(0.1)(x))), TypeError, "GaussianN"),
    (lambda: functional(lambda x: Own(2)(x)), TypeError, "Own"),
    (lambda: functional(lambda x: K.Dense(2, activation="relu6")(x)), TypeError, "relu6"),
    (lambda: functional(lambda x: K.Dense(2, activation=relu)(x)), TypeError, "relu"),
    (lambda: functional(lambda x: K.Activation(relu)(x)), TypeError, "relu"),
    (lambda: functional(lambda x: K.ReLU(max_value=6)(K.Dense(2)(x))), ValueError, "max_value"),
    (lambda: keras.Sequential([K.Dense(2)]), ValueError, "not built"),
    (lambda: "model.keras", TypeError, "got str")])
def test_what_has_no_equal_is_named(make: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        fastbp.from_keras(make())


def test_what_is_of_training_alone_is_left_out_with_a_warning() -> None:
    model = keras.Sequential([
        K.Input((4,)), K.Dense(3, name="d", kernel_regularizer="l2", bias_constraint="non_neg"),
        K.BatchNormalization(name="b", gamma_regularizer="l1"), K.ReLU(name="plain"),
        K.Dense(2, name="e", activity_regularizer="l1", kernel_constraint="max_norm")])
    names = ("d: kernel_regularizer, d: bias_constraint, b: gamma_regularizer, "
             "e: activity_regularizer, e: kernel_constraint")
    with pytest.warns(UserWarning) as caught:
        network = fastbp.from_keras(model)
    (warning,) = (w for w in caught if w.category is UserWarning)
    text = str(warning.message)
    listed = text.removeprefix("not taken over: ").partition(". ")[0]
    assert sorted(listed.split(", ")) == sorted(names.split(", "))
    assert "l1=, l2= or max_norm=" in text and warning.filename == __file__
    X = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    close(network.predict(X), run(model, X))


@pytest.mark.parametrize("part", [
    lambda: K.Dense(2, name="d", bias_regularizer="l2"),
    lambda: K.Dense(2, name="d", activity_regularizer="l1"),
    lambda: K.BatchNormalization(name="d", gamma_constraint="non_neg")])
def test_penalties_are_not_said_to_replace_what_they_do_not_reach(part: Any) -> None:
    with pytest.warns(UserWarning, match="not taken over: d: .* training are without$"):
        fastbp.from_keras(keras.Sequential([K.Input((4,)), K.Dense(3), part()]))


def penalty(kernel: Any) -> Any:
    return keras.ops.sum(kernel)


def test_regularizers_that_do_nothing_are_not_warned_of() -> None:
    R = keras.regularizers
    none = R.L1(0.0), R.L2(0.0), R.L1L2(0.0, 0.0), R.OrthogonalRegularizer(0.0)
    fastbp.from_keras(keras.Sequential([K.Input((4,)), *(
        K.Dense(2, kernel_regularizer=r, activity_regularizer=r) for r in none[:3]),
        K.BatchNormalization(gamma_regularizer=none[0]), K.Dense(2, kernel_regularizer=none[3])]))
    for some in R.L1(0.1), R.L1L2(0.0, 0.1), R.OrthogonalRegularizer(0.1), penalty:
        with pytest.warns(UserWarning, match="kernel_regularizer.*: for kernels give fit its"):
            fastbp.from_keras(keras.Sequential([
                K.Input((4,)), K.Dense(2, kernel_regularizer=some)]))


def test_layers_that_share_a_weight_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    d, relu = K.Dense(3, name="d"), K.ReLU()
    one, two = keras.Sequential([d], name="one"), keras.Sequential([d], name="two")
    for parts in ([d, relu, d], [one, one], [one, two]):
        with pytest.raises(ValueError, match="^d is used twice, which has no equivalent"):
            fastbp.from_keras(keras.Sequential([K.Input((3,)), *parts]))
    fastbp.from_keras(keras.Sequential([K.Input((3,)), d, relu, K.Dense(3), relu]))
    model = keras.Sequential([K.Input((3,)), d, K.Dense(3, name="e")])
    monkeypatch.setattr(type(d), "weights", property(lambda _: [d.kernel]))
    with pytest.raises(ValueError, match="^d and e share a weight, which has no equivalent"):
        fastbp.from_keras(model)


def test_what_works_on_each_number_may_stand_before_flatten() -> None:
    model = shaken(before_flatten(K.LeakyReLU(0.2)))
    X = exports.rows(columns=12)
    close(fastbp.from_keras(model).predict(X), run(model, X.reshape(-1, 4, 3)))


def test_layers_of_the_users_own_are_refused() -> None:
    with pytest.raises(TypeError, match="Scale"):
        fastbp.to_keras(fastbp.Network([fastbp.Dense(2, 2), Scale()], "mse"))
    with pytest.raises(TypeError, match="got list"):
        fastbp.to_keras([])  # type: ignore[arg-type]


KL = keras.losses
#: A loss, the activation of the last layer, its equal, and by how much Keras' is smaller.
COMPILED: list[tuple[Any, str, fastbp.Loss, int]] = [
    *((loss, "linear", equal, 1) for equal, *losses in (
        (fastbp.MSELoss(), "mse", "MSE", "mean_squared_error", "MeanSquaredError", ["mse"],
         KL.MeanSquaredError, KL.MeanSquaredError(), KL.mean_squared_error),
        (fastbp.MSELoss("sum"), KL.MeanSquaredError(reduction="sum")),
        (fastbp.MAELoss(), "mae", "mean_absolute_error", KL.MeanAbsoluteError()),
        (fastbp.HuberLoss(), "huber", "Huber", KL.huber),
        (fastbp.HuberLoss(delta=0.3), KL.Huber(0.3), {"last": KL.Huber(0.3)}),
        (fastbp.HingeLoss(), "hinge", KL.Hinge(reduction="mean_with_sample_weight")),
        (fastbp.SoftmaxCrossEntropyLoss(), KL.SparseCategoricalCrossentropy(from_logits=True)),
        (fastbp.SoftmaxCrossEntropyLoss(label_smoothing=0.2),
         KL.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2)))
      for loss in losses),
    (KL.BinaryCrossentropy(from_logits=True, label_smoothing=0.2), "linear",
     fastbp.SigmoidBinaryCrossEntropyLoss(label_smoothing=0.2), 3),
    *((loss, "softmax", fastbp.CrossEntropyLoss(), 1) for loss in (
        "sparse_categorical_crossentropy", "SparseCategoricalCrossentropy", "crossentropy",
        "categorical_crossentropy", KL.CategoricalCrossentropy(axis=1))),
    ("mse", "softmax", fastbp.MSELoss(), 1),
    ("BCE", "softmax", fastbp.BinaryCrossEntropyLoss(), 3),
    (KL.BinaryCrossentropy(label_smoothing=0.4), "sigmoid",
     fastbp.BinaryCrossEntropyLoss(label_smoothing=0.4), 3)]


def compiled(loss: Any, activation: str, units: int = 3) -> Any:
    last = K.Dense(units, activation, name="last")
    model = shaken(keras.Sequential([K.Input((5,)), last]))
    model.compile(loss=loss)
    return model


def same(found: fastbp.Loss, wanted: fastbp.Loss) -> None:
    assert (type(found), found.config()) == (type(wanted), wanted.config())


@pytest.mark.parametrize(("loss", "activation", "equal", "times"), COMPILED,
                         ids=[str(i) for i in range(len(COMPILED))])
def test_the_loss_a_model_is_compiled_with(loss: Any, activation: str, equal: fastbp.Loss,
                                           times: int) -> None:
    model, X = compiled(loss, activation), np.random.default_rng(0).normal(size=(9, 5)) / 4
    labels = np.arange(9) % 3
    network = fastbp.from_keras(model)
    same(network.loss_function, equal)
    if not isinstance(loss, (list, dict)):
        sparse = "sparse" in (loss if isinstance(loss, str) else getattr(loss, "name", "")).lower()
        own = KL.get("categorical_crossentropy" if loss == "crossentropy" else loss)
        T = labels if sparse or loss == "SparseCategoricalCrossentropy" else np.eye(3)[labels]
        # A function's value is one a row: their mean is the loss.
        theirs = float(np.mean(np.asarray(own(T.astype("float32"), model(X.astype("float32"))))))
        ours = network.loss(X, T if T.ndim > 1 else labels)
        assert ours == pytest.approx(times * theirs, rel=1e-5)
    same(fastbp.from_keras(model, loss="l2").loss_function, fastbp.L2Loss())


@pytest.mark.parametrize("loss", ["huber", KL.huber, KL.Huber(), ["huber"]])
def test_the_loss_of_a_model_file(loss: Any, tmp_path: Path) -> None:
    model = compiled(loss, "linear")
    model.optimizer.build(model.trainable_variables)  # else Keras cannot load it
    model.save(tmp_path / "m.keras")
    found = fastbp.from_keras(keras.models.load_model(tmp_path / "m.keras"))
    same(found.loss_function, fastbp.HuberLoss())


@pytest.mark.parametrize("name", ["CE", "ce", "crossentropy"])
def test_crossentropy_of_one_output_is_binary(name: str) -> None:
    found = fastbp.from_keras(compiled(name, "sigmoid", 1)).loss_function
    same(found, fastbp.BinaryCrossEntropyLoss())


def mean_absolute_error(t: Any, y: Any) -> Any:
    """Not Keras', whatever its name."""
    return t - y


class Huber(KL.Huber):
    """Nor is this."""


@pytest.mark.parametrize(("loss", "activation", "default"), [
    ("poisson", "linear", "MSELoss"), (None, "softmax", "CrossEntropyLoss"),
    (mean_absolute_error, "linear", "MSELoss"), (Huber(), "linear", "MSELoss"),
    ("log_cosh", "sigmoid", "BinaryCrossEntropyLoss"),
    (KL.MeanAbsoluteError(reduction=None), "linear", "MSELoss"),
    # Keras scales or cuts off what is not a probability.
    ("categorical_crossentropy", "sigmoid", "BinaryCrossEntropyLoss"),
    ("binary_crossentropy", "linear", "MSELoss"),
    (KL.CategoricalCrossentropy(label_smoothing=1.0), "linear", "MSELoss"),
    (KL.CategoricalCrossentropy(label_smoothing=1.0), "softmax", "CrossEntropyLoss"),
    (KL.CategoricalCrossentropy(from_logits=True, axis=0), "linear", "MSELoss"),
    (KL.SparseCategoricalCrossentropy(from_logits=True, ignore_class=1), "linear", "MSELoss"),
    (KL.BinaryFocalCrossentropy(from_logits=True), "linear", "MSELoss")])
def test_a_compiled_loss_without_equal_leaves_the_default(loss: Any, activation: str,
                                                          default: str) -> None:
    model = compiled(loss, activation)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = fastbp.from_keras(model).loss_function
        fastbp.from_keras(model, loss=default)
    same(found, LOSSES[default]())
    name = loss if isinstance(loss, str) else getattr(loss, "name", getattr(loss, "__name__", ""))
    told = [str(w.message) for w in caught if "not taken over" in str(w.message)]
    assert len(told) == (loss is not None)  # the second network was told which
    assert all(f"the loss {name}. {found!r} is in its place: give loss=" in one for one in told)
