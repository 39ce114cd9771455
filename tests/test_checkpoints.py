"""Runs that go on where they were stopped, from checkpoints."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    Lambda,
    ReduceOnPlateau,
)
from fastbp.engine import EPOCH
from fastbp.io.safetensors import VERSION, read, write
from fastbp.layers import Layer

from .builders import Figures, StopAt, classifier, clusters


class Slow(Layer):
    """A layer of the user's own: the textbook loop."""

    def forward(self, X: Any, *, allow_nonfinite: bool = True) -> Any:
        return X * 0.5

    def backward(self, dY: Any) -> Any:
        return dY * 0.5


class Counts(Callback):
    """A callback that counts epochs, and keeps the count."""

    epochs = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.epochs += 1

    def state(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def restore(self, state: dict[str, Any]) -> None:
        self.epochs = state["epochs"]


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


def test_a_run_after_another_goes_on_at_its_own_rates(tmp_path: Path) -> None:
    (X, T), path = clusters(100), tmp_path / "run.st"

    def fit(net: fastbp.Network, **options: Any) -> fastbp.History:
        return net.fit(X, T, epochs=4, optimizer=fastbp.SGD(fastbp.schedules.Function(
            lambda epoch: 0.1 / (1 + epoch))), **options)

    whole, stopped, resumed = classifier(), classifier(), classifier()
    for net in whole, stopped:
        fit(net)
    expected = fit(whole, warm_start=True)
    fit(stopped, warm_start=True, callbacks=[StopAt(6), Checkpoint(path)])
    found = fit(resumed, resume=path)
    for name in ("loss", "learning_rate"):
        assert found[name] == expected[name]
    assert resumed.params.tobytes() == whole.params.tobytes()


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


def test_checkpoints_save_what_callbacks_after_them_have_done(tmp_path: Path) -> None:
    told = list[str]()

    class Told(Checkpoint):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            told.append("checkpoint")

    classifier().fit(*clusters(32), epochs=1, callbacks=[
        Told(tmp_path / "run"), Lambda(lambda *_: told.append("other"))])
    assert told == ["other", "checkpoint"]


def test_checkpoints_are_models_too(tmp_path: Path) -> None:
    X, T = clusters(64)
    net = classifier()
    net.fit(X, T, epochs=2, callbacks=[Checkpoint(tmp_path / "{epoch}.st", keep="all")])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1.st", "2.st"]
    np.testing.assert_array_equal(fastbp.load(tmp_path / "2.st").params, net.params)
    net.save(tmp_path / "net.st")
    with pytest.raises(ValueError, match="holds a network but no run"):
        net.fit(X, T, resume=tmp_path / "net.st")


def test_the_network_of_a_checkpoint_is_what_fit_would_leave(tmp_path: Path) -> None:
    """The average, not the weights before it, with which a resumed run goes on."""
    X, T = clusters(200)

    def fit(epochs: int, *hooks: Callback) -> fastbp.Network:
        net = classifier()
        net.fit(X, T, epochs=epochs, average=0.9, callbacks=hooks)
        return net

    fit(3, Checkpoint(tmp_path / "{epoch}.st", keep="all"))
    for epochs in 1, 2, 3:
        path, net = tmp_path / f"{epochs}.st", fit(epochs)
        assert fastbp.load(path).params.tobytes() == net.params.tobytes()
        assert net.last_run is not None
        assert read(path)[0]["run/params"].tobytes() == net.last_run.raw.tobytes()
    stopped = fit(3, StopAt(5), Checkpoint(tmp_path / "within.st"))
    assert fastbp.load(tmp_path / "within.st").params.tobytes() == stopped.params.tobytes()


def test_every_counts_whole_epochs_of_each_fit(tmp_path: Path) -> None:
    (X, T), net = clusters(200), classifier()
    for folder, options in (("first", {}), ("second", {"warm_start": True})):
        (tmp_path / folder).mkdir()
        hook = Checkpoint(tmp_path / folder / "{epoch}.st", every=2, keep="all")
        net.fit(X, T, epochs=5, callbacks=[hook], **options)
        assert sorted(p.name for p in (tmp_path / folder).iterdir()) == ["2.st", "4.st", "5.st"]
    hook = Checkpoint(tmp_path / "{epoch}.st", keep="all")
    net.fit(X, T, epochs=5, callbacks=[StopAt(10), hook])  # in the second of seven steps each
    assert sorted(p.name for p in tmp_path.glob("*.st")) == ["1.st", "2.st"]


def test_seconds_count_from_the_last_write_and_from_the_start_of_a_fit(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (X, T), now = clusters(64), [0.0]
    monkeypatch.setattr("fastbp.callbacks.checkpoint.time",
                        SimpleNamespace(monotonic=lambda: now[0]))
    hook = Checkpoint(tmp_path / "{epoch}.st", every=100, seconds=10.0, keep="all")

    def wait(*_: Any) -> None:
        now[0] += 4

    for epochs, written in ((7, ["3.st", "6.st", "7.st"]), (2, ["2.st"])):
        classifier().fit(X, T, epochs=epochs, callbacks=[Lambda(wait), hook])
        assert sorted(p.name for p in tmp_path.iterdir()) == written
        for path in tmp_path.iterdir():
            path.unlink()
        now[0] += 100


def test_a_network_that_no_file_holds_is_refused_first(tmp_path: Path) -> None:
    X, T = clusters(64)
    net = fastbp.Network([fastbp.Dense(6, 4), Slow()], "SoftmaxCrossEntropyLoss")
    before = net.params.copy()
    with pytest.raises(TypeError, match=r"Slow\(\) .* cannot be saved"):
        net.fit(X, T, epochs=1, callbacks=[Checkpoint(tmp_path / "run.st")])
    np.testing.assert_array_equal(net.params, before)


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="numbers of files as names")
def test_an_open_file_is_no_place_for_checkpoints(tmp_path: Path) -> None:
    """Each would be added to the one before."""
    (X, T), net = clusters(20), classifier()
    before = net.params.copy()
    with open(tmp_path / "run.st", "wb") as file:
        name = f"/dev/fd/{file.fileno()}"
        with pytest.raises(ValueError, match=f"'{name}' is the name of an open file"):
            net.fit(X, T, epochs=2, callbacks=[Checkpoint(name)])
    assert (net.params == before).all() and not (tmp_path / "run.st").read_bytes()


@pytest.mark.parametrize("where", ["nowhere/run.st", ".", "link to nowhere"])
def test_a_place_for_no_checkpoint_is_refused_before_training(where: str, tmp_path: Path) -> None:
    X, T = clusters(64)
    net = classifier()
    before = net.params.copy()
    if where.startswith("link"):
        (tmp_path / where).symlink_to("none/run.st")
    with pytest.raises(OSError, match="nowhere" if where != "." else str(tmp_path)):
        net.fit(X, T, epochs=3, callbacks=[Checkpoint(tmp_path / where, every=9)])
    assert (net.params == before).all() and net.last_run is None
    hook = Checkpoint(tmp_path / "{epoch}" / "run.st", keep="all")
    folders = [Lambda(lambda epoch, logs: (tmp_path / f"{epoch + 1}").mkdir())]
    net.fit(X, T, epochs=2, callbacks=[*folders, hook])
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.st")) == [
        "1/run.st", "2/run.st"]
    assert not [p for p in tmp_path.iterdir() if p.name not in ("1", "2", where)]


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


@pytest.mark.parametrize("kind", [EarlyStopping, ReduceOnPlateau])
def test_a_checkpoint_of_another_figure_or_mode_is_refused(kind: Any, tmp_path: Path) -> None:
    """Or an accuracy would be taken for a loss, which no epoch could improve."""
    (X, T), path = clusters(64), tmp_path / "run.st"
    more: dict[str, Any] = {"validation_data": (X, T)}
    classifier().fit(X, T, epochs=2, **more, callbacks=[
        Counts(), kind("val_accuracy"), Checkpoint(path)])
    for arguments, match in (
            (("val_loss",), "monitor='val_accuracy' with mode='max', this one monitor='val_loss' "
             "with mode='min'"),
            (("val_accuracy", 10, 0.0, "min"), "this one monitor='val_accuracy' with mode='min'")):
        net, hooks = classifier(), [Counts(), kind(*arguments)]
        before, states = net.params.copy(), [hook.state() for hook in hooks]
        with pytest.raises(ValueError, match=rf"the saved {kind.__name__} has .*{match}"):
            net.fit(X, T, epochs=4, resume=path, callbacks=hooks, **more)
        assert (net.params == before).all() and net.last_run is None
        assert [hook.state() for hook in hooks] == states
    arrays, metadata = read(path)  # as it was before figure and mode were saved
    described = json.loads(metadata["fastbp-run"])
    for state in described["callbacks"].values():
        for name in "monitor", "sign":
            state.pop(name, None)
    del metadata[VERSION]
    write(path, arrays, metadata | {"fastbp-run": json.dumps(described)})
    for figure in "val_accuracy", "val_loss":
        net = classifier()
        net.fit(X, T, epochs=3, resume=path, callbacks=[kind(figure)], **more)
        assert net.last_run is not None


@pytest.mark.parametrize(("part", "name", "value"), [
    ("run", "first_step", None), ("run", "first_step", 10**30), ("run", "first_epoch", 10**30),
    ("run", "first_epoch", 1000), ("run", "first_epoch", -1), ("run", "first_epoch", 0.5),
    ("run", "rate_scale", -1.0), ("run", "rate_scale", np.nan), ("run", "rate_scale", 10**400),
    ("hook", "wait", np.inf), ("hook", "wait", 0.5), ("hook", "best", np.nan),
    ("hook", "best_epoch", np.inf), ("array", "run/params", None), ("array", "run/average", None),
    ("array", "run/EarlyStopping.0/params", None)])
def test_what_no_run_can_have_saved_is_refused(part: str, name: str, value: Any,
                                               tmp_path: Path) -> None:
    (X, T), path = clusters(64), tmp_path / "run.st"
    more: dict[str, Any] = {"validation_data": (X, T), "average": 0.9}
    classifier().fit(X, T, epochs=2, **more, callbacks=[EarlyStopping(), Checkpoint(path)])
    arrays, metadata = read(path)
    described = json.loads(metadata["fastbp-run"])
    if part == "array":
        arrays[name] = arrays[name][:-1].copy()
    else:
        owner = described if part == "run" else described["callbacks"]["EarlyStopping.0"]
        assert name in owner
        owner[name] = value
    del metadata[VERSION]
    write(path, arrays, metadata | {"fastbp-run": json.dumps(described)})
    net, hook = classifier(), EarlyStopping()
    before, state = net.params.copy(), hook.state()
    with pytest.raises(ValueError, match="run.st cannot be resumed: "):
        net.fit(X, T, epochs=4, resume=path, callbacks=[hook], **more)
    assert (net.params == before).all() and net.last_run is None and hook.state() == state


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_run_whose_last_step_overflowed_resumes_and_stays_diverged(average: float,
                                                                     tmp_path: Path) -> None:
    """The loss of its epoch was recorded before that step."""
    rng, path = np.random.default_rng(0), tmp_path / "run.st"
    X, T = rng.normal(size=(64, 6)) * 100, rng.normal(size=(64, 3)) * 1000
    more: dict[str, Any] = {"batch_size": 64, "optimizer": fastbp.SGD(1e36), "average": average}

    def net() -> fastbp.Network:
        return fastbp.Network([fastbp.Dense(6, 3)], "MSELoss")

    one, again = net(), net()
    told = one.fit(X, T, epochs=1, callbacks=[Checkpoint(path)], **more)
    assert np.isfinite(told["loss"]).all() and not np.isfinite(one.params).all()
    np.testing.assert_array_equal(fastbp.load(path).params, one.params)
    again.fit(X, T, epochs=0, resume=path, **more)
    np.testing.assert_array_equal(again.params, one.params)
    with pytest.warns(RuntimeWarning, match="loss is nan in epoch 2"):
        again.fit(X, T, epochs=2, resume=path, **more)


OTHER_SETTINGS = [("shuffle", False, True), *(
    (name, value, 0.0) for name, value in (
        ("l1", 0.1), ("l2", 1.0), ("clip_value", 0.5), ("clip_norm", 1e-3), ("max_norm", 2.0),
        ("average", 0.9)))]


@pytest.mark.parametrize(("name", "one", "other"), OTHER_SETTINGS)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_checkpoint_of_other_settings_is_refused(name: str, one: Any, other: Any,
                                                   streamed: bool, tmp_path: Path) -> None:
    (X, T), path = clusters(64), tmp_path / "run.st"

    def fit(net: fastbp.Network, epochs: int, value: Any, **more: Any) -> fastbp.History:
        more |= {name: value, "epochs": epochs}
        return fastbp.fit_stream(net, [(X, T)], **more) if streamed else net.fit(X, T, **more)

    for saved, here in (one, other), (other, one):
        fit(classifier(), 1, saved, callbacks=[Checkpoint(path)])
        net = classifier()
        before = net.params.copy()
        with pytest.raises(ValueError, match=f"the saved run has {name} {saved}, this one {here}"):
            fit(net, 3, here, resume=path)
        assert (net.params == before).all() and net.last_run is None
        same = np.array(saved)[()] if name == "shuffle" else np.float64(saved)
        assert len(fit(net, 2, same, resume=path)["loss"]) == 2


def test_what_differs_of_another_network_is_named(tmp_path: Path) -> None:
    (X, T), path = clusters(64), tmp_path / "run.st"

    def net(*more: Layer, slope: float = 0.1, seed: int = 0) -> fastbp.Network:
        return fastbp.Network([fastbp.Dense(6, 8), fastbp.LeakyReLU(slope), fastbp.Dense(8, 4),
                               *more], "SoftmaxCrossEntropyLoss", seed=seed)

    net().fit(X, T, epochs=1, callbacks=[Checkpoint(path)])
    for other, saved, here in (
            (net(seed=3), "{'seed': 0}", "{'seed': 3}"),
            (net(slope=0.2),
             "{'layers[1]': {'type': 'LeakyReLU', 'negative_slope': 0.1}}",
             "{'layers[1]': {'type': 'LeakyReLU', 'negative_slope': 0.2}}"),
            (net(fastbp.Identity()), "{'layers': 3}",
             "{'layers': 4, 'layers[3]': {'type': 'Identity'}}")):
        with pytest.raises(ValueError) as error:
            other.fit(X, T, epochs=2, resume=path)
        assert str(error.value) == (f"{path} cannot be resumed: it is the run of another network: "
                                    f"it has {saved}, this one {here}")


def test_settings_that_a_checkpoint_does_not_have_are_not_compared(tmp_path: Path) -> None:
    (X, T), path = clusters(64), tmp_path / "run.st"
    classifier().fit(X, T, epochs=1, l2=np.float32(0.1), callbacks=[Checkpoint(path)])
    assert classifier().fit(X, T, epochs=2, l2=np.float32(0.1), resume=path)
    arrays, metadata = read(path)
    described = json.loads(metadata["fastbp-run"])
    for name in ("shuffle", "decoupled", "by_rows", "weight_decay", "l1", "l2", "clip_value",
                 "clip_norm", "max_norm", "average", "weights", "figures"):
        del described[name]
    del metadata[VERSION]
    write(path, arrays, metadata | {"fastbp-run": json.dumps(described)})
    other: dict[str, Any] = {"l2": 1.0, "class_weight": {0: 2.0}, "metrics": ["accuracy"]}
    assert len(classifier().fit(X, T, epochs=2, resume=path, **other)["loss"]) == 2


@pytest.mark.parametrize(("one", "other", "match"), [
    ({}, {"validation_data": True},
     r"figures \['learning_rate', 'loss', 'samples_per_s'\], this one .*'val_loss'\]"),
    ({"metrics": ["log_loss"]}, {"metrics": ["f1"]}, "figures .*'log_loss'.*, this one"),
    ({"class_weight": {0: 2.0}}, {}, "weights .*checksum [0-9a-f]{8}, this one none"),
    ({"class_weight": {0: 2.0}}, {"class_weight": {1: 2.0}}, "weights .*checksum .* checksum"),
    ({"sample_weight": 1.0}, {}, "weights .*, this one none"),
    ({"sample_weight": 1.0}, {"sample_weight": 2.0}, "weights .*, this one .*")])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_checkpoint_of_other_weights_or_figures_is_refused(
        one: dict[str, Any], other: dict[str, Any], match: str, streamed: bool,
        tmp_path: Path) -> None:
    (X, T), path = clusters(64), tmp_path / "run.st"
    if streamed and ("metrics" in one or "sample_weight" in other):
        pytest.skip("no metrics of the stream's rows; their weights are not read to compare")

    def fit(net: fastbp.Network, epochs: int, sample_weight: float | None = None,
            validation_data: bool = False, **more: Any) -> fastbp.History:
        weights = [] if sample_weight is None else [np.full(64, sample_weight) + T]
        more |= {"epochs": epochs, "validation_data": (X, T) if validation_data else None}
        if streamed:
            return fastbp.fit_stream(net, [(X, T, *weights)], **more)
        return net.fit(X, T, sample_weight=weights[0] if weights else None, **more)

    for saved, here, said in (one, other, match), (other, one, "the saved run has"):
        fit(classifier(), 1, **saved, callbacks=[Checkpoint(path)])
        net = classifier()
        before = net.params.copy()
        with pytest.raises(ValueError, match=said):
            fit(net, 3, **here, resume=path)
        assert (net.params == before).all() and net.last_run is None
        assert {*map(len, fit(net, 3, **saved, resume=path).values())} == {3}


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


def test_a_run_that_early_stopping_ended_is_over(tmp_path: Path) -> None:
    X, T = clusters(32)
    nets, found = [classifier() for _ in range(2)], []
    path = tmp_path / "run"
    for net, resume in zip(nets, (None, path), strict=True):
        hooks = [Figures([1.0] * 20), EarlyStopping("figure", 2, mode="min"), Checkpoint(path)]
        found.append(net.fit(X, T, epochs=20, resume=resume, callbacks=hooks))
    assert len(found[0]["loss"]) == len(found[1]["loss"]) == 4
    np.testing.assert_array_equal(nets[0].params, nets[1].params)


def test_a_relative_path_is_that_of_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                              ) -> None:
    for name in ("start", "{epoch}"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        hooks = [Checkpoint("run.st"), Checkpoint("run{epoch}.st", keep="all"),
                 Lambda(lambda *_: os.chdir(tmp_path))]
        classifier().fit(*clusters(32), epochs=2, callbacks=hooks)
        assert sorted(os.listdir(tmp_path / name)) == ["run.st", "run1.st", "run2.st"]
        assert read(tmp_path / name / "run.st")[0]["run/cursor"][EPOCH] == 2
    assert sorted(os.listdir(tmp_path)) == ["start", "{epoch}"]
