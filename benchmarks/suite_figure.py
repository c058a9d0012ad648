"""The suite's results as one figure and as Markdown.

A row of the figure is a table, a mark a system at epsilon 1, the mean over the seeds that were
measured. Marks differ in shape as well as in colour (Okabe and Ito's, which colour-blind people
can tell apart); the upright stroke is what the real records score. Nothing but the standard library
is needed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from html import escape
from statistics import mean

from suite_results import Line

__all__ = ["drawn", "markdown"]

_EPSILON = 1.0
# What is shown, with the ends of its axis.
_PANELS = (
    ("boosting", "AUC of boosting", 0.4, 1.0),
    ("tv_2", "2-way distance", 0.0, 0.75),
    ("c2st", "told from real (.5 is best)", 0.4, 1.0),
)
# By system: colour and path of the mark about the origin.
_MARKS = {
    "real": ("#000000", "M0 -7v14"),
    "tree": ("#0072B2", "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z"),
    "mixture": ("#E69F00", "M-4 -4h8v8h-8z"),
    "mbi MST": ("#CC79A7", "M0 -5L5 4H-5z"),
    "dpmm MST": ("#009E73", "M0 -5.5L5.5 0L0 5.5L-5.5 0z"),
    "dpmm AIM": ("#56B4E9", "M0 5L5 -4H-5z"),
    "mostlyai": ("#D55E00", "M-4 -4L4 4M4 -4L-4 4"),
}
_STROKED = ("real", "mostlyai")
_LEFT, _TOP, _ROW, _PANEL, _GAP, _WIDTH, _STEPS = 124, 62, 18, 216, 28, 860, 3
_SCORES = (
    ("AUC boosting / logistic / others", ("boosting", "logistic", "others"), 3),
    ("TV 1 / 2 / 3", ("tv_1", "tv_2", "tv_3"), 3),
    ("Cramer", ("cramer",), 3),
    ("told apart", ("c2st",), 3),
    ("rare 1 / 2", ("rare_1", "rare_2"), 2),
    ("CPU s", ("cpu_seconds",), 0),
)


def drawn(lines: Sequence[Line], order: Sequence[str]) -> str:
    """Returns the figure as SVG: all tables and systems that were measured at epsilon 1.

    Args:
      lines: what was measured.
      order: of the tables.
    """
    found = _means(lines)
    tables = [table for table in order if any(table == known for known, _ in found)]
    known = {system for _, system in found}
    systems = [system for system in _MARKS if system in known]
    height = _TOP + _ROW * len(tables) + 40
    told = "What synthetic tables at epsilon 1 are worth, by table and system"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{told}">',
        "<style>text{font:12px sans-serif;fill:#222}.title{font-weight:bold}.end{text-anchor:end}"
        ".middle{text-anchor:middle}.grid{stroke:#ddd;fill:none}</style>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for number, system in enumerate(systems):
        x = _LEFT + number * (_WIDTH - _LEFT) // max(len(systems), 1)
        parts.append(_mark(system, x, 16))
        parts.append(f'<text x="{x + 12}" y="20">{escape(system)}</text>')
    for row, table in enumerate(tables):
        y = _TOP + _ROW * (row + 0.5)
        parts.append(f'<text x="{_LEFT - 14}" y="{y + 4:g}" class="end">{escape(table)}</text>')
        parts.append(f'<path d="M{_LEFT - 8} {y:g}H{_WIDTH - 10}" class="grid"/>')
    for number, (measure, title, low, high) in enumerate(_PANELS):
        left = _LEFT + number * (_PANEL + _GAP)
        parts.append(f'<text x="{left}" y="{_TOP - 12}" class="title">{escape(title)}</text>')
        for step in range(_STEPS + 1):
            x = left + _PANEL * step / _STEPS
            value = low + (high - low) * step / _STEPS
            parts.append(f'<path d="M{x:.1f} {_TOP}v{_ROW * len(tables)}" class="grid"/>')
            y = _TOP + _ROW * len(tables) + 18
            parts.append(f'<text x="{x:.1f}" y="{y}" class="middle">{value:.2g}</text>')
        for row, table in enumerate(tables):
            for system in systems:
                value = found.get((table, system), {}).get(measure)
                if value is not None:
                    share = min(max((value - low) / (high - low), 0.0), 1.0)
                    y = _TOP + _ROW * (row + 0.5)
                    parts.append(_mark(system, left + share * _PANEL, y))
    return "\n".join([*parts, "</svg>"]) + "\n"


def markdown(
    lines: Iterable[Line], tables: Sequence[str], systems: Sequence[str], epsilon: Sequence[float]
) -> list[str]:
    """Returns a Markdown table: a row for each table, system and epsilon, the mean over seeds."""
    grouped: defaultdict[tuple[str, str, float], list[Line]] = defaultdict(list)
    for line in lines:
        grouped[line["table"], line["system"], float(line["epsilon"])].append(line)
    rows = ["| table | system | epsilon | " + " | ".join(head for head, *_ in _SCORES) + " |"]
    rows.append("| --- " * (3 + len(_SCORES)) + "|")
    for table in tables:
        for system in systems:
            for one in (0.0, *epsilon):
                for_cell = grouped.get((table, system, one), [])
                done = [line for line in for_cell if line["status"] == "done"]
                what = f"| {table} | {system} | {one:g} |" if one else f"| {table} | {system} | - |"
                if done:
                    rows.append(what + "".join(f" {cell} |" for cell in _cells(done)))
                elif for_cell:
                    rows.append(what + f" {for_cell[0]['status']} |" + " |" * (len(_SCORES) - 1))
    return rows


def _cells(lines: Sequence[Line]) -> list[str]:
    cells = []
    for _, names, digits in _SCORES:
        values = [[line[name] for line in lines if name in line] for name in names]
        cells.append(" / ".join(f"{mean(one):.{digits}f}" if one else "-" for one in values))
    return cells


def _means(lines: Sequence[Line]) -> dict[tuple[str, str], dict[str, float]]:
    """Returns the means over seeds by table and system, at epsilon 1 or without any."""
    values: defaultdict[tuple[str, str], defaultdict[str, list[float]]]
    values = defaultdict(lambda: defaultdict(list))
    for line in lines:
        if line["status"] == "done" and float(line["epsilon"]) in (0.0, _EPSILON):
            for measure, *_ in _PANELS:
                if measure in line:
                    values[line["table"], line["system"]][measure].append(float(line[measure]))
    return {
        cell: {name: mean(found) for name, found in scores.items()}
        for cell, scores in values.items()
    }


def _mark(system: str, x: float, y: float) -> str:
    colour, path = _MARKS[system]
    if system in _STROKED:
        style = f'stroke="{colour}" stroke-width="2" fill="none"'
    else:
        style = f'fill="{colour}" fill-opacity="0.85"'
    return f'<path d="{path}" transform="translate({x:.1f} {y:g})" {style}/>'
