"""Wide skewed numbers: how closely single columns and pairs come out, tree beside mixture.

    python benchmarks/skewed.py [--epsilon 1] [--seeds 1] [--model tree mixture] [--json]

The table is made up, so its truth is known and no data are needed: 25,000 records of eight columns
at three sites under a secure sum; an income with a long tail, a balance on both sides of zero,
amounts of which most are 0 and all others multiples of 50, durations, latitudes around two places.
Bounds are what a careful steward would write down: wide. 7,000 further records are the test.

Distances are total variations, of numbers on twenty parts that hold as many records each. `real`
are the 25,000 records themselves: what is left is sampling.
"""

from __future__ import annotations

import argparse
import itertools
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

ROWS, TEST_ROWS = 25_000, 7_000
SITES = ("north", "south", "west")
TARGET = "bought"
SCHEMA = Schema(
    (
        Column("age", "integer", minimum=18, maximum=95),
        Column("income", "real", minimum=0.0, maximum=5e6),
        Column("balance", "real", minimum=-5e4, maximum=5e5),
        Column("amount", "integer", minimum=0, maximum=9_999),
        Column("duration", "integer", minimum=0, maximum=5_000),
        Column("latitude", "real", minimum=-90.0, maximum=90.0),
        Column("job", "category", values=tuple("abcdefg")),
        Column(TARGET, "category", values=("no", "yes")),
    )
)


def records(rows: int, seed: int) -> pd.DataFrame:
    """Makes records."""
    rng = np.random.default_rng(seed)
    age = np.clip(rng.gamma(9, 5, rows), 18, 95).astype(int)
    income = np.minimum(np.exp(rng.normal(8 + 0.02 * age, 1.0)), 5e6)
    owed = -np.exp(rng.normal(5, 1.2, rows))
    held = np.exp(rng.normal(6 + 0.2 * np.log(income), 1.3))
    balance = np.clip(np.where(rng.random(rows) < 0.3, owed, held), -5e4, 5e5).round()
    spent = np.round(np.exp(rng.normal(6, 0.8, rows)) / 50) * 50
    amount = np.clip(np.where(rng.random(rows) < 0.6, 0, spent), 0, 9_999).astype(int)
    duration = np.minimum(np.exp(rng.normal(4.5, 1, rows)), 5_000).astype(int)
    place = np.where(rng.random(rows) < 0.5, 45, 52)
    job = rng.choice(list("abcdefg"), rows, p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.06, 0.04])
    score = 0.9 * (np.log(income) - 9) + 0.5 * (amount > 0) + 0.3 * (balance < 0) - 0.5
    score += 0.6 * np.isin(job, ["a", "b"]) + 0.004 * (duration - 100)
    bought = np.where(rng.random(rows) < 1 / (1 + np.exp(-score)), "yes", "no")
    return pd.DataFrame(
        {
            "age": age,
            "income": income.round(2),
            "balance": balance,
            "amount": amount,
            "duration": duration,
            "latitude": (rng.normal(0, 3, rows) + place).round(4),
            "job": job,
            TARGET: bought,
        }
    )


def quality(made: pd.DataFrame, test: pd.DataFrame, fitted: pd.DataFrame) -> dict[str, float]:
    """Scores synthetic records on test records; parts are those of the fitted ones."""
    codes = {name: _codes(name, made, test, fitted) for name in SCHEMA.names}
    singles = [_distance([codes[name]]) for name in SCHEMA.names]
    pairs = [_distance([codes[a], codes[b]]) for a, b in itertools.combinations(SCHEMA.names, 2)]
    model = HistGradientBoostingClassifier(random_state=0)
    model.fit(_inputs(made), made[TARGET] == "yes")
    scores = model.predict_proba(_inputs(test))[:, 1]
    return {
        "boosting": float(roc_auc_score(test[TARGET] == "yes", scores)),
        "tv_1": float(np.mean(singles)),
        "tv_2": float(np.mean(pairs)),
    }


Codes = tuple[NDArray[np.int64], NDArray[np.int64]]


def _codes(name: str, made: pd.DataFrame, test: pd.DataFrame, fitted: pd.DataFrame) -> Codes:
    column = SCHEMA.column(name)
    if column.kind == "category":
        known = pd.Index(column.values)
        return known.get_indexer(made[name].astype(str)), known.get_indexer(test[name].astype(str))
    cuts = np.unique(np.quantile(fitted[name], np.linspace(0, 1, 21)[1:-1]))
    first, second = (
        np.searchsorted(cuts, frame[name].astype(float), side="right") for frame in (made, test)
    )
    return first, second


def _distance(columns: list[Codes]) -> float:
    first, second = (
        sum(part * 100**i for i, part in enumerate(side)) for side in zip(*columns, strict=True)
    )
    _, place = np.unique(np.concatenate([first, second]), return_inverse=True)
    rows = len(np.asarray(first))
    counts = [np.bincount(part, minlength=place.max() + 1) for part in (place[:rows], place[rows:])]
    return float(np.abs(counts[0] / rows - counts[1] / len(np.asarray(second))).sum() / 2)


def _inputs(frame: pd.DataFrame) -> pd.DataFrame:
    inputs = frame.drop(columns=TARGET)
    return inputs.assign(job=pd.Index(list("abcdefg")).get_indexer(inputs["job"].astype(str)))


def run(model: str, epsilon: float, seed: int) -> dict[str, Any]:
    """Runs one study and scores what comes of it."""
    fitted, test = records(ROWS, 5 + 2 * seed), records(TEST_ROWS, 6 + 2 * seed)
    if model == "real":
        return {"model": model, "seed": seed, **quality(fitted, test, fitted)}
    tables = {name: fitted.iloc[i :: len(SITES)] for i, name in enumerate(SITES)}
    study = study_of("skewed", SCHEMA, TARGET, SITES, epsilon=epsilon, model={"kind": model})
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = fedloom.simulate(
            study, tables, schema=SCHEMA, out=Path(folder) / "run", insecure_seed=seed
        )
        made = done.sample(ROWS, seed=seed)
        seconds = time.perf_counter() - start
    scores = quality(made, test, fitted)
    return {"model": model, "epsilon": epsilon, "seed": seed, **scores, "seconds": seconds}


def main() -> None:
    """Prints one line a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epsilon", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--model", nargs="+", default=["tree", "mixture"])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for seed, model in itertools.product(range(options.seeds), ["real", *options.model]):
        found = run(model, options.epsilon, seed)
        if options.json:
            print(json.dumps(found), flush=True)
        else:
            told = [
                f"{name} {value:.4f}" for name, value in found.items() if name not in ("model",)
            ]
            print(f"{model:8s}", "  ".join(told), flush=True)


if __name__ == "__main__":
    main()
