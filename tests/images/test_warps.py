"""Public variations of images, against SciPy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

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
def test_reading_between_pixels_is_linear_interpolation(shape):
    """SciPy's, in pixels of its own count, with the edge beyond the edge."""
    height, width = shape
    images, rng = pictures(2, height, width), np.random.default_rng(4)
    down, across = rng.uniform(-1.3, 1.3, (2, 2, height, width))
    found = warps._read(images, down, across)
    places = [(part + 1.0) * size / 2.0 - 0.5 for part, size in ((down, height), (across, width))]
    for number, channel in np.ndindex(2, 3):
        expected = map_coordinates(
            images[number, ..., channel],
            [part[number] for part in places],
            order=1,
            mode="nearest",
        )
        np.testing.assert_allclose(found[number, ..., channel], expected, atol=1e-12)


def test_bends_are_smooth_and_of_mean_square_one():
    fields = warps._fields(np.random.default_rng(5), 4000, 16, 12)
    assert np.mean(fields**2) == pytest.approx(1.0, abs=0.05)
    # A bend is no shift: the constant frequency is left out.
    np.testing.assert_allclose(fields.mean(axis=(2, 3)), 0.0, atol=1e-9)
    steps = np.abs(np.diff(fields, axis=2)).max()
    assert steps < np.abs(fields).max()
