"""A structural causal model with a known effect: does a synthetic table keep it?

24,000 records of a made-up population: age, sex and region act on smoking and on blood pressure,
severity follows from these, a drug is given to the severe and the old, and the chance of recovery
hangs on drug, severity and region together: the drug helps the severe and harms the others. What a
naive comparison says of the drug is therefore wrong even in its sign; only a table that keeps
columns together in threes gives the average effect. `effect_error` is how far the effect is from
the truth when it is estimated on a table by standardisation: boosting learns recovery from all
causes, and its chances with and without the drug are averaged over the table's records.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from fedloom.common.schema import Column, Schema

__all__ = ["SCHEMA", "TARGET", "effect_error", "records"]

Array = NDArray[Any]

TARGET = "recovered"
_YES_NO = ("no", "yes")
_REGIONS, _SEVERITIES = ("north", "south", "east"), ("mild", "moderate", "severe")
SCHEMA = Schema(
    (
        Column("age", "integer", minimum=18, maximum=95),
        Column("sex", "category", values=("f", "m")),
        Column("region", "category", values=_REGIONS),
        Column("smoker", "category", values=_YES_NO),
        Column("pressure", "real", minimum=60.0, maximum=240.0),
        Column("severity", "category", values=_SEVERITIES),
        Column("drug", "category", values=_YES_NO),
        Column("days", "integer", minimum=0, maximum=120),
        Column(TARGET, "category", values=_YES_NO),
    )
)
_CAUSES = ("age", "sex", "region", "smoker", "pressure", "severity")
_TRUTH_ROWS = 400_000


def records(rows: int, seed: int) -> pd.DataFrame:
    """Draws records."""
    return _drawn(rows, np.random.default_rng(seed))[0]


def effect_error(table: pd.DataFrame) -> float:
    """Returns by how much the drug's average effect on recovery is missed, as a share of records.

    Args:
      table: records, real or synthetic.
    """
    inputs = table[[*_CAUSES, "drug"]].copy()
    for column in SCHEMA.columns:
        if column.kind == "category" and column.name in inputs:
            inputs[column.name] = pd.Index(column.values).get_indexer(inputs[column.name])
    inputs = inputs.astype(float)
    model = HistGradientBoostingClassifier(random_state=0, early_stopping=False)
    model.fit(inputs, table[TARGET].astype(str) == "yes")
    given, withheld = (
        model.predict_proba(inputs.assign(drug=float(drug)))[:, 1].mean() for drug in (1, 0)
    )
    return abs(float(given - withheld) - _true_effect())


def _true_effect() -> float:
    given, withheld = _drawn(_TRUTH_ROWS, np.random.default_rng(0))[1:]
    return float(np.mean(given - withheld))


def _drawn(rows: int, rng: np.random.Generator) -> tuple[pd.DataFrame, Array, Array]:
    """Returns records, and the chance of recovery of each with and without the drug."""
    age = np.clip(rng.normal(55, 17, rows), 18, 95).astype(int)
    man = rng.random(rows) < 0.5
    region = rng.choice(3, rows, p=[0.5, 0.3, 0.2])
    smokes = rng.random(rows) < _chance(-1.2 + 0.5 * man + 0.6 * (region == 2) - 0.01 * (age - 55))
    pressure = np.clip(rng.normal(95 + 0.6 * age + 8 * smokes + 4 * man, 14), 60, 240)
    burden = 0.05 * (pressure - 130) + 0.8 * smokes + 0.03 * (age - 55) + rng.logistic(size=rows)
    severity = (burden > 0).astype(int) + (burden > 1.8)
    drug = rng.random(rows) < _chance(-1.5 + 1.3 * severity + 0.02 * (age - 55))
    days = np.minimum(rng.poisson(4 + 6 * severity * (1 + 0.5 * drug)), 120)
    base = 1.6 - 1.5 * severity - 0.02 * (age - 55) - 0.4 * smokes
    helps = np.where(severity == 2, 2.2, np.where(severity == 1, 0.6, -0.8)) + 0.7 * (region == 1)
    given, withheld = _chance(base + helps), _chance(base)
    recovered = rng.random(rows) < np.where(drug, given, withheld)
    frame = pd.DataFrame(
        {
            "age": age,
            "sex": np.where(man, "m", "f"),
            "region": np.array(_REGIONS)[region],
            "smoker": np.array(_YES_NO)[smokes.astype(int)],
            "pressure": pressure.round(1),
            "severity": np.array(_SEVERITIES)[severity],
            "drug": np.array(_YES_NO)[drug.astype(int)],
            "days": days,
            TARGET: np.array(_YES_NO)[recovered.astype(int)],
        }
    )
    return frame, given, withheld


def _chance(logits: Array) -> Array:
    chances: Array = 1.0 / (1.0 + np.exp(-logits))
    return chances
