"""The statement's numbers against independent ones, and the accounts that they come from."""

from __future__ import annotations

import json
import math

import pytest

from fedloom.common.digest import canonical_json
from fedloom.common.errors import LedgerError
from fedloom.privacy.keys import public_key_hex
from fedloom.privacy.release.account import account_of
from fedloom.privacy.release.statement import make_statement


@pytest.fixture
def accounts_of(fake, site_keys):
    def _accounts(plan, **options):
        return {
            name: account_of(fake.make_extract(key, plan, name, **options), plan, fake.RUN, name)
            for name, key in site_keys.items()
        }

    return _accounts


def test_numbers_are_those_of_the_accountant(plan, accounts_of, closed_form):
    statement = make_statement(plan, accounts_of(plan))
    rounds = plan.statistics
    noises = [phase.noise_multiplier for phase in rounds]
    assert statement["epsilon"] == pytest.approx(closed_form.epsilon(*noises), rel=1e-3)
    parties = statement["towards"]
    assert {entry["epsilon"] for entry in parties.values()} == {statement["epsilon"]}
    overlap = statement["overlap"]
    both = closed_form.epsilon(*noises, *noises)
    assert overlap["sites_per_unit"] == 1 and overlap["sites"] == 2
    assert overlap["epsilon_at_every_site"] == pytest.approx(both, rel=1e-3)
    for phase, stated in zip(rounds, statement["mechanisms"], strict=True):
        assert stated["noise_std"] == phase.noise_multiplier * phase.l2_norm
        assert stated["grid_step"] == phase.grid_step


def test_a_person_at_several_sites_is_stated_with_cap_id_and_overlap(secure, closed_form):
    plan, statement = secure.stated(
        privacy={
            "epsilon": 40.0,
            "unit": "person",
            "id": "number",
            "rows_per_person": 5,
            "overlap": 2,
        },
    )
    unit = statement["unit_of_privacy"]
    assert (unit["id"], unit["rows_per_person"], unit["sites_per_unit"]) == ("number", 5, 2)
    for words in ("'number'", "5 rows", "up to 2 sites"):
        assert words in unit["text"]
    assert "ids-tell-persons" in {one["code"] for one in statement["assumptions"]}
    # At m sites of one sum a person moves it by m times the norm: the noise counts for 1 / m.
    noises = closed_form.noises(plan)
    own = [phase.noise_multiplier / math.sqrt(2) for phase in plan.statistics]
    assert {round(noise, 9) for noise in own} <= {round(noise, 9) for noise in noises}
    assert statement["overlap"]["epsilon_at_every_site"] > statement["epsilon"]
    assert statement["mechanisms"][0]["l2_sensitivity"] == 5 * math.sqrt(6)
    scores, marginals = statement["mechanisms"][-2:]
    assert (scores["l2_sensitivity"], marginals["l2_sensitivity"]) == (5.0, 5 * math.sqrt(6))


def test_training_is_stated_with_rate_clip_noise_and_steps(fake, site_keys, accounts_of):
    keys = {name: public_key_hex(key) for name, key in site_keys.items()}
    plan = fake.make_plan(keys, kind="vae", training=fake.VAE_TRAINING)
    statement = make_statement(plan, accounts_of(plan))
    training = statement["mechanisms"][-1]
    assert (training["query"], training["steps"], training["sampler"]) == ("train", 30, "poisson")
    assert (training["sample_rate"], training["max_grad_norm"]) == (0.05, 1.0)
    assert statement["sites"]["north"]["rounds_answered"] == 4
    canonical_json(statement)


def test_a_site_that_missed_rounds_spent_less_and_is_stated_at_the_plan_s_price(
    fake, site_keys, accounts_of
):
    keys = {name: public_key_hex(key) for name, key in site_keys.items()}
    plan = fake.make_plan(keys, kind="vae", training=fake.VAE_TRAINING)
    site = make_statement(plan, accounts_of(plan, rounds=2))["sites"]["south"]
    assert site["rounds_answered"] == 2 and site["rounds_planned"] == 4
    assert site["epsilon_of_commits"] < site["epsilon"] == plan.price().epsilon


def test_rehearsal_and_known_seeds_are_said(plan, accounts_of):
    statement = make_statement(plan, accounts_of(plan, rehearsal=False))
    assert statement["rehearsal"]["sites"] == [] and not statement["claim"]["void"]
    statement = make_statement(plan, accounts_of(plan, insecure=True))
    assert statement["rehearsal"]["sites"] == ["north", "south"]
    assert statement["randomness"]["insecure_sites"] == ["north", "south"]
    assert statement["claim"]["void"] is True and "VOID" in statement["claim"]["text"]


def test_what_nist_asks_for_is_there(plan, accounts_of):
    statement = make_statement(plan, accounts_of(plan))
    wanted = (
        "unit_of_privacy neighbouring definition epsilon delta mechanisms accountant "
        "preprocessing composition trust_model randomness hyperparameter_tuning "
        "failure_and_retry not_covered"
    )
    assert set(wanted.split()) <= set(statement)
    assert {"timing", "floating-point"} <= {one["code"] for one in statement["not_covered"]}


def test_an_absent_site_is_named(plan, accounts_of):
    accounts = accounts_of(plan)
    del accounts["south"]
    assert make_statement(plan, accounts)["sites_without_ledger"] == ["south"]


def test_several_runs_of_a_plan_are_composed(fake, site_keys, plan):
    extract = fake.make_extract(site_keys["north"], plan, "north", runs=(fake.RUN, "second"))
    account = account_of(extract, plan, fake.RUN, "north")
    assert account.runs == 2 and account.rounds == 2
    assert account.epsilon_of_all_runs(1e-5) > account.epsilon(1e-5)


def test_an_approval_for_another_unit_is_refused(fake, site_keys, plan):
    extract = fake.make_extract(site_keys["north"], plan, "north", unit=("person", "number"))
    with pytest.raises(LedgerError, match="another unit"):
        account_of(extract, plan, fake.RUN, "north")


def test_an_extract_of_another_site_plan_or_key_is_refused(fake, site_keys, plan):
    keys = {name: public_key_hex(key) for name, key in site_keys.items()}
    extract = fake.make_extract(site_keys["north"], plan, "north")
    with pytest.raises(LedgerError, match="another site|is that of|not signed by"):
        account_of(extract, plan, fake.RUN, "south")
    other = fake.make_plan(keys, kind="vae", training=fake.VAE_TRAINING)
    with pytest.raises(LedgerError):
        account_of(extract, other, fake.RUN, "north")
    renamed = fake.make_extract(site_keys["south"], plan, "north")
    with pytest.raises(LedgerError):
        account_of(renamed, plan, fake.RUN, "south")
    with pytest.raises(LedgerError):
        account_of(json.loads('{"public_key": null}'), plan, fake.RUN, "north")
