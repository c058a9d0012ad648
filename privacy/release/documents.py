"""The texts of a release for people: README, datasheet, licence."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedloom.common.encoding import Encoding
from fedloom.common.records.image import ImageSettings
from fedloom.privacy.release.render import one_line, plain_text, render

__all__ = ["Facts", "datasheet_text", "licence_text", "readme_text"]

_KNOWN_LICENCES = {
    "CC0-1.0": ("CC0 1.0 Universal", "https://creativecommons.org/publicdomain/zero/1.0/"),
    "CC-BY-4.0": (
        "Creative Commons Attribution 4.0 International",
        "https://creativecommons.org/licenses/by/4.0/",
    ),
    "CC-BY-SA-4.0": (
        "Creative Commons Attribution-ShareAlike 4.0 International",
        "https://creativecommons.org/licenses/by-sa/4.0/",
    ),
    "ODbL-1.0": (
        "Open Data Commons Open Database License 1.0",
        "https://opendatacommons.org/licenses/odbl/1-0/",
    ),
}
_UNKNOWN = "Not stated by the publisher."
_REHEARSAL = "Rehearsal: the budget covers this run alone, and no other run on the same records."


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the texts are written from.

    Attributes:
      title: of the release.
      created: when it was built.
      rows: synthetic rows.
      model: kind of the generator.
      licence: of the data, as the study names it, or None.
      contact: of the publisher, or None.
      public_key: that signed the release.
      fingerprint: of that key.
      statement: the privacy statement.
      encoding: the public encoding.
    """

    title: str
    created: str
    rows: int
    model: str
    licence: str | None
    contact: str | None
    public_key: str
    fingerprint: str
    statement: Mapping[str, Any]
    encoding: Encoding


def readme_text(facts: Facts) -> str:
    """Says what lies where, how to verify it, and how to draw more rows."""
    losses = {entry["epsilon"] for entry in facts.statement["towards"].values()}
    return render(
        "README.md",
        **_shared(facts),
        images=isinstance(facts.encoding.schema.records, ImageSettings),
        same_for_all=len(losses) == 1,
        condition=_example_condition(facts.encoding),
    )


def datasheet_text(facts: Facts) -> str:
    """Answers the questions of "Datasheets for Datasets" (Gebru et al. 2021), as far as known."""
    return render("DATASHEET.md", **_shared(facts), unknown=_UNKNOWN)


def licence_text(licence: str | None) -> str:
    """Writes the licence of the data: a pointer to the text that the study names."""
    name, address = _KNOWN_LICENCES.get(licence or "", (one_line(licence or ""), None))
    return render("LICENSE", licence=licence, name=name, address=address)


def _shared(facts: Facts) -> dict[str, Any]:
    return {
        "facts": facts,
        "statement": facts.statement,
        "sites": ", ".join(plain_text(site) for site in facts.statement["sites"]),
        "contact": plain_text(facts.contact) if facts.contact else _UNKNOWN,
        "rehearsal": _REHEARSAL,
    }


def _example_condition(encoding: Encoding) -> str:
    """Returns the option that draws rows of one class, quoted for a shell; empty if none can be."""
    if encoding.target is None or not (label := encoding.class_labels[0]).isprintable():
        return ""
    return f" --where {shlex.quote(encoding.target)}={shlex.quote(label)}"
