"""CPU time and memory of a study of statistics over many small sites, simulated in one process.

    OMP_NUM_THREADS=1 python benchmarks/many_sites.py 100 300 1000

Each site holds 200 made-up rows of ten columns; the study is a mixture by a secure sum. A line a
number of sites: seconds of CPU to prepare (homes, keys, approvals), to run (all messages, sums, the
fit) and the most memory so far. Columns and rows are the same for all, so that what grows is the
work between sites: each masks with a key for every other, so that all together is quadratic.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from fedloom.common.study import load_study
from fedloom.simulation import prepare, run_prepared

ROWS, COLUMNS, LEVELS = 200, 10, 4
_FILES_A_SITE = 8


def main() -> None:
    """Measures each number of sites that the command line names."""
    for number in map(int, sys.argv[1:]):
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder), number)


def measure(folder: Path, num_sites: int) -> None:
    """Simulates one study and prints what it took."""
    study, schema = load_study(written(folder, num_sites))
    rng = np.random.default_rng(1)
    tables = {
        f"site-{number}": pd.DataFrame(
            {f"c{column}": rng.integers(0, LEVELS, ROWS).astype(str) for column in range(COLUMNS)}
        )
        for number in range(num_sites)
    }
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_A_SITE * num_sites + 1000
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    start = time.process_time()
    prepared = prepare(study, schema, tables, out=folder / "run", homes={})
    ready = time.process_time()
    run_prepared(prepared)
    done = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"{num_sites} sites: prepare {ready - start:.1f} s, run {done - ready:.1f} s, "
        f"peak {peak} MB",
        flush=True,
    )


def written(folder: Path, num_sites: int) -> Path:
    """Writes schema and study; returns the study's path."""
    levels = [str(level) for level in range(LEVELS)]
    columns = [
        f'[[column]]\nname = "c{column}"\nkind = "category"\nvalues = {levels}\n'
        for column in range(COLUMNS)
    ]
    (folder / "schema.toml").write_text("\n".join(columns))
    head = '[study]\nname = "many"\nschema = "schema.toml"\n'
    budget = '[privacy]\nepsilon = 1.0\ndelta = 1e-5\ntrust = "secure-sum"\n'
    model = '[model]\nkind = "mixture"\ncomponents = 50\n'
    patience = "[coordination]\ntimeout_s = 7200\n"
    sites = [f'[[site]]\nname = "site-{number}"\n' for number in range(num_sites)]
    path = folder / "study.toml"
    path.write_text("\n".join([head, budget, model, patience, *sites]))
    return path


if __name__ == "__main__":
    main()
