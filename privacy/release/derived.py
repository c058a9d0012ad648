"""The files of a release that are written from plan, statement and manifest: texts and codebook.

Texts are for people and say nothing that the statement, the plan or the codebook does not hold as
a number or a code. Verification looks at those; for texts it has the publisher's signature.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fedloom.privacy.keys import fingerprint
from fedloom.privacy.plan import Plan
from fedloom.privacy.release.codebook import codebook, codebook_text
from fedloom.privacy.release.documents import Facts, datasheet_text, licence_text, readme_text

__all__ = ["TEXTS", "derived_files", "json_text", "title_of"]

TEXTS = ("README.md", "DATASHEET.md", "LICENSE", "codebook.md", "report.html")
"""Files for people alone."""


def title_of(plan: Plan) -> str:
    """Returns the title that the study gives its release, or one made from the study's name."""
    return str(plan.release.title or f"Synthetic data of the study {plan.name}")


def json_text(value: Any) -> str:
    """Writes JSON for people: indented, sorted, UTF-8, finite numbers."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def derived_files(
    plan: Plan, statement: Mapping[str, Any], *, rows: int, created: str, public_key: str
) -> dict[str, bytes]:
    """Writes the derived files.

    Args:
      plan: the plan that was carried out.
      statement: the privacy statement.
      rows: synthetic rows in the data files.
      created: when the release was built.
      public_key: that signs the release.

    Returns:
      The bytes of each file, by its path in the release.
    """
    settings = plan.release
    facts = Facts(
        title=title_of(plan),
        created=created,
        rows=rows,
        model=plan.model.kind,
        licence=settings.licence,
        contact=settings.contact,
        public_key=public_key,
        fingerprint=fingerprint(public_key),
        statement=statement,
        encoding=plan.encoding,
    )
    texts = {
        "README.md": readme_text(facts),
        "DATASHEET.md": datasheet_text(facts),
        "LICENSE": licence_text(facts.licence),
        "codebook.md": codebook_text(plan.encoding),
        "codebook.json": json_text(codebook(plan.encoding)),
        "schema.json": json_text(plan.schema.to_dict()),
    }
    return {name: text.encode() for name, text in texts.items()}
