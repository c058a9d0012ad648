"""MST and AIM of smartnoise-synth on a table of codes; see `given.py`."""

from __future__ import annotations

import random

from given import given
from snsynth import Synthesizer

SETTINGS = {"mst": {}, "aim": {"max_model_size": 20}}


def main() -> None:
    """Fits, samples as many rows as were given, writes them."""
    asked = given(list(SETTINGS))
    random.seed(asked.seed)
    table = asked.table.astype(str)
    synthesizer = Synthesizer.create(
        asked.method, epsilon=asked.epsilon, delta=asked.delta, **SETTINGS[asked.method]
    )
    synthesizer.fit(table, categorical_columns=list(table.columns), preprocessor_eps=0.0)
    asked.hand_back(synthesizer.sample(len(table)))


if __name__ == "__main__":
    main()
