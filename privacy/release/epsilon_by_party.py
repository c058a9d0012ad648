"""Whom a release's epsilon is towards: the coordinator, a fellow site, the public.

In per-site trust every answer holds its site's whole noise, so what a unit loses is the same
towards everybody. In a secure sum the noise is shared out. The study's epsilon, which ledgers
charge, is the one towards a coordinator to whom t sites tell all they know: towards them the other
r - t sites of a roster of r hold noise of variance s^2 between them, s^2 / (r - t) each. Whoever
knows fewer shares faces more noise: a fellow site on its own knows one, the public none. Towards
both the least noise over all rosters that the plan allows is stated; with t of one and more that is
the noise of a roster of all sites.

A release publishes the opened sums, so the public's view is just that: every sum of the plan with
all of its noise, of variance s^2 r / (r - t). Everything else in it, the generator of gradient
rounds included, follows from sums of that kind. Evidence adds the sites' masked parts, which look
uniform to who lacks the keys of a pair: the same view for as long as the masks hide. In local
trust a release holds each site's own answers, and the public sees what the coordinator saw.

Source: the events are the plan's, at other noise multipliers; priced by their privacy loss
distribution.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from fedloom.privacy.accounting import DpEvent, epsilon_pld, gaussian, steps_of, subsampled
from fedloom.privacy.events import compose, repeat
from fedloom.privacy.phases import phase_event
from fedloom.privacy.plan import Plan

__all__ = ["at_every_site", "noise_factors", "with_noise_scaled"]


def noise_factors(plan: Plan) -> dict[str, float]:
    """Returns, for each party, how much more noise it faces than the study's epsilon counts on."""
    colluding = plan.colluding
    if colluding is None:
        return {"coordinator": 1.0, "fellow_site": 1.0, "public": 1.0}
    rosters = (plan.min_sites, len(plan.sites))

    def least(known: int) -> float:
        """The ratio grows or falls with the roster, so one of its ends is the least."""
        return math.sqrt(min((roster - known) / (roster - colluding) for roster in rosters))

    return {"coordinator": 1.0, "fellow_site": least(1), "public": least(0)}


def with_noise_scaled(event: DpEvent, factor: float) -> list[DpEvent]:
    """Returns the steps of an event with every noise multiplier times `factor`.

    >>> [str(part.noise_multiplier) for part in with_noise_scaled(gaussian(2.0), 1.5)]
    ['3.0']
    """
    events: list[DpEvent] = []
    for step, count in steps_of([event]).items():
        noise = step.noise_multiplier * factor
        if step.sample_rate < 1.0:
            events.append(subsampled(step.sample_rate, noise, count))
        else:
            events.append(gaussian(noise) if count == 1 else repeat(gaussian(noise), count))
    return events


def epsilon_by_party(plan: Plan, runs: int = 1) -> dict[str, dict[str, Any]]:
    """Returns epsilon, noise and meaning towards each party, as the statement holds them.

    Args:
      plan: the plan.
      runs: how many runs of it are priced together.
    """
    factors, colluding, delta = noise_factors(plan), plan.colluding, plan.delta
    study = plan.price(runs).epsilon
    words = _MEANING_PER_SITE if colluding is None else _meaning(colluding)
    return {
        party: {
            "epsilon": study
            if factor == 1.0
            else epsilon_pld(with_noise_scaled(plan.event_of(runs), factor), delta),
            "delta": delta,
            "noise": factor,
            "text": words[party],
        }
        for party, factor in factors.items()
    }


def at_every_site(plan: Plan, runs: int = 1) -> float:
    """Returns what a unit with rows at every site loses towards the coordinator, in all runs."""
    sites = len(plan.sites)
    if plan.privacy.overlap == sites:
        return plan.price(runs).epsilon
    privacy = msgspec.structs.replace(plan.privacy, overlap=sites)
    once = compose([phase_event(phase, privacy) for phase in plan.phases])
    return epsilon_pld([repeat(once, runs)], plan.delta)


_MEANING_PER_SITE = {
    "coordinator": "the coordinator, also if it sides with any number of sites",
    "fellow_site": "another site of the study, on its own or together with others",
    "public": "whoever holds this release with each site's own answers, and the evidence beside "
    "it: they see what the coordinator saw",
}


def _meaning(colluding: int) -> dict[str, str]:
    sites = f"{colluding} site" + ("" if colluding == 1 else "s")
    friends = f"if {sites} of its choice tell{'s' if colluding == 1 else ''} it everything"
    return {
        "coordinator": f"the coordinator, also {friends}"
        if colluding
        else "the coordinator, as long as no site sides with it",
        "fellow_site": "another site of the study on its own, which knows its own share of the "
        "noise; if it tells the coordinator, it is one of those above",
        "public": "whoever holds this release and has no part in the study: they see every opened "
        "sum in answers/ and know no share of its noise; the evidence, where it is given, adds "
        "masked parts, which tell no more as long as the masks hide",
    }
