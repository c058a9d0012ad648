"""How well boosting learns other questions about a table's columns than the study's label.

`adult_questions` asks four of Adult: sex, being married (both without the column `relationship`,
which tells them), more than 40 hours a week, a bachelor's degree or more. `column_questions` asks
of any table whether a number exceeds its median in the test, or a category is the most frequent
one, of four columns that lie evenly over the schema. Boosting is trained on synthetic records and
tested on real ones; the score is the mean AUC. A generator that is good for the study's label only
does worse here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from marginal_distance import as_numbers, as_text
from utility import utility

from fedloom.common.schema import Column, Schema

__all__ = ["adult_questions", "column_questions"]

Asked = Callable[[pd.DataFrame], "pd.Series[bool]"]

_ANSWER = Column("asked", "category", values=("no", "yes"))
_ASKED_COLUMNS, _LEAST_SHARE = 4, 0.05
# By question: how a record answers it, and the columns that say it outright.
_QUESTIONS: dict[str, tuple[Asked, tuple[str, ...]]] = {
    "sex": (lambda t: t["sex"].astype(str) == "Male", ("sex", "relationship")),
    "married": (
        lambda t: t["marital-status"].astype(str).str.startswith("Married-civ"),
        ("marital-status", "relationship"),
    ),
    "hours": (lambda t: t["hours-per-week"].astype(float) > 40, ("hours-per-week",)),
    "degree": (
        lambda t: t["education-num"].astype(float) >= 13,
        ("education", "education-num"),
    ),
}


def adult_questions(train: pd.DataFrame, test: pd.DataFrame, schema: Schema) -> float:
    """Returns the mean AUC of boosting over the questions.

    Args:
      train: synthetic records, or real ones for comparison.
      test: real records that were not used to make `train`.
      schema: of Adult.
    """
    areas = [
        _area(train, test, schema, (asked(train), asked(test)), told)
        for asked, told in _QUESTIONS.values()
    ]
    return float(np.mean(areas))


def column_questions(
    train: pd.DataFrame, test: pd.DataFrame, schema: Schema, target: str | None
) -> float:
    """Returns the mean AUC of boosting over questions about single columns; NaN if none can be.

    Args:
      train: synthetic records, or real ones for comparison.
      test: real records that were not used to make `train`.
      schema: of the table.
      target: the study's label, which is not asked, but may be used.
    """
    asked = []
    for column in schema.columns:
        answers = _column_answers(train, test, column)
        if column.name != target and _LEAST_SHARE < answers[1].mean() < 1 - _LEAST_SHARE:
            asked.append((answers, column.name))
    places = np.unique(np.linspace(0, len(asked) - 1, _ASKED_COLUMNS).round()).astype(int)
    areas = [
        _area(train, test, schema, asked[place][0], (asked[place][1],))
        for place in places[: len(asked)]
    ]
    return float(np.mean(areas)) if areas else float("nan")


def _column_answers(
    train: pd.DataFrame, test: pd.DataFrame, column: Column
) -> tuple[pd.Series[bool], pd.Series[bool]]:
    made, real = train[column.name], test[column.name]
    if column.kind == "category":
        most = as_text(real).value_counts().index[0]
        return as_text(made) == most, as_text(real) == most
    middle = np.nanmedian(as_numbers(real, column))
    first, second = (pd.Series(as_numbers(values, column) > middle) for values in (made, real))
    return first, second


def _area(
    train: pd.DataFrame,
    test: pd.DataFrame,
    schema: Schema,
    answers: tuple[pd.Series[bool], pd.Series[bool]],
    told: tuple[str, ...],
) -> float:
    """Returns the AUC for one question, without the columns that tell its answer."""
    columns = tuple(column for column in schema.columns if column.name not in told)
    names = [column.name for column in columns]
    made, real = (
        table[names].assign(asked=np.where(answer, "yes", "no"))
        for table, answer in zip((train, test), answers, strict=True)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return utility(made, real, Schema((*columns, _ANSWER)), _ANSWER.name).boosting
