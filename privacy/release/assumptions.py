"""What a release's claim rests on, and what it does not cover: a stable code for each sentence.

A statement lists both as `{"code": ..., "text": ...}`, with the numbers of a sentence beside it.
Codes and numbers are verified; sentences may be worded better in any later version.
"""

from __future__ import annotations

from typing import Any

from fedloom.common.models.image_settings import votes_of_model
from fedloom.common.models.vote_settings import FREQUENCIES
from fedloom.common.public_data import PublicData
from fedloom.common.vocabulary import Unit
from fedloom.privacy.plan import Plan

__all__ = ["assumptions", "not_covered"]

_ASSUMPTIONS = {
    "sites-run-fedloom": "Each site runs fedloom unmodified, and its vault alone reads the "
    "records.",
    "randomness-is-secret": "Noise, batches and random states of a site stay secret, and its "
    "operating system's entropy is good.",
    "schema-is-public": "Bounds, categories and grids of the schema were written from public "
    "knowledge, or bought by the earlier studies that `preprocessing.learned` names; none was read "
    "off the records.",
    "records-are-frozen": "The records of a site did not change under the study (the vault works "
    "on a snapshot).",
    "generator-from-answers": "The publisher made the generator from the sites' answers, as "
    "fedloom does. The answers are here, and the rows are checked to be the generator's. Whoever "
    "uses `fedloom release verify --refit` checks the step between; without it, that step is the "
    "publisher's word.",
    "one-ledger-per-people": "A site's ledger is the only home over its people; a second home over "
    "the same people adds loss.",
}
_LEARNED = (
    "Each price under `preprocessing.learned` holds under the trust, the overlap and the rows per "
    "person of the plan that it names. Of that plan the release holds what ledgers say, and "
    "not the plan itself."
)
_PUBLIC = (
    "The public table that the plan names holds none of the records that the study protects, and "
    "was not chosen, cut or written by looking at them; the counts of it in public.safetensors are "
    "those of the file whose SHA-256 the plan names. Neither can be told from a release."
)
_SAME = (
    "The earlier release that the plan names is of the records that this study protects, at the "
    "same sites, so that its answers and these can be averaged; what it states of its own price "
    "is what its ledgers say. That its looks and these agree as noise lets them was tested."
)
_EARLIER = (
    "The earlier release that the plan names cost what its own statement says. Its rows were the "
    "prior of the fit; for whoever is in its records and in this study's, the two prices add up. "
    "The counts in public.safetensors are those of its rows, which a release cannot show."
)
_SIMULATED = (
    "The simulator that the plan names was not made, trained or tuned by looking at the records "
    "that the study protects. That cannot be told from a release."
)
_EMBEDDED = (
    "The embedding that the plan names gives each image features that depend on that image alone, "
    "so that a record's vote is its own. Sites tested it on public images before they read a "
    "record, and checked the SHA-256 of its weights, not its code."
)
_PERSONS = "A site's id column tells its persons apart: all rows of one person have one id."
_COLLUDING = (
    "At most {colluding} of the sites tell{s} the coordinator what the site knows; every other "
    "site adds its share of the noise as fedloom does."
)
_MASKS = (
    "The exchange keys in the plan are the sites' own, and X25519, HKDF-SHA256 and AES-256 hide "
    "what they should: towards whoever breaks them a site's part is nearly bare."
)
_OPENED = (
    "The sums in `answers/` are what the masked parts of the sites add up to. Whoever has the "
    "evidence can check it (`fedloom release verify --evidence`); without it, the publisher is "
    "trusted for it."
)
_NOT_COVERED = {
    "population": "Facts about the whole population that the data teach, also about people outside "
    "it.",
    "groups": "Groups: k units together are protected less than one is; for them epsilon grows at "
    "least k-fold, and delta grows too.",
    "timing": "Timing: how long a site takes to answer may depend on its records.",
    "floating-point": "Floating point: noise is drawn in double precision before it is rounded to "
    "the public grid, and gradients are clipped in single precision; the mathematics of the "
    "mechanisms knows neither.",
    "side-channels": "Other side channels: memory, power, and what a person with access to a "
    "site's machines sees.",
    "other-publications": "Records, or statistics on them, that a site published by other means.",
    "unstated-learning": "A schema that was learned from the records and does not say so: an "
    "omitted `[[learned]]` table cannot be noticed from the release alone.",
    "public-study": "The schema, the study and the names of the sites, which are public.",
    "declared-records": "A declared number of records, where a site gave one: it is public.",
    "participation": "Which sites took part in which round, and when.",
    "outside-choices": "Choices made outside fedloom after looking at records, such as trying "
    "several studies and keeping one whose ledger is not the one used here.",
}


def _of_public_data(public: PublicData) -> dict[str, Any]:
    """Returns what a plan with `[public]` rests on."""
    if public.same_records:
        return {"code": "same-records", "text": _SAME}
    if public.release is not None:
        return {"code": "earlier-release", "text": _EARLIER}
    return {"code": "public-table-apart", "text": _PUBLIC}


def assumptions(plan: Plan) -> list[dict[str, Any]]:
    """Lists what a plan's claim rests on; none of it can be verified from a release alone."""
    listed = _listed(_ASSUMPTIONS)
    overlap, sites = plan.privacy.overlap, len(plan.sites)
    text = "Units may have rows at every site."
    if overlap < sites:
        text = f"No unit has rows at more than {overlap} of the sites."
    listed.append({"code": "overlap", "sites_per_unit": overlap, "sites": sites, "text": text})
    if plan.schema.learned:
        listed.append({"code": "learned-prices", "text": _LEARNED})
    if plan.public is not None:
        listed.append(_of_public_data(plan.public))
    votes = votes_of_model(plan.model)
    if votes is not None and votes.simulator is not None:
        listed.append({"code": "simulator-apart", "text": _SIMULATED})
    if votes is not None and votes.features != FREQUENCIES:
        listed.append({"code": "embedding-of-one-image", "text": _EMBEDDED})
    if plan.privacy.unit is Unit.PERSON:
        listed.append({"code": "ids-tell-persons", "text": _PERSONS})
    if plan.colluding is not None:
        text = _COLLUDING.format(colluding=plan.colluding, s="s" if plan.colluding == 1 else "")
        listed.append({"code": "colluding-sites", "colluding": plan.colluding, "text": text})
        listed.append({"code": "masks-hide", "text": _MASKS})
        listed.append({"code": "sums-as-opened", "text": _OPENED})
    return listed


def not_covered() -> list[dict[str, Any]]:
    """Lists what no claim of fedloom covers."""
    return _listed(_NOT_COVERED)


def _listed(sentences: dict[str, str]) -> list[dict[str, Any]]:
    return [{"code": code, "text": text} for code, text in sentences.items()]
