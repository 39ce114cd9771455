"""How a command ends, whatever ends it: one line and a status."""

from __future__ import annotations

import errno
import signal
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import pytest

pytest.importorskip("pyarrow")

from fastbp.cli import main
from fastbp.cli.exits import SIGNALS, Diverged, Stopped
from fastbp.cli.group import COMMANDS

from .commands import QUICK, Here

#: Commands whose result is what they print, and others that do what they say with no reader.
PRINTED = {"predict": ("model", "iris"), "evaluate": ("model", "iris"), "info": ("model",),
           "datasets": (), "warmup": ("--dtype", "float32"),
           "bench": ("2-2-2:4",)}
DONE = {"train": ("iris", *QUICK, "-o"), "export": ("model", "-o")}


@pytest.mark.parametrize(("error", "status", "line"), [
    (MemoryError(), 1, "error: out of memory"),
    (MemoryError("8 GiB"), 1, "error: out of memory: 8 GiB"),
    (KeyboardInterrupt(), 130, "interrupted, nothing saved"),
    (click.Abort(), 130, "interrupted, nothing saved"),
    (Stopped(signal.SIGTERM), 143, "terminated, nothing saved"),
    (Diverged("went\n  away"), 3, "error: went away"),
    (OSError(errno.ENOSPC, "No space left on device", "x.csv"), 1,
     "error: x.csv: No space left on device"),
    (OSError(errno.ENOSPC, "No space left on device"), 1, "error: No space left on device"),
    (OSError("stdout is closed"), 1, "error: stdout is closed"),
    (click.ClickException("no"), 1, "error: no"), (ImportError("no a"), 1, "error: no a"),
    (TypeError("no b"), 1, "error: no b"), (ValueError("no c"), 1, "error: no c"),
    (ValueError("drop=['a b', \"it's\"] or missing='impute', na_values='?'"), 1,
     "error: --ignore 'a b' --ignore 'it'\"'\"'s' or --missing impute, --na '?'"),
    (ValueError("use drop_missing=['y'] or max_categories=300"), 1,
     "error: use --missing-target drop or --max-categories 300")])
def test_what_ends_a_command_is_one_line_and_a_status(
        error: BaseException, status: int, line: str, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    def invoke(*_: object) -> None:
        raise error

    monkeypatch.setattr(click.Group, "invoke", invoke)
    assert main(["datasets"]) == status
    out, err = capsys.readouterr()
    assert (out, err.lstrip()) == ("", f"fastbp: {line}\n")  # click ends the line of a ^C


def test_warnings_are_lines_and_signals_go_back_to_who_had_them(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def invoke(*_: object) -> None:
        assert signal.getsignal(signal.SIGTERM) == SIGNALS.handle
        warnings.simplefilter("always")
        warnings.warn("mind\nthe gap (drop=[''])", stacklevel=1)

    before, show = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)], (
        warnings.showwarning)
    assert SIGNALS.handle not in before
    monkeypatch.setattr(click.Group, "invoke", invoke)
    assert main(["datasets"]) == 0
    assert capsys.readouterr() == ("", "fastbp: warning: mind the gap (--ignore '')\n")
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
    assert warnings.showwarning is show


@pytest.mark.parametrize("ignored", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_is_ignored_stays_so(ignored: signal.Signals,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    """As Ctrl-C is by a command in the background of a script."""
    found = list[Any]()
    monkeypatch.setattr(click.Group, "invoke", lambda *_: found.extend(
        signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)))
    before = {n: signal.signal(n, signal.SIG_IGN if n == ignored else signal.SIG_DFL)
              for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert main(["datasets"]) == 0
        assert found == [signal.SIG_IGN if n == ignored else SIGNALS.handle
                         for n in (signal.SIGINT, signal.SIGTERM)]
        assert signal.getsignal(ignored) is signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_the_second_signal_ends_at_once_and_the_first_after_training_too() -> None:
    with SIGNALS.gently():
        SIGNALS.handle(signal.SIGINT)
        assert SIGNALS.caught == signal.SIGINT
        with pytest.raises(Stopped):
            SIGNALS.handle(signal.SIGINT)
    with SIGNALS.gently():
        assert not SIGNALS.caught
    with pytest.raises(Stopped):
        SIGNALS.handle(signal.SIGINT)


@pytest.fixture
def model(run: Here) -> Here:
    """A folder with a model of iris."""
    assert run("train", "iris", *QUICK, "-o", "model").status == 0
    return run


def test_a_closed_or_full_stdout_is_told_by_every_command(
        model: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {*PRINTED, *DONE} == {*COMMANDS}
    monkeypatch.setattr("fastbp.cli.warmup._compile", lambda dtype: None)
    monkeypatch.setattr("fastbp.peers.measure.compare", lambda *_: {
        "cpu": "zen", "cores": 1, "versions": {}, "records": [
            {"row": "2-2-2:4", "backend": "fastbp", "threads": 1, "us": 1.0, "gflops": 1.0,
             "share_of_peak": 0.5, "agrees": True}]})
    cases = [(name, *rest) for name, rest in PRINTED.items()]
    cases += [(*case, "--json") for case in cases if case[0] != "predict"]
    for case in cases:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", None)
            assert model.fails(*case) == "fastbp: error: stdout is closed"
    cases += [(name, *rest, f"full.{name}") for name, rest in DONE.items()]
    if Path("/dev/full").exists():
        for case in cases:
            line = ""
            with (suppress(OSError),  # of closing it
                  open("/dev/full", "w") as full, monkeypatch.context() as patched):
                patched.setattr(sys, "stdout", full)
                line = model.fails(*case, *["--format", "c"][:2 * (case[0] == "export")])
            assert line == "fastbp: error: stdout: No space left on device"


def test_what_is_done_without_a_reader_stays_done(model: Here,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert model("train", *DONE["train"], "run").status == 0
    assert model("export", "run", "-o", "model.c").status == 0
    assert Path("run", "result.json").exists() and Path("model.c").exists()
    assert model.fails("train", *DONE["train"], "other", "--json") == (
        "fastbp: error: stdout is closed")
    assert not Path("other").exists()  # before anything is done
