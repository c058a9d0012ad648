"""Estimates with their intervals as an SVG chart that stands alone, in the colours of the report.

A thin line is the 95% interval, the thick part of it what privacy noise alone would give. Where
zero has a meaning it is marked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from fedloom.common.errors import ConfigError
from fedloom.privacy.release.report.axis_labels import round_ticks

if TYPE_CHECKING:
    from fedloom.privacy.inference.result import Estimate, Inference

__all__ = ["Chart", "interval_chart"]

_WIDTH, _STEP, _TOP, _BOTTOM, _RIGHT = 640.0, 26.0, 44.0, 58.0, 18.0
_MAX_LABEL, _CHARACTER = 34, 6.6
_INTERCEPT = "(intercept)"
_STYLE = (
    "text{font:12px system-ui,'Segoe UI','Liberation Sans',Arial,sans-serif;fill:#1d2a35}"
    ".title{font-weight:600;font-size:13px}.soft{fill:#5b6b78;font-size:11px}"
    ".rule{stroke:#e6eaed}.zero{stroke:#93a1ab;stroke-dasharray:3 3}"
    ".all{stroke:#2f7f86;stroke-width:1.6}.noise{stroke:#2f7f86;stroke-width:5;stroke-opacity:.38}"
    ".point{fill:#1d2a35}"
)


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart.

    Attributes:
      svg: its text.
    """

    svg: str

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | Path) -> None:
        """Writes the chart to an .svg file.

        Raises:
          ConfigError: the file's name ends otherwise.
        """
        if Path(path).suffix != ".svg":
            raise ConfigError(f"{path}: a chart is written as .svg")
        Path(path).write_text(self.svg + "\n", encoding="utf-8")


def interval_chart(found: Inference) -> Chart:
    """Draws the estimates of an analysis; of a regression all but the intercept.

    Args:
      found: the analysis.
    """
    shown = [one for one in found.estimates if one.name != _INTERCEPT] or list(found.estimates)
    names = [_short(one.name) for one in shown]
    left = 24.0 + _CHARACTER * max(len(name) for name in names)
    height = _TOP + _STEP * len(shown) + _BOTTOM
    through_zero = len(shown) < len(found.estimates) or any(
        one.value is not None and one.value < 0 for one in shown
    )
    ends = [end for one in shown for end in (one.lower, one.upper) if end is not None]
    ends = [*ends, 0.0] if through_zero or not ends else ends
    low, high = min(ends), max(ends)
    if low == high:
        low, high = low - 0.5, high + 0.5
    ticks = round_ticks(low, high, 5)
    low, high = min(low, ticks[0]), max(high, ticks[-1])

    def x_of(value: float) -> float:
        return left + (_WIDTH - left - _RIGHT) * (value - low) / (high - low)

    base = _TOP + _STEP * len(shown)
    parts = [f'<text class="title" x="0" y="16">{escape(_short(found.title, 84))}</text>']
    for tick in ticks:
        parts.append(f'<path class="rule" d="M{x_of(tick):.1f} {_TOP - 8:.1f}V{base:.1f}"/>')
        parts.append(
            f'<text class="soft" text-anchor="middle" x="{x_of(tick):.1f}" y="{base + 16:.1f}">'
            f"{tick:,.6g}</text>"
        )
    if through_zero:
        parts.append(f'<path class="zero" d="M{x_of(0.0):.1f} {_TOP - 8:.1f}V{base:.1f}"/>')
    for place, (name, one) in enumerate(zip(names, shown, strict=True)):
        y = _TOP + _STEP * (place + 0.5)
        parts.append(
            f'<text text-anchor="end" x="{left - 12:.1f}" y="{y + 4:.1f}">{escape(name)}</text>'
        )
        parts += _marks(one, y, x_of) or [
            f'<text class="soft" x="{left:.1f}" y="{y + 4:.1f}">hidden by noise</text>'
        ]
    words = f"{found.scale}; line: 95% interval, thick: privacy noise alone"
    parts.append(f'<text class="soft" x="{left:.1f}" y="{base + 38:.1f}">{escape(words)}</text>')
    return Chart(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:.0f} {height:.0f}" '
        f'width="{_WIDTH:.0f}" height="{height:.0f}" role="img" '
        f'aria-label="{escape(found.title, quote=True)}"><style>{_STYLE}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>'
    )


def _marks(one: Estimate, y: float, x_of: Callable[[float], float]) -> list[str]:
    inner = one.noise_interval
    if inner is None or one.value is None or one.lower is None or one.upper is None:
        return []
    return [
        f'<path class="noise" d="M{x_of(inner[0]):.1f} {y:.1f}H{x_of(inner[1]):.1f}"/>',
        f'<path class="all" d="M{x_of(one.lower):.1f} {y:.1f}H{x_of(one.upper):.1f}"/>',
        f'<circle class="point" cx="{x_of(one.value):.1f}" cy="{y:.1f}" r="3.4"/>',
    ]


def _short(text: str, limit: int = _MAX_LABEL) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
