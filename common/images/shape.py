"""The public shape of the images of a study."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ImageShape"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageShape:
    """Rows, columns and channels of every image.

    Attributes:
      height: rows of pixels.
      width: columns of pixels.
      channels: 1 (grey) or 3 (red, green, blue).

    >>> ImageShape(height=28, width=28, channels=1).num_values
    784
    """

    height: int
    width: int
    channels: int

    @property
    def num_values(self) -> int:
        """Numbers of one image."""
        return self.height * self.width * self.channels
