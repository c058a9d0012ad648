"""Draws the items of sets, given how many there are and which of the frequent ones.

Frequent items are drawn with all other columns, as columns of their own. The rest of a set, up to
its number of items, is drawn among the other items at the rates that their class has: by
systematic sampling (Madow 1949) over a random order of the items, which gives each item exactly its
share of the places, never an item twice, and counts over many records that hardly vary. What
remains of a set depends on class and number alone.

A record that has more frequent items than its number says gets their number. So number and items
agree in every record, whatever it was drawn from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fedloom.common.encoding import Encoding
from fedloom.common.item_blocks import ItemBlock
from fedloom.common.set_cells import NO_ITEM

__all__ = ["ItemFiller", "inclusion_chances", "systematic"]

Array = npt.NDArray[Any]

# Records that share an order of the items, and orders for one class and number at the most.
_SHARE_AN_ORDER, _MOST_ORDERS = 32, 128
# Share of a place that every item keeps, so that there are always enough of them.
_LEAST = 1e-9


class ItemFiller:
    """Completes coded records of a schema with sets."""

    def __init__(self, encoding: Encoding, arrays: Mapping[str, Array]) -> None:
        """Takes the rate of each item.

        Args:
          encoding: Of the schema.
          arrays: Of a published generator: `item_rates` (C, items) where there are sets, the share
            of a class's records that have each item.
        """
        self._encoding = encoding
        self._rates = np.asarray(arrays["item_rates"], dtype=np.float64) if encoding.sets else None

    def fill(
        self,
        feature_codes: Array,
        classes: Array,
        rng: np.random.Generator,
        *,
        frequent: Array | None = None,
        present: Array | None = None,
        required: Array | None = None,
    ) -> Array:
        """Returns coded records (N, m + item_places); those of a schema without sets as they are.

        Args:
          feature_codes: (N, m) codes, of sets their numbers of items.
          classes: (N,) class of each record.
          rng: Source of the draws.
          frequent: (F,) items, counted over all sets, that `present` tells of; None for none.
          present: (N, F) which of them each record has.
          required: (F,) which of them every record has by a condition, at most as many of a set as
            a record may have; none is cut off. None for none.
        """
        if self._rates is None:
            return feature_codes
        if frequent is None or present is None:
            frequent, present = np.zeros(0, dtype=np.int64), np.zeros((len(classes), 0), dtype=bool)
        if required is None:
            required = np.zeros(len(frequent), dtype=bool)
        codes, parts = feature_codes.copy(), []
        for block in self._encoding.sets:
            mine = (frequent >= block.start) & (frequent < block.start + block.size)
            own = frequent[mine] - block.start
            chosen = _at_most(present[:, mine], required[mine], block.most, rng)
            rare = np.setdiff1d(np.arange(block.size), own)
            column = codes[:, block.feature]
            held = chosen.sum(axis=1)
            column[:] = self._numbers(block, column, held, len(rare))
            wanted = np.where(column <= block.most, column - held, 0)
            items = np.full((len(codes), len(own) + block.most), block.size, dtype=np.int32)
            items[:, : len(own)] = np.where(chosen, own, block.size)
            self._draw_rare(block, items[:, len(own) :], rare, wanted, classes, rng)
            items = np.sort(items, axis=1)[:, : block.most]
            items[items == block.size] = NO_ITEM
            parts.append(items)
        return np.hstack([codes, *parts])

    def _numbers(self, block: ItemBlock, column: Array, held: Array, rare: int) -> Array:
        """Returns numbers of items (N,) that frequent ones and the others can make up."""
        counted = column <= block.most
        moved = np.clip(column, held, held + rare)
        # A set that is missing holds nothing; one that holds something is not missing.
        return np.where(counted, moved, np.where(held > 0, held, column))

    def _draw_rare(
        self,
        block: ItemBlock,
        places: Array,
        rare: Array,
        wanted: Array,
        classes: Array,
        rng: np.random.Generator,
    ) -> None:
        """Puts as many rare items as are wanted into each record's places (N, most)."""
        assert self._rates is not None
        for label in np.unique(classes):
            weights = self._rates[label, block.start + rare]
            for number in range(1, block.most + 1):
                rows = np.flatnonzero((classes == label) & (wanted == number))
                if len(rows):
                    chances = inclusion_chances(weights, number)
                    places[rows, :number] = rare[systematic(chances, number, len(rows), rng)]


def inclusion_chances(weights: Array, number: int) -> Array:
    """Returns the chance of each item to be among `number` different ones: most in proportion.

    An item whose share would be above 1 is always among them, and the others share the rest.

    Args:
      weights: (V,) not negative, V at least `number`.
      number: at least 1.

    >>> inclusion_chances(np.array([3.0, 1.0, 1.0, 1.0]), 2).round(2).tolist()
    [1.0, 0.33, 0.33, 0.33]
    """
    weights = np.maximum(weights, 0.0)
    weights = weights / weights.sum() if weights.sum() > 0 else np.ones(len(weights))
    weights = weights + _LEAST
    always = np.zeros(len(weights), dtype=bool)
    while True:
        left = number - int(always.sum())
        chances = np.where(always, 1.0, weights * left / max(weights[~always].sum(), _LEAST))
        beyond = ~always & (chances > 1.0)
        if not beyond.any():
            return np.asarray(np.minimum(chances, 1.0))
        always |= beyond


def systematic(chances: Array, number: int, rows: int, rng: np.random.Generator) -> Array:
    """Draws sets of different items by systematic sampling, each record's by itself.

    Args:
      chances: (V,) of each item, in [0, 1]; they sum to `number`.
      number: items of each record.
      rows: records, N.
      rng: Source of the draws.

    Returns:
      (N, number) items; of N records each item is in N times its chance, but for rounding.
    """
    found = np.empty((rows, number), dtype=np.int64)
    orders = min(max(rows // _SHARE_AN_ORDER, 1), _MOST_ORDERS)
    for part in np.array_split(rng.permutation(rows), orders):
        order = rng.permutation(len(chances))
        ends = np.cumsum(chances[order])
        ends *= number / ends[-1]
        starts = (rng.permutation(len(part)) + rng.random()) / max(len(part), 1)
        points = starts[:, None] + np.arange(number)
        places = np.searchsorted(ends, points, side="right")
        # Rounding alone could name an item twice, or one beyond the last.
        steps = np.arange(number)
        places = np.maximum.accumulate(places - steps, axis=1)
        places = np.minimum(places, len(chances) - number) + steps
        found[part] = order[places]
    return found


def _at_most(present: Array, required: Array, most: int, rng: np.random.Generator) -> Array:
    """Returns which items each record keeps (N, F): all, or as many as it may by lot.

    Items that are required (F,) come before the lot.
    """
    beyond = present.sum(axis=1) > most
    if not beyond.any():
        return present
    present = present.copy()
    lots = np.where(present[beyond], rng.random(present[beyond].shape) - required, 2.0)
    ranks = lots.argsort(axis=1).argsort(axis=1)
    present[beyond] &= ranks < most
    return present
