"""White-box audits of `client.queries.answer_arrays`: counts, pairs, schema learning, evaluation.

`tests.mu_audit` says how. A bound is above the true mu with probability at most 0.001 over seeds;
all noise comes from fixed insecure seeds, so no run differs from another. A bound must reach 90%
of the claim, which is mu of the plan's own event, and must not exceed it. The twins each have
one bug built in, and their bounds must exceed it.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

import fedloom.client.queries as queries
import fedloom.client.records as records_module
import fedloom.common.set_cells as set_cells
import fedloom.privacy.phases.evaluation as evaluation
import fedloom.privacy.phases.statistic as statistic
import tests.mu_audit as mu_audit
from fedloom.client.persons import kept_rows
from fedloom.client.records import Records
from fedloom.common.column_marginals import ColumnMarginals
from fedloom.common.marginals import groups_of_one
from fedloom.common.parities import Parities
from fedloom.common.set_marginals import ItemPairs
from fedloom.privacy.noise import NoiseSource
from tests.audit_cases import (
    COUNTS,
    COUNTS_OF_SETS,
    COUNTS_OF_TREE,
    NOISE,
    by_the_plans_sites,
    counting_audit,
    counting_plan,
    tree_plan,
)
from tests.audited import (
    CANARY,
    FOUR_SITES,
    MANY_LEVELS,
    ROWS_PER_PERSON,
    WITH_BOXES,
    WITH_SETS,
    audited_plan,
    neighbours,
)
from tests.mu_audit import claimed_mu
from tests.oracles import gaussian_epsilon

TRIALS = 4000
TRIALS_OF_TWINS = 500
SCHEMA_STUDY = '[model]\nkind = "schema"\n'
THREE = FOUR_SITES[:3]


@pytest.fixture
def tight(tell):
    """Whether an audit's bound reaches 90% of the claim, and not the claim itself."""

    def holds(name, audit, trials=TRIALS):
        return 0.9 < tell(name, audit.run(trials)).reached <= 1.0

    return holds


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("unit", ["record", "person"])
def test_counts_give_away_what_is_claimed_and_no_more(home, folder, tight, name, unit):
    """A person comes with more rows than are used."""
    persons = unit == "person"
    plan = counting_plan(folder, persons=persons)
    audit = counting_audit(home, plan, name, rows=ROWS_PER_PERSON + 2 if persons else 1)
    assert tight(f"{name}, {unit}", audit)


@pytest.mark.parametrize("name", COUNTS_OF_TREE)
@pytest.mark.parametrize("unit", ["record", "person"])
def test_counts_of_a_tree_give_away_what_is_claimed_and_no_more(home, folder, tight, name, unit):
    persons = unit == "person"
    plan = tree_plan(folder, persons=persons)
    audit = counting_audit(home, plan, name, rows=ROWS_PER_PERSON + 2 if persons else 1)
    assert tight(f"{name}, {unit}", audit)


@pytest.mark.parametrize("name", COUNTS_OF_TREE)
def test_a_trees_sums_over_a_roster_give_away_what_is_claimed_and_no_more(
    home, folder, tight, name
):
    plan = tree_plan(folder, sites=FOUR_SITES, trust="secure-sum")
    assert tight(f"{name}, of four", counting_audit(home, plan, name, roster=THREE))


@pytest.mark.parametrize("name", ["columns", "class-columns", "three-way", "parities"])
def test_a_tree_that_adds_half_the_noise_is_caught(home, folder, tell, name):
    audit = counting_audit(home, tree_plan(folder), name)
    claim = dataclasses.replace(audit, claim=audit.claim / 2)
    assert tell(f"{name}, half the noise", claim.run(TRIALS_OF_TWINS)).reached > 1.0


def test_a_record_that_counts_twice_in_a_parity_is_caught(home, folder, monkeypatch):
    honest = Parities.sum
    monkeypatch.setattr(Parities, "sum", lambda self, *rows: 2 * honest(self, *rows))
    assert caught(counting_audit(home, tree_plan(folder), "parities"))


@pytest.mark.parametrize("unit", ["record", "person"])
def test_levels_of_a_hierarchy_give_away_what_is_claimed_and_no_more(home, folder, tight, unit):
    persons = unit == "person"
    plan = tree_plan(folder, schema=MANY_LEVELS, persons=persons)
    assert ColumnMarginals(plan.encoding).l2_norm ** 2 == pytest.approx(1 + 3 + 5)
    audit = counting_audit(home, plan, "columns", rows=ROWS_PER_PERSON + 2 if persons else 1)
    assert tight(f"levels of codes, {unit}", audit)


def test_a_price_that_forgets_the_levels_is_caught(home, folder, monkeypatch):
    honest = ColumnMarginals.__init__

    def without_levels(self, encoding):
        honest(self, encoding)
        self.l2_norm = math.sqrt(1 + len(encoding.features))

    monkeypatch.setattr(ColumnMarginals, "__init__", without_levels)
    plan = tree_plan(folder, schema=MANY_LEVELS)
    assert caught(counting_audit(home, plan, "columns"))


@pytest.mark.parametrize(
    "name, schema",
    [
        *(pytest.param(name, WITH_SETS, id=name) for name in COUNTS_OF_SETS),
        pytest.param("item-pairs", WITH_BOXES, id="item-pairs with signs"),
    ],
)
@pytest.mark.parametrize("unit", ["record", "person"])
def test_counts_of_sets_give_away_what_is_claimed_and_no_more(
    home, folder, tight, name, schema, unit
):
    """The canary has as many items as are kept, all of them frequent."""
    persons = unit == "person"
    plan = tree_plan(folder, schema=schema, persons=persons)
    audit = counting_audit(home, plan, name, rows=ROWS_PER_PERSON + 2 if persons else 1)
    assert tight(f"{name}, {unit}", audit)


@pytest.mark.parametrize("name", ["items", "item-pairs"])
def test_sets_that_are_counted_with_half_the_noise_are_caught(home, folder, tell, name):
    audit = counting_audit(home, tree_plan(folder, schema=WITH_SETS), name)
    claim = dataclasses.replace(audit, claim=audit.claim / 2)
    assert tell(f"{name}, half the noise", claim.run(TRIALS_OF_TWINS)).reached > 1.0


def test_a_record_that_counts_an_item_as_often_as_it_lists_it_is_caught(home, folder, monkeypatch):
    monkeypatch.setitem(CANARY, "codes", "c1|c1|c1")
    monkeypatch.setattr(set_cells, "_read", lambda texts, positions, most: ([1] * 3, 0, 0))
    plan = tree_plan(folder, schema=WITH_SETS)
    assert caught(counting_audit(home, plan, "items"))


def test_a_price_of_items_as_if_a_record_had_one_is_caught(home, folder, monkeypatch):
    honest = ItemPairs.__init__

    def with_one_item(self, encoding, *arrays):
        honest(self, encoding, *arrays)
        self.l2_norm = math.sqrt(1 + len(encoding.features))

    monkeypatch.setattr(ItemPairs, "__init__", with_one_item)
    assert caught(counting_audit(home, tree_plan(folder, schema=WITH_SETS), "item-pairs"))


def test_a_price_that_forgets_the_items_that_a_record_lacks_is_caught(home, folder, monkeypatch):
    plan = tree_plan(folder, schema=WITH_BOXES)
    none = groups_of_one(plan.encoding), np.zeros(8, dtype=np.int32)
    assert ItemPairs(plan.encoding, *none).l2_norm ** 2 == pytest.approx(3 + 8 * 4 + 8 * 7 / 2)
    honest = ItemPairs.__init__

    def with_those_it_has(self, encoding, *arrays):
        honest(self, encoding, *arrays)
        self.l2_norm = math.sqrt(3 + 3 * len(encoding.features) + 3)

    monkeypatch.setattr(ItemPairs, "__init__", with_those_it_has)
    assert caught(counting_audit(home, tree_plan(folder, schema=WITH_BOXES), "item-pairs"))


@pytest.mark.parametrize(
    "columns, trials",
    [
        pytest.param(("age",), TRIALS, id="numbers"),
        # Texts have 650,000 cells: 16 ms an answer.
        pytest.param(("age", "town"), 1000, id="numbers and texts", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("unit", ["record", "person"])
def test_learning_a_schema_gives_away_what_is_claimed_and_no_more(
    home, folder, tight, columns, trials, unit
):
    persons = unit == "person"
    plan = audited_plan(folder, SCHEMA_STUDY, noise=NOISE, open_columns=columns, persons=persons)
    audit = counting_audit(home, plan, "discovery", rows=ROWS_PER_PERSON + 2 if persons else 1)
    assert tight(f"discovery of {' and '.join(columns)}, {unit}", audit, trials)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("roster", [FOUR_SITES, THREE], ids=["all", "three of four"])
def test_a_sum_over_a_roster_gives_away_what_is_claimed_and_no_more(
    home, folder, tight, name, roster
):
    """The colluding site's part, with its noise, is taken off."""
    plan = counting_plan(folder, sites=FOUR_SITES, trust="secure-sum")
    audit = counting_audit(home, plan, name, roster=roster)
    assert tight(f"{name}, secure sum over {len(roster)} of 4 sites", audit)


@pytest.mark.parametrize("trust", ["per-site", "secure-sum"])
def test_a_person_at_two_sites_gives_away_what_is_claimed_and_no_more(home, folder, tight, trust):
    options = {"persons": True, "overlap": 2, "louder": 1.5 if trust == "per-site" else 2.0}
    sites = FOUR_SITES if trust == "secure-sum" else FOUR_SITES[:2]
    words = "secure sum" if trust == "secure-sum" else "per-site trust"
    plan = counting_plan(folder, sites=sites, trust=trust, **options)
    audit = counting_audit(home, plan, "one-way", rows=ROWS_PER_PERSON, at=("east", "north"))
    assert tight(f"one-way, person at two sites, {words}", audit)


@pytest.mark.parametrize("name", COUNTS)
def test_claims_are_what_the_plan_says_it_costs(folder, name):
    """The closed form at the claimed mu is the price of the same event."""
    plan = counting_plan(folder)
    assert claimed_mu(plan.event()) == pytest.approx(np.sqrt(9 + 9 + 8))
    expected = gaussian_epsilon(claimed_mu(plan.event()), plan.delta)
    assert plan.price().epsilon == pytest.approx(expected, rel=1e-3)


def caught(audit) -> bool:
    found = audit.run(TRIALS_OF_TWINS)
    return found.bound > found.claim


@pytest.mark.parametrize("name", [*COUNTS, "discovery"])
def test_half_the_noise_is_caught(home, folder, monkeypatch, name):
    whole = NoiseSource.normal
    monkeypatch.setattr(NoiseSource, "normal", lambda self, n, std: whole(self, n, std / 2))
    if name == "discovery":
        plan = audited_plan(folder, SCHEMA_STUDY, noise=NOISE, open_columns=["age"])
    else:
        plan = counting_plan(folder)
    assert caught(counting_audit(home, plan, name))


@pytest.mark.parametrize("name", COUNTS)
def test_a_record_that_is_counted_twice_is_caught(home, folder, name):
    assert caught(counting_audit(home, counting_plan(folder), name, rows=2))


@pytest.mark.parametrize("name", COUNTS)
def test_a_person_whose_rows_are_not_capped_is_caught(home, folder, monkeypatch, name):
    def ignoring_the_cap(ids, codes, cap, key):
        return kept_rows(ids, codes, 100, key)

    monkeypatch.setattr(records_module, "kept_rows", ignoring_the_cap)
    plan = counting_plan(folder, persons=True)
    assert caught(counting_audit(home, plan, name, rows=2 * ROWS_PER_PERSON))


@pytest.mark.parametrize("name", COUNTS)
def test_shares_by_the_plans_sites_are_caught(home, folder, monkeypatch, name):
    """A roster of three of four has two thirds of the noise then."""
    monkeypatch.setattr(queries, "answer_arrays", by_the_plans_sites(queries.answer_arrays))
    plan = counting_plan(folder, sites=FOUR_SITES, trust="secure-sum")
    audit = counting_audit(home, plan, name, roster=THREE)
    found = audit.run(TRIALS)
    assert found.bound > found.claim


@pytest.mark.parametrize("same", [False, True])
def test_one_seed_for_all_sites_is_caught(home, folder, monkeypatch, same):
    """The colluding site's noise is then everybody's; an honest sum loses nothing by that bet."""
    if same:
        monkeypatch.setattr(
            mu_audit,
            "_sources",
            lambda audit, seed: {
                site: NoiseSource.from_insecure_seed(seed) for site in audit.requests[0].roster
            },
        )
    plan = counting_plan(folder, sites=FOUR_SITES, trust="secure-sum")
    assert caught(counting_audit(home, plan, "one-way", same_seed=True)) is same


def test_an_evaluation_priced_as_one_histogram_is_caught(home, folder, monkeypatch):
    monkeypatch.setattr(evaluation, "repeated", lambda event, count: event)
    assert caught(counting_audit(home, counting_plan(folder), "evaluate"))


def test_an_evaluation_with_the_noise_of_one_histogram_is_caught(home, folder, monkeypatch):
    honest = queries.noisy_sum

    def of_one(total, *, noise_multiplier, **more):
        return honest(total, noise_multiplier=noise_multiplier / np.sqrt(2), **more)

    plan = counting_plan(folder)
    monkeypatch.setattr(queries, "noisy_sum", of_one)
    assert caught(counting_audit(home, plan, "evaluate"))


@pytest.mark.parametrize("trust", ["per-site", "secure-sum"])
def test_a_price_that_forgets_the_second_site_is_caught(home, folder, monkeypatch, trust):
    monkeypatch.setattr(statistic, "for_unit", lambda event_at, noise, privacy: event_at(noise))
    plan = counting_plan(folder, sites=FOUR_SITES, trust=trust, persons=True, overlap=2)
    rows = {"rows": ROWS_PER_PERSON, "at": ("east", "north")}
    assert caught(counting_audit(home, plan, "one-way", **rows))


def mixed(one: Records, other: Records) -> Records:
    return Records(
        features=np.concatenate([one.features, other.features]),
        classes=np.concatenate([one.classes, other.classes]),
    )


@pytest.mark.parametrize("leaky", [False, True])
@pytest.mark.parametrize("name", COUNTS)
def test_a_unit_of_the_other_part_gives_away_nothing(home, folder, monkeypatch, name, leaky):
    """The claim is 0: held-back units are in `evaluate` alone, all others in the rest.

    The twin counts both parts in every query.
    """
    plan = counting_plan(folder)
    held_back = name == "evaluate"
    hidden = neighbours(home, plan, held_back=not held_back)
    audit = counting_audit(home, plan, name)
    audit = dataclasses.replace(audit, claim=0.0, tables={"north": hidden}, towards=audit.tables)
    if leaky:
        honest = queries.answer_arrays

        def both(plan, asked, snapshot, *rest, **more):
            everybody = mixed(snapshot.training, snapshot.held_back)
            whole = dataclasses.replace(snapshot, training=everybody, held_back=everybody)
            return honest(plan, asked, whole, *rest, **more)

        monkeypatch.setattr(queries, "answer_arrays", both)
    assert caught(audit) is leaky
