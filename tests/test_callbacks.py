"""Callbacks: stopping, learning rates, logs, and runs that go on where they were stopped."""

from __future__ import annotations

import csv
import json
import signal
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp.callbacks import (
    Callback,
    Checkpoint,
    CSVLog,
    EarlyStopping,
    JSONLines,
    Lambda,
    ReduceOnPlateau,
    StopOnNaN,
    TensorBoard,
    TimeLimit,
)
from fastbp.engine import EPOCH
from fastbp.io.safetensors import read
from fastbp.layers import Layer

from .builders import classifier, clusters


class Figures(Callback):
    """Puts given values among the figures of each epoch, before other callbacks see them."""

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        logs["figure"] = self.values[epoch]


class StopAt(Callback):
    """Stops after so many chunks, wherever that is."""

    def __init__(self, chunks: int) -> None:
        self.left = chunks

    def on_train_begin(self, network: fastbp.Network, epochs: int, n_samples: int) -> None:
        self.run.chunk = 1

    def on_chunk_end(self, epoch: int, samples: int) -> bool:
        self.run.chunk, self.left = 1, self.left - 1
        return self.left <= 0


def stopped_after(values: list[float], **arguments: Any) -> tuple[int, EarlyStopping]:
    hook = EarlyStopping("figure", **arguments)
    X, T = clusters(32)
    history = classifier().fit(X, T, epochs=len(values), callbacks=[Figures(values), hook])
    return len(history["loss"]), hook


def test_early_stopping_counts_epochs_without_progress() -> None:
    values = [5.0, 4, 4.5, 4.2, 3.9, 4, 4, 4, 4, 4]
    assert stopped_after(values, patience=2)[0] == 8  # 3.9, then three in a row
    assert stopped_after(values, patience=1)[0] == 4
    assert stopped_after(values, patience=1, start_epoch=5)[0] == 7
    assert stopped_after(values, patience=3, min_delta=0.5)[0] == 6  # 3.9 is no progress
    assert stopped_after([-v for v in values], patience=2, mode="max")[0] == 8
    epochs, hook = stopped_after(values, patience=9)
    assert (epochs, hook.best_epoch, hook.stopped) == (10, 4, False)
    for more in ("val_accuracy", "val_r2", "val_precision", "recall"):
        assert EarlyStopping(more).sign == 1
    assert EarlyStopping("val_loss").sign == EarlyStopping("val_mae").sign == -1
    with pytest.raises(ValueError, match=r"monitor='nothing' is not among .*samples_per_s"):
        classifier().fit(*clusters(32), epochs=1, callbacks=[EarlyStopping("nothing")])


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_early_stopping_restores_the_best(average: float) -> None:
    X, T = clusters(64)
    best = classifier()
    best.fit(X, T, epochs=3, average=average)
    values = [3.0, 2, 1, 2, 2, 2, 2]
    for restore in (True, False):
        net = classifier()
        net.fit(X, T, epochs=7, average=average, callbacks=[
            Figures(values), EarlyStopping("figure", patience=1, restore_best=restore)])
        assert np.array_equal(net.params, best.params) == restore


def test_plateaus_lower_the_rate() -> None:
    X, T = clusters(32)
    values = [1.0, 2, 2, 2, 2, 2, 2, 2]
    history = classifier().fit(X, T, epochs=8, optimizer=fastbp.SGD(1.0), callbacks=[
        Figures(values), ReduceOnPlateau("figure", patience=1, factor=0.5, cooldown=1)])
    # epochs 2 and 3 disappoint; one of rest, then two more
    assert history["learning_rate"] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]
    history = classifier().fit(X, T, epochs=8, optimizer=fastbp.SGD(1.0), callbacks=[
        Figures([1.0, 2, 2, 0.5, 2, 2, 2, 2]),
        ReduceOnPlateau("figure", patience=0, factor=0.5, cooldown=3)])
    # three of rest, whatever progress there is among them
    assert history["learning_rate"] == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]
    history = classifier().fit(X, T, epochs=8, optimizer=fastbp.SGD(1.0), callbacks=[
        Figures(values), ReduceOnPlateau("figure", patience=0, factor=0.1, minimum=0.05)])
    assert history["learning_rate"][-1] == pytest.approx(0.05)
    history = classifier().fit(X, T, epochs=8, optimizer=fastbp.SGD(1.0), callbacks=[
        Figures(values), ReduceOnPlateau("figure", patience=0, factor=0.1),
        ReduceOnPlateau("figure", patience=1, factor=0.5, minimum=0.5)])
    assert (np.diff(history["learning_rate"]) <= 0).all()


def test_time_limit_and_functions_stop() -> None:
    X, T = clusters(2000)
    history = classifier().fit(X, T, epochs=10**6, batch_size=8, callbacks=[TimeLimit(0.2)])
    assert 1 <= len(history["loss"]) < 10**6
    history = classifier().fit(X, T, epochs=9, callbacks=[Lambda(lambda e, logs: e == 2)])
    assert len(history["loss"]) == 3
    net, never = classifier(), Callback()
    before = net.params.copy()
    never.on_train_begin = lambda *_: True  # type: ignore[method-assign]
    assert not net.fit(X, T, epochs=9, callbacks=[never])
    np.testing.assert_array_equal(net.params, before)


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


def test_json_has_null_for_what_is_not_finite(tmp_path: Path) -> None:
    X, T = clusters(32)
    path = tmp_path / "log.jsonl"
    classifier().fit(X, T, epochs=2, callbacks=[Figures([np.nan, -np.inf]), JSONLines(path)])
    for line in path.read_text().splitlines():
        assert json.loads(line, parse_constant=pytest.fail)["figure"] is None
    words: Any = ["warm", None]  # a user's callback may add what is no number
    classifier().fit(X, T, epochs=2, callbacks=[Figures(words), JSONLines(path)])
    assert [json.loads(line)["figure"] for line in path.read_text().splitlines()] == words


def test_divergence_goes_back_to_the_last_good_epoch() -> None:
    X, T = clusters(64)
    net, good = classifier(), classifier()
    good.fit(X, T, epochs=2, optimizer=fastbp.SGD(0.1))

    class Spoil(Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            if epoch == 2:
                self.run.network.params[0] = np.nan

    with pytest.warns(RuntimeWarning, match="training diverged"):
        history = net.fit(X, T, epochs=9, optimizer=fastbp.SGD(0.1),
                          callbacks=[Spoil(), StopOnNaN()])
    assert len(history["loss"]) == 3
    np.testing.assert_array_equal(net.params, good.params)


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


def test_labels_written_within_an_epoch_are_looked_at_before_their_steps() -> None:
    X, T = clusters(64)
    net = classifier()
    held: list[np.ndarray] = []

    class Spoil(StopAt):
        def on_chunk_end(self, epoch: int, samples: int) -> bool:
            super().on_chunk_end(epoch, samples)
            held.append(net.params.copy())
            T[self.run.order[-1]] = -7  # of the last batch of the epoch
            return False

    with pytest.raises(ValueError, match="T holds label -7"):
        net.fit(X, T, epochs=3, batch_size=16, callbacks=[Spoil(99)])
    assert len(held) == 3
    np.testing.assert_array_equal(net.params, held[-1])


def test_logs_say_what_the_history_says(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    X, T = clusters(64)
    hooks = [CSVLog(tmp_path / "a.csv"), JSONLines(tmp_path / "a.jsonl"),
             TensorBoard(tmp_path / "board")]
    history = classifier().fit(X, T, epochs=3, callbacks=hooks)
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [int(r["epoch"]) for r in rows] == [r["epoch"] for r in lines] == [1, 2, 3]
    for name, values in history.items():
        assert [float(r[name]) for r in rows] == [r[name] for r in lines] == values
    assert any((tmp_path / "board").iterdir())
    classifier().fit(X, T, epochs=1, callbacks=[CSVLog(tmp_path / "a.csv", append=True)])
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 5
    turned = ",".join(["loss", *(n for n in rows[0] if n != "loss")])
    (tmp_path / "b.csv").write_text(turned + "\n")
    history = classifier().fit(X, T, epochs=1, callbacks=[CSVLog(tmp_path / "b.csv", append=True)])
    header, line = (tmp_path / "b.csv").read_text().splitlines()
    assert header == turned and float(line.split(",")[0]) == history["loss"][0]
    (tmp_path / "b.csv").write_text("epoch,f1\n1,0.5\n")
    with pytest.raises(ValueError, match=r"b.csv' has the columns \['epoch', 'f1'\], this run"):
        classifier().fit(X, T, epochs=1, callbacks=[CSVLog(tmp_path / "b.csv", append=True)])
    assert (tmp_path / "b.csv").read_text() == "epoch,f1\n1,0.5\n"

    class Now(Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            if epoch != 1:
                logs["now"] = epoch
            if epoch == 2:
                logs["then"] = 7

    classifier().fit(X, T, epochs=3, callbacks=[Now(), CSVLog(tmp_path / "c.csv")])
    header, *lines = (tmp_path / "c.csv").read_text().splitlines()
    assert header.endswith(",now")
    assert [line.split(",")[header.count(","):] for line in lines] == [["0"], [""], ["2", "7"]]
    with pytest.raises(OSError, match="nowhere"):
        classifier().fit(X, T, callbacks=[CSVLog(tmp_path / "nowhere" / "a.csv")])


def test_what_is_no_file_is_named_before_training() -> None:
    with pytest.raises(TypeError, match="file must be a text file, got 'log.txt'"):
        fastbp.callbacks.PrintEpoch("log.txt")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="folder must be a path, got ''"):
        TensorBoard("")  # tensorboardX would make up a name


def test_a_missing_tensorboard_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r'pip install "fastbp\[tensorboard\]"'):
        TensorBoard("x")


class Slow(Layer):
    """A layer of the user's own: the textbook loop."""

    def forward(self, X: Any, *, allow_nonfinite: bool = True) -> Any:
        return X * 0.5

    def backward(self, dY: Any) -> Any:
        return dY * 0.5


@pytest.mark.parametrize("average", [0.0, 0.9])
@pytest.mark.parametrize("chunks", [1, 5, 7, 8, 14, 20])
def test_a_stopped_run_goes_on_with_the_same_bits(chunks: int, average: float,
                                                  tmp_path: Path) -> None:
    """Seven steps an epoch, four epochs, stopped at any step."""
    X, T = clusters(200)
    path = tmp_path / "run.safetensors"

    def fit(net: fastbp.Network, *more: Callback, **options: Any) -> fastbp.History:
        hooks = [ReduceOnPlateau("val_loss", patience=0, min_delta=0.3),
                 EarlyStopping("val_loss", patience=50), *more]
        return net.fit(X, T, epochs=4, optimizer=fastbp.Adam(0.01), average=average,
                       validation_data=(X[:40], T[:40]), callbacks=hooks, **options)

    whole, stopped, resumed = classifier(), classifier(), classifier()
    expected = fit(whole)
    fit(stopped, StopAt(chunks), Checkpoint(path))
    assert stopped.params.tobytes() != whole.params.tobytes()
    found = fit(resumed, Checkpoint(path), resume=path)
    assert resumed.params.tobytes() == whole.params.tobytes()
    for name in ("loss", "val_loss", "val_accuracy", "learning_rate"):
        assert found[name] == expected[name]
    assert whole.last_run is not None and resumed.last_run is not None
    assert resumed.last_run.slots.tobytes() == whole.last_run.slots.tobytes()
    again = classifier()  # the checkpoint of a run that is over adds nothing
    with pytest.warns(UserWarning, match="holds a run of 4 epochs already, epochs=4 adds none"):
        found = fit(again, resume=path)
    assert found["loss"] == expected["loss"]
    assert again.params.tobytes() == whole.params.tobytes()


def test_a_checkpoint_with_all_epochs_is_told_of(tmp_path: Path) -> None:
    (X, T), path = clusters(64), tmp_path / "run.st"
    classifier().fit(X, T, epochs=3, callbacks=[Checkpoint(path)])
    net = classifier()
    more: dict[str, Any] = {"epochs": 2, "resume": path}
    before = net.params.copy()
    with pytest.raises(UserWarning, match=r"run\.st holds a run of 3 epochs already, epochs=2"):
        net.fit(X, T, **more)  # an error by the tests' settings: then all is as it was
    assert (net.params == before).all() and net.last_run is None
    with pytest.warns(UserWarning, match="epochs=2") as found:
        assert len(net.fit(X, T, **more)["loss"]) == 3
    assert found[0].filename == __file__
    with pytest.warns(UserWarning, match="3 epochs already, epochs=2"):
        fastbp.fit_many([classifier()], X, T, **more)
    with pytest.warns(UserWarning, match="3 epochs already, epochs=2"):
        fastbp.fit_stream(classifier(), [(X, T)], **more)
    assert len(classifier().fit(X, T, epochs=0, resume=path)["loss"]) == 3  # asked for as it is
    assert len(classifier().fit(X, T, epochs=4, resume=path)["loss"]) == 4


def test_whatever_was_written_last_a_killed_run_goes_on_with_the_same_bits(
        tmp_path: Path) -> None:
    """By the clock: within epochs, and at their ends when their figures are in."""
    X, T = clusters(200)
    copies = list[Path]()

    class Kept(Checkpoint):
        def _write(self) -> None:
            super()._write()
            copies.append(tmp_path / f"copy-{len(copies)}")
            copies[-1].write_bytes(Path(self.path).read_bytes())

    def fit(net: fastbp.Network, *more: Callback, **options: Any) -> fastbp.History:
        return net.fit(X, T, epochs=3, validation_data=(X[:40], T[:40]), callbacks=[
            ReduceOnPlateau("val_loss", patience=0, min_delta=0.3),
            EarlyStopping("val_loss", patience=50), *more], **options)

    whole = classifier()
    expected = fit(whole, Kept(tmp_path / "run", every=100, seconds=0.0))
    assert len(copies) >= 3
    for copy in copies:
        again, over = classifier(), read(copy)[0]["run/cursor"][EPOCH] == 3
        with pytest.warns(UserWarning, match="of 3 epochs already") if over else nullcontext():
            found = fit(again, resume=copy)
        assert again.params.tobytes() == whole.params.tobytes()
        for name in ("loss", "val_loss", "learning_rate"):
            assert found[name] == expected[name]


def test_checkpoints_are_models_too(tmp_path: Path) -> None:
    X, T = clusters(64)
    net = classifier()
    net.fit(X, T, epochs=2, callbacks=[Checkpoint(tmp_path / "{epoch}.st", keep="all")])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1.st", "2.st"]
    np.testing.assert_array_equal(fastbp.load(tmp_path / "2.st").params, net.params)
    net.save(tmp_path / "net.st")
    with pytest.raises(ValueError, match="holds a network but no run"):
        net.fit(X, T, resume=tmp_path / "net.st")


def test_a_network_that_no_file_holds_is_refused_first(tmp_path: Path) -> None:
    X, T = clusters(64)
    net = fastbp.Network([fastbp.Dense(6, 4), Slow()], "SoftmaxCrossEntropyLoss")
    before = net.params.copy()
    with pytest.raises(TypeError, match=r"Slow\(\) .* cannot be saved"):
        net.fit(X, T, epochs=1, callbacks=[Checkpoint(tmp_path / "run.st")])
    np.testing.assert_array_equal(net.params, before)


@pytest.mark.parametrize("where", ["nowhere/run.st", "."])
def test_a_place_for_no_checkpoint_is_refused_before_training(where: str, tmp_path: Path) -> None:
    X, T = clusters(64)
    net = classifier()
    before = net.params.copy()
    with pytest.raises(OSError, match="nowhere" if where != "." else str(tmp_path)):
        net.fit(X, T, epochs=3, callbacks=[Checkpoint(tmp_path / where, every=9)])
    assert (net.params == before).all() and net.last_run is None
    hook = Checkpoint(tmp_path / "{epoch}" / "run.st", keep="all")
    folders = [Lambda(lambda epoch, logs: (tmp_path / f"{epoch + 1}").mkdir())]
    net.fit(X, T, epochs=2, callbacks=[*folders, hook])
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.st")) == [
        "1/run.st", "2/run.st"]
    assert not [p for p in tmp_path.iterdir() if p.name not in "12"]


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    X, T = clusters(64)
    path = tmp_path / "run.st"
    classifier().fit(X, T, epochs=1, callbacks=[Checkpoint(path)])
    net = classifier()
    before = net.params.copy()
    for options, match in (({"batch_size": 16}, "batch_size 32, this one 16"),
                           ({"optimizer": "sgd"}, "optimizer Adam")):
        with pytest.raises(ValueError, match=match):
            net.fit(X, T, resume=path, **options)
    with pytest.raises(ValueError, match="n_rows 64, this one 60"):
        net.fit(X[:60], T[:60], resume=path)
    other = fastbp.Network([fastbp.Dense(6, 4)], "SoftmaxCrossEntropyLoss")
    with pytest.raises(ValueError, match="run of another network"):
        other.fit(X, T, resume=path)
    np.testing.assert_array_equal(net.params, before)


def test_an_interrupt_leaves_a_checkpoint(tmp_path: Path) -> None:
    X, T = clusters(64)
    path = tmp_path / "run.st"

    class Interrupt(Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            if epoch == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        classifier().fit(X, T, epochs=5, callbacks=[Checkpoint(path, every=99), Interrupt()])
    whole, resumed = classifier(), classifier()
    whole.fit(X, T, epochs=5)
    resumed.fit(X, T, epochs=5, resume=path)
    np.testing.assert_array_equal(whole.params, resumed.params)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("calls", [2, 5, 7])
def test_an_interrupt_amid_a_call_of_steps_loses_none(
        stream: bool, calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastbp import run

    X, T = clusters(150)
    path, left, launch = tmp_path / "run", [calls], run.launch

    def interrupted(*args: Any) -> Any:
        launch(*args)
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    def fit(**options: Any) -> tuple[fastbp.Network, Any]:
        net, hooks = classifier("float64"), options.pop("callbacks", [])
        hooks = [ReduceOnPlateau("loss", patience=0, min_delta=9.0), StopAt(999), *hooks]
        options = {"epochs": 3, "batch_size": 32, "callbacks": hooks, **options}
        return net, (fastbp.fit_stream(net, [(X[:90], T[:90]), (X[90:], T[90:])], **options)
                     if stream else net.fit(X, T, **options))

    whole, expected = fit()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(run, "launch", interrupted)
        fit(callbacks=[Checkpoint(path, every=9)])
    again, found = fit(resume=path)
    np.testing.assert_array_equal(again.params, whole.params)
    assert found["loss"] == expected["loss"]
    assert found["learning_rate"] == expected["learning_rate"]


@pytest.mark.parametrize("epochs", [1, 3])
def test_an_interrupt_where_nobody_looks_keeps_the_epochs_that_ended(
        epochs: int, ctrl_c: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastbp import engine, run

    X, T = clusters(64)
    launch = run.launch

    def interrupted(*args: Any) -> None:
        launch(*args)
        if args[-2][engine.EPOCH] == epochs:
            signal.raise_signal(signal.SIGINT)

    whole, taken = classifier(), classifier()
    expected = whole.fit(X, T, epochs=epochs)
    monkeypatch.setattr(run, "launch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        taken.fit(X, T, epochs=epochs)
    assert taken.last_run is not None and taken.last_run.history["loss"] == expected["loss"]
    np.testing.assert_array_equal(taken.params, whole.params)


def test_an_interrupt_amid_validation_keeps_the_figures_of_the_epoch(
        ctrl_c: None, tmp_path: Path) -> None:
    X, T = clusters(64)
    path, left = tmp_path / "run", [2]

    def once(truth: Any, output: Any) -> float:
        left[0] -= 1
        if left[0] == 0:
            signal.raise_signal(signal.SIGINT)
        return float(output.max())

    def fit(**options: Any) -> Any:
        return classifier().fit(X, T, epochs=4, validation_data=(X, T), metrics=[once], **options)

    with pytest.raises(KeyboardInterrupt):
        fit(callbacks=[Checkpoint(path)])
    assert left == [0]
    found, expected = fit(resume=path), fit()
    for name in ("loss", "val_loss", "val_once", "learning_rate"):
        assert found[name] == expected[name]


@pytest.mark.parametrize("fails", [KeyboardInterrupt, ZeroDivisionError])
def test_what_fails_after_the_last_step_of_an_epoch_loses_it_for_nobody(
        fails: type[BaseException], tmp_path: Path) -> None:
    X, T = clusters(64)
    path = tmp_path / "run"

    class Fails(Callback):
        def on_chunk_end(self, epoch: int, samples: int) -> None:
            if epoch == 2 and samples == 64:
                raise fails

    def fit(*first: Callback, **options: Any) -> tuple[fastbp.Network, Any]:
        net = classifier()
        hooks = [*first, EarlyStopping("loss", patience=3, min_delta=9.0)]
        return net, net.fit(X, T, epochs=9, callbacks=[*hooks, *options.pop("last", [])],
                            **options)

    whole, expected = fit()
    with pytest.raises(fails):
        fit(Fails(), last=[Checkpoint(path)])
    again, found = fit(resume=path)
    np.testing.assert_array_equal(again.params, whole.params)
    assert found["loss"] == expected["loss"] and len(found["loss"]) == 5


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


def test_a_user_layer_resumes_through_the_textbook_loop() -> None:
    X, T = clusters(64)

    def net() -> fastbp.Network:
        return fastbp.Network([fastbp.Dense(6, 8), Slow(), fastbp.Dense(8, 4)],
                              "SoftmaxCrossEntropyLoss")

    whole, parts = net(), net()
    assert not whole.compiled
    weights = np.arange(64)
    whole.fit(X, T, epochs=3, l2=0.1, clip_norm=0.1, average=0.5, sample_weight=weights)
    for _ in range(3):
        parts.partial_fit(X, T, l2=0.1, clip_norm=0.1, average=0.5, sample_weight=weights)
    np.testing.assert_array_equal(whole.params, parts.params)


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
