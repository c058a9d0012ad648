"""Which way edges and lines of an image run, at coarse places: first-order scattering of images.

Whole-number filters (`fedloom.common.images.oriented`) answer the image and smaller copies of it.
Answers are parted into positive and negative, averaged over windows, and written as the lowest
frequencies over the places. Means of such numbers tell how strokes and edges lie, which means of
pixels cannot; no weight is learned, and no record's numbers depend on another's.

Sources: Bruna & Mallat 2013 (arXiv:1203.1513), rectified filters averaged over places; Dalal &
Triggs 2005 (doi:10.1109/CVPR.2005.177), histograms of orientations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, relu

from fedloom.common.images.oriented import FILTERS, copies, kept_places, oriented_taps
from fedloom.common.images.shape import ImageShape

__all__ = ["Orientations"]


class Orientations:
    """Reads images (B, channels, height, width) in [0, 1]."""

    def __init__(self, shape: ImageShape) -> None:
        """Takes the images' shape."""
        taps = oriented_taps()
        self._taps = torch.from_numpy(taps).float()[:, None]
        # Filters count alike, though their taps are rounded.
        lengths = np.sqrt((taps**2).sum(axis=(1, 2)))
        self._units = torch.from_numpy(1.0 / np.concatenate([lengths, lengths])).float()
        self._copies = [
            (step, torch.from_numpy(_waves(places)).float()) for *_, step, places in copies(shape)
        ]

    def of(self, images: Tensor) -> Tensor:
        """Returns (B, `oriented_width`); of each copy all that is of low frequency comes first."""
        batch, channels = images.shape[:2]
        seen, found = images.flatten(0, 1)[:, None], []
        for number, (step, waves) in enumerate(self._copies):
            if number:
                seen = avg_pool2d(seen, 2)
            answers = conv2d(seen, self._taps.to(seen), padding=self._taps.shape[-1] // 2)
            parted = torch.cat([relu(answers), relu(-answers)], dim=1)
            if step > 1:
                parted = avg_pool2d(parted, 2 * step, stride=step, padding=step // 2)
            told = parted.flatten(2) @ waves.to(seen).T * self._units.to(seen)[:, None]
            told = told.reshape(batch, channels * 2 * FILTERS, len(waves))
            found.append(told.transpose(1, 2).flatten(1))
        return torch.cat(found, dim=1)


def _waves(places: tuple[int, int]) -> NDArray[Any]:
    """Returns the low frequencies over places as rows, of length 1 over the root of the places."""
    down, right = (_cosines(count) for count in places)
    rows = [np.outer(down[i], right[j]).reshape(-1) for i, j in kept_places(places)]
    waves: NDArray[Any] = np.stack(rows) / np.sqrt(places[0] * places[1])
    return waves


def _cosines(count: int) -> NDArray[Any]:
    waves: NDArray[Any] = np.cos(
        np.pi * np.arange(count)[:, None] * (np.arange(count) + 0.5) / count
    )
    waves *= np.sqrt(2.0 / count)
    waves[0] /= np.sqrt(2.0)
    return waves
