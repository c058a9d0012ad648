"""Digits drawn by strokes: a few ways to write each, with points that are moved at random.

Everything here was written down from how people write digits; no data set was looked at.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["draw"]

# Each way to write a digit: strokes of points (x, y), both from 0 to 1, y downwards. Curves are
# drawn through the points.
_WAYS: dict[str, list[list[list[tuple[float, float]]]]] = {
    "0": [
        [[(0.5, 0), (0.15, 0.2), (0.1, 0.6), (0.4, 1), (0.8, 0.8), (0.9, 0.35), (0.5, 0)]],
        [[(0.6, 0.05), (0.2, 0.4), (0.3, 0.9), (0.7, 0.9), (0.85, 0.4), (0.5, 0.05)]],
    ],
    "1": [
        [[(0.5, 0), (0.5, 0.5), (0.5, 1)]],
        [[(0.62, 0), (0.5, 0.5), (0.38, 1)]],
        [[(0.3, 0.25), (0.55, 0), (0.55, 0.5), (0.55, 1)]],
    ],
    "2": [
        [
            [(0.15, 0.25), (0.4, 0.02), (0.8, 0.15), (0.75, 0.45), (0.15, 1)],
            [(0.15, 1), (0.5, 0.97), (0.9, 0.97)],
        ],
        [
            [(0.15, 0.2), (0.5, 0), (0.8, 0.25), (0.55, 0.7), (0.2, 0.95), (0.1, 0.8)]
            + [(0.3, 0.75), (0.6, 0.95), (0.95, 0.9)]
        ],
    ],
    "3": [
        [
            [(0.15, 0.12), (0.5, 0), (0.8, 0.2), (0.6, 0.42), (0.4, 0.48)],
            [(0.4, 0.48), (0.75, 0.55), (0.85, 0.8), (0.5, 1), (0.12, 0.9)],
        ],
    ],
    "4": [
        [[(0.25, 0), (0.15, 0.5), (0.5, 0.55), (0.9, 0.5)], [(0.75, 0.05), (0.7, 0.5), (0.65, 1)]],
        [[(0.65, 0), (0.35, 0.3), (0.1, 0.6)], [(0.1, 0.6), (0.9, 0.6)], [(0.65, 0), (0.65, 1)]],
    ],
    "5": [
        [
            [(0.85, 0), (0.55, 0.02), (0.3, 0.02)],
            [(0.3, 0.02), (0.25, 0.4)],
            [(0.25, 0.4), (0.6, 0.38), (0.85, 0.65), (0.6, 0.95), (0.15, 0.95)],
        ],
    ],
    "6": [
        [
            [(0.65, 0), (0.3, 0.35), (0.15, 0.7), (0.35, 0.98), (0.7, 0.9), (0.75, 0.65)]
            + [(0.5, 0.55), (0.2, 0.75)]
        ],
    ],
    "7": [
        [[(0.1, 0.05), (0.5, 0.05), (0.9, 0.03)], [(0.9, 0.03), (0.6, 0.5), (0.45, 1)]],
        [
            [(0.1, 0.05), (0.9, 0.03)],
            [(0.9, 0.03), (0.6, 0.5), (0.45, 1)],
            [(0.35, 0.5), (0.8, 0.48)],
        ],
    ],
    "8": [
        [
            [(0.75, 0.15), (0.45, 0), (0.2, 0.2), (0.5, 0.48), (0.8, 0.75), (0.5, 1)]
            + [(0.2, 0.78), (0.5, 0.48), (0.78, 0.2), (0.6, 0.03)]
        ],
    ],
    "9": [
        [
            [(0.8, 0.2), (0.5, 0.02), (0.2, 0.25), (0.4, 0.5), (0.75, 0.35), (0.8, 0.15)],
            [(0.8, 0.15), (0.72, 0.6), (0.6, 1)],
        ],
        [
            [(0.78, 0.2), (0.5, 0.02), (0.2, 0.25), (0.4, 0.5), (0.78, 0.3)],
            [(0.78, 0.2), (0.75, 0.55), (0.5, 0.95), (0.2, 0.9)],
        ],
    ],
}
_FINE, _STEPS = 4, 12


def draw(label: str, count: int, shape: tuple[int, int, int], seed: int) -> np.ndarray | None:
    """Draws images of a class.

    Args:
      label: the class, as the schema writes it.
      count: of images.
      shape: height, width and channels of an image.
      seed: of what is drawn at random; equal seeds give equal images.

    Returns:
      (count, height, width, channels) uint8, light on dark; None if the label is no digit.
    """
    if label not in _WAYS:
        return None
    rng = np.random.default_rng(seed)
    made = np.empty((count, *shape), np.uint8)
    for number in range(count):
        made[number] = _one(_WAYS[label], shape, rng)[:, :, None]
    return made


def _one(ways: list, shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    height, width = shape[:2]
    strokes = ways[rng.integers(len(ways))]
    box = np.array([width * rng.uniform(0.38, 0.6), height * rng.uniform(0.65, 0.74)]) * _FINE
    slant, thick = rng.normal(0.12, 0.15), rng.uniform(0.055, 0.13) * height * _FINE
    canvas = Image.new("L", (width * _FINE, height * _FINE))
    pen = ImageDraw.Draw(canvas)
    for stroke in strokes:
        points = np.array(stroke, float)
        ends = np.concatenate([np.full((1, 2), 0.02), np.full((len(points) - 2, 2), 0.05)])
        points += rng.normal(size=points.shape) * np.concatenate([ends, np.full((1, 2), 0.02)])
        points[:, 0] -= slant * (points[:, 1] - 0.5)
        places = (_curve(points) - 0.5) * box + np.array([width, height]) * _FINE / 2
        pen.line([tuple(place) for place in places], fill=255, width=max(int(thick), 1))
        for place in places:
            pen.ellipse([*(place - thick / 2), *(place + thick / 2)], fill=255)
    return np.asarray(canvas.resize((width, height), Image.Resampling.BOX))


def _curve(points: np.ndarray) -> np.ndarray:
    """Returns places along a smooth curve through points (Catmull and Rom 1974)."""
    padded = np.concatenate([points[:1], points, points[-1:]])
    t = np.linspace(0.0, 1.0, _STEPS)[:, None]
    parts = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        parts.append(
            b
            + t * (c - a) / 2
            + t**2 * (2 * a - 5 * b + 4 * c - d) / 2
            + t**3 * (3 * b - a - 3 * c + d) / 2
        )
    return np.concatenate(parts)
