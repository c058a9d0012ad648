"""All noisy one-way counts of a study as one table, for people.

One row is one count of the opened look (the first statistics round), or of the items of sets that
are counted beside it, as it came: unbiased, with
independent Gaussian noise of a standard deviation that is known exactly, and possibly negative.
Nothing is fitted, clipped or made to add up. So what follows is simple: a count plus and minus
1.96 `std` holds the true number of records counted with a chance of 95%; a sum of k counts has
`std` times the square root of k. Counted are the records at the sites of the sum, held-back ones
left out, numbers clamped to the schema's bounds, after each person's cap on rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fedloom.common.column_marginals import ColumnMarginals
from fedloom.common.encoding import Block, Encoding
from fedloom.common.marginals import OneWayMarginals
from fedloom.common.statistic_kinds import statistic_kind
from fedloom.privacy.answers.opened import OpenedRound
from fedloom.privacy.phases import StatisticPhase
from fedloom.privacy.plan import Plan

__all__ = [
    "MARGINALS",
    "MARGINALS_COLUMNS",
    "counted_in_marginals",
    "counts_marginals",
    "marginals_arrow",
    "marginals_table",
]

MARGINALS = "answers/marginals.parquet"

MARGINALS_COLUMNS = {
    "column": "name of the column; of the label in rows of kind `class`, empty there without one",
    "kind": "`class`: all records of one class. Within a class: `interval` of numbers or dates, "
    "`value` of a category, `special` number that stands apart, `missing`, `other`; of a set "
    "intervals are of its number of items, and `item` is each item, all classes together",
    "value": "the class, category, number or interval as text, ends included",
    "lower": "least number of an interval, or the special number; empty for all else",
    "upper": "largest number of an interval; of a real column it belongs to the next interval",
    "class": "class of the label that is counted; empty where all classes are counted together and "
    "in a study without a label",
    "count": "noisy number of records, as it was measured; may be negative",
    "std": "standard deviation of the Gaussian noise in `count`",
}
"""What each column of the table means."""


_TEXTS = ("column", "kind", "value", "class")
_SCHEMA = pa.schema(
    [(name, pa.string() if name in _TEXTS else pa.float64()) for name in MARGINALS_COLUMNS]
)


def counts_marginals(plan: Plan) -> bool:
    """Whether a plan's first round counts one-way marginals, so that the table can be made."""
    phase = plan.rounds[0].phase
    return isinstance(phase, StatisticPhase) and statistic_kind(phase.statistic).counts_columns


def counted_in_marginals(plan: Plan) -> list[int]:
    """Returns the numbers of the rounds that the table is made from: look, and items of sets."""
    return [plan.rounds[0].round] + [r.round for r in plan.rounds if r.phase.name == "items"]


def marginals_table(plan: Plan, opened: Mapping[int, OpenedRound]) -> pd.DataFrame:
    """Returns the table of a plan's opened look, and of its items; post-processing.

    Args:
      plan: a plan that makes records.
      opened: by number, its opened rounds; those of `counted_in_marginals` at the least.
    """
    look, *items = (opened[number] for number in counted_in_marginals(plan))
    encoding = plan.encoding
    names = list(encoding.class_labels) if encoding.target is not None else [None]
    rows: list[dict[str, Any]] = []
    if look.sums[0].name == "columns":
        counts, cells = ColumnMarginals(encoding).rows(look.values())
        rows += [_class_row(encoding, *named) for named in zip(names, counts, strict=True)]
        rows += _column_rows(encoding, None, cells)
    else:
        counts, by_class = OneWayMarginals(encoding).rows(look.values())
        for name, count, cells in zip(names, counts, by_class, strict=True):
            rows.append(_class_row(encoding, name, count))
            rows += _column_rows(encoding, name, cells)
    stds = [look.sums[0].std] * len(rows)
    for counted in items:
        rows += _item_rows(encoding, counted.values())
        stds += [counted.sums[0].std] * (len(rows) - len(stds))
    frame = pd.DataFrame(rows, columns=[name for name in MARGINALS_COLUMNS if name != "std"])
    types = {name: object if name in _TEXTS else np.float64 for name in frame.columns}
    return frame.astype(types).assign(std=np.array(stds))


def marginals_arrow(table: pd.DataFrame) -> pa.Table:
    """Returns the table in the types of its file, also where a column holds nothing at all."""
    return pa.Table.from_pandas(table, schema=_SCHEMA, preserve_index=False)


def _class_row(encoding: Encoding, name: str | None, count: float) -> dict[str, Any]:
    return _row(encoding.target, "class", name, None, None, name, count)


def _column_rows(encoding: Encoding, name: str | None, cells: Any) -> list[dict[str, Any]]:
    """Returns the rows of all columns' cells (D,), within a class or of all classes together."""
    return [
        _row(block.name, *cell, name, count)
        for block in encoding.features
        for cell, count in zip(
            _cells(encoding, block), cells[block.start : block.start + block.size], strict=True
        )
    ]


def _item_rows(encoding: Encoding, counts: Any) -> list[dict[str, Any]]:
    """Returns the rows of the items of all sets."""
    return [
        _row(block.name, "item", value, None, None, None, counts[block.start + place])
        for block in encoding.sets
        for place, value in enumerate(block.values)
    ]


def _row(*values: Any) -> dict[str, Any]:
    names = [name for name in MARGINALS_COLUMNS if name != "std"]
    return dict(zip(names, values, strict=True))


def _cells(
    encoding: Encoding, block: Block
) -> list[tuple[str, str | None, float | None, float | None]]:
    """Returns kind, text and ends of each cell of a block, in order."""
    column, grid = encoding.schema.columns[block.index], encoding.grids[block.index]
    ends: list[tuple[str, float | None, float | None]]
    if grid is None:
        ends = [("value", None, None)] * block.num_bins
    else:
        starts, stops, specials = grid.starts.tolist(), grid.stops.tolist(), grid.specials.tolist()
        if column.kind == "datetime":  # the text says it; an axis of days or seconds would not
            starts, stops = [None] * len(starts), [None] * len(stops)
            specials = [None] * len(specials)
        ends = [("interval", low, high) for low, high in zip(starts, stops, strict=True)]
        ends += [("special", value, value) for value in specials]
    ends += [("missing", None, None)] * column.nullable + [("other", None, None)]
    return [
        (kind, None if kind == "missing" else label, low, high)
        for (kind, low, high), label in zip(ends, block.labels, strict=True)
    ]
