"""Makes the six tables of this folder from the public file of the RAND experiment.

    python make_tables.py [RANDHIE_CSV] [--out FOLDER]

The source is `datasets/randhie/src/randhie.csv` of the statsmodels package (45 columns; not the
file of the same name one folder above, which is cut down to ten). Without an argument the
script looks for an installed statsmodels.

All years are taken: a row is a year of a person, and `person` tells whose. The tables are
compressed in a form that is the same on every machine.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import io
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


def make_table(years: pd.DataFrame) -> pd.DataFrame:
    """Turns the experiment's columns into those of `schema.toml`, and the person's number."""
    limitation = years["physlm"].map({0.0: "no", 1.0: "yes"})  # imputed fractions: missing
    health = np.select(
        [years["hlthg"] == 1, years["hlthf"] == 1, years["hlthp"] == 1],
        ["good", "fair", "poor"],
        default="excellent",
    )
    return pd.DataFrame(
        {
            "person": years["zper"].astype(int),
            "year": years["year"].astype(int),
            "age": np.floor(years["xage"]).astype(int),
            "sex": np.where(years["female"] == 1, "female", "male"),
            "income": years["income"].round().astype(int),
            "education": years["educdec"].round().astype("Int64"),
            "coinsurance": years["coins"].astype(int),
            "visits": years["mdvis"].astype(int),
            "outpatient": years["outpdol"].round(1),
            "drugs": years["drugdol"].round(1),
            "psychotherapy": years["mentdol"].round(1),
            "inpatient": years["inpdol"].round(1),
            "admissions": years["totadm"].astype(int),
            "chronic_disease": years["disea"].round(1),
            "mental_health": years["mhi"].round(1),
            "general_health": years["ghindx"].round(1),
            "limitation": limitation,
            "self_rated": health,
            "visited": np.where(years["mdvis"] > 0, "yes", "no"),
        }
    )


def write(table: pd.DataFrame, path: Path) -> None:
    """Writes a gzipped CSV file; the same table gives the same bytes with the same zlib."""
    text = io.StringIO()
    table.to_csv(text, index=False, lineterminator="\n")
    path.write_bytes(gzip.compress(text.getvalue().encode(), compresslevel=9, mtime=0))


def main() -> None:
    """Writes one file a site."""
    parser = argparse.ArgumentParser(description="Make the RAND example's six tables.")
    parser.add_argument("source", nargs="?", type=Path, help="statsmodels' src/randhie.csv")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to fill")
    arguments = parser.parse_args()
    years = pd.read_csv(arguments.source or find_source()).sort_values(["zper", "year"])
    assert not years.duplicated(["zper", "year"]).any()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for code, site in SITES.items():
        table = make_table(years[years["site"] == code])
        write(table, arguments.out / f"{site}.csv.gz")
        print(f"{site}: {table['person'].nunique()} people, {len(table)} years")


if __name__ == "__main__":
    main()
