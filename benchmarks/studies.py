"""Studies of the benchmarks, as a study file would say them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fedloom.common.schema import Schema
from fedloom.common.study import Study, parse_study

__all__ = ["study_of"]


def study_of(
    name: str,
    schema: Schema,
    target: str | None,
    sites: Iterable[str],
    *,
    epsilon: float,
    delta: float = 1e-5,
    privacy: dict[str, Any] | None = None,
    **sections: Any,
) -> Study:
    """Returns a study.

    Args:
      name: of the study.
      schema: its schema.
      target: the label column, or None.
      sites: names of the sites.
      epsilon: of the budget.
      delta: of the budget.
      privacy: what `[privacy]` says beside it.
      sections: all other sections, `model` among them.
    """
    raw: dict[str, Any] = {
        "study": {"name": name, "schema": "schema.toml", "target": target},
        "privacy": {"epsilon": epsilon, "delta": delta, **(privacy or {})},
        "site": [{"name": site} for site in sites],
        **{key: value for key, value in sections.items() if value},
    }
    return parse_study(raw, schema)
