import itertools
import math

import numpy as np
import pytest

from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.marginals import (
    NoisyMarginals,
    OneWayMarginals,
    TwoWayMarginals,
    check_groups,
    group_sizes,
    groups_of_one,
)
from fedloom.common.statistic_kinds import statistic_kind


def codes_of(encoding, table):
    codes = encoding.encode(table).codes
    return encoding.feature_codes(codes), encoding.classes(codes)


def slow_oracle(encoding, feature_codes, classes):
    """One-hot rows and their outer products, one record at a time."""
    grams = np.zeros((encoding.num_classes, encoding.width, encoding.width))
    counts = np.zeros(encoding.num_classes)
    for row, label in zip(feature_codes, classes, strict=True):
        x = np.zeros(encoding.width)
        for block, code in zip(encoding.features, row, strict=True):
            x[block.start + code] = 1.0
        grams[label] += np.outer(x, x)
        counts[label] += 1
    return counts, grams


@pytest.fixture(params=["label", "visits", None])
def encoding(request, toy_schema):
    return Encoding(toy_schema, request.param)


def some_groups(encoding):
    """Groups of two cells each, out of order: the last cells come first."""
    parts = [(np.arange(block.size)[::-1] // 2).astype(np.int32) for block in encoding.features]
    return np.concatenate(parts)


def joined(encoding, groups):
    """(D, G) zeros and ones: which cell belongs to which group."""
    starts = np.cumsum([0, *group_sizes(encoding, groups)])
    matrix = np.zeros((encoding.width, starts[-1]))
    for position, block in enumerate(encoding.features):
        for cell in range(block.start, block.start + block.size):
            matrix[cell, starts[position] + groups[cell]] = 1.0
    return matrix


def statistics_of(encoding, table, groups=None, *, std=0.0, pairs=True, seed=1):
    rng = np.random.default_rng(seed)
    groups = groups_of_one(encoding) if groups is None else groups
    codes = codes_of(encoding, table)
    look = OneWayMarginals(encoding).sum(*codes) + std * rng.standard_normal(
        OneWayMarginals(encoding).length
    )
    if not pairs:
        return NoisyMarginals(encoding=encoding, look=look, look_std=std)
    measured = TwoWayMarginals(encoding, groups)
    return NoisyMarginals(
        encoding=encoding,
        look=look,
        look_std=std,
        groups=groups,
        pairs=measured.sum(*codes) + std * rng.standard_normal(measured.length),
        pair_std=std,
        site_totals={"a": 12.5},
    )


@pytest.mark.parametrize("choose", [groups_of_one, some_groups])
def test_sums_equal_outer_products_counted_one_by_one(encoding, toy_table, choose):
    groups = choose(encoding)
    counts, grams = slow_oracle(encoding, *codes_of(encoding, toy_table))
    look, cells = OneWayMarginals(encoding).rows(
        OneWayMarginals(encoding).sum(*codes_of(encoding, toy_table))
    )
    np.testing.assert_array_equal(look, counts)
    join = joined(encoding, groups)
    statistics = statistics_of(encoding, toy_table, groups)
    for label in range(encoding.num_classes):
        np.testing.assert_array_equal(cells[label], np.diag(grams[label]))
        exact = join.T @ grams[label] @ join
        starts = np.cumsum([0, *group_sizes(encoding, groups)])
        for start, stop in zip(starts, starts[1:], strict=False):
            exact[start:stop, start:stop] = 0.0
        np.testing.assert_array_equal(statistics.gram(label), exact)


@pytest.mark.parametrize("choose", [None, groups_of_one, some_groups])
@pytest.mark.parametrize("kind", ["one-way", "pairwise"])
def test_any_added_record_changes_the_same_number_of_cells_by_one(
    encoding, toy_table, kind, choose
):
    groups = groups_of_one(encoding) if choose is None else choose(encoding)
    measured = statistic_kind(kind).of(encoding, {"groups": groups})
    features, classes = codes_of(encoding, toy_table)
    blocks = len(encoding.features)
    ones = blocks + 1 if kind == "one-way" else blocks * (blocks - 1) // 2
    assert measured.l2_norm == pytest.approx(math.sqrt(ones), rel=1e-15)
    rng = np.random.default_rng(20260101)
    before = measured.sum(features, classes)
    assert before.dtype == np.int64 and before.shape == (measured.length,)
    for _ in range(20):
        record = np.array([[rng.integers(block.size) for block in encoding.features]])
        label = np.array([rng.integers(encoding.num_classes)])
        after = measured.sum(np.vstack([features, record]), np.concatenate([classes, label]))
        change = after - before
        assert sorted(set(change.tolist())) == [0, 1] and change.sum() == ones


def test_a_sum_over_sites_is_the_sum_over_the_pooled_table(encoding, toy_table):
    features, classes = codes_of(encoding, toy_table)
    measured = TwoWayMarginals(encoding, some_groups(encoding))
    parts = [measured.sum(features[part::3], classes[part::3]) for part in range(3)]
    np.testing.assert_array_equal(sum(parts), measured.sum(features, classes))


def test_an_empty_table_sums_to_zero(encoding):
    none = np.empty((0, len(encoding.features)), dtype=np.int32)
    for kind in ("one-way", "pairwise"):
        measured = statistic_kind(kind).of(encoding, {})
        assert not measured.sum(none, np.empty(0, dtype=np.int64)).any()


def test_length_is_known_from_encoding_and_groups_alone(encoding):
    sizes = [block.size for block in encoding.features]
    assert OneWayMarginals(encoding).length == encoding.num_classes * (1 + sum(sizes))
    for groups in (groups_of_one(encoding), some_groups(encoding)):
        sizes = group_sizes(encoding, groups)
        tables = sum(a * b for a, b in itertools.combinations(sizes, 2))
        assert TwoWayMarginals(encoding, groups).length == encoding.num_classes * tables
        check_groups(encoding, groups, encoding.num_classes * tables)
        with pytest.raises(ConfigError, match="join more cells"):
            check_groups(encoding, groups, encoding.num_classes * tables - 1)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda groups: groups[:-1],
        lambda groups: groups.astype(np.int64),
        lambda groups: groups + np.int32(1),
        lambda groups: groups - np.int32(1),
        lambda groups: groups * np.int32(2),
    ],
)
def test_groups_that_are_none_are_refused(encoding, wrong):
    with pytest.raises(ConfigError, match="groups"):
        check_groups(encoding, wrong(groups_of_one(encoding)), 10**9)


def test_an_unknown_statistic_is_refused():
    with pytest.raises(ConfigError, match="threeway"):
        statistic_kind("threeway")


@pytest.mark.parametrize("pairs", [True, False])
def test_noisy_statistics_without_noise_count_records(encoding, toy_table, pairs):
    statistics = statistics_of(encoding, toy_table, some_groups(encoding), pairs=pairs)
    assert statistics.has_pairs is pairs
    assert statistics.total() == pytest.approx(len(toy_table))
    counts, grams = slow_oracle(encoding, *codes_of(encoding, toy_table))
    np.testing.assert_allclose(statistics.class_counts(), counts, atol=1e-6)
    for label in range(encoding.num_classes):
        found = np.concatenate(statistics.one_way(label))
        np.testing.assert_allclose(found, np.diag(grams[label]), atol=1e-6)


def test_noisy_counts_are_never_negative(encoding, toy_table):
    statistics = statistics_of(encoding, toy_table.iloc[:0], std=50.0)
    assert (statistics.class_counts() >= 0).all() and statistics.total() >= 1.0


@pytest.mark.parametrize("look", [np.zeros(3), None])
def test_noisy_statistics_refuse_wrong_vectors(encoding, look):
    if look is None:
        look = np.full(OneWayMarginals(encoding).length, np.nan)
    with pytest.raises(ConfigError, match="finite numbers"):
        NoisyMarginals(encoding=encoding, look=look, look_std=1.0)


def test_pairs_without_groups_are_refused(encoding):
    look = np.zeros(OneWayMarginals(encoding).length)
    with pytest.raises(ConfigError, match="together"):
        NoisyMarginals(encoding=encoding, look=look, look_std=1.0, pairs=np.zeros(3))


def test_one_way_statistics_hold_no_pairs(encoding, toy_table):
    with pytest.raises(ConfigError, match="pairwise"):
        statistics_of(encoding, toy_table, pairs=False).gram(0)
