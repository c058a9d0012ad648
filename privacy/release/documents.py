"""The texts of a release for people: README, datasheet, licence."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedloom.common.encoding import Encoding
from fedloom.privacy.release.markdown import one_line, plain_text

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

    @property
    def sites(self) -> str:
        """The sites' names, joined, as Markdown."""
        return ", ".join(plain_text(site) for site in self.statement["sites"])

    @property
    def heading(self) -> str:
        """The title, as Markdown."""
        return plain_text(self.title)

    @property
    def reach(self) -> str:
        """How to reach the publisher, as Markdown."""
        return plain_text(self.contact) if self.contact else _UNKNOWN


def readme_text(facts: Facts) -> str:
    """Says what lies where, how to verify it, and how to draw more rows."""
    statement = facts.statement
    condition = ""
    if facts.encoding.target is not None:
        label = facts.encoding.class_labels[0]
        if label.isprintable():
            condition = f" --where {shlex.quote(facts.encoding.target)}={shlex.quote(label)}"
    opening = textwrap.fill(
        f"Synthetic data: no row belongs to a person. {facts.rows:,} rows with "
        f"{len(facts.encoding.blocks)} columns, drawn from a generator ({facts.model}) that "
        f"{facts.sites} made together under differential privacy, without sharing a record. "
        f"Built {facts.created}.",
        width=98,
    )
    price = textwrap.fill(
        f"{statement['claim']['text']} in `dp_statement.json`. {_parties(statement)} "
        f"{plain_text(statement['unit_of_privacy']['text'])}",
        width=98,
    )
    return f"""# {facts.heading}

{opening}

## Privacy, in one sentence

{price}
{_rehearsal(statement)}
## Check it (offline)

```
pip install fedloom
fedloom release verify . --key {facts.public_key}
```

The key's fingerprint is `{facts.fingerprint}`. A key that you read here proves nothing: compare
it with one that the publisher gives elsewhere. The check covers every file, the signatures,
each site's ledger, and computes epsilon again from what the ledgers hold.

## Draw more rows

Sampling is free: it costs no privacy, however many rows are drawn.

```
fedloom sample . --rows 1000 --out more.csv{condition}
```

## Take care

Ordinary standard errors, confidence intervals and p-values are too small on synthetic data.
More synthetic rows do not make a finding more certain. Confirm what matters on the original
records, at the sites. For counts of one column, by class, use `answers/marginals.parquet` instead:
they are unbiased, and their noise is known exactly (`codebook.md`).

## What lies here

| path | what |
|---|---|
| `report.html` | the report for people: what the data resemble, what they cost |
| `data/synthetic.csv`, `data/synthetic.parquet` | the same rows twice |
| `codebook.md`, `codebook.json` | what each column means |
| `generator/` | the generator: `config.json`, `model.safetensors`; loading it runs no code |
| `dp_statement.json` | the privacy statement, in the terms of NIST SP 800-226 |
| `plan.json`, `schema.json` | the plan that the sites signed, and the public schema |
{_evaluation_row(statement)}\
| `answers/marginals.parquet` | noisy counts of each column by class, with their noise |
| `answers/` | the sites' noisy answers, as the coordinator saw them: safetensors |
| `ledger/` | each site's signed ledger extract |
| `DATASHEET.md`, `LICENSE` | where the data come from, and terms of use |
| `manifest.json`, `manifest.sig` | every file's hash, signed |

Contact: {facts.reach}
"""


def datasheet_text(facts: Facts) -> str:
    """Answers the questions of "Datasheets for Datasets" (Gebru et al. 2021), as far as known."""
    statement = facts.statement
    target = facts.encoding.target
    rehearsal = _rehearsal(statement).strip() or "None."
    return f"""# Datasheet: {facts.heading}

After Gebru et al., "Datasheets for Datasets" (2021). What only the publisher can know says so.

## Motivation
- **For what purpose was it created?** To let others work with the structure of tables that
  {facts.sites} may not share. {_UNKNOWN if facts.contact is None else ""}
- **Who created it?** The sites together, by fedloom; contact: {facts.reach}
- **Who funded it?** {_UNKNOWN}

## Composition
- **What do the instances represent?** Synthetic rows; none is a person. A row imitates one
  row of the sites' tables, cut to the columns of the schema.
- **How many are there?** {facts.rows:,}. By default this is the noisy number of real records,
  held-back ones allowed for, rounded to two digits; the true number is private.
- **Is it a sample?** It is drawn from a generator; any number of rows can be drawn.
- **What does each instance consist of?** {len(facts.encoding.blocks)} columns; see `codebook.md`.
- **Is there a label?** {plain_text(target) if target is not None else "No."}
- **Is information missing?** Missing values are synthesised where the schema allows them.
- **Are relationships between instances explicit?** No; rows are independent draws.
- **Recommended splits?** None. Test models on real records at the sites.{_held_back(statement)}
- **Errors, noise, redundancies?** Noise from differential privacy and errors of the generator;
  `report.html` compares the data with the noisy marginals and states expected errors.
- **Self-contained?** Yes.
- **Confidential or personal data?** The rows are differentially private output, not records:
  {statement["claim"]["text"]}. What that does not cover is listed in `dp_statement.json`.
- **Could it offend or harm?** It may carry over biases of the original records.
- **Sub-populations?** As in the codebook. Small groups are the least accurate.

## Collection
- **How was it acquired?** Each site answered noised queries on its own records; no record left
  a site. How the records were collected: {_UNKNOWN}
- **Who was involved, and were they paid?** {_UNKNOWN}
- **Over what time?** {_UNKNOWN} The release was built {facts.created}.
- **Ethical review, notice, consent?** {_UNKNOWN}
- **Rehearsal?** {rehearsal}

## Preprocessing
- **What was done?** Values outside the public schema were clamped or set aside at the sites;
  numbers were cut at a public grid, and drawn evenly within its bins.
- **Is the raw data kept?** At the sites, under their own rules; it is not part of this release.
- **Is the software available?** fedloom, Apache-2.0.

## Uses
- **What could it be used for?** Writing and testing code, teaching, planning studies, forming
  hypotheses.
- **What should it not be used for?** Decisions about people; findings without confirmation on
  real records: ordinary standard errors are too small here. Attempts to learn about a person.

## Distribution
- **Under what licence?** {plain_text(facts.licence) if facts.licence else _UNKNOWN} See `LICENSE`.
- **Restrictions by others?** {_UNKNOWN}

## Maintenance
- **Who maintains it, and how to reach them?** {facts.reach}
- **Will it be updated?** A release never changes: a correction is a new release with its own
  manifest. Its budget adds to that of this one in the sites' ledgers.
"""


def licence_text(licence: str | None) -> str:
    """Writes the licence of the data: a pointer to the text that the study names."""
    if licence is None:
        return (
            "The publisher has not chosen a licence for these data.\n\n"
            "Until one is chosen, nobody has permission to use, copy or pass them on beyond what\n"
            "the law allows without permission. To choose, the coordinator sets `licence` under\n"
            '[release] in the study, for example "CC-BY-4.0", before the study is approved.\n'
        )
    name, address = _KNOWN_LICENCES.get(licence, (one_line(licence), None))
    text = f"These data are published under: {name}\n"
    if address is not None:
        text += f"Identifier: {licence}\nFull text: {address}\n"
    return text + (
        "\nThe licence is the publisher's, for the data and the generator in this folder. It says\n"
        "nothing about privacy; see dp_statement.json for that.\n"
    )


def _held_back(statement: Mapping[str, Any]) -> str:
    chance = statement["held_back"]["chance"]
    if not chance:
        return ""
    return (
        f" Each unit\n  was held back with a chance of {chance:g}; `evaluation.json` says how the "
        "data do on those."
    )


def _evaluation_row(statement: Mapping[str, Any]) -> str:
    if not statement["held_back"]["chance"]:
        return ""
    return "| `evaluation.json` | how the data do on held-back records, with error bars |\n"


def _parties(statement: Mapping[str, Any]) -> str:
    """Says what epsilon is towards whom, shortly, and what the schema adds."""
    if not statement["preprocessing"]["learned"]:
        return _towards(statement)
    whole = statement["with_the_schema"]
    return (
        f"{_towards(statement)} That is the price of this study alone. Its schema was learned from "
        f"records by an earlier one: both together cost epsilon {whole['epsilon']:.4g} at delta "
        f"{whole['delta']:g} at most, the sum of their prices."
    )


def _towards(statement: Mapping[str, Any]) -> str:
    towards = {party: entry["epsilon"] for party, entry in statement["towards"].items()}
    delta = f"at delta {statement['delta']:g}"
    if len(set(towards.values())) == 1:
        return f"Epsilon is {statement['epsilon']:.4g} {delta}, the same towards everybody."
    return (
        f"Epsilon {delta} is {towards['coordinator']:.4g} towards the coordinator and those that "
        f"may side with it, {towards['fellow_site']:.4g} towards another site on its own, "
        f"{towards['public']:.4g} towards whoever holds this folder."
    )


def _rehearsal(statement: Mapping[str, Any]) -> str:
    if not statement["rehearsal"]["sites"]:
        return ""
    return "\nRehearsal: the budget covers this run alone, and no other run on the same records.\n"
