"""Draws `docs/images/real_and_synthetic.svg`: the demo's real records beside its synthetic ones.

    fedloom demo --out fedloom-demo
    python benchmarks/figure_demo.py fedloom-demo

The real records are public (`examples/rand`): here, and only here, anybody can look at both.
Two columns on their own, then two relations between columns.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from html import escape
from pathlib import Path

import pandas as pd

__all__ = ["draw", "panels"]

ROOT = Path(__file__).resolve().parent.parent
IMAGE = ROOT / "docs" / "images" / "real_and_synthetic.svg"
REAL, SYNTHETIC, INK = "#9aa5ad", "#12857a", "#333333"
WIDTH, HEIGHT, LEFT, TOP, PANEL, TALL, GAP = 900, 540, 50, 85, 380, 165, 60
VISITS = ((0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 6), (7, 9), (10, 14), (15, 150))

Panel = tuple[str, list[str], list[float], list[float]]


def _shares(values: pd.Series, bins: Sequence[tuple[float, float]]) -> list[float]:
    return [float(values.between(low, high).mean()) for low, high in bins]


def _by(table: pd.DataFrame, group: str, names: Sequence[str], value: str) -> list[float]:
    return [float(table.loc[table[group] == name, value].mean()) for name in names]


def panels(real: pd.DataFrame, synthetic: pd.DataFrame) -> list[Panel]:
    """Returns title, names of the bars, and their heights in the real and the synthetic table."""
    for table in (real, synthetic):
        table["seen"] = (table["visited"] == "yes").astype(float)
    ages = [(low, low + 4) for low in range(0, 65, 5)]
    health, shares = ("excellent", "good", "fair", "poor"), ("0", "25", "50", "95")
    both = (real, synthetic)
    return [
        (
            "Age: share of records",
            [str(low) if low % 10 == 0 else "" for low, _ in ages],
            *(_shares(table["age"], ages) for table in both),
        ),
        (
            "Visits to a doctor in a year: share of records",
            [f"{low}" if low == high else f"{low}+" if high == 150 else f"{low}-{high}"
             for low, high in VISITS],
            *(_shares(table["visits"], VISITS) for table in both),
        ),
        (
            "Mean visits, by how people rate their health",
            list(health),
            *(_by(table, "self_rated", health, "visits") for table in both),
        ),
        (
            "Share with any visit, by the part of the bill they pay",
            [f"{share} %" for share in shares],
            *(_by(table, "coinsurance", shares, "seen") for table in both),
        ),
    ]  # fmt: skip


def _text(x: float, y: float, words: str, *, size: int = 12, anchor: str = "middle") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
        f'fill="{INK}">{escape(words)}</text>'
    )


def _panel(panel: Panel, left: float, top: float) -> list[str]:
    title, names, real, synthetic = panel
    highest = max(*real, *synthetic)
    bottom, slot = top + TALL, PANEL / len(names)
    lines = [_text(left, top - 20, title, size=14, anchor="start")]
    lines.append(f'<line x1="{left}" y1="{bottom}" x2="{left + PANEL}" y2="{bottom}" '
                 f'stroke="{INK}"/>')  # fmt: skip
    for number, (name, *heights) in enumerate(zip(names, real, synthetic, strict=True)):
        for place, (height, colour) in enumerate(zip(heights, (REAL, SYNTHETIC), strict=True)):
            tall = TALL * height / highest
            x = left + slot * (number + 0.12 + 0.38 * place)
            lines.append(f'<rect x="{x:.1f}" y="{bottom - tall:.1f}" width="{slot * 0.38:.1f}" '
                         f'height="{tall:.1f}" fill="{colour}"/>')  # fmt: skip
            if len(names) < 6:
                lines.append(_text(x + slot * 0.19, bottom - tall - 4, f"{height:.2f}", size=11))
        lines.append(_text(left + slot * (number + 0.5), bottom + 16, name, size=11))
    return lines


def draw(found: Sequence[Panel], caption: str) -> str:
    """Returns the picture, an SVG."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" role="img" aria-label="{escape(caption)}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    x = float(LEFT)
    for name, colour in (("real records", REAL), ("synthetic records", SYNTHETIC)):
        lines.append(f'<rect x="{x}" y="14" width="14" height="14" fill="{colour}"/>')
        lines.append(_text(x + 20, 26, name, size=14, anchor="start"))
        x += 130
    lines.append(_text(WIDTH - 30, 26, caption, size=13, anchor="end"))
    for number, panel in enumerate(found):
        row, column = divmod(number, 2)
        top = TOP + row * (TALL + 85)
        lines += _panel(panel, LEFT + column * (PANEL + GAP), top)
    return "\n".join([*lines, "</svg>"]) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo", type=Path, help="folder that `fedloom demo --out` made")
    demo = parser.parse_args().demo
    kinds = {"coinsurance": str}
    tables = sorted((ROOT / "examples" / "rand").glob("*.csv.gz"))
    records = pd.concat([pd.read_csv(path, dtype=kinds) for path in tables])
    released = pd.read_csv(demo / "release" / "data" / "synthetic.csv", dtype=kinds)
    words = f"{len(records):,} real and {len(released):,} synthetic person-years, epsilon 3"
    IMAGE.write_text(draw(panels(records, released), words), encoding="utf-8")
    print(IMAGE.relative_to(ROOT))
