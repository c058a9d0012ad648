"""The noise of an opened sum is what ledgers are charged for, whatever part of the sites answers.

Shares are sized by the roster less the colluding sites, not by the plan's sites. Every test takes
the exact sum off and looks at 10,000 coordinates or more: two thirds, a half or four thirds of the
variance would pass less than once in 10^12 runs, and an honest sum is called broken once in 10^9
(`tests.noise_size`). Twins have that much noise, or count the plan's sites.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import fedloom.client.queries as queries
import fedloom.client.vault as vault_module
import fedloom.privacy.mechanisms.noisy_gradient as gradient_module
import fedloom.privacy.mechanisms.noisy_sum as statistic_module
from fedloom.privacy.secure_sum.shares import noise_share
from tests.audit_cases import (
    COUNTS,
    by_the_plans_sites,
    counting_audit,
    counting_plan,
    gradient_audit,
    training_plan,
)
from tests.audited import FOUR_SITES
from tests.federation import make_home
from tests.noise_size import ALARM, has_std, power
from tests.secure_sum.consortium import LOOK, SITES, STEP, THREE, exact_look, near, opened

COORDINATES = 10_000
FACTORS = [2 / 3, 1 / 2, 4 / 3]
QUERIES = [*COUNTS, "gradient"]
SECURE = {"sites": FOUR_SITES, "trust": "secure-sum"}


def test_the_power_is_as_stated():
    for factor in FACTORS:
        assert 1.0 - power(factor, 3000) < 1e-6
        assert 1.0 - power(factor, COORDINATES) < 1e-12
    assert power(1.0, COORDINATES) == pytest.approx(ALARM, rel=1e-3)


@pytest.fixture
def audit(request, tmp_path):
    """The audit of a query over a roster of three of the plan's four sites."""
    home = make_home(tmp_path / "home")
    if request.param == "gradient":
        plan = training_plan(tmp_path / "study", "vae", exchange="gradients", **SECURE)
        return gradient_audit(home, plan, roster=THREE)
    plan = counting_plan(tmp_path / "study", **SECURE)
    return counting_audit(home, plan, request.param, roster=THREE)


def right_size(audit) -> bool:
    """Whether every histogram, or the whole answer, has the planned noise, colluders' left out."""
    (asked, *_) = audit.requests
    lengths = [part["length"] for part in asked.params.get("histograms", [])]
    shortest = min(lengths, default=0)
    drawn = audit.noise(COORDINATES)
    if lengths:
        drawn = audit.noise(math.ceil(COORDINATES / shortest) * sum(lengths))
    parts = np.split(drawn, np.cumsum(lengths)[:-1], axis=1) if lengths else [drawn]
    assert all(part.size >= COORDINATES for part in parts)
    return all(has_std(part, 1.0) for part in parts)


@pytest.mark.parametrize("audit", QUERIES, indirect=True)
def test_a_sum_over_part_of_the_sites_has_the_planned_noise(audit):
    assert right_size(audit)


@pytest.mark.parametrize("audit", QUERIES, indirect=True)
def test_shares_by_the_plans_sites_are_caught(audit, monkeypatch):
    monkeypatch.setattr(queries, "answer_arrays", by_the_plans_sites(queries.answer_arrays))
    assert not right_size(audit)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("audit", QUERIES, indirect=True)
def test_another_variance_is_caught(audit, monkeypatch, factor):
    for module in (statistic_module, gradient_module):
        monkeypatch.setattr(module, "noise_share", with_variance(factor))
    assert not right_size(audit)


def with_variance(factor):
    def share(size, std, num_shares, unit, noise):
        return noise_share(size, std * math.sqrt(factor), num_shares, unit, noise)

    return share


def look_fits(consortium, roster) -> bool:
    asked = consortium.request(LOOK, roster=roster)
    total = opened(consortium.answers(asked), asked)
    return near(asked, total, exact_look(consortium.plan, roster))


def step_fits(consortium, roster) -> bool:
    """At weights of 0 a `vae` has a gradient in its output's bias alone: the rest is noise."""
    asked = consortium.request(STEP, roster=roster, arrays=consortium.weights(0.0))
    total = opened(consortium.answers(asked), asked)
    silent = np.concatenate(
        [
            np.full(value.numel(), name != "decoder.outer.bias")
            for name, value in consortium.model().private_module().named_parameters()
        ]
    )
    assert silent.sum() >= COORDINATES
    std = asked.params["noise_multiplier"] * asked.params["max_grad_norm"]
    return has_std(total[silent], std * math.sqrt(len(roster) / (len(roster) - 1)))


@pytest.mark.parametrize("fits", [look_fits, step_fits])
@pytest.mark.parametrize("roster", [SITES, THREE], ids=["all", "three"])
def test_sums_of_real_vaults_have_the_planned_noise(consortium, fits, roster):
    assert fits(consortium, roster)


@pytest.mark.parametrize("fits", [look_fits, step_fits])
def test_vaults_that_count_the_plans_sites_are_caught(consortium, monkeypatch, fits):
    twin = by_the_plans_sites(vault_module.answer_arrays)
    monkeypatch.setattr(vault_module, "answer_arrays", twin)
    assert not fits(consortium, THREE)


@pytest.mark.parametrize("factor", FACTORS)
def test_vaults_with_another_variance_are_caught(consortium, monkeypatch, factor):
    for module in (statistic_module, gradient_module):
        monkeypatch.setattr(module, "noise_share", with_variance(factor))
    assert not look_fits(consortium, THREE)
    assert not step_fits(consortium, THREE)
