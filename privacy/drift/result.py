"""Which columns of a new study have moved away from an earlier one: verdicts for people.

  drift            noise and sampling alone would not make the distance: chi-square with Holm's
                   correction over all columns, one false alarm in a hundred comparisons of studies
  no drift seen    they might, and a shift of a tenth of the records from some groups of values to
                   others would have been called drift about nine times in ten or more, whichever
                   it was
  drowned by noise they might, but the chance to see some such shift is less, or may be: the
                   power is a lower bound (`compare`)

A shift within a group, such as between two rare codes, is not seen by either.

The answers of both studies were paid for; comparing them is post-processing and costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from fedloom.common.marginals import NoisyMarginals
from fedloom.privacy.drift.compare import Distance, distance_between
from fedloom.privacy.drift.groups import comparable, grouped
from fedloom.privacy.drift.looked import looked_columns

__all__ = ["LEVEL", "ColumnDrift", "Drift", "DriftVerdict", "drift_between"]

DriftVerdict = Literal["drift", "no drift seen", "drowned by noise"]

LEVEL = 0.01
"""Chance of a false alarm in any column, if the populations are alike."""
# Total variation that matters, and the chance to see it that lets a column pass as unchanged.
_MATTERS, _POWER = 0.1, 0.9
_ORDER: tuple[DriftVerdict, ...] = ("drift", "drowned by noise", "no drift seen")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDrift:
    """What is to be thought of a column.

    Attributes:
      column: its name.
      verdict: as the module says.
      distance: the distance and its errors; None where noise hides all.
    """

    column: str
    verdict: DriftVerdict
    distance: Distance | None

    def to_dict(self) -> dict[str, Any]:
        """Returns it as plain values."""
        names = ("value", "by_chance", "std_error", "p_value", "groups")
        found = self.distance
        told = {name: None if found is None else getattr(found, name) for name in names}
        told["distance"] = told.pop("value")
        return {"column": self.column, "verdict": self.verdict, **told}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How far a study is from an earlier one.

    Attributes:
      columns: one a column that both have, the surest drift first.
      not_compared: columns that only one study has, or that have other values in the other.
      records: noisy numbers of records, of the new study and of the earlier one.
      records_std: standard deviations of their noise.
    """

    columns: tuple[ColumnDrift, ...]
    not_compared: tuple[str, ...]
    records: tuple[float, float]
    records_std: tuple[float, float]

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the columns whose verdict is drift."""
        return tuple(one.column for one in self.columns if one.verdict == "drift")

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain values."""
        return {
            "level": LEVEL,
            "epsilon_added": 0.0,
            "columns": [one.to_dict() for one in self.columns],
            "not_compared": list(self.not_compared),
            "records": {"new": self.records[0], "old": self.records[1]},
            "records_std": {"new": self.records_std[0], "old": self.records_std[1]},
        }


def drift_between(
    new: NoisyMarginals, old: NoisyMarginals, *, alike: tuple[int, int] = (1, 1)
) -> Drift:
    """Compares two studies by their first statistics.

    Guarantee: post-processing of opened sums; it costs no privacy.

    Args:
      new: the new study's sums.
      old: the earlier study's; its schema may be another.
      alike: most records of one unit of privacy in each.
    """
    new, old = _look_alone(new), _look_alone(old)
    earlier = {column.name: column for column in looked_columns(old)}
    later = {column.name: column for column in looked_columns(new)}
    found: list[tuple[str, Distance | None]] = []
    for name, column in later.items():
        if name in earlier and comparable(column, earlier[name]):
            pair = grouped(column, earlier[name])
            found.append((name, distance_between(*pair, alike=alike)))
    compared = {name for name, _ in found}
    return Drift(
        columns=tuple(_judged(found)),
        not_compared=tuple(name for name in {**later, **earlier} if name not in compared),
        records=(new.total(), old.total()),
        records_std=(_total_std(new), _total_std(old)),
    )


def _look_alone(statistics: NoisyMarginals) -> NoisyMarginals:
    alone = replace(statistics, triples=None, parities=None, class_columns=None)
    return replace(alone, groups=None, pairs=None, pair_std=None)


def _total_std(statistics: NoisyMarginals) -> float:
    return statistics.count_std() * math.sqrt(statistics.encoding.num_classes)


def _judged(found: Sequence[tuple[str, Distance | None]]) -> list[ColumnDrift]:
    chances = [(name, one.p_value) for name, one in found if one is not None]
    drifted = _holm(chances)
    strictest = LEVEL / max(len(chances), 1)
    judged = [
        ColumnDrift(column=name, verdict=_verdict(one, name in drifted, strictest), distance=one)
        for name, one in found
    ]
    return sorted(judged, key=_order)


def _holm(chances: Iterable[tuple[str, float]]) -> set[str]:
    """Returns the names whose chance is significant among all (Holm 1979)."""
    ranked = sorted(chances, key=lambda one: one[1])
    significant: set[str] = set()
    for place, (name, chance) in enumerate(ranked):
        if chance > LEVEL / (len(ranked) - place):
            break
        significant.add(name)
    return significant


def _verdict(found: Distance | None, drifted: bool, level: float) -> DriftVerdict:
    """Returns what to say; `level` is the strictest that Holm's correction tests a column at."""
    if drifted:
        return "drift"
    if found is None or found.power(_MATTERS, level) < _POWER:
        return "drowned by noise"
    return "no drift seen"


def _order(one: ColumnDrift) -> tuple[int, float]:
    beyond = 0.0 if one.distance is None else one.distance.value - one.distance.by_chance
    return _ORDER.index(one.verdict), -beyond
