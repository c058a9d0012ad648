from __future__ import annotations

import dataclasses
import json

import msgspec
import pytest

from fedloom.common.errors import ConfigError, StudyError
from fedloom.privacy.accounting import epsilon_pld
from fedloom.privacy.events import steps_of
from fedloom.privacy.mechanisms import gaussian
from fedloom.privacy.phases import statistic, training
from fedloom.privacy.plan import Plan
from fedloom.privacy.resolve import replaced
from tests.federation import make_home, make_plan
from tests.plans import edited


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
        if isinstance(value, list):
            value = dict(enumerate(value))
        if isinstance(value, dict):
            return [leaf for key in value for leaf in leaves(value[key], (*path, key))]
        return [(path, value)] if isinstance(value, int | float) else []

    found = leaves(plan.to_dict())
    assert len(found) > 20
    for path, value in found:
        try:
            assert edited(plan, path, value + 1).digest() != plan.digest(), path
        except ConfigError:
            continue  # nobody can sign it


def test_rounds_add_up_to_the_event_of_the_plan(plan):
    assert [asked.round for asked in plan.rounds] == [1, 2, 3]
    assert [asked.query for asked in plan.rounds] == ["statistic", "train", "train"]
    assert steps_of([asked.event for asked in plan.rounds]) == steps_of([plan.event()])
    together = epsilon_pld([asked.event for asked in plan.rounds], plan.delta)
    assert together == pytest.approx(plan.price().epsilon, rel=1e-12)


def test_a_round_asks_for_what_costs_privacy_by_name(plan):
    counts = {"statistic", "l2_norm", "max_cells", "grid_step", "noise_multiplier"}
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
    body = plan.to_dict()
    if damage == "format":
        body["format"] = 1
    elif damage == "missing":
        del body["price"]
    else:
        body["extra"] = 1
    with pytest.raises(StudyError, match="plan"):
        Plan.from_dict(body)


def test_a_plan_is_not_changed_by_who_reads_it(plan):
    for part in (plan, plan.privacy, plan.model, plan.phases[0], plan.sites[0]):
        with pytest.raises(AttributeError):
            part.name = "other"


def test_shares_that_do_not_sum_to_one_cannot_be_built(plan):
    """A kind of model that forgets part of its budget is found out where the plan is made."""
    for phases in (plan.phases[:1], plan.phases[1:], (*plan.phases, plan.phases[0]), ()):
        with pytest.raises(StudyError, match="sum to 1"):
            replaced(plan, phases=phases)


def test_the_event_of_a_phase_is_that_of_its_mechanism(plan, monkeypatch):
    """The twin: a mechanism whose price is made a thousand times too cheap is seen at once."""
    price = plan.price().epsilon
    for module, name in ((statistic, "statistic_event"), (training, "training_event")):
        cheap = getattr(gaussian, name)
        with monkeypatch.context() as patch:
            patch.setattr(
                module, name, lambda *args, name=name, cheap=cheap: cheap(*_louder(name, args))
            )
            assert plan.price().epsilon < price * 0.99


def _louder(name, args):
    """The same arguments with a thousand times the noise multiplier."""
    if name == "statistic_event":
        return (args[0] * 1000.0,)
    return (args[0], args[1] * 1000.0, args[2])


def test_the_sites_of_a_plan_are_looked_up_and_not_rebuilt(plan):
    """However often they are asked for: their list is gone through once."""
    walks = []

    class Counted(tuple):
        def __iter__(self):
            walks.append(1)
            return super().__iter__()

    many = [msgspec.structs.replace(plan.sites[0], name=f"site-{n}") for n in range(300)]
    wide = dataclasses.replace(plan, sites=Counted(many))
    for site in many:
        assert wide.site(site.name) is site and site.name in wide.site_names
    assert len(walks) == 1 and wide.sites is wide.sites
