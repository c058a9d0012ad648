"""The rows of a release: which they are, and the files that hold them.

They are the rows that the generator gives at a public seed. By default the seed follows from the
plan and from the name of the run, both of which the sites' ledgers hold since before the first
answer. So nobody can try seeds until the rows look as they should, and everybody can draw them
again.

`data/synthetic.csv` is UTF-8 with a header, empty cells for missing values and ISO dates;
`data/synthetic.parquet` holds the same rows, typed, and not compressed, so that nothing in it can
grow when it is read.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd

from fedloom.common.times import times_as_text
from fedloom.privacy.plan import Plan

__all__ = ["CSV", "MAX_SEED", "PARQUET", "TEXT_CELLS", "public_seed", "read_csv", "write_data"]

CSV = "data/synthetic.csv"
PARQUET = "data/synthetic.parquet"
MAX_SEED = 2**53 - 1
_SEED_BYTES = 6
TEXT_CELLS: dict[str, Any] = {
    "dtype": object,
    "keep_default_na": False,
    "na_values": [""],
    "encoding": "utf-8",
}
"""How pandas reads the CSV: as text, of which an empty cell alone is missing."""


def write_data(frame: pd.DataFrame, folder: Path) -> None:
    """Writes the rows of a release into its folder, twice."""
    (folder / "data").mkdir(exist_ok=True)
    as_text = times_as_text(frame)
    as_text.to_csv(folder / CSV, index=False, lineterminator="\n", encoding="utf-8")
    frame.to_parquet(folder / PARQUET, index=False, compression=None)


def read_csv(path: Path) -> pd.DataFrame:
    """Reads a CSV of a release as text; only an empty cell is missing."""
    return pd.read_csv(path, **TEXT_CELLS)


def public_seed(plan: Plan, run: str) -> int:
    """Returns the seed of the rows of a run's release, below 2^48.

    Args:
      plan: the plan that was carried out.
      run: the run's name.
    """
    text = f"{plan.digest()}/{run}/rows"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:_SEED_BYTES], "big")
