"""Where the records of a table lie, so that their distances say how alike they are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from fedloom.common.encoding import Encoding
    from fedloom.common.records import Coded

__all__ = ["table_positions"]

_OFF_AXIS = 0.75


def table_positions(coder: Encoding, coded: Coded) -> npt.NDArray[np.float64]:
    """Returns a position for each record, (N, D).

    The squared distance of two records is a sum over columns and the label, of at most 1 each: for
    numbers the squared difference of their bins as a part of the whole axis (.75 to 1 if one of
    them is missing or a special value), for categories 0 or 1, for sets the items that one of the
    two has alone, over the greatest number that both could have.

    Args:
      coder: the table's encoding.
      coded: its records.
    """
    parts = [_corners(coded.classes, coder.num_classes)]
    for place, block in enumerate(coder.features):
        codes = coded.features[:, place].astype(np.int64)
        if block.ordered and block.num_bins > 1:
            on_axis = codes < block.num_bins
            parts.append(np.where(on_axis, codes / (block.num_bins - 1), 0.5)[:, None])
            off_axis = np.where(on_axis, 0, codes - block.num_bins + 1)
            parts.append(_corners(off_axis, block.size - block.num_bins + 1, _OFF_AXIS))
        else:
            parts.append(_corners(codes, block.size))
    for items, held in zip(coder.items_of(coded.features).values(), coder.sets, strict=True):
        has = np.zeros((len(items), held.size + 1))
        np.put_along_axis(has, items.astype(np.int64), 1.0, axis=1)  # -1, no item, is the last
        parts.append(has[:, :-1] / np.sqrt(2.0 * held.most))
    return np.hstack(parts)


def _corners(
    codes: npt.NDArray[np.int64], size: int, square: float = 1.0
) -> npt.NDArray[np.float64]:
    """Returns corners whose squared distance from each other is `square`, (N, size)."""
    corners: npt.NDArray[np.float64] = math.sqrt(0.5 * square) * np.eye(size)[codes]
    return corners
