"""Means, shares, differences and counts, of all records or by group.

A mean of a group is its sum over its count, to first order; both come from the table of the two
columns. Where noise could make a group's count zero, its mean is not given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.errors import ConfigError, NotMeasuredError
from fedloom.privacy.inference.formula import Factor
from fedloom.privacy.inference.levels import intervals, levels, single_term
from fedloom.privacy.inference.result import Estimate, estimated
from fedloom.privacy.inference.sums import Sum, Sums
from fedloom.privacy.inference.terms import Term, number

__all__ = ["Group", "counts", "groups_of", "mean_of", "means", "shares"]

Array = NDArray[Any]

# A group is told only if its count is so many standard deviations of its noise.
SIGNAL = 3.0
_FEW_VALUES = 12
_QUARTERS = 4


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Group:
    """Records of one group, or all.

    Attributes:
      name: for people.
      member: indicator of the group; None for all records.
    """

    name: str
    member: Term | None


def groups_of(sums: Sums, by: Factor | None, column: str) -> list[Group]:
    """Returns the groups that a column is looked at in.

    Args:
      sums: of the study.
      by: what makes the groups; None for all records.
      column: what is looked at.

    Raises:
      ConfigError: the grouping is no list of values, or that of the column itself.
      NotMeasuredError: the two columns were not counted together.
    """
    if by is None:
        return [Group(name="all", member=None)]
    if by.column == column:
        raise ConfigError(f"column {column!r} cannot be grouped by itself")
    if by.form in ("clip", "log", "log1p", "square"):
        raise ConfigError(f"{by.text} makes no groups; write a column or cut({by.column}, 30, 50)")
    if by.form == "equals":
        terms = [single_term(sums.tables, by)]
        terms.append(_complement(terms[0], f"{by.column} != {by.value}"))
    elif by.form == "column" and _many(sums, by.column):
        terms = intervals(sums.tables, by.column, _quarters(sums, by.column))
    else:
        terms = levels(sums, by.column, [column], by.cuts)
    named = by.form != "equals"
    return [
        Group(name=f"{by.column}: {term.name}" if named else term.name, member=term)
        for term in terms
    ]


def means(sums: Sums, term: Term, groups: Sequence[Group], *, differences: bool) -> list[Estimate]:
    """Returns the mean of a term in each group, and how each differs from the first's.

    Args:
      sums: of the study.
      term: what is averaged.
      groups: as of `groups_of`.
      differences: whether differences are returned in place of means.

    Raises:
      NotMeasuredError: noise hides every group, or a pair was not counted.
    """
    values = term.points[term.observed > 0]
    low, high = float(values.min()), float(values.max())
    found = [(group.name, mean_of(sums, term, group)) for group in groups]
    if all(one is None for _, one in found):
        raise NotMeasuredError(
            f"noise hides every group of {term.name}; a larger epsilon, or fewer columns in the "
            "study, buys less noise"
        )
    if not differences:
        return [_estimate(sums, name, one, low, high) for name, one in found]
    first, base = found[0]
    reach = high - low
    apart = []
    for name, one in found[1:]:
        both = None
        if one is not None and base is not None:
            both = one[0] - base[0], one[1] + base[1] * -1.0
        apart.append(_estimate(sums, f"{name} − {first}", both, -reach, reach))
    if not apart:
        raise ConfigError("a difference needs at least two groups; name what makes them")
    return apart


def shares(
    sums: Sums, column: str, groups: Sequence[Group], *, differences: bool
) -> list[Estimate]:
    """Returns the share of each level of a column in each group."""
    others = [group.member.column for group in groups if group.member is not None]
    if _many(sums, column):
        found = intervals(sums.tables, column, _quarters(sums, column))
    else:
        found = levels(sums, column, others)
    estimates = []
    for term in found:
        for estimate in means(sums, term, groups, differences=differences):
            name = term.name if len(groups) == 1 else f"{term.name}, {estimate.name}"
            estimates.append(_renamed(estimate, name))
    return estimates


def counts(sums: Sums, column: str, other: str | None) -> list[Estimate]:
    """Returns how many records at the sites hold each level, or each pair of levels.

    These are numbers of the records themselves, so that noise is their only error.
    """
    first = levels(sums, column, [] if other is None else [other])
    pairs: list[tuple[str, Sum]] = []
    if other is None:
        pairs = [(term.name, sums.of(term)) for term in first]
    else:
        second = levels(sums, other, [column])
        pairs = [
            (f"{one.name}, {two.name}", sums.product(one, two)) for one in first for two in second
        ]
    return [
        estimated(
            name, total.value, noise=total.form.noise(sums.tables) ** 2, sampling=0.0, low=0.0
        )
        for name, total in pairs
    ]


_Found = tuple[float, Sum] | None


def mean_of(sums: Sums, term: Term, group: Group) -> _Found:
    """Returns a mean and the sum that its error is to first order; None where noise hides it."""
    tables = sums.tables
    center = term.mean(tables.shares(term.column))
    count = sums.observed(term) if group.member is None else _count(sums, term, group.member)
    if count.value < SIGNAL * count.form.noise(tables) or count.value <= 0.0:
        return None
    total = sums.of(term, center)
    if group.member is not None:
        share = group.member.mean(tables.shares(group.member.column))
        total = sums.product(term, group.member, center, share) + total * share
    mean = total.value / count.value
    return center + mean, (total + count * -mean) * (1.0 / count.value)


def _count(sums: Sums, term: Term, member: Term) -> Sum:
    if term.observed.all():
        return sums.of(member)
    observed = Term(
        name=f"{term.column} is known",
        column=term.column,
        points=term.observed[:, None],
        observed=np.ones(len(term.observed)),
    )
    return sums.product(member, observed)


def _estimate(sums: Sums, name: str, found: _Found, low: float, high: float) -> Estimate:
    if found is None:
        return Estimate(name=name, value=None)
    noise, sampling = sums.covariances([found[1]])
    return estimated(name, found[0], noise=noise[0, 0], sampling=sampling[0, 0], low=low, high=high)


def _many(sums: Sums, column: str) -> bool:
    grid = sums.tables.encoding.grids[sums.tables.block(column).index]
    return grid is not None and grid.size + len(grid.specials) > _FEW_VALUES


def _quarters(sums: Sums, column: str) -> list[float]:
    """Returns at most three cuts near the noisy quartiles, at first values of cells."""
    numbers = number(sums.tables, column)
    grid = sums.tables.encoding.grids[sums.tables.block(column).index]
    assert grid is not None
    held = sums.tables.shares(numbers.column)[: grid.size]
    below = np.cumsum(held) - held
    wanted = np.arange(1, _QUARTERS) / _QUARTERS * held.sum()
    places = np.unique(np.searchsorted(below, wanted))
    places = places[(places > 0) & (places < grid.size)]
    return [float(grid.starts[place]) for place in places]


def _complement(term: Term, name: str) -> Term:
    return Term(
        name=name,
        column=term.column,
        points=(1.0 - term.points) * term.observed[:, None],
        observed=term.observed,
    )


def _renamed(estimate: Estimate, name: str) -> Estimate:
    return Estimate(**{**estimate.to_dict(), "name": name})
