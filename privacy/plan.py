"""The plan: a study with every number filled in, priced before it starts.

A plan is one typed value: schema, keys of coordinator and sites, model, phases with their noise,
and price. Its digest is what stewards approve and sign, and a site answers only requests whose
numbers are the plan's. Rounds are numbered through, phase after phase.

Guarantee: all that leaves the sites in a plan is (epsilon, delta)-DP for the plan's unit, under
adding or removing one unit that has records at `overlap` sites at most, provided that batches
are Poisson-sampled and that the noise stays secret: with per-site trust towards everybody, with a
secure sum towards a coordinator to whom at most `colluding` sites tell all they know. The event
is `Plan.event()`; noise, rates, number of rounds and sensitivity are fixed in the plan, what is
asked may depend on earlier answers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dp_accounting import dp_event

from fedloom.common.digest import canonically_equal, digest
from fedloom.common.discovery import Discovery
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ReleaseError, StudyError
from fedloom.common.models.coders import coder_of, encoding_of
from fedloom.common.models.private_model import PrivateModel, build_model
from fedloom.common.models.registry import ModelKind, ModelSettings, model_kind, read_model
from fedloom.common.privacy_settings import PrivacySettings
from fedloom.common.public_data import PublicData
from fedloom.common.records import Coder
from fedloom.common.schema import Schema
from fedloom.common.strict_json import read_json
from fedloom.common.study import (
    Coordination,
    Coordinator,
    ReleaseSettings,
    SiteEntry,
    StatisticsSettings,
)
from fedloom.common.typed import Line, Section, Sha256, plain, read_typed
from fedloom.common.vocabulary import Query, Stage
from fedloom.privacy.accounting import Price, price_of
from fedloom.privacy.events import compose, repeat
from fedloom.privacy.phases import (
    EvaluationPhase,
    Phase,
    TrainingPhase,
    phase_event,
    phase_from_plain,
)
from fedloom.privacy.plan_version import check_version

__all__ = ["NEIGHBOURING", "PLAN_FORMAT", "Plan", "RoundQuery", "StatedPrice"]

PLAN_FORMAT = 4
NEIGHBOURING = "add-or-remove-one"
_SHARES_TOLERANCE = 1e-9


class StatedPrice(Section, frozen=True, kw_only=True):
    """What a plan says that it costs one unit, at its delta."""

    epsilon: float
    epsilon_rdp: float
    delta: float


class _StudyPart(Section, frozen=True, kw_only=True):
    name: Line
    target: str | None
    digest: Sha256


class _Body(Section, frozen=True, kw_only=True):
    """The plain form of a plan; parts that depend on others are read one by one."""

    format: int
    fedloom: str
    study: _StudyPart
    schema: dict[str, Any]
    schema_digest: Sha256
    privacy: PrivacySettings
    neighbouring: str
    coordinator: Coordinator
    sites: tuple[SiteEntry, ...]
    model: dict[str, Any]
    statistics: StatisticsSettings
    phases: list[dict[str, Any]]
    release: ReleaseSettings
    coordination: Coordination
    public: PublicData | None = None
    price: StatedPrice


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundQuery:
    """One round of a plan.

    Attributes:
      round: number of the round, from 1.
      phase: whose round it is.
      event: what one attempt at it costs one unit.
    """

    round: int
    phase: Phase
    event: dp_event.DpEvent

    @property
    def query(self) -> Query:
        """What it asks."""
        return self.phase.query

    @property
    def published(self) -> bool:
        """Whether its opened sum is kept in the run's folder and joins the release."""
        return self.phase.stage is not Stage.TRAINING

    @property
    def params(self) -> dict[str, Any]:
        """Returns exactly what a request's parameters must be."""
        return self.phase.params()


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """A resolved study; never changed once made, identified by its digest.

    Attributes:
      fedloom: major and minor version that resolved it.
      name: of the study.
      target: the label column, or None.
      study_digest: of the study that it resolves.
      schema: the public schema.
      privacy: budget, unit and trust.
      coordinator: whose key signs requests.
      sites: the institutions.
      model: kind and settings of the generator.
      statistics_settings: from which the phases of statistics follow.
      phases: what is asked, in order; their shares of the budget sum to 1.
      release: rows, title and terms of the release.
      coordination: quorum and time-out.
      public: a public table that is the prior of the fit, or None.
      stated_price: what it says that it costs.

    Raises:
      StudyError: there is no phase, or the shares do not sum to 1.
    """

    fedloom: str
    name: str
    target: str | None
    study_digest: str
    schema: Schema
    privacy: PrivacySettings
    coordinator: Coordinator
    sites: tuple[SiteEntry, ...]
    model: ModelSettings
    statistics_settings: StatisticsSettings
    phases: tuple[Phase, ...]
    release: ReleaseSettings
    coordination: Coordination
    public: PublicData | None
    stated_price: StatedPrice

    def __post_init__(self) -> None:
        """Refuses a plan that would leave part of its budget unused, or use more than all."""
        total = math.fsum(phase.share for phase in self.phases)
        if not self.phases or not math.isclose(total, 1.0, abs_tol=_SHARES_TOLERANCE):
            raise StudyError(f"the shares of a plan's phases must sum to 1, they sum to {total:g}")

    @classmethod
    def from_dict(cls, value: Any) -> Plan:
        """Reads the plain form.

        Raises:
          StudyError: it is not a plan of this version.
        """
        if not isinstance(value, dict) or value.get("format") != PLAN_FORMAT:
            if isinstance(value, dict) and isinstance(value.get("fedloom"), str):
                check_version(value["fedloom"])
            raise StudyError(
                "not a plan of this version of fedloom; have the coordinator resolve the study "
                "again with `fedloom study check --resolved`"
            )
        body = read_typed(value, _Body, where="the plan's", error=StudyError)
        if body.neighbouring != NEIGHBOURING:
            raise StudyError(f"the plan's neighbouring relation must be {NEIGHBOURING!r}")
        model = read_model(body.model, where="the plan")
        plan = cls(
            fedloom=body.fedloom,
            name=body.study.name,
            target=body.study.target,
            study_digest=body.study.digest,
            schema=Schema.from_dict(body.schema),
            privacy=body.privacy,
            coordinator=body.coordinator,
            sites=body.sites,
            model=model,
            statistics_settings=body.statistics,
            phases=tuple(phase_from_plain(part, model) for part in body.phases),
            release=body.release,
            coordination=body.coordination,
            public=body.public,
            stated_price=body.price,
        )
        try:
            same = canonically_equal(plan.to_dict(), value)
        except ValueError:  # a whole number that readers in other languages would round
            same = False
        if not same:
            raise StudyError(
                "the plan is not in its canonical form; have the coordinator resolve the study "
                "again"
            )
        return plan

    def to_dict(self) -> dict[str, Any]:
        """Returns the plain form."""
        return {
            "format": PLAN_FORMAT,
            "fedloom": self.fedloom,
            "study": {"name": self.name, "target": self.target, "digest": self.study_digest},
            "schema": self.schema.to_dict(),
            "schema_digest": self.schema_digest,
            "privacy": plain(self.privacy),
            "neighbouring": NEIGHBOURING,
            "coordinator": plain(self.coordinator),
            "sites": [plain(site) for site in self.sites],
            "model": self.model.to_dict(),
            "statistics": plain(self.statistics_settings),
            "phases": [phase.to_plain() for phase in self.phases],
            "release": plain(self.release),
            "coordination": plain(self.coordination),
            **({} if self.public is None else {"public": plain(self.public)}),
            "price": plain(self.stated_price),
        }

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Reads a plan from the JSON file at `path`.

        Raises:
          StudyError: the file is missing or is not a plan.
        """
        try:
            value = read_json(Path(path))
        except ReleaseError as error:
            raise StudyError(f"{path}: not a readable plan ({error})") from error
        try:
            return cls.from_dict(value)
        except StudyError as error:
            raise type(error)(f"{path}: {error}") from error

    def save(self, path: Path) -> None:
        """Writes the plan as indented JSON; its digest does not depend on the layout."""
        text = json.dumps(self.to_dict(), indent=2, sort_keys=True, ensure_ascii=False)
        Path(path).write_text(text + "\n", encoding="utf-8")

    def __eq__(self, other: object) -> bool:
        """Plans of one digest are the same plan."""
        return isinstance(other, Plan) and other.digest() == self.digest()

    def __hash__(self) -> int:
        """Hashes the digest, so that what is kept by plan is kept once for all sites."""
        return hash(self.digest())

    def digest(self) -> str:
        """Returns the SHA-256 of the canonical form: what stewards sign."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        return digest(self.to_dict())

    @cached_property
    def schema_digest(self) -> str:
        """Digest of the schema."""
        return self.schema.digest()

    @property
    def delta(self) -> float:
        """The study's delta."""
        return self.privacy.delta

    @property
    def colluding(self) -> int | None:
        """How many sites may side with the coordinator; None where sums are not masked."""
        return self.privacy.colluding if self.privacy.masked else None

    @property
    def coordinator_key(self) -> str | None:
        """Public key that signs every request; None in a plan that cannot be approved yet."""
        return self.coordinator.key

    @property
    def min_sites(self) -> int:
        """Fewest sites that an answer is made of."""
        return self.coordination.min_sites or 1

    @property
    def kind(self) -> ModelKind:
        """What fedloom knows of the kind of model."""
        return model_kind(self.model.kind)

    @cached_property
    def _sites_by_name(self) -> dict[str, SiteEntry]:
        return {site.name: site for site in self.sites}

    @cached_property
    def site_names(self) -> frozenset[str]:
        """Names of all institutions."""
        return frozenset(self._sites_by_name)

    def site(self, name: str) -> SiteEntry:
        """Returns one institution.

        Raises:
          StudyError: the plan has no site of that name.
        """
        if (found := self._sites_by_name.get(name)) is None:
            raise StudyError(f"no site {name!r} in {', '.join(self._sites_by_name)}")
        return found

    @property
    def learns_schema(self) -> bool:
        """Whether the plan completes its schema, and makes no generator."""
        return not self.kind.makes_records

    @cached_property
    def coder(self) -> Coder:
        """How records become codes."""
        return coder_of(self.model, self.schema, self.target)

    @cached_property
    def discovery(self) -> Discovery:
        """How records of an open schema become codes; in a plan that `learns_schema`."""
        return Discovery(self.schema)

    @cached_property
    def encoding(self) -> Encoding:
        """The cells of the schema's columns; in any other plan. Of a table it is the coder."""
        return encoding_of(self.model.kind, self.schema, self.target)

    @cached_property
    def private_model(self) -> PrivateModel:
        """The model that sites train; needs torch.

        Raises:
          StudyError: the kind is not trained.
        """
        return build_model(self.model, self.coder)

    @cached_property
    def rounds(self) -> tuple[RoundQuery, ...]:
        """All rounds in order; spare rounds are not among them."""
        return tuple(self._rounds())

    def _rounds(self) -> Iterator[RoundQuery]:
        number = 0
        for phase in self.phases:
            event = phase.round_event(self.privacy)
            for _ in range(phase.num_rounds):
                number += 1
                yield RoundQuery(round=number, phase=phase, event=event)

    @property
    def statistics(self) -> tuple[Phase, ...]:
        """The phases of statistics, in order."""
        return tuple(phase for phase in self.phases if phase.stage is Stage.STATISTICS)

    @property
    def training(self) -> TrainingPhase | None:
        """The phase of training rounds, if any."""
        return next((phase for phase in self.phases if isinstance(phase, TrainingPhase)), None)

    @property
    def evaluation(self) -> EvaluationPhase | None:
        """The phase of scores on held-back units, if any."""
        return next((phase for phase in self.phases if isinstance(phase, EvaluationPhase)), None)

    def event(self) -> dp_event.DpEvent:
        """Returns the event of everything that is answered in the whole plan, spares included."""
        return compose([phase_event(phase, self.privacy) for phase in self.phases])

    def event_of(self, runs: int) -> dp_event.DpEvent:
        """Returns the event of so many runs of the plan, each as a whole."""
        return self.event() if runs == 1 else repeat(self.event(), runs)

    def price(self, runs: int = 1) -> Price:
        """Returns what the whole plan costs one unit, by PLD and by RDP; so many runs together."""
        return price_of(self.event_of(runs), self.delta)
