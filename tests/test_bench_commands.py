"""The commands of ``bench`` measure what they say, and report what they measured."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

pytest.importorskip("threadpoolctl")

from bench import (
    bench_products,
    command,
    constants,
    drawn,
    estimators,
    growth,
    late,
    latency,
    machine,
    many,
    scaling,
    startup,
)
from bench.command import parse
from bench.grid import GRID
from fastbp import fit_many
from fastbp._jit import DISABLED, thread_count
from fastbp.kernels.squares import has_squares
from fastbp.peers import measure
from fastbp.peers.measure import _apart
from fastbp.peers.workload import Workload, read, row_of

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(DISABLED, reason="a team is one thread then")
def test_what_two_threads_cost_each_other() -> None:
    assert machine.sweep(np.arange(256, dtype=np.float32), 2) == 2 * sum(range(0, 256, 16))
    assert machine.loads() > 0
    assert machine.complete_seconds(machine.meet, 5) > 0
    arrays = np.zeros((2, 256), np.float32)
    assert machine.complete_seconds(machine.exchange, 4, arrays, True) > 0
    np.testing.assert_array_equal(arrays, [np.arange(3, 259)] * 2)


@pytest.mark.skipif(DISABLED, reason="too slow in plain Python")
def test_products_are_told_by_the_state_of_the_core(capsys: pytest.CaptureFixture[str]) -> None:
    with patch.multiple(machine, ROWS=("rl",), TURNS=3):
        for best, alone in ((1.0, True), (1e30, False)):  # bytes/s
            machine.products(best)
            head, _, *lines = capsys.readouterr().out.splitlines()
            assert head.count("alone") == head.count("beside others") == 1 + has_squares()
            assert [line.split("|")[2].strip() for line in lines] == list(bench_products.PRODUCTS)
            for line in lines:
                cells = [cell.strip() for cell in line.split("|")[3:-1]]
                assert set(cells[alone::2]) == {"-"}
                assert all(re.fullmatch(r"\d+\.\d\d \(3\)", c) for c in cells[not alone::2])


def test_networks_are_drawn_within_bounds_and_told_by_their_ratios() -> None:
    rows = drawn.draw(30, 1)
    assert rows == drawn.draw(30, 1) != drawn.draw(30, 2)
    assert len({row["name"] for row in rows}) == 30
    for row in rows:
        (work,) = read([row]).values()
        assert work == read([row_of(row["name"])])[row["name"]] and work.flops <= drawn.FLOPS
        assert drawn.INPUTS[0] <= work.sizes[0] <= drawn.INPUTS[1]
        assert all(drawn.UNITS[0] <= n <= drawn.UNITS[1] for n in work.sizes[1:-1])

    def record(row: str, backend: str, threads: int, us: float, agrees: bool = True) -> Any:
        return {"row": row, "backend": backend, "threads": threads, "us": us, "agrees": agrees}

    found = drawn.ratios([
        record("a", "fastbp", 1, 10), record("a", "fastbp", 2, 8), record("a", "numpy", 1, 40),
        record("a", "jax.scan", 2, 16), record("b", "fastbp", 1, 5), record("b", "numpy", 1, 25),
        record("b", "jax.scan", 1, 1, agrees=False)])
    assert found == {"a": {"numpy": 5, "jax.scan": 2}, "b": {"numpy": 5}}
    text = drawn.report(found)
    assert "| numpy | 2 | 5.00 | 5.00 | 5.00 | 5.00 | 5.00 |" in text
    assert "| best of them | 2 | 2.00 | 2.00 | 3.50 | 5.00 | 3.16 |" in text
    assert text.index("    a  numpy 5.00, jax.scan 2.00") < text.index("    b  numpy 5.00")
    text = drawn.report({"a": {"numpy": 3.0}, "b": {"numpy": 2.0}})
    assert text.index("    b  numpy 2.00") < text.index("    a  numpy 3.00")


def test_growth_changes_one_size_at_a_time() -> None:
    for axis, smallest in growth.AXES.items():
        flops = [growth.workload(axis, smallest * f)[0].flops for f in growth.FACTORS]
        rows = [growth.workload(axis, smallest * f)[1] for f in growth.FACTORS]
        grows = rows if axis == "rows" else flops
        assert all(a < b for a, b in zip(grows, grows[1:], strict=False))
        assert len(set(rows if axis != "rows" else flops)) == 1


def test_a_late_epoch_goes_on_from_an_early_one() -> None:
    epoch = late.fastbp_epoch()
    losses = [epoch()["loss"][-1] for _ in range(3)]
    assert losses[0] < 2 and losses[2] < losses[1] < 0.7 * losses[0]


def test_onnx_runtime_computes_the_same_network() -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=s).astype("f4") for s in ((64, 100), 100, (100, 10), 10)]
    X = rng.normal(size=(1, 64)).astype("f4")
    z = np.maximum(X @ weights[0] + weights[1], 0) @ weights[2] + weights[3]
    p = np.exp(z - z.max())
    np.testing.assert_allclose(latency.onnx_session(weights)(X), p / p.sum(), atol=1e-5)


def test_a_thousand_networks_are_timed_alike() -> None:
    found = [f(2) for f in (many.many, many.one_by_one)]
    assert all(seconds > 0 for seconds, _ in found) and found[0][1] == found[1][1]
    (one,), (other,) = (many.networks(1) for _ in range(2))
    X, T = many.data()
    one.fit(X, T, epochs=1, batch_size=many.BATCH)
    fit_many([other], X, T, epochs=1, batch_size=many.BATCH)
    np.testing.assert_array_equal(one.params, other.params)


@pytest.mark.parametrize("module, run", [("jax", many.jax), ("torch", many.torch_stacked),
                                         ("torch", many.torch)])
def test_a_thousand_networks_learn_alike(
        module: str, run: Callable[[int], tuple[float, float]]) -> None:
    """From the same weights, in other orders of the rows."""
    pytest.importorskip(module)
    seconds, error = run(20)
    assert seconds > 0 and error == pytest.approx(many.many(20)[1], rel=0.01)


def test_the_work_of_a_step_is_the_planners() -> None:
    work, kept = constants.work_of(64, 32), constants.sharing.PARALLEL_THRESHOLD
    for limit, several in ((work, True), (work + 1, False)):
        with constants.constants(PARALLEL_THRESHOLD=limit):
            net = Workload("", (64, 64, 10), 32, "relu", "sgd").network()
            assert (net.plan(32, 2).n_threads > 1) == (several and thread_count(2) > 1)
        assert kept == constants.sharing.PARALLEL_THRESHOLD != limit
    with pytest.raises(KeyError), constants.constants(PARALLEL_THRESHOLD=work):
        raise KeyError
    assert kept == constants.sharing.PARALLEL_THRESHOLD


def test_steps_with_shards_are_shared_by_threads_from_less_work_on(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.core.config.NUMBA_NUM_THREADS", 8)
    workload = Workload("", (8, 8, 10), 128, "relu", "sgd")
    work = workload.network().plan(128, 1, training=True).work
    for limit, several in ((work, 2), (work + 1, 1)):  # two shards
        with constants.constants(SHARDED_THRESHOLD=limit, PARALLEL_THRESHOLD=1 << 60):
            net = workload.network()
            assert net.plan(128, 8).n_threads == 1  # what does not train has none
            assert net.plan(128, 8, training=True).n_threads == several


def test_new_processes_are_timed_and_weighed(tmp_path: Path) -> None:
    code = "print(len(bytearray(64 << 20)) / 2**20)"
    spent, numbers = startup.process(code, str(tmp_path))
    assert spent > 0 and numbers == [64.0]
    assert set(startup.CASES) == {"import numba", "import fastbp", "import torch",
                                  "first fit, cached"}
    if sys.platform == "linux":
        assert 0 < startup.megabytes(str(tmp_path)) < 150


def test_rows_and_defaults_of_the_commands(monkeypatch: pytest.MonkeyPatch,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "digits", "5-8-3:8", "--repeat", "2"])
    arguments, rows = parse("text", ("big",), ("fastbp",), 0.5, 3)
    assert (arguments.backends, arguments.budget, arguments.repeat) == (["fastbp"], 0.5, 2)
    assert [row["sizes"] for row in rows] == [[64, 100, 10], [5, 8, 3]]
    monkeypatch.setattr(sys, "argv", ["x"])
    assert [row["name"] for row in parse("", ("big",), ("fastbp",), 1, 1)[1]] == ["big"]
    assert [row["name"] for row in parse("", (), ("fastbp",), 1, 1)[1]] == list(GRID)
    for given, message in ((["nosuch"], "a row is one of xor.*'nosuch'"),
                           (["4-x:2"], "sizes must .*'x'"), (["--repeat", "0"], "--repeat"),
                           (["--budget", "0"], "--budget"), (["--budget", "nan"], "--budget"),
                           (["--backends", "numpy"], "fastbp must be among")):
        monkeypatch.setattr(sys, "argv", ["x", *given])
        with pytest.raises(SystemExit) as ended:
            parse("", (), ("fastbp",), 1, 1)
        assert ended.value.code == 2 and re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(("given", "whole"), [
    ((), True), (("--budget", "2", "--repeat", "9"), True), (("--budget", "0.01"), False),
    (("--repeat", "1"), False), (("big",), False)])
def test_only_a_whole_run_replaces_the_results_that_are_committed(
        given: tuple[str, ...], whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
        ) -> None:
    monkeypatch.setattr(sys, "argv", ["x", *given])
    monkeypatch.setattr(command, "compare", lambda rows, backends, *_: {
        "records": [{"row": row["name"], "backend": name} for row in rows for name in backends]})
    path = tmp_path / "results.json"
    _, stored = command.measured(path, "", ("big", "xor"), ("fastbp", "torch"), 1.0, 5)
    assert stored == (path if whole else tmp_path / "last-results.json")
    assert [*tmp_path.iterdir()] == [stored]


def test_scaling_is_what_was_measured(tmp_path: Path) -> None:
    assert [scaling.settings(n) for n in (1, 2, 6, 16)] == [
        [1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8, 16]]
    results = json.loads(scaling.RESULTS.read_text())
    shown = (ROOT / "bench" / "README.md").read_text()
    shown = shown.split("bench.scaling --report -->\n")[1].split("\n<!-- end")[0]
    assert shown == scaling.report(results)

    def record(backend: str, threads: int, us: float) -> dict[str, object]:
        return {"row": "r", "backend": backend, "threads": threads, "us": us, "agrees": True,
                "share_of_peak": 0.5, "gflops": 50.0 * threads}

    text = scaling.report({"versions": {}, "cpu": "c", "records": [
        record("fastbp", 1, 100), record("fastbp", 2, 40), record("torch", 1, 90),
        record("torch", 2, 80)]})
    assert "| r | 100 (1.0) | 40 (2.5) | 50% | 2.00 (at 2) |" in text
    assert "| multiply-adds, GFLOP/s | 100 (1.0) | 200 (2.0) | | |" in text
    pytest.importorskip("matplotlib")
    scaling.plot(results, tmp_path / "plot.svg")
    assert all(name in (tmp_path / "plot.svg").read_text() for name in scaling.ROWS)


def test_no_number_of_cores_beyond_the_quota_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(scaling, "cores", lambda: list(range(8)))
    monkeypatch.setattr(scaling, "within_quota", lambda n: min(n, 3))
    monkeypatch.setattr(scaling, "measured",
                        lambda *all_of_them: (given.extend(all_of_them), Path("x")))
    for name in ("report", "plot"):
        monkeypatch.setattr(scaling, name, lambda *_: "")
    scaling.main()
    assert given[-1] == [1, 2, 3]


def test_halves_of_a_core_come_after_whole_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    siblings = {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}
    monkeypatch.setattr(Path, "exists", lambda path: True)
    monkeypatch.setattr(Path, "read_text",
                        lambda path: siblings[int(path.parts[-3].removeprefix("cpu"))])
    assert _apart([0, 1, 2, 3]) == [0, 1, 2, 3] and _apart([0, 2, 3]) == [0, 3, 2]
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert _apart([0, 2, 3]) == [0, 2, 3]


def test_peers_run_on_one_thread_and_on_all_within_the_quota(
        monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[Any] = []

    def run(command: list[str], env: dict[str, str], check: bool) -> Any:
        jobs.append(json.loads(command[-1]))
        assert env["OMP_NUM_THREADS"] == env["NUMBA_NUM_THREADS"] == str(jobs[-1]["threads"])
        Path(jobs[-1]["out"]).write_text("[]")
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(measure, "cores", lambda: list(range(8)))
    monkeypatch.setattr(measure.subprocess, "run", run)
    for quota, threads in ((2, [1, 2]), (1, [1]), (99, [1, 8])):
        monkeypatch.setattr(measure, "within_quota", lambda n, most=quota: min(n, most))
        jobs.clear()
        assert measure.compare([])["cores"] == threads[-1]
        assert [job["threads"] for job in jobs] == threads
        assert all(len(job["cores"]) == job["threads"] for job in jobs)


def test_estimators_of_both_libraries_score_alike() -> None:
    for name in ("iris", "diabetes"):
        scores, ratio = estimators.compare(name, "adam", seeds=1, folds=2, max_iter=3)
        np.testing.assert_allclose(scores["fastbp"], scores["sklearn"], atol=1e-6)
        assert ratio > 0
