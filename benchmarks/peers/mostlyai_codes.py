"""TabularARGN of mostlyai-engine by DP-SGD on a table of codes; see `given.py`.

Values need no protection of their own, since the codes are public; half of delta is the training's,
as the package splits it. The noise is the least that lets all steps end within epsilon. Batches
hold a tenth of the records.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import pandas as pd
from given import Given, given
from mostlyai import engine
from opacus.accountants.utils import get_noise_multiplier

_EPOCHS, _BATCHES = 20, 10
_MODEL = "MOSTLY_AI/Medium"


def argn(asked: Given, folder: Path) -> pd.DataFrame:
    """Returns synthetic codes."""
    engine.set_random_state(asked.seed)
    table = asked.table.astype(str)
    batch = max(len(table) // _BATCHES, 1)
    noise = get_noise_multiplier(
        target_epsilon=asked.epsilon,
        target_delta=asked.delta / 2,
        sample_rate=1 / _BATCHES,
        steps=_EPOCHS * _BATCHES,
    )
    engine.split(
        tgt_data=table,
        workspace_dir=folder,
        model_type="TABULAR",
        tgt_encoding_types=dict.fromkeys(table.columns, "TABULAR_CATEGORICAL"),
    )
    engine.analyze(workspace_dir=folder, value_protection=False)
    engine.encode(workspace_dir=folder)
    engine.train(
        model=_MODEL,
        max_epochs=_EPOCHS,
        batch_size=2 ** int(math.log2(batch)),
        gradient_accumulation_steps=1,
        workspace_dir=folder,
        device="cpu",
        differential_privacy={
            "max_epsilon": asked.epsilon,
            "delta": asked.delta,
            "noise_multiplier": noise,
        },
    )
    engine.generate(sample_size=len(table), workspace_dir=folder)
    return pd.read_parquet(folder / "SyntheticData")


def main() -> None:
    """Fits, samples as many rows as were given, writes them."""
    asked = given(["argn"])
    with tempfile.TemporaryDirectory() as folder:
        made = argn(asked, Path(folder))
    made = made.apply(pd.to_numeric, errors="coerce").fillna(0)
    asked.hand_back(made)


if __name__ == "__main__":
    main()
