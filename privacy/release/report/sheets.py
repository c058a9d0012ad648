"""Contact sheets of synthetic images, one for each class, inside the page as PNG.

Post-processing: what is shown are the first synthetic records of each class. Pixels are enlarged a
whole number of times, without smoothing, so that what is there can be seen on a small screen.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Sheet", "contact_sheets", "paper", "png"]

Array = NDArray[Any]

_COLUMNS, _ROWS = 6, 3
_GAP = 2
_PAPER = 245
# A phone is about 360 points wide and has two or three pixels a point.
_WIDTH = 720
_MOST_CLASSES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Images of one class.

    Attributes:
      label: the class.
      count: synthetic images of that class.
      width: of the picture, in pixels.
      height: of the picture.
      uri: the picture itself, as a data URI.
    """

    label: str
    count: int
    width: int
    height: int
    uri: str


def contact_sheets(images: Sequence[Array], labels: Sequence[str]) -> list[Sheet]:
    """Returns a sheet for each class that has synthetic images; of many classes, the first 40.

    Args:
      images: one (height, width, channels) uint8 for each synthetic record.
      labels: its class, for people.
    """
    by_label: dict[str, list[Array]] = {}
    counts: dict[str, int] = {}
    for image, label in zip(images, labels, strict=True):
        counts[label] = counts.get(label, 0) + 1
        shown = by_label.setdefault(label, [])
        if len(shown) < _COLUMNS * _ROWS:
            shown.append(image)
    return [
        _sheet(label, counts[label], by_label[label]) for label in sorted(by_label)[:_MOST_CLASSES]
    ]


def png(pixels: Array) -> bytes:
    """Returns a PNG file of (height, width, 1 or 3) uint8 pixels (ISO/IEC 15948)."""
    height, width, channels = pixels.shape
    lines = np.zeros((height, 1 + width * channels), dtype=np.uint8)
    lines[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    file = b"\x89PNG\r\n\x1a\n"
    for kind, data in parts:
        file += struct.pack(">I", len(data)) + kind + data
        file += struct.pack(">I", zlib.crc32(kind + data))
    return file


def paper(images: Sequence[Array]) -> Array:
    """Returns images of one size side by side, six in a row, enlarged without smoothing."""
    height, width, channels = images[0].shape
    scale = max(1, (_WIDTH // _COLUMNS - _GAP) // width)
    step_down, step_right = height * scale + _GAP, width * scale + _GAP
    rows = -(-len(images) // _COLUMNS)
    made = np.full(
        (rows * step_down - _GAP, _COLUMNS * step_right - _GAP, channels), _PAPER, dtype=np.uint8
    )
    for number, image in enumerate(images):
        top, left = number // _COLUMNS * step_down, number % _COLUMNS * step_right
        large = image.repeat(scale, axis=0).repeat(scale, axis=1)
        made[top : top + height * scale, left : left + width * scale] = large
    return made


def _sheet(label: str, count: int, images: Sequence[Array]) -> Sheet:
    pixels = paper(images)
    uri = "data:image/png;base64," + base64.b64encode(png(pixels)).decode()
    return Sheet(label=label, count=count, width=pixels.shape[1], height=pixels.shape[0], uri=uri)
