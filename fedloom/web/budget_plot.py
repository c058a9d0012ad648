"""The budget of a home over time, as inline SVG without style attributes or scripts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from markupsafe import Markup, escape

from fedloom.privacy.ledger.history import DayEnd
from fedloom.privacy.release.report.axis_labels import round_ticks

__all__ = ["budget_plot"]

_WIDTH, _HEIGHT = 640.0, 230.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 14.0, 20.0, 30.0


def budget_plot(days: Sequence[DayEnd], *, limit: float, delta: float, today: date) -> Markup:
    """Draws what was spent and held at the end of each day, against the limit.

    Args:
      days: in order, at least one.
      limit: epsilon for the life of the records, above 0.
      delta: at which all is stated.
      today: where the axis ends, unless the ledger goes further.
    """
    dates = [date.fromisoformat(day.day) for day in days]
    first, last = dates[0], max(today, dates[-1])
    span = max((last - first).days, 1)
    peak = max(limit, *(day.epsilon_held for day in days)) * 1.06
    base = _HEIGHT - _BOTTOM

    def x(day: date) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (day - first).days / span

    def y(epsilon: float) -> float:
        return base - (base - _TOP) * min(epsilon, peak) / peak

    def steps(heights: Sequence[float]) -> str:
        path = f"M{x(dates[0]):.1f} {y(heights[0]):.1f}"
        for day, height in zip(dates[1:], heights[1:], strict=True):
            path += f"H{x(day):.1f}V{y(height):.1f}"
        return path + f"H{_WIDTH - _RIGHT:.1f}"

    spent, held = [d.epsilon_spent for d in days], [d.epsilon_held for d in days]
    parts = []
    for tick in round_ticks(0.0, peak, 4):
        parts.append(
            f'<path class="rule" d="M{_LEFT} {y(tick):.1f}H{_WIDTH - _RIGHT}"/>'
            f'<text class="tick" x="{_LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">'
            f"{tick:g}</text>"
        )
    parts.append(f'<path class="spent-area" d="{steps(spent)}V{base}H{_LEFT}z"/>')
    if held != spent:
        parts.append(f'<path class="held" d="{steps(held)}"/>')
    parts.append(f'<path class="spent" d="{steps(spent)}"/>')
    parts.append(f'<path class="limit" d="M{_LEFT} {y(limit):.1f}H{_WIDTH - _RIGHT}"/>')
    parts.append(
        f'<text class="label" x="{_LEFT + 6}" y="{y(limit) - 6:.1f}">limit {limit:.4g}</text>'
    )
    for day, anchor in ((first, "start"), (last, "end")):
        parts.append(
            f'<text class="tick" x="{x(day) if day != first or span > 1 else _LEFT:.1f}" '
            f'y="{_HEIGHT - 10}" text-anchor="{anchor}">{day.isoformat()}</text>'
            if anchor == "start" or last != first
            else ""
        )
    title = (
        f"Epsilon from {first.isoformat()} to {last.isoformat()}: {spent[-1]:.4g} spent, "
        f"{held[-1]:.4g} with what is reserved, limit {limit:.4g}, at delta {delta:g}"
    )
    return Markup(
        f'<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )
