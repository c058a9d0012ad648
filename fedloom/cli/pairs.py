"""Options of the form NAME=VALUE."""

from __future__ import annotations

from collections.abc import Iterable

from fedloom.common.errors import ConfigError

__all__ = ["name_value_pairs"]


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
