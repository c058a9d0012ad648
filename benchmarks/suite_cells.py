"""One cell of the suite: a table, a system, an epsilon and a seed, in a process of its own.

    python benchmarks/suite_cells.py TABLE SYSTEM EPSILON SEED [--peers FOLDER]

Prints one JSON object. Systems are `real` (the fitted records), `coded` (the same on the public
grid that peers get: nothing that is made of its codes comes nearer), fedloom's models with their
defaults, `default` (a study that names no model), and the peers. fedloom's run is the whole study
through `fedloom.simulate`: ten sites under a secure sum with real vaults and ledgers. A peer is
central: it gets one pooled table, cut on the public grid, so that it spends nothing on bounds.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import resource
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from studies import study_of
from suite_tables import Case, load

import fedloom
from fedloom.common.encoding import Encoding

__all__ = ["DELTA", "PEERS", "Peer", "system_names"]

DELTA = 1e-5
MODELS = ("default", "tree", "mixture", "vae", "gan")
REFERENCES = ("real", "coded")
_ROOT = Path(__file__).resolve().parent.parent
_CODE = ("client", "common", "fedloom", "privacy", "server")
_PROGRAMS = Path(__file__).with_name("peers")


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Another synthesiser.

    Attributes:
      package: that holds it; the folder of peers has an environment of this name.
      program: that fits it, in `benchmarks/peers`.
      method: of the program.
    """

    package: str
    program: str
    method: str

    def python(self, folder: Path) -> Path:
        """Returns the interpreter of its environment."""
        return folder / self.package / "bin" / "python"

    def version(self, folder: Path) -> str:
        """Returns the installed version of its package."""
        paths = [str(path) for path in (folder / self.package).glob("lib/python*/site-packages")]
        found = importlib.metadata.distributions(name=self.package, path=paths)
        return next(iter(found)).version


PEERS = {
    "mbi MST": Peer(package="mbi", program="mbi_codes.py", method="mst"),
    "dpmm MST": Peer(package="dpmm", program="dpmm_codes.py", method="mst"),
    "dpmm AIM": Peer(package="dpmm", program="dpmm_codes.py", method="aim"),
    "mostlyai": Peer(package="mostlyai-engine", program="mostlyai_codes.py", method="argn"),
    "smartnoise MST": Peer(package="smartnoise-synth", program="smartnoise_codes.py", method="mst"),
    "smartnoise AIM": Peer(package="smartnoise-synth", program="smartnoise_codes.py", method="aim"),
}


def system_names() -> tuple[str, ...]:
    """Returns the names of all systems."""
    return (*REFERENCES, *MODELS, *PEERS)


def made_by_model(
    case: Case, model: str, epsilon: float, seed: int
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Returns the rows of a simulated study, and what is to be told of it."""
    tables = case.sites(seed)
    study = study_of(
        "suite",
        case.schema,
        case.target,
        tables,
        epsilon=epsilon,
        delta=DELTA,
        privacy=case.privacy,
        model={} if model == "default" else {"kind": model},
    )
    with tempfile.TemporaryDirectory() as folder:
        done = fedloom.simulate(
            study,
            tables,
            schema=case.schema,
            out=Path(folder) / "run",
            clamp=True,
            insecure_seed=1000 * seed,
        )
        told = {"version": _version(), "kind_of_model": done.plan.model.kind}
        return done.sample(len(case.fitted), seed=seed), told


def made_by_peer(
    case: Case, peer: Peer, folder: Path, epsilon: float, seed: int
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Returns the rows of a peer, and what is to be told of it."""
    encoding = Encoding(case.schema, case.target)
    codes = pd.DataFrame(encoding.encode(case.fitted).codes, columns=list(case.schema.names))
    with tempfile.TemporaryDirectory() as place:
        given, sizes, made = (Path(place) / name for name in ("codes.csv", "sizes.json", "out.csv"))
        codes.to_csv(given, index=False)
        sizes.write_text(
            json.dumps(
                {
                    name: block.size
                    for name, block in zip(codes.columns, encoding.blocks, strict=True)
                }
            )
        )
        words = [peer.python(folder), _PROGRAMS / peer.program, peer.method, given, sizes, made]
        options = ["--epsilon", epsilon, "--delta", DELTA, "--seed", seed]
        done = subprocess.run(
            [str(word) for word in (*words, *options)], check=True, stdout=subprocess.PIPE
        )
        told = json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else {}
        out = pd.read_csv(made)[list(codes.columns)].astype(np.int32).to_numpy()
    return _decoded(encoding, out, seed), {"version": peer.version(folder), **told}


def _decoded(encoding: Encoding, codes: np.ndarray, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return encoding.decode(encoding.feature_codes(codes), encoding.classes(codes), rng)


def cell(table: str, system: str, epsilon: float, seed: int, peers: Path) -> dict[str, Any]:
    """Runs one cell and returns its scores, and the seconds that were spent on making rows."""
    try:
        case = load(table)
    except (ImportError, OSError, SystemExit) as error:
        return {"status": "left out", "why": str(error)}
    wall, cpu = time.perf_counter(), _cpu_seconds()
    told: dict[str, Any] = {}
    if system == "real":
        rows = case.fitted
    elif system == "coded":
        encoding = Encoding(case.schema, case.target)
        rows = _decoded(encoding, encoding.encode(case.fitted).codes, seed)
    elif system in PEERS:
        if case.privacy:
            return {"status": "left out", "why": "peers protect records, not persons"}
        rows, told = made_by_peer(case, PEERS[system], peers, epsilon, seed)
    else:
        rows, told = made_by_model(case, system, epsilon, seed)
    seconds = {"seconds": time.perf_counter() - wall, "cpu_seconds": _cpu_seconds() - cpu}
    most = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    size = {"rows": len(case.fitted), "columns": len(case.schema.columns), "kind": case.kind}
    scores = {
        name: round(float(value), 5)
        for name, value in case.scores(rows).items()
        if not math.isnan(value)  # such as of rare categories, where there are none
    }
    spent = {name: round(value, 1) for name, value in seconds.items()}
    return {"status": "done", **size, **told, **scores, **spent, "peak_gb": round(most / 1e6, 2)}


def _version() -> str:
    """Returns fedloom's version, and the last change of its code where Git tells it."""
    words = ["git", "log", "-1", "--format=%h", "--", *_CODE]
    told = subprocess.run(words, cwd=_ROOT, capture_output=True, text=True, check=False)
    return "+".join(filter(None, (fedloom.__version__, told.stdout.strip())))


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    """Runs one cell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("table")
    parser.add_argument("system", choices=system_names())
    parser.add_argument("epsilon", type=float)
    parser.add_argument("seed", type=int)
    parser.add_argument("--peers", type=Path, default=Path("peers"))
    asked = parser.parse_args()
    found = cell(asked.table, asked.system, asked.epsilon, asked.seed, asked.peers)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
