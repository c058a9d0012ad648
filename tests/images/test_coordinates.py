"""Coordinates against SciPy's transform, and against what colours mean."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.fft import dctn

from fedloom.common.images.coordinates import Coordinates
from fedloom.common.images.shape import ImageShape


@pytest.mark.parametrize("height, width", [(8, 8), (9, 14), (28, 28)])
def test_grey_coordinates_are_the_orthonormal_cosine_transform(height, width):
    image = np.random.default_rng(1).random((3, height, width, 1))
    shape = ImageShape(height=height, width=width, channels=1)
    found = Coordinates(shape, height * width).of(image)
    expected = dctn(image[..., 0], axes=(1, 2), norm="ortho").reshape(3, -1)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_all_coordinates_give_the_image_back_and_keep_distances(channels):
    shape = ImageShape(height=10, width=12, channels=channels)
    images = np.random.default_rng(2).random((4, 10, 12, channels))
    coordinates = Coordinates(shape, shape.num_values)
    found = coordinates.of(images)
    np.testing.assert_allclose(coordinates.images(found), images, atol=1e-3)
    np.testing.assert_allclose((found**2).sum(1), (images**2).sum((1, 2, 3)), rtol=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_fewer_coordinates_are_the_lowest_frequencies_of_more(channels):
    shape = ImageShape(height=16, width=16, channels=channels)
    images = np.random.default_rng(3).random((4, 16, 16, channels))
    fine, coarse = Coordinates(shape, 200), Coordinates(shape, 40)
    np.testing.assert_allclose(fine.of(images)[:, fine.positions(coarse)], coarse.of(images))
    assert coarse.frequency.max() <= np.sort(fine.frequency)[40]
    assert 0 in fine.positions(coarse)


def test_a_plain_image_of_any_colour_needs_three_coordinates():
    shape = ImageShape(height=8, width=8, channels=3)
    image = np.broadcast_to([0.9, 0.6, 0.1], (1, 8, 8, 3))
    coordinates = Coordinates(shape, 12)
    found = coordinates.of(image)
    assert (np.abs(found[0]) > 1e-3).sum() == 3
    np.testing.assert_allclose(coordinates.images(found), image, atol=1e-3)
