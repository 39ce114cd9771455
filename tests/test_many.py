"""Many networks at once: each as if it were alone."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp._jit import thread_count
from fastbp.callbacks import EarlyStopping, Lambda

from .builders import CHAINS, classifier, clusters, data, network


def alone(nets: list[fastbp.Network], X: Any, T: Any, options: list[dict[str, Any]]) -> list[Any]:
    return [net.fit(x, t, n_threads=1, **own)
            for net, x, t, own in zip(nets, X, T, options, strict=True)]


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_seeds_sizes_and_hyperparameters_as_if_alone(n_threads: int) -> None:
    X, T = clusters(150)
    options = [{"optimizer": fastbp.Adam(0.01)}, {"optimizer": "sgd", "batch_size": 7},
               {"epochs": 5, "l2": 0.1}, {"sample_weight": np.arange(150)},
               {"class_weight": "balanced", "shuffle": False}, {"average": 0.9}] * 3

    def nets() -> list[fastbp.Network]:
        return [classifier("float64" if i % 4 == 0 else "float32", seed=i)
                for i in range(len(options))]

    one, other = nets(), nets()
    common = {"epochs": 3, "batch_size": 32}
    found = fastbp.fit_many(one, X, T, options=options, n_threads=n_threads, **common)
    expected = alone(other, [X] * 18, [T] * 18, [{**common, **own} for own in options])
    for net, twin, history, whole in zip(one, other, found, expected, strict=True):
        assert net.params.tobytes() == twin.params.tobytes()
        assert history["loss"] == whole["loss"]
        np.testing.assert_array_equal(net.predict(X), twin.predict(X))


def test_folds_segments_and_lists_of_data() -> None:
    X, T = clusters(120)
    rows = [np.setdiff1d(np.arange(120), np.arange(k, 120, 4)) for k in range(4)]
    nets, twins, lists, both = ([classifier(seed=k) for k in range(4)] for _ in range(4))
    fastbp.fit_many(nets, X, T, rows=rows, epochs=3)
    fastbp.fit_many(lists, [X[r] for r in rows], [T[r] for r in rows], epochs=3)
    fastbp.fit_many(both, [X] * 4, [T] * 4, rows=rows, epochs=3)
    alone(twins, [X[r] for r in rows], [T[r] for r in rows], [{"epochs": 3}] * 4)
    for a, b, c, d in zip(nets, twins, lists, both, strict=True):
        assert a.params.tobytes() == b.params.tobytes() == c.params.tobytes() == d.params.tobytes()


def test_rows_are_named_in_every_way_of_numpys() -> None:
    X, T = clusters(40)
    mask = np.arange(40) % 3 > 0
    rows = [mask, mask.tolist(), slice(5, 30), np.array([-1, -40, 3]), range(10)]
    nets, twins = ([classifier(seed=k) for k in range(5)] for _ in range(2))
    fastbp.fit_many(nets, X, T, rows=rows, epochs=2)
    chosen = [np.arange(40)[np.array(own) if isinstance(own, (list, range)) else own]
              for own in rows]
    alone(twins, [X[own] for own in chosen], [T[own] for own in chosen], [{"epochs": 2}] * 5)
    for net, twin in zip(nets, twins, strict=True):
        np.testing.assert_array_equal(net.params, twin.params)
    for bad in (40, -41):
        with pytest.raises(ValueError, match=rf"^rows\[1\] holds {bad}, and X has 40 rows"):
            fastbp.fit_many(nets[:2], X, T, rows=[[39, -40], [0, bad]])
    with pytest.raises(TypeError, match=r"rows\[0\] must hold integers"):
        fastbp.fit_many(nets[:1], X, T, rows=[mask[:39]])


def test_labels_that_callbacks_write_to_are_not_those_of_other_networks() -> None:
    X, T = clusters(60)
    nets, twins = ([classifier(seed=k) for k in range(2)] for _ in range(2))
    fastbp.fit_many(twins, X, T, epochs=3)

    def spoil(epoch: int, logs: dict[str, float]) -> None:
        T[0] = 10**10  # which the other may be about to read

    fastbp.fit_many(nets, X, T, epochs=3, n_threads=1,
                    options=[{"callbacks": [fastbp.callbacks.Lambda(spoil)]}, {}])
    for net, twin in zip(nets, twins, strict=True):
        np.testing.assert_array_equal(net.params, twin.params)


def test_weights_for_all_networks_are_of_the_rows_of_each() -> None:
    X, T = clusters(120)
    rng, weights = np.random.default_rng(0), np.arange(120.0)
    rows = [rng.integers(0, 120, 120), tuple(range(60)), np.arange(0, 120, 2)]
    nets, twins = ([classifier(seed=k) for k in range(3)] for _ in range(2))
    own = {"sample_weight": np.arange(60)}  # of the rows that are picked
    fastbp.fit_many(nets, X, T, rows=rows, epochs=2, sample_weight=weights,
                    options=[{}, {}, own])
    rows[1] = np.arange(60)
    alone(twins, [X[r] for r in rows], [T[r] for r in rows],
          [{"epochs": 2, "sample_weight": weights[r]} for r in rows[:2]] + [own | {"epochs": 2}])
    for net, twin in zip(nets, twins, strict=True):
        assert net.params.tobytes() == twin.params.tobytes()


def test_after_an_error_all_end_as_alone_and_at_once() -> None:
    X, T = clusters(100)

    def rate(epoch: float) -> float:
        if epoch < 20:
            return 0.1
        raise ArithmeticError("no rate")

    net = classifier()
    with pytest.raises(ArithmeticError):
        fastbp.fit_many([net], X, T, epochs=4000, average=0.9,
                        optimizer=fastbp.SGD(fastbp.schedules.Function(rate)))
    assert net.last_run is not None
    np.testing.assert_array_equal(net.params, net.last_run.average)

    seen, failed = [], threading.Event()

    def fail(epoch: int, logs: dict[str, float]) -> None:
        failed.set()
        raise ArithmeticError("no more")

    def count(epoch: int, logs: dict[str, float]) -> None:
        seen.append(epoch)
        failed.wait(60)
        time.sleep(0.01)

    with pytest.raises(ArithmeticError):
        fastbp.fit_many([classifier(), classifier()], X, T, epochs=500, n_threads=2,
                        options=[{"callbacks": [Lambda(f)]} for f in (fail, count)])
    assert len(seen) < 500


@pytest.mark.skipif(thread_count(2) < 2, reason="one network after the other")
def test_after_an_error_those_end_that_nothing_watches() -> None:
    X, T = clusters(100)
    begun = threading.Event()

    def rate(epoch: float) -> float:
        begun.set()
        return 0.1

    def fail(epoch: int, logs: dict[str, float]) -> None:
        begun.wait(60)
        raise ArithmeticError("no more")

    nets, epochs = [classifier(), classifier()], 200_000
    with pytest.raises(ArithmeticError):
        fastbp.fit_many(nets, X, T, epochs=epochs, batch_size=100, n_threads=2, options=[
            {"callbacks": [Lambda(fail)]},
            {"optimizer": fastbp.SGD(fastbp.schedules.Function(rate))}])
    run = nets[1].last_run
    assert run is not None and len(run.history.get("loss", ())) < epochs


@pytest.mark.parametrize("chain", CHAINS)
def test_every_kind_of_network_shares_plans(chain: str) -> None:
    X, T = data(chain, 70)
    nets, twins = ([network(chain, "float32", seed=k) for k in range(3)] for _ in range(2))
    fastbp.fit_many(nets, X, T, epochs=2, n_threads=1)
    for net, twin in zip(nets, twins, strict=True):
        twin.fit(X, T, epochs=2)
        assert net.params.tobytes() == twin.params.tobytes()
        assert not net._plans


@pytest.mark.filterwarnings("ignore:.* takes the softmax of its input itself")
def test_a_fused_loss_is_not_the_loss_itself() -> None:
    X, T = clusters(60)

    def nets() -> list[fastbp.Network]:
        return [fastbp.Network([fastbp.Dense(X.shape[1], 8), fastbp.Dense(8, 4),
                                fastbp.Softmax()], loss, seed=1)
                for loss in (fastbp.CrossEntropyLoss(), fastbp.SoftmaxCrossEntropyLoss())]

    one, other = nets(), nets()
    fastbp.fit_many(one, X, T, epochs=2, n_threads=1)
    alone(other, [X] * 2, [T] * 2, [{"epochs": 2}] * 2)
    for net, twin in zip(one, other, strict=True):
        assert net.params.tobytes() == twin.params.tobytes()


def test_constants_of_a_loss_are_its_own() -> None:
    X, T = clusters(60)
    one, other = ([fastbp.Network([fastbp.Dense(6, 1)], fastbp.HuberLoss(delta=delta), seed=1)
                   for delta in (0.1, 9.0)] for _ in range(2))
    fastbp.fit_many(one, X, T, epochs=2, n_threads=1)
    alone(other, [X] * 2, [T] * 2, [{"epochs": 2}] * 2)
    for net, twin in zip(one, other, strict=True):
        np.testing.assert_array_equal(net.params, twin.params)


def test_constants_that_a_layer_does_not_tell_of_are_its_own() -> None:
    class Slope(fastbp.LeakyReLU):
        def __init__(self, own: float) -> None:
            super().__init__()
            self.own = own

        def constants(self) -> tuple[float, float]:
            return self.own, 0.0

    X, T = clusters(60)
    one, other = ([fastbp.Network([fastbp.Dense(X.shape[1], 8), Slope(a), fastbp.Dense(8, 4)],
                                  "SoftmaxCrossEntropyLoss", seed=1) for a in (0.1, 0.9)]
                  for _ in range(2))
    fastbp.fit_many(one, X, T, epochs=2, n_threads=1)
    alone(other, [X] * 2, [T] * 2, [{"epochs": 2}] * 2)
    for net, twin in zip(one, other, strict=True):
        assert net.compiled and net.params.tobytes() == twin.params.tobytes()


def test_validation_and_callbacks_run_network_by_network() -> None:
    X, T = clusters(100)
    nets, twins = ([classifier(seed=k) for k in range(4)] for _ in range(2))
    done: list[int] = []
    found = fastbp.fit_many(
        nets, X, T, epochs=6, validation_data=(X, T), on_done=lambda i, h: done.append(i),
        options=[{"callbacks": [EarlyStopping(patience=1)]} for _ in nets])
    for net, twin, history in zip(nets, twins, found, strict=True):
        expected = twin.fit(X, T, epochs=6, validation_data=(X, T),
                            callbacks=[EarlyStopping(patience=1)])
        assert history["val_loss"] == expected["val_loss"]
        assert net.params.tobytes() == twin.params.tobytes()
    assert done == [0, 1, 2, 3]


def test_no_callback_object_is_of_two_networks() -> None:
    X, T = clusters(50)
    nets, hook = [classifier(seed=k) for k in range(2)], EarlyStopping("loss")
    before = [net.params.copy() for net in nets]
    for shared in ({"callbacks": [hook]}, {"callbacks": iter([hook])},
                   {"options": [{"callbacks": [hook]}] * 2}):
        with pytest.raises(ValueError, match=r"callbacks .* EarlyStopping is given for "
                                             r"networks\[0\] and networks\[1\].*options="):
            fastbp.fit_many(nets, X, T, **shared)
    for net, params in zip(nets, before, strict=True):
        np.testing.assert_array_equal(net.params, params)
    fastbp.fit_many(nets[:1], X, T, epochs=1, callbacks=iter([hook]))
    assert hook.best_epoch == 0


def test_each_goes_on_where_it_ended() -> None:
    X, T = clusters(100)
    nets, twin = [classifier(seed=k) for k in range(2)], classifier(seed=1)
    for _ in range(2):
        fastbp.fit_many(nets, X, T, epochs=2, warm_start=True)
    twin.fit(X, T, epochs=4)
    assert nets[1].params.tobytes() == twin.params.tobytes()


@pytest.mark.parametrize(("arguments", "error", "match"), [
    ({"networks": [3]}, TypeError, r"networks\[0\] must be a Network, got 3"),
    ({"rows": [[0]]}, ValueError, "rows must have one entry a network, 2, got 1"),
    ({"options": [{}] * 3}, ValueError, "options must have one entry"),
    ({"options": [{}, {"epochs": -1}]}, ValueError, r"networks\[1\]: epochs must be"),
    ({"networks": classifier()}, TypeError, "networks must be a sequence of Network, got"),
    ({"rows": 3}, TypeError, "rows must be a sequence, got 3"),
    ({"rows": [[0, 1], [99]]}, ValueError, r"rows\[1\] holds 99, and X has 50 rows"),
    ({"rows": [[0, 1], [2]], "sample_weight": [1, 2]}, ValueError,
     r"sample_weight must have shape \(50,\), got \(2,\)"),
    ({"rows": [[0, 1], ["a"]]}, TypeError, r"rows\[1\] must hold"),
    ({"rows": [[0, 1], [0.5]]}, TypeError, r"rows\[1\] must hold integers, got \[0.5\]"),
    ({"rows": [[0, 1], []]}, ValueError, r"rows\[1\] must hold the numbers of rows"),
    ({"on_done": 3}, TypeError, "on_done must be a function, got 3"),
    ({"options": 3}, TypeError, "options must be a sequence, got 3"),
    ({"options": [{}, 3]}, TypeError, r"options\[1\] must be a dict, got 3"),
    ({"n_threads": 0}, ValueError, "n_threads must be"),
    ({"epoch": 3}, TypeError, r"networks\[0\]: fit\(\) got an unexpected .* 'epoch'"),
    ({"options": [{}, {"lr": 1}]}, TypeError, r"networks\[1\]: fit\(\) got .* 'lr'"),
    ({"options": [{}, {"X": 1}]}, TypeError, r"networks\[1\]: fit\(\) got .* 'X'"),
    ({"callbacks": [3]}, TypeError, "callbacks must hold Callback objects, got 3"),
    ({"options": [{}, {"callbacks": 3}]}, TypeError,
     r"callbacks of networks\[1\] must be a sequence of Callback objects, got 3"),
])
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception], match: str) -> None:
    X, T = clusters(50)
    own = {"networks": [classifier(seed=k) for k in range(2)], **arguments}
    with pytest.raises(error, match=match):
        fastbp.fit_many(X=X, T=T, **own)


def test_names_of_options_are_checked_before_any_network_is_trained() -> None:
    nets = [classifier(seed=k) for k in range(2)]
    before = nets[0].params.copy()
    with pytest.raises(TypeError, match=r"networks\[1\]: fit\(\) got an unexpected .* 'nope'"):
        fastbp.fit_many(nets, *clusters(50), options=[{}, {"nope": 1}], n_threads=1)
    assert nets[0].last_run is None and (nets[0].params == before).all()


def test_one_network_cannot_be_trained_twice_at_once() -> None:
    net = classifier()
    with pytest.raises(ValueError, match="one network twice"):
        fastbp.fit_many([net, net], *clusters(50))
    assert fastbp.fit_many([], *clusters(50)) == []


def test_errors_made_of_more_than_a_text_are_named_too() -> None:
    X = np.zeros((4, 2))

    def fails(epoch: int, logs: dict[str, float]) -> None:
        json.loads("{")

    net = fastbp.Network([fastbp.Dense(2, 1)], "l2")
    with pytest.raises(ValueError, match=r"^networks\[0\]: Expecting property name") as caught:
        fastbp.fit_many([net], X, X[:, :1], options=[{"callbacks": [Lambda(fails)]}])
    assert isinstance(caught.value.__cause__, json.JSONDecodeError)


def images(shape: tuple[int, ...], seed: int = 0) -> fastbp.Network:
    return fastbp.Network([fastbp.Flatten(shape), fastbp.Dense(6, 2)], "l2", seed=seed)


@pytest.mark.parametrize("counts", [(1, 1), (3, 3), (2, 1)])
def test_lists_of_other_numbers_of_data_are_told_as_such(counts: tuple[int, int]) -> None:
    X, T = np.zeros((5, 6)), np.zeros(5, int)
    nets = [classifier(seed=k) for k in range(2)]
    with pytest.raises(ValueError, match=f"X is a list of {counts[0]} .* {counts[1]}, for 2 netw"):
        fastbp.fit_many(nets, [X] * counts[0], [T] * counts[1])
    rows = fastbp.fit_many(nets, X.tolist(), T.tolist(), epochs=1)  # of lists of rows no word
    assert len(rows) == 2


def test_lists_of_rows_of_more_than_one_axis() -> None:
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(2, 20, 2, 3)), rng.normal(size=(2, 20, 2))
    nets, twins = ([images((2, 3), seed) for seed in range(2)] for _ in range(2))
    fastbp.fit_many(nets, list(X), list(T), epochs=2)
    alone(twins, X, T, [{"epochs": 2}] * 2)  # type: ignore[arg-type]
    for a, b in zip(nets, twins, strict=True):
        np.testing.assert_array_equal(a.params, b.params)
    rows = rng.normal(size=(2, 1, 2, 3))  # as many rows as there are networks
    nets, twins = ([images((1, 2, 3), seed) for seed in range(2)] for _ in range(2))
    fastbp.fit_many(nets, list(rows), list(T[0, :2]), epochs=2)
    alone(twins, [rows] * 2, [T[0, :2]] * 2, [{"epochs": 2}] * 2)
    for a, b in zip(nets, twins, strict=True):
        np.testing.assert_array_equal(a.params, b.params)


def test_each_network_is_asked_for_the_shape_of_its_rows() -> None:
    X, T = np.ones((20, 2, 3)), np.ones((20, 2))
    for other in images((3, 2)), fastbp.Network([fastbp.Dense(6, 2)], "l2"):
        with pytest.raises(ValueError, match=r"networks\[1\]: X must .*\(20, 2, 3\)"):
            fastbp.fit_many([images((2, 3)), other], X, T, epochs=1)
        assert other.last_run is None


@pytest.mark.parametrize("started", [0, 1, 2])
def test_without_more_threads_the_networks_get_the_same_bits(
        started: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the end of the program, or at a limit of threads."""
    (X, T), left, start = clusters(64), [None] * started, threading.Thread.start

    def limited(self: threading.Thread) -> None:
        if not left:
            raise RuntimeError("can't start new thread")
        left.pop()
        start(self)

    nets, twins = [[classifier(seed=i) for i in range(6)] for _ in range(2)]
    steps, seen = [0] * 6, list[int]()

    def hook(i: int) -> Lambda:
        def count(*_: Any) -> None:
            steps[i] += 1
        return Lambda(count)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", limited)
        found = fastbp.fit_many(nets, X, T, epochs=2, n_threads=3,
                                options=[{"callbacks": [hook(i)]} for i in range(6)],
                                on_done=lambda i, history: seen.append(i))
    # A thread that has done all before the next is asked for is asked again.
    assert len(left) <= max(started - 1, 0) and steps == [2] * 6 and seen == [*range(6)]
    for net, twin, history in zip(nets, twins, found, strict=True):
        assert history["loss"] == twin.fit(X, T, epochs=2, n_threads=1)["loss"]
        assert (net.params == twin.params).all()


def test_an_interrupt_while_threads_are_started_stops_those_that_are(
        monkeypatch: pytest.MonkeyPatch) -> None:
    (X, T), begun, told = clusters(64), threading.Event(), list[int]()
    submit, calls = ThreadPoolExecutor.submit, list[Any]()

    def interrupted(*args: Any) -> Any:
        calls.append(args)
        if len(calls) > 1:
            assert begun.wait(60)
            raise KeyboardInterrupt
        return submit(*args)

    def tell(epoch: int, logs: dict[str, float]) -> None:
        begun.set()
        told.append(epoch)
        time.sleep(0.01)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
    nets = [classifier(seed=i) for i in range(3)]
    with pytest.raises(KeyboardInterrupt):
        fastbp.fit_many(nets, X, T, epochs=10_000, n_threads=2, batch_size=64,
                        options=[{"callbacks": [Lambda(tell)]}, {}, {}])
    assert 0 < len(told) < 10_000 and nets[2].last_run is None
