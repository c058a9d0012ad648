"""The tables of the suite: public ones of six kinds, and made ones whose truth is known.

Public tables are those of `defaults.py` (at most 20,000 records to fit), Adult as in `tabular.py`,
the first encounters of `diabetes_130` with 20 columns, and RAND with persons protected, as in
`persons.py`. Made ones are those of `high_order.py`, `skewed.py` and `causal.py`. Nothing is
downloaded: a table that is not there raises ImportError or OSError, or ends the program.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import causal
import defaults
import high_order
import numpy as np
import pandas as pd
import persons
import skewed
import tabular
from other_targets import adult_questions, column_questions

from fedloom.common.schema import Schema

__all__ = ["CASES", "SITES", "Case", "load"]

SITES = 10
_MOST_ROWS = 20_000
_DIABETES_COLUMNS = (
    *("race", "gender", "age", "admission_type_id", "discharge_disposition_id"),
    *("admission_source_id", "time_in_hospital", "medical_specialty", "num_lab_procedures"),
    *("num_procedures", "num_medications", "number_outpatient", "number_emergency"),
    *("number_inpatient", "number_diagnoses", "A1Cresult", "insulin", "change", "diabetesMed"),
)
_TEST_SHARE = 0.2
_CAP = 3


@dataclass(frozen=True, kw_only=True)
class Case:
    """One table.

    Attributes:
      name: of the table.
      kind: what it stands for.
      fitted: records to fit.
      test: records to test.
      schema: public.
      target: the study's label, or None.
      learned: what models learn; the label, if there is no reason against it.
      others: mean AUC over other questions.
      further: a further score of a table, by name.
      privacy: what `[privacy]` says of persons; empty where records are protected.
      given: records by site, where sites are given; else they are dealt.
    """

    name: str
    kind: str
    fitted: pd.DataFrame
    test: pd.DataFrame
    schema: Schema
    target: str | None
    learned: str | None
    others: tabular.Questions
    further: dict[str, Callable[[pd.DataFrame], float]] = field(default_factory=dict)
    privacy: dict[str, Any] = field(default_factory=dict)
    given: dict[str, pd.DataFrame] = field(default_factory=dict)

    def sites(self, seed: int) -> dict[str, pd.DataFrame]:
        """Returns the records of each site: as given, or dealt evenly to ten by a seed."""
        if self.given:
            return self.given
        dealt = tabular.deal(self.fitted, SITES, None, seed)
        return {f"site-{number + 1}": table for number, table in enumerate(dealt)}

    def scores(self, table: pd.DataFrame) -> dict[str, Any]:
        """Returns all scores of a table, synthetic or real."""
        names = list(self.schema.names)
        table, fitted, test = (part[names] for part in (table, self.fitted, self.test))
        found = tabular.quality(
            table, test, self.schema, fitted, target=self.learned, others=self.others
        )
        return {**found, **{name: score(table) for name, score in self.further.items()}}


def load(name: str) -> Case:
    """Loads a table.

    Raises:
      ImportError, OSError: it is not there.
    """
    kind, loader = CASES[name]
    return loader(name, kind)


def _case(
    name: str,
    kind: str,
    fitted: pd.DataFrame,
    test: pd.DataFrame,
    schema: Schema,
    target: str | None,
    **more: Any,
) -> Case:
    return Case(
        name=name,
        kind=kind,
        fitted=fitted,
        test=test,
        schema=schema,
        target=target,
        **{"learned": target, "others": partial(column_questions, target=target), **more},
    )


def _public(name: str, kind: str) -> Case:
    table = defaults.load(name.removesuffix("-codes"))
    fitted = table.train.iloc[:_MOST_ROWS]
    return _case(name, kind, fitted, table.test, table.schema, table.target)


def _adult(name: str, kind: str) -> Case:
    return _case(name, kind, *tabular.split(), tabular.TARGET, others=adult_questions)


def _diabetes(name: str, kind: str) -> Case:
    path = defaults.shared("diabetes_130", "diabetic_data.csv.gz")
    table = pd.read_csv(path, keep_default_na=False, na_values="?", low_memory=False)
    table = table.sort_values("encounter_id").drop_duplicates("patient_nbr")
    codes = [column for column in table if str(column).endswith("_id")]
    table[codes] = table[codes].astype(str)
    soon = np.where(table["readmitted"] == "<30", "yes", "no")
    table = defaults.tidied(table[list(_DIABETES_COLUMNS)].assign(readmitted=soon))
    table = table.sample(frac=1.0, random_state=defaults.SPLIT_SEED)
    schema = Schema(tuple(defaults.described(table[column]) for column in table.columns))
    cut = int(_TEST_SHARE * len(table))
    test, fitted = (part.reset_index(drop=True) for part in (table[:cut], table[cut:]))
    return _case(name, kind, fitted, test, schema, "readmitted")


def _persons(name: str, kind: str) -> Case:
    table = persons.load(name.removesuffix("-persons"))
    return _case(
        name,
        kind,
        table.fitted,
        table.test,
        table.schema,
        table.target,
        learned=table.learned,
        given=table.sites,
        privacy={"unit": "person", "id": table.id_column, "rows_per_person": _CAP},
    )


def _high_order(name: str, kind: str) -> Case:
    fitted = high_order.made(name, high_order.ROWS, 0)
    test = high_order.made(name, high_order.TEST_ROWS, 1)

    def accuracy(table: pd.DataFrame) -> float:
        return high_order.learned(table, test)["accuracy"]

    schema, target = high_order.schema_of(name), high_order.TARGET
    return _case(name, kind, fitted, test, schema, target, further={"accuracy": accuracy})


def _skewed(name: str, kind: str) -> Case:
    fitted, test = skewed.records(skewed.ROWS, 5), skewed.records(skewed.TEST_ROWS, 6)
    return _case(name, kind, fitted, test, skewed.SCHEMA, skewed.TARGET)


def _causal(name: str, kind: str) -> Case:
    fitted = causal.records(high_order.ROWS, 1)
    test = causal.records(high_order.TEST_ROWS, 2)
    further = {"effect_error": causal.effect_error}
    return _case(name, kind, fitted, test, causal.SCHEMA, causal.TARGET, further=further)


# By name: what the table stands for, and its loader.
CASES: dict[str, tuple[str, Callable[[str, str], Case]]] = {
    "adult": ("mixed", _adult),
    "diabetes-130": ("sparse codes", _diabetes),
    "diabetes-codes": ("sparse codes", _public),
    "hmda": ("binary", _public),
    "loanapp": ("binary", _public),
    "breast": ("wide numeric", _public),
    "digits": ("wide numeric", _public),
    "diamonds": ("wide numeric", _public),
    "nass": ("imbalance", _public),
    "medpar": ("small", _public),
    "credit1000": ("small", _public),
    "attrition": ("small", _public),
    "churn": ("mixed", _public),
    "flchain": ("mixed", _public),
    "hotel": ("sparse codes", _public),
    "rand-persons": ("person", _persons),
    "skewed": ("made, wide numeric", _skewed),
    "causal": ("made, causal", _causal),
    "xor-2-of-10": ("made, high order", _high_order),
    "xor-3-of-10": ("made, high order", _high_order),
    "xor-4-of-8": ("made, high order", _high_order),
    "xor-5-of-10": ("made, high order", _high_order),
    "mod-3-of-9": ("made, high order", _high_order),
    "tree-5": ("made, high order", _high_order),
}
