"""Questions to the answers of a release, and what they find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedloom.common.artifact import Artifact
from fedloom.common.errors import ConfigError
from fedloom.common.marginals import NoisyMarginals
from fedloom.common.sampling import sample_codes
from fedloom.privacy.inference.counted import CountedTables
from fedloom.privacy.inference.families import FAMILIES
from fedloom.privacy.inference.formula import Factor, parse_factor, parse_formula
from fedloom.privacy.inference.groups import counts, groups_of, means, shares
from fedloom.privacy.inference.item_shares import item_shares
from fedloom.privacy.inference.levels import single_term
from fedloom.privacy.inference.quantiles import quantiles
from fedloom.privacy.inference.regression import regress
from fedloom.privacy.inference.result import Estimate, Inference, notes_of
from fedloom.privacy.inference.sums import Rows, Sums
from fedloom.privacy.plan import Plan

__all__ = ["Question", "ask", "generator_rows"]

_ROWS = 20_000
_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked; exactly one of the first five is given.

    Attributes:
      formula: of a regression.
      mean: summand of a formula, such as "age" or "log(income)", whose mean is asked for.
      share: column whose values' shares are asked for, or "column == value"; of a set, items.
      quantile: column whose quantile is asked for.
      table: one column, or two, whose counts are asked for.
      family: of the regression; None takes logistic for a response of two values, else linear.
      by: what makes the groups of a mean, share or quantile.
      differences: whether differences to the first group are asked for.
      at: share of records below the quantile.
    """

    formula: str | None = None
    mean: str | None = None
    share: str | None = None
    quantile: str | None = None
    table: Sequence[str] = ()
    family: str | None = None
    by: str | None = None
    differences: bool = False
    at: float = 0.5

    def __post_init__(self) -> None:
        """Refuses a question that asks nothing, several things, or what does not go together."""
        asked = [self.formula, self.mean, self.share, self.quantile, self.table or None]
        if sum(one is not None for one in asked) != 1:
            raise ConfigError("ask one thing: a formula, or one of mean, share, quantile and table")
        if self.family is not None and self.formula is None:
            raise ConfigError("a family belongs to a formula; remove it")
        if self.family is not None and self.family not in FAMILIES:
            raise ConfigError(f"the family must be one of {', '.join(FAMILIES)}")
        grouped = self.mean or self.share or self.quantile
        if (self.by is not None or self.differences) and not grouped:
            raise ConfigError("groups are for means, shares and quantiles; remove by")
        if self.differences and (self.by is None or self.quantile is not None):
            raise ConfigError(
                "differences are those of means or shares between groups; say by what"
            )
        if len(self.table) > 2:
            raise ConfigError("a table has one column or two: studies count pairs of columns")


def ask(
    question: Question,
    *,
    plan: Plan,
    statistics: NoisyMarginals,
    generator: Artifact,
    epsilon: float,
) -> Inference:
    """Answers a question from the noisy sums of a study.

    Guarantee: post-processing of opened sums and of the generator that was made from them; it
    costs no privacy.

    Args:
      question: what is asked.
      plan: of the study.
      statistics: its opened sums.
      generator: drawn from for the part of the errors that sampling makes.
      epsilon: that the answers had cost.

    Raises:
      ConfigError: the question names what does not exist.
      NotMeasuredError: the answers do not tell, or noise hides it; says what would have to be
        bought.
    """
    sums = Sums(CountedTables(statistics), generator_rows(plan, generator))
    title, scale, ratio, estimates, notes = _found(sums, question, statistics)
    return Inference(
        title=title,
        scale=scale,
        estimates=tuple(estimates),
        records=sums.records,
        epsilon=epsilon,
        notes=(*notes, *notes_of(sums.kept_variance, sums.rows.alike, counts=bool(question.table))),
        ratio=ratio,
    )


def generator_rows(plan: Plan, generator: Artifact, rows: int = _ROWS) -> Rows:
    """Returns rows of a release's generator, the same every time."""
    encoding = plan.encoding
    features, classes = sample_codes(generator, encoding, rows, seed=_SEED)
    codes = {block.name: features[:, place] for place, block in enumerate(encoding.features)}
    if encoding.target is not None and encoding.target not in codes:
        codes[encoding.target] = classes
    return Rows(codes=codes, alike=plan.privacy.rows_per_person * plan.privacy.overlap)


_Answer = tuple[str, str, str | None, Sequence[Estimate], Sequence[str]]


def _found(sums: Sums, question: Question, statistics: NoisyMarginals) -> _Answer:
    schema = sums.tables.encoding.schema
    if question.formula is not None:
        formula = parse_formula(question.formula)
        described = schema.column(formula.response.column)
        two = formula.response.form == "equals" or described.kind == "category"
        family = FAMILIES[question.family or ("logistic" if two else "linear")]
        found = regress(sums, formula, family)
        title = f"{family.name} regression {question.formula}"
        return title, family.scale, family.ratio, found.estimates, found.notes
    by = None if question.by is None else parse_factor(question.by)
    within = "" if by is None else f" by {by.text}"
    if question.table:
        columns = [schema.column(name).name for name in question.table]
        estimates = counts(sums, columns[0], columns[1] if len(columns) > 1 else None)
        return f"records by {' and '.join(columns)}", "records at the sites", None, estimates, ()
    factor = parse_factor(question.mean or question.share or question.quantile or "")
    described = schema.column(factor.column)
    what = "differences of " if question.differences else ""
    if question.share is not None and described.kind == "set":
        estimates = item_shares(
            statistics, factor, by, differences=question.differences, alike=sums.rows.alike
        )
        note = (
            f"Of each record the first {described.maximum} items count; one without a value counts "
            "as a record without items."
        )
        title = f"{what}share of records with {factor.text}{within}"
        return title, "share", None, estimates, (note,)
    groups = groups_of(sums, by, factor.column)
    if question.mean is not None:
        term = single_term(sums.tables, factor)
        estimates = means(sums, term, groups, differences=question.differences)
        return f"{what}mean of {term.name}{within}", "mean", None, estimates, ()
    if question.quantile is not None:
        _plain(factor, "quantile")
        estimates = quantiles(sums, factor.column, question.at, groups)
        title = f"{100 * question.at:g}% quantile of {factor.column}{within}"
        return title, factor.column, None, estimates, ()
    if factor.form == "equals":
        term = single_term(sums.tables, factor)
        estimates = means(sums, term, groups, differences=question.differences)
    else:
        _plain(factor, "share")
        estimates = shares(sums, factor.column, groups, differences=question.differences)
    return f"{what}share of {factor.text}{within}", "share", None, estimates, ()


def _plain(factor: Factor, what: str) -> None:
    if factor.form != "column":
        raise ConfigError(f"a {what} is asked of a column; {factor.text} is none")
