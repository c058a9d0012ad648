"""What the suite has measured: one JSON line a cell, of which the newest counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["RESULTS", "Line", "key", "newest"]

RESULTS = Path(__file__).resolve().parent / "results" / "suite.jsonl"
Line = dict[str, Any]


def key(line: Line) -> tuple[str, str, float, int]:
    """Returns which cell a line is about: table, system, epsilon and seed."""
    return line["table"], line["system"], float(line["epsilon"]), int(line["seed"])


def newest(path: Path = RESULTS) -> dict[tuple[str, str, float, int], Line]:
    """Returns the newest line of every cell; a last line that was cut off is no line."""
    found = {}
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        found[key(line)] = line
    return found
