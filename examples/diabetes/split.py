"""Splits the diabetes file of UCI into the tables of ten hospitals, by patient.

    python split.py DIABETIC_DATA_CSV[.gz] --out FOLDER

The public file does not tell which of the 130 hospitals a stay was at, so hospitals are made up:
a patient's number, hashed, says at which one all stays of that patient are. Diagnoses become the
chapters of ICD-9, diabetes apart; every other column, `patient_nbr` included, stays as it is. The
file is read in place; neither it nor the tables belong into the repository.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
from pathlib import Path

HOSPITALS = 10
# Where each chapter of ICD-9 begins; V codes and E codes are apart.
CHAPTERS = (
    (1, "infection"),
    (140, "neoplasm"),
    (240, "endocrine"),
    (280, "blood"),
    (290, "mental"),
    (320, "nervous"),
    (390, "circulatory"),
    (460, "respiratory"),
    (520, "digestive"),
    (580, "genitourinary"),
    (630, "pregnancy"),
    (680, "skin"),
    (710, "musculoskeletal"),
    (740, "congenital"),
    (760, "perinatal"),
    (780, "symptoms"),
    (800, "injury"),
)


def chapter(code: str) -> str:
    """Returns the chapter of a diagnosis.

    >>> chapter("250.83"), chapter("428"), chapter("V57"), chapter("?")
    ('diabetes', 'circulatory', 'other factors', '?')
    """
    if code == "?":
        return code
    if code[0] in "VE":
        return "other factors" if code[0] == "V" else "external"
    number = float(code)
    if int(number) == 250:
        return "diabetes"
    return next(name for start, name in reversed(CHAPTERS) if number >= start)


def hospital(patient: str) -> int:
    """Returns the hospital of a patient, from 1 to `HOSPITALS`."""
    return int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8], "big") % HOSPITALS + 1


def split(source: Path, out: Path) -> dict[str, int]:
    """Writes `out/hospital-<number>.csv` and returns the number of stays in each."""
    opened = gzip.open(source, "rt") if source.name.endswith(".gz") else source.open(newline="")
    with opened as stream:
        reader = csv.DictReader(stream)
        columns = [name for name in reader.fieldnames or () if name != "encounter_id"]
        stays: dict[int, list[dict[str, str]]] = {n: [] for n in range(1, HOSPITALS + 1)}
        for row in reader:
            for name in ("diag_1", "diag_2", "diag_3"):
                row[name] = chapter(row[name])
            stays[hospital(row["patient_nbr"])].append(row)
    out.mkdir(parents=True, exist_ok=True)
    for number, rows in stays.items():
        with (out / f"hospital-{number}.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return {f"hospital-{number}": len(rows) for number, rows in stays.items()}


def main() -> None:
    """Reads the arguments and splits."""
    parser = argparse.ArgumentParser(description="Split the diabetes file by patient.")
    parser.add_argument("source", type=Path, help="diabetic_data.csv, or .csv.gz")
    parser.add_argument("--out", type=Path, required=True, help="folder to fill")
    arguments = parser.parse_args()
    for name, count in split(arguments.source, arguments.out).items():
        print(f"{name}: {count} stays")


if __name__ == "__main__":
    main()
