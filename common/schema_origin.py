"""Where a completed schema comes from: the study that learned it, and what that cost.

A schema that a study of kind "schema" completed holds one table more for each such study,

    [[learned]]
    columns = ["diagnosis", "fee"]     # whose bounds or categories were learned
    study = "..."                      # digest of that study
    plan = "..."                       # digest of its plan, which the sites' ledgers name
    runs = 1                           # how many runs of it were granted, or answered
    epsilon = 0.5                      # of all of them together
    delta = 1e-6

so that whoever reads a release of a later study learns that its schema was not free. The price is
in the ledgers of the sites; these tables only tell of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedloom.common.errors import SchemaError
from fedloom.common.text import as_text, normal

__all__ = ["SchemaOrigin"]

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaOrigin:
    """What a study of kind "schema" completed, and its price for one unit.

    Attributes:
      columns: Names of the columns.
      study: Digest of the study.
      plan: Digest of its plan.
      runs: How many of its runs are priced: at the site where most were granted or answered, for
        the schema may have been chosen among them.
      epsilon: Of their price together, above 0.
      delta: Of the plan's price, in (0, 1).
    """

    columns: tuple[str, ...]
    study: str
    plan: str
    runs: int
    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        """Refuses what is no origin of a schema."""
        object.__setattr__(self, "columns", tuple(as_text(name) for name in self.columns))
        if not self.columns or not all(isinstance(name, str) for name in self.columns):
            raise SchemaError("[[learned]] columns must list the names of the learned columns")
        for key, value in (("study", self.study), ("plan", self.plan)):
            if not isinstance(value, str) or not _SHA256.match(value):
                raise SchemaError(f"[[learned]] {key} must be a SHA-256 of 64 hexadecimal digits")
        if type(self.runs) is not int or self.runs < 1:
            raise SchemaError("[[learned]] runs must be a whole number, 1 or more")
        for key, number in (("epsilon", self.epsilon), ("delta", self.delta)):
            if type(number) is not float or not math.isfinite(number) or number <= 0.0:
                raise SchemaError(f"[[learned]] {key} must be a number with a point, above 0")
        if self.delta >= 1.0:
            raise SchemaError("[[learned]] delta must be below 1")

    @classmethod
    def from_dict(cls, data: Any, names: tuple[str, ...]) -> SchemaOrigin:
        """Reads one table of a schema with the columns `names`.

        Raises:
          SchemaError: a key is missing, unknown or of the wrong kind.
        """
        keys = set(cls.__dataclass_fields__)
        if not isinstance(data, Mapping) or set(data) != keys:
            raise SchemaError(f"[[learned]] must hold {', '.join(sorted(keys))} and nothing else")
        if not isinstance(data["columns"], list) or not {
            normal(str(name)) for name in data["columns"]
        } <= {*names}:
            raise SchemaError("[[learned]] columns must list names of the schema's columns")
        return cls(**data)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values; `from_dict` reads them back."""
        return {
            "columns": list(self.columns),
            "study": self.study,
            "plan": self.plan,
            "runs": self.runs,
            "epsilon": self.epsilon,
            "delta": self.delta,
        }
