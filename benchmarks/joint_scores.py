"""How near a synthetic table is to real test records beyond single columns and one label.

What `joint_scores` returns, and what a smaller or larger number means:

- `tv_3`: mean total variation of triples of columns (200 of them by a fixed seed), 0 is best.
- `cramer`: mean absolute error of Cramer's V over all pairs of columns, 0 is best.
- `c2st`: AUC of gradient boosting that tells synthetic from real records, .5 is best.
- `rare_1`, `rare_2`: mean relative error of the counts of categories, and of pairs of categories,
  that 0.5 to 2% of the fitted records have, 0 is best.

Numbers are cut as `marginal_distance` cuts them, at deciles of the test records.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from marginal_distance import _codes
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from fedloom.common.schema import Schema

__all__ = ["joint_scores"]

Array = NDArray[Any]
# By column: codes of the real records, of the synthetic ones, and how many codes there are.
Coded = dict[str, tuple[Array, Array, int]]

_TRIPLES = 200
_RARE = (0.005, 0.02)
_MOST_CATEGORIES = 255


def joint_scores(
    fitted: pd.DataFrame, test: pd.DataFrame, synthetic: pd.DataFrame, schema: Schema
) -> dict[str, float]:
    """Returns the scores of a synthetic table; see the module."""
    names = list(schema.names)
    against_test = _coded(test, synthetic, schema)
    against_fitted = _coded(fitted, synthetic, schema)
    triples = list(itertools.combinations(names, 3))
    chosen = np.random.default_rng(0).permutation(len(triples))[:_TRIPLES]
    categories = [name for name in names if schema.column(name).kind == "category"]
    pairs = list(itertools.combinations(names, 2))
    return {
        "tv_3": float(np.mean([_distance(against_test, triples[place]) for place in chosen])),
        "cramer": float(np.mean([_cramer_error(against_test, pair) for pair in pairs])),
        "c2st": _told_apart(against_test, schema),
        "rare_1": _rare(against_fitted, [(name,) for name in categories]),
        "rare_2": _rare(against_fitted, itertools.combinations(categories, 2)),
    }


def _coded(real: pd.DataFrame, synthetic: pd.DataFrame, schema: Schema) -> Coded:
    return {c.name: _codes(c, real[c.name], synthetic[c.name]) for c in schema.columns}


def _cells(coded: Coded, columns: Sequence[str]) -> tuple[Array, Array, int]:
    """Returns the cells of real and synthetic records in the table of some columns."""
    real: Array = np.zeros(len(coded[columns[0]][0]), dtype=np.int64)
    made: Array = np.zeros(len(coded[columns[0]][1]), dtype=np.int64)
    size = 1
    for name in columns:
        first, second, codes = coded[name]
        real, made, size = real * codes + first, made * codes + second, size * codes
    return real, made, size


def _distance(coded: Coded, columns: Sequence[str]) -> float:
    real, made, _ = _cells(coded, columns)
    keys, places = np.unique(np.concatenate([real, made]), return_inverse=True)
    shares = [
        np.bincount(part, minlength=len(keys)) / len(part)
        for part in (places[: len(real)], places[len(real) :])
    ]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def _cramer_error(coded: Coded, pair: tuple[str, str]) -> float:
    real, made, size = _cells(coded, pair)
    shape = (coded[pair[0]][2], coded[pair[1]][2])
    values = [_cramer(np.bincount(part, minlength=size).reshape(shape)) for part in (real, made)]
    return abs(values[0] - values[1])


def _cramer(table: Array) -> float:
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    total = table.sum()
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / total
    squared = ((table - expected) ** 2 / expected).sum() / total
    return float(np.sqrt(squared / max(min(table.shape) - 1, 1)))


def _told_apart(coded: Coded, schema: Schema) -> float:
    real, made = (np.column_stack([part[side] for part in coded.values()]) for side in (0, 1))
    rng = np.random.default_rng(0)
    made = made[rng.permutation(len(made))[: len(real)]]
    rows = np.vstack([real, made])
    which = np.repeat([0, 1], [len(real), len(made)])
    order = rng.permutation(len(rows))
    first, second = np.split(order, [len(order) // 2])
    categorical = [
        schema.column(name).kind == "category" and size < _MOST_CATEGORIES
        for name, (_, _, size) in coded.items()
    ]
    model = HistGradientBoostingClassifier(
        early_stopping=False, random_state=0, categorical_features=categorical
    )
    model.fit(rows[first], which[first])
    return float(roc_auc_score(which[second], model.predict_proba(rows[second])[:, 1]))


def _rare(coded: Coded, tables: Iterable[Sequence[str]]) -> float:
    errors: list[float] = []
    for columns in tables:
        real, made, size = _cells(coded, columns)
        counts = np.bincount(real, minlength=size)
        found = np.bincount(made, minlength=size) * len(real) / len(made)
        rare = (counts >= _RARE[0] * len(real)) & (counts <= _RARE[1] * len(real))
        errors += (np.abs(found - counts)[rare] / counts[rare]).tolist()
    return float(np.mean(errors)) if errors else float("nan")
