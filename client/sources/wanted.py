"""Finds the columns that are wanted among those that a source has."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

from fedloom.common.errors import DataError
from fedloom.common.text import normal

__all__ = ["find_columns"]

_MAX_SHOWN = 30


def find_columns(
    present: Iterable[object],
    wanted: Iterable[str] | None,
    where: str,
    hint: Callable[[], str | None] = lambda: None,
) -> dict[str, int]:
    """Returns the place of each wanted column among those that are present.

    Names are compared in Unicode's normal form C, without outer white space; a name that is no
    text, such as the number of a column, by its text.

    Args:
      present: Names of the source's columns, in order.
      wanted: Names of the columns to read; None wants all.
      where: Name of the source, for messages.
      hint: What may be wrong with the whole header; asked when a column is missing.

    Raises:
      DataError: a column is missing or is there twice; names source, column and remedy.
    """
    names = [normal(str(name)).strip() for name in present]
    places = {}
    for name in names if wanted is None else wanted:
        if names.count(name.strip()) > 1:
            raise DataError(f"{where}: column '{name}' appears twice; rename or remove one")
        if name.strip() not in names:
            raise _missing(name, names, where, hint())
        places[name] = names.index(name.strip())
    return places


def _missing(name: str, names: list[str], where: str, hint: str | None) -> DataError:
    if hint is not None:
        return DataError(f"{where}: no column '{name}'; {hint}")
    close = difflib.get_close_matches(name, names, n=1)
    near = f" (did you mean '{close[0]}'?)" if close else ""
    shown = ", ".join(names[:_MAX_SHOWN]) or "none"
    more = f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
    return DataError(
        f"{where}: no column '{name}'{near}; it has {shown}{more}; rename the column or correct "
        "the schema"
    )
