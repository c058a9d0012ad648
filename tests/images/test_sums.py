"""Each sum against plain loops over records, and its sensitivity under hostile records."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fedloom.common.images.bounded import gridded
from fedloom.common.images.look import ImageLook
from fedloom.common.images.shape import ImageShape
from fedloom.common.images.sums import (
    L2_NORM,
    ClassMeans,
    ClassSpread,
    GroupMeans,
    GroupSpread,
    Spread,
)

CLASSES, WIDTH, DIRECTIONS, GROUPS = 3, 12, 4, 2
RNG = np.random.default_rng(11)
MEANS = gridded(RNG.normal(size=(CLASSES, WIDTH)))
BASIS = gridded(np.linalg.qr(RNG.normal(size=(WIDTH, DIRECTIONS)))[0])
CENTRES = gridded(RNG.normal(size=(CLASSES, GROUPS, DIRECTIONS)))
SUMS = {
    "means": ClassMeans(num_classes=CLASSES, centre=MEANS[0], radius=2.0),
    "spread": Spread(means=MEANS, radius=2.0),
    "class spread": ClassSpread(means=MEANS, basis=BASIS, radius=1.5),
    "group means": GroupMeans(means=MEANS, basis=BASIS, centres=CENTRES, radius=1.5),
    "group spread": GroupSpread(means=MEANS, basis=BASIS, centres=CENTRES, radius=1.5),
}


def records(count=40, seed=0):
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, CLASSES, count)
    return gridded(MEANS[classes] + rng.normal(size=(count, WIDTH))), classes


def clipped(vector, radius):
    return vector * min(1.0, radius / max(np.linalg.norm(vector), 1e-300))


def nearest(vector, label):
    seen = (vector - MEANS[label]) @ BASIS
    group = int(np.argmin(((CENTRES[label] - seen) ** 2).sum(axis=1)))
    return group, seen - CENTRES[label, group]


@pytest.mark.parametrize("name", SUMS)
def test_one_record_changes_a_sum_by_no_more_than_is_said(name):
    asked = SUMS[name]
    vectors, classes = records(30)
    usual = asked.sum(vectors, classes)
    assert usual.dtype == np.int64 and usual.shape == (asked.length,)
    hostile = np.array([0.0, 1e6, -1e30, np.nan, np.inf])
    rng = np.random.default_rng(5)
    for number in range(30):
        canary = rng.choice(hostile, WIDTH) if number % 2 else rng.normal(size=WIDTH) * 100
        with np.errstate(all="ignore"):
            more = asked.sum(np.vstack([vectors, canary]), np.append(classes, number % CLASSES))
        change = (more - usual).astype(float)
        assert math.sqrt(change @ change) <= L2_NORM


@pytest.mark.parametrize("name", SUMS)
def test_a_far_record_uses_nearly_all_of_the_sensitivity(name):
    """Else noise would be wasted on a bound that nobody reaches."""
    far = np.full((1, WIDTH), 1e3)
    change = SUMS[name].sum(far, np.array([1])).astype(float)
    assert math.sqrt(change @ change) > 0.97 * L2_NORM


def test_a_record_clipped_after_the_sum_would_break_it():
    """The twin: an aggregate that is not clipped record by record has no such sensitivity."""
    vectors, classes = records(30)
    asked = SUMS["means"]
    unclipped = (vectors - MEANS[0]).sum(axis=0)
    twin = np.append(vectors, [np.full(WIDTH, 1e3)], axis=0)
    assert np.linalg.norm((twin - MEANS[0]).sum(axis=0) - unclipped) > asked.radius


def test_class_means_are_sums_of_clipped_differences():
    vectors, classes = records()
    expected = np.zeros((CLASSES, WIDTH))
    for vector, label in zip(vectors, classes, strict=True):
        expected[label] += clipped(vector - MEANS[0], 2.0)
    asked = SUMS["means"]
    found = asked.sums(asked.sum(vectors, classes).astype(float))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_spreads_are_sums_of_outer_products():
    vectors, classes = records()
    whole, own = np.zeros((WIDTH, WIDTH)), np.zeros((CLASSES, DIRECTIONS, DIRECTIONS))
    for vector, label in zip(vectors, classes, strict=True):
        beside = clipped(vector - MEANS[label], 2.0)
        whole += np.outer(beside, beside)
        seen = clipped((vector - MEANS[label]) @ BASIS, 1.5)
        own[label] += np.outer(seen, seen)
    spread, class_spread = SUMS["spread"], SUMS["class spread"]
    found = spread.matrix(spread.sum(vectors, classes).astype(float))
    np.testing.assert_allclose(found, whole, rtol=0.01, atol=0.06)
    lengths = ((vectors - MEANS[classes]) ** 2).sum()
    # Told up to eight squared radii, which no record here goes beyond.
    found_lengths = spread.within(spread.sum(vectors, classes).astype(float))
    assert found_lengths == pytest.approx(lengths, rel=1e-3)
    found = class_spread.matrices(class_spread.sum(vectors, classes).astype(float))
    np.testing.assert_allclose(found, own, rtol=0.01, atol=0.06)


def test_groups_are_counts_sums_and_products_about_the_nearest_centre():
    vectors, classes = records()
    counts = np.zeros((CLASSES, GROUPS))
    sums = np.zeros((CLASSES, GROUPS, DIRECTIONS))
    squares = np.zeros((CLASSES, GROUPS, DIRECTIONS, DIRECTIONS))
    for vector, label in zip(vectors, classes, strict=True):
        group, beside = nearest(vector, label)
        beside = clipped(beside, 1.5)
        counts[label, group] += 1
        sums[label, group] += beside
        squares[label, group] += np.outer(beside, beside)
    means, spread = SUMS["group means"], SUMS["group spread"]
    found = means.parts(means.sum(vectors, classes).astype(float))
    np.testing.assert_allclose(found[0], counts, atol=1e-3)
    np.testing.assert_allclose(found[1], sums, atol=0.01)
    found = spread.parts(spread.sum(vectors, classes).astype(float))
    np.testing.assert_allclose(found[0], counts, atol=1e-3)
    np.testing.assert_allclose(found[1], sums, atol=0.01)
    np.testing.assert_allclose(found[2], squares, rtol=0.01, atol=0.06)


@pytest.mark.parametrize("name", SUMS)
def test_no_records_give_zeros(name):
    none = SUMS[name].sum(np.zeros((0, WIDTH)), np.zeros(0, dtype=np.int64))
    assert not none.any()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_look_changes_by_no_more_than_is_said_whatever_the_image(channels):
    shape = ImageShape(height=8, width=9, channels=channels)
    look = ImageLook(shape, 2)
    rng = np.random.default_rng(2)
    some = rng.integers(0, 256, (5, 8, 9, channels), dtype=np.uint8)
    corner = np.zeros_like(some[:1])
    corner[0, 0, 8] = 255
    for canary in (some[:1] * 0, some[:1] * 0 + 255, corner, some[:1]):
        without = look.sum(some, np.array([0, 1, 0, 1, 1]))
        with_it = look.sum(np.concatenate([canary, some]), np.array([1, 0, 1, 0, 1, 1]))
        change = (with_it - without).astype(float)
        assert 0 < math.sqrt(change @ change) <= L2_NORM


def test_a_look_tells_tones_and_lengths():
    shape = ImageShape(height=8, width=8, channels=1)
    images = np.zeros((4, 8, 8, 1), dtype=np.uint8)
    images[2:, :4] = 255
    look = ImageLook(shape, 2)
    found = look.read(look.sum(images, np.array([0, 0, 1, 1])).astype(float), 0.0)
    np.testing.assert_allclose(found.tones[0, 0, 0], 2.0, atol=1e-5)
    np.testing.assert_allclose(found.tones[1, 0, [0, -1]], [1.0, 1.0], atol=1e-5)
    np.testing.assert_allclose(found.shared[0], found.tones[:, 0].sum(axis=0), atol=1e-5)
    np.testing.assert_allclose(found.lengths[0], 4 * 64 * 0.25, rtol=1e-4)
    # Two black images, and two that are half white.
    np.testing.assert_allclose(found.light, [2 * -0.5], rtol=1e-3)


def test_what_is_asked_of_all_classes_together_has_the_noise_of_one_sum():
    """The same asked by class and added up has the noise of every class: the tones do."""
    look = ImageLook(ImageShape(height=8, width=8, channels=1), 100)
    noise = np.random.default_rng(0).normal(0.0, float(L2_NORM), look.length)
    found = look.read(noise, float(L2_NORM))
    assert found.shared.std() == pytest.approx(found.shared_std, rel=0.4)
    assert found.tones.sum(axis=0).std() == pytest.approx(10 * found.stds[0], rel=0.4)
    assert found.shared_std < found.stds[0]
