"""Writes the vectors: python -m tests.vectors.generate

Keys are fixed and known to everybody, so nothing that they sign is worth anything; nothing is
drawn, so the same fedloom writes the same bytes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from tests.vectors.actors import Vector
from tests.vectors.ledgers import entries
from tests.vectors.manifests import manifests
from tests.vectors.messages import answers, requests
from tests.vectors.plans import plans

FOLDER = Path(__file__).parent
KINDS: dict[str, Callable[[], Vector]] = {
    "plan": plans,
    "entry": entries,
    "request": requests,
    "answer": answers,
    "manifest": manifests,
}


def text_of(kind: str) -> str:
    """Returns the text of one file of vectors."""
    return json.dumps(KINDS[kind](), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> int:
    for kind in KINDS:
        (FOLDER / f"{kind}.json").write_text(text_of(kind), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
