"""A study with a hierarchy of codes and a column of parents ends in a release that verifies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fedloom
from fedloom.common.schema import Schema
from fedloom.common.study import parse_study

CODES = [f"{chapter}{number:02d}" for chapter in "xyz" for number in range(20)]
SCHEMA = Schema.from_dict(
    {
        "column": [
            {
                "name": "code",
                "kind": "category",
                "hierarchy": [[code, code[0]] for code in CODES],
                "parent": "chapter",
                "nullable": True,
                "other": "?",
            },
            {"name": "chapter", "kind": "category", "values": ["x", "y", "z"]},
            {"name": "days", "kind": "integer", "min": 1, "max": 9},
            {"name": "again", "kind": "category", "values": ["no", "yes"]},
        ]
    }
)


def records(rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    codes = rng.choice(CODES, rows, p=np.repeat([0.6, 0.3, 0.1], 20) / 20)
    chapters = pd.Series(codes).str[0]
    days = rng.integers(1, 10, rows)
    again = np.where(rng.random(rows) < np.where(chapters == "x", 0.8, 0.2), "yes", "no")
    return pd.DataFrame({"code": codes, "chapter": chapters, "days": days, "again": again})


@pytest.mark.parametrize(
    "model",
    [
        {"kind": "tree"},
        pytest.param({"kind": "mixture", "components": 64}, marks=pytest.mark.slow),
    ],
)
def test_chapters_follow_their_codes_in_a_release_that_verifies(
    tmp_path: Path, model: dict[str, Any]
) -> None:
    study = parse_study(
        {
            "study": {"name": "codes", "schema": "schema.toml", "target": "again"},
            "privacy": {"epsilon": 1.0, "delta": 1e-5},
            "site": [{"name": "north"}, {"name": "south"}],
            "model": model,
        },
        SCHEMA,
    )
    table = records(6_000)
    tables = {"north": table[::2], "south": table[1::2]}
    run = fedloom.simulate(study, tables, schema=SCHEMA, out=tmp_path / "run", insecure_seed=1)
    made = run.sample(3_000, seed=1)
    listed = made["code"].isin(CODES)
    assert (made["code"][listed].str[0] == made["chapter"][listed]).all()
    shares = made["code"][listed].str[0].value_counts(normalize=True)
    assert shares["x"] == pytest.approx(0.6, abs=0.08)
    assert fedloom.verify(run.release(tmp_path / "release"), key=None).ok
