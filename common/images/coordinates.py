"""Coordinates of an image in a public basis: its lowest frequencies.

The basis is the orthonormal two-dimensional discrete cosine transform (DCT-II; Ahmed, Natarajan
and Rao 1974), for colours after an orthonormal turn of red, green and blue into lightness and two
differences of colour. Coordinates are ordered from coarse to fine; differences of colour, which
eyes and natural images resolve half as finely, count as twice the frequency. Nothing here looks at
data.

The cosines are rounded to multiples of 2^-14, so that the coordinates of an image of whole numbers
are sums without rounding: they do not depend on the order of summation, and so not on which images
go through the same computation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.images.shape import ImageShape

__all__ = ["Coordinates", "cosines"]

Array = NDArray[Any]

_COLOURS = np.array([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
_COLOUR_LENGTHS = np.sqrt([3.0, 2.0, 6.0])
_COSINE_STEP = 2.0**-14
_COLOUR_FREQUENCY = 2.0


def cosines(size: int) -> Array:
    """Returns the orthonormal DCT-II, (size frequencies, size places).

    >>> basis = cosines(5)
    >>> bool(np.allclose(basis @ basis.T, np.eye(5)))
    True
    """
    places = np.arange(size) + 0.5
    basis: Array = np.sqrt(2.0 / size) * np.cos(np.pi / size * np.outer(np.arange(size), places))
    basis[0] = np.sqrt(1.0 / size)
    return basis


class Coordinates:
    """The lowest `count` frequencies of images of one shape."""

    def __init__(self, shape: ImageShape, count: int) -> None:
        """Chooses the frequencies.

        Args:
          shape: of the images.
          count: of frequencies, 1 to all values of an image; more are as many as there are.
        """
        self.shape = shape
        self.count = min(count, shape.num_values)
        rows, columns, colours = np.meshgrid(
            np.arange(shape.height) / shape.height,
            np.arange(shape.width) / shape.width,
            np.arange(shape.channels),
            indexing="ij",
        )
        penalty = np.where(colours > 0, _COLOUR_FREQUENCY, 1.0)
        # The lightest trace of colour comes after the coarsest lightness, not before it.
        step = 1.0 / max(shape.height, shape.width)
        frequency = (rows**2 + columns**2 + step**2 * (colours > 0)) * penalty**2
        order = np.argsort(frequency.reshape(-1), kind="stable")[: self.count]
        self._index = np.sort(order)
        self.frequency = np.sqrt(frequency.reshape(-1)[self._index])
        self._rows, self._columns = (
            np.rint(cosines(size) / _COSINE_STEP) * _COSINE_STEP
            for size in (shape.height, shape.width)
        )
        colour = shape.channels == 3
        self._colours = _COLOURS if colour else np.eye(1)
        self._lengths = _COLOUR_LENGTHS if colour else np.ones(1)

    @property
    def grey(self) -> Array:
        """Returns the coordinates of the image whose every value is 1, (count,)."""
        image = np.ones((1, self.shape.height, self.shape.width, self.shape.channels))
        found: Array = self.of(image)[0]
        return found

    def positions(self, coarser: Coordinates) -> Array:
        """Returns where the coordinates of a coarser choice stand among these, (coarser.count,)."""
        found: Array = np.searchsorted(self._index, coarser._index)
        return found

    def of(self, images: Array) -> Array:
        """Returns the coordinates of images.

        Args:
          images: (N, height, width, channels), real.

        Returns:
          (N, count) float64; of whole images, the same for each whatever stands beside it.
        """
        found = np.asarray(images, dtype=np.float64) @ self._colours.T
        found = np.einsum("ih,nhwc->niwc", self._rows, found, optimize=True)
        found = np.einsum("jw,niwc->nijc", self._columns, found, optimize=True)
        found /= self._lengths
        chosen: Array = found.reshape(len(images), -1)[:, self._index]
        return chosen

    def images(self, coordinates: Array) -> Array:
        """Returns the images with these coordinates, finer frequencies zero.

        Args:
          coordinates: (N, count).

        Returns:
          (N, height, width, channels), not clipped.
        """
        shape = self.shape
        full = np.zeros((len(coordinates), shape.num_values), dtype=coordinates.dtype)
        full[:, self._index] = coordinates
        found = full.reshape(len(full), shape.height, shape.width, shape.channels)
        found = (found / self._lengths) @ self._colours
        found = np.einsum("ih,nijc->nhjc", self._rows, found, optimize=True)
        made: Array = np.einsum("jw,nhjc->nhwc", self._columns, found, optimize=True)
        return made
