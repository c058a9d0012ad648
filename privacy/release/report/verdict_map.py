"""Verdicts on all pairs of columns as one square picture, readable without colours.

Each square holds a mark as well as a colour: nothing where a pair fits, a ring where it is blurred,
a full disc where it is drowned. Blue, orange and black differ in lightness too, so that people with
any kind of colour blindness tell them apart, and paper without colours as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["verdict_map"]

_SIZE, _LONGEST = 420.0, 15
_MARKED = 30


def verdict_map(names: Sequence[str], levels: Mapping[tuple[str, str], str], *, title: str) -> str:
    """Draws a verdict for each column (on the diagonal) and each pair of columns.

    Args:
      names: the columns.
      levels: "fits", "blurred" or "drowned" by pair of names in either order; a column stands with
        itself. Pairs that are not named were not counted and stay empty.
      title: what the picture shows, for screen readers.
    """
    count = len(names)
    shown = [name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…" for name in names]
    type_size = max(4.0, min(10.0, (_SIZE - 90) / max(count, 1) * 0.8))
    margin = min(max(map(len, shown), default=1) * type_size * 0.56 + 6, 100.0)
    cell = (_SIZE - margin) / max(count, 1)
    squares: dict[str, list[str]] = {"fits": [], "blurred": [], "drowned": [], "unknown": []}
    marks: list[str] = []
    for i, one in enumerate(names):
        for j, other in enumerate(names):
            level = levels.get((one, other)) or levels.get((other, one)) or "unknown"
            x, y = margin + j * cell, margin + i * cell
            squares[level].append(f"M{x:.1f} {y:.1f}h{cell:.1f}v{cell:.1f}h{-cell:.1f}z")
            if level in ("blurred", "drowned") and count <= _MARKED:
                marks.append(
                    f'<circle class="mark-{level}" cx="{x + cell / 2:.1f}" cy="{y + cell / 2:.1f}" '
                    f'r="{min(cell * 0.22, 5.0):.1f}"/>'
                )
    parts = [
        f'<path class="verdict-{level}" d="{"".join(found)}"/>'
        for level, found in squares.items()
        if found
    ]
    for i, name in enumerate(shown):
        middle, text = margin + (i + 0.5) * cell + type_size * 0.35, escape(name)
        font = f'font-size="{type_size:.1f}"'
        parts.append(
            f'<text class="name" {font} text-anchor="end" x="{margin - 4:.1f}" '
            f'y="{middle:.1f}">{text}</text>'
        )
        parts.append(
            f'<text class="name" {font} transform="translate({middle:.1f} {margin - 4:.1f}) '
            f'rotate(-90)">{text}</text>'
        )
    return (
        f'<svg viewBox="0 0 {_SIZE:.0f} {_SIZE:.0f}" width="{_SIZE:.0f}" height="{_SIZE:.0f}" '
        f'role="img" aria-label="{escape(title, quote=True)}">{"".join([*parts, *marks])}</svg>'
    )
