"""A site's standing rules: what its steward would never approve.

The policy is the `[policy]` table of `site.toml`. It bounds every plan by what the institution
allows at all, and with its epsilon and delta the sum of all plans over the records' life, wherever
these are smaller than the limits in the ledger (`fedloom.privacy.ledger.limits`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedloom.common.errors import ConfigError, PolicyError
from fedloom.common.text import as_text
from fedloom.privacy.ledger.limits import Limits

__all__ = ["Policy"]

_REQUIRED = ("epsilon", "delta")
_OPTIONAL = (
    "models",
    "min_sites",
    "columns",
    "min_noise_multiplier",
    "unit",
    "id",
    "max_rows_per_person",
    "trust",
    "min_colluding",
)
_UNITS = ("record", "person")
_TRUSTS = ("per-site", "secure-sum")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
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

    epsilon: float
    delta: float
    models: tuple[str, ...] | None = None
    min_sites: int = 1
    columns: tuple[str, ...] | None = None
    min_noise_multiplier: float | None = None
    unit: str | None = None
    id: str | None = None
    max_rows_per_person: int | None = None
    trust: str | None = None
    min_colluding: int = 0

    def __post_init__(self) -> None:
        """Checks that every bound can be met by something."""
        object.__setattr__(self, "id", as_text(self.id))
        if self.columns is not None:
            object.__setattr__(self, "columns", tuple(map(as_text, self.columns)))
        if not (_is_number(self.epsilon) and self.epsilon > 0):
            raise ConfigError(f"[policy] epsilon: expected a number above 0, got {self.epsilon!r}")
        if not (_is_number(self.delta) and 0 < self.delta < 1):
            raise ConfigError(f"[policy] delta: expected a number in (0, 1), got {self.delta!r}")
        for name, count, fewest in (
            ("min_sites", self.min_sites, 1),
            ("max_rows_per_person", self.max_rows_per_person, 1),
            ("min_colluding", self.min_colluding, 0),
        ):
            if count is not None and (type(count) is not int or count < fewest):
                raise ConfigError(f"[policy] {name}: expected {fewest} or more, got {count!r}")
        if self.id is not None and (not _is_name(self.id) or self.unit == "record"):
            raise ConfigError(
                f"[policy] id: expected the column of the persons' ids, got {self.id!r}; it goes "
                'with unit = "person" alone'
            )
        least = self.min_noise_multiplier
        if least is not None and not (_is_number(least) and least > 0):
            raise ConfigError(
                f"[policy] min_noise_multiplier: expected a number above 0, got {least!r}"
            )
        for name, value, known in (("unit", self.unit, _UNITS), ("trust", self.trust, _TRUSTS)):
            if value is not None and value not in known:
                raise ConfigError(
                    f"[policy] {name}: expected one of {', '.join(known)}, got {value!r}"
                )
        for name, values in (("models", self.models), ("columns", self.columns)):
            if values is not None and (not values or not all(_is_name(v) for v in values)):
                raise ConfigError(f"[policy] {name}: expected a list of names, got {values!r}")

    @classmethod
    def from_dict(cls, table: Any) -> Policy:
        """Reads the `[policy]` table.

        Raises:
          ConfigError: a key is missing or unknown, or a value is unusable.

        >>> Policy.from_dict({"epsilon": 3.0, "delta": 1e-5, "models": ["mixture"]}).models
        ('mixture',)
        """
        if not isinstance(table, dict):
            raise ConfigError("expected a table [policy]")
        unknown = sorted(set(table) - {*_REQUIRED, *_OPTIONAL})
        missing = [name for name in _REQUIRED if name not in table]
        if unknown or missing:
            raise ConfigError(
                f"[policy] has unknown keys {unknown} and lacks {missing}; it knows "
                f"{[*_REQUIRED, *_OPTIONAL]}"
            )
        values = dict(table)
        for name in ("models", "columns"):
            if name in values:
                if not isinstance(values[name], list):
                    raise ConfigError(f"[policy] {name}: expected a list of names")
                values[name] = tuple(values[name])
        return cls(**values)

    @property
    def limits(self) -> Limits:
        """What everything together may cost over the records' life, as far as the policy says."""
        return Limits(
            epsilon=float(self.epsilon),
            delta=float(self.delta),
            epsilon_set_by="site.toml",
            delta_set_by="site.toml",
        )

    def check(
        self,
        *,
        epsilon: float,
        delta: float,
        model: str,
        num_sites: int,
        columns: Sequence[str],
        unit: str,
        trust: str,
        min_noise_multiplier: float | None = None,
        least_roster: int | None = None,
        colluding: int | None = None,
        id: str | None = None,
        rows_per_person: int | None = None,
    ) -> None:
        """Checks the facts of a plan.

        Args:
          epsilon: the plan's worst price, at `delta`.
          delta: the plan's failure probability.
          model: its kind of model.
          num_sites: how many sites take part.
          columns: every column that it reads, the target included.
          unit: its unit of privacy.
          trust: its trust mode.
          min_noise_multiplier: the least noise multiplier of any of its queries.
          least_roster: the fewest sites of which a secure sum may be; None in per-site trust.
          colluding: how many sites may side with the coordinator; None in per-site trust.
          id: the column that says whose row each is; None if the unit is a record.
          rows_per_person: how many rows of one person count; None if the unit is a record.

        Raises:
          PolicyError: names every rule that the plan breaks, and the remedy.
        """
        broken = []
        if not epsilon <= self.epsilon:
            broken.append(f"epsilon is {epsilon:.4f}, the policy allows {self.epsilon:g}")
        if not delta <= self.delta:
            broken.append(f"delta is {delta:g}, the policy allows {self.delta:g}")
        if self.models is not None and model not in self.models:
            broken.append(f"the model is {model!r}, the policy allows {', '.join(self.models)}")
        if num_sites < self.min_sites:
            broken.append(f"{num_sites} sites take part, the policy wants {self.min_sites}")
        if least_roster is not None and least_roster < self.min_sites:
            broken.append(
                f"a sum may be of {least_roster} sites alone, the policy wants {self.min_sites}"
            )
        if colluding is not None and colluding < self.min_colluding:
            broken.append(
                f"sums bear {colluding} colluding site(s), the policy wants {self.min_colluding}"
            )
        extra = [] if self.columns is None else [c for c in columns if c not in self.columns]
        if extra:
            broken.append(f"the columns {', '.join(extra)} are not among those allowed")
        for name, asked, wanted in (
            ("unit of privacy", unit, self.unit),
            ("column of persons' ids", id, self.id),
            ("trust mode", trust, self.trust),
        ):
            if wanted is not None and asked != wanted:
                broken.append(f"the {name} is {asked!r}, the policy wants {wanted!r}")
        most = self.max_rows_per_person
        if most is not None and rows_per_person is not None and rows_per_person > most:
            broken.append(f"{rows_per_person} rows of a person count, the policy allows {most}")
        least = self.min_noise_multiplier
        if least is not None and (min_noise_multiplier is None or min_noise_multiplier < least):
            noise = "unknown" if min_noise_multiplier is None else f"{min_noise_multiplier:g}"
            broken.append(f"the least noise multiplier is {noise}, the policy wants {least:g}")
        if broken:
            raise PolicyError(
                f"the plan is beyond this site's policy: {'; '.join(broken)}. Change the study, "
                "or, if the institution agrees, [policy] in site.toml"
            )


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value != ""
