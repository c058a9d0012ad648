"""Columns counted over all classes: what a record adds, and how counts are put together."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fedloom.common.class_column_marginals import ClassColumnMarginals, NoisyClassColumns
from fedloom.common.column_marginals import ColumnMarginals
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.grid import FINE_BINS
from fedloom.common.marginals import NoisyMarginals, TwoWayMarginals
from fedloom.common.schema import Column, Schema

ENCODING = Encoding(
    Schema(
        (
            Column("a", "integer", minimum=0, maximum=9),
            Column("b", "category", values=("x", "y", "z"), nullable=True),
            Column("c", "category", values=("p", "q")),
            Column("t", "category", values=("0", "1")),
        )
    ),
    "t",
)
GROUPS = np.concatenate([np.arange(block.size) // 2 for block in ENCODING.features])


def records(rows: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    classes = rng.choice(2, rows, p=(0.7, 0.3))
    codes = np.stack([rng.integers(0, block.size, rows) for block in ENCODING.features], axis=1)
    codes[:, 0] = np.minimum(codes[:, 0] + 3 * classes, ENCODING.features[0].size - 1)
    return codes.astype(np.int32), classes


def noisy(
    std: float,
    pair_std: float | None,
    rows: int = 5000,
    seed: int = 1,
    class_std: float | None = None,
    stated: float | None = None,
) -> NoisyMarginals:
    codes, classes = records(rows)
    rng, columns = np.random.default_rng(seed), ColumnMarginals(ENCODING)
    look = columns.sum(codes, classes) + rng.normal(0, std, columns.length)
    if pair_std is None:
        return NoisyMarginals(encoding=ENCODING, look=look, look_std=std, by_class=False)
    pairs = TwoWayMarginals(ENCODING, GROUPS.astype(np.int32))
    counted = pairs.sum(codes, classes) + rng.normal(0, pair_std, pairs.length)
    of_classes = None
    if class_std is not None:
        apart = ClassColumnMarginals(ENCODING, GROUPS.astype(np.int32))
        sums = apart.sum(codes, classes) + rng.normal(0, class_std, apart.length)
        of_classes = NoisyClassColumns(counts=tuple(apart.blocks(sums)), std=stated or class_std)
    return NoisyMarginals(
        encoding=ENCODING,
        look=look,
        look_std=std,
        groups=GROUPS.astype(np.int32),
        pairs=counted,
        pair_std=pair_std,
        by_class=False,
        class_columns=of_classes,
    )


def exact(label: int | None = None) -> np.ndarray:
    codes, classes = records(5000)
    kept = slice(None) if label is None else classes == label
    return np.concatenate(
        [
            np.bincount(codes[kept, place], minlength=block.size)
            for place, block in enumerate(ENCODING.features)
        ]
    )


def test_any_added_record_changes_exactly_as_many_cells_by_one_as_the_norm_says():
    columns = ColumnMarginals(ENCODING)
    codes, classes = records(200)
    before = columns.sum(codes[:-1], classes[:-1])
    change = columns.sum(codes, classes) - before
    assert columns.l2_norm**2 == pytest.approx(len(ENCODING.features) + 1)
    assert sorted(change[change != 0]) == [1] * (len(ENCODING.features) + 1)


def test_without_noise_columns_and_groups_of_classes_are_exact():
    found = noisy(1e-9, 1e-9)
    np.testing.assert_allclose(
        np.sum([np.concatenate(found.one_way(label)) for label in (0, 1)], axis=0),
        exact(),
        atol=1e-3,
    )
    for label in (0, 1):
        for block, part in zip(ENCODING.features, found.one_way(label), strict=True):
            of = GROUPS[block.start : block.start + block.size]
            truth = exact(label)[block.start : block.start + block.size]
            np.testing.assert_allclose(np.bincount(of, part), np.bincount(of, truth), atol=1e-3)


def test_every_column_of_a_class_sums_to_the_class():
    found = noisy(30.0, 20.0)
    for label in (0, 1):
        sums = [part.sum() for part in found.one_way(label)]
        np.testing.assert_allclose(sums, found._agreed.counts[label], rtol=1e-9)


def test_classes_differ_in_size_alone_where_no_pairs_were_counted():
    found = noisy(1e-9, None)
    shares = [np.concatenate(found.one_way(label)) for label in (0, 1)]
    np.testing.assert_allclose(shares[0] / shares[0].sum(), shares[1] / shares[1].sum())


def test_the_errors_have_the_stated_standard_deviations():
    """Root mean square over 400 draws of noise and all cells, within a tenth."""
    columns, classes = [], []
    for seed in range(400):
        found = noisy(30.0, 20.0, seed=seed)
        parts = [np.concatenate(found.one_way(label)) for label in (0, 1)]
        columns.append(np.sum(parts, axis=0))
        size = float(found.class_counts()[0])
        sizes = np.concatenate([np.full(b.size, b.size) for b in ENCODING.features])
        classes.append(parts[0] - size / sizes)  # where the class's size is known
    assert np.std(columns, axis=0).mean() == pytest.approx(found.column_std().mean(), rel=0.1)
    assert np.std(classes, axis=0).mean() == pytest.approx(found.one_way_std().mean(), rel=0.15)


def test_a_groups_variance_is_that_of_its_count():
    """Over 400 draws of noise, within a fifth."""
    block, of = ENCODING.features[0], GROUPS[: ENCODING.features[0].size]
    counts = []
    for seed in range(400):
        found = noisy(30.0, 20.0, seed=seed)
        size = float(found.class_counts()[0])
        members = np.bincount(of)
        counts.append(np.bincount(of, found.one_way(0)[0]) - size * members / block.size)
    stated, seen = found.group_variances(0), np.var(counts, axis=0)
    assert seen.mean() == pytest.approx(stated.mean(), rel=0.2)


def spread_of_a_classes_groups(stated: float | None) -> tuple[float, float]:
    """Returns mean variance of a class's groups, their sum known: as stated, and over 400 draws."""
    block, of = ENCODING.features[0], GROUPS[: ENCODING.features[0].size]
    members, counts = np.bincount(of), []
    for seed in range(400):
        found = noisy(30.0, 20.0, seed=seed, class_std=10.0, stated=stated)
        size = float(found.class_counts()[0])
        counts.append(np.bincount(of, found.one_way(0)[0]) - size * members / block.size)
    known = 1.0 - 1.0 / len(members)
    return known * float(found.group_variances(0).mean()), float(np.var(counts, axis=0).mean())


def test_a_classes_groups_that_are_counted_apart_have_the_stated_variance():
    """Within a tenth; a twin that takes half of their noise for all of it is told."""
    stated, seen = spread_of_a_classes_groups(None)
    assert seen == pytest.approx(stated, rel=0.1)
    assert stated < 0.7 * noisy(30.0, 20.0).group_variances(0).mean()
    stated, seen = spread_of_a_classes_groups(5.0)
    assert seen != pytest.approx(stated, rel=0.5)


def test_without_noise_of_their_own_a_classes_groups_are_what_was_counted():
    found, of = noisy(30.0, 20.0, class_std=1e-6), GROUPS[: ENCODING.features[0].size]
    for label in (0, 1):
        groups = np.bincount(of, found.one_way(label)[0])
        np.testing.assert_allclose(groups, np.bincount(of, exact(label)[: len(of)]), atol=1e-3)


def test_counts_on_other_groups_than_those_of_the_pairs_are_refused():
    found = noisy(30.0, 20.0, class_std=10.0)
    of_classes = found.class_columns
    assert of_classes is not None
    with pytest.raises(ConfigError):
        dataclasses.replace(
            found, class_columns=NoisyClassColumns(counts=of_classes.counts[:-1], std=10.0)
        )
    with pytest.raises(ConfigError):
        dataclasses.replace(found, groups=None, pairs=None, pair_std=None)


def test_pairs_make_columns_more_certain_and_never_less():
    assert (noisy(30.0, 20.0).column_std() < noisy(30.0, None).column_std()).all()


def test_a_record_adds_at_most_one_to_each_level_of_a_fine_axis():
    schema = Schema(
        (
            Column("x", "integer", minimum=0, maximum=2_999, nullable=True, special=(-1,)),
            Column("y", "real", minimum=0.0, maximum=1.0),
            Column("t", "category", values=("0", "1")),
        )
    )
    encoding = Encoding(schema, "t", default_bins=FINE_BINS)
    measured = ColumnMarginals(encoding)
    assert [len(measured.levels(np.zeros(measured.length), place)) for place in (0, 1)] == [5, 5]
    rng = np.random.default_rng(0)
    sizes = [block.size for block in encoding.features]
    for _ in range(200):
        codes = np.array([[rng.integers(size) for size in sizes]])
        added = measured.sum(codes, np.array([rng.integers(2)]))
        assert set(np.unique(added)) <= {0, 1}
        on_axes = sum(
            code < block.num_bins for code, block in zip(codes[0], encoding.features, strict=True)
        )
        assert added.sum() == 1 + len(sizes) + 4 * on_axes <= round(measured.l2_norm**2)
    assert round(measured.l2_norm**2) == 1 + 2 * 5


def test_the_levels_of_a_fine_axis_are_sums_of_its_cells():
    schema = Schema(
        (
            Column("x", "integer", minimum=0, maximum=999),
            Column("z", "real", minimum=0.0, maximum=9.0),
        )
    )
    encoding = Encoding(schema, None, default_bins=FINE_BINS)
    measured = ColumnMarginals(encoding)
    codes = np.column_stack(
        [np.random.default_rng(1).integers(0, b.num_bins, 500) for b in encoding.features]
    )
    total = measured.sum(codes, np.zeros(500, dtype=np.int64))
    for place, block in enumerate(encoding.features):
        exact = np.bincount(codes[:, place], minlength=block.num_bins)
        for depth, counts in enumerate(measured.levels(total, place)):
            np.testing.assert_array_equal(
                counts, np.add.reduceat(exact, np.arange(0, len(exact), 4**depth))
            )
