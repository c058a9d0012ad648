"""What a plan costs, counted by hand: one Gaussian for each noisy sum that a unit can move.

All units take part in every step here, so that a plan is one Gaussian mechanism. Its mu is the root
of the sum of squares over all sums that may leave, spares included, of what a unit moves in units
of the noise; epsilon then has a closed form (`tests.oracles`). Nothing of that uses events. Twins
with one sum forgotten must be caught.
"""

from __future__ import annotations

import math

import pytest

import fedloom
import fedloom.privacy.phases.evaluation as evaluation
import fedloom.privacy.phases.phase as base
import fedloom.privacy.phases.statistic as statistic
import fedloom.privacy.phases.training as training
from fedloom.common.study import load_study
from fedloom.privacy.plan import Plan
from fedloom.privacy.resolve import resolve_plan
from tests.federation import make
from tests.oracles import gaussian_epsilon

SITES = ("east", "north", "south", "west")
EVALUATED = "[evaluation]\nshare = 0.2\nhold_back = 0.5\n"
SPARE = "[statistics]\nspare_rounds = 1\n"
TRAINED_SPARE = "spare_rounds = 2\n"
CASES = {
    "mixture": ("mixture", "", "per-site", 1),
    "evaluated": ("mixture", EVALUATED, "per-site", 1),
    "spares": ("mixture", SPARE + EVALUATED, "secure-sum", 1),
    "two sites": ("mixture", EVALUATED, "per-site", 2),
    "two sites of a sum": ("mixture", EVALUATED, "secure-sum", 2),
    "trained": ("weights", EVALUATED, "per-site", 2),
    "gradients of two sites": ("gradients", TRAINED_SPARE + EVALUATED, "secure-sum", 2),
}


def plan_of(folder, case: str, epsilon: float = 2.0) -> Plan:
    model, more, trust, overlap = CASES[case]
    federation = make(folder, model, sites=SITES, more=more, trust=trust, epsilon=epsilon)
    person = f'unit = "person"\nid = "patient"\nrows_per_person = 3\noverlap = {overlap}\n'
    federation.edit("delta = 1e-3\n", "delta = 1e-3\n" + person)
    return resolve_plan(*load_study(federation.study), version=fedloom.__version__)


def mu_by_hand(plan: Plan) -> float:
    """Counts every noisy sum that may leave the sites."""
    noises = [phase.noise_multiplier for phase in plan.statistics for _ in range(1 + phase.spares)]
    if plan.training is not None:
        asked = plan.training.num_rounds + plan.training.spare_rounds
        noises += [plan.training.noise_multiplier] * (asked * plan.training.settings.local_steps)
    if plan.evaluation is not None:
        noises += [plan.evaluation.noise_multiplier] * len(plan.evaluation.histograms)
    # A unit at m sites is in m answers, each with its noise; or m times in one sum.
    overlap = plan.privacy.overlap
    parts = overlap if plan.colluding is None else overlap**2
    return math.sqrt(sum(parts / noise**2 for noise in noises))


def costs_what_is_counted(plan: Plan) -> bool:
    expected = gaussian_epsilon(mu_by_hand(plan), plan.delta)
    stated, found = plan.stated_price.epsilon, plan.price().epsilon
    return stated == found and found == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("case", CASES)
def test_a_plan_costs_every_noisy_sum_that_may_leave(tmp_path, case):
    plan = plan_of(tmp_path, case)
    assert costs_what_is_counted(plan)
    assert 0.995 * plan.privacy.epsilon < gaussian_epsilon(mu_by_hand(plan), plan.delta)
    assert plan.stated_price.epsilon <= plan.privacy.epsilon


def test_an_evaluation_has_two_histograms(tmp_path):
    """Else the twins below would be no twins."""
    assert plan_of(tmp_path, "evaluated").evaluation.histograms[1:]


@pytest.mark.parametrize("case", ["evaluated", "spares", "trained"])
def test_a_sum_that_is_priced_once_instead_of_twice_is_caught(tmp_path, monkeypatch, case):
    """Both where noise is calibrated and where it is priced, or else the two would disagree."""
    for module in (base, evaluation):
        monkeypatch.setattr(module, "repeated", lambda event, count: event)
    assert not costs_what_is_counted(plan_of(tmp_path, case))


@pytest.mark.parametrize(
    "case", ["two sites", "two sites of a sum", "trained", "gradients of two sites"]
)
def test_a_forgotten_overlap_is_caught(tmp_path, monkeypatch, case):
    for module in (statistic, training, evaluation):
        monkeypatch.setattr(module, "for_unit", lambda event_at, noise, privacy: event_at(noise))
    assert not costs_what_is_counted(plan_of(tmp_path, case))
