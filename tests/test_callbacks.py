"""Callbacks: stopping, learning rates."""

from __future__ import annotations

import copy
import functools
import pickle
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp.callbacks import (
    Callback,
    Checkpoint,
    CSVLog,
    EarlyStopping,
    Lambda,
    PrintEpoch,
    ReduceOnPlateau,
    StopOnNaN,
    TimeLimit,
)
from fastbp.callbacks.base import more_is_better
from fastbp.engine import EPOCH
from fastbp.job import Job
from fastbp.metrics import METRICS
from fastbp.plot.curves import best_epoch

from .builders import Figures, StopAt, classifier, clusters


def stopped_after(values: list[float], **arguments: Any) -> tuple[int, EarlyStopping]:
    hook = EarlyStopping("figure", **{"mode": "min"} | arguments)
    X, T = clusters(32)
    history = classifier().fit(X, T, epochs=len(values), callbacks=[Figures(values), hook])
    return len(history["loss"]), hook


def test_early_stopping_counts_epochs_without_progress() -> None:
    values = [5.0, 4, 4.5, 4.2, 3.9, 4, 4, 4, 4, 4]
    assert stopped_after(values, patience=2)[0] == 8  # 3.9, then three in a row
    assert stopped_after(values, patience=1)[0] == 4
    assert stopped_after(values, patience=1, start_epoch=5)[0] == 7
    assert stopped_after(values, patience=3, min_delta=0.5)[0] == 6  # 3.9 is no progress
    assert stopped_after([1.0] * 9, patience=2)[0] == 4  # nor is the same again
    assert stopped_after([3.0, 2, 2, 2], patience=1, min_delta=1.0)[0] == 3
    assert stopped_after([-v for v in values], patience=2, mode="max")[0] == 8
    epochs, hook = stopped_after(values, patience=9)
    assert (epochs, hook.best_epoch, hook.stopped) == (10, 4, False)
    for more in ("val_accuracy", "val_r2", "val_precision", "recall", "f1", "val_roc_auc"):
        assert EarlyStopping(more).sign == EarlyStopping(more, mode="max").sign == 1
        assert EarlyStopping(more, mode="min").sign == -1
    assert EarlyStopping("val_loss").sign == EarlyStopping("val_mae").sign == -1
    with pytest.raises(ValueError, match=r"monitor='nothing' is not among .*samples_per_s"):
        classifier().fit(*clusters(32), epochs=1, callbacks=[EarlyStopping("nothing")])


MORE_IS_BETTER = dict.fromkeys(METRICS, True) | dict.fromkeys(
    ("log_loss", "mse", "rmse", "mae"), False) | {
    "loss": False, "val_loss": False, "learning_rate": None, "samples_per_s": None, "gap": None,
    "err2": False, "val_err2": False, "error2": False, "mean_error": False, "err": False,
    "val_precision_loss": False, "accuracy_error": False, "mean_poisson_deviance": False,
    "precision": True, "val_recall": True, "Top5_Accuracy": True, "f1_score": True,
    "neg_log_loss": True, "val_neg_mean_squared_error": True, "d2_absolute_error_score": True,
    "elf1": None, "": None,
    "score": True, "val_auroc": True, "pr_ap": True, "val_map50": True, "cohen_kappa": True,
    "val_mcc": True, "mean_iou": True, "dice": True, "bleu4": True, "explained_variance": True,
    "cosine_similarity": True, "ndcg": True, "brier_score": False, "neg_brier_score": True,
    "val_perplexity": False, "cosine_distance": False, "kl_divergence": False, "rate": None}


@pytest.mark.parametrize(("figure", "more"), MORE_IS_BETTER.items())
def test_the_words_of_its_name_tell_whether_more_of_a_figure_is_better(
        figure: str, more: bool | None) -> None:
    assert more_is_better(figure) is more
    for hook in (EarlyStopping(figure), ReduceOnPlateau(figure)):
        assert hook.sign == (1 if more else -1)
    best = {True: 2, False: 1, None: None}[more]
    assert best_epoch({f"val_{figure}": np.array([0.5, 0.25, 0.75])}, figure) == best


@pytest.mark.parametrize("kind", [EarlyStopping, ReduceOnPlateau])
@pytest.mark.parametrize("first", [[], [Lambda(lambda epoch, logs: None)]], ids=len)
def test_a_figure_whose_name_does_not_tell_needs_a_mode(kind: Any, first: list[Any]) -> None:
    """Or the worst epoch of one that grows would be the best."""
    def gap(T: Any, Y: Any) -> float:
        return float(len(T))

    (X, T), net = clusters(64), classifier()
    before = net.params.copy()
    more: dict[str, Any] = {"epochs": 2, "metrics": [gap], "validation_data": (X, T)}
    for fit in net.fit, lambda X, T, **more: fastbp.fit_stream(net, [(X, T)], **more):
        for figure in "val_gap", "samples_per_s":
            with pytest.raises(ValueError, match=f"monitor='{figure}' does not tell .* "
                                                 'give mode="min" or mode="max"'):
                fit(X, T, callbacks=[*first, kind(figure)], **more)
    assert (net.params == before).all() and net.last_run is None
    for mode, sign in ("min", -1), ("max", 1):
        hook = kind("val_gap", mode=mode)
        net.fit(X, T, callbacks=[*first, hook], **more)
        assert hook.best == sign * 64


def test_a_function_may_add_the_figure_to_follow() -> None:
    add = Lambda(lambda epoch, logs: logs.update(figure=epoch))
    history = classifier().fit(*clusters(32), epochs=9,
                               callbacks=[add, EarlyStopping("figure", patience=1, mode="min")])
    assert len(history["loss"]) == 3


def test_figures_that_a_callback_adds_are_in_the_history(tmp_path: Path) -> None:
    (X, T), path, log = clusters(64), tmp_path / "run.st", tmp_path / "log.csv"

    def add(epoch: int, logs: dict[str, Any]) -> None:
        if epoch != 2:
            logs["norm"] = np.float32(epoch)
        if epoch % 2:
            logs["odd"] = epoch
        logs |= {"said": "no number", "loss": -1.0}  # its own figures stay as they are

    def fit(epochs: int, **more: Any) -> fastbp.History:
        return classifier().fit(X, T, epochs=epochs, callbacks=[
            Checkpoint(path), Lambda(add), CSVLog(log)], **more)

    found = fit(3)
    assert [*found][3:] == ["norm", "odd"] and min(found["loss"]) > 0
    assert found["norm"] == [0.0, 1.0] and np.isnan(found["odd"][0]) and found["odd"][1] == 1.0
    assert all(type(x) is float for x in found["norm"])
    assert "norm" in log.read_text()
    found = fit(4, resume=path)  # the checkpoint has them too
    np.testing.assert_array_equal(found["norm"], [0.0, 1.0, np.nan, 3.0])
    np.testing.assert_array_equal(found["odd"], [np.nan, 1.0, np.nan, 3.0])
    assert {*map(len, found.values())} == {4}


def test_figures_are_what_float_takes(capsys: pytest.CaptureFixture[str]) -> None:
    taken = {"array": np.array(3.5), "flag": np.bool_(True), "int": np.int64(2),
             "fraction": Fraction(1, 4)}
    left = {"huge": 10**400, "text": "7", "bytes": b"7", "row": np.array([1.0]), "none": None,
            "complex": 1j, "list": [1.0], "complexes": np.complex128(1j), "word": np.array("3"),
            "masked": np.ma.masked}
    if torch := sys.modules.get("torch"):
        taken["tensor"], left["tensors"] = torch.tensor(1.5), torch.ones(2)
    found = classifier().fit(*clusters(64), epochs=2, callbacks=[
        Lambda(lambda epoch, logs: logs.update(taken | left)), PrintEpoch()])
    assert {name: found[name] for name in [*found][3:]} == {
        name: [float(value)] * 2 for name, value in taken.items()}
    own = "tensor 1.5  " * bool(torch)
    assert f"array 3.5  flag 1  int 2  fraction 0.25  {own}huge 1000" in capsys.readouterr().out


def test_figures_added_before_another_callback_fails_are_in_the_history() -> None:
    (X, T), net = clusters(64), classifier()

    def fail(epoch: int, logs: dict[str, float]) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        net.fit(X, T, callbacks=[Lambda(lambda epoch, logs: logs.update(mine=1.0)), Lambda(fail)])
    assert net.last_run is not None and net.last_run.history["mine"] == [1.0]


def test_the_best_epoch_before_a_checkpoint_is_the_best_of_the_resumed_run(
        tmp_path: Path) -> None:
    (X, T), path, best = clusters(64), tmp_path / "run.st", classifier()
    best.fit(X, T, epochs=2)
    values = [2.0, 1, 3, 3, 3, 3, 3]
    for epochs, options in ((3, {}), (7, {"resume": path})):
        hook, net = EarlyStopping("figure", patience=9, mode="min"), classifier()
        net.fit(X, T, epochs=epochs, callbacks=[Figures(values), hook, Checkpoint(path)],
                **options)
        assert hook.best_epoch == 1
        np.testing.assert_array_equal(net.params, best.params)


def test_the_best_of_another_fit_is_forgotten() -> None:
    X, T = clusters(64)
    hook, net, plain = EarlyStopping("figure", mode="min"), classifier(), classifier()
    classifier(seed=1).fit(X, T, epochs=1, callbacks=[Figures([1.0]), hook])
    net.fit(X, T, epochs=1, callbacks=[Figures([np.nan]), hook])  # none is the best
    plain.fit(X, T, epochs=1)
    assert hook.best_epoch == -1
    np.testing.assert_array_equal(net.params, plain.params)


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_early_stopping_restores_the_best(average: float) -> None:
    X, T = clusters(64)
    best = classifier()
    best.fit(X, T, epochs=3, average=average)
    values = [3.0, 2, 1, 2, 2, 2, 2]
    for restore in (True, False):
        net = classifier()
        net.fit(X, T, epochs=7, average=average, callbacks=[
            Figures(values), EarlyStopping("figure", 1, mode="min", restore_best=restore)])
        assert np.array_equal(net.params, best.params) == restore


def test_plateaus_lower_the_rate() -> None:
    X, T = clusters(32)
    plateau = functools.partial(ReduceOnPlateau, "figure", mode="min")
    values = [1.0, 2, 2, 2, 2, 2, 2, 2]
    history = classifier().fit(X, T, epochs=8, optimizer=fastbp.SGD(1.0), callbacks=[
        Figures(values), plateau(patience=1, factor=0.5, cooldown=1)])
    # epochs 2 and 3 disappoint; one of rest, then two more
    assert history["learning_rate"] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]
    history = classifier().fit(X, T, epochs=8, optimizer=fastbp.SGD(1.0), callbacks=[
        Figures([1.0, 2, 2, 0.5, 2, 2, 2, 2]),
        plateau(patience=0, factor=0.5, cooldown=3)])
    # three of rest, whatever progress there is among them
    assert history["learning_rate"] == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]
    history = classifier().fit(X, T, epochs=8, optimizer=fastbp.SGD(1.0), callbacks=[
        Figures(values), plateau(patience=0, factor=0.1, minimum=0.05)])
    assert history["learning_rate"][-1] == pytest.approx(0.05)
    history = classifier().fit(X, T, epochs=8, optimizer=fastbp.SGD(1.0), callbacks=[
        Figures(values), plateau(patience=0, factor=0.1),
        plateau(patience=1, factor=0.5, minimum=0.5)])
    assert (np.diff(history["learning_rate"]) <= 0).all()


def test_a_rate_once_lowered_stays_so_in_the_next_fit() -> None:
    (X, T), net = clusters(32), classifier()
    net.fit(X, T, epochs=1, optimizer=fastbp.SGD(0.5))
    assert net.last_run is not None
    net.last_run.rate_scale = 0.25
    history = net.fit(X, T, epochs=2, optimizer=fastbp.SGD(0.5), warm_start=True)
    assert history["learning_rate"] == [0.125] * 2


def test_time_limit_and_functions_stop() -> None:
    X, T = clusters(2000)
    history = classifier().fit(X, T, epochs=10**6, batch_size=8, callbacks=[TimeLimit(0.2)])
    assert 1 <= len(history["loss"]) < 10**6
    history = classifier().fit(X, T, epochs=9, callbacks=[Lambda(lambda e, logs: e == 2)])
    assert len(history["loss"]) == 3
    net, never, later, told = classifier(), Callback(), Callback(), list[int]()
    before = net.params.copy()
    never.on_train_begin = lambda *_: True  # type: ignore[method-assign]
    later.on_train_begin = lambda *_: told.append(1)  # type: ignore[method-assign]
    assert not net.fit(X, T, epochs=9, callbacks=[never, later]) and told
    np.testing.assert_array_equal(net.params, before)


def test_a_run_that_a_callback_refuses_is_over() -> None:
    """The callbacks before it, which keep the run, keep no rows with it."""
    class Told(Callback):
        def __init__(self) -> None:
            self.events = list[str]()

        def on_train_begin(self, *_: Any) -> None:
            self.events.append("begin")

        def on_train_end(self) -> None:
            self.events.append("end")

    told, never, after, net = Told(), Callback(), Told(), classifier()

    def refuse(*_: Any) -> None:
        raise RuntimeError("not this one")

    never.on_train_begin = refuse  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="not this one"):
        net.fit(*clusters(), callbacks=[told, never, after])
    assert not told.run.X.size and net.last_run is None
    assert (told.events, after.events) == (["begin", "end"], [])
    hook, schedule = Told(), fastbp.schedules.Function(refuse)
    with pytest.raises(RuntimeError, match="not this one"):  # before callbacks have done anything
        net.fit(*clusters(), optimizer=fastbp.SGD(schedule), callbacks=[hook])
    assert not hook.events


def test_a_time_limit_is_of_each_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    now, hook = [0.0], TimeLimit(10)
    monkeypatch.setattr("fastbp.callbacks.stopping.time",
                        SimpleNamespace(monotonic=lambda: now[0]))

    def wait(*_: Any) -> None:
        now[0] += 4

    for _ in range(2):  # reached at the end of the steps of the fourth epoch
        history = classifier().fit(*clusters(32), epochs=9, callbacks=[Lambda(wait), hook])
        assert len(history["loss"]) == 4


@pytest.mark.parametrize("shuffle", [False, True])
def test_the_loss_of_a_part_of_an_epoch_is_of_its_rows(shuffle: bool) -> None:
    X, T = clusters(100)
    weights = np.where(np.arange(100) < 50, 1.0, 100.0)
    net = classifier("float64")
    start, seen = net.params.copy(), list[int]()

    class First(StopAt):
        def on_chunk_end(self, epoch: int, samples: int) -> bool:
            seen.extend(self.run.order[:samples].tolist())
            return True

    history = net.fit(X, T, batch_size=20, shuffle=shuffle, sample_weight=weights,
                      callbacks=[First(1)])
    net.params[...] = start
    expected = net.loss(X[seen], T[seen], sample_weight=weights[seen])
    assert len(seen) == 20
    assert history["loss"] == [pytest.approx(expected)]
    history = net.fit(X, T, batch_size=20, shuffle=False, sample_weight=weights - 1,
                      callbacks=[First(1)])
    assert history["loss"] == [0]  # rows without a weight
    net.params[...] = start
    history = net.fit(X, T, batch_size=20, shuffle=False, callbacks=[First(1)])
    net.params[...] = start
    assert history["loss"] == [pytest.approx(net.loss(X[:20], T[:20]))]


def test_divergence_goes_back_to_the_last_good_epoch() -> None:
    X, T = clusters(64)
    net, good = classifier(), classifier()
    good.fit(X, T, epochs=2, optimizer=fastbp.SGD(0.1))

    class Spoil(Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            if epoch == 2:
                self.run.network.params[0] = np.nan

    hook = StopOnNaN()
    with pytest.warns(RuntimeWarning, match="training diverged"):
        history = net.fit(X, T, epochs=9, optimizer=fastbp.SGD(0.1), callbacks=[Spoil(), hook])
    assert len(history["loss"]) == 3
    np.testing.assert_array_equal(net.params, good.params)
    assert len(net.fit(X, T, epochs=3, callbacks=[hook])["loss"]) == 3


def test_large_parameters_are_no_divergence_as_long_as_each_is_finite() -> None:
    (X, T), net = clusters(64), classifier("float32")
    X[:, 0] = 0
    net.layers[0].weight[:2, 0] = 3e38  # whose sum float32 does not hold
    assert len(net.fit(X, T, epochs=3, callbacks=[StopOnNaN()])["loss"]) == 3
    assert (net.layers[0].weight[:2, 0] == np.float32(3e38)).all()


def test_held_out_labels_that_a_callback_writes_are_looked_at_again() -> None:
    (X, T), (rows, labels) = clusters(64), clusters(20)

    def spoil(epoch: int, logs: dict[str, float]) -> None:
        labels[0] = 4

    with pytest.raises(ValueError, match="label 4"):
        classifier().fit(X, T, epochs=3, validation_data=(rows, labels),
                         callbacks=[fastbp.callbacks.Lambda(spoil)])


def test_labels_that_a_callback_writes_are_looked_at_again() -> None:
    X, T = clusters(64)
    net = classifier()
    held: list[np.ndarray] = []

    def spoil(epoch: int, logs: dict[str, float]) -> None:
        held.append(net.params.copy())
        T[0] = 10**10 if epoch == 1 else T[0]

    with pytest.raises(ValueError, match="T.*10000000000"):
        net.fit(X, T, epochs=3, callbacks=[fastbp.callbacks.Lambda(spoil)])
    assert len(held) == 2
    np.testing.assert_array_equal(net.params, held[-1])
    X, T = clusters(64)

    def written(truth: Any, output: Any) -> float:
        spoil(1, {})
        return 0.0

    with pytest.raises(ValueError, match="T.*10000000000"):
        net.fit(X, T, epochs=3, metrics=[written])
    np.testing.assert_array_equal(net.params, held[-1])


def test_labels_written_within_an_epoch_are_looked_at_before_their_steps() -> None:
    X, T = clusters(64)
    net = classifier(seed=1)
    held: list[np.ndarray] = []

    class Spoil(StopAt):
        def on_chunk_end(self, epoch: int, samples: int) -> bool:
            super().on_chunk_end(epoch, samples)
            held.append(net.params.copy())
            T[self.run.order[-1]] = -7  # of the last batch of the epoch
            assert self.run.order[-1] < 48  # not among the last as they were given
            return False

    with pytest.raises(ValueError, match="T holds label -7"):
        net.fit(X, T, epochs=3, batch_size=16, callbacks=[Spoil(99)])
    assert len(held) == 3
    np.testing.assert_array_equal(net.params, held[-1])


def fit_network(hooks: Any) -> None:
    classifier().fit(*clusters(64), epochs=1, callbacks=hooks)


def fit_estimator(hooks: Any) -> None:
    pytest.importorskip("sklearn")
    fastbp.MLPRegressor(hidden_layer_sizes=(), batch_size=8, max_iter=1, tol=0, callbacks=hooks,
                        early_stopping=False).partial_fit(*clusters(64))


@pytest.mark.parametrize("fit", [fit_network, fit_estimator])
def test_a_hook_that_nothing_calls_is_warned_of_once(fit: Any) -> None:
    class Other:
        """Of another library."""

        def on_request(self) -> None:
            """Not for fit."""

    class Batches(Callback, Other):
        on_colour = "red"

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            """As Keras calls it."""

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            """As Keras calls it."""

    class Below(Batches):
        """Has them from above."""

    for kind in (Batches, Below):
        with pytest.warns(UserWarning, match="never calls") as caught:
            fit([kind(), kind()])
        (warning,) = caught
        assert str(warning.message).startswith(
            f"{kind.__name__} has on_epoch_begin, on_train_batch_end, which fit never calls: the "
            "hooks of a Callback are on_train_begin, on_chunk_end, on_epoch_end, on_last_step, "
            "on_train_end.")
        fit([kind()])  # known by now


def test_callbacks_may_come_one_by_one() -> None:
    seen: list[int] = []
    hooks = (Lambda(lambda epoch, logs, k=k: seen.append(k)) for k in (1, 2))
    classifier().fit(*clusters(32), epochs=2, callbacks=hooks)  # type: ignore[arg-type]
    assert seen == [1, 2, 1, 2]


def test_every_hook_hears_of_an_epoch_whatever_another_raises() -> None:
    X, T = clusters(64)
    heard: list[int] = []

    class Fails(Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            raise ZeroDivisionError

    class Hears(Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            heard.append(epoch)

    with pytest.raises(ZeroDivisionError):
        classifier().fit(X, T, epochs=3, callbacks=[Fails(), Hears()])
    assert heard == [0]


def test_a_start_that_fails_leaves_network_and_callbacks(tmp_path: Path) -> None:
    X, T = clusters(64)
    path, data = tmp_path / "run", {"validation_data": clusters(64)}
    net = classifier()
    net.fit(X, T, epochs=3, average=0.9)
    before = net.params.copy()
    with pytest.raises(FileNotFoundError):
        net.fit(X, T, epochs=3, average=0.9, warm_start=True, resume=tmp_path / "none")
    np.testing.assert_array_equal(net.params, before)
    classifier().fit(X, T, epochs=3, callbacks=[EarlyStopping(), Checkpoint(path)], **data)
    stopping, nowhere = EarlyStopping(), CSVLog(tmp_path / "no" / "log.csv")
    for hooks in [stopping, nowhere], [nowhere, stopping]:
        with pytest.raises(FileNotFoundError):
            net.fit(X, T, epochs=5, resume=path, callbacks=hooks, **data)
        np.testing.assert_array_equal(net.params, before)
    net.fit(X, T, epochs=1, callbacks=[stopping], **data)
    assert stopping.best_epoch == 0


@pytest.mark.parametrize(("make", "error"), [
    (lambda: EarlyStopping(3), TypeError), (lambda: EarlyStopping(patience=-1), ValueError),
    (lambda: EarlyStopping(mode="best"), ValueError),
    (lambda: EarlyStopping(restore_best=1), TypeError),
    (lambda: ReduceOnPlateau(factor=1.0), ValueError), (lambda: TimeLimit(0), ValueError),
    (lambda: Lambda(3), TypeError), (lambda: Checkpoint("a", keep="some"), ValueError),
    (lambda: Checkpoint("a", every=0), ValueError), (lambda: Checkpoint(3), TypeError),
    (lambda: CSVLog(3), TypeError),
    (lambda: Checkpoint("a", keep="all"), ValueError)])
def test_bad_arguments(make: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="got "):
        make()


@pytest.mark.parametrize("average", [0.0, 0.9])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda n: pickle.loads(
    pickle.dumps(n))], ids=["copy", "deepcopy", "pickle"])
def test_a_copy_made_amid_a_fit_goes_on_with_the_same_bits(copied: Any, streamed: bool,
                                                           average: float) -> None:
    """In a first fit and one that goes on; at the end of an epoch and in its validation, when the
    network has the averages; with one set of parameters and with one for each thread."""
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(400, 10)), rng.integers(0, 3, 400)
    net = fastbp.Network([fastbp.Dense(10, 45), fastbp.ReLU(), fastbp.Dense(45, 3)],
                         "SoftmaxCrossEntropyLoss")
    taken = list[fastbp.Network]()

    class Halves(Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            self.run.rate_scale /= 2

    def fit(net: fastbp.Network, epochs: int, metric: Any, *hooks: Any) -> fastbp.History:
        options: dict[str, Any] = {
            "batch_size": 128, "average": average, "n_threads": 2, "epochs": epochs,
            "warm_start": True, "metrics": [metric], "validation_data": (X, T),
            "callbacks": [Halves(), *hooks]}
        return (fastbp.fit_stream(net, [(X, T)], **options) if streamed
                else net.fit(X, T, **options))

    def take(*_: Any) -> float:
        if len(taken) < 4:
            taken.append(copied(net))
        return 0.0

    for _ in range(2):
        taken.clear()
        told = fit(net, 4, take, Lambda(take))  # in each of two epochs, two
        rates = told["learning_rate"]
        assert net.last_run is not None and rates[0] > rates[3]
        shown = [np.array(own.params) for own in taken]
        assert (shown[2] == shown[3]).all() == (average == 0)  # as its callbacks see the network
        for k in (1, 3):  # the lower rate is known
            one, done = taken[k], (1, 1, 2, 2)[k]
            run = one.last_run
            assert run is not None and not run.X.size
            assert run.history["loss"] == told["loss"][:done]
            fit(one, 4 - done, "accuracy")
            assert one.last_run is not None and one.last_run is not run
            assert one.params.tobytes() == net.params.tobytes()
            for name in ("slots", "average", "cursor"):
                own, other = getattr(one.last_run, name), getattr(net.last_run, name)
                assert own.tobytes() == other.tobytes(), name
        one = taken[2]
        assert one.last_run is not None
        one.last_run.rate_scale /= 2  # as the callback did after the validation
        fit(one, 2, "accuracy")
        assert one.params.tobytes() == net.params.tobytes()


@pytest.mark.parametrize("warm", [False, True])
def test_a_copy_made_before_the_first_step_is_trained_by_any_optimizer(warm: bool) -> None:
    """As those of target networks and teachers are."""
    (X, T), net = clusters(64), classifier()
    if warm:
        net.fit(X, T, epochs=1, optimizer="sgd")
    before = net.last_run

    class Target(Callback):
        def on_train_begin(self, network: fastbp.Network, epochs: int, n_samples: int) -> None:
            assert copy.copy(network).last_run is before
            self.target = copy.deepcopy(network)

        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            self.target.partial_fit(X, T, optimizer="sgd")

    hook = Target()
    net.fit(X, T, epochs=2, callbacks=[hook])
    assert hook.target.last_run is not None
    assert hook.target.last_run.cursor[EPOCH] == 2 + warm


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_fit_that_fails_before_its_first_epoch_is_ended(error: type[BaseException]) -> None:
    (X, T), net = clusters(64), classifier()

    class Fails(EarlyStopping):
        ended = False

        @property
        def stopped(self) -> bool:
            raise error("not today")

        @stopped.setter
        def stopped(self, value: bool) -> None:
            pass

        def on_train_end(self) -> None:
            self.ended = True

    hook = Fails("loss")
    with pytest.raises(error, match="not today"):
        net.fit(X, T, epochs=1, callbacks=[hook])
    assert hook.ended and net._running is None and not hook.run.X.size
    net.partial_fit(X, T)
    assert copy.copy(net).last_run is net.last_run


def test_a_copy_after_a_fit_within_the_fit_has_the_state_of_the_outer_one() -> None:
    (X, T), net = clusters(64), classifier()
    taken = list[fastbp.Network]()

    class Rehearses(Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            with pytest.raises(RuntimeError, match="never"):
                net.fit(X, T, optimizer="sgd", callbacks=[Lambda(fails)])
            net.partial_fit(X[:32], T[:32], optimizer="sgd")
            taken.append(copy.deepcopy(net))

    def fails(*_: Any) -> None:
        raise RuntimeError("never")

    net.fit(X, T, epochs=2, callbacks=[Rehearses()])
    net.fit(X, T, epochs=1, warm_start=True)
    taken[1].fit(X, T, epochs=1, warm_start=True)
    assert taken[1].params.tobytes() == net.params.tobytes()


def test_a_copy_after_a_fit_that_did_not_begin_is_of_the_one_before() -> None:
    (X, T), net = clusters(32), classifier()
    net.fit(X, T, epochs=1)
    last = net.last_run

    class Fails(Callback):
        def on_train_begin(self, network: fastbp.Network, epochs: int, n_samples: int) -> None:
            raise RuntimeError("not today")

    with pytest.raises(RuntimeError, match="not today"):
        net.fit(X, T, epochs=1, optimizer="sgd", callbacks=[Fails()])
    assert copy.copy(net).last_run is last is net.last_run


class Clears(Callback):
    def on_train_begin(self, network: fastbp.Network, epochs: int, n_samples: int) -> None:
        network.params[...] = 0
        network.layers[0].trainable = False


class Trains(Callback):
    def on_train_begin(self, network: fastbp.Network, epochs: int, n_samples: int) -> None:
        network.fit(*clusters(32), epochs=1)


class Refuses(Callback):
    def on_train_begin(self, network: fastbp.Network, epochs: int, n_samples: int) -> None:
        raise RuntimeError("not today")


@pytest.mark.parametrize("warm", [False, True])
def test_what_callbacks_change_is_undone_where_one_does_not_begin(warm: bool) -> None:
    (X, T), net = clusters(32), classifier()
    net.fit(X, T, epochs=1)
    before, last = net.params.copy(), net.last_run
    with pytest.raises(RuntimeError, match="not today"):
        net.fit(X, T, callbacks=[Trains(), Clears(), Refuses()], warm_start=warm)
    np.testing.assert_array_equal(net.params, before)
    assert net.layers[0].trainable and net.last_run is last


@pytest.mark.parametrize("options", [{"average": 0.5, "warm_start": True}, {"resume": True}, {},
                                     {"callbacks": [Clears()]}])
def test_what_is_interrupted_before_it_begins_changes_nothing(
        options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a Ctrl-C while kernels are compiled."""
    (X, T), net, path = clusters(32), classifier(), tmp_path / "run.safetensors"
    net.fit(X, T, epochs=1, average=0.5, callbacks=[Checkpoint(path)])
    if "resume" in options:
        net, options = classifier(), {"average": 0.5, "epochs": 2, "resume": path}
    before, last = net.params.copy(), net.last_run

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Job, "threads", interrupted)
        net.fit(X, T, **options)
    np.testing.assert_array_equal(net.params, before)
    assert net.last_run is last and copy.copy(net).last_run is last


@pytest.mark.parametrize("value", ["high", None, 1j])
def test_a_figure_to_follow_is_a_number(value: Any) -> None:
    net, (X, T) = classifier(), clusters(32)
    for good in (np.array(0.5), np.float32(0.5)):
        hook = EarlyStopping("figure", mode="min")
        net.fit(X, T, epochs=1, callbacks=[Figures([good]), hook])
        assert hook.best == -0.5 and type(hook.best) is float
    with pytest.raises(ValueError, match=rf"monitor='figure' must be a number.*{value!r}"):
        net.fit(X, T, callbacks=[Figures([value]), EarlyStopping("figure", mode="min")])


def test_a_figure_that_a_checkpoint_adds_is_in_the_history(tmp_path: Path) -> None:
    class Counts(Checkpoint):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> bool | None:
            logs["saved"] = epoch
            return super().on_epoch_end(epoch, logs)

    history = classifier().fit(*clusters(32), epochs=3,
                               callbacks=[Counts(tmp_path / "run.safetensors")])
    assert history["saved"] == [0.0, 1.0, 2.0]
