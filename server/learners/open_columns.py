"""Completes an open schema from the noisy sum of a study of kind "schema".

Every open column is looked at alone: a number or time through `bounds`, a category through
`categories`. A column in which nothing stands out of the noise cannot be completed; it is left out
of the schema, and its finding says so. A hierarchy of codes that does not fit the categories found
is left out likewise: they were paid for and stay. All of it is post-processing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.category_codes import NORM
from fedloom.common.cells import category_key
from fedloom.common.code_hierarchy import checked_hierarchy
from fedloom.common.column import Column
from fedloom.common.discovery import MISSING, NUMBER_NORM, UNFIT, Discovery, OpenColumn
from fedloom.common.errors import SchemaError
from fedloom.common.schema import Schema
from fedloom.server.learners import bounds, categories

__all__ = ["Finding", "complete_schema", "detectable"]

Array = NDArray[np.float64]

# A missing value is looked for in one cell a column: told falsely once in 1,000 columns.
_MISSING_Z = 3.1
_OTHER = "(other)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a study found about one open column; noisy numbers of records.

    Attributes:
      column: Name.
      kind: Of the schema.
      found: One line for people.
      complete: Whether the schema holds it now.
      share: Part of the study's squared sensitivity that the column took.
      needed: From how many records on something is found: a category by the most bytes of its
        text, a number within a factor of two of others under the key 0.
      values: Records of each category found.
      records: Within the bounds, or of all categories found.
      missing: Missing values.
      unfit: Values that are no numbers, or no short printable texts.
    """

    column: str
    kind: str
    found: str
    complete: bool
    share: float
    needed: Mapping[int, int]
    values: Mapping[str, float]
    records: float
    missing: float
    unfit: float

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values."""
        plain = dataclasses.asdict(self)
        plain["needed"] = {str(key): value for key, value in self.needed.items()}
        return plain


def detectable(open_column: OpenColumn, noise_std: float) -> dict[int, int]:
    """Returns from how many records on something is found in a column: `Finding.needed`.

    Args:
      open_column: From the layout.
      noise_std: Standard deviation of the noise in each cell of the sum.
    """
    if open_column.axis is None:
        return categories.records_needed(open_column, noise_std)
    return {0: bounds.records_needed(open_column.axis, noise_std)}


def complete_schema(
    discovery: Discovery, vector: Array, noise_std: float
) -> tuple[Schema | None, tuple[Finding, ...]]:
    """Fills in the open columns.

    Args:
      discovery: The public layout.
      vector: The noisy sum over sites, (discovery.length,).
      noise_std: Standard deviation of the noise in each cell of it.

    Returns:
      The schema without open columns, None where no column is left, and what was found about
      each open one.
    """
    completed: dict[str, Column | None] = {}
    findings = []
    for open_column in discovery.columns:
        cells = vector[open_column.start : open_column.start + open_column.size]
        read = _category if open_column.axis is None else _number
        column, finding = read(open_column, cells, noise_std, discovery.l2_norm)
        completed[open_column.column.name] = column
        findings.append(finding)
    columns = [completed.get(column.name, column) for column in discovery.schema.columns]
    kept = [column for column in columns if column is not None]
    if not kept:
        return None, tuple(findings)
    schema = discovery.schema
    return Schema(tuple(kept), schema.constraints, schema.learned), tuple(findings)


def _number(
    open_column: OpenColumn, cells: Array, noise_std: float, l2_norm: float
) -> tuple[Column | None, Finding]:
    column = open_column.column
    counts, std = cells[:2] / NUMBER_NORM, noise_std / NUMBER_NORM
    nullable = column.nullable or float(counts[MISSING]) > _MISSING_Z * std
    read = bounds.read_bounds(column, cells[2:], noise_std)
    if read is None:
        made, found = None, "nothing stands out of the noise: give min and max, or drop the column"
    else:
        made = dataclasses.replace(
            column,
            open=False,
            minimum=read.minimum,
            maximum=read.maximum,
            edges=read.edges,
            scale="auto",
            special=read.special,
            nullable=nullable,
        )
        found = f"{read.minimum} to {read.maximum}"
        found += ", where one value alone stands out" if read.alone else ""
        if read.edges:
            found += f" in {len(read.edges) + 1} bins"
        if read.special:
            found += ", zero stands apart"
        found += ", with missing values" if nullable else ""
    return made, Finding(
        column=column.name,
        kind=column.kind,
        found=found,
        complete=made is not None,
        share=NUMBER_NORM**2 / l2_norm**2,
        needed=detectable(open_column, noise_std),
        values={},
        records=0.0 if read is None else read.records,
        missing=float(counts[MISSING]),
        unfit=float(counts[UNFIT]),
    )


def _category(
    open_column: OpenColumn, cells: Array, noise_std: float, l2_norm: float
) -> tuple[Column | None, Finding]:
    column = open_column.column
    counts, std = cells[:2] / NORM, noise_std / NORM
    nullable = column.nullable or float(counts[MISSING]) > _MISSING_Z * std
    other = column.other or _OTHER
    read = categories.read_categories(open_column, cells, noise_std)
    values = {text: read[text] for text in sorted(read, key=_order) if text != other}
    if values:
        unfit = _unfit_hierarchy(column, tuple(values), other)
        made = dataclasses.replace(
            column,
            open=False,
            values=tuple(values),
            other=other,
            nullable=nullable,
            hierarchy=() if unfit else column.hierarchy,
        )
        found = f"{len(values)} categories, the rest as {other!r}"
        found += ", with missing values" if nullable else ""
        found += f", without the hierarchy ({unfit})" if unfit else ""
    else:
        made, found = None, "nothing stands out of the noise: list the values, or drop the column"
    return made, Finding(
        column=column.name,
        kind=column.kind,
        found=found,
        complete=made is not None,
        share=NORM**2 / l2_norm**2,
        needed=detectable(open_column, noise_std),
        values=values,
        records=sum(values.values()),
        missing=float(counts[MISSING]),
        unfit=float(counts[UNFIT]),
    )


def _unfit_hierarchy(column: Column, values: tuple[str, ...], other: str) -> str | None:
    """Returns why a hierarchy cannot stand above the categories found; None where it can."""
    if not column.hierarchy:
        return None
    try:
        checked_hierarchy(column.hierarchy, values, other)
    except SchemaError as error:
        return str(error)
    return None


def _order(text: str) -> tuple[bool, float, str]:
    """Sorts numbers by value, before other texts."""
    try:
        return False, float(category_key(text)), text
    except ValueError:
        return True, 0.0, text
