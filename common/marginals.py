"""Counts that describe a table: how often each code, and each pair of codes, occurs.

`OneWayMarginals` and `TwoWayMarginals` map a record to a vector of zeros and ones; a site sums it
over its records, adds noise and answers (query `statistic`). Every record adds the same number of
ones, because each column is a block with exactly one code a record, so the L2 norm of one record's
vector, `l2_norm`, is known from the encoding alone and is the sensitivity of the sum when one
record is added or removed. Nothing needs clipping, and nothing depends on the data but the sum.

Pairs are counted on groups of codes. Which codes form a group may depend on an earlier noisy
answer: a record adds one to each pair of columns whatever the groups, so neither the sensitivity
nor the noise does.

`NoisyMarginals` is what the coordinator holds after the sums: all read from it is post-processing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from fedloom.common.column_marginals import ColumnMarginals, reconcile_columns
from fedloom.common.consistency import ConsistentMarginals, reconcile_marginals
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError

if TYPE_CHECKING:
    from fedloom.common.class_column_marginals import NoisyClassColumns
    from fedloom.common.column_prior import ColumnPrior
    from fedloom.common.parities import NoisyParities
    from fedloom.common.set_marginals import NoisyItems
    from fedloom.common.three_way_marginals import NoisyTriples

__all__ = [
    "NoisyMarginals",
    "OneWayMarginals",
    "TwoWayMarginals",
    "check_groups",
    "check_numbered",
    "group_sizes",
    "groups_of_one",
    "wanted_groups",
]

Array = np.ndarray[Any, np.dtype[Any]]

_SIGNAL = 0.5
_MIN_GROUPS, _MAX_GROUPS = 4, 64


class OneWayMarginals:
    """The records of each class, and of each code within each class.

    A record adds m + 1 ones, with m feature blocks.

    Layout, for each class: its count (1), then the counts of all codes of all blocks (D).
    """

    kind = "one-way"

    def __init__(self, encoding: Encoding) -> None:
        """Takes the layout from a public encoding."""
        self.encoding = encoding
        self._width = 1 + encoding.width
        self.length = encoding.num_classes * self._width
        self.l2_norm = math.sqrt(len(encoding.features) + 1)

    def sum(self, feature_codes: Array, classes: Array) -> Array:
        """Returns the exact counts of a table, (length,) int64.

        Args:
          feature_codes: (N, m) codes, each within its block.
          classes: (N,) class of each record.
        """
        total = np.zeros((self.encoding.num_classes, self._width), dtype=np.int64)
        total[:, 0] = np.bincount(classes, minlength=self.encoding.num_classes)
        for position, block in enumerate(self.encoding.features):
            cells = classes.astype(np.int64) * block.size + feature_codes[:, position]
            counts = np.bincount(cells, minlength=self.encoding.num_classes * block.size)
            total[:, 1 + block.start :][:, : block.size] = counts.reshape(-1, block.size)
        return total.reshape(-1)

    def rows(self, vector: Array) -> tuple[Array, Array]:
        """Returns the counts of the classes (C,) and of the codes within them (C, D): views."""
        rows = vector.reshape(self.encoding.num_classes, self._width)
        return rows[:, 0], rows[:, 1:]


class TwoWayMarginals:
    """How often each pair of groups of codes of two columns occurs within each class.

    A record adds m (m - 1) / 2 ones, with m feature blocks, whatever the groups.

    Layout, for each class: for each pair of blocks a < b, in the order (0, 1), (0, 2), ..., their
    table with the groups of b running fastest.
    """

    kind = "pairwise"

    def __init__(self, encoding: Encoding, groups: Array | None = None) -> None:
        """Takes the layout from a public encoding and the group of each cell.

        Args:
          encoding: the public encoding.
          groups: (D,) as `check_groups` accepts; None gives every cell a group of its own.
        """
        self.encoding = encoding
        self.groups = groups_of_one(encoding) if groups is None else groups
        self.sizes = group_sizes(encoding, self.groups)
        self._spans: dict[tuple[int, int], slice] = {}
        end = 0
        for a, first in enumerate(self.sizes):
            for b in range(a + 1, len(self.sizes)):
                offset, end = end, end + first * self.sizes[b]
                self._spans[a, b] = slice(offset, end)
        self._width = end
        self.length = encoding.num_classes * end
        self.l2_norm = math.sqrt(len(self._spans))

    def sum(self, feature_codes: Array, classes: Array) -> Array:
        """Returns the exact counts of a table, (length,) int64.

        Args:
          feature_codes: (N, m) codes, each within its block.
          classes: (N,) class of each record.
        """
        num_classes = self.encoding.num_classes
        total = np.zeros((num_classes, self._width), dtype=np.int64)
        columns = [
            self.groups[block.start + feature_codes[:, a]].astype(np.int64)
            for a, block in enumerate(self.encoding.features)
        ]
        for a, first in enumerate(self.sizes):
            rows = classes.astype(np.int64) * first + columns[a]
            for b in range(a + 1, len(self.sizes)):
                cells = rows * self.sizes[b] + columns[b]
                counts = np.bincount(cells, minlength=num_classes * first * self.sizes[b])
                total[:, self._spans[a, b]] = counts.reshape(num_classes, -1)
        return total.reshape(-1)

    def tables(self, vector: Array, label: int) -> Iterator[tuple[tuple[int, int], Array]]:
        """Yields ((a, b), table) for each pair of blocks a < b of a class; tables are views."""
        row = vector.reshape(self.encoding.num_classes, self._width)[label]
        for (a, b), span in self._spans.items():
            yield (a, b), row[span].reshape(self.sizes[a], self.sizes[b])

    def gram(self, vector: Array, label: int) -> Array:
        """Returns the symmetric (G, G) matrix of a class, zero within blocks."""
        starts = np.concatenate([[0], np.cumsum(self.sizes)])
        gram = np.zeros((starts[-1], starts[-1]), dtype=vector.dtype)
        for (a, b), table in self.tables(vector, label):
            rows, columns = slice(starts[a], starts[a + 1]), slice(starts[b], starts[b + 1])
            gram[rows, columns], gram[columns, rows] = table, table.T
        return gram


def groups_of_one(encoding: Encoding) -> Array:
    """Returns the groups (D,) in which every cell stands alone."""
    return np.concatenate([np.arange(block.size, dtype=np.int32) for block in encoding.features])


def group_sizes(encoding: Encoding, groups: Array) -> tuple[int, ...]:
    """Returns how many groups each feature block has."""
    return tuple(
        int(groups[block.start : block.start + block.size].max()) + 1 for block in encoding.features
    )


def wanted_groups(records: float, pair_std: float) -> float:
    """Returns on how many groups a column of many values is to be counted in pairs.

    An average cell of a table then holds half a standard deviation of its noise; fewer than 4
    groups tell too little, more than 64 tell little that their neighbours do not.

    Args:
      records: noisy number of records.
      pair_std: standard deviation of the noise that each count of a pair bears.
    """
    wanted = math.sqrt(records / max(_SIGNAL * pair_std, 1e-9))
    return min(max(wanted, _MIN_GROUPS), _MAX_GROUPS)


def check_numbered(encoding: Encoding, groups: Array) -> None:
    """Refuses an array that does not number the groups of each block from 0, each in use.

    Args:
      encoding: the public encoding.
      groups: (D,) int32.

    Raises:
      ConfigError: says what is wrong.
    """
    if groups.dtype != np.int32 or groups.shape != (encoding.width,):
        raise ConfigError(
            f"groups must be int32 of shape ({encoding.width},), one for each cell; got "
            f"{groups.dtype} of shape {groups.shape}"
        )
    for block in encoding.features:
        used = np.unique(groups[block.start : block.start + block.size])
        if used[0] != 0 or used[-1] != len(used) - 1:
            raise ConfigError(
                f"the groups of column {block.name!r} must be numbered from 0 without a gap"
            )


def check_groups(encoding: Encoding, groups: Array, most_cells: int) -> None:
    """Refuses an array that does not say for each cell of each block to which group it belongs.

    Args:
      encoding: the public encoding.
      groups: (D,) int32; within each block the numbers 0 to G - 1, each at least once.
      most_cells: how many cells all tables of all classes may have together.

    Raises:
      ConfigError: says what is wrong.
    """
    check_numbered(encoding, groups)
    sizes = group_sizes(encoding, groups)
    cells = encoding.num_classes * (sum(sizes) ** 2 - sum(size**2 for size in sizes)) // 2
    if cells > most_cells:
        raise ConfigError(
            f"the groups make {cells:,} cells of pairs, at most {most_cells:,} are allowed; join "
            "more cells"
        )


@dataclass(frozen=True, kw_only=True)
class NoisyMarginals:
    """The sums over sites of one or two statistics, with their noise: what a coordinator knows.

    Attributes:
      encoding: the public encoding that the sites counted with.
      look: the noisy sum over sites of `OneWayMarginals`, or of `ColumnMarginals`.
      look_std: standard deviation of the noise in each coordinate of that sum.
      groups: (D,) int32 groups that pairs were counted on, or None without pairs.
      pairs: the noisy `TwoWayMarginals` sum over sites, or None.
      pair_std: standard deviation of its noise, or None.
      site_totals: noisy number of records of each site, at least 1.
      by_class: whether the look counts codes within each class; else it is a `ColumnMarginals` sum.
      triples: coarse triples within each class, or None.
      class_columns: the groups' counts within each class, beside a `ColumnMarginals` look, or None.
      parities: products of signs of three to five columns, or None.
      prior: what a public table says of single columns, or None.
      items: of sets, or None.
    """

    encoding: Encoding
    look: Array
    look_std: float
    groups: Array | None = None
    pairs: Array | None = None
    pair_std: float | None = None
    site_totals: Mapping[str, float] = field(default_factory=dict)
    by_class: bool = True
    triples: NoisyTriples | None = None
    class_columns: NoisyClassColumns | None = None
    parities: NoisyParities | None = None
    prior: ColumnPrior | None = None
    items: NoisyItems | None = None

    def __post_init__(self) -> None:
        """Refuses vectors of the wrong length or with numbers that are not finite."""
        if len({value is None for value in (self.groups, self.pairs, self.pair_std)}) > 1:
            raise ConfigError("noisy pairs need their groups, their sum and its noise together")
        _check_vector(self._looked(), self.look)
        if self.groups is not None and self.pairs is not None:
            check_groups(self.encoding, self.groups, most_cells=len(self.pairs))
            _check_vector(TwoWayMarginals(self.encoding, self.groups), self.pairs)
        if self.class_columns is not None:
            self.class_columns.check(self)

    @property
    def has_pairs(self) -> bool:
        """Whether pairs were measured too."""
        return self.pairs is not None

    def class_counts(self) -> Array:
        """Returns the estimated records of each class, (num_classes,), never negative."""
        return np.asarray(np.maximum(self._agreed.counts, 0.0))

    def count_std(self) -> float:
        """Returns the standard deviation of each of `class_counts`, before the cut at zero."""
        return self._agreed.count_std

    def total(self) -> float:
        """Returns the estimated number of records over all sites, at least 1."""
        return max(1.0, float(self._agreed.counts.sum()))

    def one_way(self, label: int) -> list[Array]:
        """Returns estimated counts of each block's codes in a class; some may be negative.

        They are the least-squares estimate from all that was measured: every block's counts sum
        to the class's estimated size before it is cut at zero.
        """
        row = self._agreed.one_way[label]
        return [row[block.start : block.start + block.size] for block in self.encoding.features]

    def one_way_std(self) -> Array:
        """Returns the standard deviation of each cell of `one_way`, (D,), the size known."""
        return self._agreed.one_way_std

    def column_std(self) -> Array:
        """Returns the standard deviation of each code's count over all classes, (D,)."""
        return self._agreed.column_std

    def tables(self, label: int) -> Iterator[tuple[tuple[int, int], Array]]:
        """Yields ((a, b), noisy table on groups) for each pair of blocks a < b of a class.

        Raises:
          ConfigError: no pairs were measured.
        """
        measured, pairs = self._pairwise()
        return measured.tables(pairs, label)

    def gram(self, label: int) -> Array:
        """Returns the noisy pair counts of a class on groups, (G, G), zero within blocks.

        Raises:
          ConfigError: no pairs were measured.
        """
        measured, pairs = self._pairwise()
        return measured.gram(pairs, label)

    def _pairwise(self) -> tuple[TwoWayMarginals, Array]:
        if self.pairs is None:
            raise ConfigError("only pairwise statistics hold pair counts")
        return TwoWayMarginals(self.encoding, self.groups), self.pairs

    @cached_property
    def _agreed(self) -> ConsistentMarginals:
        sizes = [block.size for block in self.encoding.features]
        looked = (*self._looked().rows(self.look), self.look_std, sizes)
        reconcile = reconcile_marginals if self.by_class else reconcile_columns
        if self.pairs is None or self.groups is None or self.pair_std is None:
            return reconcile(*looked)
        own = {} if self.class_columns is None else self.class_columns.for_reconciling()
        return reconcile(
            *looked,
            groups=self.groups,
            tables=[dict(self.tables(label)) for label in range(self.encoding.num_classes)],
            pair_std=self.pair_std,
            **own,
        )

    def group_variances(self, position: int) -> Array:
        """Returns the variance of a class's count of each group of a feature, (G,).

        Counts of one group's codes move together, so it is not the sum of the codes' variances.

        Raises:
          ConfigError: no pairs were measured, so there are no groups.
        """
        if self.groups is None:
            raise ConfigError("only statistics with pairs join codes to groups")
        block = self.encoding.features[position]
        span = slice(block.start, block.start + block.size)
        groups, std = self.groups[span].astype(np.int64), self.one_way_std()[span]
        members = np.bincount(groups).astype(np.float64)
        share = self.class_counts() / max(float(self.class_counts().sum()), 1e-9)
        of_class = 1.0 if self.by_class else float(np.square(share).mean())
        within = of_class * self.look_std**2 * (1.0 - 1.0 / members)
        cells = np.bincount(groups, std**2) / members - within
        return np.asarray(np.maximum(cells, 0.0) * members**2)

    def looked_codes(self) -> Array:
        """Returns the look's noisy counts of all codes as they came: (C, D), or (D,) by column."""
        return self._looked().rows(self.look)[1]

    def axis_levels(self, position: int) -> list[Array]:
        """Returns a feature's noisy counts at each width of its axis, the finest first.

        Empty where the look counted the axis at one width only, or there is no axis.
        """
        return self._levels(position) if self.encoding.features[position].ordered else []

    def code_levels(self, position: int) -> list[Array]:
        """Returns a feature's noisy counts at each level of its hierarchy, the codes first.

        Empty where the look counted the codes alone, or there is no hierarchy.
        """
        return [] if self.encoding.features[position].ordered else self._levels(position)

    def _levels(self, position: int) -> list[Array]:
        return [] if self.by_class else ColumnMarginals(self.encoding).levels(self.look, position)

    def _looked(self) -> OneWayMarginals | ColumnMarginals:
        return (OneWayMarginals if self.by_class else ColumnMarginals)(self.encoding)


def _check_vector(
    measured: OneWayMarginals | TwoWayMarginals | ColumnMarginals, vector: Array
) -> None:
    if vector.shape != (measured.length,) or not np.isfinite(vector).all():
        raise ConfigError(
            f"a {measured.kind} statistic has {measured.length} finite numbers, not {vector.shape}"
        )
