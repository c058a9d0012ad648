"""Runs one synthesiser of smartnoise-synth on a table of codes; needs its own environment.

    python smartnoise_codes.py METHOD CODES.csv OUT.csv --epsilon 1 --delta 1e-5 --seed 0

METHOD is "mst", "aim" or "dpctgan". The table holds whole numbers alone: every column was cut on
the public bins that fedloom uses, so no budget is needed for bounds. Nothing of fedloom is
imported here.
"""

from __future__ import annotations

import argparse
import random

import numpy as np
import pandas as pd
import torch
from snsynth import Synthesizer

SETTINGS = {
    "mst": {},
    "aim": {"max_model_size": 20},
    "dpctgan": {},
}


def main() -> None:
    """Fits, samples as many rows as were given, writes them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("method", choices=SETTINGS)
    parser.add_argument("codes")
    parser.add_argument("out")
    parser.add_argument("--epsilon", type=float, required=True)
    parser.add_argument("--delta", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    random.seed(options.seed)
    np.random.seed(options.seed)
    torch.manual_seed(options.seed)
    table = pd.read_csv(options.codes).astype(str)
    names = list(table.columns)
    settings = SETTINGS[options.method]
    if options.method == "dpctgan":
        synthesizer = Synthesizer.create(options.method, epsilon=options.epsilon, **settings)
    else:
        synthesizer = Synthesizer.create(
            options.method, epsilon=options.epsilon, delta=options.delta, **settings
        )
    synthesizer.fit(table, categorical_columns=names, preprocessor_eps=0.0)
    synthesizer.sample(len(table)).to_csv(options.out, index=False)


if __name__ == "__main__":
    main()
