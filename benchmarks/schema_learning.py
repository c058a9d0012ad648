"""What a study of kind "schema" finds in Adult and in diabetes_130, and what that is good for.

    python benchmarks/schema_learning.py [--draws 10] [--quality]

The tables are read from `$FEDLOOM_SHARED/data`, or from `../shared` beside the repository. Each
line is the mean over draws of the noise of one pooled table, which is what a secure sum gives: how
many categories are found, how many of those do not exist, the part of the records whose category
is found, how many occur as often as is promised, and how many of these are found; for numbers the
bounds and the part of the records outside. `--quality` learns all of Adult's columns at epsilon
0.5 with `fedloom.simulate`, fits a mixture at epsilon 1 on what was learned and on the public
schema, and compares the synthetic tables.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from studies import study_of
from tabular import SPLIT_SEED, TARGET, TEST_ROWS, adult, quality

import fedloom
from fedloom.common.column import Column
from fedloom.common.discovery import Discovery
from fedloom.common.schema import Schema
from fedloom.privacy.accounting import calibrate, gaussian
from fedloom.server.learned_schema import SCHEMA
from fedloom.server.learners.open_columns import complete_schema

ROOT = Path(__file__).resolve().parent.parent
DELTA = 1e-6
CATEGORIES = (
    "workclass", "education", "marital-status", "occupation", "relationship", "race", "sex",
    "native-country",
)  # fmt: skip
NUMBERS = (
    "age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week",
)  # fmt: skip
SOME = ("occupation", "native-country"), ("age", "capital-gain")
CODES = ("race", "medical_specialty", "diag_1", "diag_2", "diag_3")
COUNTS = ("time_in_hospital", "num_lab_procedures", "num_medications", "number_inpatient")


def diabetes() -> pd.DataFrame:
    """Reads diabetes_130, "?" as missing."""
    shared = Path(os.environ.get("FEDLOOM_SHARED", ROOT.parent / "shared"))
    path = shared / "data" / "diabetes_130" / "diabetic_data.csv.gz"
    return pd.read_csv(path, dtype=str, keep_default_na=False, na_values="?")


def found(
    frame: pd.DataFrame,
    categories: tuple[str, ...],
    numbers: tuple[str, ...],
    epsilon: float,
    draws: int,
) -> None:
    """Learns columns of a pooled table with fresh noise again and again, and prints the means."""
    columns = [Column(name, "category", open=True) for name in categories]
    columns += [Column(name, "integer", open=True) for name in numbers]
    discovery = Discovery(Schema(tuple(columns)))
    total = discovery.sum(discovery.encode(frame).codes)
    std = calibrate(gaussian, epsilon, DELTA) * discovery.l2_norm
    results: dict[str, list[list[float]]] = defaultdict(list)
    needed: dict[int, int] = {}
    for seed in range(draws):
        noise = np.random.default_rng(seed).normal(0, std, discovery.length)
        schema, findings = complete_schema(discovery, total + noise, std)
        for finding in findings:
            name, values = finding.column, frame[finding.column].dropna()
            if finding.kind == "category":
                needed = dict(finding.needed)
                results[name].append(_categories(values, set(finding.values), needed))
            elif finding.complete and schema is not None:
                results[name].append(_bounds(values, schema.column(name)))
    print(f"{len(frame):,} records, epsilon {epsilon:g}, needed by bytes {needed}")
    for name, rows in results.items():
        labels = ("found", "false", "covered", "promised", "kept")
        if name in numbers:
            labels = ("min", "max", "outside")
        means = np.mean(rows, axis=0)
        print(f"  {name}: " + ", ".join(f"{k} {v:.4g}" for k, v in zip(labels, means, strict=True)))


def _categories(values: pd.Series, texts: set[str], needed: dict[int, int]) -> list[float]:
    counts = values.astype(str).str.strip().value_counts()
    promised = [
        text
        for text, count in counts.items()
        if count >= next((n for b, n in needed.items() if len(str(text).encode()) <= b), np.inf)
    ]
    covered = counts[[text for text in counts.index if text in texts]].sum() / counts.sum()
    false, kept = len(texts - set(counts.index)), len(texts & set(promised))
    return [len(texts), false, covered, len(promised), kept]


def _bounds(values: pd.Series, column: Column) -> list[float]:
    numbers = pd.to_numeric(values)
    low, high = float(column.minimum), float(column.maximum)  # type: ignore[arg-type]
    outside = ((numbers < low) | (numbers > high)) & ~numbers.isin(column.special)
    return [low, high, float(outside.mean())]


def compare() -> None:
    """Compares a mixture on a learned schema with one on the public schema."""
    records = adult()
    order = np.random.default_rng(SPLIT_SEED).permutation(len(records))
    test = records.iloc[order[:TEST_ROWS]].reset_index(drop=True)
    train = records.iloc[order[TEST_ROWS:]].reset_index(drop=True)
    public = Schema.load(ROOT / "benchmarks" / "adult" / "schema.toml")
    columns = [
        column if column.name == TARGET else Column(column.name, column.kind, open=True)
        for column in public.columns
    ]
    with tempfile.TemporaryDirectory() as folder:
        learned = _run(Path(folder) / "schema", Schema(tuple(columns)), "schema", 0.5, train)
        for name, schema in (("public", public), ("learned", Schema.load(learned.path / SCHEMA))):
            run = _run(Path(folder) / name, schema, "mixture", 1.0, train)
            print(name, quality(run.sample(len(train), seed=0), test, public))


def _run(out: Path, schema: Schema, kind: str, epsilon: float, train: pd.DataFrame) -> fedloom.Run:
    sites = ("a", "b", "c")
    target = None if kind == "schema" else TARGET
    study = study_of(kind, schema, target, sites, epsilon=epsilon, model={"kind": kind})
    tables: dict[str, Any] = {name: train.iloc[i :: len(sites)] for i, name in enumerate(sites)}
    return fedloom.simulate(study, tables, schema=schema, out=out, clamp=True)


def main() -> None:
    """Runs what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--quality", action="store_true")
    arguments = parser.parse_args()
    if arguments.quality:
        compare()
        return
    people = adult().iloc[:39_000]
    found(people, CATEGORIES, NUMBERS, 1.0, arguments.draws)
    found(people, *SOME, 0.5, arguments.draws)
    found(people.iloc[:10_000], *SOME, 0.5, arguments.draws)
    stays = diabetes().iloc[:50_000]
    found(stays, CODES, COUNTS, 1.0, arguments.draws)
    found(stays, ("diag_1", "medical_specialty"), (), 0.5, arguments.draws)


if __name__ == "__main__":
    main()
