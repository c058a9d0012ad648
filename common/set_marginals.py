"""Counts of the items of sets: each alone, and frequent ones with all other columns.

A record keeps at most k items of a set, all different, so it adds at most k ones to the counts of
a set's items, however many the schema lists: the L2 norm is the square root of k, or of the sum of
k over all sets. What a record holds never changes that bound, and adding or removing a record
changes the counts by that record's own ones.

`ItemCounts` counts every item over all classes (statistic `items`). `ItemPairs` counts within
classes every item alone and, of items that the request calls frequent, each with each group of each
column, and with each other (statistic `item-pairs`). A frequent item is counted in one of two ways,
which the schema decides (`item_codes`):

- with 1 for records that have it and nothing for others. Of such a set at most min(k, 12) of a
  record's frequent items count, 12 being `MOST_FREQUENT`.
- with 1 and -1. All frequent items of the set then count, min(V, 12) of V at the most, but the sum
  over a group is twice the records with the item, less the group's own records, which are known
  far better: so its noise is halved, and that of a pair of such items is a quarter.

With A the sum over sets of these two numbers, a record adds A numbers of size 1 for each of m
columns, at the most, and A (A - 1) / 2 for pairs. The second way is taken where min(V, 12) is at
most three times k: then what it adds is less than what it halves. A is fixed by the schema, and
which items are frequent may follow earlier answers.

A sum is released with Gaussian noise of `noise_multiplier` times its norm: a Gaussian mechanism for
adding or removing one record, or one person, whose rows multiply the norm by the most that count.
Its event, which ledgers compose, is that one Gaussian.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.marginals import check_numbered, group_sizes, groups_of_one

__all__ = [
    "MOST_FREQUENT",
    "ItemCounts",
    "ItemPairs",
    "NoisyItemPairs",
    "NoisyItems",
    "check_frequent",
    "item_codes",
    "item_pair_cells",
]

Array = NDArray[Any]

MOST_FREQUENT = 12
"""Items of a set that may be counted with other columns."""
_WORTH = 3


class ItemCounts:
    """How many records have each item of each set.

    A record adds at most k ones for each set, k being the most items that it keeps.

    Layout: the items of all sets, one set after the other.
    """

    kind = "items"

    def __init__(self, encoding: Encoding) -> None:
        """Takes the layout from a public encoding."""
        self.encoding = encoding
        self.length = encoding.num_items
        self.l2_norm = math.sqrt(encoding.item_places)

    def sum(self, features: Array, classes: Array) -> Array:
        """Returns the exact counts of a table, (length,) int64.

        Args:
          features: (N, m + item_places) coded records.
          classes: (N,) class of each record.
        """
        return _counts(self.encoding, features).astype(np.int64)


class ItemPairs:
    """How often items occur within each class, and frequent ones with columns and each other.

    A record adds at most K ones for its items, K being the most of all sets together, and A m
    numbers of size 1 for columns and A (A - 1) / 2 for pairs of items; see the module's docstring.

    Layout, for each class: the items of all sets; for each frequent item the groups of all
    features, one feature after the other; the pairs of frequent items i < j.

    Attributes:
      items: (F,) the frequent items, counted over all sets.
      codes: (F,) 1 where an item is counted with 1, 2 where it is with 1 and -1.
    """

    kind = "item-pairs"

    def __init__(self, encoding: Encoding, groups: Array, frequent: Array) -> None:
        """Takes the layout.

        Args:
          encoding: the public encoding.
          groups: (D,) group of each cell within its block.
          frequent: (items,) 1 for items that are counted with others, else 0.
        """
        self.encoding, self.groups = encoding, groups
        self.items = np.flatnonzero(frequent)
        self.sizes = group_sizes(encoding, groups)
        count = len(self.items)
        self._tables = count * sum(self.sizes)
        self._width = encoding.num_items + self._tables + count * (count - 1) // 2
        self.length = encoding.num_classes * self._width
        codes = item_codes(encoding)
        self.codes = codes[self.items]
        most = sum(
            min(block.size if codes[block.start] == 2 else block.most, MOST_FREQUENT)
            for block in encoding.sets
        )
        ones = encoding.item_places + most * len(encoding.features) + most * (most - 1) // 2
        self.l2_norm = math.sqrt(ones)

    def sum(self, features: Array, classes: Array) -> Array:
        """Returns the exact counts of a table, (length,) int64.

        Args:
          features: (N, m + item_places) coded records.
          classes: (N,) class of each record.
        """
        total = np.zeros((self.encoding.num_classes, self._width), dtype=np.int64)
        present, count = self._present(features), len(self.items)
        upper = np.triu_indices(count, 1)
        for label in range(self.encoding.num_classes):
            own = np.flatnonzero(classes == label)
            row, items, codes = total[label], self.encoding.num_items, features[own]
            row[:items] = _counts(self.encoding, codes)
            groups = np.hstack(
                [
                    self.groups[block.start + codes[:, [place]]].astype(np.int64)
                    for place, block in enumerate(self.encoding.features)
                ]
            )
            groups += np.cumsum([0, *self.sizes[:-1]])
            all_of = np.bincount(groups.reshape(-1), minlength=sum(self.sizes))
            tables = row[items : items + self._tables].reshape(count, sum(self.sizes))
            for position in range(count):
                held = groups[present[own, position]]
                with_it = np.bincount(held.reshape(-1), minlength=sum(self.sizes))
                code = self.codes[position]
                tables[position] = code * with_it - (code - 1) * all_of
            # Exact: no sum reaches 2^53.
            mine = (self.codes * present[own] - (self.codes - 1)).astype(np.float64)
            row[items + self._tables :] = (mine.T @ mine)[upper]
        return total.reshape(-1)

    def alone(self, vector: Array, label: int) -> Array:
        """Returns the counts of all items in a class, (items,); a view."""
        return self._row(vector, label)[: self.encoding.num_items]

    def tables(self, vector: Array, label: int) -> list[Array]:
        """Returns by feature the sums (F, G) of frequent items with its groups; views."""
        start = self.encoding.num_items
        part = self._row(vector, label)[start : start + self._tables]
        found = part.reshape(len(self.items), sum(self.sizes))
        ends = np.cumsum([0, *self.sizes])
        return [found[:, a:b] for a, b in zip(ends[:-1], ends[1:], strict=True)]

    def together(self, vector: Array, label: int) -> Array:
        """Returns the sums (F, F) of pairs of frequent items in a class, above the diagonal."""
        found = np.zeros((len(self.items), len(self.items)))
        part = self._row(vector, label)[self.encoding.num_items + self._tables :]
        found[np.triu_indices(len(self.items), 1)] = part
        return found

    def _row(self, vector: Array, label: int) -> Array:
        row: Array = vector.reshape(self.encoding.num_classes, self._width)[label]
        return row

    def _present(self, features: Array) -> Array:
        """Returns which frequent items each record has, (N, F)."""
        first, found = len(self.encoding.features), []
        for block in self.encoding.sets:
            place = first + block.place
            held = features[:, place : place + block.most]
            mine = self.items[(self.items >= block.start) & (self.items < block.start + block.size)]
            found += [(held == item - block.start).any(axis=1) for item in mine]
        return np.stack(found, axis=1) if found else np.zeros((len(features), 0), dtype=bool)


@dataclass(frozen=True, kw_only=True, eq=False)
class NoisyItemPairs:
    """The noisy `ItemPairs` sum over sites.

    Attributes:
      measured: its layout.
      sums: (length,) the noisy sum.
      std: standard deviation of its noise.
    """

    measured: ItemPairs
    sums: Array
    std: float


@dataclass(frozen=True, kw_only=True, eq=False)
class NoisyItems:
    """What a coordinator knows of the items of sets.

    Attributes:
      counts: (items,) the noisy `ItemCounts` sum over sites.
      std: standard deviation of its noise.
      pairs: what was counted after it, or None.
    """

    counts: Array
    std: float
    pairs: NoisyItemPairs | None = None

    def check(self, encoding: Encoding, groups: Array | None) -> None:
        """Refuses sums of another layout, or with numbers that are not finite.

        Args:
          encoding: the public encoding.
          groups: (D,) that pairs were counted on; None where there are none.

        Raises:
          ConfigError: says what is wrong.
        """
        if self.counts.shape != (encoding.num_items,) or not np.isfinite(self.counts).all():
            raise ConfigError(
                f"counts of items of this schema have shape ({encoding.num_items},) and finite "
                f"numbers; got shape {self.counts.shape}"
            )
        if self.pairs is None:
            return
        groups = groups_of_one(encoding) if groups is None else groups
        if not np.array_equal(groups, self.pairs.measured.groups):
            raise ConfigError(
                "items must be counted on the groups of the pairs; the coordinator that asked for "
                "others must be asked why"
            )
        length = self.pairs.measured.length
        if self.pairs.sums.shape != (length,) or not np.isfinite(self.pairs.sums).all():
            raise ConfigError(f"counts of items with columns need {length} finite numbers")


def item_codes(encoding: Encoding) -> NDArray[np.int64]:
    """Returns how each item would be counted with others: 1 with 1 alone, 2 with 1 and -1."""
    codes = [
        np.full(block.size, 1 + int(min(block.size, MOST_FREQUENT) <= _WORTH * block.most))
        for block in encoding.sets
    ]
    return np.concatenate(codes) if codes else np.zeros(0, dtype=np.int64)


def check_frequent(encoding: Encoding, arrays: Mapping[str, Array], most_cells: int) -> None:
    """Refuses a request that calls too many items frequent, or has too many cells.

    Args:
      encoding: the public encoding.
      arrays: `groups` (D,) int32 and `frequent` (items,) int32.
      most_cells: how many cells all classes may have together.

    Raises:
      ConfigError: says what is wrong.
    """
    check_numbered(encoding, arrays["groups"])
    frequent = arrays["frequent"]
    if not np.isin(frequent, (0, 1)).all():
        raise ConfigError("frequent must hold 1 for frequent items and 0 for others")
    for block in encoding.sets:
        chosen = int(frequent[block.start : block.start + block.size].sum())
        if chosen > MOST_FREQUENT:
            raise ConfigError(
                f"{chosen} items of column '{block.name}' are called frequent, at most "
                f"{MOST_FREQUENT} may be"
            )
    cells = item_pair_cells(encoding, group_sizes(encoding, arrays["groups"]), int(frequent.sum()))
    if cells > most_cells:
        raise ConfigError(
            f"items and columns make {cells:,} cells, at most {most_cells:,} are allowed; join "
            "more cells or call fewer items frequent"
        )


def item_pair_cells(encoding: Encoding, sizes: tuple[int, ...], frequent: int) -> int:
    """Returns the cells of `ItemPairs` of so many groups of each feature and frequent items."""
    width = encoding.num_items + frequent * sum(sizes) + frequent * (frequent - 1) // 2
    return encoding.num_classes * width


def _counts(encoding: Encoding, features: Array) -> Array:
    """Returns how many records have each item, (items,)."""
    first, found = len(encoding.features), []
    for block in encoding.sets:
        place = first + block.place
        held = features[:, place : place + block.most].reshape(-1)
        found.append(np.bincount(held[held >= 0], minlength=block.size))
    return np.concatenate(found)
