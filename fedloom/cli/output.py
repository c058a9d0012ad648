"""What a command prints: results on standard output, everything else on standard error.

So a result can be piped or parsed while progress and errors stay visible.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["json_option", "print_error", "print_json"]

Command = TypeVar("Command", bound=Callable[..., Any])


def json_option(command: Command) -> Command:
    """Adds `--json`, which arrives as the argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")(
        command
    )


def print_json(value: Any) -> None:
    """Prints a result as JSON on standard output.

    Raises:
      ValueError: a number in it is not finite, which JSON cannot say.
    """
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def print_error(text: str, *, code: str, exit_code: int, as_json: bool) -> None:
    """Prints an error for people on standard error and, on request, as JSON for machines."""
    click.echo(text, err=True)
    if as_json:
        error = text.removeprefix("Error: ")
        print_json({"error": error, "code": code, "exit_code": exit_code})
