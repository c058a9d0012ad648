"""Fixtures that several test folders share: a toy table and where the real data sets lie."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedloom.common.schema import Column, Schema

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps calibrated noise out of the user's cache, and the user's out of the tests."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets that are never committed; skips where it is absent."""
    shared = Path(os.environ.get("FEDLOOM_SHARED", ROOT.parent / "shared"))
    if not (shared / "data").is_dir():
        pytest.skip(f"no real data sets in {shared / 'data'}; set FEDLOOM_SHARED to their folder")
    return shared / "data"


@pytest.fixture(scope="session")
def toy_schema() -> Schema:
    """Every kind of column, with special, missing and other values."""
    return Schema(
        (
            Column("sex", "category", values=("0", "1")),
            Column("visits", "integer", minimum=0, maximum=20, special=(0,)),
            Column("income", "real", minimum=0, maximum=50_000, special=(0,), bins=8),
            Column("health", "real", minimum=0, maximum=100, nullable=True, bins=5),
            Column("seen", "datetime", minimum="2020-01-01", maximum="2020-12-31", bins=4),
            Column("town", "category", values=("north", "south"), nullable=True, other="elsewhere"),
            Column("label", "category", values=("no", "yes")),
        )
    )


@pytest.fixture
def toy_table() -> pd.DataFrame:
    """Two hundred made-up people who fit `toy_schema`."""
    rng = np.random.default_rng(20260101)
    rows = 200
    visits = rng.poisson(2, rows).clip(0, 20)
    days = rng.integers(0, 366, rows).astype("timedelta64[D]")
    return pd.DataFrame(
        {
            "sex": rng.integers(0, 2, rows).astype(str),
            "visits": visits,
            "income": np.where(rng.random(rows) < 0.1, 0.0, rng.gamma(2, 4000, rows).clip(0, 5e4)),
            "health": np.where(rng.random(rows) < 0.2, np.nan, rng.uniform(0, 100, rows)),
            "seen": (np.datetime64("2020-01-01") + days).astype("datetime64[s]"),
            "town": rng.choice(np.array(["north", "south", "west", None], dtype=object), rows),
            "label": np.where(visits > 0, "yes", "no"),
        }
    )
