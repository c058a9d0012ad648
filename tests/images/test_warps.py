"""Public variations of images, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from fedloom.common.images import warps
from fedloom.common.images.warps import warped


def pictures(number, height=14, width=10, channels=3):
    return np.random.default_rng(0).uniform(0.0, 1.0, (number, height, width, channels))


def test_a_warp_of_no_strength_leaves_images_as_they_are():
    images = pictures(4)
    np.testing.assert_allclose(warped(images, np.random.default_rng(1), 0.0), images, atol=1e-12)


def test_an_image_without_detail_stays_as_it_is():
    images = np.full((5, 9, 12, 1), 0.4)
    np.testing.assert_allclose(warped(images, np.random.default_rng(2), 3.0), 0.4)


def test_equal_seeds_give_equal_warps_and_images_have_warps_of_their_own():
    images = np.repeat(pictures(1), 3, axis=0)
    first, again = (warped(images, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1]).any()


@pytest.mark.parametrize("shape", [(14, 10), (8, 8), (28, 20)])
def test_reading_between_pixels_keeps_quadratic_images(shape):
    """Cubic convolution gives them exactly, away from the edges; at an edge it is as the edge."""
    height, width = shape
    rng = np.random.default_rng(4)

    def quadratic(y, x):
        return 0.3 + 0.2 * x - 0.4 * y + 0.1 * x * y + 0.5 * x**2 - 0.2 * y**2

    y, x = np.mgrid[:height, :width].astype(float)
    images = np.repeat(quadratic(y, x)[None, ..., None], 2, axis=0)
    down, across = (rng.uniform(1.0, size - 2.0, (2, height, width)) for size in shape)
    places = [
        (part + 0.5) * 2.0 / size - 1.0 for part, size in zip((down, across), shape, strict=True)
    ]
    np.testing.assert_allclose(
        warps._read(images, *places)[..., 0], quadratic(down, across), atol=1e-9
    )
    corner = warps._read(images, *(np.full((2, height, width), -3.0) for _ in shape))
    np.testing.assert_allclose(corner, images[0, 0, 0, 0])


def test_bends_are_smooth_and_of_mean_square_one():
    fields = warps._fields(np.random.default_rng(5), 4000, 16, 12)
    assert np.mean(fields**2) == pytest.approx(1.0, abs=0.05)
    # A bend is no shift: the constant frequency is left out.
    np.testing.assert_allclose(fields.mean(axis=(2, 3)), 0.0, atol=1e-9)
    steps = np.abs(np.diff(fields, axis=2)).max()
    assert steps < np.abs(fields).max()
