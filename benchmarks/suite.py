"""Runs every system on every table of the suite, and goes on where it was stopped.

    python benchmarks/suite.py run [--tables adult hmda] [--systems tree mixture] [--epsilon 1]
    python benchmarks/suite.py table [--epsilon 1]
    python benchmarks/suite.py figure

`run` appends one JSON line a cell to `benchmarks/results/suite.jsonl`; cells that stand there are
skipped, `--again` measures them anew and the newest line counts. A cell is a process of its own
(`suite_cells.py`) with a time-out, which is reported as such, and so is a failure. Tables or peers
that are not installed are told and left out. Peers live in environments of their own below
`--peers FOLDER`, one a package (`FOLDER/mbi/bin/python`); see the README of the benchmarks.

`table` prints Markdown of what was measured, `figure` draws `docs/images/suite.svg`.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from suite_cells import PEERS, REFERENCES, system_names
from suite_figure import drawn, markdown
from suite_results import RESULTS, key, newest
from suite_tables import CASES

ROOT = Path(__file__).resolve().parent.parent
IMAGE = ROOT / "docs" / "images" / "suite.svg"
_SAID = 400


def cells(asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yields what is to be measured, the references of a table first."""
    for epsilon, seed, table in itertools.product(
        asked.epsilon, range(asked.first_seed, asked.first_seed + asked.seeds), asked.tables
    ):
        for system in asked.systems:
            if system in REFERENCES and (seed, epsilon) != (asked.first_seed, asked.epsilon[0]):
                continue
            yield {
                "table": table,
                "system": system,
                "epsilon": 0.0 if system in REFERENCES else epsilon,
                "seed": seed,
            }


def measured(cell: dict[str, Any], peers: Path, timeout_s: float) -> dict[str, Any]:
    """Runs a cell in a process of its own and returns its line."""
    program = Path(__file__).with_name("suite_cells.py")
    words = [sys.executable, str(program), *map(str, cell.values()), "--peers", str(peers)]
    with tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
        )
        try:
            out, _ = child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            return {**cell, "status": "time-out", "seconds": timeout_s}
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        errors.seek(0)
        said = errors.read().strip()
    lines = out.strip().splitlines()
    if child.returncode or not lines:
        why = said.splitlines()[-1] if said else f"exit status {child.returncode}"
        return {**cell, "status": "failed", "why": why[:_SAID]}
    return {**cell, **json.loads(lines[-1])}


def run(asked: argparse.Namespace) -> None:
    """Measures all cells that are not measured yet."""
    known = {} if asked.again else newest(asked.out)
    told = set()
    for cell in cells(asked):
        peer = PEERS.get(cell["system"])
        if peer is not None and not peer.python(asked.peers).exists():
            if peer.package not in told:
                where = peer.python(asked.peers)
                print(f"{peer.package} is left out: there is no {where}", file=sys.stderr)
            told.add(peer.package)
            continue
        if key(cell) in known:
            continue
        line = measured(cell, asked.peers, asked.timeout)
        if line["status"] == "left out":
            print(f"{cell['table']}, {cell['system']} is left out: {line['why']}", file=sys.stderr)
            continue
        with asked.out.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        print(json.dumps(line), file=sys.stderr, flush=True)


def main() -> None:
    """Runs, tells or draws."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=["run", "table", "figure"])
    parser.add_argument("--tables", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument(
        "--systems", nargs="+", choices=system_names(), default=["real", "tree", "mixture", *PEERS]
    )
    parser.add_argument("--epsilon", nargs="+", type=float, default=[1.0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds a cell")
    parser.add_argument("--peers", type=Path, default=Path("peers"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--again", action="store_true", help="measure again what is measured")
    asked = parser.parse_args()
    if asked.what == "run":
        run(asked)
    elif asked.what == "table":
        lines = newest(asked.out).values()
        print("\n".join(markdown(lines, asked.tables, asked.systems, asked.epsilon)))
    else:
        IMAGE.write_text(drawn(list(newest(asked.out).values()), list(CASES)), encoding="utf-8")


if __name__ == "__main__":
    main()
