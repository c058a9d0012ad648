"""Are the rows of a release those that its generator gives?

They are drawn again from the generator in the folder, at the seed in the manifest, and compared
value by value. Sampling is a fixed function of generator, schema, seed and number of rows: in
double precision, on a stream of NumPy's generator that no number of threads changes. So equality
is asked for, not closeness: rows from anywhere else differ, and so does a single exchanged cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedloom.common.artifact import Artifact
from fedloom.common.sampling import sample_chunks
from fedloom.privacy.plan import Plan
from fedloom.privacy.release.data import PARQUET
from fedloom.privacy.release.drawn import public_seed
from fedloom.privacy.release.typed_rows import typed
from fedloom.privacy.release.verify.data import differing_rows
from fedloom.privacy.release.verify.result import DO_NOT_USE, CheckFailed
from fedloom.privacy.release.verify.tables import parquet_pieces

__all__ = ["check_drawn", "note_on_seed"]


def check_drawn(
    folder: Path,
    manifest: Mapping[str, Any],
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
    rows, seed, schema, seen = int(manifest["rows"]), int(manifest["seed"]), plan.schema, 0
    pieces = parquet_pieces(folder, schema, rows)
    drawn = sample_chunks(generator, schema, plan.target, rows, seed=seed)
    for held, again in zip(pieces, drawn, strict=True):
        differ = differing_rows(typed(held, schema), typed(again, schema))
        if differ.any():
            row = seen + int(np.flatnonzero(differ)[0])
            raise CheckFailed(
                f"row {row:,} is not what the generator gives at seed {seed}"
                + _other_numpy(manifest),
                file=PARQUET,
                remedy=DO_NOT_USE,
            )
        seen += len(held)
        on_rows(len(held))
    return f"{rows:,} rows, each value as the generator gives it at seed {seed}"


def note_on_seed(manifest: Mapping[str, Any], plan: Plan) -> list[str]:
    """Returns what a reader must know about where the seed comes from."""
    if manifest["seed"] == public_seed(plan, manifest["run"]):
        return []
    return ["the publisher chose the seed of the rows, and may have chosen among many draws"]


def _other_numpy(manifest: Mapping[str, Any]) -> str:
    drawn_with = manifest["versions"].get("coordinator", {}).get("numpy")
    if drawn_with == np.__version__:
        return ""
    return (
        f"; it was drawn with numpy {drawn_with}, this is {np.__version__}, whose stream of random "
        "numbers may be another: verify with that version too"
    )
