"""The columns of a formula as terms: one for a number, one a level for all but the first level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedloom.common.errors import ConfigError, NotMeasuredError
from fedloom.privacy.inference.families import Family
from fedloom.privacy.inference.formula import Factor, Formula
from fedloom.privacy.inference.levels import cells_of_value, levels, single_term
from fedloom.privacy.inference.sums import Sums
from fedloom.privacy.inference.terms import Term

__all__ = ["Design", "check_response"]

_MAX_COEFFICIENTS = 60


class Design:
    """Response and covariates as terms.

    Attributes:
      response: what is explained.
      terms: the covariates, without the intercept.
      notes: how they were coded, one sentence each.
    """

    def __init__(self, sums: Sums, formula: Formula) -> None:
        """Reads the columns of a formula.

        Raises:
          ConfigError: a column or value does not exist, or there are too many.
          NotMeasuredError: two of the columns were not counted together.
        """
        tables = sums.tables
        for factor in (formula.response, *formula.covariates):
            tables.encoding.schema.column(factor.column)
        self.notes: list[str] = []
        self.response = single_term(tables, formula.response)
        if self.response.name != formula.response.text:
            self.notes.append(f"The response is 1 where {self.response.name}, else 0.")
        columns = list(dict.fromkeys(factor.column for factor in formula.covariates))
        self.terms: list[Term] = []
        for factor in formula.covariates:
            others = [formula.response.column, *(c for c in columns if c != factor.column)]
            self.terms += self._terms(sums, factor, others)
        if len(self.terms) > _MAX_COEFFICIENTS:
            raise ConfigError(
                f"the formula has {len(self.terms)} coefficients, at most {_MAX_COEFFICIENTS} can "
                "be estimated; name fewer columns, or cut them"
            )

    def _terms(self, sums: Sums, factor: Factor, others: Sequence[str]) -> list[Term]:
        kind = sums.tables.encoding.schema.column(factor.column).kind
        listed = factor.form in ("levels", "cut") or (
            factor.form == "column" and kind == "category"
        )
        if not listed:
            return [single_term(sums.tables, factor)]
        found = levels(sums, factor.column, others, factor.cuts)
        base = 0
        if factor.form == "levels" and factor.value is not None:
            cell = cells_of_value(sums.tables, factor.column, factor.value)[0]
            base = next(k for k, term in enumerate(found) if term.values[cell] > 0)
        self.notes.append(f"{factor.column} is compared with {found[base].name}.")
        return [
            Term(
                name=f"{factor.column}: {term.name}",
                column=term.column,
                points=term.points,
                observed=term.observed,
            )
            for k, term in enumerate(found)
            if k != base
        ]


def check_response(sums: Sums, response: Term, family: Family) -> None:
    """Refuses a response that does not fit a family.

    Raises:
      ConfigError: it takes other values.
      NotMeasuredError: by the noisy counts it does not vary.
    """
    values = response.values[response.observed > 0]
    if family.name == "logistic" and not set(values.tolist()) <= {0.0, 1.0}:
        raise ConfigError(
            f"a logistic regression needs a response of two values; {response.name} has more: "
            f'write "{response.column} == VALUE ~ ..."'
        )
    if family.name == "poisson" and values.min() < 0:
        raise ConfigError(
            f"a Poisson regression needs a response of counts; {response.name} may be negative"
        )
    mean = response.mean(sums.tables.shares(response.column))
    if family.name != "linear" and not 0.0 < mean < (1.0 if family.name == "logistic" else np.inf):
        raise NotMeasuredError(f"by the noisy counts {response.name} does not vary")
