"""Is this request exactly what the approved plan holds? Asked before any record is read.

Noise, clip, rates, steps and round are requests: the site compares them with the plan that its
steward approved, and refuses whatever differs. The arrays are the coordinator's to choose, but
their names, types and shapes are the model's, and their values are finite.
"""

from __future__ import annotations

from functools import lru_cache

from fedloom.client.refusals import Refusal
from fedloom.common.digest import canonical_json
from fedloom.common.errors import ConfigError
from fedloom.common.messages import Request
from fedloom.privacy.plan import Plan, RoundQuery

__all__ = ["asked_round", "check_arrays", "kernels_hold"]


def asked_round(plan: Plan, request: Request, *, site: str) -> RoundQuery:
    """Returns the round of the plan that a request asks for.

    Raises:
      Refusal: the round, query, a parameter or the roster is not the plan's.
    """
    roster = set(request.roster)
    # A plan's least number of sites leaves two honest ones beside those that may collude.
    roster_holds = (
        site in roster
        and roster <= plan.site_names
        and list(request.roster) == sorted(roster)
        and len(roster) >= plan.min_sites
    )
    if not roster_holds or not 1 <= request.round <= len(plan.rounds) or request.attempt < 1:
        raise Refusal("outside-plan")
    asked = plan.rounds[request.round - 1]
    same = canonical_json(request.params) == canonical_json(asked.params)
    if request.query != asked.query or not same:
        raise Refusal("outside-plan")
    return asked


def check_arrays(plan: Plan, request: Request) -> None:
    """Checks the request's arrays, as the phase of its round says.

    Raises:
      Refusal: a name, shape, type or value is not what the query takes.
    """
    try:
        plan.rounds[request.round - 1].phase.check_arrays(plan, request.arrays)
    except ConfigError as error:
        raise Refusal("malformed") from error


@lru_cache(maxsize=8)
def kernels_hold(plan: Plan, device: str) -> bool:
    """Returns whether this machine treats all rows of the plan's batches alike; no record is read.

    See `fedloom.privacy.clipping.alike`.
    """
    if plan.training is None:
        return True
    from fedloom.privacy.clipping.alike import rows_alike

    return rows_alike(
        plan.private_model,
        num_features=len(plan.encoding.features),
        max_physical_batch=plan.training.settings.max_physical_batch,
        device=device,
    )
