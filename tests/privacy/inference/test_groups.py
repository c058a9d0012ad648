"""Means, shares, differences, counts and quantiles are those of the records but for their noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fedloom.common.errors import ConfigError, NotMeasuredError
from fedloom.privacy.inference.formula import parse_factor
from fedloom.privacy.inference.groups import counts, groups_of, means, shares
from fedloom.privacy.inference.levels import single_term
from fedloom.privacy.inference.quantiles import quantiles
from fedloom.privacy.inference.sums import Sums
from tests.inferred import drawn, sums_of

ROWS = 3000


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return drawn(ROWS, np.random.default_rng(9))


def by_group(sums: Sums, column: str, by: str | None, *, differences: bool = False):
    groups = groups_of(sums, None if by is None else parse_factor(by), column)
    term = single_term(sums.tables, parse_factor(column))
    return means(sums, term, groups, differences=differences)


@pytest.mark.parametrize("target", [None, "sex", "score"])
def test_without_noise_means_and_their_errors_are_those_of_the_records(frame, target):
    found = by_group(sums_of(frame, target), "age", "sex")
    for estimate, level in zip(found, ("f", "m"), strict=True):
        ages = frame.loc[frame["sex"] == level, "age"]
        assert estimate.name == f"sex: {level}"
        assert estimate.value == pytest.approx(ages.mean())
        assert estimate.std_error == pytest.approx(ages.std() / len(ages) ** 0.5, rel=1e-3)
    (everybody,) = by_group(sums_of(frame, target), "age", None)
    assert everybody.value == pytest.approx(frame["age"].mean())


def test_differences_have_the_error_of_both_groups(frame):
    (found,) = by_group(sums_of(frame), "age", "sex", differences=True)
    women, men = (frame.loc[frame["sex"] == level, "age"] for level in ("f", "m"))
    assert found.value == pytest.approx(men.mean() - women.mean())
    error = (women.var() / len(women) + men.var() / len(men)) ** 0.5
    assert found.std_error == pytest.approx(error, rel=1e-3)


def test_shares_and_counts_are_those_of_the_records(frame):
    sums = sums_of(frame, "sick")
    groups = groups_of(sums, parse_factor("group"), "sick")
    found = {one.name: one for one in shares(sums, "sick", groups, differences=False)}
    table = pd.crosstab(frame["sick"], frame["group"])
    share = table.loc["yes", "b"] / table["b"].sum()
    assert found["yes, group: b"].value == pytest.approx(share)
    assert found["yes, group: b"].std_error == pytest.approx(
        (share * (1 - share) / table["b"].sum()) ** 0.5, rel=1e-3
    )
    cells = {one.name: one.value for one in counts(sums, "sick", "group")}
    assert cells == pytest.approx(
        {f"{i}, {j}": table.loc[i, j] for i in table.index for j in table.columns}
    )


@pytest.mark.parametrize("by", [None, "sex", "sick"])
def test_quantiles_are_those_of_the_records(frame, by):
    sums = sums_of(frame, "sick")
    groups = groups_of(sums, None if by is None else parse_factor(by), "age")
    found = quantiles(sums, "age", 0.25, groups)
    parts = [frame] if by is None else [part for _, part in frame.groupby(by)]
    for estimate, part in zip(found, parts, strict=True):
        assert estimate.value == pytest.approx(part["age"].quantile(0.25), abs=1.5)
        assert estimate.lower < estimate.value < estimate.upper


def test_stated_noise_is_that_of_repeated_noise(frame):
    rng = np.random.default_rng(0)
    runs = [
        by_group(sums_of(frame, "sick", stds=(4.0, 6.0), rng=rng), "age", "group")
        for _ in range(120)
    ]
    for place in range(3):
        values = np.array([run[place].value for run in runs])
        stated = np.median([run[place].std_noise for run in runs])
        # A standard deviation from 120 draws is known within 13% at two of its own.
        assert np.std(values) == pytest.approx(stated, rel=0.25)


def test_a_group_that_noise_hides_is_not_told(frame):
    rare = frame.copy()
    rare.loc[rare["group"] == "c", "group"] = "a"
    rare.loc[:3, "group"] = "c"
    found = by_group(sums_of(rare, stds=(30.0, 5.0)), "age", "group")
    assert [one.value is None for one in found] == [False, False, True]
    with pytest.raises(NotMeasuredError, match="every group"):
        by_group(sums_of(frame, stds=(5000.0, 5000.0)), "age", "group")


def test_numbers_are_grouped_near_their_quartiles(frame):
    sums = sums_of(frame)
    groups = groups_of(sums, parse_factor("age"), "score")
    sizes = [sums.of(group.member).value for group in groups if group.member is not None]
    assert len(sizes) == 4 and min(sizes) > 0.15 * ROWS


@pytest.mark.parametrize("by", ["age", "log(age)"])
def test_what_makes_no_groups_is_refused(frame, by):
    with pytest.raises(ConfigError):
        groups_of(sums_of(frame), parse_factor(by), "age")
