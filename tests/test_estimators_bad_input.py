"""What an estimator refuses is named, and leaves it as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

from sklearn.exceptions import NotFittedError

from fastbp import Callback, EarlyStopping, MLPClassifier, MLPRegressor, Network

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

rng = np.random.default_rng(0)
X, y = rng.normal(size=(60, 4)), np.arange(60) % 3
LABELS = np.stack([y == 0, y > 1, y < 2], axis=1).astype(int)
LABELS[:20] = 0


@pytest.mark.parametrize(("call", "message"), [
    (lambda m: m.partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X, LABELS), "y must have one"),
    (lambda m: m.partial_fit(X, y > 0, classes=[0, 1]).partial_fit(X, LABELS), "y must have one"),
    (lambda m: m.set_params(warm_start=True).fit(X, y).fit(X, LABELS), "y must have one"),
    (lambda m: m.fit(X, y, validation_data=(X, np.eye(3)[y])), r"validation_data\[1\] must have"),
    (lambda m: m.fit(X, LABELS, validation_data=(X, y)), r"validation_data\[1\] must have 3 col"),
    (lambda m: m.fit(X, y, validation_data=(X, y + 1)), r"validation_data\[1\] has classes \[3\]"),
    (lambda m: m.partial_fit(X, LABELS, classes=[0, 1, 2]).partial_fit(X, y), "y must have 3 col"),
])
def test_several_labels_are_not_for_one_class_a_row(call: Callable[[Any], Any],
                                                   message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(MLPClassifier((4,), max_iter=2, random_state=0))


@pytest.mark.parametrize("fitted", [True, False], ids=["fitted", "new"])
@pytest.mark.parametrize(("parameters", "call", "message"), [
    ({}, lambda m: m.fit(X, y + 1, sample_weight=np.zeros(60)), "sample_weight is zero"),
    ({}, lambda m: m.fit(X[:, :3], y, sample_weight=np.ones(3)), "sample_weight must have"),
    ({"class_weight": 3}, lambda m: m.fit(X, y + 1), "class_weight must be a dict"),
    ({"loss": "L2Loss"}, lambda m: m.fit(X, LABELS), "does not fit"),
    ({"random_state": "x"}, lambda m: m.fit(X, y + 1), "seed"),
    ({"hidden_layer_sizes": (4, -1)}, lambda m: m.fit(X, y), "hidden_layer_sizes"),
    ({"early_stopping": True}, lambda m: m.fit(X[:5], y[:5]), "validation set is too small"),
    ({"batch_norm": True, "batch_size": 1}, lambda m: m.fit(X, y),
     "batch_size must be at least 2 for batch_norm=True, .*, got 1"),
    ({"matmul_precision": "low"}, lambda m: m.fit(X, y), "matmul_precision must be one of"),
    ({"callbacks": None}, lambda m: m.fit(X, y), "callbacks must be a sequence .* got None"),
    ({"callbacks": [3]}, lambda m: m.fit(X, y), "callbacks must hold Callback objects, got 3"),
    ({"callbacks": [print]}, lambda m: m.fit(X, y), "got <built-in function print>: give a .*Lam"),
    ({"callbacks": iter([])}, lambda m: m.fit(X, y), "callbacks must be a sequence .* got <"),
    ({}, lambda m: m.fit(X, y, validation_data=(X, y[:5])), "inconsistent numbers"),
    ({}, lambda m: m.fit(X, y, validation_data=(X,)), "validation_data must be a pair"),
    ({"solver": "lbfgs"}, lambda m: m.fit(X, y, validation_data=(X, y)), "not lbfgs"),
    ({"solver": "lbfgs"}, lambda m: m.fit(X, y, X_val=X, y_val=y), "^X_val, y_val: .*not lbfgs"),
    ({}, lambda m: m.fit(X, y, validation_data=(X, y), y_val=y), r"not both: got \['y_val'\]"),
    ({}, lambda m: m.fit(X, y, X_val=X), r"X_val and y_val go together, got \['X_val'\] alone"),
    ({}, lambda m: m.fit(X, y, y_val=y), r"X_val and y_val go together, got \['y_val'\] alone"),
    ({}, lambda m: m.fit(X, y, sample_weight_val=y), r"got \['sample_weight_val'\] alone"),
    ({}, lambda m: m.fit(X, y, X_val=X[:, :3], y_val=y), "^X_val, y_val: X has 3 features"),
    ({}, lambda m: m.fit(X, y, X_val=X, y_val=y + 1), r"^y_val has classes \[3\]"),
    ({}, lambda m: m.fit(X, y, X_val=X, y_val=y, sample_weight_val=-y),
     "^sample_weight_val must be"),
    ({}, lambda m: m.partial_fit(X, y, -np.ones(60), [0, 1, 2]), "sample_weight must be"),
    ({"class_weight": {0: 0.0}}, lambda m: m.partial_fit(
        X[y == 0], y[y == 0], classes=[0, 1, 2]), "sample_weight times class_weight is zero"),
    ({"class_weight": {7: 0.0}, "solver": "lbfgs"}, lambda m: m.fit(X, np.full(60, 7)),
     "sample_weight times class_weight is zero"),
    ({"early_stopping": True}, lambda m: m.fit(X, y, np.arange(60) == 5),
     "sample_weight of the rows held out by early_stopping is zero"),
    ({"early_stopping": True, "random_state": 1}, lambda m: m.fit(X, y, np.arange(60) == 5),
     "sample_weight of the rows .*held out by early_stopping is zero"),
    ({"callbacks": [EarlyStopping("val_los")]}, lambda m: m.fit(
        X, y + 1, validation_data=(X, y + 1)), "val_los.*val_accuracy"),
    ({"callbacks": [EarlyStopping("val_loss")], "matmul_precision": "medium"},
     lambda m: m.partial_fit(X, y, classes=[0, 1, 2]), "val_loss"),
])
def test_what_is_refused_leaves_the_estimator_as_it_was(
        parameters: dict[str, Any], call: Callable[[Any], Any], message: str,
        fitted: bool) -> None:
    model = MLPClassifier((4,), max_iter=2, random_state=0)
    if fitted:
        model.fit(X, y)
        expected = model.predict_proba(X)
    model.set_params(**parameters)
    before = vars(model).copy()
    with pytest.raises((ValueError, TypeError), match=message):
        call(model)
    assert vars(model).keys() == before.keys()
    assert all(value is before[name] for name, value in vars(model).items())
    if fitted:
        np.testing.assert_array_equal(model.predict_proba(X), expected)


@pytest.mark.parametrize("parameters", [
    {"alpha": 1e39, "dtype": "float32"}, {"clip_norm": 1e39, "dtype": "float32"},
    {"epsilon": 1e-60, "dtype": "float32"}, {"callbacks": [EarlyStopping("val_loss")]},
    {"early_stopping": True, "validation_fraction": 0.999}, {"hidden_layer_sizes": (4, -1)}])
def test_what_is_refused_draws_nothing_from_the_users_generator(parameters: dict[str, Any]
                                                                ) -> None:
    own, twin = np.random.RandomState(0), np.random.RandomState(0)
    model = MLPClassifier((4,), max_iter=2, random_state=own).set_params(**parameters)
    with pytest.raises(ValueError, match=r"."):
        model.fit(X, y)
    assert own.randint(2**31 - 1) == twin.randint(2**31 - 1)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_the_users_generator_stays_where_training_that_began_left_it(error: Any) -> None:
    class Ends(Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> bool | None:
            raise error

    own, twin = np.random.RandomState(0), np.random.RandomState(0)
    model = MLPClassifier((4,), max_iter=2, random_state=own, callbacks=[Ends()])
    with pytest.warns(UserWarning, match="interrupted") if error is KeyboardInterrupt else (
            pytest.raises(error)):
        model.fit(X, y)
    assert model.network_.params.any()
    assert own.randint(2**31 - 1) != twin.randint(2**31 - 1)


class Failing(Callback):
    def on_train_begin(self, network: Network, epochs: int, n_samples: int) -> None:
        raise OSError("no space")


class Failed:
    """A callback of scikit-learn's protocol that fails as it begins."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def setup(self, estimator: Any, context: Any) -> None:
        self.heard.append("setup")

    def teardown(self, estimator: Any, context: Any) -> None:
        self.heard.append("teardown")

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        raise OSError("no space")

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        self.heard.append("end")


@pytest.mark.parametrize(("method", "solver", "scikit"), [
    ("fit", "adam", False), ("fit", "adam", True), ("fit", "lbfgs", True),
    ("partial_fit", "adam", False), ("partial_fit", "adam", True)])
@pytest.mark.parametrize("before", ["new", "fitted", "warm"])
def test_a_callback_that_fails_as_it_begins_leaves_the_estimator_as_it_was(
        method: str, before: str, solver: str, scikit: bool) -> None:
    model, failed = MLPClassifier((4,), max_iter=2, solver=solver, random_state=0), Failed()
    if before != "new":
        model.fit(X, y)
    if scikit:
        pytest.importorskip("sklearn.callback")
        model.set_callbacks(failed)
    else:
        model.set_params(callbacks=[Callback(), Failing()])
    model.set_params(warm_start=before == "warm")
    if solver != "lbfgs":
        model.set_params(matmul_precision="medium")
    was, kept = vars(model).copy(), [] if before == "new" else [*model.network_.params]
    with pytest.raises(OSError, match="no space"):
        getattr(model, method)(X, y, **({"classes": [0, 1, 2]} if method != "fit" else {}))
    assert vars(model).keys() == was.keys()
    assert all(value is was[name] for name, value in vars(model).items())
    assert failed.heard == (["setup", "teardown"] if scikit else [])
    if before == "new":
        with pytest.raises(NotFittedError):
            model.predict(X)
    else:
        assert kept == [*model.network_.params]
        assert model.network_.matmul_precision == "highest"


@pytest.mark.parametrize("labels", [("a", "b"), (10, 20)])
@pytest.mark.parametrize("weight", [-1.0, np.inf, "heavy"])
def test_a_weight_that_no_class_can_have_is_named_by_its_class(labels: Any, weight: Any) -> None:
    named = np.asarray(labels)[np.arange(60) % 2]
    with pytest.raises((ValueError, TypeError), match=rf"class_weight\[{labels[1]!r}\] must be"):
        MLPClassifier(class_weight={labels[1]: weight}).fit(X, named)


def test_a_class_weight_that_names_some_classes_and_others_is_refused() -> None:
    with pytest.raises(ValueError, match=r"names \[7\], not in y's \[0 1 2\]"):
        MLPClassifier(class_weight={0: 2.0, 7: 2.0}).fit(X, y)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: MLPClassifier().fit(X, y, np.full(60, np.nan)), r"sample_weight holds nan at \(0,\)"),
    (lambda: MLPRegressor(dtype="float32").fit(X, np.full(60, 1e200)), r"y holds inf at \(0, 0\)"),
    (lambda: MLPRegressor(dtype="float32").fit(X, y, validation_data=(X, np.full(60, 1e200))),
     r"validation_data\[1\] holds inf"),
    (lambda: MLPRegressor("poisson").fit(X, y, validation_data=(X, -y)),
     r"^validation_data\[1\] must be at least 0 for loss='poisson', got -2"),
    (lambda: setattr(MLPRegressor(hidden_layer_sizes=(), max_iter=1).fit(X, y), "coefs_",
                     [np.full((4, 1), np.nan)]), r"coefs_\[0\] holds nan at \(0, 0\)"),
])
def test_advice_is_of_what_there_is(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "allow_nonfinite" not in str(error.value)


@pytest.mark.parametrize(("data", "message"), [
    ((np.full((60, 4), np.nan), y), "Input X contains NaN"),
    ((X, np.where(y == 1, np.nan, y)), "Input y contains NaN"),
    ((X[:, :3], y), "X has 3 features"),
    ((X[:0], y[:0]), r"Found array with 0 sample\(s\)"),
    ((X, None), "requires y to be passed"),
])
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_an_error_in_validation_data_says_so(kind: Any, data: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^validation_data: .*{message}"):
        kind(max_iter=2).fit(X, y, validation_data=data)
