"""Which rows of a tree hold sets that can be: number of items and frequent items must agree.

A row says a group of the number of items of each set, and which frequent items it has. It can be a
record if some number of the group is at least the number of its frequent items, and at most that
number and all other items of the set. Whatever is drawn otherwise, by noise or because no clique
holds all of these columns, is left out, by a tree's fit as by every draw from it; weights of the
rows that remain are fitted to all counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.encoding import Encoding

__all__ = ["SetRules"]

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Rule:
    """What one set allows.

    Attributes:
      feature: of its number of items.
      items: features of its frequent items.
      least: by group of the number, the least number in it.
      most: the largest one; 0 for a group without a number.
      others: items of the set that are not frequent.
    """

    feature: int
    items: tuple[int, ...]
    least: Array
    most: Array
    others: int


@dataclass(frozen=True, slots=True)
class SetRules:
    """What the sets of a schema allow."""

    rules: tuple[_Rule, ...]

    @classmethod
    def of(
        cls, encoding: Encoding, groups: Sequence[Sequence[int]], frequent: Sequence[int]
    ) -> SetRules:
        """Returns the rules of a tree.

        Args:
          encoding: of the schema.
          groups: for each feature the group of each of its cells.
          frequent: items, counted over all sets, that follow the features.
        """
        rules = []
        for block in encoding.sets:
            of = np.asarray(groups[block.feature])
            numbers = np.arange(len(of)) * (np.arange(len(of)) <= block.most)
            least = np.full(int(of.max()) + 1, len(of))
            most = np.zeros(int(of.max()) + 1, dtype=np.int64)
            np.minimum.at(least, of, numbers)
            np.maximum.at(most, of, numbers)
            items = tuple(
                len(encoding.features) + place
                for place, item in enumerate(frequent)
                if block.start <= item < block.start + block.size
            )
            rules.append(_Rule(block.feature, items, least, most, block.size - len(items)))
        return cls(tuple(rules))

    def kept(self, groups: Array) -> NDArray[np.bool_]:
        """Tells which rows (features, N) of groups can be records, (N,)."""
        kept = np.ones(groups.shape[1], dtype=bool)
        for rule in self.rules:
            held = groups[list(rule.items)].sum(axis=0)
            number = groups[rule.feature]
            kept &= held <= rule.most[number]
            kept &= rule.least[number] <= held + rule.others
        return kept
