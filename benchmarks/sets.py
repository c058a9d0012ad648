"""Sets of items: how well a study keeps their rates, their pairs and their relation to the label.

    python benchmarks/sets.py [--boxes | --data diabetic_data.csv.gz] [--epsilon 1] [--seeds 3]
        [--json]

Without `--data` the table is made up, so that its truth is known: 25,000 baskets of up to 6 of 80
items by a Zipf law, in which three groups of items go together and the label and two other columns
go with one group each. With `--boxes` it is made up of 6,000 answers to a question with eight
boxes, any of which may be ticked, by three groups of people. With `--data` it is the file of the
UCI's diabetes_130 study (Strack et al. 2014): the three diagnoses of a stay as one set of the 119
blocks of ICD-9-CM, beside six other columns; readmission is the label. Three sites under a secure
sum.

Scores, against further records (7,000 of those made up; with `--data` a third of the table):
  rates       mean absolute error of an item's rate, in points of a hundred
  number      total variation of the number of items
  pairs       mean absolute error of the rate of each pair of the 12 commonest items, in points
  lift        Spearman's correlation of those pairs' lift
  label       mean absolute error of a common item's rate within each class, in points
`real` are the fitted records themselves: what is left is sampling. `apart` draws items by the
truth's rates, independently of all else: what it would be to keep rates alone.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from code_hierarchy import CHAPTERS, SITES, icd9, stays
from scipy.stats import spearmanr
from studies import study_of

import fedloom
from fedloom.common.schema import Column, Schema

_COMMON = 12


@dataclass(frozen=True, kw_only=True)
class Case:
    """A table with one column of sets.

    Attributes:
      schema: of the table.
      items: the column of sets.
      target: the label.
      fitted: records of the study.
      test: further records.
    """

    schema: Schema
    items: str
    target: str
    fitted: pd.DataFrame
    test: pd.DataFrame


def made(seed: int) -> Case:
    """Makes baskets with groups of items that go together."""
    rng, rows = np.random.default_rng(100 + seed), 32_000
    count, most = 80, 6
    weights = 1.0 / (1 + np.arange(count)) ** 0.9
    kind = rng.choice(4, rows, p=[0.4, 0.25, 0.2, 0.15])
    factors = np.ones((4, count))
    for group in range(1, 4):
        factors[group, group - 1 : 30 : 3] = 5.0
    sizes = np.minimum(rng.poisson(1.5 + 0.6 * kind), most)
    keys = rng.gumbel(size=(rows, count)) + np.log(weights * factors)[kind]
    ranked = np.argsort(-keys, axis=1)
    names = [f"i{item:02d}" for item in range(count)]
    baskets = ["|".join(names[i] for i in row[:n]) for row, n in zip(ranked, sizes, strict=True)]
    frame = pd.DataFrame(
        {
            "basket": baskets,
            "age": np.clip(rng.normal(40 + 8 * (kind == 2), 12), 18, 90).astype(int),
            "town": np.where(rng.random(rows) < 0.3 + 0.4 * (kind == 3), "a", "b"),
            "member": np.where(rng.random(rows) < 0.2 + 0.5 * (kind == 1), "yes", "no"),
        }
    )
    schema = Schema(
        (
            Column("basket", "set", values=tuple(names), maximum=most),
            Column("age", "integer", minimum=18, maximum=90),
            Column("town", "category", values=("a", "b")),
            Column("member", "category", values=("no", "yes")),
        )
    )
    fitted, test = frame.iloc[:25_000], frame.iloc[25_000:].reset_index(drop=True)
    return Case(schema=schema, items="basket", target="member", fitted=fitted, test=test)


def boxes(seed: int) -> Case:
    """Makes answers to a question with eight boxes, which groups of people tick differently."""
    rng, rows, letters = np.random.default_rng(100 + seed), 13_000, "abcdefgh"
    kind = rng.choice(3, rows)
    chances = np.array(
        [
            [0.6, 0.5, 0.4, 0.1, 0.1, 0.2, 0.3, 0.5],
            [0.1, 0.2, 0.4, 0.6, 0.5, 0.2, 0.3, 0.1],
            [0.3, 0.3, 0.1, 0.2, 0.2, 0.7, 0.6, 0.3],
        ]
    )
    ticked = rng.random((rows, len(letters))) < chances[kind]
    frame = pd.DataFrame(
        {
            "boxes": ["|".join(itertools.compress(letters, row)) for row in ticked],
            "age": np.clip(rng.normal(40 + 8 * (kind == 2), 12), 18, 90).astype(int),
            "town": np.where(rng.random(rows) < 0.3 + 0.4 * (kind == 0), "a", "b"),
            "member": np.where(rng.random(rows) < 0.2 + 0.5 * (kind == 1), "yes", "no"),
        }
    )
    schema = Schema(
        (
            Column("boxes", "set", values=tuple(letters), maximum=len(letters)),
            Column("age", "integer", minimum=18, maximum=90),
            Column("town", "category", values=("a", "b")),
            Column("member", "category", values=("no", "yes")),
        )
    )
    fitted, test = frame.iloc[:6_000], frame.iloc[6_000:].reset_index(drop=True)
    return Case(schema=schema, items="boxes", target="member", fitted=fitted, test=test)


def diabetes(path: Path, seed: int) -> Case:
    """Returns the diagnoses of the file of diabetes_130, each by its block, as one set."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    block_of = {code: parent for code, parent in icd9() if parent not in CHAPTERS}
    listed = sorted(set(block_of.values()))
    diagnoses = ["diag_1", "diag_2", "diag_3"]
    blocks = [table[name].str.split(".").str[0].map(block_of) for name in diagnoses]
    sets = [
        "|".join(dict.fromkeys(block for block in row if isinstance(block, str)))
        for row in zip(*blocks, strict=True)
    ]
    column = Column("diagnoses", "set", values=tuple(listed), maximum=3)
    schema, fitted, test = stays(table, column, sets, seed)
    return Case(schema=schema, items="diagnoses", target="readmitted", fitted=fitted, test=test)


def scores(case: Case, rows: pd.DataFrame) -> dict[str, float]:
    """Returns how far records are from those of the test."""
    found, truth = _held(case, rows), _held(case, case.test)
    rates = found.mean(axis=0), truth.mean(axis=0)
    numbers = [
        np.bincount(part.sum(axis=1).astype(int), minlength=part.shape[1] + 1) / len(part)
        for part in (found, truth)
    ]
    common = np.argsort(-rates[1])[:_COMMON]
    upper = np.triu_indices(len(common), 1)
    pairs, lifts = [], []
    for part, rate in zip((found, truth), rates, strict=True):
        both = (part[:, common].T @ part[:, common] / len(part))[upper]
        pairs.append(both)
        lifts.append(both / np.maximum(np.outer(rate[common], rate[common])[upper], 1e-12))
    labels = case.schema.column(case.target).values
    by_label = [
        np.array(
            [part[(frame[case.target] == label).to_numpy()][:, common].mean(0) for label in labels]
        )
        for part, frame in ((found, rows), (truth, case.test))
    ]
    return {
        "rates": 100 * float(np.abs(rates[0] - rates[1]).mean()),
        "number": float(np.abs(numbers[0] - numbers[1]).sum() / 2),
        "pairs": 100 * float(np.abs(pairs[0] - pairs[1]).mean()),
        "lift": float(spearmanr(*lifts).statistic),
        "label": 100 * float(np.abs(by_label[0] - by_label[1]).mean()),
    }


def apart(case: Case, seed: int) -> pd.DataFrame:
    """Returns the fitted records with items drawn by their rates alone."""
    held = _held(case, case.fitted)
    drawn = np.random.default_rng(seed).random(held.shape) < held.mean(axis=0)
    values = case.schema.column(case.items).values
    texts = ["|".join(itertools.compress(values, row)) for row in drawn]
    return case.fitted.assign(**{case.items: texts})


def _held(case: Case, rows: pd.DataFrame) -> Any:
    """Returns which items each record has, (N, V) of 0 and 1."""
    places = {value: i for i, value in enumerate(case.schema.column(case.items).values)}
    held = np.zeros((len(rows), len(places)))
    for row, text in enumerate(rows[case.items].fillna("").astype(str)):
        for item in filter(None, text.split("|")):
            held[row, places[item]] = 1.0
    return held


def run(case: Case, epsilon: float, seed: int) -> dict[str, float]:
    """Runs one study and scores what comes of it."""
    tables = {name: case.fitted.iloc[i :: len(SITES)] for i, name in enumerate(SITES)}
    model = {"kind": "tree"}
    study = study_of("sets", case.schema, case.target, SITES, epsilon=epsilon, model=model)
    with tempfile.TemporaryDirectory() as folder:
        done = fedloom.simulate(
            study, tables, schema=case.schema, out=Path(folder) / "run", insecure_seed=seed
        )
        return scores(case, done.sample(len(case.fitted), seed=seed))


def main() -> None:
    """Prints one line for each source of records, the mean over seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boxes", action="store_true")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--epsilon", type=float, nargs="+", default=[1.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {}
    for seed in range(options.seeds):
        case = (boxes if options.boxes else made)(seed)
        if options.data is not None:
            case = diabetes(options.data, seed)
        found.setdefault("real", []).append(scores(case, case.fitted))
        found.setdefault("apart", []).append(scores(case, apart(case, seed)))
        for epsilon in options.epsilon:
            found.setdefault(f"epsilon {epsilon:g}", []).append(run(case, epsilon, seed))
    for name, values in found.items():
        means = {key: float(np.mean([score[key] for score in values])) for key in values[0]}
        if options.json:
            print(json.dumps({"name": name, "seeds": options.seeds, **means}), flush=True)
        else:
            print(f"{name:12s}", "  ".join(f"{k} {v:.3f}" for k, v in means.items()), flush=True)


if __name__ == "__main__":
    main()
