"""Warps: known moves come out as known, and moments of classes tell their part."""

from __future__ import annotations

import numpy as np
import pytest

from fedloom.common.images.bends import BENDS, Bends, bend_fields, bent_by, mode_frequencies
from fedloom.common.images.coordinates import Coordinates
from fedloom.common.images.generator import ImageGenerator
from fedloom.common.images.look import ImageLook
from fedloom.common.images.shape import ImageShape
from fedloom.common.images.vectors import image_vectors
from fedloom.server.images.bends import bend_scales, mean_tangents, share_of_shapes, unbent
from fedloom.server.images.fit import ImageFit, NoisyTotal
from fedloom.server.images.groups import ClassMoments

SHAPE = ImageShape(height=16, width=16, channels=1)
MODES = BENDS[0] * BENDS[1]


def ramp():
    """An image that rises by 1 from the top to the bottom."""
    return np.repeat((np.arange(16) / 16)[:, None], 16, axis=1)[None, ..., None]


def test_a_constant_move_down_shifts_a_ramp_and_one_across_does_not():
    image, moves = ramp(), np.zeros((1, 2, 16, 16))
    moves[:, 0] = 0.25  # two of sixteen pixels
    inside = slice(3, -4)
    assert np.allclose(bent_by(image, moves)[:, inside], image[:, inside] + 2 / 16)
    across = moves[:, ::-1]
    assert np.allclose(bent_by(image, across)[:, :, inside], image[:, :, inside])
    turned = bent_by(image.transpose(0, 2, 1, 3), across).transpose(0, 2, 1, 3)
    assert np.allclose(turned[:, inside], image[:, inside] + 2 / 16)


def test_modes_are_smooth_fields_of_mean_square_one_at_right_angles():
    fields = bend_fields(20, 30).reshape(BENDS[1], -1)
    assert np.allclose(fields @ fields.T / fields.shape[1], np.eye(BENDS[1]), atol=1e-12)
    steps = np.diff(fields.reshape(-1, 20, 30), axis=1) * 20
    # The mean square slope of a mode of n half waves down is (pi n)^2.
    assert steps.std(axis=(1, 2)).max() == pytest.approx(4 * np.pi, rel=0.05)
    assert mode_frequencies().min() == 1.0


def test_scales_are_the_standard_deviations_of_places_that_are_read():
    scales = np.zeros(BENDS)
    scales[0, 3], scales[0, 7] = 0.03, 0.04
    bent = Bends(SHAPE, scales).bent(np.repeat(ramp(), 4000, axis=0), np.random.default_rng(0))
    moved = (bent - ramp())[:, 3:-3] * 2  # half an image is 1
    assert np.sqrt((moved**2).mean(axis=0)).mean() == pytest.approx(0.05, rel=0.25)


def test_no_warp_bends_nothing_and_draws_nothing():
    image, rng = ramp(), np.random.default_rng(1)
    assert Bends(SHAPE, np.zeros(BENDS)).bent(image, rng) is image
    assert rng.random() == np.random.default_rng(1).random()


def moments_of(shapes, noise):
    pooled = shapes.mean(axis=0)
    return ClassMoments(
        shapes=shapes,
        noise=np.full(len(shapes), max(noise, 1e-4)),
        whole=pooled,
        whole_noise=1e-4,
        pooled=pooled,
        seen=1.0,
    )


def spread_by_warps(rng, classes=5, width=20, noise=0.0):
    """Tangents, variances of four modes, and second moments of classes that they make."""
    tangents = rng.normal(size=(classes, MODES, width))
    variances = np.zeros(MODES)
    variances[[0, 5, 24, 30]] = 0.5, 0.2, 0.4, 0.3
    made = np.einsum("m,cmi,cmj->cij", variances, tangents, tangents)
    apart = rng.normal(size=made.shape) * noise
    return tangents, variances, np.eye(width) + made + (apart + apart.transpose(0, 2, 1)) / 2**0.5


def test_variances_of_modes_come_out_of_moments_that_warps_made():
    tangents, variances, shapes = spread_by_warps(np.random.default_rng(2))
    found = bend_scales(tangents, moments_of(shapes, 0.0), np.full(5, 0.2))
    assert np.allclose(found.reshape(-1) ** 2, variances, atol=0.15)
    # The broken twin: every class is told by the tangents of another.
    strange = bend_scales(np.roll(tangents, 1, axis=0), moments_of(shapes, 0.0), np.full(5, 0.2))
    assert (strange**2).sum() < 0.2 * variances.sum()


def test_more_noise_leaves_less_and_noise_alone_or_one_class_nothing():
    found = []
    for noise in (0.1, 1.0, 30.0):
        tangents, _, shapes = spread_by_warps(np.random.default_rng(3), noise=noise)
        scales = bend_scales(tangents, moments_of(shapes, noise), np.full(5, 0.2))
        found.append(float((scales**2).sum()))
    assert found[0] > found[1] > found[2]
    used = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        tangents, _, shapes = spread_by_warps(rng, noise=1.0)
        shapes = 30.0 * np.eye(20) + shapes - shapes.mean(axis=0)
        strange = rng.normal(size=tangents.shape)
        used += bend_scales(strange, moments_of(shapes, 1.0), np.full(5, 0.2)).any()
    assert used <= 4
    tangents, _, shapes = spread_by_warps(np.random.default_rng(4), classes=1)
    assert not bend_scales(tangents, moments_of(shapes, 0.0), np.ones(1)).any()


def test_tangents_are_what_a_small_move_changes():
    coordinates = Coordinates(SHAPE, 256)
    means = np.concatenate([coordinates.of(ramp()), np.zeros((1, 5))], axis=1)
    tangent = mean_tangents(means, coordinates)[0, 6]
    changed = coordinates.images(tangent[None, :256])[0, 3:-3, 3:-3, 0]
    # A unit is half an image, over which the ramp rises by a half.
    assert np.allclose(changed, 0.5 * bend_fields(16, 16)[6][3:-3, 3:-3], atol=0.02)


def test_the_share_of_shapes_is_that_of_the_mean_images_slopes():
    coordinates, rng = Coordinates(SHAPE, 256), np.random.default_rng(9)
    mean = np.add.outer(np.arange(16), np.arange(16)) / 32
    drawn = mean[None, ..., None] + 0.05 * rng.normal(size=(4000, 16, 16, 1))

    def slopes(images):
        return sum(float((np.diff(images, axis=axis) ** 2).sum()) for axis in (1, 2))

    spreads = coordinates.of(drawn).var(axis=0)
    told = share_of_shapes(
        coordinates.of(mean[None, ..., None]), spreads, np.ones(1), coordinates.frequency
    )
    assert told == pytest.approx(slopes(mean[None, ..., None]) / (slopes(drawn) / 4000), rel=0.35)


def prototypes():
    """Two shapes: a ring and a cross."""
    places = (np.arange(16) + 0.5) / 8 - 1
    far = np.hypot(places, places[:, None])
    ring = np.exp(-0.5 * ((far - 0.5) / 0.12) ** 2)
    bars = np.minimum(np.abs(places), np.abs(places[:, None]))
    cross = np.exp(-0.5 * (bars / 0.12) ** 2) * (far < 0.75)
    return np.stack([ring, cross])[..., None]


def fitted(images, labels):
    totals = []
    counts = np.bincount(labels, minlength=2).astype(float)
    fit = ImageFit(SHAPE, counts, totals, coordinates=256, directions=40, groups=2, group_noise=1.0)

    def answered(total):
        totals.append(NoisyTotal(values=total.astype(float), std=0.0))

    answered(ImageLook(SHAPE, 2).sum(images, labels))
    vectors = image_vectors(images, fit.coordinates, fit.view.framed)
    for name in ("class_means", "spread", "class_spread", "group_means", "group_spread"):
        answered(getattr(fit, name).sum(vectors, labels))
    return fit


def bent_shapes(rng, scale, count=3000):
    """Images of both prototypes, each bent by a warp, and their classes."""
    labels, scales = rng.integers(0, 2, count), np.zeros(BENDS)
    scales[:, [4, 5, 9]] = scale
    made = Bends(SHAPE, scales).bent(prototypes()[labels], rng)
    return np.rint(np.clip(made, 0.0, 1.0) * 255).astype(np.uint8), labels


def test_shapes_that_were_bent_are_bent_by_about_as_much_and_textures_are_not():
    rng = np.random.default_rng(5)
    found = fitted(*bent_shapes(rng, 0.04)).bends
    assert found[:, [4, 5, 9]].min() > 0.02
    assert np.sqrt((found**2).sum()) == pytest.approx(0.04 * 6**0.5, rel=0.35)
    # Each class has a spectrum of its own, and no shape.
    labels = rng.integers(0, 2, 3000)
    coordinates = Coordinates(SHAPE, 256)
    falling = np.exp(-coordinates.frequency * np.array([4.0, 8.0])[labels][:, None])
    grain = coordinates.images(rng.normal(size=(3000, 256)) * falling)
    textures = np.rint(np.clip(0.5 + 0.3 * grain, 0.0, 1.0) * 255).astype(np.uint8)
    assert not fitted(textures, labels).bends.any()


def test_bent_images_have_the_moments_that_the_sums_tell():
    fit = fitted(*bent_shapes(np.random.default_rng(6), 0.04))
    assert fit.bends.any()
    spreads, basis = fit.group_shapes.spreads, fit.basis
    unaware = {
        "class_prior": np.full(2, 0.5),
        "means": fit.means,
        "grain": fit.grain,
        "basis": basis,
        "weights": fit.group_shapes.weights,
        "centres": fit.group_shapes.centres,
        "roots": np.stack(
            [[np.linalg.cholesky(s + 1e-9 * np.eye(len(s))) for s in c] for c in spreads]
        ),
        "bends": fit.bends,
        "framed": np.zeros(1),
    }
    plain = ImageGenerator(SHAPE, {**unaware, "bends": np.zeros(BENDS)})

    def spread(source, label):
        rng = np.random.default_rng(8)
        vectors = source.vectors(np.full(6000, label), rng)
        bent = source.bent_vectors(vectors, rng) @ basis
        return bent.mean(axis=0), float(np.trace(np.cov(bent.T)))

    told = unbent(unaware, spreads, fit.coordinates, 7)
    for label in (0, 1):
        mean, wanted = spread(plain, label)
        found_mean, found = spread(ImageGenerator(SHAPE, told), label)
        assert found == pytest.approx(wanted, rel=0.1)
        # The broken twin: warps on top of a spread that holds them already.
        twin_mean, twin = spread(ImageGenerator(SHAPE, unaware), label)
        assert twin > 1.2 * wanted
        assert np.linalg.norm(found_mean - mean) < 0.5 * np.linalg.norm(twin_mean - mean)
    assert (
        unbent({**unaware, "bends": np.zeros(BENDS)}, spreads, fit.coordinates, 7)["means"]
        is fit.means
    )
