"""A site's standing rules: what its steward would never approve.

The policy is the `[policy]` table of `site.toml`. It bounds every plan, before and beside the
ledger: the ledger keeps the sum of all plans below the lifetime limit, the policy keeps each plan
within what the institution allows at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedloom.common.errors import ConfigError, PolicyError

__all__ = ["Policy"]

_REQUIRED = ("epsilon", "delta")
_OPTIONAL = ("models", "min_sites", "columns", "min_noise_multiplier", "unit", "trust")
_UNITS = ("record", "person")
_TRUSTS = ("local", "secure-sum")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Bounds on every plan at this site; None means that the policy does not say.

    Attributes:
      epsilon: the most that this data set may cost in its lifetime, at `delta`.
      delta: the largest failure probability.
      models: the kinds of model that may be trained.
      min_sites: the smallest number of sites in a study.
      columns: the columns that may be used.
      min_noise_multiplier: the least noise of any single query, in units of its sensitivity; with
        a secure sum, of the sum.
      unit: the one unit of privacy. An institution whose people have several rows says "person".
      trust: the one trust mode. "local" relies on nobody else, "secure-sum" on other sites' noise.
    """

    epsilon: float
    delta: float
    models: tuple[str, ...] | None = None
    min_sites: int = 1
    columns: tuple[str, ...] | None = None
    min_noise_multiplier: float | None = None
    unit: str | None = None
    trust: str | None = None

    def __post_init__(self) -> None:
        """Checks that every bound can be met by something."""
        if not (_is_number(self.epsilon) and self.epsilon > 0):
            raise ConfigError(f"[policy] epsilon: expected a number above 0, got {self.epsilon!r}")
        if not (_is_number(self.delta) and 0 < self.delta < 1):
            raise ConfigError(f"[policy] delta: expected a number in (0, 1), got {self.delta!r}")
        if type(self.min_sites) is not int or self.min_sites < 1:
            raise ConfigError(f"[policy] min_sites: expected 1 or more, got {self.min_sites!r}")
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
        extra = [] if self.columns is None else [c for c in columns if c not in self.columns]
        if extra:
            broken.append(f"the columns {', '.join(extra)} are not among those allowed")
        for name, asked, wanted in (
            ("unit of privacy", unit, self.unit),
            ("trust mode", trust, self.trust),
        ):
            if wanted is not None and asked != wanted:
                broken.append(f"the {name} is {asked!r}, the policy wants {wanted!r}")
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
