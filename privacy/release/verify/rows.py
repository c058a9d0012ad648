"""Do the data files say what the schema allows, both the same, and what the generator gives?

The rows are drawn again from the generator in the folder, at the seed in the manifest, and compared
value by value. Sampling is a fixed function of generator, schema, seed and number of rows: in
double precision, on a stream of NumPy's generator that no number of threads changes. So equality
is asked for, not closeness: rows from anywhere else differ, and so does a single exchanged cell.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedloom.common.artifact import Artifact
from fedloom.common.constraints import violations
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ReleaseError
from fedloom.common.sampling import sample_chunks
from fedloom.privacy.plan import Plan
from fedloom.privacy.release.data import CSV, PARQUET, public_seed
from fedloom.privacy.release.data_files import data_files, sizes_of
from fedloom.privacy.release.manifest import Manifest
from fedloom.privacy.release.typed_rows import typed
from fedloom.privacy.release.verify.result import DO_NOT_USE, CheckFailed
from fedloom.privacy.release.verify.tables import csv_pieces, parquet_pieces

__all__ = ["check_data", "check_drawn", "check_rows", "differing_rows", "note_on_seed"]

_MAX_PROBLEMS = 5


def check_rows(folder: Path, manifest: Manifest, plan: Plan, on_rows: Callable[[int], None]) -> str:
    """Looks at every value of the data files, whatever kind of record they hold.

    Args:
      folder: the release.
      manifest: of the release, with `rows` and `files`.
      plan: that was carried out.
      on_rows: is told how many rows have been looked at since it was last told.

    Returns:
      What was found, for people.

    Raises:
      ReleaseError: there are other rows than the plan asks for, files of another kind of record,
        or values that the schema does not allow.
    """
    asked, rows = plan.release.rows, manifest.rows
    if asked is not None and rows != asked:
        raise ReleaseError(f"the data have {rows} rows, the plan asks for {asked}")
    files = data_files(plan.schema.kind)
    listed = (entry.path for entry in manifest.files)
    if set(sizes_of(listed)) != set(files.sizes):
        raise ReleaseError(f"the data files are not those of {plan.schema.kind.name} records")
    return files.check(folder, plan.encoding, rows, on_rows)


def check_data(folder: Path, encoding: Encoding, rows: int, on_rows: Callable[[int], None]) -> str:
    """Looks at every value of both files.

    Args:
      folder: the release.
      encoding: of the plan's schema.
      rows: how many the manifest states.
      on_rows: is told how many rows have been looked at since it was last told.

    Returns:
      What was found, for people.

    Raises:
      ReleaseError: a file cannot be read, holds other columns or another number of rows, values
        outside bounds or categories, missing values where the schema has none, or rows that break
        a constraint; or the two files differ.
    """
    pieces = zip_longest(
        parquet_pieces(folder, encoding.schema, rows), csv_pieces(folder, encoding.schema)
    )
    seen = 0
    for binary, text in pieces:
        if binary is None or text is None or len(binary) != len(text):
            raise ReleaseError(f"{CSV} does not have the {rows:,} rows that {PARQUET} has")
        problems = [*_problems(PARQUET, binary, encoding), *_problems(CSV, text, encoding)]
        if problems:
            raise ReleaseError("; ".join(problems[:_MAX_PROBLEMS]))
        differ = differing_rows(*(typed(part, encoding.schema) for part in (binary, text)))
        if differ.any():
            row = seen + int(np.flatnonzero(differ)[0])
            raise ReleaseError(f"{CSV} and {PARQUET} hold different values in row {row:,}")
        seen += len(binary)
        on_rows(len(binary))
    return f"{rows:,} rows; CSV and Parquet agree and conform to the schema"


def differing_rows(one: pd.DataFrame, other: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Tells which rows (N,) of two tables, as `typed` returns them, differ at all."""
    differ = np.zeros(len(one), dtype=bool)
    for name in one.columns:
        missing = one[name].isna().to_numpy(), other[name].isna().to_numpy()
        unequal = (one[name] != other[name]).fillna(True).to_numpy(dtype=bool)
        differ |= (missing[0] != missing[1]) | (unequal & ~missing[0])
    return differ


def _problems(name: str, frame: pd.DataFrame, encoding: Encoding) -> list[str]:
    encoded, problems = encoding.encode(frame), []
    for column in encoding.schema.columns:
        where = f"{name}, column '{column.name}':"
        if encoded.clamped[column.name]:
            count = encoded.clamped[column.name]
            problems.append(f"{where} {count} numbers outside the bounds, or not whole")
        if encoded.unknown[column.name]:
            count = encoded.unknown[column.name]
            problems.append(f"{where} {count} values that the schema does not know")
        if encoded.missing[column.name] and not column.nullable and column.other is None:
            problems.append(f"{where} {encoded.missing[column.name]} missing values")
    problems += [
        f"{name}: {count} rows break the constraint {rule}"
        for rule, count in violations(frame, encoding.schema).items()
        if count
    ]
    return problems


def check_drawn(
    folder: Path,
    manifest: Manifest,
    plan: Plan,
    generator: Artifact,
    on_rows: Callable[[int], None],
) -> str:
    """Draws the rows again, and compares.

    Args:
      folder: the release.
      manifest: of the release, with `rows` and `seed`.
      plan: that was carried out.
      generator: of the release.
      on_rows: is told how many rows have been drawn since it was last told.

    Returns:
      What was found, for people.

    Raises:
      ReleaseError: a value differs; the message names the first row, counted from 0.
    """
    rows, seed, schema, seen = manifest.rows, manifest.seed, plan.schema, 0
    files = data_files(schema.kind)
    pieces = files.pieces(folder, schema, rows)
    drawn = sample_chunks(generator, schema, plan.target, rows, seed=seed)
    for held, again in zip(pieces, drawn, strict=True):
        differ = files.differing(held, again, schema)
        if differ.any():
            row = seen + int(np.flatnonzero(differ)[0])
            raise CheckFailed(
                f"row {row:,} is not what the generator gives at seed {seed}"
                + _other_numpy(manifest),
                file=files.main,
                remedy=DO_NOT_USE,
            )
        seen += len(held)
        on_rows(len(held))
    return f"{rows:,} rows, each value as the generator gives it at seed {seed}"


def note_on_seed(manifest: Manifest, plan: Plan) -> list[str]:
    """Returns what a reader must know about where the seed comes from."""
    if manifest.seed == public_seed(plan, manifest.run):
        return []
    return ["the publisher chose the seed of the rows, and may have chosen among many draws"]


def _other_numpy(manifest: Manifest) -> str:
    drawn_with = manifest.versions.coordinator.get("numpy")
    if drawn_with == np.__version__:
        return ""
    return (
        f"; it was drawn with numpy {drawn_with}, this is {np.__version__}, whose stream of random "
        "numbers may be another: verify with that version too"
    )
