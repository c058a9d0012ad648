from __future__ import annotations

import os

import pytest

from fedloom.client.approval import (
    approve,
    differences,
    last_approved,
    load_plan_or_study,
    verify_plan,
)
from fedloom.client.plan_in_words import in_plain_words
from fedloom.common.errors import ConfigError, DataError, PolicyError, StudyError
from fedloom.privacy.ledger import Ledger, read_ledger
from fedloom.privacy.plan import Plan
from fedloom.privacy.policy import Policy
from fedloom.privacy.release.epsilon_by_party import epsilon_by_party
from tests.federation import approve_at, make, make_home, make_plan, table
from tests.plans import edited


@pytest.fixture
def homes(tmp_path):
    return {name: make_home(tmp_path / name, name) for name in ("north", "south")}


@pytest.fixture
def plan(tmp_path, homes):
    return make_plan(tmp_path / "study", homes, "weights")


def refused(home, plan, error, match, **changes):
    values = {"policy": None, **changes}
    frame = values.pop("frame", table(50))
    with Ledger.open(home.path, home.private_key()) as ledger:
        with pytest.raises(error, match=match):
            approve(home, ledger, plan, frame, **values)
    assert [e.read().kind for e in read_ledger(home.path).entries] == ["genesis"]
    assert not [*home.approved.iterdir(), *home.snapshots.iterdir()]


def test_approving_freezes_the_records_and_signs_the_digest(homes, plan):
    home = homes["north"]
    approve_at(home, plan, table(50))
    approval = read_ledger(home.path).approval(plan.digest())
    assert approval["study"] == plan.study_digest and approval["name"] == "tiny"
    assert approval["summary"]["epsilon"] == plan.stated_price.epsilon
    assert Plan.load(home.plan_path(plan.digest())).digest() == plan.digest()
    assert last_approved(home).digest() == plan.digest()


def test_the_plan_approved_last_is_the_ledgers_last_and_not_the_newest_file(tmp_path, homes, plan):
    home = homes["north"]
    later = make_plan(tmp_path / "later", homes, "mixture")
    for each in (plan, later):
        approve_at(home, each, table(50))
    os.utime(home.plan_path(plan.digest()), (4e9, 4e9))  # as a restored backup may have it
    assert last_approved(home).digest() == later.digest()
    home.plan_path(later.digest()).unlink()
    assert last_approved(home).digest() == plan.digest()


def test_a_plan_that_names_another_key_is_refused(tmp_path, homes, plan):
    stranger = make_home(tmp_path / "stranger")
    refused(stranger, plan, StudyError, "fedloom site keygen")


def test_a_plan_for_other_sites_is_refused(tmp_path, plan):
    refused(make_home(tmp_path / "west", "west"), plan, StudyError, "no site 'west'")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("price", "epsilon"), 0.1),
        (("phases", 1, "noise_multiplier"), 0.1),
        (("phases", 1, "settings", "num_rounds"), 40),
        (("statistics", "spare_rounds"), 2),
        (("privacy", "epsilon"), 0.5),
    ],
)
def test_a_plan_that_states_a_wrong_price_is_refused(homes, plan, path, value):
    changed = edited(plan, path, value)
    refused(homes["north"], changed, StudyError, "resolve the study again")


def test_a_plan_beyond_the_policy_is_refused_by_every_rule_that_it_breaks(homes, plan):
    policy = Policy(epsilon=1.0, delta=1e-6, models=("mixture",), min_sites=3, columns=("age",))
    with pytest.raises(PolicyError) as caught:
        policy.check(plan)
    text = str(caught.value)
    assert all(word in text for word in ("epsilon", "delta", "vae", "sex", "2"))
    refused(homes["north"], plan, PolicyError, "policy", policy=policy)


def masked(folder, extra: str) -> Plan:
    """A study of four sites and more settings of its privacy."""
    homes = {name: make_home(folder / name, name) for name in ("east", "north", "south", "west")}
    make_plan(folder / "study", homes, trust="secure-sum")
    study = folder / "study" / "study.toml"
    study.write_text(study.read_text().replace("[privacy]\n", "[privacy]\n" + extra))
    return load_plan_or_study(study)


PERSONS = 'unit = "person"\nid = "visit"\nrows_per_person = 9\n'


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"id": "patient"}, "'visit', the policy wants 'patient'"),
        ({"max_rows_per_person": 5}, "9 rows of a person"),
        ({"min_colluding": 1}, "bear 0 colluding"),
        ({"min_sites": 4}, "a sum may be of 3 sites alone"),
    ],
)
def test_the_policy_bounds_what_decides_the_guarantee(tmp_path, rule, said):
    plan = masked(tmp_path, PERSONS + "colluding = 0\n")
    Policy(epsilon=8.0, delta=1e-3).check(plan)
    with pytest.raises(PolicyError, match=said):
        Policy(epsilon=8.0, delta=1e-3, **rule).check(plan)


@pytest.mark.parametrize("colluding", [0, 1, 2])
def test_overlap_and_the_price_towards_a_fellow_site_are_said(tmp_path, colluding):
    plan = masked(tmp_path, f"colluding = {colluding}\noverlap = 2\n" + PERSONS)
    text = "\n".join(in_plain_words(plan, site="north"))
    fellow = epsilon_by_party(plan)["fellow_site"]["epsilon"]
    assert "with records at 2 sites at most" in text
    assert (
        f"another site on its own, which knows its own part of the noise: epsilon {fellow:.4g}"
        in (text)
    )
    price = plan.stated_price.epsilon
    assert {0: fellow > price, 1: fellow == pytest.approx(price), 2: fellow < price}[colluding]


def test_records_that_do_not_fit_are_refused_or_accepted_with_clamp(homes, plan):
    odd = table(50)
    odd.loc[3, "age"] = 93
    refused(homes["north"], plan, DataError, "age.*--clamp", frame=odd)
    refused(homes["north"], plan, DataError, "no records", frame=table(50).iloc[:0])
    approve_at(homes["north"], plan, odd, clamp=True)


def test_one_person_under_several_ids_is_no_matter_of_clamping(tmp_path, homes):
    folder = tmp_path / "persons"
    persons = PERSONS.replace("visit", "patient")
    make_plan(folder, homes)
    text = (folder / "study.toml").read_text()
    (folder / "study.toml").write_text(text.replace("[privacy]\n", "[privacy]\n" + persons))
    plan = load_plan_or_study(folder / "study.toml")
    frame = table(6).assign(patient=["7", "7.0", "07", "8", "9", None])
    frame.loc[3, "age"] = 93
    home = homes["north"]
    refused(home, plan, DataError, "'7' and '7.0'.*--ids-as-written", frame=frame, clamp=True)
    refused(home, plan, DataError, "--clamp", frame=frame, ids_as_written=True)
    one_way = frame.assign(patient=["7", "7", "7", "8", "9", None])
    approve_at(homes["south"], plan, one_way, clamp=True)
    with Ledger.open(home.path, home.private_key()) as ledger:
        approve(home, ledger, plan, frame, policy=None, clamp=True, ids_as_written=True)
    assert read_ledger(home.path).approval(plan.digest()) is not None


def test_records_cannot_change_under_an_approved_plan(homes, plan):
    home = homes["north"]
    approve_at(home, plan, table(50))
    frozen = home.snapshot_path(plan.digest()).read_bytes()
    with pytest.raises(ConfigError, match="revoke it first"):
        approve_at(home, plan, table(60))
    assert home.snapshot_path(plan.digest()).read_bytes() == frozen


def test_what_will_leave_is_said_in_plain_words(plan):
    text = "\n".join(in_plain_words(plan, site="north"))
    numbers = (
        "3 answers",
        "noisy counts of every column's values",
        "2 times: noisy model weights after 2 step(s)",
        f"epsilon {plan.stated_price.epsilon:.4g} at delta 0.001",
    )
    for words in (*numbers, "Who sees it: the coordinator", "Nothing else leaves"):
        assert words in text


def test_differences_from_the_last_study_are_named(plan):
    assert differences(plan, None) == ["no study was approved in this home before"]
    assert differences(plan, plan) == ["nothing differs from the study approved last"]
    other = edited(plan, ("phases", 1, "settings", "local_steps"), 9)
    assert differences(other, plan) == ["phases.2.settings.local_steps: 2 -> 9"]


def test_a_study_and_its_plan_are_the_same_to_approve(tmp_path, homes, plan):
    plan.save(tmp_path / "plan.json")
    from_plan = load_plan_or_study(tmp_path / "plan.json")
    assert from_plan.digest() == load_plan_or_study(tmp_path / "study" / "study.toml").digest()
    verify_plan(from_plan, site="north", home=homes["north"])


def test_a_study_without_keys_cannot_be_approved(tmp_path):
    federation = make(tmp_path / "open")
    with pytest.raises(StudyError, match="fedloom site keygen"):
        load_plan_or_study(federation.study)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99}'])
def test_a_file_that_is_no_plan_is_said(tmp_path, text):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(StudyError, match="plan"):
        load_plan_or_study(tmp_path / "plan.json")
