"""A small table with and without a public table as prior of the fit.

    python benchmarks/public_prior.py [--rows 1000] [--epsilon 1] [--seeds 3] [--public same ...]

`--rows` records of Adult at three sites (a secure sum), 5,000 others as the public table, 10,000
further ones as test records. Public tables:

    none      no public table: a tree; `mixture` is what a study of declared small tables gets
    same      5,000 other records of Adult
    women     3,000 other records, of women under 30 alone
    uniform   every value of the public table drawn evenly from those of its column
    flipped   other records, their label exchanged
    mirrored  other records, the order of every number turned round: each column as it is by itself,
              whatever it has to do with others the other way round

`again` has no public table either, but the answers of an earlier study like `none` about the same
records (`same_records`).

`boosting` and `logistic` are AUC on the test records, `tv_1` and `tv_2` mean distances of single
columns and pairs to them, of 5,000 synthetic records. `real` are the records themselves, `public`
the public table in their place.
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
from marginal_distance import marginals
from tabular import ROOT, TARGET, adult
from utility import utility

import fedloom
from fedloom.common.schema import Schema

__all__ = ["public_tables", "run"]

PUBLIC_ROWS, TEST_ROWS, DRAWN, SITES = 5_000, 10_000, 5_000, 3
KINDS = (
    "real",
    "public",
    "none",
    "mixture",
    "same",
    "women",
    "uniform",
    "flipped",
    "mirrored",
    "again",
)


def public_tables(others: pd.DataFrame, rest: pd.DataFrame, seed: int) -> dict[str, pd.DataFrame]:
    """Returns the public tables by name."""
    rng = np.random.default_rng(seed)
    even = {name: rng.choice(others[name].dropna().unique(), len(others)) for name in others}
    low, high = sorted(others[TARGET].unique())
    numbers = others.select_dtypes("number").columns
    young = rest[(rest["sex"] == "Female") & (rest["age"] < 30)]
    return {
        "same": others,
        "women": young.sample(3_000, random_state=seed),
        "uniform": pd.DataFrame(even),
        "mirrored": others.assign(**{name: _mirrored(others[name]) for name in numbers}),
        "flipped": others.assign(**{TARGET: others[TARGET].map({low: high, high: low})}),
    }


def _mirrored(column: pd.Series[Any]) -> Any:
    """Returns the values of a column with their order turned round: the least for the greatest."""
    order = np.argsort(column.to_numpy(), kind="stable")
    turned = np.empty_like(column.to_numpy())
    turned[order] = np.sort(column.to_numpy())[::-1]
    return turned


def run(kind: str, rows: int, epsilon: float, seed: int) -> dict[str, Any]:
    """Runs one study and scores its records."""
    schema = Schema.load(ROOT / "benchmarks" / "adult" / "schema.toml")
    frame = adult().sample(frac=1, random_state=7).reset_index(drop=True)
    test, rest = frame.iloc[-TEST_ROWS:].reset_index(drop=True), frame.iloc[:-TEST_ROWS]
    pool = rest.sample(rows + PUBLIC_ROWS, random_state=seed)
    records, others = pool.iloc[:rows], pool.iloc[rows:]
    found: dict[str, Any] = {"public": kind, "rows": rows, "epsilon": epsilon, "seed": seed}
    start = time.perf_counter()
    if kind in ("real", "public"):
        drawn = (records if kind == "real" else others).reset_index(drop=True)
    else:
        public = public_tables(others, rest.drop(pool.index), seed).get(kind)
        drawn = _drawn(records, public, schema, kind, epsilon, seed)
    seconds = time.perf_counter() - start
    learned, distance = utility(drawn, test, schema, TARGET), marginals(test, drawn, schema)
    return {
        **found,
        "boosting": learned.boosting,
        "logistic": learned.logistic,
        "tv_1": distance.mean_one_way,
        "tv_2": distance.mean_two_way,
        "seconds": seconds,
    }


def _drawn(
    records: pd.DataFrame,
    public: pd.DataFrame | None,
    schema: Schema,
    kind: str,
    epsilon: float,
    seed: int,
) -> pd.DataFrame:
    sites = [f"site-{number + 1}" for number in range(SITES)]
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        schema_text = (ROOT / "benchmarks" / "adult" / "schema.toml").read_text("utf-8")
        (folder / "schema.toml").write_text(schema_text, "utf-8")
        lines = [
            f'[study]\nname = "small"\nschema = "schema.toml"\ntarget = "{TARGET}"',
            f"[privacy]\nepsilon = {epsilon}\ndelta = 1e-5",
            f'[model]\nkind = "{"mixture" if kind == "mixture" else "tree"}"',
            *(f'[[site]]\nname = "{site}"' for site in sites),
        ]
        if public is not None:
            public.to_csv(folder / "public.csv", index=False)
            lines.append('[public]\ntable = "public.csv"\nsource = "Adult, UCI; CC BY 4.0"')
        tables = {
            site: records.iloc[number::SITES].reset_index(drop=True)
            for number, site in enumerate(sites)
        }

        def made(name: str, insecure_seed: int) -> fedloom.Run:
            study = folder / f"{name}.toml"
            study.write_text("\n".join(lines) + "\n", "utf-8")
            return fedloom.simulate(study, tables, out=folder / name, insecure_seed=insecure_seed)

        if kind == "again":
            made("early", 100 * seed + 6).release(folder / "release")
            lines.append('[public]\nrelease = "release"\nsame_records = true')
        return made("run", 100 * seed + 5).sample(DRAWN, seed=seed)


def main() -> None:
    """Prints one JSON object a run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--epsilon", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--public", nargs="+", choices=KINDS, default=list(KINDS))
    options = parser.parse_args()
    for seed in range(options.seeds):
        for kind in options.public:
            print(json.dumps(run(kind, options.rows, options.epsilon, seed)), flush=True)


if __name__ == "__main__":
    main()
