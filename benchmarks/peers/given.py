"""What a peer's program is given on its command line, and how it hands rows back.

    python PROGRAM METHOD CODES.csv SIZES.json OUT.csv --epsilon 1 --delta 1e-5 --seed 0

The table holds whole numbers alone: every column was cut on the public bins that fedloom uses, so
no budget is needed for bounds, and SIZES says how many codes a column has. Programs run in an
environment of the peer's own and import nothing of fedloom.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

__all__ = ["Given", "given"]


@dataclass(frozen=True)
class Given:
    """A table of codes and a budget.

    Attributes:
      method: which synthesiser of the package.
      table: the codes.
      sizes: number of codes of each column.
      out: where the synthetic codes go.
      epsilon: of the budget.
      delta: of the budget.
      seed: of what can be seeded.
    """

    method: str
    table: pd.DataFrame
    sizes: dict[str, int]
    out: Path
    epsilon: float
    delta: float
    seed: int

    def hand_back(self, made: pd.DataFrame, **told: object) -> None:
        """Writes synthetic codes, and prints what is to be told of the run as JSON."""
        made[list(self.table.columns)].astype(int).to_csv(self.out, index=False)
        print(json.dumps(told), flush=True)


def given(methods: Sequence[str]) -> Given:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("method", choices=methods)
    parser.add_argument("codes", type=Path)
    parser.add_argument("sizes", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epsilon", type=float, required=True)
    parser.add_argument("--delta", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    asked = parser.parse_args()
    np.random.seed(asked.seed)
    return Given(
        method=asked.method,
        table=pd.read_csv(asked.codes),
        sizes=json.loads(asked.sizes.read_text()),
        out=asked.out,
        epsilon=asked.epsilon,
        delta=asked.delta,
        seed=asked.seed,
    )
