"""How well boosting learns other questions about Adult's columns than the study's label.

Four questions: sex, being married (both without the column `relationship`, which tells them), more
than 40 hours a week, a bachelor's degree or more. Boosting is trained on synthetic records and
tested on real ones; the score is the mean AUC. A generator that is good for the study's label only
does worse here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from utility import utility

from fedloom.common.schema import Column, Schema

__all__ = ["adult_questions"]

Asked = Callable[[pd.DataFrame], "pd.Series[bool]"]

_ANSWER = Column("asked", "category", values=("no", "yes"))
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
    areas = []
    for asked, told in _QUESTIONS.values():
        columns = tuple(column for column in schema.columns if column.name not in told)
        names = [column.name for column in columns]
        made, real = (
            table[names].assign(asked=np.where(asked(table), "yes", "no"))
            for table in (train, test)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = utility(made, real, Schema((*columns, _ANSWER)), _ANSWER.name)
        areas.append(found.boosting)
    return float(np.mean(areas))
