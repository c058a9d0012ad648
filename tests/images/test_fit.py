"""From noisy sums to a generator: what is known comes out, and noise alone is not believed."""

from __future__ import annotations

import numpy as np
import pytest

from fedloom.common.images.bends import BENDS
from fedloom.common.images.coordinates import Coordinates
from fedloom.common.images.generator import ImageGenerator
from fedloom.common.images.look import ImageLook
from fedloom.common.images.shape import ImageShape
from fedloom.common.images.tone import apply_tone, tone_curve
from fedloom.common.images.vectors import image_vectors
from fedloom.server.images.algebra import (
    above_noise,
    edge_of,
    joined,
    k_means,
    nonnegative,
    root_of,
)
from fedloom.server.images.fit import ImageFit, NoisyTotal
from fedloom.server.images.shrinkage import gathered, shrunk_moves, shrunk_shapes
from fedloom.server.images.tones import class_tones, own_tones, shared_tones, tilted

SHAPE = ImageShape(height=12, width=12, channels=1)


def symmetric(rng, width, std):
    noise = rng.normal(0.0, std, (width, width))
    upper = np.triu(noise, 1)
    return upper + upper.T + np.diag(rng.normal(0.0, std * np.sqrt(2), width))


def test_noise_alone_does_not_stand_out_and_a_strong_direction_does():
    rng = np.random.default_rng(0)
    noise = symmetric(rng, 60, 0.5)
    assert np.abs(above_noise(noise, 0.5)).max() == 0.0
    assert np.abs(np.linalg.eigvalsh(noise)).max() < edge_of(60, 0.5)
    direction = np.ones(60) / np.sqrt(60)
    found = above_noise(noise + 40.0 * np.outer(direction, direction), 0.5)
    assert direction @ found @ direction == pytest.approx(40.0, rel=0.05)


def spread_out(rng, count, common, size):
    """Matrices that differ from a common one as the module's prior says."""
    values, vectors = np.linalg.eigh(common)
    prior = size * np.outer(values, values)
    apart = np.stack([symmetric(rng, len(values), 1.0) for _ in range(count)])
    return common + vectors @ (apart * np.sqrt(prior)) @ vectors.T


def test_shapes_are_drawn_to_the_common_one_as_far_as_noise_asks():
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(30, 30)))[0]
    common = (turn * np.geomspace(10.0, 0.01, 30)) @ turn.T
    true = spread_out(rng, 10, common, 0.04)
    noise = np.full(10, 0.3)
    noisy = true + np.stack([symmetric(rng, 30, 0.3) for _ in range(10)])
    found = shrunk_shapes(noisy, common, noise).shapes

    def off(shapes):
        return float(((shapes - true) ** 2).sum())

    # Better than believing all, and than believing nothing.
    assert off(found) < 0.6 * off(noisy)
    assert off(found) < 0.6 * off(np.broadcast_to(common, true.shape))
    few = shrunk_shapes(noisy, common, np.full(10, 1e-6)).shapes
    np.testing.assert_allclose(few, noisy, atol=1e-3)


def test_shapes_and_moves_that_are_noise_alone_are_left_out():
    rng = np.random.default_rng(1)
    common = np.diag(np.geomspace(5.0, 0.1, 20))
    noisy = common + np.stack([symmetric(rng, 20, 1.0) for _ in range(50)])
    found = shrunk_shapes(noisy, common, np.ones(50)).shapes
    assert np.abs(found - common).max() < 0.15 * np.abs(noisy - common).max()
    moves = rng.normal(size=(500, 20))
    assert np.abs(shrunk_moves(moves, np.diag(common), np.ones(500))).max() < 0.5


def test_moves_that_stand_out_of_noise_are_kept():
    rng = np.random.default_rng(2)
    spreads = np.array([4.0, 0.01])
    true = rng.normal(size=(200, 2)) * np.sqrt(spreads)
    noisy = true + rng.normal(size=(200, 2)) * 0.5
    found = shrunk_moves(noisy, spreads, np.full(200, 0.5))
    assert ((found - true) ** 2).sum() < 0.7 * ((noisy - true) ** 2).sum()


def test_what_is_believed_of_an_entry_is_its_posterior_mean():
    """Against the arithmetic of two normals, each entry by itself."""
    common, noise = np.diag([4.0, 1.0, 0.25]), np.array([0.5])
    rng = np.random.default_rng(5)
    apart = np.stack([symmetric(rng, 3, 1.0) for _ in range(4000)]) / np.sqrt(1.0 + np.eye(3))
    true = common + apart * np.sqrt(0.3 * np.outer(np.diag(common), np.diag(common)))
    noisy = true + 0.5 * np.stack([symmetric(rng, 3, 1.0) for _ in range(4000)])
    found = shrunk_shapes(noisy, common, np.broadcast_to(noise, 4000))
    axes = np.abs(found.directions.T).argmax(axis=0)
    for row, column in ((0, 0), (0, 1), (1, 2)):
        # Noise is stronger on the diagonal; what classes differ by is taken as alike.
        twice = 2.0 if row == column else 1.0
        prior = 0.3 * common[row, row] * common[column, column]
        weight = prior / (prior + twice * 0.5**2)
        moved = (found.shapes - common)[:, row, column] / (noisy - common)[:, row, column]
        np.testing.assert_allclose(moved, weight, rtol=0.15)
        left = float(((found.shapes - true)[:, row, column] ** 2).mean())
        told = found.variances[0, axes[row], axes[column]]
        assert left == pytest.approx(told, rel=0.15)


def test_two_looks_joined_are_surer_than_either():
    rng = np.random.default_rng(4)
    true = np.diag([3.0, 1.0])
    first = true + rng.normal(0.0, 0.3, (4000, 2, 2))
    second = true + rng.normal(0.0, 0.6, (4000, 2, 2))
    found, std = joined(first, 0.3, second, 0.6)
    assert std == pytest.approx((0.3**-2 + 0.6**-2) ** -0.5)
    assert (found - true).std() == pytest.approx(std, rel=0.05)
    assert joined(first, 0.0, second, 0.0)[1] == 0.0


def test_a_gathered_shape_keeps_its_trace_and_loses_weak_directions_that_are_unsure():
    shape = np.diag([4.0, 1.0, 0.05])
    axes, unsure = np.eye(3), np.full((3, 3), 0.1**2)
    found = gathered(shape, axes, unsure, 1.0)
    assert np.trace(found) == pytest.approx(5.05)
    assert found[2, 2] == pytest.approx(0.0)
    assert found[0, 0] > 4.0
    np.testing.assert_allclose(gathered(shape, axes, 0.0 * unsure, 1.0), shape)
    # Where most of the spread is hidden, weak directions are kept.
    np.testing.assert_allclose(gathered(shape, axes, unsure, 0.4), shape, rtol=0.1)
    # What is sure of the weak direction stays, whatever is unsure of the others.
    unsure[2], unsure[:, 2] = 0.0, 0.0
    assert gathered(shape, axes, unsure, 1.0)[2, 2] > 0.04


def test_a_tilted_histogram_has_the_mean_and_keeps_empty_and_full_ends_apart():
    histogram = np.full(64, 0.001)
    histogram[0], histogram[-1] = 0.6, 0.2
    values = (np.arange(64) + 0.5) / 64
    values[0], values[-1] = 0.0, 1.0
    for mean in (0.1, 0.3, 0.7):
        found = tilted(histogram, mean)
        assert found @ values == pytest.approx(mean)
        # The nearest in relative entropy: log ratios lie on a line.
        ratio = np.log(found / histogram)
        np.testing.assert_allclose(ratio - ratio[0], (ratio[-1] - ratio[0]) * values, atol=1e-6)
    own = tilted(histogram, float(histogram @ values / histogram.sum()))
    np.testing.assert_allclose(own, histogram / histogram.sum(), atol=1e-9)


def test_the_light_of_images_is_that_of_their_coarse_means_not_of_their_noisy_tones():
    images, labels = blobs(np.random.default_rng(10), 600, 0.1)
    exact = ImageLook(SHAPE, 2).sum(images, labels)
    values = (np.arange(64) + 0.5) / 64
    values[0], values[-1] = 0.0, 1.0
    off: list[list[float]] = []
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(0.0, 3.0, len(exact)) * 2.0**26
        look = ImageLook(SHAPE, 2).read(exact + noise, 3.0 * 2.0**26)
        tones = look.shared[0] / 600
        found = shared_tones(look, np.bincount(labels).astype(float))[0]
        off.append([float(p @ values) - images.mean() / 255 for p in (found, tones)])
    errors = np.sqrt((np.array(off) ** 2).mean(axis=0))
    assert errors[0] < 0.5 * errors[1]


def test_a_tone_is_that_of_all_classes_unless_its_own_stands_out_of_noise():
    rng = np.random.default_rng(3)
    expected = np.full(64, 1 / 64)
    noise = rng.normal(0.0, 50.0, 64)
    apart = [np.abs(own_tones(64 * 5.0 * expected + noise, expected, 320.0, 50.0) - expected).sum()]
    own = np.zeros(64)
    own[:8] = 320.0 / 8
    apart.append(np.abs(own_tones(own, expected, 320.0, 0.5) - expected).sum())
    assert apart[0] < 0.3
    assert apart[1] == pytest.approx(2 * (1 - 8 / 64), abs=0.1)


def test_a_matrix_without_negative_eigenvalues_keeps_its_trace_and_has_a_root():
    rng = np.random.default_rng(1)
    matrix = symmetric(rng, 20, 1.0) + np.eye(20)
    found = nonnegative(matrix)
    assert np.linalg.eigvalsh(found).min() > -1e-9
    assert np.trace(found) == pytest.approx(np.trace(matrix))
    np.testing.assert_allclose(root_of(found) @ root_of(found).T, found, atol=1e-9)


def test_centres_find_groups_that_lie_apart():
    rng = np.random.default_rng(2)
    points = np.concatenate([rng.normal(c, 0.1, (100, 2)) for c in (-3.0, 0.0, 3.0)])
    centres = np.sort(k_means(points, 3, rng)[:, 0])
    np.testing.assert_allclose(centres, [-3.0, 0.0, 3.0], atol=0.1)


def test_a_tone_curve_gives_values_the_histogram():
    drawn = np.random.default_rng(3).normal(size=20_000)
    histogram = np.zeros(64)
    histogram[0], histogram[20:24], histogram[-1] = 0.5, 0.05, 0.3
    made = apply_tone(drawn, *tone_curve(drawn, histogram))
    assert (made < 1e-9).mean() == pytest.approx(0.5, abs=0.02)
    assert (made > 1.0 - 1e-9).mean() == pytest.approx(0.3, abs=0.02)


def blobs(rng, count, wander):
    """Two classes: an upright and a lying bar, which wander about."""
    places = (np.arange(12) + 0.5) / 6 - 1
    labels = rng.integers(0, 2, count)
    images = np.zeros((count, 12, 12, 1), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        cx, cy = rng.normal(0.0, wander, 2)
        wide, high = (0.15, 0.4) if label else (0.4, 0.15)
        light = np.exp(-0.5 * (((places - cx) / wide) ** 2 + ((places[:, None] - cy) / high) ** 2))
        image[..., 0] = np.rint(255 * light)
    return images, labels


def fitted(images, labels, std=0.0, seed=0, classes=2):
    rng, totals = np.random.default_rng(seed), []
    fit = ImageFit(
        SHAPE,
        np.bincount(labels, minlength=classes).astype(float),
        totals,
        coordinates=144,
        directions=20,
        groups=3,
        group_noise=1.0,
    )

    def answered(total):
        noisy = total + rng.normal(0.0, std, len(total)) * 2.0**26
        totals.append(NoisyTotal(values=noisy, std=std * 2.0**26))

    answered(ImageLook(SHAPE, classes).sum(images, labels))
    vectors = image_vectors(images, fit.coordinates, fit.view.framed)
    for name in ("class_means", "spread", "class_spread", "group_means", "group_spread"):
        answered(getattr(fit, name).sum(vectors, labels))
    return fit, vectors


def wandering(rng, count):
    """Two classes: a cross and a ring of the same size, anywhere."""
    cross = np.zeros((6, 6), dtype=np.uint8)
    cross[2:4], cross[:, 2:4] = 255, 255
    ring = np.full((6, 6), 255, dtype=np.uint8)
    ring[1:5, 1:5] = 0
    labels = rng.integers(0, 2, count)
    images = np.zeros((count, 12, 12, 1), dtype=np.uint8)
    for image, label, (row, column) in zip(
        images, labels, rng.integers(0, 7, (count, 2)), strict=True
    ):
        image[row : row + 6, column : column + 6, 0] = ring if label else cross
    return images, labels


def test_frames_are_used_where_they_take_out_what_classes_share():
    fit, _ = fitted(*wandering(np.random.default_rng(4), 600))
    assert fit.view.framed
    assert fit.view.scores[1] > 2 * fit.view.scores[0]


def test_frames_are_not_used_where_they_take_out_what_tells_classes_apart():
    """Bars that lie still: seen from their frames, both classes are one and the same blob."""
    fit, _ = fitted(*blobs(np.random.default_rng(4), 600, 0.01))
    assert not fit.view.framed
    assert fit.view.scores[1] < 0.5 * fit.view.scores[0]


def test_without_noise_the_means_are_those_of_the_images():
    images, labels = blobs(np.random.default_rng(5), 800, 0.1)
    fit, vectors = fitted(images, labels)
    for label in (0, 1):
        own = vectors[labels == label].mean(axis=0)
        assert np.linalg.norm(fit.means[label] - own) < 0.3 * np.linalg.norm(own)
    shapes = fit.group_shapes
    np.testing.assert_allclose(shapes.weights.sum(axis=1), 1.0)
    within = np.trace(fit.class_shapes, axis1=1, axis2=2).mean()
    true = np.mean([vectors[labels == label].var(axis=0).sum() for label in (0, 1)])
    assert within == pytest.approx(true, rel=0.3)


def test_class_means_lie_as_far_apart_as_those_of_unclipped_images():
    images, labels = blobs(np.random.default_rng(11), 800, 0.1)
    fit, vectors = fitted(images, labels)

    def apart(means):
        return float(np.linalg.norm(means[1] - means[0]))

    true = apart([vectors[labels == label].mean(axis=0) for label in (0, 1)])
    asked = fit.class_means
    clipped = asked.sums(asked.sum(vectors, labels).astype(float)) / fit.counts[:, None]
    assert apart(clipped) < 0.97 * true
    assert apart(fit.means) == pytest.approx(true, rel=0.015)
    # Noise that hides the coarse means leaves what is usual.
    hidden, _ = fitted(images, labels, std=50.0)
    assert np.isfinite(hidden.means).all()


def test_spreads_are_as_large_as_those_of_unclipped_images():
    images, labels = blobs(np.random.default_rng(12), 800, 0.1)
    fit, vectors = fitted(images, labels)
    beside = vectors - fit.means[labels]
    clipped = np.minimum(np.linalg.norm(beside, axis=1), fit.spread.radius) ** 2
    seen = float(np.trace(fit.class_moments.pooled))
    assert clipped.mean() < 0.9 * (beside**2).sum(axis=1).mean()
    assert seen == pytest.approx(float(((beside @ fit.basis) ** 2).sum(axis=1).mean()), rel=0.1)


def test_under_overwhelming_noise_everything_stays_finite():
    images, labels = blobs(np.random.default_rng(6), 50, 0.1)
    fit, _ = fitted(images, labels, std=50.0)
    shapes = fit.group_shapes
    for array in (fit.means, fit.basis, shapes.weights, shapes.centres, shapes.spreads):
        assert np.isfinite(array).all()
    tones = class_tones(fit.look, fit.counts)
    assert (tones >= 0).all()
    np.testing.assert_allclose(tones.sum(axis=2), 1.0, rtol=1e-6)


def test_a_class_without_records_does_not_spoil_what_the_others_tell():
    """Such as the values outside a category's list: its noisy mean is noise alone."""
    images, labels = blobs(np.random.default_rng(7), 600, 0.1)
    plain, _ = fitted(images, labels, std=0.2, classes=2)
    more, _ = fitted(images, labels, std=0.2, classes=3)
    assert more.view.within == pytest.approx(plain.view.within, rel=0.3)
    assert np.linalg.norm(more.means[:2] - plain.means) < 0.5 * np.linalg.norm(plain.means)


def test_frames_that_noise_alone_speaks_for_are_not_used():
    """Pictures without a ground, whose class noise hides: over seeds, either view would win."""
    rng = np.random.default_rng(8)
    images = rng.integers(0, 256, (300, 12, 12, 1)).astype(np.uint8)
    labels = rng.integers(0, 2, 300)
    total = ImageLook(SHAPE, 2).sum(images, labels)
    for seed in range(10):
        noise = np.random.default_rng(seed).normal(0.0, 0.5, len(total)) * 2.0**26
        totals = [NoisyTotal(values=total + noise, std=0.5 * 2.0**26)]
        fit = ImageFit(
            SHAPE,
            np.bincount(labels).astype(float),
            totals,
            coordinates=144,
            directions=20,
            groups=3,
            group_noise=1.0,
        )
        assert not fit.view.framed


def test_grain_is_what_directions_leave_and_black_and_white_have_none():
    rng = np.random.default_rng(9)
    grey = rng.integers(60, 196, (400, 12, 12, 1)).astype(np.uint8)
    labels = rng.integers(0, 2, 400)
    fit, vectors = fitted(grey, labels)
    across = vectors[:, :144] - fit.means[labels][:, :144]
    left = across - (across @ fit.basis[:144]) @ fit.basis[:144].T
    assert (fit.grain**2).sum() == pytest.approx((left**2).sum(axis=1).mean(), rel=0.25)
    inked, _ = fitted(np.where(grey > 128, 255, 0).astype(np.uint8), labels)
    assert inked.grain.max() < 1e-9


def test_grain_falls_where_a_class_is_neither_black_nor_white():
    coordinates = Coordinates(SHAPE, 144)
    mean = np.zeros((1, 12, 12, 1))
    mean[:, :, :6] = 0.5
    arrays = {
        "class_prior": np.ones(1),
        "means": np.concatenate([coordinates.of(mean), np.zeros((1, 5))], axis=1),
        "basis": np.zeros((149, 1)),
        "grain": np.full(144, 0.1),
        "weights": np.ones((1, 1)),
        "centres": np.zeros((1, 1, 1)),
        "roots": np.zeros((1, 1, 1, 1)),
        "bends": np.zeros(BENDS),
        "framed": np.zeros(1),
    }
    drawn = ImageGenerator(SHAPE, arrays).untoned(np.zeros(500, int), np.random.default_rng(0))
    spread = drawn.std(axis=0)
    assert spread[:, 6:].max() < 0.005  # cosines are rounded
    assert spread[:, :6].mean() == pytest.approx(0.1 * np.sqrt(2), rel=0.05)
