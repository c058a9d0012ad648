"""Holds a set column of a site's records against the schema, for the steward's eyes alone.

A record does not come through as it is if it has items that the schema does not list, or more than
the schema keeps. The latter is agreed, as `rows_per_person` is, so it is counted, and a problem
only where half of the records or more would be cut. Nothing of it is told outside of the site.
"""

from __future__ import annotations

import pandas as pd

from fedloom.common.cells import cell_text, position_of, positions_of
from fedloom.common.column import Column
from fedloom.common.set_cells import cell_items, read_sets

__all__ = ["set_misfits"]

_MOST_CUT = 0.5
_MAX_EXAMPLES = 5
_MAX_LENGTH = 40


def set_misfits(column: Column, raw: pd.Series) -> tuple[int, int, int, list[str]]:
    """Compares a set column with its description.

    Args:
      column: Of the public schema.
      raw: Its cells, numbered from 0.

    Returns:
      How many records have no value, how many have unknown items, how many others are cut, and
      one message for each thing that does not fit.
    """
    cells = read_sets(column, raw)
    missing = int(cells.missing.sum())
    strange, longer = cells.unknown > 0, cells.cut > 0
    problems, records = [], len(raw)
    if strange.any():
        problems.append(
            f"{int(strange.sum())} of {records} records have items that are none of the "
            f"{len(column.values)} listed, such as {_examples(column, raw[strange])}; add them to "
            f"values in the schema, correct the records, or check the separator "
            f"({column.separator!r})"
        )
    if longer.any() and longer.mean() >= _MOST_CUT:
        problems.append(
            f"{int(longer.sum())} of {records} records have more than {column.maximum} items, of "
            "which the first are kept; raise max_items in the schema, which adds to the noise"
        )
    return missing, int(strange.sum()), int((longer & ~strange).sum()), problems


def _examples(column: Column, raw: pd.Series) -> str:
    positions = positions_of(column)
    found: dict[str, None] = {}
    for cell in raw:
        for text in cell_items(column, cell):
            if position_of(positions, text) < 0:
                found[cell_text(text)[:_MAX_LENGTH]] = None
        if len(found) > _MAX_EXAMPLES:
            break
    texts = list(found)
    more = " and more" if len(texts) > _MAX_EXAMPLES else ""
    return ", ".join(repr(text) for text in texts[:_MAX_EXAMPLES]) + more
