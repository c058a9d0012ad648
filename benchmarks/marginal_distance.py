"""Distance of a synthetic table's marginals to those of a real test table.

Numeric columns are cut at the deciles of the test table, categories keep every value, and a
missing value is a category of its own. The distance of two marginals is their total variation.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fedloom.common.cells import category_key
from fedloom.common.errors import DataError
from fedloom.common.schema import Column, Schema

__all__ = ["Marginals", "absent_categories", "as_numbers", "as_text", "marginals"]

Array = np.ndarray[Any, np.dtype[Any]]

_MISSING = "\0missing"


@dataclass(frozen=True, kw_only=True)
class Marginals:
    """Total variations between two tables.

    Attributes:
      one_way: of each column.
      two_way: of each pair of columns, in schema order.
    """

    one_way: Mapping[str, float]
    two_way: Mapping[tuple[str, str], float]

    @property
    def mean_one_way(self) -> float:
        """Mean over columns."""
        return float(np.mean(list(self.one_way.values())))

    @property
    def mean_two_way(self) -> float:
        """Mean over pairs of columns; 0 if there is one column only."""
        return float(np.mean(list(self.two_way.values()))) if self.two_way else 0.0


def marginals(private_test: pd.DataFrame, synthetic: pd.DataFrame, schema: Schema) -> Marginals:
    """Compares all marginals of one and two columns.

    Args:
      private_test: real records; at least one.
      synthetic: synthetic records with the same columns; at least one.
      schema: tells which columns are numeric.

    Raises:
      DataError: a table is empty.
    """
    for name, table in (("test", private_test), ("synthetic", synthetic)):
        if not len(table):
            raise DataError(f"the {name} table is empty; marginals need at least one record")
    codes = {
        column.name: _codes(column, private_test[column.name], synthetic[column.name])
        for column in schema.columns
    }
    one_way = {name: _distance(a, b, size) for name, (a, b, size) in codes.items()}
    two_way = {}
    for first, second in itertools.combinations(schema.names, 2):
        (a, b, rows), (c, d, columns) = codes[first], codes[second]
        two_way[first, second] = _distance(a * columns + c, b * columns + d, rows * columns)
    return Marginals(one_way=one_way, two_way=two_way)


def absent_categories(
    private_test: pd.DataFrame, synthetic: pd.DataFrame, schema: Schema, *, above: float = 0.01
) -> list[tuple[str, str]]:
    """Returns (column, value) of categories more frequent than `above` that never were sampled."""
    absent = []
    for column in schema.columns:
        if column.kind != "category":
            continue
        shares = as_text(private_test[column.name]).value_counts(normalize=True)
        present = set(as_text(synthetic[column.name]))
        names = {category_key(value): value for value in column.values} | {_MISSING: "missing"}
        absent += [
            (column.name, names.get(key, key))
            for key in shares.index[shares > above]
            if key not in present
        ]
    return absent


def as_numbers(values: pd.Series[Any], column: Column) -> Array:
    """Returns a numeric or datetime column as float64, NaN where missing or not a number."""
    if column.kind == "datetime":
        times = pd.to_datetime(values, errors="coerce")
        numbers = times.to_numpy(dtype="datetime64[s]").astype(np.int64).astype(np.float64)
        numbers[times.isna().to_numpy()] = np.nan
        return np.asarray(numbers)
    parsed = pd.to_numeric(values, errors="coerce")
    return np.asarray(parsed.to_numpy(dtype=np.float64, na_value=np.nan))


def as_text(values: pd.Series[Any]) -> pd.Series[Any]:
    """Returns a category column as text under which equal categories are equal: 1, 1.0 and "1"."""
    keys = {value: category_key(str(value)) for value in values.dropna().unique()}
    return values.astype(object).map(lambda value: keys.get(value, _MISSING))


def _codes(
    column: Column, test: pd.Series[Any], synthetic: pd.Series[Any]
) -> tuple[Array, Array, int]:
    if column.kind == "category":
        both = pd.concat([as_text(test), as_text(synthetic)], ignore_index=True)
        codes, values = pd.factorize(both)
        return codes[: len(test)], codes[len(test) :], len(values)
    real, made = as_numbers(test, column), as_numbers(synthetic, column)
    known = real[~np.isnan(real)]
    deciles = np.arange(0.1, 0.95, 0.1)
    cuts = np.unique(np.quantile(known, deciles)) if len(known) else np.empty(0)
    return _cut(real, cuts), _cut(made, cuts), len(cuts) + 2


def _cut(values: Array, cuts: Array) -> Array:
    codes = np.searchsorted(cuts, values, side="right")
    return np.where(np.isnan(values), len(cuts) + 1, codes)


def _distance(first: Array, second: Array, size: int) -> float:
    p = np.bincount(first, minlength=size) / len(first)
    q = np.bincount(second, minlength=size) / len(second)
    return float(np.abs(p - q).sum() / 2)
