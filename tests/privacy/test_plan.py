from __future__ import annotations

import json

import pytest

from fedloom.common.errors import StudyError
from fedloom.privacy.accounting import epsilon_pld
from fedloom.privacy.events import steps_of
from fedloom.privacy.plan import Plan
from tests.federation import make_home, make_plan


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Plan:
    folder = tmp_path_factory.mktemp("plan")
    homes = {name: make_home(folder / name, name) for name in ("north", "south")}
    return make_plan(folder / "study", homes, "weights")


def test_a_plan_is_the_same_after_saving_whatever_the_layout(plan, tmp_path):
    plan.save(tmp_path / "a.json")
    text = (tmp_path / "a.json").read_text()
    (tmp_path / "b.json").write_text(json.dumps(json.loads(text), indent=None))
    digests = {Plan.load(tmp_path / name).digest() for name in ("a.json", "b.json")}
    assert digests == {plan.digest()}


def test_every_number_is_in_the_digest(plan):
    def leaves(value, path=()):
        if isinstance(value, dict):
            return [leaf for key in value for leaf in leaves(value[key], (*path, key))]
        return [(path, value)] if isinstance(value, int | float) else []

    found = leaves(plan.body)
    assert len(found) > 20
    for path, value in found:
        body = json.loads(json.dumps(plan.body))
        place = body
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value + 1
        if path != ("format",):
            assert Plan(body).digest() != plan.digest(), path


def test_rounds_add_up_to_the_event_of_the_plan(plan):
    assert [asked.round for asked in plan.rounds] == [1, 2, 3]
    assert [asked.query for asked in plan.rounds] == ["statistic", "train", "train"]
    assert steps_of([asked.event for asked in plan.rounds]) == steps_of([plan.event()])
    together = epsilon_pld([asked.event for asked in plan.rounds], plan.delta)
    assert together == pytest.approx(plan.price().epsilon, rel=1e-12)


def test_a_round_asks_for_what_costs_privacy_by_name(plan):
    counts = {"kind", "l2_norm", "length", "lattice_unit", "noise_multiplier"}
    assert set(plan.rounds[0].params) == counts
    asked = set(plan.rounds[1].params)
    assert asked >= {"sample_rate", "noise_multiplier", "max_grad_norm", "local_steps"}
    assert "server_learning_rate" not in asked


def test_a_site_of_another_name_is_not_in_the_plan(plan):
    assert plan.site("north").name == "north"
    with pytest.raises(StudyError, match="north, south"):
        plan.site("west")


@pytest.mark.parametrize("damage", ["format", "missing", "more"])
def test_what_is_no_plan_of_this_version_is_refused(plan, damage):
    body = dict(plan.body)
    if damage == "format":
        body["format"] = 1
    elif damage == "missing":
        del body["price"]
    else:
        body["extra"] = 1
    with pytest.raises(StudyError, match="study check --resolved"):
        Plan(body)


def test_a_plan_is_not_changed_by_who_reads_it(plan):
    plan.model["kind"] = "gan"
    plan.statistics["share"] = 0.0
    assert plan.model["kind"] == "vae" and plan.statistics["share"] > 0
