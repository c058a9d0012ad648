"""Is this request exactly what the approved plan holds? Asked before any record is read.

Noise, clip, rates, steps and round are requests: the site compares them with the plan that its
steward approved, and refuses whatever differs. The arrays are the coordinator's to choose, but
their names, types and shapes are the model's, and their values are finite. So the plan also says
how large a request can be; nothing larger is put together.
"""

from __future__ import annotations

from functools import lru_cache

from fedloom.client.refusals import Refusal
from fedloom.common.digest import canonical_json
from fedloom.common.errors import ConfigError, IncompleteError
from fedloom.common.messages import MAX_HEADER_BYTES, Request
from fedloom.common.parts import load_part
from fedloom.common.vocabulary import Query, Status
from fedloom.privacy.plan import Plan, RoundQuery

__all__ = [
    "asked_round",
    "check_arrays",
    "check_nothing_more",
    "check_parts_are_here",
    "kernels_are_row_invariant",
    "largest_request",
]

# Before the header stands its length.
_LENGTH_BYTES = 8


def asked_round(plan: Plan, request: Request, *, site: str) -> RoundQuery:
    """Returns the round of the plan that a request asks for.

    Raises:
      Refusal: the round, query, a parameter, a roster or the number of attempts is not the plan's.
    """
    rosters = (request.roster, *request.void)
    # A plan's least number of sites leaves two honest ones beside those that may collude.
    rosters_hold = site in request.roster and all(
        list(roster) == sorted(plan.site_names & set(roster)) and len(roster) >= plan.min_sites
        for roster in rosters
    )
    if not rosters_hold or not 1 <= request.round <= len(plan.rounds):
        raise Refusal(Status.OUTSIDE_PLAN)
    asked = plan.rounds[request.round - 1]
    # Only masked sums have void attempts; in per-site trust each answer counts by itself.
    spares = 0 if plan.colluding is None else asked.phase.spare_rounds
    if request.attempt > 1 + spares:
        raise Refusal(Status.OUTSIDE_PLAN)
    same = canonical_json(request.params) == canonical_json(asked.params)
    masked = plan.colluding is not None
    if request.query != asked.query or not same or request.masked != masked:
        raise Refusal(Status.OUTSIDE_PLAN)
    return asked


def check_nothing_more(request: Request) -> None:
    """Checks that a `prepare` or `finish` carries no round, parameters or arrays.

    Raises:
      Refusal: it does.
    """
    if request.round or request.void or request.params or request.arrays:
        raise Refusal(Status.MALFORMED)


@lru_cache(maxsize=64)
def largest_request(plan: Plan, query: Query) -> int:
    """Returns the most bytes that a request of the plan may have, by its query.

    Args:
      plan: the approved plan.
      query: what the request asks; one without a phase in the plan takes no arrays.
    """
    arrays = [phase.request_bytes(plan) for phase in plan.phases if phase.query == query]
    return _LENGTH_BYTES + MAX_HEADER_BYTES + max(arrays, default=0)


def check_arrays(plan: Plan, request: Request) -> None:
    """Checks the request's arrays, as the phase of its round says.

    Raises:
      Refusal: a name, shape, type or value is not what the query takes.
    """
    try:
        plan.rounds[request.round - 1].phase.check_arrays(plan, request.arrays)
    except ConfigError as error:
        raise Refusal(Status.MALFORMED) from error


@lru_cache(maxsize=8)
def check_parts_are_here(plan: Plan) -> None:
    """Checks that this machine has what the plan's model needs beside fedloom; no record is read.

    Raises:
      IncompleteError: something is missing or is another than the plan's; the message is for the
        steward alone.
    """
    if plan.kind.needed_at_sites is not None:
        try:
            load_part(plan.kind.needed_at_sites)(plan.coder)
        except ConfigError as error:
            raise IncompleteError(f"{error}, and resume the run then") from error


@lru_cache(maxsize=8)
def kernels_are_row_invariant(plan: Plan, device: str) -> bool:
    """Returns whether this machine treats all rows of the plan's batches alike; no record is read.

    See `fedloom.privacy.clipping.row_invariance`.
    """
    if plan.training is None:
        return True
    from fedloom.privacy.clipping.row_invariance import rows_are_invariant

    return rows_are_invariant(
        plan.private_model,
        coder=plan.coder,
        max_physical_batch=plan.training.settings.max_physical_batch,
        device=device,
    )
