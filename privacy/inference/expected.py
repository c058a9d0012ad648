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
from collections.abc import Sequence
from dataclasses import dataclass

from fedloom.common.marginals import wanted_groups
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
    """The noise of a plan's counts, if every site answers.

    Attributes:
      plan: the plan.
      columns: standard deviation of the noise in a count of all classes together, or None.
      one_way: of that in a one-way count within a class, from pairs where there are no others,
        or None.
      pair: of that in a count of a pair within a class, or None.
    """

    def __init__(self, plan: Plan) -> None:
        """Takes the noise of the phases that count one-way and pairwise."""
        self.plan = plan
        spread = spread_of(plan, len(plan.sites))
        stds = {
            phase.name: phase.noise_std * spread
            for phase in plan.phases
            if isinstance(phase, StatisticPhase)
        }
        self.columns, self.pair = stds.get("columns"), stds.get("pairwise")
        self.one_way = stds.get("one-way")
        if self.one_way is None and self.pair is not None:
            # A column within a class is the sum of its pairs with the column of fewest cells.
            fewest = min(block.size for block in plan.encoding.features)
            self.one_way = self.pair * math.sqrt(fewest)

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
        counts = 1.0 if label else float(self.plan.encoding.num_classes)
        return Z * self.one_way * math.sqrt(counts) / max(size, 1.0)

    def with_label(
        self, size: float, *, counts: float = 1.0, groups: float = math.inf
    ) -> float | None:
        """Returns the half width for a share of the label's classes in a group.

        Args:
          size: records of the group.
          counts: one-way counts that make up the group.
          groups: number of groups.
        """
        if self.one_way is None or self.plan.target is None:
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
        return _half_width(self.pair**2 * counts * self.plan.encoding.num_classes, size, groups)

    def groups(self, column: str, records: float) -> float:
        """Returns on about how many groups pairs are counted in a column.

        Args:
          column: the column.
          records: over all sites.
        """
        encoding = self.plan.encoding
        block = encoding.blocks[encoding.schema.names.index(column)]
        wanted = wanted_groups(records, self.pair or 1.0)
        return min(float(block.size), wanted)


def _half_width(variance: float, size: float, groups: float) -> float:
    return Z * math.sqrt(variance / 2.0 * (1.0 - 1.0 / groups)) / max(size, 1.0)


def precision_table(plan: Plan, records: float | None = None) -> Sequence[Precision]:
    """Returns, for groups of some sizes, how far off shares may be; none where nothing is counted.

    Args:
      plan: of a study of a table.
      records: over all sites; larger groups are left out. None where it is not known.
    """
    noise = PlannedNoise(plan)
    found = [
        Precision(size=size, label=noise.with_label(size), other=noise.without_label(size))
        for size in _SIZES
        if records is None or size <= records
    ]
    return [one for one in found if one.label is not None or one.other is not None]


def precision_in_words(plan: Plan, table: Sequence[Precision], *, size: int = 500) -> str:
    """Says what the row of a size means.

    Args:
      plan: of the study.
      table: as of `precision_table`, with a row of that size.
      size: records of the group.
    """
    row = next(one for one in table if one.size == size)
    words = []
    if row.label is not None:
        words.append(
            f"a share of {plan.target} in a group of {size} records is off by "
            f"{100 * row.label:.2g} points, 19 times in 20"
        )
    if row.other is not None:
        words.append(
            f"{'one of another column' if words else f'a share in a group of {size} records'} by "
            f"{100 * row.other:.2g} points"
        )
    return "; ".join(words)
