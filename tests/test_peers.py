"""Peers: each computes the same error, is timed in its turn, and is told by what it took."""

from __future__ import annotations

import importlib
import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("threadpoolctl")

from bench import command, growth, peers, precision, scaling, timing
from fastbp.peers import measure
from fastbp.peers import numpy as plain
from fastbp.peers.fastbp import FastbpBackend, FastbpCalls
from fastbp.peers.measure import CALLS, PEERS, PRECISIONS
from fastbp.peers.workload import HIDDEN, Workload, read, row_of


class Clock:
    """Time goes on only where something is said to take it."""

    def __init__(self) -> None:
        self.now, self.slept = 0.0, 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


class Fake:
    """A backend whose steps take the seconds in ``costs``, call by call, the last from then on."""

    def __init__(self, work: Workload, clock: Clock, costs: Sequence[float] = (1e-3,),
                 factor: float = 1.0) -> None:
        self.work, self.steps, self.clock = work, work.batches, clock
        self.costs, self.factor, self.calls = costs, factor, list[tuple[int, bool]]()

    def epochs(self, n: int, shuffle: bool = True) -> None:
        cost = self.costs[min(len(self.calls), len(self.costs) - 1)]
        self.clock.now += n * self.steps * cost
        self.calls.append((n, shuffle))

    def weights(self) -> list[np.ndarray]:
        return [a * self.factor for a in self.work.initial_weights()]


def test_a_row_is_timed_in_turns_and_the_median_counts(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock, made, peaks = Clock(), list[Fake](), iter([2e9, 4e9, 3e9, 1e9])

    def maker(**options: Any) -> Any:
        def make(work: Workload, n_threads: int) -> Fake:
            assert n_threads == 2
            made.append(Fake(work, clock, **options))
            return made[-1]
        return make

    def refuses(work: Workload, n_threads: int) -> Fake:
        raise NotImplementedError("not this one")

    kinds = {"uneven": maker(costs=(4e-3, 4e-3, 4e-3, 9e-3, 2e-3, 1e-3)), "fastbp": maker(),
             "other": maker(factor=3.0), "refuses": refuses}
    monkeypatch.setitem(sys.modules, "fastbp.peers.fake", SimpleNamespace(**kinds))
    monkeypatch.setattr(measure, "PEERS", {name: ("fake", name) for name in kinds} | {
        "absent": ("nosuch", "Fake")})
    monkeypatch.setattr(measure, "CALLS", {})
    monkeypatch.setattr(measure, "PRECISIONS", {})
    monkeypatch.setattr(measure, "time", clock)
    monkeypatch.setattr(measure, "peak_flops", lambda dtype, threads: next(peaks))
    found = measure.measure([row_of("4-5-3:8")], 2, [*kinds, "absent"], budget=3.0, repeat=3)
    flops = 8 * (6 * (4 * 5 + 5 * 3) - 2 * 4 * 5)
    assert [r["backend"] for r in found] == ["uneven", "fastbp", "other"]
    for record, us in zip(found, (2000, 1000, 1000), strict=True):
        assert (record["row"], record["threads"]) == ("4-5-3:8", 2)
        assert record["us"] == pytest.approx(us)
        assert record["gflops"] == pytest.approx(flops / us / 1e3)
        assert record["share_of_peak"] == pytest.approx(flops / us * 1e6 / 4e9)
    assert [r["agrees"] for r in found] == [True, True, False]
    assert found[1]["error"] == made[0].work.error(made[0].work.initial_weights())
    for one, cost in zip(made, (4e-3, 1e-3, 1e-3), strict=True):
        turn = (max(1, round(1 / (one.steps * cost))), True)  # a third of the budget each
        assert one.calls == [(1, False), (1, True), (1, True), turn, turn, turn]
    assert clock.slept == pytest.approx(9 * measure.REST)
    said = capsys.readouterr().err
    assert "not this one" in said and "nosuch" in said and said.count("DIFFERS") == 1


@pytest.mark.parametrize(("ours", "theirs"), [
    (np.nan, {np.nan: True, np.inf: True, 1.0: False}),
    (np.inf, {np.nan: True, np.inf: True, 1.0: False}),
    (1.0, {np.nan: False, np.inf: False, 1.0: True, 1.009: True, 0.991: True, 1.011: False}),
    (0.0, {0.0: True, 1e-9: False})])
def test_backends_that_diverge_alike_agree(ours: float, theirs: dict[float, bool]) -> None:
    """Else fastbp itself, whose error is NaN, was left out, and ``fastbp bench`` had no row."""
    assert {error: measure._agree(error, ours) for error in theirs} == theirs


def test_settings_are_measured_apart_and_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, status = list[Any](), [0]

    def run(command: list[str], env: dict[str, str], check: bool) -> Any:
        job = json.loads(command[-1])
        jobs.append(job)
        assert {env[f"{name}_NUM_THREADS"] for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")} == {
            str(job["threads"])}
        Path(job["out"]).write_text(json.dumps([{"threads": job["threads"]}]))
        return SimpleNamespace(returncode=status[0])

    monkeypatch.setattr(measure, "cores", lambda: [3, 5, 7, 9])
    monkeypatch.setattr(measure, "_apart", list)
    monkeypatch.setattr(measure, "within_quota", lambda n: n)
    monkeypatch.setattr(measure.subprocess, "run", run)
    rows = [row_of("4-3:8")]
    found = measure.compare(rows, ("fastbp", "jax"), 0.5, 7, settings=[2, 1, 2])
    assert found["records"] == [{"threads": 2}, {"threads": 1}] and found["cores"] == 4
    assert [(job["threads"], job["cores"]) for job in jobs] == [(2, [3, 5]), (1, [3])]
    assert jobs[0]["rows"] == rows and jobs[0]["backends"] == ["fastbp", "jax"]
    assert (jobs[0]["budget"], jobs[0]["repeat"]) == (0.5, 7)
    assert found["versions"]["numpy"] == np.__version__
    if "sklearn" in sys.modules:
        assert found["versions"]["sklearn"] == sys.modules["sklearn"].__version__
    for status[0] in (1, -9):
        with pytest.raises(RuntimeError, match=rf"with 2 thread\(s\) .* status {status[0]}$"):
            measure.compare(rows, settings=[2])


def test_a_process_stays_on_the_cores_of_its_job(tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[Any] = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda *given: pinned.append(given),
                        raising=False)
    monkeypatch.setattr(measure, "measure", lambda *given: [list(given)])
    job = {"rows": [row_of("4-3:8")], "threads": 2, "backends": ["fastbp"], "budget": 0.5,
           "repeat": 3, "cores": [4, 6], "out": str(tmp_path / "found.json")}
    with warnings.catch_warnings():
        measure._work(job)
    assert pinned == [(0, [4, 6])]
    assert json.loads((tmp_path / "found.json").read_text()) == [
        [job["rows"], 2, ["fastbp"], 0.5, 3]]


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("loss", ["l2", "softmax_cross_entropy"])
def test_the_error_of_all_is_that_of_the_network(hidden: str, loss: str) -> None:
    work = Workload("", (5, 7, 6, 3), 8, hidden, "sgd", loss, "float64")
    X, T = work.data()
    for rows in (50, 2000):
        found = work.error(work.initial_weights(), rows)
        assert found == pytest.approx(work.network().loss(X[:rows], T[:rows]), rel=1e-12)


def test_an_epoch_is_as_much_data_as_is_allowed() -> None:
    def batches(n_in: int, batch: int, dtype: str) -> int:
        work = Workload("", (n_in, 3), batch, "relu", "sgd", dtype=dtype)
        assert work.batches * n_in * batch * np.dtype(dtype).itemsize <= 32e6 or work.batches == 2
        return work.batches

    assert batches(10, 10, "float32") == 256
    assert batches(1000, 100, "float32") == 80 and batches(1000, 100, "float64") == 40
    assert batches(1 << 20, 100, "float32") == 2


@pytest.mark.parametrize(("kind", "method"), [(FastbpBackend, "fit"),
                                              (FastbpCalls, "partial_fit")])
def test_each_setting_has_its_threads(kind: Any, method: str,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    side, used = kind(Workload("", (5, 7, 3), 8, "relu", "sgd"), 3), list[int]()
    monkeypatch.setattr(side.network, method, lambda X, T, n_threads, **_: used.append(n_threads),
                        raising=False)
    side.epochs(1)
    assert set(used) == {3} and len(used) == (1 if method == "fit" else side.steps)


def test_rates_and_options_reach_the_fit() -> None:
    for optimizer, rate in (("sgd", 0.01), ("adam", 1e-3)):
        work = Workload("", (5, 7, 3), 8, "relu", optimizer)
        assert work.learning_rate == work.make_optimizer().learning_rate == rate
        for kind in FastbpBackend, FastbpCalls:
            bare, limited = kind(work, 1), kind(work, 1, max_norm=1e-3)
            for side in (bare, limited):
                side.epochs(1)
            W = limited.weights()[0]
            assert np.linalg.norm(W, axis=0).max() < 1.1e-3 < np.linalg.norm(
                bare.weights()[0], axis=0).max()


@pytest.mark.parametrize("name", ["numpy.call", "fastbp.call"])
@pytest.mark.parametrize("loss", ["l2", "softmax_cross_entropy"])
def test_calls_go_on_where_the_last_ended(name: str, loss: str) -> None:
    work = Workload("", (5, 7, 3), 8, "relu", "adam", loss, "float64")
    kind = {"numpy.call": plain.NumpyCalls, "fastbp.call": FastbpCalls}[name]
    whole, halves = kind(work, 1), kind(work, 1)
    whole.epochs(2)
    halves.epochs(1)
    halves.epochs(1)
    for a, b in zip(whole.weights(), halves.weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["jax", "jax.scan", "torch"])
@pytest.mark.parametrize("given", ["5-7-6-3:8:tanh:adam", "5-7-3:8:sigmoid:sgd:l2"])
def test_whole_epochs_of_peers_take_the_steps_of_a_fit(name: str, given: str,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    module, kind = PEERS[name]
    pytest.importorskip(module)
    monkeypatch.setattr(Workload, "batches", property(lambda self: 4))
    (work,) = read([row_of(given) | {"dtype": "float64"}]).values()
    own = getattr(importlib.import_module(f"fastbp.peers.{module}"), kind)
    ours, theirs, shuffled = FastbpBackend(work), own(work, 1), own(work, 1)
    for side in (ours, theirs):
        side.epochs(1, shuffle=False)
    shuffled.epochs(1)
    for a, b, c in zip(ours.weights(), theirs.weights(), shuffled.weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
        assert not np.allclose(a, c, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("given", ["5-7-3:8:relu:adam", "5-7-6-3:8:sigmoid:sgd",
                                   "5-7-1:8:tanh:adam:l2", "5-7-2:8:relu:sgd:l2"])
def test_scikit_learn_takes_the_steps_of_a_fit(given: str) -> None:
    sklearn = pytest.importorskip("fastbp.peers.sklearn")
    (work,) = read([row_of(given) | {"dtype": "float64"}]).values()
    ours, theirs = FastbpBackend(work), sklearn.SklearnBackend(work, 1)
    for side in (ours, theirs):
        side.epochs(1, shuffle=False)
    for a, b in zip(ours.weights(), theirs.weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=5e-6)


def test_scikit_learn_is_left_out_of_two_classes() -> None:
    sklearn = pytest.importorskip("fastbp.peers.sklearn")
    (work,) = read([row_of("5-7-2:8")]).values()
    with pytest.raises(NotImplementedError, match="two classes"):
        sklearn.SklearnBackend(work, 1)


@pytest.mark.parametrize("order", ["C_CONTIGUOUS", "F_CONTIGUOUS"])
@pytest.mark.parametrize("best", [1, 4])
def test_numpy_has_the_threads_and_the_order_that_are_faster_and_begins_anew(
        best: int, order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, limits = Clock(), list[int]()

    class Pools:
        def info(self) -> list[dict[str, Any]]:
            return [{"user_api": "blas", "num_threads": 4}, {"user_api": "openmp",
                                                             "num_threads": 9}]

        @contextmanager
        def limit(self, limits: int, user_api: str) -> Iterator[None]:
            assert user_api == "blas"
            used.append(limits)
            yield

    used, step = limits, plain.NumpyBackend.step

    def timed(self: Any, rows: Any) -> None:
        step(self, rows)
        clock.now += (used[-1] != best) + (2.0 if self.deltas[1].flags[order] else 4.0)

    monkeypatch.setattr(plain, "_CONTROLLER", Pools())
    monkeypatch.setattr(plain, "time", clock)
    monkeypatch.setattr(plain.NumpyBackend, "step", timed)
    work = Workload("", (5, 7, 3), 8, "relu", "adam", dtype="float64")
    backend = plain.NumpyBackend(work)
    assert backend.threads == best and used == [1, 4, 1, 4] and backend.step_count == 0
    assert backend.deltas[1].flags[order] and backend.values[1].flags[order]
    for a, b in zip(backend.weights(), work.initial_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not backend.m.any() and not backend.v.any()
    backend.epochs(1, shuffle=False)
    assert used[4:] == [best]
    ours = FastbpBackend(work)
    ours.epochs(1, shuffle=False)
    for a, b in zip(backend.weights(), ours.weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_times_are_of_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    monkeypatch.setattr(measure, "time", clock)
    small, large = (Fake(Workload("", (n, 3), 64, "relu", "sgd"), clock) for n in (8, 4096))
    assert small.steps > 2 * large.steps
    assert measure.epochs_for(small.epochs, 100.0) == round(100 / (small.steps * 1e-3))
    assert measure.epochs_for(small.epochs, 1e-9) == 1
    large.costs = (3e-3,)
    for side, cost in ((small, 1e-3), (large, 3e-3)):
        found = timing.seconds_per_step(side.epochs, side.steps, budget=30.0, repeat=3)
        assert found == pytest.approx(cost) and side.calls[-1][0] > 1
    assert timing.ratio_of_times(large, small) == pytest.approx(3)
    large.costs = tuple([3e-3] * len(large.calls) + [3e-3] * 2 + [3e-3, 1e-3, 1.0, 5e-3, 1e-3])
    assert timing.ratio_of_times(large, small) == pytest.approx(3)  # the median of five


def test_growth_is_told_by_the_best_turn_of_each_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "FACTORS", (1, 2, 4))
    monkeypatch.setattr(growth, "TURNS", 3)
    seen: list[tuple[int, int]] = []

    def timed(epochs: Any, steps: int, budget: float) -> float:
        backend = epochs.__self__
        seen.append((len(backend.X), steps))
        assert len(backend.T) == len(backend.X) == steps * backend.work.batch
        return float(backend.work.flops * (1.0, 0.5, 2.0)[(len(seen) - 1) // 3])

    monkeypatch.setattr(growth, "seconds_per_step", timed)
    for axis in ("rows", "depth", "batch"):
        seen.clear()
        found = growth.measure(axis, 1)
        assert [size for size, _, _ in found] == [growth.AXES[axis] * f for f in (1, 2, 4)]
        assert [each for _, _, each in found] == pytest.approx([0.5] * 3)
        flops = [growth.workload(axis, size)[0].flops for size, _, _ in found]
        assert [step for _, step, _ in found] == pytest.approx([0.5 * f for f in flops])
        assert seen[:3] == seen[3:6] == {
            "rows": [(256, 4), (512, 8), (1024, 16)], "depth": [(4096, 64)] * 3,
            "batch": [(2048, 256), (4096, 256), (4096, 128)]}[axis]
    assert growth.workload("depth", 3)[0].sizes == (64, 64, 64, 64, 10)  # three hidden layers


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Calls of a ``compare`` that counts them, and has not got the backend torch."""
    found: list[Any] = []

    def compared(rows: list[Any], backends: list[str], *rest: Any) -> dict[str, Any]:
        found.append((rows, backends, *rest))
        return {"records": [{"row": row["name"], "backend": name, "call": len(found)}
                            for row in rows for name in backends if name != "torch"]}

    monkeypatch.setattr(command, "compare", compared)
    return found


def test_results_are_kept_and_reported_again(tmp_path: Path, calls: list[Any],
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "found.json"
    given = path, "text", ("digits",), ("fastbp", "own"), 0.5, 3, [1, 2]
    monkeypatch.setattr(sys, "argv", ["x", "--backends", "fastbp", "own", "jax"])
    first = {"records": [{"row": "digits", "backend": name, "call": 1}
                         for name in ("fastbp", "own", "jax")]}
    assert command.measured(*given) == (first, path)
    assert first == json.loads(path.read_text())
    ((rows, *rest),) = calls
    assert [row["name"] for row in rows] == ["digits"]
    assert rest == [["fastbp", "own", "jax"], 0.5, 3, [1, 2]]
    monkeypatch.setattr(sys, "argv", ["x", "--report"])
    assert command.measured(*given) == (first, path) and len(calls) == 1
    monkeypatch.setattr(sys, "argv", ["x", "--repeat", "5", "--budget", "2"])
    found, where = command.measured(*given)
    assert {r["call"] for r in found["records"]} == {2} and where == path
    assert calls[1][2:] == (2.0, 5, [1, 2])


@pytest.mark.parametrize("other", [["iris"], ["digits", "iris", "4-5-3:8"], ["4-5-3:8"],
                                   ["--backends", "fastbp"], ["--backends", "fastbp", "torch"]])
def test_a_run_of_other_rows_or_backends_leaves_the_results(
        tmp_path: Path, calls: list[Any], monkeypatch: pytest.MonkeyPatch, other: list[str],
        capsys: pytest.CaptureFixture[str]) -> None:
    path, last = tmp_path / "peers.json", tmp_path / "last-peers.json"
    backends = ["fastbp", "torch" if "torch" in other else "jax"]  # not installed

    def ran(*argv: str) -> tuple[dict[str, Any], Path]:
        monkeypatch.setattr(sys, "argv", ["x", *argv])
        return command.measured(path, "text", ("digits", "iris"), backends, 0.5, 3)

    path.write_text('"whole"')
    with pytest.raises(SystemExit, match=f"nothing to report: there is no .*{last.name}"):
        ran("--last")
    found = ran(*other)
    assert found == (json.loads(last.read_text()), last) and len(calls) == 1
    assert f"written to {last}" in capsys.readouterr().err
    assert ran("--last") == found and ran("--report") == ("whole", path) and len(calls) == 1


def test_plots_and_accuracies_go_where_the_results_are(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Path] = []
    for module in (peers, scaling):
        monkeypatch.setattr(module, "measured", lambda *_, **__: ({}, tmp_path / "last-x.json"))
        monkeypatch.setattr(module, "report", lambda _: "")
        monkeypatch.setattr(module, "plot", lambda _, path: drawn.append(path))
        module.main()
    assert drawn == [tmp_path / "last-x.svg"] * 2
    monkeypatch.setattr(precision, "measured", lambda *_, **__: ({}, tmp_path / "last-p.json"))
    monkeypatch.setattr(precision, "report", lambda _: "")
    monkeypatch.setattr(precision, "accuracy", lambda *_: 0.5)
    precision.main()
    assert set(json.loads((tmp_path / "last-p.json").read_text())["accuracy"].values()) == {0.5}


def test_backends_of_one_name_are_one_backend() -> None:
    tables = (PEERS, CALLS, PRECISIONS)
    for name in {*PEERS, *CALLS, *PRECISIONS}:
        assert len({table[name] for table in tables if name in table}) == 1
    kinds = list((PEERS | CALLS | PRECISIONS).values())
    assert len(set(kinds)) == len(kinds)


def test_one_output_is_for_the_other_loss() -> None:
    for text in ("4-8-1:8", "4-1:8:tanh:adam", "4-1:8:relu:sgd:softmax_cross_entropy"):
        with pytest.raises(ValueError, match="at least 2 outputs.* as in 4-.*1:8:.*:l2$"):
            row_of(text)
    assert row_of("4-1:8:relu:sgd:l2")["sizes"] == [4, 1]


def test_plots_draw_what_the_tables_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    pyplot, drawn = pytest.importorskip("matplotlib.pyplot"), list[Any]()
    monkeypatch.setattr("matplotlib.use", lambda name: pyplot.switch_backend("agg"))
    monkeypatch.setattr("matplotlib.figure.Figure.savefig",
                        lambda self, *_, **__: drawn.append(self))
    records = [{"row": row, "backend": backend, "threads": threads, "us": us, "agrees": True}
               for row, backend, threads, us in (
                   ("a", "fastbp", 1, 60.0), ("a", "fastbp", 2, 40.0), ("a", "jax", 1, 80.0),
                   ("b", "fastbp", 1, 30.0), ("b", "fastbp", 2, 45.0))]
    scaling.plot({"records": records}, Path("none"))
    peers.plot({"records": records}, Path("none"))
    pyplot.close(drawn[1])
    lines = [{line.get_label(): [list(map(float, data)) for data in line.get_data()]
              for line in one.axes[0].get_lines()} for one in drawn]
    assert lines[0]["a"] == [[1, 2], [1, 1.5]] and lines[0]["b"][1] == pytest.approx([1, 2 / 3])
    assert lines[1]["fastbp"] == [[0, 1], [1, 1]] and lines[1]["jax"] == [[0], [2]]
