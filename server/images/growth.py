"""Which frequencies a round's critic sees and its generator writes: a public schedule.

It begins with the coarsest quarter, half the resolution each way. The bound grows in a line, so
their number with its square. The schedule follows from plan and round alone.

Source: Karras et al. 2018 (arXiv:1710.10196), who grow the resolution of both networks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedloom.common.images.coordinates import Coordinates
from fedloom.common.images.shape import ImageShape
from fedloom.common.models.decoder import padded

__all__ = ["shown_count", "shown_frequencies"]

# Of the resolution.
_FIRST = 0.5


def shown_count(detail: int, share: float) -> int:
    """Returns how many of the lowest frequencies are shown.

    Args:
      detail: frequencies in all.
      share: of the growth that is done, 0 or more.

    >>> [shown_count(256, share) for share in (0.0, 0.5, 1.0, 3.0)]
    [64, 144, 256, 256]
    """
    return max(1, round(detail * (_FIRST + (1.0 - _FIRST) * min(share, 1.0)) ** 2))


def shown_frequencies(shape: ImageShape, detail: int, share: float) -> NDArray[np.float32]:
    """Returns what is left of each frequency, 0 or 1, (padded detail,).

    Args:
      shape: of images.
      detail: frequencies that networks know, at most.
      share: of the growth that is done, 0 or more.
    """
    known = Coordinates(shape, detail)
    seen = Coordinates(shape, shown_count(known.count, share))
    shown = np.zeros(padded(known.count), dtype=np.float32)
    shown[known.positions(seen)] = 1.0
    return shown
