"""The counts of a study's public table in a release.

    public.safetensors    how often each code, pair and triple occurs in the public table, on the
                          groups of the study's own answers: what fitting the generator again takes

A release holds these counts and not the rows, whose licence may forbid it. Counts are exact: no
noise protects a public table, which is why it must hold none of the records of the study.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.column_marginals import ColumnMarginals
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ReleaseError
from fedloom.common.marginals import NoisyMarginals, TwoWayMarginals
from fedloom.common.public_counts import PublicCounts, PublicRecords
from fedloom.common.three_way_marginals import ThreeWayMarginals
from fedloom.privacy.answers.files import pack_arrays, read_arrays
from fedloom.privacy.answers.opened import OpenedRound
from fedloom.privacy.plan import Plan
from fedloom.privacy.release.earlier import EARLIER, check_alike, load_earlier

__all__ = ["PUBLIC", "check_public", "pack_public"]

PUBLIC = "public.safetensors"
"""Where a release holds the counts."""

_FORMAT = "fedloom-public/1"
Array = NDArray[Any]


def pack_public(plan: Plan, records: PublicRecords, opened: Mapping[int, OpenedRound]) -> bytes:
    """Returns the bytes of a release's counts.

    Args:
      plan: that was carried out.
      records: rows of its public table.
      opened: the run's opened rounds.
    """
    groups, coarse = _groups(opened)
    counts = records.counted(plan.encoding, groups=groups, coarse=coarse)
    named = {"columns": counts.columns, "pairs": counts.pairs, "triples": counts.triples}
    arrays = {name: array for name, array in named.items() if array is not None}
    return pack_arrays(_header(plan), arrays)


def check_public(
    folder: Path, plan: Plan, opened: Mapping[int, OpenedRound]
) -> tuple[PublicCounts | NoisyMarginals | None, str]:
    """Reads a release's counts of a public table, or the answers of an earlier release.

    Args:
      folder: the release.
      plan: that was carried out.
      opened: its opened rounds, checked.

    Returns:
      The counts or the answers, and what was found, for people.

    Raises:
      ConfigError: the earlier release is of another kind or schema.
      ReleaseError: they are missing, or cannot be the counts of any table.
    """
    public = plan.public
    same = public is not None and public.same_records
    if (folder / EARLIER).exists() != same:
        raise ReleaseError(f"{EARLIER}/ belongs to a plan with same_records, and to no other")
    if public is None or same:
        if (folder / PUBLIC).exists():
            raise ReleaseError(f"{PUBLIC} is there, but the plan names no public table")
    if public is None:
        return None, "the plan names no public table"
    if same:
        earlier = load_earlier(folder / EARLIER, public)
        check_alike(earlier.plan, plan)
        return earlier.statistics, (
            f"answers of the release with the manifest {public.manifest}, as signed by its "
            "publisher; they are about the same records as far as the sites say so"
        )
    header, arrays = read_arrays(folder / PUBLIC)
    if header != _header(plan):
        raise ReleaseError(f"{PUBLIC} is not of the public table that the plan names")
    encoding, (groups, coarse) = plan.encoding, _groups(opened)
    measured = {"columns": ColumnMarginals(encoding).length}
    if groups is not None:
        measured["pairs"] = TwoWayMarginals(encoding, groups).length
    if coarse is not None:
        measured["triples"] = ThreeWayMarginals(encoding, coarse).length
    if {name: array.shape for name, array in arrays.items()} != {
        name: (length,) for name, length in measured.items()
    }:
        raise ReleaseError(f"the arrays of {PUBLIC} are not those of the plan's statistics")
    for name, array in arrays.items():
        if array.dtype != np.int64 or (array < 0).any():
            raise ReleaseError(f"{name} in {PUBLIC} are no counts")
    rows = _check_sums(encoding, arrays, groups)
    return PublicCounts(**arrays), (
        f"counts of {rows} rows of {public.table} ({public.source}), SHA-256 {public.sha256}; that "
        "they are of that file is not checked"
    )


def _check_sums(encoding: Encoding, arrays: Mapping[str, Array], groups: Array | None) -> int:
    """Sees to it that every column and pair counts the same rows; returns how many there are."""
    classes, cells = ColumnMarginals(encoding).rows(arrays["columns"])
    rows = int(classes.sum())
    fit = all(
        int(cells[block.start : block.start + block.size].sum()) == rows
        for block in encoding.features
    )
    if groups is not None:
        pairs = TwoWayMarginals(encoding, groups)
        fit &= all(
            int(table.sum()) == int(classes[label])
            for label in range(encoding.num_classes)
            for _, table in pairs.tables(arrays["pairs"], label)
        )
    if not fit:
        raise ReleaseError(f"{PUBLIC} does not count the same rows everywhere")
    return rows


def _groups(opened: Mapping[int, OpenedRound]) -> tuple[Array | None, Array | None]:
    """Returns the groups of pairs and of triples, as they were asked."""
    asked = {one.sums[0].name: one.request_arrays.get("groups") for one in opened.values()}
    return asked.get("pairwise"), asked.get("three-way")


def _header(plan: Plan) -> dict[str, Any]:
    assert plan.public is not None
    return {"format": _FORMAT, "plan": plan.digest(), "sha256": plan.public.sha256}
