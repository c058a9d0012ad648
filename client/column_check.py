"""Holds one column of a site's records against the schema, for the steward's eyes alone.

A value that cannot be read as its column's kind becomes noise in the synthetic data, and one that
is read wrongly becomes a lie. So a report says how many values would not come through as they are,
how they seem to be written, and what it takes to accept the column all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedloom.client.set_check import set_misfits
from fedloom.client.sources.signs import Sign, category_sign, number_sign
from fedloom.client.sources.time_signs import time_sign
from fedloom.common.cells import Cells, axis_value, cell_text, read_categories, read_numbers
from fedloom.common.column import Column

__all__ = ["MAX_CHANGED", "MAX_UNNAMED", "ColumnReport", "check_column"]

MAX_UNNAMED = 0.02  # share of a column that the flag --clamp covers without naming it
MAX_CHANGED = 0.5  # a column of which that share would change is not that column
_NEARLY_ALL, _A_COLUMN = 0.95, 20
_MAX_EXAMPLES = 5
_MAX_LENGTH = 40

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnReport:
    """What one column holds. All counts are private.

    Attributes:
      name: The column.
      missing: Missing values.
      clamped: Numbers outside the bounds, or with a fraction in an integer column.
      unknown: Values that cannot be read or are none of the categories.
      left_out: Rows without an id, which are nobody's.
      misfits: How many values would not come through as they are if the column was accepted:
        clamped, set aside or left out.
      values: How many there are of which `misfits` are some.
      doubtful: Values seem to be written as another source would write them, so that those which
        could be read may have been read wrongly.
      unsafe: It is in doubt what every value means.
      problems: One message for each thing that does not fit, naming column and remedy.
    """

    name: str
    missing: int = 0
    clamped: int = 0
    unknown: int = 0
    left_out: int = 0
    misfits: int = 0
    values: int = 0
    doubtful: bool = False
    unsafe: bool = False
    problems: tuple[str, ...] = ()

    def at(self, where: str) -> ColumnReport:
        """Returns the report with messages that name table and column."""
        named = (f"{where}: column '{self.name}': {text}" for text in self.problems)
        return replace(self, problems=tuple(named))

    @property
    def share(self) -> float:
        """The share of values that do not fit."""
        return self.misfits / max(self.values, 1)

    @property
    def verdict(self) -> str:
        """What it takes to accept the column, which would change `misfits` values.

        `fits`: nothing. `clamp`: the steward's word for all such columns. `by name`: the steward's
        word for this column. `never`: half of it or more would change, so it would be another
        column.
        """
        if not self.problems:
            return "fits"
        if self.unsafe or (self.share >= MAX_CHANGED and self.misfits > 1):
            return "never"
        few = self.misfits <= 1 or self.share <= MAX_UNNAMED
        return "clamp" if few and not self.doubtful else "by name"


def check_column(column: Column, raw: pd.Series) -> ColumnReport:
    """Compares a column of a table with its description.

    Args:
      column: Of the public schema.
      raw: As of `load_table`.
    """
    check = {"category": _check_category, "set": _check_set}.get(column.kind, _check_number)
    return check(column, raw.reset_index(drop=True))


def _check_category(column: Column, raw: pd.Series) -> ColumnReport:
    cells = read_categories(column, raw)
    problems = _missing_problem(column, cells)
    present = int((~cells.missing).sum())
    if column.open:
        sign = category_sign(column, _texts(raw[~cells.missing]))
        doubtful = sign is not None and sign.dialect
        if sign is not None and doubtful:
            problems.append(f"such as {_examples(raw[~cells.missing])}: {sign.text}")
        return _report(column, cells, problems=problems, doubtful=doubtful)
    strange = cells.unreadable & ~_is_other(column, raw, cells)
    unknown = int(strange.sum())
    if not unknown:
        return _report(column, cells, problems=problems)
    sign = category_sign(column, _texts(raw[strange]))
    doubtful = sign is not None and sign.dialect
    remedy = _and_sign(
        sign,
        'add them to values in the schema, correct the records, or give the column other = "..."',
    )
    said = (
        f"{unknown} of {present} values are none of the {len(column.values)} categories, such as "
        f"{_examples(raw[strange])}; {remedy}"
    )
    if column.other is None:
        problems.append(said)
        return _report(column, cells, unknown=unknown, problems=problems, doubtful=doubtful)
    # They are synthesised under a label of their own, which is agreed: but not a whole column.
    if doubtful or unknown >= max(_NEARLY_ALL * present, _A_COLUMN):
        problems.append(said)
        doubtful = True
    return _report(column, cells, named=unknown, problems=problems, doubtful=doubtful)


def _check_set(column: Column, raw: pd.Series) -> ColumnReport:
    """Reports on sets; one without a value is empty, or missing where that is allowed."""
    missing, unknown, cut, problems = set_misfits(column, raw)
    return ColumnReport(
        name=column.name,
        missing=missing,
        clamped=cut,
        unknown=unknown,
        misfits=unknown,
        values=len(raw),
        problems=tuple(problems),
    )


def _check_number(column: Column, raw: pd.Series) -> ColumnReport:
    cells = read_numbers(column, raw)
    problems = _missing_problem(column, cells)
    readable = ~(cells.missing | cells.unreadable)
    unknown, present = int(cells.unreadable.sum()), int((~cells.missing).sum())
    sign = _sign(column, raw, cells.unreadable, readable)
    doubtful = sign is not None and sign.dialect
    if unknown:
        what = "ISO times" if column.kind == "datetime" else "numbers"
        remedy = _and_sign(
            sign, "correct the records, or declare the text that stands for a missing value"
        )
        problems.append(
            f"{unknown} of {present} values are not {what}, such as "
            f"{_examples(raw[cells.unreadable])}; {remedy}"
        )
    elif sign is not None:
        problems.append(sign.text)
    outside = _outside(column, cells) & readable
    if outside.any():
        problems.append(
            f"{int(outside.sum())} of {present} values lie outside {column.minimum} to "
            f"{column.maximum}, such as {_examples(raw[outside])}; widen min and max in the "
            "schema, list codes under special, or correct the records"
        )
    rounded = cells.rounded & readable
    if rounded.any():
        problems.append(
            f"{int(rounded.sum())} of {present} values are not whole numbers, such as "
            f"{_examples(raw[rounded])}; use kind 'real' in the schema or round the records"
        )
    return _report(
        column,
        cells,
        clamped=int((outside | rounded).sum()),
        unknown=unknown,
        problems=problems,
        doubtful=doubtful,
        unsafe=doubtful and not unknown,
    )


def _sign(column: Column, raw: pd.Series, unread: Mask, readable: Mask) -> Sign | None:
    """Says how texts are written; cells that are no texts tell nothing."""
    texts = raw.map(lambda cell: isinstance(cell, str)).to_numpy(dtype=bool)
    strange, read = _texts(raw[unread]), _texts(raw[readable & texts])
    if column.kind == "datetime":
        return time_sign(strange, read, dates_only=column.dates_only)
    return number_sign(strange, read)


def _outside(column: Column, cells: Cells) -> Mask:
    if column.minimum is None or column.maximum is None:  # an open column has no bounds yet
        return np.zeros(len(cells.values), dtype=bool)
    low = axis_value(column.minimum, dates_only=column.dates_only)
    high = axis_value(column.maximum, dates_only=column.dates_only)
    special = [axis_value(value, dates_only=column.dates_only) for value in column.special]
    return ((cells.values < low) | (cells.values > high)) & ~np.isin(cells.values, special)


def _is_other(column: Column, raw: pd.Series, cells: Cells) -> Mask:
    """Tells which cells hold the label under which others are synthesised."""
    found = np.zeros(len(raw), dtype=bool)
    if column.other is not None:
        places = np.flatnonzero(cells.unreadable)
        found[places] = [text.strip() == column.other for text in _texts(raw.iloc[places])]
    return found


def _missing_problem(column: Column, cells: Cells) -> list[str]:
    missing = int(cells.missing.sum())
    if not missing or column.nullable or column.open:
        return []
    return [
        f"{missing} of {len(cells.missing)} values are missing; set nullable = true in the schema, "
        "or complete the records"
    ]


def _report(
    column: Column,
    cells: Cells,
    *,
    problems: list[str],
    clamped: int = 0,
    unknown: int = 0,
    named: int = 0,
    doubtful: bool = False,
    unsafe: bool = False,
) -> ColumnReport:
    """Makes a report; `named` values are set aside under a label that the schema gives."""
    missing = int(cells.missing.sum())
    set_aside = 0 if column.nullable or column.open else missing
    return ColumnReport(
        name=column.name,
        missing=missing,
        clamped=clamped,
        unknown=unknown + named,
        misfits=clamped + unknown + set_aside,
        values=len(cells.missing) - missing + set_aside,
        doubtful=doubtful,
        unsafe=unsafe,
        problems=tuple(problems),
    )


def _and_sign(sign: Sign | None, otherwise: str) -> str:
    return otherwise if sign is None else sign.text


def _texts(raw: pd.Series) -> list[str]:
    return [cell_text(value) for value in raw]


def _examples(raw: pd.Series) -> str:
    texts = list(dict.fromkeys(text[:_MAX_LENGTH] for text in _texts(raw)))
    shown = ", ".join(repr(text) for text in texts[:_MAX_EXAMPLES])
    rest = len(texts) - _MAX_EXAMPLES
    return f"{shown} and {rest} more" if rest > 0 else shown
