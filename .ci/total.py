"""Adds up the groups' results (JUnit XML files in a folder) and prints them as one line."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path


def total(folder: Path) -> Counter[str]:
    """Returns how many tests there were, failed and were skipped, over all files of `folder`."""
    counts: Counter[str] = Counter()
    for file in sorted(folder.glob("*.xml")):
        for suite in ElementTree.parse(file).iter("testsuite"):
            for key in ("tests", "failures", "errors", "skipped"):
                counts[key] += int(suite.get(key, "0"))
    return counts


if __name__ == "__main__":
    found = total(Path(sys.argv[1]))
    failures = found["failures"] + found["errors"]
    passed = found["tests"] - failures - found["skipped"]
    print(f"total: {passed} passed, {failures} failed, {found['skipped']} skipped")
    sys.exit(0 if passed and not failures else 1)
