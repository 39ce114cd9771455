"""How runs end: diverged, by callbacks that fail, with callbacks that are used again; and how
damaged checkpoints begin none."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp.callbacks import Callback, Checkpoint, EarlyStopping, StopOnNaN
from fastbp.engine import POSITION
from fastbp.io.safetensors import VERSION, read, write

from .builders import classifier, clusters

X, T = clusters(200)


def test_weights_that_overflow_in_the_last_step_are_never_the_best() -> None:
    rows, numbers = np.ones((64, 3), np.float32), np.ones((64, 2), np.float32)
    rows[-1, 0] = 1e21
    for hooks in ([EarlyStopping("loss"), StopOnNaN()], [StopOnNaN(), EarlyStopping("loss")]):
        net = fastbp.Network([fastbp.Dense(3, 2)], "l2", seed=0)
        with pytest.warns(RuntimeWarning, match="training diverged"):
            net.fit(rows, numbers, epochs=5, batch_size=8, shuffle=False,
                    optimizer=fastbp.SGD(1e-3), callbacks=hooks)
        assert np.isfinite(net.params).all()


def test_an_epoch_that_is_taken_back_has_no_validation_figures() -> None:
    net = classifier()
    with pytest.warns(RuntimeWarning, match="training diverged"):
        history = net.fit(X, T, epochs=9, validation_data=(X, T),
                          callbacks=[Spoil(True), StopOnNaN()])
    assert len(history["loss"]) == 3 and len(history["val_loss"]) == 2


class Spoil(Callback):
    """Ruins the third epoch: at its end, or in its middle."""

    def __init__(self, within: bool) -> None:
        self.within = within

    def on_chunk_end(self, epoch: int, samples: int) -> None:
        self.run.chunk = 3
        if self.within and epoch == 2:
            self.ruin()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if not self.within and epoch == 2:
            self.ruin()

    def ruin(self) -> None:
        for array in (self.run.network.params, self.run.slots, self.run.average, self.run.errors):
            array[...] = np.nan


@pytest.mark.parametrize("within", [True, False])
@pytest.mark.parametrize("average", [0.0, 0.9])
@pytest.mark.parametrize("options", [{}, {"every": 50}, {"seconds": 0.0}], ids=str)
def test_all_goes_back_to_the_last_good_epoch(tmp_path: Path, options: dict[str, Any],
                                              average: float, within: bool) -> None:
    path, good, longer = tmp_path / "run.st", classifier(), classifier()
    good.fit(X, T, epochs=2, average=average)
    longer.fit(X, T, epochs=4, average=average)
    net, resumed = classifier(), classifier()
    with pytest.warns(RuntimeWarning, match="training diverged"):
        net.fit(X, T, epochs=9, average=average,
                callbacks=[Checkpoint(path, **options), Spoil(within), StopOnNaN()])
    np.testing.assert_array_equal(net.params, good.params)
    np.testing.assert_array_equal(fastbp.load(path).params, good.params)
    np.testing.assert_array_equal(read(path)[0]["run/params"],
                                  good.last_run.raw if average else good.params)
    history = resumed.fit(X, T, epochs=4, average=average, resume=path)
    net.fit(X, T, epochs=2, average=average, warm_start=True)
    for other in (resumed, net):
        np.testing.assert_array_equal(other.params, longer.params)
    assert len(history["loss"]) == 4 and np.isfinite(history["loss"]).all()


def test_checkpoints_of_a_run_that_diverged_keep_their_names(tmp_path: Path) -> None:
    with pytest.warns(RuntimeWarning, match="training diverged"):
        classifier().fit(X, T, epochs=9, callbacks=[
            Spoil(within=False), StopOnNaN(), Checkpoint(tmp_path / "{epoch}.st", keep="all")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.st", "2.st"]
    good = classifier()
    good.fit(X, T, epochs=2)
    np.testing.assert_array_equal(fastbp.load(tmp_path / "2.st").params, good.params)


def test_a_checkpoint_writes_the_end_of_each_run_that_it_serves(tmp_path: Path) -> None:
    hook = Checkpoint(tmp_path / "run.st", every=100)
    for seed in (1, 2):
        net = classifier(seed=seed)
        net.fit(X, T, epochs=3, callbacks=[hook])
        np.testing.assert_array_equal(fastbp.load(tmp_path / "run.st").params, net.params)


@pytest.mark.parametrize("before", [0, 5])
def test_a_resumed_run_stops_no_earlier_than_the_whole(before: int, tmp_path: Path) -> None:
    options: dict[str, Any] = {"validation_data": (X, T), "optimizer": fastbp.SGD(1e-9)}

    def patient() -> EarlyStopping:
        return EarlyStopping(patience=1, min_delta=0.1, start_epoch=12, restore_best=False)

    path, net = tmp_path / "run.st", classifier()
    whole = classifier().fit(X, T, epochs=20, callbacks=[patient()], **options)
    net.fit(X, T, epochs=before, **options)  # epochs of an earlier fit count for nothing
    net.fit(X, T, epochs=8, callbacks=[patient(), Checkpoint(path)], warm_start=True, **options)
    for expected in (12, 12):  # the second time from where it had stopped
        history = classifier().fit(X, T, epochs=20, resume=path,
                                   callbacks=[patient(), Checkpoint(path)], **options)
        assert len(history["loss"]) == len(whole["loss"]) == expected


class Fails(Callback):
    """Writes down what it is told, and fails at some of it."""

    def __init__(self, name: str, log: list[str], at: Sequence[str] = (),
                 error: type[BaseException] = OSError) -> None:
        self.name, self.log, self.at, self.error = name, log, at, error

    def told(self, what: str) -> None:
        self.log.append(f"{self.name} {what}")
        if what in self.at:
            raise self.error(self.log[-1])

    def on_train_begin(self, network: fastbp.Network, epochs: int, n_samples: int) -> None:
        self.told("begin")

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.told("epoch")

    def on_last_step(self) -> None:
        self.told("last")

    def on_train_end(self) -> None:
        self.told("end")


@pytest.mark.parametrize(("a", "b", "error", "raised"), [
    (["last"], ["end"], OSError, "a last"), (["epoch", "last"], ["end"], OSError, "a epoch"),
    ([], ["epoch"], KeyboardInterrupt, "b epoch"),
    (["last", "end"], ["epoch"], KeyboardInterrupt, "b epoch"),
    (["last"], ["end"], KeyboardInterrupt, "b end"),
    (["epoch"], ["end"], KeyboardInterrupt, "b end")])
def test_whatever_fails_every_callback_is_told_and_the_run_ends(
        a: list[str], b: list[str], error: type[BaseException], raised: str) -> None:
    net, log = classifier(), list[str]()
    with pytest.raises(error, match=raised) as caught:
        net.fit(X, T, epochs=1, average=0.9, callbacks=[Fails("a", log, a),
                                                        Fails("b", log, b, error)])
    assert log[-4:] == ["a last", "b last", "a end", "b end"]
    run = net.last_run
    assert run is not None and len(run.X) == 0
    np.testing.assert_array_equal(net.params, run.average)
    others = len(set(a) | set(b)) - 1
    if hasattr(caught.value, "add_note"):  # Python 3.11
        assert len(getattr(caught.value, "__notes__", ())) == others


def test_callbacks_before_one_that_cannot_begin_are_ended(tmp_path: Path) -> None:
    path, net, log = tmp_path / "run.st", classifier(), list[str]()
    net.fit(X, T, epochs=1, callbacks=[Checkpoint(path)])
    kept, params, run = path.read_bytes(), net.params.copy(), net.last_run
    hooks = [Checkpoint(path), Fails("a", log), Fails("b", log, ["begin"]), Fails("c", log)]
    with pytest.raises(OSError, match="b begin"):
        net.fit(X, T, epochs=1, average=0.9, callbacks=hooks)
    assert log == ["a begin", "b begin", "a end"]
    assert all(len(hook.run.X) == 0 for hook in hooks)  # none holds the rows any longer
    assert path.read_bytes() == kept and net.last_run is run
    np.testing.assert_array_equal(net.params, params)


def changed(**entries: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    """Entries of the run's description to change, or with None to leave out."""
    def change(arrays: dict[str, Any], described: dict[str, Any]) -> None:
        described.update(entries)
        for name in [name for name, value in described.items() if value is None]:
            del described[name]

    return change


@pytest.mark.parametrize("name", ["params", "slots", "cursor"])
@pytest.mark.parametrize("change", [lambda a: None, lambda a: a[:0], lambda a: a[:1],
                                    lambda a: a.astype(np.float16)])
def test_a_checkpoint_with_damaged_arrays_is_refused(tmp_path: Path, name: str,
                                                     change: Any) -> None:
    def damage(arrays: dict[str, Any], described: dict[str, Any]) -> None:
        array = change(arrays.pop(f"run/{name}"))
        if array is not None:
            arrays[f"run/{name}"] = array

    refused(tmp_path / "run.st", damage, f"'?{name}")


@pytest.mark.parametrize(("damage", "match"), [
    (changed(rate_scale=None), "rate_scale"), (changed(history=3), "int"),
    (changed(callbacks=None), "callbacks"), (changed(format=None), "format"),
    (changed(callbacks={"EarlyStopping.0": {}}), "it has no 'best'"),
    (lambda arrays, described: arrays["run/cursor"].__iadd__(200), "stands nowhere: cursor"),
    (lambda arrays, described: arrays["run/cursor"].put(POSITION, -32), "stands nowhere"),
    ("[]", "list"), ("{", "Expecting"), ("null", "NoneType")])
def test_a_checkpoint_with_a_damaged_description_is_refused(tmp_path: Path, damage: Any,
                                                            match: str) -> None:
    refused(tmp_path / "run.st", damage, match)


def refused(path: Path, damage: Any, match: str) -> None:
    classifier().fit(X, T, epochs=2, callbacks=[EarlyStopping("loss"), Checkpoint(path)])
    arrays, metadata = read(path)
    del metadata[VERSION]
    if isinstance(damage, str):
        metadata["fastbp-run"] = damage
    else:
        described = json.loads(metadata["fastbp-run"])
        damage(arrays, described)
        metadata["fastbp-run"] = json.dumps(described)
    write(path, arrays, metadata)
    net = classifier()
    before = net.params.copy()
    with pytest.raises(ValueError, match=rf"run\.st cannot be resumed: .*{match}"):
        net.fit(X, T, epochs=3, resume=path, callbacks=[EarlyStopping("loss")])
    np.testing.assert_array_equal(net.params, before)


def test_numbers_of_numpy_are_state_like_others(tmp_path: Path) -> None:
    class Counts(Callback):
        def __init__(self, count: Any) -> None:
            self.count = count

        def state(self) -> dict[str, Any]:
            return {"count": self.count}

        def restore(self, state: dict[str, Any]) -> None:
            self.count = state["count"]

    path, hook = tmp_path / "run.st", Counts(0)
    classifier().fit(X, T, epochs=1, callbacks=[Counts(np.int64(3)), Checkpoint(path)])
    with pytest.warns(UserWarning, match="holds a run of 1 epoch already, epochs=1"):
        classifier().fit(X, T, epochs=1, callbacks=[hook], resume=path)
    assert hook.count == 3
    with pytest.raises(TypeError, match="state of a callback must be .* got {1}"):
        classifier().fit(X, T, epochs=1, callbacks=[Counts({1}), Checkpoint(path)])


def test_a_file_that_cannot_be_begun_is_named_itself(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none/x\.st'$"):
        classifier().save(tmp_path / "none" / "x.st")


def test_a_resumed_run_that_cannot_begin_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    path, log = tmp_path / "run.st", fastbp.callbacks.CSVLog(tmp_path / "none" / "x.csv")
    classifier().fit(X, T, epochs=2, callbacks=[Checkpoint(path)])
    net = classifier()
    before = net.params.copy()
    with pytest.raises(FileNotFoundError, match="x.csv"):
        net.fit(X, T, epochs=4, resume=path, callbacks=[log])
    assert (net.params == before).all() and net.last_run is None
    net.fit(X, T, epochs=4, resume=path)
    assert (net.params != before).any()


def test_a_schedule_that_gives_no_rates_changes_nothing() -> None:
    class Constant(fastbp.schedules.Schedule):
        def rates(self, epoch: np.ndarray, epochs: float) -> Any:
            return 0.1

    net = classifier()
    net.fit(X, T, epochs=1)
    before, last = net.params.copy(), net.last_run
    for hooks in ([], [StopOnNaN()]):
        with pytest.raises(ValueError, match="must give rates of shape"):
            net.fit(X, T, epochs=1, optimizer=fastbp.SGD(Constant()), callbacks=hooks)
    assert net.last_run is last and (net.params == before).all()
