"""Options from a TOML file, and the resolved configuration as a TOML file."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Collection
from typing import Any

import click

from .._extras import needs
from .options import GRID, OF_THE_CALL, train_options

#: Keys that hold paths; kept absolute, so that the file works from any folder.
_PATHS = ("data", "validation")


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The tables and keys of a TOML file.

    Raises
    ------
    ValueError, OSError, ImportError
        If it is no TOML, cannot be read, or this Python needs tomli to read it.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        with needs("reading TOML needs tomli", "cli"):
            import tomli as tomllib
    with open(path, "rb") as file:
        try:
            return tomllib.loads(file.read().decode("utf-8-sig"))  # editors of Windows mark it
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{os.fspath(path)} is not TOML: {error}") from None


def read_into(ctx: click.Context, option: click.Parameter, path: str | None) -> str | None:
    """Callback of ``--config``: the file's values are defaults of options that are not given."""
    if path is None or ctx.resilient_parsing:
        return path
    known = {opt.lstrip("-").replace("-", "_"): param for param in ctx.command.params
             for opt in param.opts if len(opt) > 2 and param.name not in ("config", "help")}
    try:
        found = load(path)
    except ValueError as error:
        raise click.UsageError(str(error), ctx) from None
    values = dict[str, Any]()
    for key, value in found.items():
        param = known.get(key.replace("-", "_"))
        if param is None:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"{path}: unknown key {key!r}{hint}", ctx)
        name = str(param.name)
        if name in values:
            raise click.UsageError(f"{path}: {key}: the same option twice", ctx)
        values[name] = _checked(ctx, path, key, param, value)
    ctx.default_map = {**(ctx.default_map or {}), **values}
    return path


def _checked(ctx: click.Context, path: str, key: str, param: click.Parameter, value: Any) -> Any:
    """``value`` converted by its parameter; an error names file and key."""
    if key == "grid" and isinstance(value, dict):
        value = [f"{name}={','.join(map(as_typed, _as_list(v)))}" for name, v in value.items()]
    try:
        if getattr(param, "is_flag", False) and not isinstance(value, bool):
            raise click.BadParameter(f"{value!r} is neither true nor false")
        if param.multiple and (not isinstance(value, list)
                               or not all(isinstance(v, str) for v in value)):
            raise click.BadParameter(f"{value!r} is not a list of strings")
        words = (click.Choice, click.Path, click.types.StringParamType)
        if isinstance(param.type, words) and not param.multiple and not isinstance(value, str):
            raise click.BadParameter(f"{value!r} is not a string")
        param.type_cast_value(ctx, value)
    except click.BadParameter as error:
        raise click.UsageError(f"{path}: {key}: {error.message}", ctx) from None
    return value


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def as_typed(value: Any) -> str:
    """A value of the grid as on the command line."""
    return ":".join(map(str, value)) if isinstance(value, list) else str(value)


def as_toml(settings: dict[str, Any], title: str) -> bytes:
    """The configuration as a TOML file that ``--config`` takes.

    Parameters
    ----------
    settings : dict
        All parameters of the command by name; those of the call and None are left out.
    title : str
        Comment at the top.

    Raises
    ------
    ImportError
        Without tomli-w.
    """
    with needs("writing TOML needs tomli-w", "cli"):
        import tomli_w
    return f"# {title}\n\n{tomli_w.dumps(resolved(settings))}".encode()


def resolved(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that determine the result, in types of TOML."""
    from ..datasets import DATASETS

    found = {}
    order = ["data", *(option.name for option in train_options())]
    for key in order:
        value = settings.get(key)
        if key in OF_THE_CALL or value is None:
            continue
        if key in _PATHS and value not in DATASETS:
            value = os.path.abspath(value)
        found[key] = list(value) if isinstance(value, (list, tuple)) else value
    return found


def defaults(names: Collection[str]) -> dict[str, Any]:
    """Defaults of those of these options that have one, for files of earlier versions."""
    return {option.name: option.default for option in train_options()
            if option.name in names and isinstance(option.default, (int, float, str))}


def grid_of(entries: tuple[str, ...], command: click.Command,
            ctx: click.Context) -> dict[str, list[Any]]:
    """Values by option from entries like "lr=1e-3,1e-2".

    Raises
    ------
    click.UsageError
        For an unknown option, or an invalid value.
    """
    params = {param.name: param for param in command.params}
    found: dict[str, list[Any]] = {}
    for entry in entries:
        name, equals, text = entry.partition("=")
        name = name.strip().replace("-", "_")
        name = "lr" if name == "learning_rate" else name
        if not equals or name not in GRID:
            raise click.UsageError(f"--grid {entry}: expected NAME=V,V,... with a NAME of "
                                   f"{', '.join(GRID)}", ctx)
        try:
            values = [params[name].type_cast_value(ctx, part.strip()) for part in text.split(",")]
        except click.BadParameter as error:
            raise click.UsageError(f"--grid {entry}: {error.message}", ctx) from None
        if name in found or len({repr(v) for v in values}) < len(values):
            raise click.UsageError(f"--grid {entry}: {name} has a value twice", ctx)
        found[name] = values
    return found
