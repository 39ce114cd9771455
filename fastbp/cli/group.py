"""``fastbp``: the commands by name, each imported when it is needed."""

from __future__ import annotations

import importlib

import click

#: In the order of the help.
COMMANDS = ("train", "predict", "evaluate", "info", "export", "bench", "warmup", "datasets")


class Commands(click.Group):
    """Commands that are modules beside this one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{cmd_name}", __package__)
        command: click.Command = module.command
        return command


def _version(ctx: click.Context, option: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from .. import __version__

        click.echo(f"fastbp {__version__}")
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog="""
\b
Exit status:
  0    done
  1    failed: one line on stderr says what and where
  2    arguments that make no sense
  3    training diverged, nothing saved
  130  interrupted by Ctrl-C   (train: saved so far, --resume goes on)
  143  ended by SIGTERM        (the same)
""")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version,
              help="Show the version and exit.")
def fastbp() -> None:
    """Neural networks, trained fast on CPUs."""
