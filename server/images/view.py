"""What the first sum over images tells: how to look at them, and how far they lie apart.

Images are seen from their own frames if the pixels of class means then lie further apart than
without, by more than noise could show. Frames that bring like to like make means sharper; where a
class is told by its place and size, or light fills the picture, frames only take that away.
"""

from __future__ import annotations

import math
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
# Frames are used if they help by this many standard deviations of what noise does to both scores.
_CERTAIN = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How images are looked at.

    Attributes:
      framed: whether from their own frames.
      centre: (D,) mean of all vectors, its fine coordinates those of the middle grey.
      between: mean squared distance of class means from it, coarse coordinates alone.
      within: mean squared distance of coarse vectors from their class's mean.
      coarse: which coordinates of a vector a look saw, with the frame's numbers.
      scores: mean squared distances of class means in coarse pixels, without and with frames.
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
    scores = (spreads[0].pixels, spreads[1].pixels)
    noise = math.hypot(spreads[0].noise, spreads[1].noise)
    framed = scores[1] - scores[0] > _CERTAIN * noise
    chosen = spreads[int(framed)]
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
        between=chosen.between,
        within=chosen.whole - chosen.between,
        coarse=coarse,
        scores=scores,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spreads:
    """The mean squared distances of images from their mean, and of class means from it.

    Attributes:
      whole: of all images.
      between: of class means.
      pixels: of class means, without the frame's numbers.
      noise: what noise does to `pixels`, as a standard deviation.
    """

    whole: float
    between: float
    pixels: float
    noise: float


def _spreads(look: Look, counts: Array, view: int) -> _Spreads:
    """Returns the spreads in one view, freed of the noise that is known to be in them.

    Classes count by their shares, and less the more noise there is in their means: that of a class
    with next to no records, such as values outside a list, is noise alone.
    """
    total, shares = counts.sum(), counts / counts.sum()
    means = look.views[view] / counts[:, None]
    centre = look.views[view].sum(axis=0) / total
    width = means.shape[1]
    noise = (look.stds[1 + view] / counts) ** 2
    of_centre = (look.stds[1 + view] / total) ** 2 * width * len(counts)
    whole = float(look.lengths[view] / total - (centre**2).sum() + of_centre)
    whole = max(whole, 1e-6)
    doubt = 2.0 * noise**2 * width
    weights = shares / (1.0 + doubt / whole**2)
    weights /= weights.sum()
    # (width,): of each coordinate.
    apart = weights @ ((means - centre) ** 2 - (noise * (1.0 - shares))[:, None])
    return _Spreads(
        whole=whole,
        between=min(max(float(apart.sum()), 0.0), (1.0 - _LEAST_SHARE) * whole),
        pixels=float(apart[:-FRAME_WIDTH].sum()),
        noise=math.sqrt(float(weights**2 @ doubt)),
    )
