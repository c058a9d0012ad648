"""Sizes and taps of the filters that tell which way edges and lines of an image run.

Edges (odd filters) and lines (even ones) at four angles are looked for in the image and in smaller
copies of it. Taps are whole numbers that add to 0, so a flat image answers nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedloom.common.images.shape import ImageShape

__all__ = ["FILTERS", "copies", "kept_places", "oriented_taps", "oriented_width"]

ANGLES, SIDE = 4, 5
FILTERS = 2 * ANGLES
"""Filters; each is read where it is positive and where it is negative."""

# Width of a filter in pixels, and its largest tap.
_SPREAD, _LARGEST = 1.1, 8.0
# Images are halved while they are as large as this; each copy is read at about so many places a
# side, of which frequencies up to this one are kept.
_HALVED_FROM, _PLACES, _HIGHEST = 28, 7, 5


def oriented_taps() -> NDArray[np.int64]:
    """Returns the taps of edges and then of lines at four angles, (8, 5, 5)."""
    offsets = np.arange(SIDE) - SIDE // 2
    down, right = np.meshgrid(offsets, offsets, indexing="ij")
    bell = np.exp(-(down**2 + right**2) / (2.0 * _SPREAD**2))
    found = []
    for even in (False, True):
        for angle in np.pi * np.arange(ANGLES) / ANGLES:
            across = right * np.cos(angle) + down * np.sin(angle)
            taps = (1.0 - (across / _SPREAD) ** 2 if even else across) * bell
            taps = taps - bell * taps.sum() / bell.sum()
            whole = np.rint(taps * _LARGEST / np.abs(taps).max()).astype(np.int64)
            whole[SIDE // 2, SIDE // 2] -= whole.sum()
            found.append(whole)
    return np.stack(found)


def copies(shape: ImageShape) -> list[tuple[int, int, int, tuple[int, int]]]:
    """Returns of each copy its height and width, the pooled pixels a side, and its places.

    >>> copies(ImageShape(height=28, width=28, channels=1))
    [(28, 28, 4, (7, 7)), (14, 14, 2, (7, 7))]
    """
    height, width, found = shape.height, shape.width, []
    while True:
        step = -(-max(height, width) // _PLACES)
        found.append((height, width, step, (_pooled(height, step), _pooled(width, step))))
        if min(height, width) < _HALVED_FROM:
            return found
        height, width = height // 2, width // 2


def kept_places(places: tuple[int, int]) -> NDArray[np.int64]:
    """Returns the frequencies (K, 2) over places that are read, low ones first."""
    pairs = np.array(list(np.ndindex(places)))
    squares = (pairs**2).sum(axis=1)
    order = np.argsort(squares, kind="stable")
    kept: NDArray[np.int64] = pairs[order[squares[order] <= _HIGHEST**2]]
    return kept


def oriented_width(shape: ImageShape) -> int:
    """Returns how many numbers say which way edges and lines run.

    >>> oriented_width(ImageShape(height=28, width=28, channels=1))
    832
    """
    kept = sum(len(kept_places(places)) for *_, places in copies(shape))
    return 2 * FILTERS * shape.channels * kept


def _pooled(size: int, step: int) -> int:
    """Places of windows of twice the step, a step apart, as `avg_pool2d` counts them."""
    return size if step == 1 else (size + 2 * (step // 2) - 2 * step) // step + 1
