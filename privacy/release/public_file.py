"""The public table of a study: read for a run, and its counts in a release.

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
import pandas as pd
from numpy.typing import NDArray

from fedloom.common.column_marginals import ColumnMarginals
from fedloom.common.digest import file_sha256
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError, DataError, ReleaseError
from fedloom.common.marginals import TwoWayMarginals
from fedloom.common.public_counts import PublicCounts, PublicRecords
from fedloom.common.public_data import PublicData
from fedloom.common.three_way_marginals import ThreeWayMarginals
from fedloom.privacy.answers.files import pack_arrays, read_arrays
from fedloom.privacy.answers.opened import OpenedRound
from fedloom.privacy.plan import Plan
from fedloom.privacy.release.data import read_csv
from fedloom.privacy.release.manifest import read_manifest

__all__ = ["PUBLIC", "check_public", "pack_public", "read_public_table"]

PUBLIC = "public.safetensors"
"""Where a release holds the counts."""

_FORMAT = "fedloom-public/1"
# A table of which more of a column does not fit the schema is another table.
_MOST_UNFIT = 0.1
Array = NDArray[Any]


def read_public_table(plan: Plan, folder: Path) -> PublicRecords | None:
    """Reads the public table that a plan names.

    Args:
      plan: the plan.
      folder: where its path begins: that of the study or of the plan.

    Returns:
      Its rows as codes; None in a plan without a public table.

    Raises:
      ConfigError: the file is not there, or is not the one that the plan names.
      DataError: it lacks a column of the schema, or a column has other values.
      ReleaseError: it is to be a release's, and that was changed after signing.
    """
    public = plan.public
    if public is None:
        return None
    path = folder / str(public.table)
    if not path.is_file():
        raise ConfigError(
            f"the plan's public table {public.table} is not in {folder}; put it there, as the plan "
            "was resolved with it"
        )
    if file_sha256(path) != public.sha256:
        raise ConfigError(
            f"{path} is not the public table that the plan names (SHA-256 {public.sha256}); use "
            "that one, or resolve the study again"
        )
    if public.manifest is not None:
        _check_release(public, folder)
    encoding = plan.encoding
    frame = _read(path)
    coded = encoding.coded(frame)
    for name in plan.schema.names:
        unfit = coded.unknown.get(name, 0) + coded.clamped.get(name, 0)
        if unfit > _MOST_UNFIT * len(frame):
            raise DataError(
                f"{path}: {unfit} of {len(frame)} values of column {name!r} do not fit the schema; "
                "a public table has the schema's own columns and values"
            )
    return PublicRecords(features=coded.features, classes=coded.classes)


def _read(path: Path) -> pd.DataFrame:
    """Reads a comma-separated file as texts; an empty field is a missing value.

    Raises:
      DataError: it is no such file.
    """
    try:
        return read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no comma-separated table in UTF-8: {error}") from None


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
) -> tuple[PublicCounts | None, str]:
    """Reads a release's counts of a public table, and returns them and what was found.

    Args:
      folder: the release.
      plan: that was carried out.
      opened: its opened rounds, checked.

    Raises:
      ReleaseError: they are missing, or cannot be the counts of any table.
    """
    public = plan.public
    if public is None:
        if (folder / PUBLIC).exists():
            raise ReleaseError(f"{PUBLIC} is there, but the plan names no public table")
        return None, "the plan names no public table"
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


def _check_release(public: PublicData, folder: Path) -> None:
    """Checks that a release is as signed and that its rows are the ones that the plan names."""
    release = folder / str(public.release)
    if file_sha256(release / "manifest.json") != public.manifest:
        raise ConfigError(f"{release} is not the release that the plan names")
    named = {entry.path: entry.sha256 for entry in read_manifest(release).files}
    if named.get("data/synthetic.csv") != public.sha256:
        raise ReleaseError(f"{release}: its rows are not the ones that its manifest names")
