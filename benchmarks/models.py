"""Every model on Adult at several budgets, appended to a table that the figure is drawn from.

    python benchmarks/models.py [--model mixture vae gan] [--epsilon 0.2 1 3 10] [--seeds 1]

Adult as in `tabular.py`: 39,074 records at ten sites under a secure sum, 9,768 to test. `vae` and
`gan` run twice, by gradients: alone, with one noisy look at single columns, and started from the
statistics phase (`[statistics] kind = "pairwise"`). Each result is a line of
`benchmarks/results/models.csv`: model, epsilon, seed, auc_boosting, auc_logistic, tv1, tv2,
seconds, command. Lines of other tools, measured on the same split, stand in the same file.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from studies import study_of
from tabular import ROOT, SPLIT_SEED, TARGET, TEST_ROWS, adult, deal, quality

import fedloom
from fedloom.common.schema import Schema

RESULTS = ROOT / "benchmarks" / "results" / "models.csv"
COLUMNS = (
    "model",
    "epsilon",
    "seed",
    "auc_boosting",
    "auc_logistic",
    "tv1",
    "tv2",
    "seconds",
    "command",
)
SITES = 10
_STATISTICS: dict[str, dict[str, Any]] = {
    "alone": {"kind": "one-way", "share": 0.35},
    "from statistics": {"kind": "pairwise", "share": 0.8, "one_way_share": 0.5},
}


def studies(models: list[str], starts: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the name of each way to make a generator, and the study's settings for it."""
    for model in models:
        if model == "mixture":
            yield model, {"model": {"kind": model}}
            continue
        training = {"exchange": "gradients"}
        for start in starts:
            statistics = _STATISTICS[start]
            settings = {"model": {"kind": model}, "training": training, "statistics": statistics}
            yield f"{model} {start}", settings


def measure(settings: dict[str, Any], epsilon: float, seed: int) -> dict[str, Any]:
    """Simulates one study from start to sample, and measures the sample."""
    schema = Schema.load(ROOT / "benchmarks" / "adult" / "schema.toml")
    records = adult()
    order = np.random.default_rng(SPLIT_SEED).permutation(len(records))
    test = records.iloc[order[:TEST_ROWS]].reset_index(drop=True)
    fitted = records.iloc[order[TEST_ROWS:]].reset_index(drop=True)
    names = [f"site-{number + 1}" for number in range(SITES)]
    study = study_of(
        "adult",
        schema,
        TARGET,
        names,
        epsilon=epsilon,
        privacy={"trust": "secure-sum"},
        **settings,
    )
    tables = dict(zip(names, deal(fitted, SITES, None, seed), strict=True))
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        out = Path(folder) / "run"
        done = fedloom.simulate(
            study, tables, schema=schema, out=out, clamp=True, insecure_seed=seed
        )
        sample = done.sample(len(fitted), seed=seed)
        seconds = time.perf_counter() - start
    found = quality(sample, test, schema)
    return {
        "auc_boosting": f"{found['boosting']:.4f}",
        "auc_logistic": f"{found['logistic']:.4f}",
        "tv1": f"{found['tv_1']:.4f}",
        "tv2": f"{found['tv_2']:.4f}",
        "seconds": f"{seconds:.0f}",
    }


def append(line: dict[str, Any]) -> None:
    """Adds a line to the table, which is begun if there is none."""
    RESULTS.parent.mkdir(exist_ok=True)
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(line)


def main() -> None:
    """Runs what the command line asks for; every result is kept at once."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", nargs="+", default=["mixture", "vae", "gan"])
    parser.add_argument("--start", nargs="+", default=["alone", "from statistics"])
    parser.add_argument("--epsilon", nargs="+", type=float, default=[0.2, 1.0, 3.0, 10.0])
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    for epsilon in options.epsilon:
        for name, settings in studies(options.model, options.start):
            for seed in range(options.seeds):
                kind = settings["model"]["kind"]
                command = f"python benchmarks/models.py --model {kind} --epsilon {epsilon:g}"
                if kind != "mixture":
                    command += f' --start "{name.removeprefix(kind + " ")}"'
                found = measure(settings, epsilon, seed)
                line = {"model": name, "epsilon": f"{epsilon:g}", "seed": seed, **found}
                append({**line, "command": command})
                print(line, flush=True)


if __name__ == "__main__":
    main()
