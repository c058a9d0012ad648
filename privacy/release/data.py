"""The data files of a release.

`data/synthetic.csv` is UTF-8 with a header, empty cells for missing values and ISO dates;
`data/synthetic.parquet` holds the same rows, typed, and not compressed, so that nothing in it can
grow when it is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from fedloom.common.times import times_as_text

__all__ = ["CSV", "PARQUET", "TEXT_CELLS", "read_csv", "write_data"]

CSV = "data/synthetic.csv"
PARQUET = "data/synthetic.parquet"
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
