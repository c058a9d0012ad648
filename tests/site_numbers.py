"""Finds numbers that a run folder or a release states about one site."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

# What a ledger tells about its site: prices, limits, how many runs, rounds and entries.
ABOUT_PRICES = (
    "epsilon",
    "delta",
    "rounds_",
    "attempts_charged",
    "runs",
    "head",
    "ledgers",
    "entries_left_out",
)


def numbers_by_site(folders: Collection[Path], sites: Collection[str]) -> set[str]:
    """Returns the places in JSON files of numbers below a site's name, prices left out.

    Ledger extracts are left out too: their form is fixed and holds events alone.
    """
    places = {
        ".".join((path.name, *where))
        for folder in folders
        for path in sorted(folder.rglob("*.json*"))
        if not {"ledger", "extracts", "sites"} & set(path.relative_to(folder).parts[:-1])
        for value in values_of(path)
        for where in numbers_of_sites(value, sites)
    }
    return {place for place in places if not any(word in place for word in ABOUT_PRICES)}


def values_of(path: Path) -> list[Any]:
    """Returns the JSON values of a file, one a line in `.jsonl`."""
    text = path.read_text("utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    return [json.loads(text)]


def numbers_of_sites(
    value: Any, sites: Collection[str], where: tuple[str, ...] = ()
) -> list[tuple[str, ...]]:
    """Returns the places of all numbers below a key that is a site's name."""
    found = []
    if isinstance(value, dict):
        for key, part in value.items():
            found += numbers_of_sites(part, sites, (*where, key))
    elif isinstance(value, list):
        for part in value:
            found += numbers_of_sites(part, sites, where)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if set(where) & set(sites):
            found.append(where)
    return found
