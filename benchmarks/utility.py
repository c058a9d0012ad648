"""What a model learns from synthetic records, measured on real ones.

Gradient boosting and logistic regression are trained on a synthetic table and tested on a real
one. The score is the area under the ROC curve, one class against the rest and averaged over
classes by their frequency if there are more than two. A numeric target becomes the question
whether it exceeds its median in the test table. All transformations are fitted on the training
table.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from marginal_distance import as_numbers, as_text
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from fedloom.common.errors import DataError
from fedloom.common.schema import Column, Schema

__all__ = ["Utility", "utility"]

Array = np.ndarray[Any, np.dtype[Any]]

_MAX_BOOSTED_CATEGORIES = 254


@dataclass(frozen=True, kw_only=True)
class Utility:
    """Areas under the ROC curve on the test table; 0.5 is chance.

    Attributes:
      boosting: of gradient boosted trees.
      logistic: of logistic regression.
    """

    boosting: float
    logistic: float


def utility(
    train: pd.DataFrame, private_test: pd.DataFrame, schema: Schema, target: str, *, seed: int = 0
) -> Utility:
    """Trains both classifiers on one table and scores them on another.

    Records without a target are left out. A class that the training table lacks gets the score
    of a constant; a training table with a single class gets 0.5.

    Args:
      train: synthetic records, or real ones for comparison.
      private_test: real records that were not used to make `train`.
      schema: tells which columns are numeric.
      target: the column to predict.
      seed: of the boosting's random choices.

    Raises:
      DataError: the test table has fewer than two classes.
    """
    label = schema.column(target)
    train_y, test_y = _labels(label, train[target], private_test[target])
    train, train_y = train[train_y >= 0], train_y[train_y >= 0]
    private_test, test_y = private_test[test_y >= 0], test_y[test_y >= 0]
    if len(np.unique(test_y)) < 2:
        raise DataError(f"the test table holds fewer than two classes of '{target}'")
    if len(np.unique(train_y)) < 2:
        return Utility(boosting=0.5, logistic=0.5)
    columns = [column for column in schema.columns if column.name != target]
    return Utility(
        boosting=_boosting(columns, train, train_y, private_test, test_y, seed),
        logistic=_logistic(columns, train, train_y, private_test, test_y),
    )


def _labels(label: Column, train: pd.Series[Any], test: pd.Series[Any]) -> tuple[Array, Array]:
    """Codes the classes of both tables alike; -1 where the target is missing."""
    if label.kind != "category":
        train_values, test_values = as_numbers(train, label), as_numbers(test, label)
        middle = np.nanmedian(test_values)
        return tuple(  # type: ignore[return-value]
            np.where(np.isnan(values), -1, (values > middle).astype(np.int64))
            for values in (train_values, test_values)
        )
    values = pd.Index(sorted(set(as_text(test[test.notna()]))))
    # Labels that the test table does not hold cannot be scored; they train as "none of these".
    codes = values.get_indexer(as_text(train[train.notna()]))
    train_codes = np.full(len(train), -1, dtype=np.int64)
    train_codes[train.notna().to_numpy()] = np.where(codes < 0, len(values), codes)
    test_codes = np.full(len(test), -1, dtype=np.int64)
    test_codes[test.notna().to_numpy()] = values.get_indexer(as_text(test[test.notna()]))
    return train_codes, test_codes


def _boosting(
    columns: list[Column],
    train: pd.DataFrame,
    train_y: Array,
    test: pd.DataFrame,
    test_y: Array,
    seed: int,
) -> float:
    train_x, test_x, categorical = [], [], []
    for column in columns:
        if column.kind == "category":
            known = pd.Index(as_text(train[column.name]).value_counts().index)
            train_x.append(_boosted_codes(known, train[column.name]))
            test_x.append(_boosted_codes(known, test[column.name]))
        else:
            numbers = as_numbers(train[column.name], column)
            if np.isnan(numbers).all():
                continue  # nothing to split on, and binning needs a number
            train_x.append(numbers)
            test_x.append(as_numbers(test[column.name], column))
        categorical.append(column.kind == "category")
    model = HistGradientBoostingClassifier(
        categorical_features=categorical, early_stopping=False, random_state=seed
    )
    model.fit(np.column_stack(train_x), train_y)
    return _area(model.predict_proba(np.column_stack(test_x)), model.classes_, test_y)


def _boosted_codes(known: pd.Index[Any], values: pd.Series[Any]) -> Array:
    """Codes by frequency, the rarest beyond the limit together; NaN for values not trained on."""
    codes = known.get_indexer(as_text(values)).astype(np.float64)
    return np.where(codes < 0, np.nan, np.minimum(codes, _MAX_BOOSTED_CATEGORIES))


def _logistic(
    columns: list[Column],
    train: pd.DataFrame,
    train_y: Array,
    test: pd.DataFrame,
    test_y: Array,
) -> float:
    train_x, test_x = [], []
    for column in columns:
        fitted, applied = _logistic_columns(column, train[column.name], test[column.name])
        train_x.append(fitted)
        test_x.append(applied)
    model = LogisticRegression(max_iter=300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(np.column_stack(train_x), train_y)
    return _area(model.predict_proba(np.column_stack(test_x)), model.classes_, test_y)


def _logistic_columns(
    column: Column, train: pd.Series[Any], test: pd.Series[Any]
) -> tuple[Array, Array]:
    """One-hot categories; standardised numbers, the median for missing ones, and an indicator."""
    if column.kind == "category":
        known = pd.Index(sorted(set(as_text(train))))
        indicators = [known.get_indexer(as_text(values)) for values in (train, test)]
        fitted, applied = ((codes[:, None] == np.arange(len(known))) for codes in indicators)
        return fitted.astype(np.float64), applied.astype(np.float64)
    train_values, test_values = as_numbers(train, column), as_numbers(test, column)
    known_values = train_values[~np.isnan(train_values)]
    if not len(known_values):
        return np.zeros((len(train), 1)), np.zeros((len(test), 1))
    middle, mean, std = np.median(known_values), known_values.mean(), known_values.std()
    parts = []
    for values in (train_values, test_values):
        missing = np.isnan(values)
        scaled = (np.where(missing, middle, values) - mean) / (std if std > 0 else 1.0)
        parts.append(np.column_stack([scaled, missing]))
    return parts[0], parts[1]


def _area(scores: Array, classes: Array, truth: Array) -> float:
    total, area = 0, 0.0
    known = np.unique(truth)
    for value in known[1:] if len(known) == 2 else known:
        positive = truth == value
        column = np.flatnonzero(classes == value)
        part = roc_auc_score(positive, scores[:, column[0]]) if len(column) else 0.5
        area += float(part) * int(positive.sum())
        total += int(positive.sum())
    return area / total
