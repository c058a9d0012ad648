"""Made-up studies whose truth is known, for tests of inference: tables, noisy counts, rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from fedloom.common.encoding import Encoding
from fedloom.common.marginals import NoisyMarginals, OneWayMarginals, TwoWayMarginals, groups_of_one
from fedloom.common.schema import Column, Schema
from fedloom.privacy.inference.counted import CountedTables
from fedloom.privacy.inference.sums import Rows, Sums

SCHEMA = Schema(
    (
        Column("age", kind="integer", minimum=20, maximum=79),
        Column("sex", kind="category", values=("f", "m")),
        Column("group", kind="category", values=("a", "b", "c")),
        Column("score", kind="integer", minimum=-40, maximum=160, bins=201),
        Column("visits", kind="integer", minimum=0, maximum=60),
        Column("sick", kind="category", values=("no", "yes")),
    )
)
LINEAR = {"(intercept)": 4.0, "age": 0.5, "sex: m": 3.0, "group: b": 2.0, "group: c": -5.0}
LOGISTIC = {"(intercept)": -2.5, "age": 0.04, "sex: m": 0.6, "group: b": 0.4, "group: c": -0.5}
POISSON = {"(intercept)": -0.4, "age": 0.02, "sex: m": 0.3, "group: b": 0.2, "group: c": -0.3}


def drawn(rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draws records from the three models; covariates depend on each other."""
    z = rng.normal(size=rows)
    age = np.clip(np.round(48 + 13 * z), 20, 79).astype(int)
    sex = np.where(rng.random(rows) < 1 / (1 + np.exp(-0.5 * z)), "m", "f")
    group = np.where(rng.random(rows) < 0.5 + 0.1 * np.sign(z), "a", "b")
    group = np.where(rng.random(rows) < 0.25, "c", group)

    def predictor(effects: Mapping[str, float]) -> Any:
        return (
            effects["(intercept)"]
            + effects["age"] * age
            + effects["sex: m"] * (sex == "m")
            + effects["group: b"] * (group == "b")
            + effects["group: c"] * (group == "c")
        )

    score = np.round(predictor(LINEAR) + 9 * rng.normal(size=rows)).astype(int)
    visits = np.minimum(rng.poisson(np.exp(predictor(POISSON))), 60)
    sick = rng.random(rows) < 1 / (1 + np.exp(-predictor(LOGISTIC)))
    return pd.DataFrame(
        {
            "age": age,
            "sex": sex,
            "group": group,
            "score": np.clip(score, -40, 160),
            "visits": visits,
            "sick": np.where(sick, "yes", "no"),
        }
    )


def codes_of(frame: pd.DataFrame, encoding: Encoding) -> dict[str, Any]:
    """Returns the cell of each row in each column."""
    codes = encoding.encode(frame).codes
    return {block.name: codes[:, block.index] for block in encoding.blocks}


def counted(
    frame: pd.DataFrame,
    target: str | None,
    *,
    schema: Schema = SCHEMA,
    stds: tuple[float, float] = (0.0, 0.0),
    groups: Any = None,
    pairs: bool = True,
    rng: np.random.Generator | None = None,
) -> NoisyMarginals:
    """Counts a table; `stds` are those of the noise in one-way counts and in pairs."""
    encoding = Encoding(schema, target)
    codes = encoding.encode(frame).codes
    records = encoding.feature_codes(codes), encoding.classes(codes)
    groups = groups_of_one(encoding) if groups is None else groups
    noise = np.random.default_rng(0) if rng is None else rng

    def noisy(statistic: OneWayMarginals | TwoWayMarginals, std: float) -> Any:
        return statistic.sum(*records) + std * noise.normal(size=statistic.length)

    look = noisy(OneWayMarginals(encoding), stds[0])
    more: dict[str, Any] = {}
    if pairs:
        table = noisy(TwoWayMarginals(encoding, groups), stds[1])
        more = {"groups": groups, "pairs": table, "pair_std": stds[1]}
    return NoisyMarginals(encoding=encoding, look=look, look_std=stds[0], **more)


def sums_of(
    frame: pd.DataFrame, target: str | None = None, *, alike: int = 1, **options: Any
) -> Sums:
    """Returns the sums of a study of a table, with the table's own rows as the generator's."""
    statistics = counted(frame, target, **options)
    rows = Rows(codes=codes_of(frame, statistics.encoding), alike=alike)
    return Sums(CountedTables(statistics), rows)
