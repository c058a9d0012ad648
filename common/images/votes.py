"""Votes: each record names the candidate image of its class that is nearest to its own image.

The nearest is looked for in public features: the frequencies that images are summed in, or what an
embedding gives that is installed at the sites (`fedloom.common.images.embedding`). Only their
direction counts: faint and blurred images, which are short vectors, would else be near to
everything. Features of an image depend on that image alone and are multiples of `bounded.GRID`, so
lengths and squared distances are exact and a record's vote never depends on which other records are
there. Of equally near candidates the first has the vote. As each record adds one to one count,
whatever its image holds, the L2 norm of what it adds is 1.

Released through `fedloom.privacy.mechanisms.noisy_sum`: with Gaussian noise of the phase's
multiplier times that norm (times `rows_per_person`) it is (epsilon, delta)-DP when one record, or
one person with all its rows, is added or removed; its event is that one Gaussian.

Source: private evolution (Lin et al. 2024).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.errors import ConfigError
from fedloom.common.images.bounded import gridded
from fedloom.common.images.coder import PIXELS, ImageCoder
from fedloom.common.images.embedding import Embedded, embedding_of
from fedloom.common.images.vectors import FRAME_WIDTH, image_vectors
from fedloom.common.models.vote_settings import FREQUENCIES, MOST_VOTE_ROUNDS, VoteSettings

__all__ = [
    "VOTES",
    "VoteSum",
    "check_candidates",
    "directions",
    "nearest",
    "vote_shapes",
    "votes_of",
]

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Shapes = dict[str, tuple[tuple[int, ...], str]]

VOTES = ("image-votes", *(f"image-votes-{number}" for number in range(2, MOST_VOTE_ROUNDS + 1)))
"""The rounds of votes, in the order in which they are asked."""
_BLOCK = 1024
_LENGTH = 64.0


class VoteSum:
    """How many records of each class name each candidate; a record adds a single one."""

    def __init__(self, coder: ImageCoder, arrays: Arrays) -> None:
        """Takes the candidates, `candidates` (C, K, height, width, channels) uint8."""
        self._coder, self._candidates = coder, arrays["candidates"]
        self.length, self.l2_norm = int(np.prod(self._candidates.shape[:2])), 1.0

    def sum(self, features: Array, classes: Array) -> Array:
        """Returns the exact counts over records, (C * K,) int64."""
        of, count = _features(self._coder), self._candidates.shape[1]
        total = np.zeros(self._candidates.shape[:2], np.int64)
        for label, own in enumerate(self._candidates):
            named, rows = directions(of(own)), np.flatnonzero(classes == label)
            # Features of a block are in memory at once, however many records there are.
            for block in np.split(rows, range(_BLOCK, len(rows), _BLOCK)):
                votes = nearest(directions(of(features[PIXELS][block])), named)
                total[label] += np.bincount(votes, minlength=count)
        return total.reshape(-1)


def directions(features: Array) -> Array:
    """Returns features at one length, on the grid.

    Args:
      features: (N, D) multiples of `bounded.GRID`, small enough that sums of squares are exact.

    Returns:
      (N, D) multiples of `bounded.GRID`, of a length of about 64, or of 0 where features are; each
      row depends on its own row alone, to the last bit.
    """
    lengths = np.sqrt(np.einsum("nd,nd->n", features, features))[:, None]
    return gridded(features * (_LENGTH / np.where(lengths > 0.0, lengths, 1.0)))


def nearest(points: Array, candidates: Array) -> Array:
    """Returns the candidate nearest to each point, the first of equally near ones.

    Args:
      points: (N, D) multiples of `bounded.GRID`, private.
      candidates: (K, D) of the same.

    Returns:
      (N,) int64; each depends on its own point alone.
    """
    # Exact, in any order: sums of products of multiples of the grid.
    squares = (candidates**2).sum(axis=1)
    found: Array = (squares - 2.0 * (points @ candidates.T)).argmin(axis=1)
    return found


def votes_of(coder: ImageCoder) -> VoteSettings:
    """Returns the plan's settings of votes.

    Raises:
      ConfigError: its model asks for none.
    """
    if coder.votes is None:
        raise ConfigError("the plan's model asks for no votes; a request for them fits no plan")
    return coder.votes


def vote_shapes(coder: ImageCoder) -> Shapes:
    """Returns shape and type of the array of a request."""
    shape, count = coder.shape, votes_of(coder).candidates
    pixels = (shape.height, shape.width, shape.channels)
    return {"candidates": ((coder.encoding.num_classes, count, *pixels), "uint8")}


def check_candidates(coder: ImageCoder, arrays: Arrays, max_cells: int) -> None:
    """Refuses more counts than the plan has; any image may be a candidate.

    Raises:
      ConfigError: there are.
    """
    cells = int(np.prod(arrays["candidates"].shape[:2]))
    if cells > max_cells:
        raise ConfigError(f"the plan has {max_cells} candidates, got {cells}")


def _features(coder: ImageCoder) -> Callable[[Array], Array]:
    """Returns what gives the features of images (N, height, width, channels) uint8."""
    votes = votes_of(coder)
    if votes.features != FREQUENCIES:
        embedding: Embedded = embedding_of(votes.features, votes.weights)
        return embedding.of
    return lambda images: image_vectors(images, coder.coordinates, False)[:, :-FRAME_WIDTH]
