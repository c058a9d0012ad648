"""The plan: a study with every number filled in, priced before it starts.

A plan is one plain value: schema, sites with their public keys, model, statistics, training
rounds, noise and price. Its digest is what stewards approve and sign, and a site answers only
requests whose numbers are the plan's. Rounds are numbered through: the statistics rounds first,
then the training rounds, then the evaluation.

Guarantee: all that leaves the sites in a plan is (epsilon, delta)-DP for the plan's unit, under
adding or removing one unit that has records at `overlap` sites at most, provided that batches
are Poisson-sampled and that the noise stays secret: in local trust towards everybody, with a
secure sum towards a coordinator to whom at most `colluding` sites tell all they know. The event
is `Plan.event()`; noise, rates, number of rounds and sensitivity are fixed in the plan, what is
asked may depend on earlier answers.
"""

from __future__ import annotations

import json
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from dp_accounting import dp_event

from fedloom.common.digest import canonical_json, digest
from fedloom.common.discovery import Discovery
from fedloom.common.encoding import Encoding
from fedloom.common.errors import StudyError
from fedloom.common.schema import Schema
from fedloom.common.study import SiteEntry
from fedloom.privacy.accounting import Price, event_from_json, event_to_json, price, repeat
from fedloom.privacy.plan_rounds import RoundQuery, plan_event, plan_rounds

__all__ = ["PLAN_FORMAT", "Plan", "RoundQuery", "price_of"]

PLAN_FORMAT = 2
_KEYS = {
    "format",
    "fedloom",
    "study",
    "schema",
    "schema_digest",
    "privacy",
    "sites",
    "model",
    "statistics",
    "training",
    "evaluation",
    "release",
    "coordination",
    "price",
}


@lru_cache(maxsize=64)
def _price_of(event: str, delta: float) -> Price:
    return price([event_from_json(json.loads(event))], delta)


def price_of(event: dp_event.DpEvent, delta: float) -> Price:
    """Returns the price of an event; equal events are priced once in a process."""
    return _price_of(canonical_json(event_to_json(event)).decode(), delta)


class Plan:
    """A resolved study; never changed once made, identified by its digest.

    Args:
      body: plain values as `fedloom.privacy.resolve.resolve_plan` makes them.

    Raises:
      StudyError: the body is not a plan of this version.
    """

    def __init__(self, body: dict[str, Any]) -> None:
        if not isinstance(body, dict) or set(body) != _KEYS or body.get("format") != PLAN_FORMAT:
            raise StudyError(
                "not a plan of this version of fedloom; resolve the study again with "
                "`fedloom study check --resolved`"
            )
        self.body: dict[str, Any] = json.loads(canonical_json(body))
        self._digest = digest(self.body)

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Reads a plan from the JSON file at `path`.

        Raises:
          StudyError: the file is missing or is not a plan.
        """
        try:
            return cls(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError) as error:
            raise StudyError(f"{path}: not a readable plan") from error

    def save(self, path: Path) -> None:
        """Writes the plan as indented JSON; its digest does not depend on the layout."""
        text = json.dumps(self.body, indent=2, sort_keys=True, ensure_ascii=False)
        Path(path).write_text(text + "\n", encoding="utf-8")

    def __eq__(self, other: object) -> bool:
        """Plans of one digest are the same plan."""
        return isinstance(other, Plan) and other._digest == self._digest

    def __hash__(self) -> int:
        """Hashes the digest, so that what is kept by plan is kept once for all sites."""
        return hash(self._digest)

    def digest(self) -> str:
        """Returns the SHA-256 of the canonical form: what stewards sign."""
        return self._digest

    @property
    def name(self) -> str:
        """Name of the study."""
        return str(self.body["study"]["name"])

    @property
    def study_digest(self) -> str:
        """Digest of the study that the plan resolves."""
        return str(self.body["study"]["digest"])

    @property
    def target(self) -> str | None:
        """The label column, if any."""
        target: str | None = self.body["study"]["target"]
        return target

    @property
    def epsilon(self) -> float:
        """The study's epsilon, which the price does not exceed."""
        return float(self.body["privacy"]["epsilon"])

    @property
    def delta(self) -> float:
        """The study's delta."""
        return float(self.body["privacy"]["delta"])

    @property
    def privacy(self) -> dict[str, Any]:
        """Budget, unit and trust: epsilon, delta, unit, id, rows_per_person, overlap, ..."""
        return dict(self.body["privacy"])

    @property
    def colluding(self) -> int | None:
        """How many sites may side with the coordinator; None where sums are not masked."""
        privacy = self.body["privacy"]
        return int(privacy["colluding"]) if privacy["trust"] == "secure-sum" else None

    @property
    def model(self) -> dict[str, Any]:
        """Kind and settings of the model."""
        return dict(self.body["model"])

    @property
    def statistics(self) -> dict[str, Any]:
        """Settings of the statistics phase."""
        return dict(self.body["statistics"])

    @property
    def training(self) -> dict[str, Any] | None:
        """Settings of the training rounds; None for a model made from statistics alone."""
        training: dict[str, Any] | None = self.body["training"]
        return None if training is None else dict(training)

    @property
    def evaluation(self) -> dict[str, Any] | None:
        """Settings of the scores on held-back units; None if none are held back."""
        evaluation: dict[str, Any] | None = self.body["evaluation"]
        return None if evaluation is None else dict(evaluation)

    @property
    def coordination(self) -> dict[str, Any]:
        """Quorum and time-outs."""
        return dict(self.body["coordination"])

    @property
    def sites(self) -> tuple[SiteEntry, ...]:
        """The institutions."""
        return tuple(SiteEntry(**site) for site in self.body["sites"])

    def site(self, name: str) -> SiteEntry:
        """Returns one institution.

        Raises:
          StudyError: the plan has no site of that name.
        """
        for site in self.sites:
            if site.name == name:
                return site
        names = ", ".join(site.name for site in self.sites)
        raise StudyError(f"the study has no site {name!r}; its sites are {names}")

    @cached_property
    def schema(self) -> Schema:
        """The public schema."""
        return Schema.from_dict(self.body["schema"])

    @property
    def learns_schema(self) -> bool:
        """Whether the plan completes its schema, and makes no generator."""
        return bool(self.body["model"]["kind"] == "schema")

    @cached_property
    def discovery(self) -> Discovery:
        """How records of an open schema become codes; in a plan that `learns_schema`."""
        return Discovery(self.schema)

    @cached_property
    def encoding(self) -> Encoding:
        """How records become codes; in any other plan."""
        return Encoding(self.schema, self.target)

    @cached_property
    def rounds(self) -> tuple[RoundQuery, ...]:
        """All rounds in order, with what each asks and costs; spare rounds are not among them."""
        return plan_rounds(self.body)

    def event(self) -> dp_event.DpEvent:
        """Returns the event of everything that is answered in the whole plan, spares included."""
        return plan_event(self.body)

    def event_of(self, runs: int) -> dp_event.DpEvent:
        """Returns the event of so many runs of the plan, each as a whole."""
        return self.event() if runs == 1 else repeat(self.event(), runs)

    def price(self, runs: int = 1) -> Price:
        """Returns what the whole plan costs one unit, by PLD and by RDP; so many runs together."""
        return price_of(self.event_of(runs), self.delta)
