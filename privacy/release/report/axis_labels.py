"""Where round numbers lie on an axis of bins."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["bin_labels", "round_ticks"]

_WANTED = 4
# Neighbours must be so far apart, as a part of the axis.
_LEAST_APART = 0.16


def round_ticks(low: float, high: float, wanted: int) -> list[float]:
    """Returns round numbers from `low` to `high`, about `wanted` steps apart.

    >>> round_ticks(0.0, 1.0, 4)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    raw = max((high - low) / wanted, 1e-12)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.7)
    first = math.ceil(low / step - 1e-9)
    last = max(math.floor(high / step + 1e-9), first)
    return [round(k * step, 12) for k in range(first, last + 1)]


def bin_labels(labels: Sequence[str]) -> list[tuple[float, str]]:
    """Returns places on an axis of bins, in bins from the left, and what stands there.

    Numbers are round: steps of 1, 2 or 5 on an even axis, powers of ten where bins grow. Where
    labels are no numbers, as on an axis of dates, the starts of a few bins are told.

    Args:
      labels: of the bins, "a to b" or "a", from left to right.

    >>> [text for _, text in bin_labels([str(year) for year in range(17, 91)])]
    ['20', '40', '60', '80']
    """
    count = len(labels)
    ends = [_ends(label) for label in labels]
    known = [end for end in ends if end is not None]
    if len(known) < count or count < 2:
        chosen = sorted({round(k * (count - 1) / 4) for k in range(4)})
        return [(code + 0.5, labels[code].split(" to ")[0]) for code in chosen]
    ticks = round_ticks(known[0][0], known[-1][1], _WANTED)
    widths = [high - low for low, high in known]
    if widths[-1] > 20 * max(widths[0], 1e-12) and known[-1][1] > 0:
        ticks = [0.0, *(10.0**power for power in range(-6, 16))]
    placed = [(_place(tick, known), f"{tick:,.6g}") for tick in ticks]
    found: list[tuple[float, str]] = []
    for place, text in placed:
        if place is not None and (not found or place - found[-1][0] >= _LEAST_APART * count):
            found.append((place, text))
    return found


def _ends(label: str) -> tuple[float, float] | None:
    low, _, high = label.partition(" to ")
    try:
        return float(low), float(high or low)
    except ValueError:
        return None


def _place(value: float, ends: Sequence[tuple[float, float]]) -> float | None:
    for code, (low, high) in enumerate(ends):
        following = ends[code + 1][0] if code + 1 < len(ends) else high
        if low == value == high:
            return code + 0.5
        if low <= value <= high or low <= value < following:
            return code + (value - low) / max(following - low, 1e-12)
    return None
