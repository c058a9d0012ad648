"""Whether the options that a text advises exist, and in the command that it names or came from."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click

from fedloom.cli.main import fedloom

_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
_COMMAND = re.compile(r"(?:^|(?<=[\s`'\"(]))fedloom (?P<words>[a-z][^`\n]*)", re.M)
_OTHERS = re.compile(r"(?:\bpip|\bpython|\bpytest|\bflower-\w+|\bflwr)\b[^\n;`]*")


def command_of(words: Sequence[str]) -> tuple[click.Command, str]:
    """Returns the command that words begin with, and its name."""
    command: click.Command = fedloom
    name = []
    for word in words:
        found = None
        if isinstance(command, click.Group):
            found = command.get_command(click.Context(command), word)
        if found is None:
            break
        command = found
        name.append(word)
    return command, " ".join(name)


def options_of(command: click.Command) -> set[str]:
    """Returns the options of a command."""
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    return known | {"--help"} | ({"--version"} if command is fedloom else set())


def all_options() -> set[str]:
    """Returns the options of all commands."""
    found, left = set(), [fedloom]
    while left:
        command = left.pop()
        found |= options_of(command)
        if isinstance(command, click.Group):
            context = click.Context(command)
            names = command.list_commands(context)
            left += [command.get_command(context, name) for name in names]
    return found


def unknown_advice(text: str, words: Sequence[str] | None = None) -> list[str]:
    """Names the options in a text that no such command has.

    Args:
      text: A message, a page of documentation, a line of source.
      words: The command line that printed it, whose options the text may name alone; None if the
        text may name the options of any.
    """
    unknown = []
    text = _OTHERS.sub("", text)
    for found in _COMMAND.finditer(text):
        command, name = command_of(found["words"].split())
        if name:
            given = _OPTION.findall(found["words"])
            unknown += [
                f"fedloom {name} {word}" for word in given if word not in options_of(command)
            ]
    rest = _COMMAND.sub("", text)
    known = all_options() if words is None else options_of(command_of(words)[0])
    return unknown + [word for word in _OPTION.findall(rest) if word not in known]
