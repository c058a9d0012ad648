"""Counts of single columns and of the label, not within classes: a `tree`'s first statistic.

A record adds one to its class and one to its code in each of m columns, as for counts within
classes; on a fine axis also one to each wider cell that it falls in (`fedloom.common.hierarchy`),
so that a range of an axis is told by few noisy counts; and one to the node of its code at each
level of a public hierarchy (`fedloom.common.code_hierarchy`). A column's counts are one number a
code instead of one a code and class, each with the same noise: rare codes are told twice as well
with two classes. What classes differ in is told by the pairs, which are counted within classes.

`reconcile_columns` puts both together. All of that is post-processing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.consistency import ConsistentMarginals, table_margins
from fedloom.common.encoding import Block, Encoding
from fedloom.common.grid import KEEP_ALL
from fedloom.common.hierarchy import level_counts, level_sizes

__all__ = ["ColumnMarginals", "reconcile_columns"]

Array = NDArray[Any]

_MIN_STD = 1e-9


class ColumnMarginals:
    """The records of each class, and of each code of each block over all classes.

    A record adds one to its class, and one to each level of each of its m blocks (`levels`).

    Layout: the counts of the classes (C), then of all codes of all blocks (D), then block by block
    the wider levels of a fine axis or of a hierarchy, the finer first; they count numbers that lie
    on the axis, or listed values, only.
    """

    kind = "columns"

    def __init__(self, encoding: Encoding) -> None:
        """Takes the layout from a public encoding."""
        self.encoding = encoding
        self._wider = [_wider_sizes(block) for block in encoding.features]
        first = encoding.num_classes + encoding.width
        self.length = first + sum(map(sum, self._wider))
        ones = 1 + sum(1 + len(sizes) for sizes in self._wider)
        self.l2_norm = math.sqrt(ones)

    def sum(self, feature_codes: Array, classes: Array) -> Array:
        """Returns the exact counts of a table, (length,) int64.

        Args:
          feature_codes: (N, m) codes, each within its block.
          classes: (N,) class of each record.
        """
        parts = [np.bincount(classes, minlength=self.encoding.num_classes)]
        parts += [
            np.bincount(feature_codes[:, position], minlength=block.size)
            for position, block in enumerate(self.encoding.features)
        ]
        for position, (block, sizes) in enumerate(
            zip(self.encoding.features, self._wider, strict=True)
        ):
            if not sizes:
                continue
            codes = feature_codes[:, position]
            codes = codes[codes < block.num_bins]
            if block.ordered:
                parts += list(level_counts(codes, block.num_bins))[1:]
            else:
                parts += [
                    np.bincount(np.asarray(nodes)[codes], minlength=size)
                    for nodes, size in zip(block.levels, sizes, strict=True)
                ]
        return np.concatenate(parts).astype(np.int64)

    def rows(self, vector: Array) -> tuple[Array, Array]:
        """Returns the counts of the classes (C,) and of the codes (D,): views."""
        first = self.encoding.num_classes
        return vector[:first], vector[first : first + self.encoding.width]

    def levels(self, vector: Array, position: int) -> list[Array]:
        """Returns the counts of a block's axis or codes at each level, the finest first; views.

        Empty where the axis is not fine, or there is neither an axis nor a hierarchy.
        """
        sizes = self._wider[position]
        if not sizes:
            return []
        block = self.encoding.features[position]
        start = self.encoding.num_classes + block.start
        found = [vector[start : start + block.num_bins]]
        start = self.encoding.num_classes + self.encoding.width
        start += sum(map(sum, self._wider[:position]))
        for size in sizes:
            found.append(vector[start : start + size])
            start += size
        return found


def _wider_sizes(block: Block) -> tuple[int, ...]:
    """Returns the cells of each level above the finest.

    They are those of an axis of more cells than usual, or of a hierarchy of codes.
    """
    if block.levels:
        return tuple(max(nodes) + 1 for nodes in block.levels)
    if not block.ordered or block.num_bins <= KEEP_ALL:
        return ()
    return level_sizes(block.num_bins)[1:]


def reconcile_columns(
    counts: Array,
    cells: Array,
    look_std: float,
    sizes: Sequence[int],
    *,
    groups: Array | None = None,
    tables: Sequence[Mapping[tuple[int, int], Array]] = (),
    pair_std: float = 1.0,
    of_classes: Sequence[Array] = (),
    of_classes_std: float = 1.0,
) -> ConsistentMarginals:
    """Returns estimates of counts within classes that agree with each other.

    A class's size is the mean, by precision, of its count and of its tables' sums; its groups are
    those of the tables' margins and of their own counts, moved to what the columns say of all
    classes together. Within a group a class has the codes of all classes. Without tables classes
    differ in size alone.

    Args:
      counts: (C,) noisy records of each class.
      cells: (D,) noisy records of each code.
      look_std: standard deviation of both.
      sizes: cells of each block; they sum to D.
      groups: (D,) group of each cell within its block, if there are tables.
      tables: for each class, the noisy table on groups of each pair of blocks.
      pair_std: standard deviation of the tables' cells.
      of_classes: for each block, the noisy counts (C, G) of its groups within classes, if any.
      of_classes_std: their standard deviation.
    """
    look_var, pair_var = max(look_std, _MIN_STD) ** 2, max(pair_std, _MIN_STD) ** 2
    group_var = max(of_classes_std, _MIN_STD) ** 2
    precisions, sums = [1.0 / look_var], [counts.astype(np.float64)]
    for pair in tables[0] if tables else ():
        precisions.append(1.0 / (tables[0][pair].size * pair_var))
        sums.append(np.array([table[pair].sum() for table in tables]))
    for groups_of_classes in of_classes:
        precisions.append(1.0 / (groups_of_classes.shape[1] * group_var))
        sums.append(groups_of_classes.sum(axis=1))
    weights = np.array(precisions)
    total = (weights[:, None] * np.array(sums)).sum(axis=0) / weights.sum()
    parts, start = [], 0
    for position, size in enumerate(sizes):
        span = slice(start, start + size)
        of = np.zeros(size, dtype=np.int64) if groups is None else groups[span].astype(np.int64)
        margins = table_margins(position, tables, pair_var)
        if of_classes:
            margins = _with_own(margins, of_classes[position], group_var)
        parts.append(_block(cells[span].astype(np.float64), of, look_var, total, *margins))
        start += size
    stds = [np.concatenate([part[place] for part in parts]) * (look_std > 0) for place in (1, 2)]
    return ConsistentMarginals(
        counts=total,
        count_std=float(weights.sum() ** -0.5) if look_std > 0 else 0.0,
        one_way=np.concatenate([part[0] for part in parts], axis=1),
        one_way_std=stds[0],
        column_std=stds[1],
    )


def _with_own(margins: tuple[Array, float], counts: Array, variance: float) -> tuple[Array, float]:
    """Returns margins' deviations (C, G) and precision with a block's own counts of its groups."""
    (deviations, precision), weight = margins, 1.0 / variance
    own = counts - counts.mean(axis=1, keepdims=True)
    both = precision + weight
    return (precision * deviations + weight * own) / both, both


def _block(
    cells: Array, groups: Array, look_var: float, total: Array, deviations: Array, precision: float
) -> tuple[Array, Array, Array]:
    """Returns a block's cells within classes (C, size), and two standard deviations (size,).

    They are those of a class's cell, the class's size known, and of the cell over all classes.
    """
    members = np.bincount(groups).astype(np.float64)
    looked = np.bincount(groups, cells)
    share = np.maximum(total, 0.0) / max(float(np.maximum(total, 0.0).sum()), _MIN_STD)
    apart = look_var * members
    within = look_var * (1.0 - 1.0 / members)
    if precision > 0:
        own = 1.0 / precision
        classes = len(total)
        found = total[:, None] / len(members) + deviations
        found = found + own / (classes * own + apart) * (looked - found.sum(axis=0))
        found += ((total - found.sum(axis=1)) / len(members))[:, None]
        class_var = own - own**2 / (classes * own + apart)
        column_var = classes * own * apart / (classes * own + apart)
    else:
        agreed = looked + (float(total.sum()) - looked.sum()) * members / len(groups)
        found = share[:, None] * agreed
        class_var, column_var = float(np.square(share).mean()) * apart, apart
    spread = cells - (looked / members)[groups]
    one_way = (found / members)[:, groups] + share[:, None] * spread
    class_std = np.sqrt(class_var / members**2 + float(np.square(share).mean()) * within)
    column_std = np.sqrt(column_var / members**2 + within)
    return one_way, class_std[groups], column_std[groups]
