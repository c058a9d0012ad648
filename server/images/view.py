"""What the first sum over images tells: how to look at them, and how far they lie apart.

Images are seen from their own frames if classes then lie further apart than images of one class
do, by more than without: the ratio of the spread between class means to the spread within
classes, both freed of the noise that is known to be in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.images.coordinates import Coordinates
from fedloom.common.images.look import COARSE, Look
from fedloom.common.images.vectors import FRAME_WIDTH

__all__ = ["View", "view_of"]

Array = NDArray[Any]

# Noise may leave less than nothing of a spread.
_LEAST_SHARE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How images are looked at.

    Attributes:
      framed: whether from their own frames.
      centre: (D,) mean of all vectors, its fine coordinates those of the middle grey.
      between: mean squared distance of class means from it, coarse coordinates alone.
      within: mean squared distance of coarse vectors from their class's mean.
      coarse: which coordinates of a vector a look saw, with the frame's numbers.
      scores: `between / within` without and with frames.
    """

    framed: bool
    centre: Array
    between: float
    within: float
    coarse: Array
    scores: tuple[float, float]


def view_of(look: Look, counts: Array, coordinates: Coordinates) -> View:
    """Chooses how images are looked at; post-processing of noisy sums.

    Args:
      look: the noisy first sum.
      counts: (C,) noisy number of records of each class, positive.
      coordinates: of the vectors that will be summed.
    """
    spreads = [_spreads(look, counts, number) for number in (0, 1)]
    scores = (spreads[0][0] / spreads[0][1], spreads[1][0] / spreads[1][1])
    framed = scores[1] > scores[0]
    between, within = spreads[int(framed)]
    seen = Coordinates(coordinates.shape, COARSE)
    coarse = np.concatenate(
        [coordinates.positions(seen), coordinates.count + np.arange(FRAME_WIDTH)]
    )
    centre = np.zeros(coordinates.count + FRAME_WIDTH)
    centre[: coordinates.count] = 0.5 * coordinates.grey
    centre[coarse] += look.views[int(framed)].sum(axis=0) / counts.sum()
    return View(
        framed=framed,
        centre=centre,
        between=between,
        within=within,
        coarse=coarse,
        scores=scores,
    )


def _spreads(look: Look, counts: Array, view: int) -> tuple[float, float]:
    """Returns the mean squared distances between classes and within them."""
    total, shares = counts.sum(), counts / counts.sum()
    means = look.views[view] / counts[:, None]
    centre = look.views[view].sum(axis=0) / total
    noise = (look.stds[1 + view] / counts) ** 2 * means.shape[1]
    whole = float(look.lengths[:, view].sum() / total - (centre**2).sum())
    whole = max(whole, 1e-6)
    # The mean of a class with next to no records, such as values outside a list, is noise alone.
    told = noise < whole
    between = float(shares[told] @ (((means - centre) ** 2).sum(axis=1) - noise)[told])
    between = min(max(between, 0.0), (1.0 - _LEAST_SHARE) * whole)
    return between, whole - between
