"""A site's standing rules: what its steward would never approve.

The policy is the `[policy]` table of `site.toml`. It bounds every plan by what the institution
allows at all, and with its epsilon and delta the sum of all plans over the records' life, wherever
these are smaller than the limits in the ledger (`fedloom.privacy.ledger.limits`).
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from fedloom.common.errors import ConfigError, PolicyError
from fedloom.common.text import normal
from fedloom.common.typed import Line, Section, read_typed
from fedloom.common.vocabulary import Trust, Unit
from fedloom.privacy.ledger.limits import Limits
from fedloom.privacy.plan import Plan

__all__ = ["Policy"]

_Names = Annotated[tuple[Line, ...], Meta(min_length=1)]


class Policy(Section, frozen=True, kw_only=True):
    """Bounds on every plan at this site; None means that the policy does not say.

    Attributes:
      epsilon: the most that this data set may cost in its lifetime, at `delta`.
      delta: the largest failure probability.
      models: the kinds of model that may be trained.
      min_sites: the smallest number of sites in a study, and with a secure sum in any sum.
      columns: the columns that may be used.
      min_noise_multiplier: the least noise of any single query, in units of its sensitivity; with
        a secure sum, of the sum.
      unit: the one unit of privacy. An institution whose people have several rows says "person".
      id: the one column that says whose row each is; with it the unit is a person. Another
        column, such as that of visits, would make one person several.
      max_rows_per_person: the most rows of one person that may count.
      trust: the one trust mode. "per-site" relies on nobody else, "secure-sum" on the noise of
        other sites.
      min_colluding: how many sites that side with the coordinator a secure sum must bear at least.
    """

    epsilon: Annotated[float, Meta(gt=0.0, le=1e6)]
    delta: Annotated[float, Meta(gt=0.0, lt=1.0)]
    models: _Names | None = None
    min_sites: Annotated[int, Meta(ge=1)] = 1
    columns: _Names | None = None
    min_noise_multiplier: Annotated[float, Meta(gt=0.0, le=1e6)] | None = None
    unit: Unit | None = None
    id: Line | None = None
    max_rows_per_person: Annotated[int, Meta(ge=1)] | None = None
    trust: Trust | None = None
    min_colluding: Annotated[int, Meta(ge=0)] = 0

    def __post_init__(self) -> None:
        """Brings names into their normal form, in which they are compared.

        Raises:
          ConfigError: a column of ids without persons.
        """
        if self.id is not None:
            msgspec.structs.force_setattr(self, "id", normal(self.id))
        if self.columns is not None:
            msgspec.structs.force_setattr(self, "columns", tuple(map(normal, self.columns)))
        if self.id is not None and self.unit is Unit.RECORD:
            raise ConfigError('[policy] id needs unit = "person": set it, or remove id')

    @classmethod
    def from_dict(cls, table: Any, *, where: str = "[policy]") -> Policy:
        """Reads the `[policy]` table.

        Args:
          table: as TOML gives it.
          where: names the table in messages.

        Raises:
          ConfigError: a key is missing or unknown, or a value is unusable.

        >>> Policy.from_dict({"epsilon": 3.0, "delta": 1e-5, "models": ["mixture"]}).models
        ('mixture',)
        """
        return read_typed(table, cls, where=where)

    @property
    def limits(self) -> Limits:
        """What everything together may cost over the records' life, as far as the policy says."""
        return Limits(
            epsilon=float(self.epsilon),
            delta=float(self.delta),
            epsilon_set_by="site.toml",
            delta_set_by="site.toml",
        )

    def check(self, plan: Plan, runs: int = 1) -> None:
        """Holds so many runs of a plan, together, against every rule.

        Raises:
          PolicyError: names every rule that the plan breaks, and the remedy.
        """
        broken = [
            *self._spent_beyond(plan, runs),
            *self._shared_too_narrowly(plan),
            *self._named_otherwise(plan),
        ]
        if broken:
            raise PolicyError(
                f"the plan is beyond this site's policy: {'; '.join(broken)}. Change the study, "
                "or, if the institution agrees, [policy] in site.toml"
            )

    def _spent_beyond(self, plan: Plan, runs: int) -> list[str]:
        """Says which bounds on what a unit loses the plan goes beyond."""
        broken, privacy = [], plan.privacy
        epsilon, noise = plan.price(runs).epsilon, min(p.noise_multiplier for p in plan.phases)
        if not epsilon <= self.epsilon:
            broken.append(f"epsilon is {epsilon:.4f}, the policy allows {self.epsilon:g}")
        if not privacy.delta <= self.delta:
            broken.append(f"delta is {privacy.delta:g}, the policy allows {self.delta:g}")
        if self.min_noise_multiplier is not None and not noise >= self.min_noise_multiplier:
            broken.append(
                f"the least noise multiplier is {noise:g}, the policy wants "
                f"{self.min_noise_multiplier:g}"
            )
        most, rows = self.max_rows_per_person, privacy.rows_per_person
        if most is not None and privacy.unit is Unit.PERSON and rows > most:
            broken.append(f"{rows} rows of a person count, the policy allows {most}")
        return broken

    def _shared_too_narrowly(self, plan: Plan) -> list[str]:
        """Says which bounds on the sites of a study and of a sum the plan goes beyond."""
        broken, num_sites = [], len(plan.sites)
        if num_sites < self.min_sites:
            broken.append(f"{num_sites} sites take part, the policy wants {self.min_sites}")
        if plan.colluding is None:
            return broken
        if plan.min_sites < self.min_sites:
            broken.append(
                f"a sum may be of {plan.min_sites} sites alone, the policy wants {self.min_sites}"
            )
        if plan.colluding < self.min_colluding:
            broken.append(
                f"sums bear {plan.colluding} colluding site(s), the policy wants "
                f"{self.min_colluding}"
            )
        return broken

    def _named_otherwise(self, plan: Plan) -> list[str]:
        """Says which of the model, columns, unit and trust are not those of the policy."""
        broken, kind = [], plan.model.kind
        if self.models is not None and kind not in self.models:
            broken.append(f"the model is {kind!r}, the policy allows {', '.join(self.models)}")
        if self.columns is not None:
            extra = [name for name in plan.schema.names if name not in self.columns]
            if extra:
                broken.append(f"the columns {', '.join(extra)} are not among those allowed")
        for name, asked, wanted in (
            ("unit of privacy", plan.privacy.unit, self.unit),
            ("column of persons' ids", plan.privacy.id, self.id),
            ("trust mode", plan.privacy.trust, self.trust),
        ):
            if wanted is not None and asked != wanted:
                said = "None" if asked is None else f"'{asked}'"
                broken.append(f"the {name} is {said}, the policy wants '{wanted}'")
        return broken
