"""Ctrl-C, SIGTERM, kill, a full disk: what a run leaves, and how it goes on."""

from __future__ import annotations

import json
import os
import shlex
import shutil
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
from fastbp.io.safetensors import read

from .commands import Here, params, process, table

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of Unix")
#: Training that takes some seconds on any machine, with all that has state.
LONG = ("train", "digits", "--epochs", "60", "--hidden", "400,200", "--threads", "1", "--dropout",
        "0.1", "--average", "0.9", "--schedule", "cosine", "--early-stopping", "--patience", "50",
        "--no-report")


def start(*argv: object, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "fastbp", *map(str, argv)], cwd=folder,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


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


class _Signalling:
    """A signal comes once, when a run has taken so many steps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
        from fastbp.run import Run

        advance, sent = Run.advance, list[int]()

        def advanced(run: Run, n_steps: int, n_threads: int) -> None:
            advance(run, n_steps, n_threads)
            if run.cursor[0] >= steps and not sent:
                sent.append(steps)
                SIGNALS.handle(signal.SIGINT)

        monkeypatch.setattr(Run, "advance", advanced)


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
        _Signalling(patch, steps)
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

    _Signalling(monkeypatch, 2)
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


@pytest.mark.parametrize("again", [("--resume",), (), ("--overwrite",)])
@pytest.mark.parametrize("name", ["metrics.jsonl", "config.toml", "model.safetensors"])
def test_the_next_start_completes_moving(name: str, again: tuple[str, ...], run: Here,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ("train", "iris", "--epochs", "2", "-q", "--no-report", "-o")
    assert run(*argv, "r", "--seeds", "0,1").status == 0  # of another kind, with other files
    assert run(*argv, "new", "--seed", "1").status == 0
    replace = os.replace

    def stopped(source: Any, place: Any) -> None:
        if Path(place) == Path("r", name):
            raise OSError(5, "Input/output error", str(place))
        replace(source, place)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stopped)
        run.fails(*argv, "r", "--seed", "1", "--overwrite")
    done = run(*argv, "r", "--seed", "1", *again)
    assert done.status == (0 if again else 1)
    assert ("r is finished" in done.err) == (again == ("--resume",)), done.err
    assert {p.name for p in Path("r").iterdir()} == {p.name for p in Path("new").iterdir()}
    np.testing.assert_array_equal(params(Path("r")), params(Path("new")))
    assert Path("r/config.toml").read_text() == Path("new/config.toml").read_text()


def test_an_interrupt_before_training_leaves_nothing(run: Here,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    from fastbp.cli import run as module

    def interrupted(*_: Any) -> None:
        SIGNALS.handle(signal.SIGTERM)

    monkeypatch.setattr(module, "prepare", interrupted)
    done = run("train", "iris", "-q")
    assert done.status == 143 and done.err == "fastbp: terminated, nothing saved\n"
    assert not list(run.folder.iterdir())


def test_earlier_results_stay_until_new_ones_are_complete(run: Here,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ("train", "iris", "--epochs", "5", "-q", "--no-report")
    assert run(*argv).status == 0
    folder = run.folder / "fastbp-iris"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def unchanged() -> bool:
        return before == {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}

    assert "--overwrite" in run.fails(*argv) and unchanged()
    with monkeypatch.context() as patch:
        _Signalling(patch, 2)
        assert run(*argv, "--overwrite", "--seed", "1").status == 130
    assert unchanged() and (folder / "unfinished").exists()
    assert "--resume" in run.fails(*argv[:-2], "-q", "-o", "fastbp-iris")
    line = run.fails(*argv, "--resume", "--seed", "2")
    assert "seed = 1" in line and "2" in line and unchanged()
    # divergence, and a model that cannot be written
    assert run(*argv, "--overwrite", "--optimizer", "sgd", "--lr", "1e30").status == 3
    assert unchanged() and not (folder / "unfinished").exists()
    from fastbp.model import Model

    def full(model: Model, path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Model, "save", full)
        assert "No space left on device" in run.fails(*argv, "--overwrite", "--seed", "1")
    assert unchanged()
    assert run(*argv, "--overwrite", "--resume", "--seed", "1").status == 0
    assert not unchanged() and not (folder / "unfinished").exists()


def test_a_full_disk_is_one_line_and_earlier_results_stay(tmp_path: Path) -> None:
    assert process("train", "iris", "--epochs", "2", "-q", "--no-report",
                   folder=tmp_path).returncode == 0
    before = params(tmp_path / "fastbp-iris")

    done = process("train", "iris", "--epochs", "3", "-q", "--no-report", "--overwrite",
                   "--hidden", "300", folder=tmp_path, file_bytes=2000,
                   env={**os.environ, "FASTBP_CACHE_DIR": os.environ.get("FASTBP_CACHE_DIR", "")})
    assert done.returncode == 1 and not done.stdout
    assert len(done.stderr.splitlines()) == 1 and "fastbp: error:" in done.stderr
    assert "fastbp-iris" in done.stderr and "too large" in done.stderr
    np.testing.assert_array_equal(before, params(tmp_path / "fastbp-iris"))


def test_two_runs_in_one_folder_are_refused(run: Here) -> None:
    from fastbp.cli.output import Output

    folder = run.folder / "r"
    first = Output(folder)
    settings = {"data": "iris", "output": "r", "overwrite": True, "resume": False}
    first.begin(first.plan(settings), settings, "0", "")
    line = run.fails("train", "iris", "-o", folder, "-q", "--overwrite")
    assert "another fastbp train is at work" in line
    first.discard()
    assert not folder.exists()
    assert run("train", "iris", "-o", folder, "-q", "--epochs", "1", "--no-report").status == 0


@pytest.mark.parametrize("how", ["finished", "unfinished", "begun"])
@pytest.mark.parametrize("option", [(), ("--resume",)])
def test_what_another_start_has_done_meanwhile_stays(how: str, option: tuple[str, ...], run: Here,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    from fastbp.cli import main
    from fastbp.cli import run as module

    argv = ["train", "iris", "-o", "r", "--epochs", "3", "-q", "--no-report", *option]
    before, plain = dict[Path, bytes](), module.prepare

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in Path("r").rglob("*") if path.is_file()}

    def meanwhile(settings: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(module, "prepare", plain)
            if how != "finished":
                _Signalling(patch, 2)
            main(argv)
        if how == "begun":  # and killed before its first checkpoint
            Path("r/unfinished/checkpoint.safetensors").unlink()
        before.update(files())
        return plain(settings)

    monkeypatch.setattr(module, "prepare", meanwhile)
    done = run(*argv)
    assert done.status == 1 and "fastbp: error: " in done.err.splitlines()[-1], done
    assert len(before) > 2 and before == files()
    monkeypatch.setattr(module, "prepare", plain)
    assert run(*argv, *(() if option else ("--overwrite",))).status == 0


def test_what_is_removed_is_locked_until_it_is_gone(run: Here,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    from fastbp.cli.output import Output

    settings = {"data": "iris", "output": "r", "overwrite": True, "resume": False}
    first, second, release, flock = Output("r"), Output("r"), Output.release, fcntl.flock
    first.begin("new", settings, "0", "")

    def released(output: Output) -> None:
        assert not Path("r/unfinished").exists()
        release(output)

    def late(*given: Any) -> None:
        first.discard()
        flock(*given)

    monkeypatch.setattr(Output, "release", released)
    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(ValueError, match="another fastbp train is at work"):
        second.begin("new", settings, "0", "")  # the lock of a file that is gone holds nobody off


def test_more_epochs_go_on_from_a_finished_run(run: Here) -> None:
    argv = ("train", "iris", "-q", "--no-report")
    assert run(*argv, "--epochs", "7", "-o", "whole").status == 0
    assert run(*argv, "--epochs", "3", "-o", "r").status == 0
    assert len(json.loads(read(run.folder / "r/checkpoint.safetensors")[1]["fastbp-run"])[
        "history"]["loss"]) == 3
    assert run(*argv, "--epochs", "7", "-o", "r", "--resume").status == 0
    np.testing.assert_array_equal(params(run.folder / "r"), params(run.folder / "whole"))


@pytest.mark.parametrize("begun", [False, True])
def test_changed_data_are_not_gone_on_with(begun: bool, run: Here) -> None:
    argv = ("train", "d.csv", "--target", "kind", "-q", "--no-report", "-o", "r", "--epochs")
    table(run.folder / "d.csv")
    assert run(*argv, 2).status == 0
    if begun:
        shutil.copytree("r", "r/unfinished", ignore=shutil.ignore_patterns("model.*"))
        Path("r/unfinished/learned.json").write_text(json.dumps({"rows": 3}))
    else:
        text = Path("d.csv").read_text()
        Path("d.csv").write_text(text.replace("red", "reddish"))
    before = params(Path("r"))
    line = run.fails(*argv, 3, "--resume")
    assert "--resume: d.csv has changed" in line and "--overwrite" in line
    np.testing.assert_array_equal(params(Path("r")), before)
    assert run(*argv, 3, "--resume", "--overwrite").status == 0
    assert json.loads(Path("r/result.json").read_text())["epochs"] == 3


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("more", [(), ("--stream",), ("--stream", "--validation-split", "0"),
                                  ("--missing-target", "drop")], ids=" ".join)
def test_other_weights_of_the_rows_are_not_gone_on_with(
        more: tuple[str, ...], begun: bool, run: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ("train", "d.csv", "--target", "kind", "--ignore", "y", "--weight", "w", "-q",
            "--no-report", "-o", "r", *more, "--epochs")
    w = np.arange(1, 201) / 8
    table(run.folder / "d.csv", w=w)
    with monkeypatch.context() as patch:
        if begun:
            _Signalling(patch, 3)
        assert run(*argv, 2).status == (130 if begun else 0)
    table(run.folder / "d.csv", w=np.roll(w, 1))  # the same sum, mean and spread
    before = {path: path.read_bytes() for path in Path("r").rglob("*.*")}
    line = run.fails(*argv, 3, "--resume")
    assert "--resume: d.csv has changed" in line and "--overwrite" in line
    assert before == {path: path.read_bytes() for path in Path("r").rglob("*.*")}
    table(run.folder / "d.csv", w=w)
    assert run(*argv, 3, "--resume").status == 0
    assert json.loads(Path("r/result.json").read_text())["epochs"] == 3


@pytest.mark.parametrize("more", [(), ("--seeds", "0..2")])
def test_a_run_that_stopped_after_its_last_epoch_is_finished(
        more: tuple[str, ...], run: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ("train", "iris", "--epochs", "3", "--no-report", "-o", "r", *more)
    with monkeypatch.context() as patch:
        _Signalling(patch, 12)  # 120 rows are 4 steps
        assert run(*argv, "-q").status == 130
    done = run(*argv, "--resume")
    assert done.status == 0 and "warning" not in done.err, done.err
    assert done.err.count("fastbp: all of --epochs 3 are trained") == (not more)
    assert json.loads(Path("r/result.json").read_text())["epochs"] == 3


def test_fewer_epochs_than_trained_are_refused(run: Here,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ("train", "iris", "-q", "--no-report", "--resume", "-o", "r")

    def refused(epochs: int, words: str) -> None:
        before = {path: path.read_bytes() for path in Path("r").rglob("*.*")}
        done = run(*argv, "--epochs", epochs)
        assert done.status == 2 and not done.out
        assert done.err.splitlines()[-1] == (f"Error: --resume --epochs {epochs}: r holds a run "
                                             f"of {words} already; --overwrite starts anew")
        assert before == {path: path.read_bytes() for path in Path("r").rglob("*.*")}

    with monkeypatch.context() as patch:
        patch.setattr("fastbp.job.CHUNK_SECONDS", 1e-9)
        _Signalling(patch, 10)  # 120 rows are 4 steps: in the third epoch
        assert run(*argv, "--epochs", "6").status == 130
    refused(2, "3 epochs")
    assert run(*argv, "--epochs", "3", "--json").json["epochs"] == 3
    refused(2, "3 epochs")
    assert run(*argv, "--epochs", "2", "--overwrite", "--json").json["epochs"] == 2


@pytest.mark.parametrize("finished", [True, False])
def test_several_runs_keep_their_epochs(finished: bool, run: Here,
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ("train", "iris", "-q", "--no-report", "--resume", "-o", "r", "--grid",
            "epochs=2,3", "--epochs")
    with monkeypatch.context() as patch:
        if not finished:
            _Signalling(patch, 2)
        assert run(*argv, "1").status == (0 if finished else 130)
    done = run(*argv, "5")
    assert done.status == 2 and "--resume --epochs 5: r holds several runs" in done.err
    assert run(*argv, "1").status == 0  # the same line: as ever


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
