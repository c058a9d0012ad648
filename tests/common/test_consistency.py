import itertools

import numpy as np
import pytest

from fedloom.common.consistency import reconcile_marginals

SIZES = (5, 3, 4)
GROUPS = np.array([0, 0, 1, 2, 1, 0, 1, 2, 0, 0, 0, 1])
STARTS = np.cumsum([0, *SIZES])
LOOK_STD, PAIR_STD = 2.0, 0.7


def measure(table):
    """Count, cells and tables on groups of a full contingency table of one class."""
    cells, tables = [], {}
    for position in range(3):
        cells.append(table.sum(axis=tuple(a for a in range(3) if a != position)))
    for a, b in itertools.combinations(range(3), 2):
        joint = table.sum(axis=3 - a - b)
        rows, columns = (GROUPS[STARTS[i] : STARTS[i + 1]] for i in (a, b))
        grouped = np.zeros((rows.max() + 1, columns.max() + 1))
        np.add.at(grouped, (rows[:, None], columns[None, :]), joint)
        tables[a, b] = grouped
    return np.array([table.sum()]), np.concatenate(cells)[None], tables


def flat(count, cells, tables):
    parts = [count / LOOK_STD, cells[0] / LOOK_STD]
    return np.concatenate(parts + [table.ravel() / PAIR_STD for table in tables.values()])


def noisy(rng, scale=1.0):
    count, cells, tables = measure(np.zeros(SIZES))
    return (
        count + rng.normal(0, LOOK_STD, count.shape) * scale,
        cells + rng.normal(0, LOOK_STD, cells.shape) * scale,
        {
            pair: table + rng.normal(0, PAIR_STD, table.shape) * scale
            for pair, table in tables.items()
        },
    )


def found(count, cells, tables):
    return reconcile_marginals(
        count, cells, LOOK_STD, SIZES, groups=GROUPS, tables=[tables], pair_std=PAIR_STD
    )


def test_estimates_are_those_of_a_dense_regression():
    """Against least squares on the vectors of all sixty possible records."""
    design = np.stack(
        [flat(*measure(np.eye(60)[cell].reshape(SIZES))) for cell in range(60)], axis=1
    )
    measured = noisy(np.random.default_rng(20260101))
    table = np.linalg.lstsq(design, flat(*measured), rcond=None)[0].reshape(SIZES)
    count, cells, _ = measure(table)
    agreed = found(*measured)
    np.testing.assert_allclose(agreed.counts, count, atol=1e-8)
    np.testing.assert_allclose(agreed.one_way, cells, atol=1e-8)


@pytest.mark.parametrize("scale, accepted", [(1.0, True), (0.8, False)])
def test_estimates_have_the_variance_that_they_state(scale, accepted):
    """Ratios within 15% at 4,000 draws, 13 of them: false alarm below once in 10,000 seeds."""
    rng = np.random.default_rng(20260101)
    draws = [found(*noisy(rng, scale)) for _ in range(4000)]
    slopes = np.cov(
        np.concatenate([[a.counts[0], *a.one_way[0]] for a in draws]).reshape(4000, -1).T
    )
    # What is left of a cell's variance once the total is known.
    given_total = np.diag(slopes)[1:] - slopes[0, 1:] ** 2 / slopes[0, 0]
    ratios = given_total / draws[0].one_way_std ** 2
    ratios = np.append(ratios, slopes[0, 0] / draws[0].count_std ** 2)
    assert len(ratios) == sum(SIZES) + 1
    assert bool((abs(ratios - 1.0) < 0.15).all()) is accepted


def test_every_block_sums_to_the_count():
    agreed = found(*noisy(np.random.default_rng(1)))
    for start, stop in itertools.pairwise(STARTS):
        assert agreed.one_way[0, start:stop].sum() == pytest.approx(agreed.counts[0])


def test_counts_without_noise_are_left_alone():
    table = np.random.default_rng(1).integers(0, 9, SIZES).astype(float)
    count, cells, tables = measure(table)
    agreed = reconcile_marginals(
        count, cells, 0.0, SIZES, groups=GROUPS, tables=[tables], pair_std=0.0
    )
    np.testing.assert_allclose(agreed.counts, count)
    np.testing.assert_allclose(agreed.one_way, cells, atol=1e-9)
    assert agreed.count_std == 0.0 and not agreed.one_way_std.any()
