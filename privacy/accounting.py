"""What events cost: the one place that computes privacy loss.

Equal steps are merged before anything is computed, and plain Gaussians collapse to one Gaussian
exactly (their precisions add), so a ledger of thousands of equal entries costs as much as one.

Guarantee: for a multiset of steps fixed beforehand, `epsilon_pld` bounds the loss also when the
queries themselves, their order and an early stop depend on earlier answers. Later plans whose
noise may depend on earlier answers need `epsilon_rdp` at one fixed order
(`docs/decisions/0002-lifetime-filter.md`).
Neighbouring relation: add or remove one unit. Batches must be Poisson-sampled in secret.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import dp_accounting
import numpy
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from dp_accounting.rdp.rdp_privacy_accountant import DEFAULT_RDP_ORDERS
from scipy.optimize import brentq

from fedloom.common.digest import canonical_json
from fedloom.common.errors import ConfigError, VerificationError
from fedloom.privacy.events import (
    DpEvent,
    Step,
    compose,
    event_from_json,
    event_to_json,
    gaussian,
    no_event,
    repeat,
    steps_of,
    subsampled,
)

__all__ = [
    "DpEvent",
    "Price",
    "Step",
    "calibrate",
    "compose",
    "epsilon_pld",
    "epsilon_rdp",
    "event_from_json",
    "event_to_json",
    "lifetime_renyi_order",
    "gaussian",
    "no_event",
    "price",
    "price_of",
    "repeat",
    "steps_of",
    "subsampled",
]

_INTERVAL = 1e-4
_FINER_INTERVAL = 2e-5
_COARSE_INTERVAL = 1e-3
_MAX_PLD_EPSILON = 200.0
"""Above this the RDP bound stands in for PLD, whose memory grows with the loss itself."""
_MIN_PLD_NOISE = 0.05
_MARGIN = 1e-7
"""Relative room under a target, for accountants whose last digits differ between machines."""
_MAX_SCALE = 2.0**40
_SUBSAMPLED_ORDERS = tuple(float(order) for order in DEFAULT_RDP_ORDERS if order >= 2)
"""Below order 2 the series for subsampled Gaussians often does not converge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a multiset of events costs at `delta`: PLD is the claim, RDP the cross-check."""

    epsilon: float
    epsilon_rdp: float
    delta: float
    interval: float


_Merged = tuple[tuple[Step, int], ...]


def _merge(events: Iterable[DpEvent]) -> _Merged:
    """Returns distinct steps with counts, sorted; all plain Gaussians are one (exactly so)."""
    steps = steps_of(events)
    precision = math.fsum(n / s.noise_multiplier**2 for s, n in steps.items() if s.sample_rate == 1)
    merged = [(s, n) for s, n in steps.items() if s.sample_rate != 1]
    if precision:
        merged.append((Step(1.0, 1 / math.sqrt(precision)), 1))
    return tuple(sorted(merged))


def epsilon_pld(events: Sequence[DpEvent], delta: float, interval: float = _INTERVAL) -> float:
    """Bounds the epsilon of `events` together, by privacy loss distributions.

    Guarantee: (returned, delta)-DP under add/remove-one for a multiset of events fixed in
    advance. Discretisation only ever rounds up. Where the loss is so large that a distribution
    on the grid would fill the memory (epsilon above 200, or noise below 0.05), the RDP bound is
    returned instead; it is an upper bound as well.

    Args:
      events: what was done, in any order; empty means nothing was spent.
      delta: failure probability in (0, 1).
      interval: discretisation of the loss; 1e-3 is ten times faster and a little larger.

    Raises:
      ConfigError: `delta` is outside (0, 1), or an event has no accountant here.

    Source: Doroshenko et al. 2022 (arXiv:2207.04380), as in dp_accounting.

    >>> epsilon_pld([], delta=1e-5)
    0.0
    """
    return _pld(_merge(events), _checked_delta(delta), interval)


@lru_cache(maxsize=512)
def _pld(merged: _Merged, delta: float, interval: float) -> float:
    if not merged:
        return 0.0
    rdp = _rdp(merged, delta, None)
    if rdp > _MAX_PLD_EPSILON or min(s.noise_multiplier for s, _ in merged) < _MIN_PLD_NOISE:
        return rdp
    accountant = PLDAccountant(value_discretization_interval=interval)
    for step, count in merged:
        accountant.compose(_step_event(step), count)
    return float(accountant.get_epsilon(delta))


def epsilon_rdp(
    events: Sequence[DpEvent], delta: float, orders: Sequence[float] | None = None
) -> float:
    """Bounds the epsilon of `events` together, by Rényi DP at the best of `orders`.

    With a single order fixed in advance the bound also holds when events were chosen after
    seeing earlier answers, as long as their sum was kept below a limit fixed in advance.

    Source: Mironov et al. 2019 (arXiv:1908.10530); conversion of Canonne et al. 2020,
    Proposition 12 (arXiv:2004.00010); filters of Feldman & Zrnic 2021 (arXiv:2008.11193).
    """
    chosen = None if orders is None else tuple(float(order) for order in orders)
    return _rdp(_merge(events), _checked_delta(delta), chosen)


@lru_cache(maxsize=512)
def _rdp(merged: _Merged, delta: float, orders: tuple[float, ...] | None) -> float:
    if not merged:
        return 0.0
    if orders is None and any(step.sample_rate != 1 for step, _ in merged):
        orders = _SUBSAMPLED_ORDERS
    accountant = RdpAccountant(orders)
    for step, count in merged:
        accountant.compose(_step_event(step), count)
    if numpy.any(accountant.rdp < -1e-9) or numpy.all(numpy.isnan(accountant.rdp)):
        raise VerificationError(
            "the Rényi accountant is numerically unstable for these events; choose a larger "
            "sampling rate or less extreme noise"
        )
    return float(accountant.get_epsilon(delta))


def _step_event(step: Step) -> DpEvent:
    plain = gaussian(step.noise_multiplier)
    if step.sample_rate == 1:
        return plain
    return dp_accounting.PoissonSampledDpEvent(step.sample_rate, plain)


def _checked_delta(delta: float) -> float:
    if not 0 < delta < 1:
        raise ConfigError(f"expected a delta in (0, 1), got {delta}")
    return float(delta)


def price(events: Sequence[DpEvent], delta: float, interval: float = _INTERVAL) -> Price:
    """Prices `events` by PLD, and holds the result against RDP.

    PLD is the tighter bound; if it comes out above RDP, the grid was too coarse and a finer one
    is used. Only a disagreement that remains is an error.

    Raises:
      VerificationError: PLD is above RDP on the finest grid by more than ten of its steps.
    """
    rdp = epsilon_rdp(events, delta)
    pld = epsilon_pld(events, delta, interval)
    if pld > rdp and interval > _FINER_INTERVAL:
        interval = _FINER_INTERVAL
        pld = epsilon_pld(events, delta, interval)
    if pld > rdp + 10 * interval:
        raise VerificationError(
            f"two accountants disagree: epsilon {pld:.6f} by PLD is above {rdp:.6f} by RDP; "
            "do not use this price, and report it as a bug"
        )
    return Price(epsilon=pld, epsilon_rdp=rdp, delta=float(delta), interval=interval)


@lru_cache(maxsize=64)
def _price_of(event: str, delta: float) -> Price:
    return price([event_from_json(json.loads(event))], delta)


def price_of(event: DpEvent, delta: float) -> Price:
    """Returns the price of an event; equal events are priced once in a process."""
    return _price_of(canonical_json(event_to_json(event)).decode(), delta)


def calibrate(event_at: Callable[[float], DpEvent], epsilon: float, delta: float) -> float:
    """Finds the smallest scale at which `event_at(scale)` costs at most `epsilon`.

    The search runs on a coarse grid, or in closed form when the event is nothing but Gaussians.
    The official price has the last word: the result may be a hair too noisy, never too quiet.

    Args:
      event_at: the plan's event with every noise multiplier proportional to the scale.
      epsilon: the target, above 0.
      delta: failure probability in (0, 1).

    Raises:
      ConfigError: no amount of noise meets the target.

    >>> round(calibrate(gaussian, epsilon=1.0, delta=1e-5), 3)
    3.731
    """
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise ConfigError(f"expected an epsilon above 0, got {epsilon}")
    target = epsilon * (1 - _MARGIN)

    def excess(log_scale: float) -> float:
        return _search_epsilon(_merge([event_at(math.exp(log_scale))]), delta) - target

    low, high = -math.log(2), math.log(2)
    while excess(high) > 0:
        low, high = high, high + math.log(2)
        if high > math.log(_MAX_SCALE):
            raise ConfigError(
                f"no amount of noise brings this plan to epsilon {epsilon} at delta {delta}; "
                "raise epsilon, or let every noise multiplier grow with the scale"
            )
    while excess(low) < 0:
        low, high = low - math.log(2), low
        if low < -math.log(_MAX_SCALE):
            raise ConfigError("the plan costs nothing at any scale: there is no noise to choose")
    scale = math.exp(brentq(excess, low, high, xtol=1e-6))
    nudge = 1e-6
    while price([event_at(scale)], delta).epsilon > target:
        scale *= 1 + nudge
        nudge *= 2
    return scale


def _search_epsilon(merged: _Merged, delta: float) -> float:
    if len(merged) == 1 and merged[0][0].sample_rate == 1:
        sigma = merged[0][0].noise_multiplier
        return float(dp_accounting.get_epsilon_gaussian(sigma, _checked_delta(delta)))
    return _pld(merged, _checked_delta(delta), _COARSE_INTERVAL)


@lru_cache(maxsize=64)
def lifetime_renyi_order(epsilon: float, delta: float) -> float:
    """Returns the Rényi order that a home with these lifetime limits is accounted at for life.

    A function of the limits alone, so that no answer can influence it: the order that leaves
    Gaussians the most room, rounded down to a whole number, at which the divergence of a
    subsampled Gaussian is a finite sum. Measured for plans of a third of the limit and less, it
    admits within a tenth of the most plans that any order would.

    >>> lifetime_renyi_order(3.0, 1e-5)
    7.0
    """
    log_delta = math.log(_checked_delta(delta))

    def rho(order: float) -> float:
        room = epsilon - math.log1p(-1 / order) + (log_delta + math.log(order)) / (order - 1)
        return room / order

    orders = 1 + numpy.geomspace(0.05, 5000.0, 2000)
    best = max(orders.tolist(), key=rho)
    return float(max(2, math.floor(best)))
