"""Is the table of noisy counts for people the one that follows from the opened look?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fedloom.common.errors import ReleaseError
from fedloom.privacy.answers.opened import OpenedRound
from fedloom.privacy.plan import Plan
from fedloom.privacy.release.marginals import (
    MARGINALS,
    MARGINALS_COLUMNS,
    counted_in_marginals,
    counts_marginals,
    marginals_arrow,
    marginals_table,
)

__all__ = ["check_marginals"]

_TEXTS = ("column", "kind", "value", "class")
_FOOTER_BYTES = 1 << 24
_FOOTER_ITEMS = 1 << 20


def check_marginals(folder: Path, plan: Plan, opened: Mapping[int, OpenedRound]) -> str:
    """Makes the table again and compares; memory is bounded by the table that is made.

    Args:
      folder: the release.
      plan: what was carried out.
      opened: the release's opened rounds, checked.

    Returns:
      What was found, for people.

    Raises:
      ReleaseError: it is another table, or the opened look is not here.
    """
    if not counts_marginals(plan):
        if (folder / MARGINALS).exists():
            raise ReleaseError(f"{MARGINALS} is there, but the plan counts no marginals")
        return "the plan counts no marginals"
    if not set(counted_in_marginals(plan)) <= set(opened):
        raise ReleaseError(f"no opened sum is here that {MARGINALS} could be made from")
    made = marginals_table(plan, opened)
    try:
        found = _read(folder / MARGINALS, made)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ReleaseError(f"{MARGINALS} cannot be read: {error}") from error
    if found != marginals_arrow(made).to_pydict():
        raise ReleaseError(f"{MARGINALS} is not made from the opened sums")
    first, *more = counted_in_marginals(plan)
    others = "".join(f", and that of round {number}," for number in more)
    have = "have" if more else "has"
    return f"{len(made)} noisy counts, as the opened sum of round {first}{others} {have} them"


def _read(path: Path, made: pd.DataFrame) -> dict[str, list[object]]:
    """Reads the columns; texts are looked at once each before they are repeated row by row."""
    with pq.ParquetFile(
        path,
        read_dictionary=list(_TEXTS),
        thrift_string_size_limit=_FOOTER_BYTES,
        thrift_container_size_limit=_FOOTER_ITEMS,
    ) as file:
        footer = file.metadata
        if footer.num_rows != len(made) or file.schema_arrow.names != list(MARGINALS_COLUMNS):
            raise ReleaseError(f"{MARGINALS} has other rows or columns than its answer")
        texts = {file.schema_arrow.field(name).type for name in _TEXTS}
        if not all(pa.types.is_dictionary(kind) for kind in texts):
            raise ReleaseError(f"{MARGINALS} has other types than its columns")
        packed = {
            footer.row_group(group).column(number).compression
            for group in range(footer.num_row_groups)
            for number in range(footer.num_columns)
        }
        if packed - {"UNCOMPRESSED"}:
            raise ReleaseError(f"{MARGINALS} is compressed; a release's is not")
        table = file.read()
    for name in _TEXTS:
        known = set(made[name])
        for chunk in table.column(name).chunks:
            if not set(chunk.dictionary.to_pylist()) <= known:
                raise ReleaseError(f"{MARGINALS} holds a text that is none of the study's")
    found: dict[str, list[object]] = table.to_pydict()
    return found
