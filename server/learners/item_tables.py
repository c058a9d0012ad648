"""What noisy counts of items tell a tree: the rate of each item, and tables of frequent ones.

Rates: the items of a set are as many as its numbers of items say, so the noisy counts over all
classes are read by `smoothing.flat` with that sum, and those of a class by `smoothing.near` what
all classes have, with the sum of its own numbers.

Tables: a frequent item is a column of two groups, absent and present. One number was counted for
both, c times the records with it less c - 1 times all, c being 1 or 2
(`fedloom.common.set_marginals`), so each cell follows from it and the margins. Its error then
stands in two cells of a table with a column, and in all four of a table of two items, where a table
counted in full would have spread it over them; the tables say so by a noise that is larger by the
square root of two, and by two, and smaller by the c of their items.

All of it is post-processing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.item_blocks import ItemBlock
from fedloom.common.marginals import NoisyMarginals
from fedloom.server.learners.smoothing import flat, near

__all__ = ["ItemTables"]

Array = NDArray[Any]


class ItemTables:
    """The items of the sets of a schema, as noisy counts tell them.

    Attributes:
      frequent: (F,) items, counted over all sets, that were counted with other columns.
      rates: (C, items) share of a class's records that have each item.
    """

    def __init__(self, statistics: NoisyMarginals, cells: Array, records: Array) -> None:
        """Reads the counts.

        Args:
          statistics: the noisy sums; without items there is nothing to tell.
          cells: (C, D) share of each cell of each feature in each class.
          records: (C,) estimated records of each class.
        """
        self._statistics, self._records = statistics, records
        encoding, noisy = statistics.encoding, statistics.items
        self._pairs = None if noisy is None else noisy.pairs
        self.frequent = (
            np.zeros(0, dtype=np.int64) if self._pairs is None else self._pairs.measured.items
        )
        rates = [self._rates_of(block, cells) for block in encoding.sets]
        self.rates = np.hstack(rates) if rates else np.zeros((len(records), 0))

    @property
    def std(self) -> float | None:
        """The standard deviation of each count of an item with others, if they were counted."""
        return None if self._pairs is None else self._pairs.std

    def noise_of(self, pair: Sequence[int]) -> float:
        """Returns what stands for the noise of a table of two features, of which one is an item."""
        assert self._pairs is not None
        first = len(self._statistics.encoding.features)
        codes = [int(self._pairs.measured.codes[c - first]) for c in pair if c >= first]
        return self._pairs.std * math.sqrt(2.0) ** len(codes) / math.prod(codes)

    def log_shares(self, label: int, *, impossible: float) -> list[Array]:
        """Returns for each frequent item the logarithms of the shares without and with it."""
        chances = self.rates[label, self.frequent]
        pairs = np.stack([1.0 - chances, chances], axis=1)
        logs = np.log(np.maximum(pairs, 1e-300))
        return list(np.where(pairs > 0.0, logs, impossible))

    def tables(self, label: int, margins: Sequence[Array]) -> dict[tuple[int, int], Array]:
        """Returns the noisy table of each frequent item with each feature, and with each other.

        Args:
          label: of a class.
          margins: of each feature, then of each frequent item, the records of its groups.
        """
        if self._pairs is None:
            return {}
        measured, sums = self._pairs.measured, self._pairs.sums
        first, found, codes = len(self._statistics.encoding.features), {}, measured.codes
        for feature, counts in enumerate(measured.tables(sums, label)):
            for place, (code, counted) in enumerate(zip(codes, counts, strict=True)):
                present = (counted + (code - 1) * margins[feature]) / code
                table = np.stack([margins[feature] - present, present], axis=1)
                found[feature, first + place] = table
        together = measured.together(sums, label)
        for one in range(len(self.frequent)):
            for other in range(one + 1, len(self.frequent)):
                has = margins[first + one][1], margins[first + other][1]
                size = float(margins[first + one].sum())
                c, d = int(codes[one]), int(codes[other])
                # (c x - (c - 1)) (d y - (d - 1)), summed over records
                rest = c * (d - 1) * has[0] + d * (c - 1) * has[1] - (c - 1) * (d - 1) * size
                both = (together[one, other] + rest) / (c * d)
                neither = size - has[0] - has[1] + both
                table = np.array([[neither, has[1] - both], [has[0] - both, both]])
                found[first + one, first + other] = table
        return found

    def _rates_of(self, block: ItemBlock, cells: Array) -> Array:
        """Returns the rates (C, V) of the items of one set."""
        noisy = self._statistics.items
        assert noisy is not None
        span = slice(block.start, block.start + block.size)
        number = self._statistics.encoding.features[block.feature]
        shares = cells[:, number.start : number.start + block.most + 1]
        of_class = self._records * (shares @ np.arange(block.most + 1))
        total = max(float(of_class.sum()), 1e-9)
        looked, variance = noisy.counts[span].astype(np.float64), np.full(block.size, noisy.std**2)
        alone = self._alone(span)
        if alone is not None:
            counts, variances = alone
            weights = 1.0 / np.maximum(variance, 1e-9), 1.0 / np.maximum(variances.sum(0), 1e-9)
            looked = (weights[0] * looked + weights[1] * counts.sum(axis=0)) / sum(weights)
            variance = 1.0 / sum(weights)
        together = flat(looked, variance, total)
        rates = np.zeros((len(self._records), block.size))
        for label, size in enumerate(self._records):
            expected = together * (of_class[label] / total)
            if alone is not None and of_class[label] > 0:
                expected = near(alone[0][label], alone[1][label], expected)
            rates[label] = np.clip(expected / max(float(size), 1e-9), 0.0, 1.0)
        return rates

    def _alone(self, span: slice) -> tuple[Array, Array] | None:
        """Returns the noisy counts (C, V) of items within classes, and their variances.

        A frequent item's count is the mean, by precision, of its own and of its tables' sums.
        """
        if self._pairs is None:
            return None
        measured, sums, std = self._pairs.measured, self._pairs.sums, self._pairs.std
        codes = measured.codes
        mine = (self.frequent >= span.start) & (self.frequent < span.stop)
        places = self.frequent[mine] - span.start
        counts, variances = [], []
        for label in range(len(self._records)):
            own = measured.alone(sums, label)[span].astype(np.float64)
            precision = np.ones(len(own))
            size, code = float(self._records[label]), codes[mine]
            for table in measured.tables(sums, label):
                counted = (table[mine].sum(axis=1) + (code - 1) * size) / code
                own[places] += counted * code**2 / table.shape[1]
                precision[places] += code**2 / table.shape[1]
            counts.append(own / precision)
            variances.append(std**2 / precision)
        return np.array(counts), np.array(variances)
