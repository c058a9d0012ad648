"""The public table or the earlier release that a study names, read and checked before a run.

An earlier release is verified in full but for the draw of its rows. Its rows then serve as any
public table does; with `same_records` it is its answers that are put to use
(`fedloom.privacy.release.earlier`).
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from fedloom.common.digest import file_sha256
from fedloom.common.errors import ConfigError, DataError
from fedloom.common.public_counts import PublicRecords
from fedloom.privacy.plan import Plan
from fedloom.privacy.release.data import read_csv
from fedloom.privacy.release.earlier import check_alike, load_earlier
from fedloom.privacy.release.verify import verify_release

__all__ = ["earlier_release", "read_public_table"]

_MOST_BYTES = 1 << 30
# A table of which more of a column does not fit the schema is another table.
_MOST_UNFIT = 0.1


def earlier_release(plan: Plan, folder: Path) -> Path | None:
    """Returns the folder of the earlier release that a plan names; None where there is none.

    Args:
      plan: the plan.
      folder: where its path begins: that of the study or of the plan.
    """
    public = plan.public
    return None if public is None or public.release is None else folder / public.release


def read_public_table(plan: Plan, folder: Path) -> PublicRecords | None:
    """Reads the public table that a plan names.

    Args:
      plan: the plan.
      folder: where its path begins: that of the study or of the plan.

    Returns:
      Its rows as codes; None in a plan without a public table, or one that puts the answers of an
      earlier release to use, not its rows.

    Raises:
      ConfigError: the file is not there, or is not the one that the plan names.
      DataError: it lacks a column of the schema, or a column has other values.
      ReleaseError: it is to be a release's, and that does not verify.
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
    if public.release is not None:
        release = folder / public.release
        if file_sha256(release / "manifest.json") != public.manifest:
            raise ConfigError(f"{release} is not the release that the plan names")
        verify_release(release, quick=True)
    if public.same_records:
        earlier = load_earlier(folder / str(public.release), public)
        check_alike(earlier.plan, plan)
        return None
    encoding = plan.encoding
    if path.stat().st_size > _MOST_BYTES:
        raise DataError(f"{path} is larger than {_MOST_BYTES >> 30} GiB; give a sample of its rows")
    frame = _read(path)
    coded = encoding.coded(frame)
    for column in plan.schema.columns:
        name, unfit = column.name, coded.unknown.get(column.name, 0)
        # That long sets are cut is agreed, in this table as in the records.
        unfit += 0 if column.kind == "set" else coded.clamped.get(name, 0)
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
