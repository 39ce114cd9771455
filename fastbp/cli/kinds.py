"""Types of option values, as typed on a command line or found in a TOML file, and options that
several commands share."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

#: The largest integer of compiled code.
MOST = 2**63 - 1
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Kind(click.ParamType[Any] if TYPE_CHECKING else click.ParamType):  # type: ignore[misc]
    """Base: ``parse`` converts text or a value from TOML, or raises ValueError."""

    def parse(self, value: Any) -> Any:
        """The value."""
        raise NotImplementedError

    def convert(self, value: Any, param: click.Parameter | None,
                ctx: click.Context | None) -> Any:
        """``parse`` with click's errors."""
        try:
            return self.parse(value)
        except (TypeError, ValueError) as error:
            return self.fail(str(error), param, ctx)


class Count(Kind):
    """An integer from ``least`` to ``most``."""

    name = "N"

    def __init__(self, least: int = 1, most: int = MOST) -> None:
        self.least, self.most = least, most

    def parse(self, value: Any) -> int:
        """The number; a TOML number with a point is refused."""
        text = str(value).strip()
        if isinstance(value, (bool, float)) or not re.fullmatch(r"[+-]?\d+(_\d+)*", text):
            raise ValueError(f"{value!r} is not an integer")
        if int(value) < self.least:
            raise ValueError(f"{value} is not at least {self.least}")
        if int(value) > self.most:
            raise ValueError(f"{value} is not at most {self.most}")
        return int(value)


class Real(Kind):
    """A finite number from ``low`` (excluded unless ``with_low``) to below ``high``."""

    name = "X"

    def __init__(self, low: float = 0.0, high: float = math.inf, *, with_low: bool = True) -> None:
        self.low, self.high, self.with_low = low, high, with_low

    def parse(self, value: Any) -> float:
        """The number."""
        if isinstance(value, bool):
            raise ValueError(f"{value!r} is not a number")
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise ValueError(f"{value!r} is not a number") from None
        if not math.isfinite(number) or number < self.low or number >= self.high or (
                number == self.low and not self.with_low):
            least = "at least" if self.with_low else "above"
            upper = "" if self.high == math.inf else f" and below {self.high:g}"
            raise ValueError(f"{value} is not a finite number {least} {self.low:g}{upper}")
        return number


class Widths(Kind):
    """Widths of hidden layers: 128,64 or 128:64, empty for none; a list in TOML."""

    name = "N,N,..."

    def parse(self, value: Any) -> list[int]:
        """The list."""
        if isinstance(value, (list, tuple)):
            return [Count().parse(width) for width in value]
        if isinstance(value, int):
            return [Count().parse(value)]
        return [Count().parse(width) for width in re.split("[,:]", str(value))] if value else []


#: Seeds of a range; each is a run that is made before any trains.
_MOST_SEEDS = 100_000


class Seeds(Kind):
    """0..9, 0,3,5 or both: 0..4,10; a list in TOML."""

    name = "N..M"

    def parse(self, value: Any) -> list[int]:
        """All seeds."""
        if isinstance(value, (list, tuple)):
            found = [Count(0).parse(seed) for seed in value]
        else:
            found = []
            for part in str(value).split(","):
                ends = [Count(0).parse(end) for end in part.split("..")]
                if len(ends) > 2 or ends[0] > ends[-1]:
                    raise ValueError(f"{part!r} is no range of seeds like 0..9")
                if ends[-1] - ends[0] >= _MOST_SEEDS:
                    raise ValueError(f"{part!r} are more than {_MOST_SEEDS:,} seeds")
                found += range(ends[0], ends[-1] + 1)
        if len(set(found)) < len(found) or not found:
            raise ValueError(f"{value!r} must name different seeds")
        return found


class Character(Kind):
    """One ASCII character; \\t is a tab."""

    name = "CHAR"

    def parse(self, value: Any) -> str:
        """The character."""
        if value == r"\t":
            return "\t"
        if not isinstance(value, str) or len(value) != 1:
            raise ValueError(f"{value!r} is not one character")
        if not value.isascii() or value in '\r\n"':
            raise ValueError(f"{value!r} cannot stand between fields: an ASCII character can, "
                             "but no line break or quote")
        return value


class Charset(Kind):
    """The name of an encoding of text."""

    name = "NAME"

    def parse(self, value: Any) -> str:
        """Python's name of it."""
        from .._validation import check_charset

        return check_charset(value)


class Duration(Kind):
    """90, 90s, 10m, 1h30m, 2d; kept in seconds."""

    name = "TIME"

    def parse(self, value: Any) -> float:
        """Seconds."""
        if isinstance(value, float):  # of a config.toml
            seconds = value
        else:
            text = str(value).strip()
            parts = re.findall(r"([\d.]+)([smhd]?)", text)
            if isinstance(value, bool) or not parts or "".join(map("".join, parts)) != text or (
                    len(parts) > 1 and not all(unit for _, unit in parts)):
                raise ValueError(f"{value!r} is no time like 90s, 10m or 1h30m")
            seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
        if not 0 < seconds < math.inf:
            raise ValueError(f"{value!r} is no time above 0")
        return seconds


#: Options whose values could be taken for a list if they are repeated. Of others, as --epochs, the
#: last value counts, as is usual: a script appends what it changes.
_ONCE = {"target": "; several targets are not supported", "weight": "", "validation": ""}


class Once(click.Command):
    """A command that refuses a second value of the options in ``_ONCE``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As any command's, which would take the last value without a word."""
        given, rest = list(args), super().parse_args(ctx, args)  # which may show the help
        if not ctx.resilient_parsing:
            order = [param.name for param in self.make_parser(ctx).parse_args(given)[2]]
            for name, more in _ONCE.items():
                if order.count(name) > 1:
                    raise click.UsageError(f"--{name} takes one value, but is given "
                                           f"{order.count(name)} times{more}", ctx)
        return rest


json_option = click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
weight_option = click.option("--weight", metavar="COL",
                             help="Column with the weights of the rows.")
missing_target_option = click.option(
    "--missing-target", type=click.Choice(["error", "drop"]), default="error", show_default=True,
    help="Rows whose true value is missing; drop: as if the file did not have them.")


def table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How a table is read: ``charset``, ``delimiter``, ``decimal`` and ``batch_rows``."""
    for option in (
            click.option("--batch-rows", type=Count(), default=65536, show_default=True,
                         help="Rows in memory at a time."),
            click.option("--decimal", type=click.Choice([".", ","]), default=".",
                         show_default=True, help="Decimal mark of a text file."),
            click.option("--delimiter", type=Character(),
                         help="Field separator of a text file."),
            click.option("--charset", type=Charset(), default="utf-8", show_default=True,
                         help="Encoding of a text file, such as cp1252 or gbk.")):
        command = option(command)
    return command
