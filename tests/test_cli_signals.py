"""Ctrl-C, SIGTERM, kill: what a run leaves, and how it goes on."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("click")
pytest.importorskip("pyarrow")

from fastbp.cli.exits import SIGNALS

from .commands import Here, Signalling, params, process, table

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of Unix")
#: Training that takes some seconds on any machine, with all that has state.
LONG = ("train", "digits", "--epochs", "60", "--hidden", "400,200", "--threads", "1", "--dropout",
        "0.1", "--average", "0.9", "--schedule", "cosine", "--early-stopping", "--patience", "50",
        "--no-report")


def start(*argv: object, folder: Path) -> subprocess.Popen[str]:
    # Where these tests run in the background of a script Ctrl-C is ignored, which processes
    # inherit; one that is handled they do not ignore.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen([sys.executable, "-m", "fastbp", *map(str, argv)], cwd=folder,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)


def wait_for_epochs(run: subprocess.Popen[str], epochs: int, path: Path) -> None:
    """Until so many epochs are written down."""
    for _ in range(1200):
        if path.exists() and len(path.read_text().splitlines()) >= epochs:
            return
        assert run.poll() is None, run.communicate()
        time.sleep(0.05)
    raise AssertionError(f"{path} has no {epochs} epochs after a minute")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    done = process(*LONG, "-q", "-o", "run", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.mark.parametrize(("number", "status", "word"), [
    (signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")])


def test_a_stopped_run_goes_on_with_the_same_bits(number: int, status: int, word: str,
                                                  whole: Path, tmp_path: Path) -> None:
    run = start(*LONG, "-o", "a run", folder=tmp_path)
    wait_for_epochs(run, 2, tmp_path / "a run/unfinished/metrics.jsonl")
    run.send_signal(number)
    out, err = run.communicate(timeout=60)
    assert run.returncode == status, err
    assert "Traceback" not in err and not out
    last = err.splitlines()[-1]
    assert "stopping at the next step" in err
    assert last.startswith(f"fastbp: {word}, saved so far; to go on: fastbp train")
    assert not (tmp_path / "a run/model.safetensors").exists()
    command = shlex.split(last.split("to go on: ")[1])
    done = process(*command[1:], "-q", "--json", folder=tmp_path)  # the very line that it gives
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(params(tmp_path / "a run"), params(whole))
    own, other = ([{k: v for k, v in json.loads(line).items() if k != "samples_per_s"}
                   for line in (folder / "metrics.jsonl").read_text().splitlines()]
                  for folder in (tmp_path / "a run", whole))
    assert own == other and len(own) == 60
    assert not (tmp_path / "a run/unfinished").exists()


def test_a_killed_run_goes_on_from_its_last_checkpoint(whole: Path, tmp_path: Path) -> None:
    again = (*LONG, "-o", "r", "-q", "--checkpoint-every", "0.05s", "--resume")
    run = start(*again, folder=tmp_path)
    wait_for_epochs(run, 3, tmp_path / "r/unfinished/metrics.jsonl")
    checkpoint = tmp_path / "r/unfinished/checkpoint.safetensors"
    while not checkpoint.exists():  # three epochs may take less than 0.05 s
        assert run.poll() is None, run.communicate()
        time.sleep(0.005)
    run.kill()
    run.communicate(timeout=60)
    assert checkpoint.exists()
    done = process(*again, "--json", folder=tmp_path)  # the same line, as a scheduler would
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(params(tmp_path / "r"), params(whole))
    result = json.loads(done.stdout)
    done = process(*again, "--json", folder=tmp_path)
    assert done.returncode == 0 and json.loads(done.stdout) == result  # finished: nothing to do


@pytest.mark.parametrize("steps", [1, 25, 60, 140])
@pytest.mark.parametrize("more", [(), ("--stream",), ("--seeds", "0..2")],
                         ids=["whole", "stream", "seeds"])
def test_wherever_it_stops(steps: int, more: tuple[str, ...], run: Here,
                           monkeypatch: pytest.MonkeyPatch) -> None:
    data = table(run.folder / "d.csv", 500)
    argv = ("train", data, "--target", "kind", "--ignore", "y", "--epochs", "6", "--hidden", "6",
            "--batch-size", "16", "--schedule", "cosine", "--early-stopping", "--no-report", "-q",
            *more)
    assert run(*argv, "-o", "whole").status == 0
    with monkeypatch.context() as patch:
        Signalling(patch, steps)
        done = run(*argv, "-o", "r", "--json")
    assert done.status == 130 and done.json["status"] == "interrupted", done
    assert not (run.folder / "r/model.safetensors").exists()
    again = run(*shlex.split(done.json["resume"])[1:], "-q")
    assert again.status == 0, again.err
    np.testing.assert_array_equal(params(run.folder / "r"), params(run.folder / "whole"))
    figures = [[{k: v for k, v in json.loads(x).items() if k != "samples_per_s"} for x in
                (run.folder / name / "metrics.jsonl").read_text().splitlines()]
               for name in ("r", "whole")]
    assert figures[0] == figures[1]


def test_two_signals_end_at_once_and_keep_the_checkpoint(run: Here,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    from fastbp.callbacks import Checkpoint

    Signalling(monkeypatch, 2)
    written = Checkpoint.on_last_step

    def slow(hook: Checkpoint) -> None:
        written(hook)
        SIGNALS.handle(signal.SIGINT)

    monkeypatch.setattr(Checkpoint, "on_last_step", slow)
    done = run("train", "iris", "--epochs", "50", "-q", "--no-report")
    assert done.status == 130 and "--resume" in done.err
    assert (run.folder / "fastbp-iris/unfinished/checkpoint.safetensors").exists()


def test_a_signal_while_results_are_moved_waits(run: Here,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def signalled(source: Any, place: Any) -> None:
        replace(source, place)
        if str(place).endswith("metrics.jsonl"):
            SIGNALS.handle(signal.SIGTERM)

    monkeypatch.setattr(os, "replace", signalled)
    done = run("train", "iris", "--epochs", "2", "-q", "--no-report")
    assert done.status == 0 and "model saved" in done.out
    assert {p.name for p in (run.folder / "fastbp-iris").iterdir()} == {
        "model.safetensors", "config.toml", "metrics.jsonl", "result.json",
        "checkpoint.safetensors"}


def test_an_interrupt_before_training_leaves_nothing(run: Here,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    from fastbp.cli import run as module

    def interrupted(*_: Any) -> None:
        SIGNALS.handle(signal.SIGTERM)

    monkeypatch.setattr(module, "prepare", interrupted)
    done = run("train", "iris", "-q")
    assert done.status == 143 and done.err == "fastbp: terminated, nothing saved\n"
    assert not list(run.folder.iterdir())


def test_a_signal_amid_an_import_ends_the_command_like_any_other(tmp_path: Path) -> None:
    """As a class is made, Python makes another error of one that is raised."""
    program = """
import functools, os, signal
plain = functools.cached_property.__set_name__
def name(self, owner, attribute):
    if owner.__name__ == "PyLower":
        os.kill(os.getpid(), signal.SIGTERM)
    plain(self, owner, attribute)
functools.cached_property.__set_name__ = name
from fastbp.cli import main
raise SystemExit(main(["train", "iris", "-q", "--no-report", "-o", "run"]))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True,
                          text=True, timeout=120, check=False)
    assert done.returncode == 143, done.stderr
    assert "fastbp: terminated" in done.stderr and "Traceback" not in done.stderr


def test_a_signal_amid_an_import_waits_for_its_end(tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    from fastbp.cli.exits import Stopped, stop_signals

    (tmp_path / "optional_part.py").write_text("""
import os, signal
try:
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(1000):
        pass
except BaseException:
    os.environ["FASTBP_TEST"] = "swallowed"
""")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("FASTBP_TEST", "")
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(Stopped) as caught, stop_signals():
        import optional_part  # type: ignore[import-not-found]

        time.sleep(60)
    assert caught.value.status == 143 and optional_part and not os.environ["FASTBP_TEST"]
    assert signal.getsignal(signal.SIGALRM) is before
