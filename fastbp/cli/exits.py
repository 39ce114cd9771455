"""How a command ends: exit statuses, errors in one line, signals."""

from __future__ import annotations

import ast
import io
import os
import re
import shlex
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TextIO

import click

FAILED, DIVERGED = 1, 3
#: Statuses of programs stopped by a signal, as shells count them.
_BY_SIGNAL = 128
#: Status for SIGPIPE, a name that Windows does not have.
_PIPE_CLOSED = _BY_SIGNAL + 13
#: Seconds until a postponed signal is handled again.
_MOMENT = 0.01
#: Arguments that the library's messages name, as in drop=['x'], and the options for them.
_OPTIONS = {"drop": "--ignore", "categorical": "--categorical", "missing": "--missing",
            "unknown": "--unknown", "delimiter": "--delimiter",
            "max_categories": "--max-categories", "na_values": "--na",
            "decimal": "--decimal", "charset": "--charset",
            "drop_missing": "--missing-target drop"}
_WORD = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_ARGUMENT = re.compile(rf"\b({'|'.join(_OPTIONS)})=(\d+|{_WORD}|\[{_WORD}(?:, {_WORD})*\])")


class Diverged(Exception):
    """Training went to infinity; there is nothing to save."""


class Stopped(BaseException):
    """A signal asked the command to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = _BY_SIGNAL + number


def run(argv: Sequence[str] | None) -> int:
    """One command from arguments to exit status."""
    from .group import fastbp

    if sys.stderr is None:  # closed, as by 2>&-: messages would go to stdout or another file
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    with one_line_warnings(), stop_signals(), any_locale():
        try:
            status = fastbp.main(None if argv is None else list(argv), prog_name="fastbp",
                                 standalone_mode=False)
            return int(status or 0)
        except click.exceptions.Exit as error:
            return error.exit_code
        except click.UsageError as error:
            error.show()
            return error.exit_code
        except (Stopped, KeyboardInterrupt, click.Abort) as error:
            say(f"{named(error)}, nothing saved")
            return status_of(error)
        except Diverged as error:
            return _fail(error, DIVERGED)
        except SystemExit:  # click's reaction to a closed pipe
            return _PIPE_CLOSED
        except BrokenPipeError:  # of ``fastbp predict ... | head``
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return _PIPE_CLOSED
        except MemoryError as error:
            return _fail(f"out of memory{f': {error}' if str(error) else ''}")
        except click.ClickException as error:
            return _fail(error.format_message())
        except OSError as error:
            return _fail(of_file(error))
        except (ImportError, TypeError, ValueError) as error:
            return _fail(error)


def _fail(error: Any, status: int = FAILED) -> int:
    say(f"error: {_of_command(error)}")
    return status


def _of_command(message: Any) -> str:
    """A message of the library with options for its arguments."""
    return _ARGUMENT.sub(_option, str(message))


def _option(found: re.Match[str]) -> str:
    if " " in _OPTIONS[found[1]]:  # with its value, whatever the argument has
        return _OPTIONS[found[1]]
    given = ast.literal_eval(found[2])
    return " ".join(f"{_OPTIONS[found[1]]} {shlex.quote(str(value))}" for value in (
        given if isinstance(given, list) else [given]))


def of_file(error: OSError) -> str:
    """File and error in words, without the error number."""
    if error.errno is None or error.strerror is None:
        return str(error)
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"


def say(text: str, file: TextIO | None = None) -> None:
    """One line on stderr, whatever line breaks the text has."""
    print("fastbp:", " ".join(text.split()), file=file or sys.stderr, flush=True)


def tell(text: str) -> None:
    """What a command was asked for, on stdout.

    Raises
    ------
    OSError
        If stdout is closed, or cannot be written to; it is named.
    """
    check_stdout()
    with named_stdout():
        print(text, flush=True)


def note(text: str) -> None:
    """What was done, on stdout; a closed one has no reader to miss it."""
    if sys.stdout is not None:
        tell(text)


def check_stdout() -> None:
    """Refuse a closed stdout, as by ``>&-``."""
    if sys.stdout is None:
        raise OSError("stdout is closed")


@contextmanager
def named_stdout() -> Iterator[None]:
    """Errors of writing to stdout say that it was stdout."""
    try:
        yield
    except BrokenPipeError:  # the reader has ended it: not an error
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, "stdout") from error


def status_of(error: BaseException) -> int:
    """130 for Ctrl-C, 143 for SIGTERM."""
    return error.status if isinstance(error, Stopped) else _BY_SIGNAL + signal.SIGINT


def named(error: BaseException) -> str:
    """What stopped the command, in a word."""
    return "terminated" if status_of(error) == _BY_SIGNAL + signal.SIGTERM else "interrupted"


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Warnings as lines of the command, without source code."""
    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        say(f"warning: {_of_command(message)}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


@contextmanager
def any_locale() -> Iterator[None]:
    """Escape characters that the locale cannot encode, as the ² of R², instead of an error.

    Another error handler than "strict", as in the C locale, is kept.
    """
    out = sys.stdout
    if not isinstance(out, io.TextIOWrapper) or out.errors != "strict":
        yield
        return
    out.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        with suppress(OSError, ValueError):  # a broken pipe, a closed file
            out.reconfigure(errors="strict")


class Signals:
    """Handler of SIGINT and SIGTERM.

    Outside of ``gently`` a signal ends the command at once; inside, the first is remembered
    for training to stop at the next step, and the second ends the command. During an import,
    which could turn the exception into another or swallow it, the signal is postponed.
    """

    def __init__(self) -> None:
        self.gentle, self.caught = False, 0
        self.imports, self.late = 0, 0

    def handle(self, number: int, frame: FrameType | None = None) -> None:
        """Handle a signal."""
        if not self.gentle or self.caught:
            if _imports(frame) > self.imports and hasattr(signal, "setitimer"):
                self.late = number
                signal.signal(signal.SIGALRM, self.again)
                signal.setitimer(signal.ITIMER_REAL, _MOMENT)
                return
            raise Stopped(number)
        self.caught = number
        # Not by Python's buffers: the signal may have interrupted their use.
        os.write(2, b"\nfastbp: stopping at the next step; again to stop at once\n")

    def again(self, _: int, frame: FrameType | None = None) -> None:
        """Handle a signal that was postponed by an import."""
        self.handle(self.late, frame)

    @contextmanager
    def gently(self) -> Iterator[None]:
        """Remember a signal instead of raising."""
        self.gentle, self.caught = True, 0
        try:
            yield
        finally:
            self.gentle = False


def _imports(frame: FrameType | None) -> int:
    """Number of frames of the import system on the stack: 0 outside of imports."""
    count = 0
    while frame is not None:
        count += frame.f_code.co_filename.startswith("<frozen importlib")
        frame = frame.f_back
    return count


SIGNALS = Signals()


@contextmanager
def stop_signals() -> Iterator[None]:
    """SIGINT and SIGTERM go to ``SIGNALS`` while a command runs in the main thread; but one that
    is ignored, as in the background of a script, stays so."""
    try:
        before = {n: signal.signal(n, SIGNALS.handle) for n in (signal.SIGINT, signal.SIGTERM)
                  if signal.getsignal(n) is not signal.SIG_IGN}
    except ValueError:  # not the main thread: signals are not ours
        yield
        return
    SIGNALS.imports, SIGNALS.late = _imports(sys._getframe()), 0
    alarm = signal.getsignal(signal.SIGALRM) if hasattr(signal, "setitimer") else None
    try:
        yield
    finally:
        if SIGNALS.late:
            signal.setitimer(signal.ITIMER_REAL, 0)
            before[signal.SIGALRM] = alarm
        for number, handler in before.items():
            signal.signal(number, handler)
