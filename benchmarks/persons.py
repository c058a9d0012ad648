"""What protecting persons costs: unit record against unit person, and caps on rows.

    python benchmarks/persons.py [--table rand diabetes] [--cap 1 2 3 5] [--epsilon 1] [--json]

`rand` is the RAND experiment of `examples/rand` at its six sites. `diabetes` is read from
`$FEDLOOM_SHARED/data/diabetes_130`, or from `../shared` beside the repository, and split over ten
hospitals by `examples/diabetes/split.py`. A fifth of the persons, chosen by a fixed public seed,
is the test; all their rows count. Every run is the whole study through `fedloom.simulate` in
`secure-sum`, and gives as many synthetic rows as the other persons have.

`capped` is no synthesis at all: it is what is left of the real rows under the cap, with `kept`,
the share of rows, and `shift`, the mean total variation of one and of two columns between the
kept rows and all of them. That is the cap's bias, which no epsilon takes away.

`on the grid` is no synthesis either: real rows, coded by the schema and drawn anew within the bins.
No generator of coded rows comes nearer to the test.

Models learn from at most 20,000 rows. On RAND they learn to predict `limitation`, since the study's
own label, `visited`, follows from the visits in the table. What follows the keys of the run's new
homes is not repeatable, and moves the third digit.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from marginal_distance import marginals
from studies import study_of
from utility import utility

import fedloom
from fedloom.client.persons import kept_rows, person_ids
from fedloom.client.sources import load_table
from fedloom.common.encoding import Encoding
from fedloom.common.schema import Schema

ROOT = Path(__file__).resolve().parent.parent
SPLIT_SEED = 20_260_101
TEST_SHARE = 0.2
LEARN_ROWS = 20_000
RAND_SITES = (
    "dayton",
    "seattle",
    "fitchburg",
    "franklin-county",
    "charleston",
    "georgetown-county",
)
MEASURES = ("boosting", "logistic", "tv_1", "tv_2", "kept", "shift_1", "shift_2", "seconds")


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of persons, dealt to sites.

    Attributes:
      name: Of the data set.
      schema: Public.
      id_column: Says whose row it is.
      target: The study's label.
      learned: What models are trained to predict.
      delta: Of the study; below one over the number of persons.
      sites: The fitted rows by site.
      test: All rows of the persons that were put aside.
    """

    name: str
    schema: Schema
    id_column: str
    target: str
    learned: str
    delta: float
    sites: dict[str, pd.DataFrame]
    test: pd.DataFrame

    @property
    def fitted(self) -> pd.DataFrame:
        """The fitted rows of all sites."""
        return pd.concat(self.sites.values(), ignore_index=True)


def load(name: str) -> Table:
    """Reads a data set and puts a fifth of its persons aside."""
    folder = ROOT / "examples" / name
    schema = Schema.load(folder / "schema.toml")
    if name == "rand":
        id_column, target, learned, delta = "person", "visited", "limitation", 1e-5
        files = {site: folder / f"{site}.csv.gz" for site in RAND_SITES}
        tables = {site: load_table(p, schema, id_column=id_column) for site, p in files.items()}
    else:
        id_column, target, learned, delta = "patient_nbr", "readmitted", "readmitted", 1e-6
        with tempfile.TemporaryDirectory() as made:
            _splitter().split(_diabetes(), Path(made))
            tables = {
                path.stem: load_table(path, schema, id_column=id_column)
                for path in sorted(Path(made).iterdir())
            }
    persons = pd.concat(tables.values())[id_column].drop_duplicates().sort_values().to_numpy()
    chosen = np.random.default_rng(SPLIT_SEED).random(len(persons)) < TEST_SHARE
    aside = set(persons[chosen])
    held = {site: table[id_column].isin(aside) for site, table in tables.items()}
    return Table(
        name=name,
        schema=schema,
        id_column=id_column,
        target=target,
        learned=learned,
        delta=delta,
        sites={site: t[~held[site]].reset_index(drop=True) for site, t in tables.items()},
        test=pd.concat([t[held[site]] for site, t in tables.items()], ignore_index=True),
    )


def _diabetes() -> Path:
    shared = Path(os.environ.get("FEDLOOM_SHARED", ROOT.parent / "shared"))
    source = shared / "data" / "diabetes_130" / "diabetic_data.csv.gz"
    if not source.is_file():
        sys.exit(f"{source} is not there; set FEDLOOM_SHARED to the folder above data/")
    return source


def _splitter() -> Any:
    path = ROOT / "examples" / "diabetes" / "split.py"
    spec = importlib.util.spec_from_file_location("diabetes_split", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def quality(rows: pd.DataFrame, table: Table) -> dict[str, float]:
    """Measures a table, synthetic or real, against the test persons' rows."""
    rows = rows[list(table.schema.names)]
    some = rows.sample(min(len(rows), LEARN_ROWS), random_state=SPLIT_SEED)
    learned = utility(some, table.test, table.schema, table.learned)
    distance = marginals(table.test, rows, table.schema)
    return {
        "boosting": learned.boosting,
        "logistic": learned.logistic,
        "tv_1": distance.mean_one_way,
        "tv_2": distance.mean_two_way,
    }


def capped(table: Table, cap: int, *, learn: bool) -> dict[str, float]:
    """Measures what the cap alone does to the real rows."""
    fitted = table.fitted
    codes = Encoding(table.schema, table.target).encode(fitted).codes
    ids = person_ids(fitted[table.id_column])
    rows, _ = kept_rows(ids, codes, cap, secrets.token_bytes(32))
    kept = fitted.iloc[rows].reset_index(drop=True)
    shift = marginals(fitted, kept, table.schema)
    found = {
        "kept": len(kept) / len(fitted),
        "shift_1": shift.mean_one_way,
        "shift_2": shift.mean_two_way,
    }
    return {**found, **quality(kept, table)} if learn else found


def on_the_grid(table: Table) -> pd.DataFrame:
    """Returns the real rows as the schema's bins hold them."""
    encoding = Encoding(table.schema, table.target)
    codes = encoding.encode(table.fitted).codes
    rng = np.random.default_rng(SPLIT_SEED)
    return encoding.decode(encoding.feature_codes(codes), encoding.classes(codes), rng)


def run(
    table: Table, *, unit: str, cap: int, model: str, epsilon: float, seed: int
) -> dict[str, float]:
    """Simulates one study and measures a sample of its generator."""
    persons = {"unit": "person", "id": table.id_column, "rows_per_person": cap}
    study = study_of(
        table.name,
        table.schema,
        table.target,
        table.sites,
        epsilon=epsilon,
        delta=table.delta,
        privacy=persons if unit == "person" else None,
        model={"kind": model},
    )
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = fedloom.simulate(
            study,
            table.sites,
            schema=table.schema,
            out=Path(folder) / "run",
            clamp=True,
            insecure_seed=seed,
        )
        sample = done.sample(len(table.fitted), seed=seed)
        seconds = time.perf_counter() - start
    return {**quality(sample, table), "seconds": seconds}


def results(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yields one result for each table, setting and seed."""
    for name in options.table:
        table = load(name)
        yield {"what": f"{name}, real rows", **quality(table.fitted, table)}
        yield {"what": f"{name}, real rows, on the grid", **quality(on_the_grid(table), table)}
        for cap in options.bias:
            found = capped(table, cap, learn=cap in options.cap)
            yield {"what": f"{name}, real rows, capped at {cap}", **found}
        settings = [("record", 1), *(("person", cap) for cap in options.cap)]
        for model in options.model:
            for epsilon in options.epsilon:
                for unit, cap in settings:
                    of = unit if unit == "record" else f"person, cap {cap}"
                    for seed in range(options.seeds):
                        yield {
                            "what": f"{name}, {model}, epsilon {epsilon:g} a {of}",
                            **run(
                                table, unit=unit, cap=cap, model=model, epsilon=epsilon, seed=seed
                            ),
                        }


def line(what: str, found: list[dict[str, Any]]) -> str:
    """Formats the mean over seeds as a row of a Markdown table."""
    mean = {key: float(np.mean([f[key] for f in found])) for key in MEASURES if key in found[0]}

    def two(first: str, second: str) -> str:
        return f"{mean[first]:.3f} / {mean[second]:.3f}" if first in mean else "-"

    kept = f"{mean['kept']:.0%}" if "kept" in mean else "-"
    seconds = f"{mean['seconds']:.0f}" if "seconds" in mean else "-"
    cells = [kept, two("shift_1", "shift_2"), two("boosting", "logistic"), two("tv_1", "tv_2")]
    return " | ".join([f"| {what}", str(len(found)), *cells, f"{seconds} |"])


def main() -> None:
    """Runs the benchmark and prints a Markdown table, or one JSON object a result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--table", nargs="+", default=["rand", "diabetes"])
    parser.add_argument("--model", nargs="*", default=["mixture"])
    parser.add_argument("--cap", nargs="+", type=int, default=[1, 2, 3, 5])
    parser.add_argument("--bias", nargs="*", type=int, default=[1, 2, 3, 5, 10], metavar="CAP")
    parser.add_argument("--epsilon", nargs="+", type=float, default=[1.0])
    parser.add_argument("--seeds", type=int, default=3)
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
        print("| | seeds | kept | shift 1 / 2 | AUC boosting / logistic | TV 1 / 2 | seconds |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for what, found in grouped.items():
            print(line(what, found))


if __name__ == "__main__":
    main()
