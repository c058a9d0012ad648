"""Options that several commands share, and those of the form NAME=VALUE.

A name may hold an equals sign itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from fedloom.common.errors import ConfigError
from fedloom.common.text import normal

__all__ = ["clamp_options", "column_value_pairs", "json_option", "name_value_pairs"]

Command = TypeVar("Command", bound=Callable[..., Any])

_QUOTED = re.compile(r'"(?P<name>(?:[^"]|"")+)"=(?P<value>.+)', re.DOTALL)


def json_option(command: Command) -> Command:
    """Adds `--json`, which arrives as the argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")(
        command
    )


def clamp_options(command: Command) -> Command:
    """Adds `--clamp` and `--clamp-column`."""
    for option in (
        click.option(
            "--clamp-column",
            "clamp_columns",
            multiple=True,
            metavar="COLUMN",
            help="Accept COLUMN though more of its values are outside the schema; repeat.",
        ),
        click.option(
            "--clamp",
            is_flag=True,
            help="Accept the odd value outside the schema: numbers are clamped, what is unknown or "
            "unreadable is set aside.",
        ),
    ):
        command = option(command)
    return command


def name_value_pairs(
    values: Iterable[str], option: str, *, example: str = "north=FILE"
) -> dict[str, str]:
    """Splits NAME=VALUE options; a message about one that is none shows the example.

    Raises:
      ConfigError: one has no `=`, an empty side, or a name that was given before.

    >>> name_value_pairs(["a=x", "b=y=z"], "--site")
    {'a': 'x', 'b': 'y=z'}
    """
    pairs: dict[str, str] = {}
    for value in values:
        name, equals, rest = value.partition("=")
        if not equals or not name or not rest:
            raise ConfigError(f"{option} {value}: expected NAME=VALUE, such as {option} {example}")
        if name in pairs:
            raise ConfigError(f"{option} {value}: {name!r} was given twice")
        pairs[name] = rest
    return pairs


def column_value_pairs(
    values: Iterable[str], columns: Iterable[str], option: str, *, example: str
) -> dict[str, str]:
    """Splits COLUMN=VALUE options, whatever a column of the schema is called.

    Of the columns that an option could begin with it is the longest; a name in quotes is that name
    alone, with quotes in it written twice.

    Raises:
      ConfigError: one has no `=`, an empty side, or a column that was given before.

    >>> column_value_pairs(["a=b=c"], ["a", "a=b"], "--where", example="age=40")
    {'a=b': 'c'}
    >>> column_value_pairs(['"a"=b=c'], ["a", "a=b"], "--where", example="age=40")
    {'a': 'b=c'}
    """
    longest_first = sorted(columns, key=len, reverse=True)
    pairs: dict[str, str] = {}
    for value in values:
        text = normal(value)
        known = (name for name in longest_first if text.startswith(f"{name}="))
        name = next(known, None)
        quoted = _QUOTED.fullmatch(text)
        if name is not None:
            rest = text[len(name) + 1 :]
        elif quoted is not None:
            name, rest = quoted["name"].replace('""', '"'), quoted["value"]
        else:
            ((name, rest),) = name_value_pairs([text], option, example=example).items()
        if not rest:
            raise ConfigError(f"{option} {value}: expected COLUMN=CONDITION, such as {example}")
        if name in pairs:
            raise ConfigError(f"{option} {value}: {name!r} was given twice")
        pairs[name] = rest
    return pairs
