"""Makes the six tables of this folder from the public file of the RAND experiment.

    python make_tables.py [RANDHIE_CSV] [--out FOLDER]

The source is `datasets/randhie/src/randhie.csv` of the statsmodels package (45 columns; not the
file of the same name one folder above, which is cut down to ten). Without an argument the
script looks for an installed statsmodels.

Year 1 alone is taken, so that every person has one row. Nothing identifies a person in the
tables: the numbers of persons, families and plans are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd

SITES = {
    1: "dayton",
    2: "seattle",
    3: "fitchburg",
    4: "franklin-county",
    5: "charleston",
    6: "georgetown-county",
}


def find_source() -> Path:
    """Returns the file inside an installed statsmodels."""
    package = importlib.util.find_spec("statsmodels")
    if package is None or package.origin is None:
        raise SystemExit("statsmodels is not installed; install it or give the path of randhie.csv")
    return Path(package.origin).parent / "datasets" / "randhie" / "src" / "randhie.csv"


def make_table(people: pd.DataFrame) -> pd.DataFrame:
    """Turns the experiment's columns into those of `schema.toml`."""
    limitation = people["physlm"].map({0.0: "no", 1.0: "yes"})  # imputed fractions: missing
    health = np.select(
        [people["hlthg"] == 1, people["hlthf"] == 1, people["hlthp"] == 1],
        ["good", "fair", "poor"],
        default="excellent",
    )
    return pd.DataFrame(
        {
            "age": np.floor(people["xage"]).astype(int),
            "sex": np.where(people["female"] == 1, "female", "male"),
            "income": people["income"].round().astype(int),
            "education": people["educdec"].round().astype(int),
            "coinsurance": people["coins"].astype(int),
            "visits": people["mdvis"].astype(int),
            "outpatient": people["outpdol"].round(1),
            "drugs": people["drugdol"].round(1),
            "psychotherapy": people["mentdol"].round(1),
            "inpatient": people["inpdol"].round(1),
            "admissions": people["totadm"].astype(int),
            "chronic_disease": people["disea"].round(1),
            "mental_health": people["mhi"].round(1),
            "general_health": people["ghindx"].round(1),
            "limitation": limitation,
            "self_rated": health,
            "visited": np.where(people["mdvis"] > 0, "yes", "no"),
        }
    )


def main() -> None:
    """Writes one CSV file a site."""
    parser = argparse.ArgumentParser(description="Make the RAND example's six tables.")
    parser.add_argument("source", nargs="?", type=Path, help="statsmodels' src/randhie.csv")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to fill")
    arguments = parser.parse_args()
    people = pd.read_csv(arguments.source or find_source())
    people = people[people["year"] == 1].sort_values("zper")
    assert not people["zper"].duplicated().any()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for code, site in SITES.items():
        table = make_table(people[people["site"] == code])
        # Sorted by content, so that the order tells nothing of families.
        table = table.sort_values(list(table.columns))
        table.to_csv(arguments.out / f"{site}.csv", index=False, lineterminator="\n")
        print(f"{site}: {len(table)} people")


if __name__ == "__main__":
    main()
