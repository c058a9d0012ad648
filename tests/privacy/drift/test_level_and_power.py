"""The test keeps its level whatever cells stand alone, and power is what it says: with twins."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from fedloom.privacy.drift import groups
from fedloom.privacy.drift.compare import Distance, distance_between, share_covariance
from fedloom.privacy.drift.groups import Grouped, grouped
from fedloom.privacy.drift.looked import Axis, LookedColumn
from fedloom.privacy.drift.result import LEVEL, DriftVerdict, _judged

ALIKE = np.array([0.5, 0.5])


def codes(rng: Any, shares: Any, records: int, std: float) -> LookedColumn:
    """Returns a category of a sample of a population, as a look counts it."""
    counts = rng.multinomial(records, shares) + rng.normal(0.0, std, len(shares))
    labels = tuple(str(place) for place in range(len(shares)))
    return LookedColumn(name="code", variance=std**2, axes=(), apart=labels, counts=counts)


def cells(rng: Any, shares: Any, records: int, std: float) -> LookedColumn:
    """Returns an axis of such a sample, with missing values of which there are none."""
    counts = codes(rng, shares, records, std).counts
    axis = Axis(
        starts=np.arange(len(shares)),
        end=float(len(shares)),
        counts=counts,
        members=np.ones(len(shares)),
    )
    missing = rng.normal(0.0, std, 1)
    return LookedColumn(
        name="axis", variance=std**2, axes=(axis,), apart=("missing",), counts=missing
    )


def alarms(look: Any, cells: int, sizes: tuple[int, int], std: float, times: int = 300) -> float:
    """Returns the share of pairs of looks at one even population that seem to differ at 0.05."""
    rng, shares = np.random.default_rng(1), np.full(cells, 1 / cells)
    found = []
    for _ in range(times):
        new, old = (look(rng, shares, size, std) for size in sizes)
        distance = distance_between(*grouped(new, old))
        if distance is not None:
            found.append(distance.p_value < 0.05)
    assert len(found) > times / 2
    return float(np.mean(found))


@pytest.mark.parametrize(
    ("count", "sizes", "std"),
    [(40, (10_000, 10_000), 60.0), (300, (12_000, 12_000), 15.0), (200, (40_000, 10_000), 15.0)],
)
def test_many_rare_codes_keep_the_level_and_a_choice_by_the_old_counts_does_not(
    count, sizes, std, monkeypatch
):
    # Four standard deviations of 300 draws above 0.05.
    assert alarms(codes, count, sizes, std) < 0.1
    monkeypatch.setattr(groups, "_pooled", lambda shares, variances: shares[1])
    assert alarms(codes, count, sizes, std) > 0.15


@pytest.mark.parametrize("sizes", [(10_000, 10_000), (2_000, 20_000), (20_000, 2_000)])
def test_runs_of_an_axis_keep_the_level_at_sizes_that_differ(sizes):
    assert alarms(cells, 64, sizes, 20.0) < 0.1


def test_the_pooled_share_is_uncorrelated_with_the_difference():
    rng = np.random.default_rng(2)
    variances = np.array([9.0, 1.0])
    shares = np.sqrt(variances)[:, None] * rng.normal(size=(2, 40_000))
    pooled, apart = groups._pooled(shares, variances), shares[0] - shares[1]
    assert abs(np.corrcoef(pooled, apart)[0, 1]) < 0.02


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.9, 0.1), (0.4, 0.3, 0.2, 0.1), (0.1,) * 10])
def test_the_widest_sum_is_bounded_and_nearly_reached(shares):
    counts = 3000 * np.array(shares)
    members = np.ones(len(shares))
    members[-1] = 12.0  # all others together
    one = Grouped(counts=counts, variances=members * 20.0**2)
    covariance = 2 * share_covariance(one, np.array(shares), 1)
    found = distance_between(one, one)
    exact = max(
        float(np.array(signs) @ covariance @ np.array(signs))
        for signs in itertools.product((-1.0, 1.0), repeat=len(shares))
    )
    assert exact <= found.widest * (1 + 1e-9)
    assert found.widest < 1.6 * exact


def test_two_groups_have_the_power_of_two_proportions():
    from scipy.stats import norm

    found = distance_between(*[Grouped(counts=1000 * ALIKE, variances=np.zeros(2))] * 2)
    z, std = norm.isf(0.005), np.sqrt(2 * 0.25 / 1000)
    expected = norm.sf(z - 0.1 / std) + norm.cdf(-z - 0.1 / std)
    assert found.power(0.1, 0.01) == pytest.approx(expected)
    assert found.power(1.0, 0.01) == pytest.approx(1.0)


def said(found: Distance | None, columns: int) -> DriftVerdict:
    """Returns the verdict on a column among others that did not move."""
    still = distance_between(*[Grouped(counts=1e6 * ALIKE, variances=np.zeros(2))] * 2)
    judged = _judged([("moved", found), *((str(one), still) for one in range(1, columns))])
    return next(one.verdict for one in judged if one.column == "moved")


def by_spread(found: Distance, columns: int) -> DriftVerdict:
    """The twin: what could hide is told by the spread of the distance, not by the test."""
    if found.p_value <= LEVEL / columns:
        return "drift"
    hidden = found.by_chance + 2 * found.std_error >= 0.1
    return "drowned by noise" if hidden else "no drift seen"


def verdicts(
    groups: int, size: int, std: float, shift: float, columns: int, say: Any
) -> list[DriftVerdict]:
    rng = np.random.default_rng(3)
    old = np.full(groups, 1 / groups)
    new = old + shift * np.where(np.arange(groups) % 2, 1.0, -1.0) * 2 / groups
    return [
        say(
            distance_between(*grouped(codes(rng, new, size, std), codes(rng, old, size, std))),
            columns,
        )
        for _ in range(150)
    ]


@pytest.mark.parametrize("columns", [1, 15])
@pytest.mark.parametrize(
    ("groups", "size", "std"),
    [(2, 700, 6), (4, 420, 5), (4, 1000, 22), (4, 1700, 8), (10, 2500, 12), (10, 2800, 8)],
)
def test_no_drift_seen_is_said_of_a_shift_of_a_tenth_at_most_once_in_ten(
    groups, size, std, columns
):
    found = verdicts(groups, size, std, 0.1, columns, said)
    # Within two standard deviations of 150 draws.
    assert found.count("no drift seen") <= 0.15 * len(found)


def test_a_twin_that_goes_by_the_spread_of_the_distance_misses_more():
    found = verdicts(4, 420, 5, 0.1, 15, by_spread)
    assert found.count("no drift seen") > 0.4 * len(found)


def test_records_enough_let_a_column_that_did_not_move_pass():
    found = verdicts(10, 4500, 12, 0.0, 15, said)
    assert found.count("no drift seen") > 0.95 * len(found)
