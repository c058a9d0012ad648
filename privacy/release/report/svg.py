"""Charts as inline SVG: marginals, heat maps, curves and budget bars.

A chart is one string, without scripts, `style` attributes or references, so that a page with a
strict content security policy shows it and paper keeps it. Colours and type come from classes
of the page's style sheet. Cells of a kind are drawn as one path, which keeps wide tables small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from fedloom.privacy.release.report.axis_labels import bin_labels, round_ticks

__all__ = ["budget_bars", "curve_chart", "heat_map", "marginal_chart", "scale_bar"]

_SHORT_LABEL = 15
_SLANTED_LABEL = 13
_LONG_LABEL = 32
_MAX_LABELS = 10
_APART_WIDTH = 15.0
_LEVELS = 10


def marginal_chart(
    *,
    title: str,
    labels: Sequence[str],
    synthetic: Sequence[float],
    noisy: Sequence[float],
    errors: Sequence[float],
    ordered: int,
) -> str:
    """Draws one column's shares: synthetic as bars, the noisy marginal as marks with a band.

    Args:
      title: what the chart shows, for screen readers.
      labels: one a code; for an ordered column the bins come first.
      synthetic: share of each code in the synthetic data.
      noisy: share of each code in the noisy marginal; noise may make some negative.
      errors: standard deviation of each noisy share.
      ordered: how many of the first codes are bins of one axis; 0 for categories.

    >>> marginal_chart(title="a", labels=["0", "1"], synthetic=[0.5, 0.5], noisy=[0.4, 0.6],
    ...                errors=[0.1, 0.1], ordered=0).startswith("<svg")
    True
    """
    width, height, left, right, top, bottom = 360.0, 182.0, 38.0, 6.0, 8.0, 54.0
    plot_w, plot_h = width - left - right, height - top - bottom
    count = len(labels)
    apart = count - ordered if ordered else 0
    slot = (plot_w - apart * _APART_WIDTH) / (ordered or count)
    spans = [(left + slot * code, slot) for code in range(ordered or count)]
    spans += [(width - right - (apart - k) * _APART_WIDTH, _APART_WIDTH) for k in range(apart)]
    peak = max(
        [
            *synthetic,
            *(min(share + 2 * e, 1.0) for share, e in zip(noisy, errors, strict=True)),
            1e-9,
        ]
    )
    ticks = round_ticks(0.0, min(peak * 1.04, 1.0), 3)
    upper = max(peak * 1.04, ticks[-1])

    def y_of(share: float) -> float:
        return top + plot_h * (1 - min(max(share, 0.0), upper) / upper)

    parts = _y_axis(ticks, y_of, left, width - right, percent=True)
    bars = []
    for code, share in enumerate(synthetic):
        inset = 0.0 if code < ordered else min(spans[code][1] * 0.16, 8.0)
        x, w, y = spans[code][0] + inset, spans[code][1] - 2 * inset, y_of(share)
        bars.append(f"M{_n(x)} {_n(y)}h{_n(w)}V{_n(y_of(0))}h{_n(-w)}z")
    parts.append(f'<path class="syn" d="{"".join(bars)}"/>')
    if ordered:
        upper_edge, lower_edge, line = [], [], []
        for code in range(ordered):
            x0, x1, share = spans[code][0], spans[code][0] + slot, noisy[code]
            error = errors[code]
            upper_edge += [(x0, y_of(share + 2 * error)), (x1, y_of(share + 2 * error))]
            lower_edge += [(x0, y_of(share - 2 * error)), (x1, y_of(share - 2 * error))]
            line += [(x0, y_of(share)), (x1, y_of(share))]
        parts.append(f'<path class="band" d="{_path(upper_edge + lower_edge[::-1])}z"/>')
        parts.append(f'<path class="noisy" d="{_path(line)}"/>')
    marks, dots = [], []
    for code in range(ordered, count):
        x = spans[code][0] + spans[code][1] / 2
        error = errors[code]
        high, low = y_of(noisy[code] + 2 * error), y_of(noisy[code] - 2 * error)
        marks.append(f"M{_n(x)} {_n(high)}V{_n(low)}")
        dots.append(f"M{_n(x - 3)} {_n(y_of(noisy[code]))}h6")
    if marks:
        parts.append(f'<path class="whisker" d="{"".join(marks)}"/>')
        parts.append(f'<path class="noisy" d="{"".join(dots)}"/>')
    base = top + plot_h
    parts.append(f'<path class="axis" d="M{_n(left)} {_n(base)}H{_n(width - right)}"/>')
    parts += _code_labels(labels, ordered, spans, base)
    return _svg(width, height, title, parts)


def _code_labels(
    labels: Sequence[str], ordered: int, spans: Sequence[tuple[float, float]], base: float
) -> list[str]:
    """Labels round numbers of the bins, and every code that is no bin while there is room."""
    level: list[tuple[float, str]] = []
    slanted: list[tuple[float, str]] = []
    if ordered:
        left, slot = spans[0]
        # What stands apart on the right has its own label, which needs the room.
        room = ordered * (0.95 if ordered < len(labels) else 1.0)
        places = [one for one in bin_labels(labels[:ordered]) if one[0] <= room]
        level += [(left + place * slot, text) for place, text in places]
    others = list(range(ordered, len(labels)))
    if len(others) > _MAX_LABELS:
        others = [others[round(k * (len(others) - 1) / 5)] for k in range(6)]
    longest = max((len(_short(labels[code])) for code in others), default=0)
    fits = not ordered and longest * 5.4 <= spans[0][1] * len(spans) / max(len(others), 1)
    for code in others:
        place = (spans[code][0] + spans[code][1] / 2, labels[code])
        (level if fits else slanted).append(place)
    parts = [
        f'<text class="tick" text-anchor="middle" x="{_n(x)}" y="{_n(base + 12)}">'
        f"{escape(_short(text))}</text>"
        for x, text in level
    ]
    parts += [
        f'<text class="tick" text-anchor="end" transform="translate({_n(x + 3)} {_n(base + 9)}) '
        f'rotate(-38)">{escape(_short(text, _room(x)))}</text>'
        for x, text in slanted
    ]
    return parts


def _room(x: float) -> int:
    """How many characters of a slanted label end at `x` without leaving the chart."""
    return max(3, min(_SLANTED_LABEL, int((x + 3) / (math.cos(math.radians(38)) * 5.8))))


def heat_map(
    *,
    title: str,
    names: Sequence[str],
    values: Sequence[Sequence[float | None]],
    size: float = 420.0,
) -> str:
    """Draws a square matrix of numbers in [0, 1]; None (not known) is hatched as empty.

    Args:
      title: what the chart shows, for screen readers.
      names: the columns, in both directions.
      values: one row a name.
      size: width of the chart in pixels, names included.
    """
    count = len(names)
    longest = max((len(_short(name)) for name in names), default=1)
    type_size = max(4.0, min(10.0, (size - 90) / max(count, 1) * 0.8))
    margin = min(longest * type_size * 0.56 + 6, 100.0)
    cell = (size - margin) / max(count, 1)
    levels: list[list[str]] = [[] for _ in range(_LEVELS)]
    unknown: list[str] = []
    numbers: list[str] = []
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            x, y = margin + j * cell, margin + i * cell
            square = f"M{_n(x)} {_n(y)}h{_n(cell)}v{_n(cell)}h{_n(-cell)}z"
            if value is None:
                unknown.append(square)
                continue
            level = min(int(value * _LEVELS), _LEVELS - 1)
            levels[level].append(square)
            if count <= 16 and i != j:
                ink = "on-dark" if level >= 5 else "on-light"
                numbers.append(
                    f'<text class="cell {ink}" text-anchor="middle" x="{_n(x + cell / 2)}" '
                    f'y="{_n(y + cell / 2 + 3)}">{_two_digits(value)}</text>'
                )
    parts = [
        f'<path class="heat-{level}" d="{"".join(squares)}"/>'
        for level, squares in enumerate(levels)
        if squares
    ]
    if unknown:
        parts.append(f'<path class="unknown" d="{"".join(unknown)}"/>')
    parts += numbers
    for i, name in enumerate(names):
        middle = margin + (i + 0.5) * cell + type_size * 0.35
        text, font = escape(_short(name)), f'font-size="{_n(type_size)}"'
        parts.append(
            f'<text class="name" {font} text-anchor="end" x="{_n(margin - 4)}" '
            f'y="{_n(middle)}">{text}</text>'
        )
        parts.append(
            f'<text class="name" {font} transform="translate({_n(middle)} {_n(margin - 4)}) '
            f'rotate(-90)">{text}</text>'
        )
    return _svg(size, size, title, parts)


def scale_bar(*, title: str) -> str:
    """Draws the scale of heat maps: ten steps from 0 to 1, the same for every map.

    Args:
      title: what the scale is of.
    """
    width, step = 300.0, 28.0
    parts = [
        f'<path class="heat-{level}" d="M{_n(8 + level * step)} 4h{_n(step)}v12h{_n(-step)}z"/>'
        for level in range(_LEVELS)
    ]
    parts += [
        f'<text class="tick" text-anchor="middle" x="{_n(8 + level * step)}" y="28">'
        f"{level / _LEVELS:g}</text>"
        for level in range(0, _LEVELS + 1, 2)
    ]
    return _svg(width, 32.0, title, parts)


def curve_chart(
    *, title: str, x_label: str, series: Sequence[tuple[str, Sequence[tuple[float, float]]]]
) -> str:
    """Draws curves over rounds, at most six, each with its name at its end.

    Args:
      title: what the chart shows, for screen readers.
      x_label: name of the horizontal axis.
      series: pairs of a name and its points (x, y), x increasing.
    """
    width, height, left, right, top, bottom = 360.0, 190.0, 46.0, 12.0, 10.0, 34.0
    points = [point for _, line in series for point in line]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    x_low, x_high = min(xs), max(max(xs), min(xs) + 1)
    y_low, y_high = min(0.0, *ys), max(0.0, *ys)
    if y_high == y_low:
        y_high = 1.0
    ticks = round_ticks(y_low, y_high, 4)
    y_low, y_high = min(y_low, ticks[0]), max(y_high, ticks[-1])

    def x_of(x: float) -> float:
        return left + (width - left - right) * (x - x_low) / (x_high - x_low)

    def y_of(y: float) -> float:
        return top + (height - top - bottom) * (1 - (y - y_low) / (y_high - y_low))

    parts = _y_axis(ticks, y_of, left, width - right, percent=False)
    base = height - bottom
    parts.append(f'<path class="axis" d="M{_n(left)} {_n(base)}H{_n(width - right)}"/>')
    whole = {round(tick) for tick in round_ticks(x_low, x_high, 5)}
    for at in sorted(number for number in whole if x_low <= number <= x_high):
        parts.append(
            f'<text class="tick" text-anchor="middle" x="{_n(x_of(at))}" y="{_n(base + 13)}">'
            f"{at}</text>"
        )
    parts.append(
        f'<text class="tick" text-anchor="end" x="{_n(width - right)}" y="{_n(height - 5)}">'
        f"{escape(x_label)}</text>"
    )
    for number, (name, line) in enumerate(series[:6]):
        placed = [(x_of(x), y_of(y)) for x, y in line]
        parts.append(f'<path class="line line-{number}" d="{_path(placed)}"/>')
        if len(placed) <= 40:
            dots = "".join(f"M{_n(x)} {_n(y)}h0" for x, y in placed)
            parts.append(f'<path class="dot line-{number}" d="{dots}"/>')
        if len(series) > 1 and placed:
            x, y = placed[-1]
            parts.append(
                f'<text class="tick" text-anchor="end" x="{_n(x)}" y="{_n(y - 5)}">'
                f"{escape(_short(name))}</text>"
            )
    return _svg(width, height, title, parts)


def budget_bars(
    rows: Sequence[tuple[str, float, float]], *, title: str = "budget of each site"
) -> str:
    """Draws, for each site, what this release spent of its limit.

    Args:
      rows: (site, epsilon of this release, the site's limit).
      title: what the chart shows, for screen readers.
    """
    # Names and numbers stand above the bars, so that the chart can be read on a telephone.
    width, step = 420.0, 42.0
    height = step * len(rows)
    reach = max([max(spent, limit) for _, spent, limit in rows] + [1e-9])

    def x_of(epsilon: float) -> float:
        return (width - 2) * epsilon / reach

    parts = []
    for number, (site, spent, limit) in enumerate(rows):
        y = number * step
        parts.append(
            f'<text class="site" x="0" y="{_n(y + 13)}">{escape(_short(site, _LONG_LABEL))}</text>'
        )
        parts.append(
            f'<text class="amount" text-anchor="end" x="{_n(width)}" y="{_n(y + 13)}">'
            f"{spent:.3g} of {limit:.3g}</text>"
        )
        parts.append(_rect("track", 0, y + 21, x_of(limit), 12))
        parts.append(_rect("this", 0, y + 21, x_of(spent), 12))
        parts.append(f'<path class="limit" d="M{_n(x_of(limit))} {_n(y + 18)}v18"/>')
    return _svg(width, height, title, parts)


def _rect(kind: str, x: float, y: float, width: float, height: float) -> str:
    return (
        f'<rect class="{kind}" x="{_n(x)}" y="{_n(y)}" width="{_n(max(width, 0.0))}" '
        f'height="{_n(height)}" rx="2"/>'
    )


def _svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_n(width)} {_n(height)}" width="{_n(width)}" height="{_n(height)}" '
        f'role="img" aria-label="{escape(title, quote=True)}">{"".join(parts)}</svg>'
    )


def _y_axis(
    ticks: Sequence[float],
    y_of: Callable[[float], float],
    left: float,
    right: float,
    *,
    percent: bool,
) -> list[str]:
    parts = []
    for tick in ticks:
        y = y_of(tick)
        text = f"{100 * tick:.3g}%" if percent else f"{tick:.3g}"
        parts.append(f'<path class="rule" d="M{_n(left)} {_n(y)}H{_n(right)}"/>')
        parts.append(
            f'<text class="tick" text-anchor="end" x="{_n(left - 5)}" y="{_n(y + 3)}">{text}</text>'
        )
    return parts


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points)


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _short(text: str, limit: int = _SHORT_LABEL) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _two_digits(value: float) -> str:
    return f"{value:.2f}".removeprefix("0") if value < 1 else "1"
