import itertools
import math

import numpy as np
import pytest

from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.schema import Column, Schema
from fedloom.common.statistics import NoisyStatistics, OneWay, Pairwise, statistic


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


def test_sums_equal_outer_products_counted_one_by_one(encoding, toy_table):
    features, classes = codes_of(encoding, toy_table)
    counts, grams = slow_oracle(encoding, features, classes)
    one_way, pairwise = OneWay(encoding), Pairwise(encoding)
    vector = one_way.sum(features, classes)
    assert vector.dtype == np.int64 and vector.shape == (one_way.length,)
    np.testing.assert_allclose(one_way.counts(vector)[0], counts)
    pairs = pairwise.sum(features, classes)
    assert pairs.dtype == np.int64 and pairs.shape == (pairwise.length,)
    for label in range(encoding.num_classes):
        diagonal = np.diag(grams[label])
        np.testing.assert_allclose(
            np.concatenate(one_way.one_way(vector, label)), diagonal, atol=1e-9
        )
        np.testing.assert_array_equal(pairwise.gram(pairs, label), grams[label])
        np.testing.assert_allclose(
            np.concatenate(pairwise.one_way(pairs.astype(float), label)), diagonal, atol=1e-9
        )
    np.testing.assert_allclose(pairwise.counts(pairs)[0], counts)


@pytest.mark.parametrize("kind", ["oneway", "pairwise"])
def test_any_added_record_changes_the_same_number_of_cells_by_one(encoding, toy_table, kind):
    measured = statistic(kind, encoding)
    features, classes = codes_of(encoding, toy_table)
    blocks = len(encoding.features)
    ones = blocks + 1 if kind == "oneway" else blocks * (blocks + 1) // 2
    assert measured.l2_norm == pytest.approx(math.sqrt(ones), rel=1e-15)
    rng = np.random.default_rng(20260101)
    before = measured.sum(features, classes)
    for _ in range(20):
        record = np.array([[rng.integers(block.size) for block in encoding.features]])
        label = np.array([rng.integers(encoding.num_classes)])
        after = measured.sum(np.vstack([features, record]), np.concatenate([classes, label]))
        change = after - before
        assert sorted(set(change.tolist())) == [0, 1] and change.sum() == ones


def test_a_sum_over_sites_is_the_sum_over_the_pooled_table(encoding, toy_table):
    features, classes = codes_of(encoding, toy_table)
    measured = Pairwise(encoding)
    parts = [measured.sum(features[part::3], classes[part::3]) for part in range(3)]
    np.testing.assert_array_equal(sum(parts), measured.sum(features, classes))


def test_an_empty_table_sums_to_zero(encoding):
    none = np.empty((0, len(encoding.features)), dtype=np.int32)
    for kind in ("oneway", "pairwise"):
        assert not statistic(kind, encoding).sum(none, np.empty(0, dtype=np.int64)).any()


def test_length_is_known_from_the_encoding_alone(encoding):
    sizes = [block.size for block in encoding.features]
    tables = sum(a * b for a, b in itertools.combinations(sizes, 2))
    assert OneWay(encoding).length == encoding.num_classes * (1 + sum(sizes))
    assert Pairwise(encoding).length == encoding.num_classes * (sum(sizes) + tables)


def test_an_unknown_statistic_is_refused(encoding):
    with pytest.raises(ConfigError, match="known: oneway, pairwise"):
        statistic("threeway", encoding)


@pytest.fixture
def small():
    schema = Schema(
        (
            Column("a", "integer", minimum=0, maximum=4),
            Column("b", "category", values=("x", "y", "z")),
            Column("c", "category", values=("0", "1")),
        )
    )
    return Encoding(schema, None)


def least_squares(measured, encoding, vector, offset):
    """Dense regression on the vectors of all possible records: what consistent counts span."""
    rows = []
    for cell in itertools.product(*(range(block.size) for block in encoding.features)):
        rows.append(measured.sum(np.array([cell], dtype=np.int32), np.zeros(1, dtype=np.int64)))
    design = np.array(rows, dtype=float).T
    fitted = (design @ np.linalg.lstsq(design, vector, rcond=None)[0])[offset:]
    return [fitted[block.start : block.start + block.size] for block in encoding.features]


@pytest.mark.parametrize("kind", ["oneway", "pairwise"])
def test_one_way_estimates_are_the_least_squares_solution(small, kind):
    measured = statistic(kind, small)
    vector = np.random.default_rng(20260101).normal(size=measured.length) * 10
    expected = least_squares(measured, small, vector, offset=1 if kind == "oneway" else 0)
    for found, wanted in zip(measured.one_way(vector, 0), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-8)
    assert measured.counts(vector)[0][0] == pytest.approx(expected[0].sum(), abs=1e-8)


@pytest.mark.parametrize("scale, accepted", [(1.0, True), (0.8, False)])
def test_counts_have_the_variance_that_they_state(small, scale, accepted):
    """Ratio of variances within 10% at 4,000 draws: false alarm below once in 10,000 seeds."""
    measured = Pairwise(small)
    rng = np.random.default_rng(20260101)
    draws = [measured.counts(rng.normal(size=measured.length) * scale) for _ in range(4000)]
    ratio = np.var([counts[0] for counts, _ in draws]) / draws[0][1]
    assert bool(abs(ratio - 1.0) < 0.1) is accepted


def noisy(encoding, table, kind="pairwise", std=0.0):
    measured = statistic(kind, encoding)
    vector = measured.sum(*codes_of(encoding, table)).astype(float)
    vector += np.random.default_rng(1).normal(0, std, len(vector)) if std else 0.0
    return NoisyStatistics(
        encoding=encoding, kind=kind, vector=vector, noise_std=std, site_totals={"a": 12.5}
    )


def test_noisy_statistics_without_noise_count_records(encoding, toy_table):
    statistics = noisy(encoding, toy_table)
    assert statistics.total() == pytest.approx(len(toy_table))
    assert statistics.class_counts().sum() == pytest.approx(len(toy_table))
    for position in range(len(encoding.features)):
        parts = [statistics.one_way(label)[position] for label in range(encoding.num_classes)]
        assert np.sum(parts) == pytest.approx(len(toy_table))


def test_noisy_counts_are_never_negative(encoding, toy_table):
    statistics = noisy(encoding, toy_table.iloc[:0], std=50.0)
    assert (statistics.class_counts() >= 0).all() and statistics.total() >= 1.0


def test_noisy_statistics_survive_the_disk(encoding, toy_table, tmp_path):
    statistics = noisy(encoding, toy_table, std=2.0)
    statistics.save(tmp_path / "statistics")
    read = NoisyStatistics.load(tmp_path / "statistics", encoding)
    np.testing.assert_array_equal(read.vector, statistics.vector)
    assert (read.kind, read.noise_std, read.site_totals) == ("pairwise", 2.0, {"a": 12.5})
    (tmp_path / "statistics.safetensors").write_bytes(b"broken")
    with pytest.raises(ConfigError, match="cannot be read"):
        NoisyStatistics.load(tmp_path / "statistics", encoding)


@pytest.mark.parametrize("vector", [np.zeros(3), None])
def test_noisy_statistics_refuse_wrong_vectors(encoding, vector):
    if vector is None:
        vector = np.full(OneWay(encoding).length, np.nan)
    with pytest.raises(ConfigError, match="finite numbers"):
        NoisyStatistics(encoding=encoding, kind="oneway", vector=vector, noise_std=1.0)


def test_one_way_statistics_hold_no_pairs(encoding, toy_table):
    with pytest.raises(ConfigError, match="pairwise"):
        noisy(encoding, toy_table, kind="oneway").gram(0)
