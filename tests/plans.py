"""Plans with something changed in them, as a file from elsewhere could have it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from fedloom.privacy.plan import Plan

__all__ = ["edited"]


def edited(plan: Plan, path: Sequence[str | int], value: Any) -> Plan:
    """Returns the plan whose plain form holds another value at a path.

    Raises:
      StudyError: that is no plan any more.
    """
    body = copy.deepcopy(plan.to_dict())
    place: Any = body
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return Plan.from_dict(body)
