"""Splits the UCI heart disease file into one table for each of its four institutions.

    python split.py HEART_DISEASE_CSV --out FOLDER

The file has the 14 usual columns and a column `institution`; missing values are "?". It is read
in place; neither it nor the tables belong into the repository.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

INSTITUTIONS = ("cleveland", "hungarian", "switzerland", "va")


def split(source: Path, out: Path) -> dict[str, int]:
    """Writes `out/<institution>.csv` and returns the number of patients in each."""
    with source.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        patients = list(reader)
        columns = [name for name in reader.fieldnames or () if name != "institution"]
    out.mkdir(parents=True, exist_ok=True)
    counts = {}
    for institution in INSTITUTIONS:
        rows = [row for row in patients if row["institution"] == institution]
        with (out / f"{institution}.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        counts[institution] = len(rows)
    return counts


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description="Split the heart disease file by institution.")
    parser.add_argument("source", type=Path, help="heart_disease.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder to fill")
    arguments = parser.parse_args()
    for institution, count in split(arguments.source, arguments.out).items():
        print(f"{institution}: {count} patients")


if __name__ == "__main__":
    main()
