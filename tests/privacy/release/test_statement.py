"""The statement's numbers against independent ones, and the accounts that they come from."""

from __future__ import annotations

import json
import math

import pytest
from dp_accounting import GaussianDpEvent
from dp_accounting.pld import PLDAccountant

from fedloom.common.digest import canonical_json
from fedloom.common.errors import FedloomError, LedgerError
from fedloom.privacy.accounting import steps_of
from fedloom.privacy.keys import generate_key, public_key_hex
from fedloom.privacy.release.account import account_of
from fedloom.privacy.release.attempts import check_rosters
from fedloom.privacy.release.parties import noise_factors
from fedloom.privacy.release.statement import make_statement


@pytest.fixture
def accounts_of(fake, site_keys):
    def _accounts(plan, **options):
        return {
            name: account_of(fake.make_extract(key, plan, name, **options), plan, fake.RUN, name)
            for name, key in site_keys.items()
        }

    return _accounts


def gaussian_epsilon(*noises, delta=1e-5):
    accountant = PLDAccountant()
    for noise in noises:
        accountant.compose(GaussianDpEvent(noise))
    return accountant.get_epsilon(delta)


def test_numbers_are_those_of_the_accountant(plan, accounts_of):
    statement = make_statement(plan, accounts_of(plan))
    rounds = plan.statistics["rounds"]
    noises = [settings["noise_multiplier"] for settings in rounds]
    assert statement["epsilon"] == pytest.approx(gaussian_epsilon(*noises), rel=1e-3)
    parties = statement["towards"]
    assert {entry["epsilon"] for entry in parties.values()} == {statement["epsilon"]}
    overlap = statement["overlap"]
    both = gaussian_epsilon(*noises, *noises)
    assert overlap["sites_per_unit"] == 1 and overlap["sites"] == 2
    assert overlap["epsilon_at_every_site"] == pytest.approx(both, rel=1e-3)
    for settings, stated in zip(rounds, statement["mechanisms"], strict=True):
        assert stated["noise_std"] == settings["noise_multiplier"] * settings["l2_norm"]
        assert stated["lattice_unit"] == settings["lattice_unit"]


@pytest.fixture
def secure_keys(tmp_path, fake):
    return {name: generate_key(tmp_path / f"{name}.secure.pem") for name in fake.MORE_SITES}


def secure(fake, keys, **options):
    plan = fake.make_secure_plan({n: public_key_hex(key) for n, key in keys.items()}, **options)
    accounts = {
        name: account_of(fake.make_extract(key, plan, name), plan, fake.RUN, name)
        for name, key in keys.items()
    }
    return plan, make_statement(plan, accounts)


def test_a_secure_sum_states_three_parties_with_the_noise_that_each_faces(fake, secure_keys):
    """Four sites and one that colludes: three shares against it, four against the public."""
    plan, statement = secure(fake, secure_keys)
    noises = [part.noise_multiplier for part in plan_gaussians(plan)]
    assert len(noises) == 2 * 2 + 2  # a spare for each statistic; two histograms
    towards = statement["towards"]
    assert towards["coordinator"]["epsilon"] == statement["epsilon"] == plan.price().epsilon
    assert towards["fellow_site"]["epsilon"] == statement["epsilon"]
    public = gaussian_epsilon(*[noise * math.sqrt(4 / 3) for noise in noises])
    assert towards["public"]["epsilon"] == pytest.approx(public, rel=1e-3)
    assert towards["public"]["epsilon"] < statement["epsilon"]
    assert "and any 1 site" in statement["claim"]
    assert any("At most 1 of the sites" in line for line in statement["assumptions"])
    assert statement["trust_model"]["colluding"] == 1
    assert set(statement["sites"]) == set(secure_keys)


@pytest.mark.parametrize("colluding, fellow, public", [(2, 3 / 2, 4 / 2), (0, 2 / 3, 1.0)])
def test_more_or_fewer_that_collude(fake, secure_keys, colluding, fellow, public):
    """Without any, a fellow site that knows its own share faces less noise than the coordinator."""
    keys = {name: public_key_hex(key) for name, key in secure_keys.items()}
    plan = fake.make_secure_plan(keys, privacy={"colluding": colluding})
    factors = noise_factors(plan)
    assert factors["coordinator"] == 1.0
    assert factors["fellow_site"] == pytest.approx(math.sqrt(fellow))
    assert factors["public"] == pytest.approx(math.sqrt(public))


def plan_gaussians(plan):
    parts = []
    for step, count in steps_of([plan.event()]).items():
        parts += [GaussianDpEvent(step.noise_multiplier)] * count
    return parts


def test_a_person_at_several_sites_is_stated_with_cap_id_and_overlap(fake, secure_keys):
    plan, statement = secure(
        fake,
        secure_keys,
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
        assert words in unit["meaning"]
    assert any("id column" in line for line in statement["assumptions"])
    # At m sites of one sum a person moves it by m times the norm: the noise counts for 1 / m.
    noises = [part.noise_multiplier for part in plan_gaussians(plan)]
    own = [settings["noise_multiplier"] / math.sqrt(2) for settings in plan.statistics["rounds"]]
    assert {round(noise, 9) for noise in own} <= {round(noise, 9) for noise in noises}
    assert statement["overlap"]["epsilon_at_every_site"] > statement["epsilon"]
    assert statement["mechanisms"][0]["l2_sensitivity"] == 5 * math.sqrt(6)


def test_void_attempts_are_stated_and_charged(fake, secure_keys):
    keys = {name: public_key_hex(key) for name, key in secure_keys.items()}
    plan = fake.make_secure_plan(keys)
    accounts = {}
    for name, key in secure_keys.items():
        attempts = {1: "a" * 64} if name == "west" else {1: "a" * 64, 2: "c" * 64}
        if name == "north":
            attempts = {2: "c" * 64}
        extract = fake.make_extract(key, plan, name, attempts={2: attempts})
        accounts[name] = account_of(extract, plan, fake.RUN, name)
    statement = make_statement(plan, accounts)
    void = statement["failure_and_retry"]["void_attempts"]
    assert void == [{"round": 2, "attempt": 1, "charged_at": ["east", "south", "west"]}]
    assert statement["sites"]["east"]["attempts_charged"] == 4
    assert statement["sites"]["north"]["attempts_charged"] == 3
    more, fewer = (statement["sites"][name]["epsilon_of_commits"] for name in ("east", "north"))
    assert fewer < more <= statement["epsilon"]
    assert "void attempts that were charged: 1" in check_rosters(plan, accounts)


def test_attempts_beyond_the_reservation_or_in_local_trust_are_refused(fake, secure_keys, plan):
    """The ledger refuses the third attempt itself, so a forged chain is what could hold it."""
    keys = {name: public_key_hex(key) for name, key in secure_keys.items()}
    secure_plan = fake.make_secure_plan(keys)
    thrice = {1: "a" * 64, 2: "b" * 64, 3: "c" * 64}
    with pytest.raises(FedloomError):
        fake.make_extract(secure_keys["east"], secure_plan, "east", attempts={2: thrice})


@pytest.mark.parametrize(
    "attempts, complaint",
    [
        ({"east": {1: "a" * 64}, "north": {1: "d" * 64}}, "different requests"),
        ({"east": {1: "a" * 64}, "north": {2: "a" * 64}}, "by 1 sites"),
    ],
)
def test_a_roster_that_cannot_have_opened_is_refused(fake, secure_keys, attempts, complaint):
    keys = {name: public_key_hex(key) for name, key in secure_keys.items()}
    plan = fake.make_secure_plan(keys)
    accounts = {}
    for name, key in secure_keys.items():
        given = {1: attempts.get(name, {1: "a" * 64})}
        extract = fake.make_extract(key, plan, name, attempts=given)
        accounts[name] = account_of(extract, plan, fake.RUN, name)
    with pytest.raises(LedgerError, match=complaint):
        check_rosters(plan, accounts)


def test_training_is_stated_with_rate_clip_noise_and_steps(fake, site_keys, accounts_of):
    keys = {name: public_key_hex(key) for name, key in site_keys.items()}
    plan = fake.make_plan(keys, kind="vae", training=fake.VAE_TRAINING)
    statement = make_statement(plan, accounts_of(plan))
    training = statement["mechanisms"][-1]
    assert (training["query"], training["steps"], training["sampler"]) == ("train", 30, "Poisson")
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
    assert statement["rehearsal"] == {"sites": [], "meaning": "none"}
    statement = make_statement(plan, accounts_of(plan, insecure=True))
    assert statement["rehearsal"]["meaning"] == "rehearsal: covers this run alone"
    assert statement["randomness"]["insecure_sites"] == ["north", "south"]
    assert "VOID" in statement["claim"]


def test_what_nist_asks_for_is_there(plan, accounts_of):
    statement = make_statement(plan, accounts_of(plan))
    wanted = (
        "unit_of_privacy neighbouring definition epsilon delta mechanisms accountant "
        "preprocessing composition trust_model randomness hyperparameter_tuning "
        "failure_and_retry not_covered"
    )
    assert set(wanted.split()) <= set(statement)
    words = " ".join(statement["not_covered"]).lower()
    assert "timing" in words and "floating point" in words


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
