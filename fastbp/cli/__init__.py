"""The command ``fastbp`` (extra ``cli``). Each subcommand is a module here.

Nothing but click is imported before a command runs: help and shell completion are quick.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process by default.

    Returns
    -------
    int
        Exit status: 0; 1 for what went wrong, told in one line on stderr; 2 for arguments that
        make no sense; 3 for training that diverged; 130 and 143 where Ctrl-C or SIGTERM
        stopped it.
    """
    try:
        import click  # noqa: F401
    except ImportError:
        print('fastbp: error: the command needs click: pip install "fastbp[cli]"',
              file=sys.stderr)
        return 1
    from .exits import run

    return run(argv)
