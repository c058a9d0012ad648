"""Epsilon towards coordinator, fellow site and public, against the noise that each faces."""

from __future__ import annotations

import math

import pytest

from fedloom.privacy.accounting import gaussian, steps_of, subsampled
from fedloom.privacy.release.epsilon_by_party import noise_factors, with_noise_scaled


def test_a_secure_sum_states_three_parties_with_the_noise_that_each_faces(secure, closed_form):
    """Four sites and one that colludes: three shares against it, four against the public."""
    plan, statement = secure.stated()
    noises = closed_form.noises(plan)
    assert len(noises) == 2 * 2 + 2  # a spare for each statistic; two histograms
    towards = statement["towards"]
    assert towards["coordinator"]["epsilon"] == statement["epsilon"] == plan.price().epsilon
    assert towards["fellow_site"]["epsilon"] == statement["epsilon"]
    public = closed_form.epsilon(*[noise * math.sqrt(4 / 3) for noise in noises])
    assert towards["public"]["epsilon"] == pytest.approx(public, rel=1e-3)
    assert towards["public"]["epsilon"] < statement["epsilon"]
    assert (statement["claim"]["place"], statement["claim"]["colluding"]) == ("coordinator", 1)
    assert "and any 1 site" in statement["claim"]["text"]
    codes = {one["code"]: one for one in statement["assumptions"]}
    assert codes["colluding-sites"]["colluding"] == 1
    assert statement["trust_model"]["colluding"] == 1


@pytest.mark.parametrize("colluding, fellow, public", [(2, 3 / 2, 4 / 2), (0, 2 / 3, 1.0)])
def test_more_or_fewer_that_collude(secure, colluding, fellow, public):
    """Without any, a fellow site that knows its own share faces less noise than the coordinator."""
    factors = noise_factors(secure.plan(privacy={"colluding": colluding}))
    assert factors["coordinator"] == 1.0
    assert factors["fellow_site"] == pytest.approx(math.sqrt(fellow))
    assert factors["public"] == pytest.approx(math.sqrt(public))


def test_the_stated_noise_is_the_least_over_all_rosters(secure):
    for colluding in (0, 1, 2):
        plan = secure.plan(privacy={"colluding": colluding})
        stated = noise_factors(plan)
        for roster in range(plan.min_sites, len(plan.sites) + 1):
            honest = roster - colluding
            assert stated["fellow_site"] <= math.sqrt((roster - 1) / honest) + 1e-12
            assert stated["public"] <= math.sqrt(roster / honest) + 1e-12


def test_a_quieter_event_keeps_rates_and_counts():
    event = subsampled(0.1, 2.0, 30)
    (step,) = steps_of(with_noise_scaled(event, 1.5)).items()
    assert (step[0].sample_rate, step[0].noise_multiplier, step[1]) == (0.1, 3.0, 30)
    assert steps_of(with_noise_scaled(gaussian(2.0), 1.0)) == steps_of([gaussian(2.0)])
