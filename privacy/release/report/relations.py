"""How columns hang together, as a tree to read: each column under the one it depends on most.

The tree is the strongest one that joins all columns (a maximum spanning tree of the pairs'
Cramér's V): the Bayesian network with one parent a column that explains most, but for the measure
of strength. It says what goes with what, not what causes what.

Source: Chow and Liu 1968, "Approximating discrete probability distributions with dependence
trees", there by mutual information.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Relation", "relation_tree", "strongest_tree"]

Array = NDArray[Any]

_WIDTH, _ROW, _TOP = 420.0, 20.0, 6.0
_BAR, _NUMBER = 84.0, 30.0
_INDENT, _MOST_INDENT = 16.0, 132.0
_LONGEST = 26
_WEAK = 0.03


@dataclass(frozen=True, slots=True)
class Relation:
    """One row of the tree.

    Attributes:
      name: the column.
      depth: 0 for a column that hangs on none.
      parent: row of the column that it hangs on; -1 for none.
      strength: Cramér's V of the two, in [0, 1]; 0 for none.
    """

    name: str
    depth: int
    parent: int
    strength: float


def strongest_tree(
    names: Sequence[str], values: Sequence[Sequence[float | None]], root: str | None = None
) -> list[Relation]:
    """Returns the rows of the strongest tree, each below its parent, the strongest child first.

    Args:
      names: the columns.
      values: Cramér's V of each pair; None where it is not known.
      root: the column to begin with; by default the one with the largest sum.

    A pair below 0.03 joins nothing: columns without a stronger one begin trees of their own.
    """
    strength = np.array([[value or 0.0 for value in row] for row in values], dtype=float)
    strength = strength.reshape(len(names), len(names))
    np.fill_diagonal(strength, 0.0)
    begin = sorted(range(len(names)), key=lambda at: (names[at] != root, -strength[at].sum()))
    parents = _spanning(strength, begin)
    rows: list[Relation] = []
    waiting = [(at, 0, -1) for at in reversed(begin) if parents[at] == -1]
    while waiting:
        at, depth, row_above = waiting.pop()
        above = parents[at]
        value = float(strength[above, at]) if above >= 0 else 0.0
        rows.append(Relation(names[at], depth, row_above, value))
        below = np.flatnonzero(parents == at)
        for child in below[np.argsort(strength[at, below], kind="stable")].tolist():
            waiting.append((child, depth + 1, len(rows) - 1))
    return rows


def _spanning(strength: Array, begin: Sequence[int]) -> Array:
    """Returns each column's parent, -1 for none, by Prim's algorithm from the columns in order."""
    parents = np.full(len(strength), -1)
    out = np.ones(len(strength), dtype=bool)
    for first in begin:
        nearest = np.full(len(strength), first)
        at: int | None = first if out[first] else None
        while at is not None:
            out[at] = False
            closer = strength[at] > strength[nearest, np.arange(len(strength))]
            nearest[closer] = at
            reach = np.where(out, strength[nearest, np.arange(len(strength))], -1.0)
            best = int(reach.argmax())
            at = best if reach[best] >= _WEAK else None
            if at is not None:
                parents[at] = nearest[at]
    return parents


def relation_tree(rows: Sequence[Relation], *, title: str) -> str:
    """Draws the rows: a line from each column to its parent, and a bar for the strength.

    Args:
      rows: of `strongest_tree`.
      title: what the picture shows, for screen readers.
    """
    deepest = max((row.depth for row in rows), default=0)
    indent = min(_INDENT, _MOST_INDENT / max(deepest, 1))
    height = 2 * _TOP + _ROW * len(rows)
    bar_at = _WIDTH - _NUMBER - _BAR
    parts = []
    for number, row in enumerate(rows):
        x, y = 6 + indent * row.depth, _TOP + _ROW * (number + 0.5)
        if row.parent >= 0:
            above = rows[row.parent]
            from_x, from_y = 6 + indent * above.depth, _TOP + _ROW * (row.parent + 0.5)
            parts.append(
                f'<path class="axis" stroke-width="{1 + 2 * row.strength:.1f}" '
                f'd="M{from_x:.1f} {from_y + 4:.1f}V{y:.1f}H{x - 3:.1f}"/>'
            )
            parts.append(
                f'<path class="track" d="M{bar_at:.1f} {y - 4:.1f}h{_BAR:.1f}v8h{-_BAR:.1f}z"/>'
            )
            long = _BAR * row.strength
            parts.append(
                f'<path class="syn" d="M{bar_at:.1f} {y - 4:.1f}h{long:.1f}v8h{-long:.1f}z"/>'
            )
            parts.append(
                f'<text class="tick" text-anchor="end" x="{_WIDTH:.0f}" y="{y + 3.5:.1f}">'
                f"{row.strength:.2f}</text>"
            )
        room = max(8, int((bar_at - x - 12) / 6.0))
        longest = min(_LONGEST, room)
        short = row.name if len(row.name) <= longest else row.name[: longest - 1] + "…"
        parts.append(f'<circle class="this" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
        parts.append(
            f'<text class="name" font-size="11" x="{x + 7:.1f}" y="{y + 4:.1f}">'
            f"{escape(short)}</text>"
        )
    return (
        f'<svg viewBox="0 0 {_WIDTH:.0f} {height:.0f}" width="{_WIDTH:.0f}" '
        f'height="{height:.0f}" role="img" aria-label="{escape(title, quote=True)}">'
        f"{''.join(parts)}</svg>"
    )
