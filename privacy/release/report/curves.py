"""Which curves a run's metrics give: post-processing over rounds, with plain titles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Curve", "curves_of"]

_TITLES = {
    "distance": "Mean distance of samples to the noisy marginals",
    "critic_fake": "Critic's score of synthetic rows",
    "answer_norm": "Norm of the sites' noised answers, averaged",
    "epsilon": "Epsilon spent, by site",
}
_NOT_CURVES = {"round", "query", "sites", "attempt", "seconds"}
_MAX_CURVES = 12
_MAX_SERIES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One chart.

    Attributes:
      title: for people.
      series: pairs of a name and its points (round, value).
    """

    title: str
    series: tuple[tuple[str, tuple[tuple[float, float], ...]], ...]


def curves_of(metrics: Sequence[Mapping[str, Any]]) -> list[Curve]:
    """Finds every number, and every table of numbers by name, that at least two rounds hold.

    >>> curves_of([{"round": 1, "distance": 0.5}, {"round": 2, "distance": 0.4}])[0].series
    (('distance', ((1.0, 0.5), (2.0, 0.4))),)
    """
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for line in metrics:
        number = line.get("round")
        if number is None or not _is_number(number):
            continue
        for key, value in line.items():
            if key in _NOT_CURVES:
                continue
            parts = value.items() if isinstance(value, Mapping) else [(key, value)]
            for name, part in parts:
                if _is_number(part):
                    points = found.setdefault(key, {}).setdefault(str(name), [])
                    points.append((float(number), float(part)))
    order = [key for key in _TITLES if key in found]
    order += [key for key in found if key not in _TITLES]
    curves = []
    for key in order[:_MAX_CURVES]:
        series = [(name, tuple(points)) for name, points in found[key].items() if len(points) > 1]
        if series:
            title = _TITLES.get(key, key.replace("_", " ").capitalize())
            curves.append(Curve(title=title, series=_distinct(series)))
    return curves


def _distinct(
    series: list[tuple[str, tuple[tuple[float, float], ...]]],
) -> tuple[tuple[str, tuple[tuple[float, float], ...]], ...]:
    """Joins series that are equal everywhere: sites of one plan spend alike."""
    names: dict[tuple[tuple[float, float], ...], list[str]] = {}
    for name, points in series:
        names.setdefault(points, []).append(name)
    joined = []
    for points, members in names.items():
        label = members[0] if len(members) == 1 else f"{len(members)} sites alike"
        joined.append((label, points))
    return tuple(joined[:_MAX_SERIES])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
