"""Draws `docs/images/models.svg` from the measured results: quality of every model by epsilon.

    python benchmarks/figure_models.py

Reads `benchmarks/results/models.csv` (see `models.py`) and needs nothing but the standard library.
A point is the mean over the seeds that were measured; nothing is filled in between them.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from html import escape
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "models.csv"
IMAGE = ROOT / "docs" / "images" / "models.svg"
PANELS = (("auc_boosting", "AUC of gradient boosting"), ("tv2", "2-way total variation"))
COLOURS = ("#1b6ca8", "#c8553d", "#3c8d5a", "#8d5a97", "#c98b00", "#555555", "#20a0a0", "#b03060")
WIDTH, HEIGHT, LEFT, TOP, PANEL_WIDTH, PANEL_HEIGHT, GAP = 860, 430, 60, 40, 330, 270, 80
_STEPS = 5

Curves = dict[str, list[tuple[float, float]]]


def curves(lines: list[dict[str, str]], measure: str) -> Curves:
    """Returns (epsilon, mean over seeds) by model; runs that gave no number are left out."""
    found: defaultdict[tuple[str, float], list[float]] = defaultdict(list)
    for line in lines:
        try:
            value = float(line[measure])
        except ValueError:
            continue  # a time-out or a failure, which the table tells
        found[line["model"], float(line["epsilon"])].append(value)
    by_model: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for (model, epsilon), values in sorted(found.items()):
        by_model[model].append((epsilon, mean(values)))
    return dict(by_model)


def panel(found: Curves, title: str, left: float, colours: dict[str, str]) -> list[str]:
    """Returns the SVG elements of one panel."""
    epsilons = sorted({epsilon for points in found.values() for epsilon, _ in points})
    values = [value for points in found.values() for _, value in points]
    low, high = math.floor(min(values) * 50) / 50, math.ceil(max(values) * 50) / 50
    first, last = math.log(epsilons[0]), math.log(epsilons[-1])

    def place(epsilon: float, value: float) -> tuple[float, float]:
        across = (math.log(epsilon) - first) / ((last - first) or 1.0)
        up = (value - low) / ((high - low) or 1.0)
        return left + across * PANEL_WIDTH, TOP + (1.0 - up) * PANEL_HEIGHT

    parts = [f'<text x="{left}" y="{TOP - 14}" class="title">{escape(title)}</text>']
    for step in range(_STEPS + 1):
        value = low + (high - low) * step / _STEPS
        y = place(epsilons[0], value)[1]
        parts.append(f'<path d="M{left} {y:.1f}h{PANEL_WIDTH}" class="grid"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" class="end">{value:.3f}</text>')
    for epsilon in epsilons:
        x = place(epsilon, low)[0]
        parts.append(
            f'<text x="{x:.1f}" y="{TOP + PANEL_HEIGHT + 18}" class="middle">{epsilon:g}</text>'
        )
    middle = left + PANEL_WIDTH / 2
    parts.append(f'<text x="{middle}" y="{TOP + PANEL_HEIGHT + 36}" class="middle">epsilon</text>')
    for model, points in found.items():
        colour = colours[model]
        places = [place(*point) for point in points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{line}" stroke="{colour}" class="curve"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places]
    return parts


def drawn(lines: list[dict[str, str]]) -> str:
    """Returns the figure as SVG."""
    models = sorted({line["model"] for line in lines})
    colours = {model: COLOURS[number % len(COLOURS)] for number, model in enumerate(models)}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-label="Quality of synthetic Adult by epsilon, for every model">',
        "<style>text{font:12px sans-serif;fill:#333}.title{font-weight:bold}.end{text-anchor:end}"
        ".middle{text-anchor:middle}.grid{stroke:#ddd;fill:none}"
        ".curve{fill:none;stroke-width:2}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    for number, (measure, title) in enumerate(PANELS):
        left = LEFT + number * (PANEL_WIDTH + GAP)
        parts += panel(curves(lines, measure), title, left, colours)
    for number, model in enumerate(models):
        x, y = LEFT + (number % 4) * 195, TOP + PANEL_HEIGHT + 66 + (number // 4) * 22
        parts.append(f'<rect x="{x}" y="{y - 10}" width="12" height="12" fill="{colours[model]}"/>')
        parts.append(f'<text x="{x + 18}" y="{y}">{escape(model)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Reads the results and writes the figure."""
    with RESULTS.open(newline="", encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    IMAGE.write_text(drawn(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
