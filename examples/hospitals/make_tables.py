"""Makes the tutorial's three tables: made-up hospital stays, the same at every run.

    python make_tables.py

Nobody is in them. They have a few relations that a synthetic table should keep: stays grow longer
with age, cardiology has older patients, diabetes and long stays bring people back.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

__all__ = ["HOSPITALS", "stays"]

# Name, number of stays, shares of surgery, medicine and cardiology.
HOSPITALS = (
    ("north", 1800, (0.5, 0.4, 0.1)),
    ("south", 1200, (0.2, 0.5, 0.3)),
    ("west", 1500, (0.3, 0.3, 0.4)),
)


def stays(rows: int, wards: tuple[float, float, float], seed: int) -> pd.DataFrame:
    """Returns the made-up table of one hospital.

    Args:
      rows: number of stays, one a patient.
      wards: shares of surgery, medicine and cardiology.
      seed: makes the table repeatable.
    """
    rng = np.random.default_rng(seed)
    ward = rng.choice(["surgery", "medicine", "cardiology"], rows, p=wards)
    age = np.where(ward == "cardiology", rng.normal(70, 11, rows), rng.normal(56, 18, rows))
    age = age.round().clip(18, 100).astype(int)
    diabetic = rng.random(rows) < 0.05 + 0.003 * (age - 18)
    asked = rng.random(rows) < 0.92
    days = rng.gamma(2.0, 1.5 + 0.04 * (age - 18) + 1.0 * (ward == "surgery"))
    days = days.round().clip(1, 60).astype(int)
    chance = 0.05 + 0.12 * diabetic + 0.012 * (days > 7) * days.clip(0, 25)
    return pd.DataFrame(
        {
            "age": age,
            "sex": rng.choice(["female", "male"], rows),
            "ward": ward,
            "diabetes": np.where(asked, np.where(diabetic, "yes", "no"), ""),
            "days": days,
            "readmitted": np.where(rng.random(rows) < chance, "yes", "no"),
        }
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the tables")
    out = parser.parse_args().out
    for number, (name, rows, wards) in enumerate(HOSPITALS):
        stays(rows, wards, seed=number).to_csv(out / f"{name}.csv", index=False)
        print(f"{name}.csv: {rows} stays")
