"""Labels that no pair of columns tells: parities, sums modulo three, and a decision tree.

    python benchmarks/high_order.py [--table xor-3-of-10 tree-4] [--model tree mixture]

The tables are made up: 24,000 records of independent columns, and a label that follows from some of
them alone (`tree-4`, `tree-5`: from a decision tree of that depth over 12 columns, with labels
flipped in one record of twenty). Ten sites under a secure sum. Boosting is trained on as many
synthetic records and tested on 10,000 further real ones: its accuracy and AUC. A model that is
blind to what only three columns say has .5 in parities. `follows` is the share of synthetic records
whose label is what their columns say: boosting may miss what is there, in real records too.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from studies import study_of

import fedloom
from fedloom.common.schema import Column, Schema

__all__ = ["TABLES", "TARGET", "made", "run", "schema_of"]

Array = NDArray[Any]

ROWS, TEST_ROWS, SITES = 24_000, 10_000, 10
TARGET = "label"
_FLIPPED = 0.05
# By name: how many columns, values of each, and how many of the columns the label follows from.
TABLES = {
    "xor-2-of-10": (10, 2, 2),
    "xor-3-of-10": (10, 2, 3),
    "xor-3-of-14": (14, 2, 3),
    "xor-4-of-8": (8, 2, 4),
    "xor-5-of-10": (10, 2, 5),
    "xor-4-of-14": (14, 2, 4),
    "xor-3-of-40": (40, 2, 3),
    "xor-5-of-20": (20, 2, 5),
    "mod-3-of-9": (9, 3, 3),
    "4-mod-3-of-9": (9, 3, 4),
    "tree-4": (12, 2, 4),
    "tree-5": (12, 2, 5),
}


def made(table: str, rows: int, seed: int) -> pd.DataFrame:
    """Returns records of a table by its name."""
    columns, values, _ = TABLES[table]
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, values, (rows, columns))
    label = _label(table, codes)
    if table.startswith("tree"):
        label = label ^ (rng.random(rows) < _FLIPPED)
    frame = pd.DataFrame(codes, columns=[f"x{number}" for number in range(columns)])
    return frame.astype(str).assign(**{TARGET: np.where(label, "yes", "no")})


def _label(table: str, codes: Array) -> Array:
    """Returns the label that follows from each record's columns."""
    _, values, order = TABLES[table]
    if table.startswith("tree"):
        return _decided(codes, order)
    rest = codes[:, :order].sum(axis=1) % values
    return np.asarray(rest == 1 if values == 2 else rest == 0)


def follows(table: str, records: pd.DataFrame) -> float:
    """Returns the share of records whose label is what their columns say."""
    codes = records.drop(columns=TARGET).astype(int).to_numpy()
    return float((_label(table, codes) == (records[TARGET] == "yes").to_numpy()).mean())


def _decided(codes: Array, depth: int) -> Array:
    """Returns the leaf's label of each record; columns and leaves are drawn by a fixed seed."""
    rng = np.random.default_rng(4)
    splits = [rng.integers(0, codes.shape[1]) for _ in range(2**depth)]
    node = np.ones(len(codes), dtype=np.int64)
    used: dict[int, set[int]] = {1: set()}
    for parent in range(1, 2**depth):
        while splits[parent] in used[parent]:  # no column twice on a path
            splits[parent] = (splits[parent] + 1) % codes.shape[1]
        used[2 * parent] = used[2 * parent + 1] = used[parent] | {splits[parent]}
    for _ in range(depth):
        node = 2 * node + codes[np.arange(len(codes)), np.array(splits)[node]]
    leaves = rng.permutation(np.arange(2**depth) % 2)
    return np.asarray(leaves[node - 2**depth], dtype=bool)


def schema_of(table: str) -> Schema:
    """Returns the public schema of a table."""
    columns, values, _ = TABLES[table]
    texts = tuple(map(str, range(values)))
    features = [Column(f"x{number}", "category", values=texts) for number in range(columns)]
    return Schema((*features, Column(TARGET, "category", values=("no", "yes"))))


def learned(train: pd.DataFrame, test: pd.DataFrame) -> dict[str, float]:
    """Returns accuracy and AUC of boosting."""
    inputs = [name for name in test.columns if name != TARGET]
    model = HistGradientBoostingClassifier(random_state=0, early_stopping=False)
    model.fit(train[inputs].astype(float), train[TARGET].astype(str) == "yes")
    chances = model.predict_proba(test[inputs].astype(float))[:, 1]
    truth = (test[TARGET] == "yes").to_numpy()
    accuracy = float(((chances > 0.5) == truth).mean())
    return {"accuracy": accuracy, "auc": float(roc_auc_score(truth, chances))}


def run(table: str, model: str, *, epsilon: float = 1.0, seed: int = 0) -> dict[str, Any]:
    """Runs one study and scores what boosting learns from its records."""
    fitted, test = made(table, ROWS, 2 * seed), made(table, TEST_ROWS, 2 * seed + 1)
    found: dict[str, Any] = {"table": table, "model": model, "epsilon": epsilon, "seed": seed}
    if model == "real":
        return {**found, **learned(fitted, test), "follows": follows(table, fitted)}
    schema, sites = schema_of(table), [f"site-{number}" for number in range(SITES)]
    study = study_of("high-order", schema, TARGET, sites, epsilon=epsilon, model={"kind": model})
    tables = {site: fitted.iloc[number::SITES] for number, site in enumerate(sites)}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = fedloom.simulate(
            study, tables, schema=schema, out=Path(folder) / "run", insecure_seed=100 * seed
        )
        sample = done.sample(ROWS, seed=seed)
        seconds = time.perf_counter() - start
    kept = follows(table, sample)
    return {**found, **learned(sample, test), "follows": kept, "seconds": seconds}


def main() -> None:
    """Prints one JSON object a run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--model", nargs="+", default=["real", "tree", "mixture"])
    parser.add_argument("--epsilon", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    for table in options.table:
        for model in options.model:
            for seed in range(options.seeds):
                print(json.dumps(run(table, model, epsilon=options.epsilon, seed=seed)), flush=True)


if __name__ == "__main__":
    main()
