"""An embedding of images: what fixed random patches find in them, wherever it is.

Its weights are random numbers of a fixed seed, so it is public and was made from no data; a trained
network has the same three members, with its own weights.
"""

from __future__ import annotations

import numpy as np

__all__ = ["RandomPatches"]

_SEED, _PATCHES, _SIDE, _PARTS = 5, 24, 5, 3


class RandomPatches:
    """How strongly each of a few random patches is found in each part of an image."""

    dimensions = _PATCHES * _PARTS * _PARTS

    def __init__(self) -> None:
        """Draws the weights."""
        drawn = np.random.default_rng(_SEED).normal(size=(_PATCHES, _SIDE * _SIDE))
        self._patches = drawn - drawn.mean(axis=1, keepdims=True)

    def weights(self) -> dict[str, np.ndarray]:
        """Returns all numbers that features depend on."""
        return {"patches": self._patches}

    def features(self, image: np.ndarray) -> np.ndarray:
        """Returns the features of one image (height, width, channels) uint8, (dimensions,)."""
        light = np.pad(image.mean(axis=2) / 255.0, _SIDE // 2)
        seen = np.lib.stride_tricks.sliding_window_view(light, (_SIDE, _SIDE))
        found = np.maximum(seen.reshape(*seen.shape[:2], -1) @ self._patches.T, 0.0)
        parts = [
            part.mean(axis=(0, 1))
            for rows in np.array_split(found, _PARTS, axis=0)
            for part in np.array_split(rows, _PARTS, axis=1)
        ]
        return np.concatenate(parts)
