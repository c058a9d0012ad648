"""Columns of several hundred codes, with and without their public hierarchy.

    python benchmarks/code_hierarchy.py [--data diabetic_data.csv.gz] [--epsilon 1] [--seeds 3]
        [--model tree mixture] [--json]

Without `--data` the table is made up, so that its truth is known: 25,000 records of six columns
at three sites under a secure sum, one of them a code of 600, by a Zipf law (exponent 1.1), in 120
blocks of 18 chapters; the label depends on the chapter. With `--data` it is the file of the UCI's
diabetes_130 study (Strack et al. 2014): first diagnosis, a code of ICD-9, beside six other columns;
readmission is the label. The list of codes is ICD-9's own three digits; chapters and blocks are
those of ICD-9-CM.

Distances are total variations to 7,000 further records (`--data`: a third of the table) of the
code at each level, and of the code's level with the label. `real` are the fitted records
themselves: what is left is sampling.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from studies import study_of

import fedloom
from fedloom.common.code_hierarchy import ancestors
from fedloom.common.schema import Column, Schema

SITES = ("north", "south", "west")
# Chapters of ICD-9-CM, each with the first code of its blocks; the last number ends the chapter.
CHAPTERS = {
    "infectious": (1, 10, 20, 30, 42, 45, 50, 60, 70, 80, 90, 100, 110, 120, 130, 137, 139),
    "neoplasms": (140, 150, 160, 170, 176, 179, 190, 200, 209, 210, 230, 235, 239, 239),
    "endocrine": (240, 249, 260, 270, 279),
    "blood": (280, 289),
    "mental": (290, 295, 300, 317, 319),
    "nervous": (320, 330, 338, 339, 340, 350, 360, 380, 389),
    "circulatory": (390, 393, 401, 410, 415, 420, 430, 440, 451, 459),
    "respiratory": (460, 470, 480, 490, 500, 510, 519),
    "digestive": (520, 530, 540, 550, 555, 560, 570, 579),
    "genitourinary": (580, 590, 600, 610, 614, 617, 629),
    "pregnancy": (630, 640, 650, 660, 670, 678, 679),
    "skin": (680, 690, 700, 709),
    "musculoskeletal": (710, 720, 725, 730, 739),
    "congenital": (740, 759),
    "perinatal": (760, 764, 779),
    "symptoms": (780, 790, 797, 799),
    "injury": (800, 805, 810, 820, 830, 840, 850, 860, 870, 880, 890, 900, 905, 910, 920, 925)
    + (930, 940, 950, 958, 960, 980, 990, 996, 999),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A table with one column of codes.

    Attributes:
      schema: with the hierarchy.
      code: the column of codes.
      target: the label.
      fitted: records of the study.
      test: further records.
    """

    schema: Schema
    code: str
    target: str
    fitted: pd.DataFrame
    test: pd.DataFrame

    def plain(self) -> Schema:
        """Returns the schema without the hierarchy."""
        columns = tuple(replace(column, hierarchy=()) for column in self.schema.columns)
        return replace(self.schema, columns=columns)


def icd9() -> tuple[tuple[str, str], ...]:
    """Returns each three-digit code of ICD-9-CM with its block, and each block with its chapter."""
    pairs = []
    for chapter, (*starts, end) in CHAPTERS.items():
        for start, stop in itertools.pairwise([*starts, end + 1]):
            block = f"{start:03d}-{stop - 1:03d}"
            pairs.append((block, chapter))
            pairs += [(f"{code:03d}", block) for code in range(start, stop)]
    for letter, last in (("V", 91), ("E", 999)):
        numbers = range(1, last + 1) if letter == "V" else range(800, last + 1)
        pairs += [(f"{letter}{code:02d}", f"codes {letter}") for code in numbers]
    return tuple(pairs)


def made(seed: int) -> Case:
    """Makes a table whose label depends on the chapter of a code."""
    law = np.random.default_rng(0)
    block = np.sort(law.integers(0, 120, 600))
    chapter = block * 18 // 120
    weights = np.exp(law.normal(0, 1, 18))[chapter] / (1 + law.permutation(600)) ** 1.1
    effect = law.normal(0, 1, 18)
    rng, rows = np.random.default_rng(100 + seed), 25_000 + 7_000
    code = rng.choice(600, rows, p=weights / weights.sum())
    age = np.clip(rng.normal(50 + 6 * effect[chapter[code]], 15), 18, 95).astype(int)
    chance = 1 / (1 + np.exp(-(effect[chapter[code]] + 0.03 * (age - 50))))
    names = [f"c{i:03d}" for i in range(600)]
    frame = pd.DataFrame(
        {
            "code": np.array(names)[code],
            "age": age,
            "sex": rng.choice(["f", "m"], rows),
            "days": np.minimum(rng.geometric(0.25, rows), 30),
            "ward": rng.choice(list("abcde"), rows, p=[0.4, 0.3, 0.15, 0.1, 0.05]),
            "again": np.where(rng.random(rows) < chance, "yes", "no"),
        }
    )
    pairs = [(name, f"block {b}") for name, b in zip(names, block, strict=True)]
    pairs += [(f"block {b}", f"chapter {c}") for b, c in set(zip(block, chapter, strict=True))]
    schema = Schema(
        (
            Column("code", "category", values=tuple(names), hierarchy=tuple(pairs)),
            Column("age", "integer", minimum=18, maximum=95),
            Column("sex", "category", values=("f", "m")),
            Column("days", "integer", minimum=1, maximum=30),
            Column("ward", "category", values=tuple("abcde")),
            Column("again", "category", values=("no", "yes")),
        )
    )
    fitted, test = frame.iloc[:25_000], frame.iloc[25_000:].reset_index(drop=True)
    return Case(schema=schema, code="code", target="again", fitted=fitted, test=test)


def diabetes(path: Path, seed: int) -> Case:
    """Returns first diagnoses of the file of diabetes_130, and six columns beside them."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    digits = table["diag_1"].str.split(".").str[0]
    pairs = icd9()
    codes = tuple(code for code, parent in pairs if parent not in CHAPTERS)
    column = Column("diag_1", "category", values=codes, hierarchy=pairs, other="other")
    schema, fitted, test = stays(table, column, digits.where(digits.isin(codes), "other"), seed)
    return Case(schema=schema, code="diag_1", target="readmitted", fitted=fitted, test=test)


def stays(
    table: pd.DataFrame, column: Column, values: Sequence[str], seed: int
) -> tuple[Schema, pd.DataFrame, pd.DataFrame]:
    """Returns schema, records to fit and further ones: a column of diagnoses and six others."""
    frame = pd.DataFrame(
        {
            column.name: values,
            "age": table["age"],
            "gender": table["gender"],
            "days": table["time_in_hospital"].astype(int),
            "medications": table["num_medications"].astype(int),
            "inpatient": table["number_inpatient"].astype(int),
            "readmitted": table["readmitted"],
        }
    )
    ages = tuple(f"[{low}-{low + 10})" for low in range(0, 100, 10))
    schema = Schema(
        (
            column,
            Column("age", "category", values=ages),
            Column("gender", "category", values=("Female", "Male"), other="other"),
            Column("days", "integer", minimum=1, maximum=14),
            Column("medications", "integer", minimum=0, maximum=100),
            Column("inpatient", "integer", minimum=0, maximum=30),
            Column("readmitted", "category", values=("NO", "<30", ">30")),
        )
    )
    order = np.random.default_rng(seed).permutation(len(frame))
    cut = len(frame) * 2 // 3
    fitted, test = (frame.iloc[part].reset_index(drop=True) for part in np.split(order, [cut]))
    return schema, fitted, test


def distances(case: Case, rows: pd.DataFrame) -> dict[str, float]:
    """Returns the distances of records to those of the test."""
    column = case.schema.column(case.code)
    above = dict(zip(column.values, ancestors(column.hierarchy, column.values), strict=True))
    found = {}
    for level, name in enumerate(("chapter", "block", "leaf")):
        # Of a code without a block, and of the leaves, the code itself.
        nodes = {v: v if level == 2 else str(path[: level + 1] or v) for v, path in above.items()}
        parts = [
            frame[case.code].astype(str).map(nodes).fillna("other") for frame in (rows, case.test)
        ]
        found[f"tv_{name}"] = _distance(*parts)
        found[f"tv_{name}_label"] = _distance(
            *(
                part + "|" + frame[case.target].astype(str)
                for part, frame in zip(parts, (rows, case.test), strict=True)
            )
        )
    return found


def _distance(one: pd.Series[str], other: pd.Series[str]) -> float:
    first, second = (part.value_counts(normalize=True) for part in (one, other))
    return float(first.sub(second, fill_value=0.0).abs().sum() / 2)


def run(case: Case, model: str, schema: Schema, epsilon: float, seed: int) -> dict[str, float]:
    """Runs one study and scores what comes of it."""
    tables = {name: case.fitted.iloc[i :: len(SITES)] for i, name in enumerate(SITES)}
    study = study_of("codes", schema, case.target, SITES, epsilon=epsilon, model={"kind": model})
    with tempfile.TemporaryDirectory() as folder:
        done = fedloom.simulate(
            study, tables, schema=schema, out=Path(folder) / "run", insecure_seed=seed
        )
        return distances(case, done.sample(len(case.fitted), seed=seed))


def main() -> None:
    """Prints one line for each model, the mean over seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--epsilon", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--model", nargs="+", default=["tree", "mixture"])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {}
    for seed in range(options.seeds):
        case = made(seed) if options.data is None else diabetes(options.data, seed)
        found.setdefault("real", []).append(distances(case, case.fitted))
        for model in options.model:
            for name, schema in (("plain", case.plain()), ("hierarchy", case.schema)):
                scores = run(case, model, schema, options.epsilon, seed)
                found.setdefault(f"{model}, {name}", []).append(scores)
    for name, scores in found.items():
        means: dict[str, Any] = {key: float(np.mean([s[key] for s in scores])) for key in scores[0]}
        if options.json:
            print(json.dumps({"name": name, "seeds": options.seeds, **means}), flush=True)
        else:
            print(f"{name:20s}", "  ".join(f"{k} {v:.4f}" for k, v in means.items()), flush=True)


if __name__ == "__main__":
    main()
