"""Measures other tools on Adult: same split, public schema and bins, each in its own environment.

    python benchmarks/peers/compare.py --python VENV/bin/python --method mst --epsilon 1

The table that is fitted is turned into codes on the schema's public bins; the peer fits and
samples codes in a process of its own; the codes are decoded here and measured as fedloom's own
tables are. Rows are appended to `benchmarks/results/models.csv`; a run beyond the time-out is
noted as one. Time is the peer's whole process, memory the largest resident size of it.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fedloom.common.encoding import Encoding
from fedloom.common.schema import Schema

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from models import append  # noqa: E402
from tabular import ROOT, SPLIT_SEED, TARGET, TEST_ROWS, adult, quality  # noqa: E402

PROGRAM = Path(__file__).with_name("smartnoise_codes.py")
DELTA = 1e-5


def split() -> tuple[pd.DataFrame, pd.DataFrame, Schema]:
    """Returns the records to fit, those to test, and the public schema."""
    schema = Schema.load(ROOT / "benchmarks" / "adult" / "schema.toml")
    records = adult()
    order = np.random.default_rng(SPLIT_SEED).permutation(len(records))
    test = records.iloc[order[:TEST_ROWS]].reset_index(drop=True)
    return records.iloc[order[TEST_ROWS:]].reset_index(drop=True), test, schema


def run(
    python: str,
    method: str,
    fitted: pd.DataFrame,
    schema: Schema,
    epsilon: float,
    seed: int,
    timeout_s: float,
) -> tuple[pd.DataFrame | None, float]:
    """Returns the peer's synthetic table, None after a time-out, and its seconds."""
    encoding = Encoding(schema, TARGET)
    codes = pd.DataFrame(encoding.encode(fitted).codes, columns=list(schema.names))
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "codes.csv", Path(folder) / "out.csv"
        codes.to_csv(given, index=False)
        words = [python, str(PROGRAM), method, str(given), str(made)]
        words += ["--epsilon", str(epsilon), "--delta", str(DELTA), "--seed", str(seed)]
        start = time.perf_counter()
        try:
            subprocess.run(words, check=True, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            return None, timeout_s
        seconds = time.perf_counter() - start
        synthetic = pd.read_csv(made)[list(schema.names)].astype(np.int32).to_numpy()
    rng = np.random.default_rng(seed)
    return (
        encoding.decode(encoding.feature_codes(synthetic), encoding.classes(synthetic), rng),
        seconds,
    )


def main() -> None:
    """Runs one method for all epsilons and seeds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--python", required=True, help="interpreter of the peer's environment")
    parser.add_argument("--method", required=True)
    parser.add_argument("--epsilon", nargs="+", type=float, default=[1.0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds a run")
    options = parser.parse_args()
    fitted, test, schema = split()
    for epsilon in options.epsilon:
        for seed in range(options.seeds):
            made, seconds = run(
                options.python, options.method, fitted, schema, epsilon, seed, options.timeout
            )
            row: dict[str, Any] = {
                "model": options.method,
                "epsilon": f"{epsilon:g}",
                "seed": seed,
                "seconds": f"{seconds:.0f}",
                "command": f"python benchmarks/peers/compare.py --method {options.method} "
                f"--epsilon {epsilon:g}",
            }
            if made is None:
                row["command"] += f"; stopped after {options.timeout:.0f} s"
            else:
                found = quality(made, test, schema)
                row |= {
                    "auc_boosting": f"{found['boosting']:.4f}",
                    "auc_logistic": f"{found['logistic']:.4f}",
                    "tv1": f"{found['tv_1']:.4f}",
                    "tv2": f"{found['tv_2']:.4f}",
                }
            append(row)
            most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
            print(row, f"largest process so far {most:.1f} GB", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
