"""The command ``fastbp``. Each subcommand is a module here with ``add`` and ``run``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import train

COMMANDS = (train,)
#: Exit status of a program stopped by Ctrl-C, as shells count it.
INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """Arguments of all subcommands."""
    from .. import __version__

    top = argparse.ArgumentParser(prog="fastbp", description="Neural networks, trained fast on "
                                  "CPUs.", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    top.add_argument("--version", action="version", version=f"fastbp {__version__}")
    subparsers = top.add_subparsers(dest="command", required=True, metavar="command")
    for command in COMMANDS:
        command.add(subparsers)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process by default.

    Returns
    -------
    int
        Exit status: 0, 1 for what went wrong (told in one line on stderr), 130 for Ctrl-C.
        Arguments that make no sense exit with status 2, as argparse does.
    """
    arguments = parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        print("fastbp: interrupted, nothing saved", file=sys.stderr)
        return INTERRUPTED
    except (ImportError, OSError, TypeError, ValueError) as error:
        print(f"fastbp: error: {error}", file=sys.stderr)
        return 1
