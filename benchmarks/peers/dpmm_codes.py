"""MST and AIM of dpmm on a table of codes, with the package's defaults; see `given.py`."""

from __future__ import annotations

import numpy as np
from dpmm.models.aim import AIMGM
from dpmm.models.mst import MSTGM
from given import given

MODELS = {"mst": MSTGM, "aim": AIMGM}


def main() -> None:
    """Fits, samples as many rows as were given, writes them."""
    asked = given(list(MODELS))
    model = MODELS[asked.method](
        epsilon=asked.epsilon,
        delta=asked.delta,
        domain=asked.sizes,
        random_state=np.random.RandomState(asked.seed),
        n_jobs=1,
    )
    model.fit(asked.table)
    asked.hand_back(model.generate(len(asked.table)))


if __name__ == "__main__":
    main()
