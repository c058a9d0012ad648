"""Small images for tests of images: eight by eight digits, and shapes that are drawn here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedloom
from fedloom.common.schema import Schema

SITES = ("east", "north", "south", "west")
SCHEMA = """
[image]
height = 8
width = 8

[[column]]
name = "digit"
kind = "category"
values = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
"""
AGE = """
[[column]]
name = "age"
kind = "integer"
min = 0
max = 99
"""


@pytest.fixture(scope="session")
def digits() -> dict[str, np.ndarray[Any, Any]]:
    """scikit-learn's digits: `image` (1797, 8, 8) uint8 and `digit` as text."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return {
        "image": np.minimum(data.images * 16, 255).astype(np.uint8),
        "digit": data.target.astype(str),
    }


def digits_run(
    folder: Path, digits: Mapping[str, Any], *, rows: int, more: str = ""
) -> fedloom.Run:
    """Simulates a study of the first digits at four sites, epsilon 20, under a secure sum.

    Args:
      folder: for its files.
      digits: as of the fixture.
      rows: how many digits are records.
      more: further text of the study.
    """
    (folder / "schema.toml").write_text(SCHEMA)
    sites = "".join(f'[[site]]\nname = "{site}"\n' for site in SITES)
    (folder / "study.toml").write_text(
        '[study]\nname = "digits"\nschema = "schema.toml"\ntarget = "digit"\n'
        '[privacy]\nepsilon = 20.0\ndelta = 1e-5\ntrust = "secure-sum"\n'
        f'[model]\nkind = "image-mixture"\n{more}{sites}'
    )
    parts = np.array_split(np.random.default_rng(0).permutation(rows), len(SITES))
    tables: dict[str, str | Path] = {}
    for site, own in zip(SITES, parts, strict=True):
        tables[site] = folder / f"{site}.npz"
        np.savez(tables[site], image=digits["image"][own], digit=digits["digit"][own])
    return fedloom.simulate(folder / "study.toml", tables, out=folder / "run")


@pytest.fixture
def schema(tmp_path: Path) -> Schema:
    """The digits' schema."""
    path = tmp_path / "schema.toml"
    path.write_text(SCHEMA)
    return Schema.load(path)


@pytest.fixture
def study_at() -> Callable[..., Path]:
    """Writes a study of images, with its schema, into a folder."""

    def write(folder: Path, *, privacy: str = "", more: str = "", schema: str = SCHEMA) -> Path:
        (folder / "schema.toml").write_text(schema)
        sites = "".join(f'[[site]]\nname = "{site}"\n' for site in SITES)
        path = folder / "study.toml"
        path.write_text(
            '[study]\nname = "digits"\nschema = "schema.toml"\ntarget = "digit"\n'
            f"[privacy]\nepsilon = 10.0\ndelta = 1e-5\n{privacy}"
            f'[model]\nkind = "image-mixture"\n{more}{sites}'
        )
        return path

    return write
