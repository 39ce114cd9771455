"""How a command ends, whatever ends it: one line and a status."""

from __future__ import annotations

import errno
import signal
import warnings

import click
import pytest

pytest.importorskip("pyarrow")

from fastbp.cli import main
from fastbp.cli.exits import SIGNALS, Diverged, Stopped


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
