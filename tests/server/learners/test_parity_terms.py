"""Which parities become terms of a tilt, and what they make of rows."""

from __future__ import annotations

import numpy as np
import pytest

from fedloom.common.parities import NoisyParities, class_signs, odd_rows, parity_sets, parity_sums
from fedloom.server.learners.parity_terms import WeightedRows, missed_parities
from fedloom.server.learners.tilt import tilt

COLUMNS, RECORDS, ROWS = 8, 20_000.0, 6_000
SETS = parity_sets(COLUMNS, 1)
TRUE = (0, 2, 3, 5)
SHARES = (0.3, 0.7)


def signs(classes: int) -> np.ndarray:
    return class_signs([True] * classes)


def rows_of(seed: int, classes: int = 2, upper: float = 0.5) -> dict[int, WeightedRows]:
    """Rows of independent columns."""
    rng = np.random.default_rng(seed)
    shares = SHARES if classes == 2 else (1.0 / classes,) * classes
    return {
        label: WeightedRows(
            halves=(rng.random((COLUMNS, ROWS)) < upper).astype(np.uint8),
            weights=np.full(ROWS, share * RECORDS / ROWS),
        )
        for label, share in enumerate(shares)
    }


def look_at(
    rows: dict[int, WeightedRows], std: float, agreement: float = 0.0, seed: int = 9
) -> NoisyParities:
    """The look at other rows, in which TRUE's parity agrees with the class's sign so often."""
    rng = np.random.default_rng(seed)
    sums = np.zeros((len(rows), len(SETS)))
    for label, part in rows.items():
        halves = part.halves.copy()
        want = label % 2
        odd = odd_rows(halves, (TRUE,))[0]
        flip = (odd != want) & (rng.random(ROWS) < agreement)
        halves[TRUE[0], flip] ^= 1
        sums[label] = parity_sums(halves, part.weights, SETS)
    noisy = signs(len(rows)) @ sums
    noisy += rng.normal(0, std, noisy.shape)
    return NoisyParities(halves=np.zeros(1, dtype=np.int32), sums=noisy, std=std)


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_the_true_set_alone_is_found(classes):
    noisy = look_at(rows_of(1, classes), 300.0, agreement=0.9)
    terms = missed_parities(noisy, signs(classes), rows_of(2, classes), others={}, strength=0.1)
    assert terms is not None and terms.sets == (TRUE,)
    assert set(terms.counts) == set(range(classes))


@pytest.mark.parametrize("upper", [0.5, 0.9])
@pytest.mark.parametrize("classes", [1, 2, 3])
def test_nothing_is_found_where_there_is_nothing(classes, upper):
    """The chance is a thousandth a run; skewed columns have large products by themselves."""
    for seed in range(3):
        noisy = look_at(rows_of(20 + seed, classes, upper), 300.0, seed=seed)
        rows = rows_of(40 + seed, classes, upper)
        assert missed_parities(noisy, signs(classes), rows, others={}, strength=0.1) is None


def test_tilted_rows_follow_the_parity_in_both_classes_and_nothing_else_moves():
    noisy = look_at(rows_of(1), 300.0, agreement=1.0)
    rows = rows_of(2)
    terms = missed_parities(noisy, signs(2), rows, others={}, strength=0.1)
    assert terms is not None
    for label, part in rows.items():
        records = float(part.weights.sum())
        asked = terms.asked(label, odd_rows(part.halves, terms.sets))
        (theta,) = tilt([asked], records, strength=0.1)
        weights = np.exp(asked.tables.sums(theta, asked.codes))
        weights /= weights.sum()
        right = float(weights[odd_rows(part.halves, (TRUE,))[0] == label % 2].sum())
        assert right > 0.97
        np.testing.assert_allclose(part.halves @ weights, 0.5, atol=0.04)


def test_a_class_without_rows_counts_with_what_its_columns_are_alone():
    """Its products are large only because its columns are skewed: that is no news."""
    rows = rows_of(1, 3, upper=0.1)
    noisy = look_at(rows_of(2, 3, upper=0.1), 100.0)
    some = {label: rows[label] for label in (0, 1)}
    others = {2: (RECORDS / 3, np.full(COLUMNS, 0.8))}
    assert missed_parities(noisy, signs(3), some, others=others, strength=0.1) is None
    assert missed_parities(noisy, signs(3), {}, others=others, strength=0.1) is None


def test_half_the_noise_that_is_added_makes_it_find_what_is_not_there():
    """The twin of the test for nothing: a look whose noise is stated too small is not believed."""
    noisy = look_at(rows_of(1), 600.0)
    told = NoisyParities(halves=noisy.halves, sums=noisy.sums, std=noisy.std / 2)
    assert missed_parities(noisy, signs(2), rows_of(2), others={}, strength=0.1) is None
    assert missed_parities(told, signs(2), rows_of(2), others={}, strength=0.1) is not None
