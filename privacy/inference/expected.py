"""What noise will do to a share, from a plan alone: all noise is public before anything is asked.

Inference takes the margins of a table from the one-way counts; what is left is the noise of the
interaction. For a share of one half in a group of n records, one of B groups, that is

  s sqrt(k / 2 * (1 - 1 / B)) / n

with s the noise of a count and k the counts that make up the group in the table. The label's
classes are counted in one table; for two other columns counts are added up over the C classes,
which makes the variance C times as large. What is told is the error of noise alone; sampling comes
on top.

Guarantee: none needed; a plan and public sizes are all that is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fedloom.common.encoding import Encoding
from fedloom.common.marginals import NoisyMarginals, wanted_groups
from fedloom.privacy.answers.opened import spread_of
from fedloom.privacy.inference.result import Z
from fedloom.privacy.phases import StatisticPhase
from fedloom.privacy.plan import Plan

__all__ = ["PlannedNoise", "Precision", "precision_in_words", "precision_table"]

_SIZES = (100, 500, 2000, 10_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """How far off a share in a group may be.

    Attributes:
      size: records of the group.
      label: half width of the 95% interval of a share of the label's classes; None without label.
      other: of a share of any other column's values in a group of another; None without pairs.
    """

    size: int
    label: float | None
    other: float | None


class PlannedNoise:
    """The noise of a study's counts.

    Attributes:
      encoding: of the study's tables.
      columns: standard deviation of the noise in a count of all classes together, or None.
      one_way: of that in a one-way count within a class, from pairs where there are no others,
        or None.
      pair: of that in a count of a pair within a class, or None.
      items: of that in a count of an item of a set over all classes, or None.
      items_within: of that within a class, or None.
    """

    def __init__(
        self,
        encoding: Encoding,
        *,
        columns: float | None = None,
        one_way: float | None = None,
        pair: float | None = None,
        items: float | None = None,
        items_within: float | None = None,
    ) -> None:
        """Takes the noise of what a study counts."""
        self.items, self.items_within = items, items_within
        self.encoding, self.columns, self.one_way, self.pair = encoding, columns, one_way, pair
        if one_way is None and pair is not None:
            # A column within a class is the sum of its pairs with the column of fewest cells.
            self.one_way = pair * math.sqrt(min(block.size for block in encoding.features))

    @classmethod
    def of(cls, plan: Plan) -> PlannedNoise:
        """Returns the noise that a plan's sums will have if every site answers.

        Args:
          plan: of a study of a table.
        """
        spread = spread_of(plan, len(plan.sites))
        stds = {
            phase.name: phase.noise_std * spread
            for phase in plan.phases
            if isinstance(phase, StatisticPhase)
        }
        return cls(
            plan.encoding,
            columns=stds.get("columns"),
            one_way=stds.get("one-way", stds.get("class-columns")),
            pair=stds.get("pairwise"),
            items=stds.get("items"),
            items_within=stds.get("item-pairs"),
        )

    @classmethod
    def of_sums(cls, statistics: NoisyMarginals) -> PlannedNoise:
        """Returns the noise of sums that were opened.

        Args:
          statistics: the noisy sums over sites.
        """
        stds = {"one_way" if statistics.by_class else "columns": statistics.look_std}
        if statistics.class_columns is not None:
            stds["one_way"] = statistics.class_columns.std
        return cls(statistics.encoding, pair=statistics.pair_std, **stds)

    def of_all(self, size: float, *, label: bool) -> float | None:
        """Returns the half width for a share of all records, whose number is known far better.

        Args:
          size: number of records.
          label: whether the share is that of a class of the label.
        """
        if self.columns is not None:
            return Z * self.columns / max(size, 1.0)
        if self.one_way is None:
            return None
        counts = 1.0 if label else float(self.encoding.num_classes)
        return Z * self.one_way * math.sqrt(counts) / max(size, 1.0)

    def of_items(self, size: float, *, within: bool) -> float | None:
        """Returns the half width for the share of records that have an item of a set.

        Args:
          size: number of records, known far better.
          within: whether they are those of a class of the label.
        """
        std = self.items_within if within else self.items
        return None if std is None else Z * std / max(size, 1.0)

    def with_label(
        self, size: float, *, counts: float = 1.0, groups: float = math.inf
    ) -> float | None:
        """Returns the half width for a share of the label's classes in a group.

        Args:
          size: records of the group.
          counts: one-way counts that make up the group.
          groups: number of groups.
        """
        if self.one_way is None or self.encoding.target is None:
            return None
        return _half_width(self.one_way**2 * counts, size, groups)

    def without_label(
        self, size: float, *, counts: float = 1.0, groups: float = math.inf
    ) -> float | None:
        """Returns the half width for a share of one column's values in a group of another's.

        Args:
          size: records of the group.
          counts: counts of pairs, within one class, that make up a value in the group.
          groups: number of groups.
        """
        if self.pair is None:
            return None
        return _half_width(self.pair**2 * counts * self.encoding.num_classes, size, groups)

    def groups(self, column: str, records: float) -> float:
        """Returns on about how many groups pairs are counted in a column.

        Args:
          column: the column.
          records: over all sites.
        """
        encoding = self.encoding
        block = encoding.blocks[encoding.schema.names.index(column)]
        wanted = wanted_groups(records, self.pair or 1.0)
        return min(float(block.size), wanted)


def _half_width(variance: float, size: float, groups: float) -> float:
    return Z * math.sqrt(variance / 2.0 * (1.0 - 1.0 / groups)) / max(size, 1.0)


def precision_table(noise: PlannedNoise, records: float | None = None) -> list[Precision]:
    """Returns, for groups of some sizes, how far off shares may be; none where nothing is counted.

    Args:
      noise: of a study's counts.
      records: over all sites; larger groups are left out. None where it is not known.
    """
    found = [
        Precision(size=size, label=noise.with_label(size), other=noise.without_label(size))
        for size in _SIZES
        if records is None or size <= records
    ]
    return [one for one in found if one.label is not None or one.other is not None]


def precision_in_words(row: Precision, target: str | None) -> str:
    """Says what a row means.

    Args:
      row: of `precision_table`.
      target: the label column, or None.

    >>> precision_in_words(Precision(size=500, label=0.011, other=None), "sick")
    'a share of sick in a group of 500 records is off by 1.1 points, 19 times in 20'
    """
    words = []
    if row.label is not None:
        words.append(
            f"a share of {target} in a group of {row.size:,} records is off by "
            f"{100 * row.label:.2g} points, 19 times in 20"
        )
    if row.other is not None:
        start = "one of another column" if words else f"a share in a group of {row.size:,} records"
        words.append(
            f"{start}{'' if words else ' is off'} by {100 * row.other:.2g} points"
            f"{'' if words else ', 19 times in 20'}"
        )
    return "; ".join(words)
