"""Synthetic tables on Adult: model x number of sites x epsilon, beside real data.

    python benchmarks/tabular.py [--model tree mixture vae gan] [--sites 1 10] [--epsilon 1]

Adult is read from `$FEDLOOM_SHARED/data/adult`, or from `../shared` beside the repository, with
the public schema in `benchmarks/adult/`. Train and test files are put together and split anew,
by a fixed public seed, into 39,074 records to fit and 9,768 to test. The fitted ones are dealt
to the sites, evenly or (`--skew ALPHA`) by a Dirichlet distribution of each label over sites.
Every row is a run of `fedloom.simulate`, with real vaults and ledgers, and as many synthetic
records as were fitted. `alone` is the same study with the first site's records only, in local
trust. Without `--trust` and `--exchange` they are the study's defaults: a secure sum for three
sites and more, per-site trust below.

Split, dealing and noise are repeatable (`insecure_seed`); what follows the keys of the run's new
homes, such as the start of a fit, is not, and moves the third digit.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joint_scores import joint_scores
from marginal_distance import absent_categories, marginals
from other_targets import adult_questions
from studies import study_of
from utility import utility

import fedloom
from fedloom.common.privacy_settings import default_trust
from fedloom.common.schema import Schema

ROOT = Path(__file__).resolve().parent.parent
TARGET = "income"
TEST_ROWS = 9_768
SPLIT_SEED = 20_260_101
QUICK_ROWS = 8_000
# Kinds without training rounds.
FROM_STATISTICS = ("tree", "mixture")
Questions = Callable[[pd.DataFrame, pd.DataFrame, Schema], float]
# Sites of one run take consecutive seeds; runs must not share any.
JOINT = ("others", "tv_3", "cramer", "c2st", "rare_1", "rare_2")
MEASURES = ("boosting", "logistic", "tv_1", "tv_2", *JOINT, "seconds", "epsilon", "epsilon_rdp")


def adult() -> pd.DataFrame:
    """Reads both files of Adult, "?" as missing."""
    shared = Path(os.environ.get("FEDLOOM_SHARED", ROOT.parent / "shared"))
    folder = shared / "data" / "adult"
    if not folder.is_dir():
        sys.exit(f"Adult is not in {folder}; set FEDLOOM_SHARED to the folder above data/")
    parts = [
        pd.read_csv(folder / f"adult_{part}.csv.gz", keep_default_na=False, na_values="?")
        for part in ("train", "test")
    ]
    return pd.concat(parts, ignore_index=True)


def split() -> tuple[pd.DataFrame, pd.DataFrame, Schema]:
    """Returns Adult's records to fit, those to test, and the public schema."""
    schema, records = Schema.load(ROOT / "benchmarks" / "adult" / "schema.toml"), adult()
    order = np.random.default_rng(SPLIT_SEED).permutation(len(records))
    test = records.iloc[order[:TEST_ROWS]].reset_index(drop=True)
    return records.iloc[order[TEST_ROWS:]].reset_index(drop=True), test, schema


def deal(records: pd.DataFrame, sites: int, skew: float | None, seed: int) -> list[pd.DataFrame]:
    """Deals records to sites: evenly, or each label by its own Dirichlet(skew) weights."""
    rng = np.random.default_rng([SPLIT_SEED, seed])
    if skew is None:
        owner = rng.permutation(np.arange(len(records)) % sites)
    else:
        owner = np.zeros(len(records), dtype=np.int64)
        for label in sorted(records[TARGET].unique()):
            rows = np.flatnonzero(records[TARGET] == label)
            owner[rows] = rng.choice(sites, size=len(rows), p=rng.dirichlet([skew] * sites))
    return [records[owner == site].reset_index(drop=True) for site in range(sites)]


def quality(
    train: pd.DataFrame,
    test: pd.DataFrame,
    schema: Schema,
    fitted: pd.DataFrame | None = None,
    *,
    target: str | None = TARGET,
    others: Questions = adult_questions,
) -> dict[str, Any]:
    """Measures a table, synthetic or real, against the test records.

    With the fitted records it measures what columns say together, too, as `joint_scores` does, and
    other questions than the label (`other_targets`).

    Args:
      train: the table.
      test: real records that were not fitted.
      schema: of both.
      fitted: real records that the table was made from.
      target: the label that models learn; None for none.
      others: mean AUC over other questions.
    """
    found: dict[str, Any] = {}
    if target is not None:
        learned = utility(train, test, schema, target)
        found = {"boosting": learned.boosting, "logistic": learned.logistic}
    distance = marginals(test, train, schema)
    return {
        **found,
        "tv_1": distance.mean_one_way,
        "tv_2": distance.mean_two_way,
        "absent": len(absent_categories(test, train, schema)),
        **({} if fitted is None else joint_scores(fitted, test, train, schema)),
        **({} if fitted is None else {"others": others(train, test, schema)}),
    }


def run(
    tables: list[pd.DataFrame],
    test: pd.DataFrame,
    schema: Schema,
    *,
    model: str,
    exchange: str,
    trust: str,
    epsilon: float,
    rows: int,
    seed: int,
    engine: str | None = None,
    look_share: float | None = None,
) -> dict[str, Any]:
    """Simulates one study and measures a sample of its generator.

    An empty `trust` or `exchange` leaves the choice to the study.
    """
    training = {"exchange": exchange} if exchange else {}
    if model not in FROM_STATISTICS and engine is not None:
        training["engine"] = engine
    names = [f"site-{number + 1}" for number in range(len(tables))]
    study = study_of(
        "adult",
        schema,
        TARGET,
        names,
        epsilon=epsilon,
        privacy={"trust": trust} if trust else None,
        model={"kind": model},
        training=training,
        statistics={} if look_share is None else {"one_way_share": look_share},
    )
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = fedloom.simulate(
            study,
            dict(zip(names, tables, strict=True)),
            schema=schema,
            out=Path(folder) / "run",
            clamp=True,
            insecure_seed=seed,
        )
        sample = done.sample(rows, seed=seed)
        seconds = time.perf_counter() - start
        price = done.plan.stated_price
    return {
        **quality(sample, test, schema, pd.concat(tables, ignore_index=True)),
        "seconds": seconds,
        "epsilon": price.epsilon,
        "epsilon_rdp": price.epsilon_rdp,
    }


def results(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yields one result for each table, run and seed."""
    fitted, test, schema = split()
    if options.quick:
        fitted = fitted.iloc[:QUICK_ROWS]
    yield {"what": "real data", "seed": 0, **quality(fitted, test, schema, fitted)}
    settings = [
        (model, exchange, trust, sites, epsilon, seed)
        for model in options.model
        for exchange in ([""] if model in FROM_STATISTICS else options.exchange)
        for trust in options.trust
        for sites in options.sites
        for epsilon in options.epsilon
        for seed in range(1 if options.quick else options.seeds)
    ]
    for model, exchange, trust, sites, epsilon, seed in settings:
        tables = deal(fitted, sites, options.skew, seed)
        shares = [("", tables)]
        if sites > 1 and not options.no_alone and trust != "secure-sum":
            shares.append((", alone", tables[:1]))
        for suffix, dealt in shares:
            how = f"{model} by {exchange}" if exchange else model
            if options.engine is not None:
                how += f" ({options.engine})"
            yield {
                "what": f"{how}, {trust or default_trust(len(dealt))}, {sites} sites, "
                f"epsilon {epsilon:g}{suffix}",
                "seed": seed,
                **run(
                    dealt,
                    test,
                    schema,
                    model=model,
                    exchange=exchange,
                    trust=trust,
                    epsilon=epsilon,
                    rows=len(fitted),
                    seed=seed,
                    engine=options.engine,
                    look_share=options.look_share,
                ),
            }


def line(what: str, found: list[dict[str, Any]]) -> str:
    """Formats the mean over seeds as a row of a Markdown table."""
    mean = {
        key: np.mean([result[key] for result in found])
        for key in (*MEASURES, "absent")
        if key in found[0]
    }
    price = f"{mean['epsilon']:.3f} / {mean['epsilon_rdp']:.3f}" if "epsilon" in mean else "-"
    seconds = f"{mean['seconds']:.0f}" if "seconds" in mean else "-"
    areas = " / ".join(f"{mean[key]:.4f}" for key in ("boosting", "logistic", "others"))
    return (
        f"| {what} | {len(found)} | {areas} "
        f"| {mean['tv_1']:.4f} / {mean['tv_2']:.4f} / {mean['tv_3']:.4f} | {mean['cramer']:.4f} "
        f"| {mean['c2st']:.3f} | {mean['rare_1']:.3f} / {mean['rare_2']:.3f} "
        f"| {mean['absent']:.1f} | {seconds} "
        f"| {price} |"
    )


def main() -> None:
    """Runs the benchmark and prints a Markdown table, or one JSON object a result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", nargs="+", default=["mixture"])
    parser.add_argument("--exchange", nargs="+", default=[""], help="by default the study's own")
    parser.add_argument("--engine", help="clipping engine of the sites; by default the study's own")
    parser.add_argument("--trust", nargs="+", default=[""], help="by default the study's own")
    parser.add_argument("--look-share", type=float, help="part of the budget for the first look")
    parser.add_argument("--sites", nargs="+", type=int, default=[1, 10])
    parser.add_argument("--epsilon", nargs="+", type=float, default=[1.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--skew", type=float, help="Dirichlet parameter of labels over sites")
    parser.add_argument("--no-alone", action="store_true", help="leave out the first site alone")
    parser.add_argument("--quick", action="store_true", help="one seed, 8,000 records")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()
    grouped: dict[str, list[dict[str, Any]]] = {}
    for result in results(options):
        grouped.setdefault(result["what"], []).append(result)
        if options.json:
            print(json.dumps(result), flush=True)
        else:
            print(line(result["what"], [result]), file=sys.stderr, flush=True)
    if not options.json:
        print(
            "| | seeds | AUC boosting / logistic / others | TV 1 / 2 / 3 | Cramer | C2ST "
            "| rare 1 / 2 | absent | seconds | epsilon |"
        )
        print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
        for what, found in grouped.items():
            print(line(what, found))


if __name__ == "__main__":
    main()
