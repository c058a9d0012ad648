"""Sampling from a release on Adult: time and peak memory of `fedloom sample` and `fedloom impute`.

    python benchmarks/sampling.py [--rows 1000000] [--model mixture]

Adult is read from `$FEDLOOM_SHARED/data/adult`, or from `../shared` beside the repository, with the
public schema in `benchmarks/adult/`. One study of one site at epsilon 1 is simulated and released;
then each row below is a command in a process of its own, start of Python included. Peak memory is
the largest resident set of that process (VmHWM of Linux). On a machine that does other work
beside, the processors' seconds are the steadier number.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

import fedloom

ROOT = Path(__file__).resolve().parent.parent
TARGET = "income"
IMPUTED_ROWS = 100_000
MISSING_SHARE = 0.1
STUDY = """
[study]
name = "adult"
schema = "schema.toml"
target = "income"
[privacy]
epsilon = 1.0
delta = 1e-5
trust = "per-site"
[model]
kind = "{model}"
[[site]]
name = "one"
"""


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


def release(folder: Path, model: str) -> Path:
    """Simulates the study in a folder and builds its release."""
    (folder / "schema.toml").write_bytes((ROOT / "benchmarks/adult/schema.toml").read_bytes())
    (folder / "study.toml").write_text(STUDY.format(model=model))
    run = fedloom.simulate(
        folder / "study.toml", {"one": adult()}, out=folder / "run", clamp=True, insecure_seed=1
    )
    return run.release(folder / "release")


def measured(words: list[str]) -> tuple[float, float, float]:
    """Runs a command of fedloom; returns seconds, processor seconds and peak memory in GB."""
    before, start = os.times(), time.perf_counter()
    code = (
        "import sys; from fedloom.cli.main import main; code = main(sys.argv[1:])\n"
        "lines = open('/proc/self/status').read().splitlines()\n"
        "print([line.split()[1] for line in lines if line.startswith('VmHWM')][0])\n"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True
    )
    seconds, after = time.perf_counter() - start, os.times()
    if done.returncode:
        sys.exit(done.stderr)
    spent = sum(after[2:4]) - sum(before[2:4])
    return seconds, spent, int(done.stdout.split()[-1]) / 1e6


def main() -> None:
    """Prints one row of a Markdown table for each command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--model", default="mixture", choices=("mixture", "vae", "gan"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = str(release(folder, options.model))
        sample = ["sample", source, "--rows", str(options.rows), "--seed", "1", "--out"]
        holed = pd.read_parquet(Path(source) / "data/synthetic.parquet")
        holed = holed.sample(IMPUTED_ROWS, replace=True, random_state=1)
        rng = np.random.default_rng(1)
        holed.mask(rng.random(holed.shape) < MISSING_SHARE).to_csv(
            folder / "holed.csv", index=False
        )
        where = [
            "--where",
            "age=40..60",
            "--where",
            "native-country=missing",
            "--where",
            "sex=Male",
        ]
        commands = {
            f"{options.rows:,} rows, Parquet": [*sample, str(folder / "rows.parquet")],
            f"{options.rows:,} rows, Parquet, one thread": [
                *sample, str(folder / "rows.parquet"), "--threads", "1",
            ],
            f"{options.rows:,} rows, CSV": [*sample, str(folder / "rows.csv")],
            f"{options.rows:,} rows, Parquet, three conditions": [
                *sample, str(folder / "rows.parquet"), *where,
            ],
            f"{IMPUTED_ROWS:,} rows imputed, a tenth missing": [
                "impute", source, str(folder / "holed.csv"), "--out", str(folder / "filled.csv"),
            ],
        }  # fmt: skip
        print(f"| {options.model} | seconds | of processors | peak GB |")
        print("| --- | --- | --- | --- |")
        for what, words in commands.items():
            seconds, spent, memory = measured(words)
            print(f"| {what} | {seconds:.1f} | {spent:.1f} | {memory:.2f} |", flush=True)


if __name__ == "__main__":
    main()
