"""What a tree's study asks: statistics, shares, sensitivities, all from public values."""

from __future__ import annotations

import math

import pytest

from fedloom.common.errors import StudyError
from fedloom.common.schema import Column, Schema
from fedloom.common.study import parse_study
from fedloom.privacy.plan import Plan
from fedloom.privacy.resolve import resolve_plan


def plan(
    columns: int,
    *,
    person: bool = False,
    target: str | None = "t",
    classes: int = 2,
    model: str = "tree",
    **statistics: object,
) -> Plan:
    parts = [Column(f"c{number}", "category", values=("a", "b")) for number in range(columns)]
    schema = Schema((*parts, Column("t", "category", values=tuple(map(str, range(classes))))))
    privacy = {"epsilon": 1.0, "delta": 1e-5, "trust": "per-site"}
    if person:
        privacy |= {"unit": "person", "id": "p", "rows_per_person": 3}
    raw = {
        "study": {"name": "s", "schema": "x", **({"target": target} if target else {})},
        "privacy": privacy,
        "model": {"kind": model},
        "statistics": statistics,
        "site": [{"name": "one"}],
    }
    return resolve_plan(parse_study(raw, schema), schema, version="0.1.0")


def test_columns_pairs_classes_triples_and_parities_share_the_budget():
    phases = plan(5).phases
    assert [(phase.name, phase.share) for phase in phases] == [
        ("columns", 0.16),
        ("pairwise", pytest.approx(0.54)),
        ("class-columns", 0.14),
        ("three-way", pytest.approx(0.14)),
        ("parities", pytest.approx(0.02)),
    ]
    sets = math.comb(5, 3) + math.comb(5, 4) + 1
    norms = [math.sqrt(number) for number in (6, math.comb(5, 2), 5, math.comb(5, 3), sets)]
    assert [phase.l2_norm for phase in phases] == pytest.approx(norms)
    # Shares are of 1 / variance in units of the sensitivity: one scale for all.
    scaled = [phase.share * phase.noise_multiplier**2 for phase in phases]
    assert scaled == pytest.approx([scaled[0]] * 5, rel=1e-4)


def test_a_persons_rows_add_up():
    one, person = plan(5), plan(5, person=True)
    for first, second in zip(one.phases, person.phases, strict=True):
        assert second.l2_norm == pytest.approx(3 * first.l2_norm)


@pytest.mark.parametrize(
    "columns, names",
    [
        (1, ["one-way"]),
        (2, ["columns", "pairwise", "class-columns"]),
        (3, ["columns", "pairwise", "class-columns", "three-way"]),
        (20, ["columns", "pairwise", "class-columns", "three-way", "parities"]),
        (21, ["columns", "pairwise", "class-columns", "parities"]),
        (64, ["columns", "pairwise", "class-columns"]),
    ],
)
def test_what_is_counted_follows_from_the_number_of_columns(columns, names):
    assert [phase.name for phase in plan(columns).phases] == names


def test_a_study_may_leave_triples_out_or_ask_for_them_in_a_wider_table():
    names = [phase.name for phase in plan(5, kind="pairwise", parity_share=0.0).phases]
    assert names == ["columns", "pairwise", "class-columns"]
    names = [phase.name for phase in plan(5, kind="pairwise", class_share=0.0).phases]
    assert names == ["columns", "pairwise", "parities"]
    assert plan(22, kind="three-way").phases[3].name == "three-way"
    assert plan(5, three_way_share=0.4).phases[3].share == pytest.approx(0.4)


@pytest.mark.parametrize("columns, share", [(5, 0.02), (14, 0.02), (20, 0.1), (40, 0.0494)])
def test_the_share_of_parities_follows_from_their_number(columns, share):
    assert plan(columns).phases[-1].share == pytest.approx(share, rel=1e-3)
    assert plan(columns, parity_share=0.05).phases[-1].share == pytest.approx(0.05)


@pytest.mark.parametrize(
    "columns, statistics",
    [
        (2, {"kind": "three-way"}),
        (5, {"kind": "one-way"}),
        (5, {"share": 0.5}),
        (5, {"one_way_share": 0.5, "three_way_share": 0.5}),
        (5, {"one_way_share": 0.5, "class_share": 0.4, "three_way_share": 0.1}),
        (5, {"one_way_share": 0.5, "parity_share": 0.5}),
        (64, {"parity_share": 0.1}),
        (3, {"parity_share": 0.1}),
    ],
)
def test_settings_that_do_not_fit_are_refused(columns, statistics):
    with pytest.raises(StudyError):
        plan(columns, **statistics)


def test_more_classes_ask_for_fewer_sets_and_hold_no_more_sums():
    phase = plan(22, classes=300).phases[-1]
    assert phase.name == "parities" and phase.max_cells == 300 * math.comb(22, 3)
    assert phase.l2_norm == pytest.approx(math.sqrt(math.comb(22, 3)))
    assert plan(22, classes=3000).phases[-1].name == "class-columns"
    with pytest.raises(StudyError, match="parity_share"):
        plan(22, classes=3000, parity_share=0.1)


def test_parities_that_do_not_fit_into_memory_are_left_out_or_refused():
    """1 MB is 25,000 numbers; 20 columns have 21,489 sets, 22 have 35,189."""
    assert plan(20, memory_mb=1).phases[-1].name == "parities"
    assert plan(22, memory_mb=1).phases[-1].name == "class-columns"
    with pytest.raises(StudyError, match="memory_mb"):
        plan(22, memory_mb=1, parity_share=0.1)


def test_without_a_target_there_are_no_classes_to_count_within():
    phases = plan(5, target=None).phases
    assert [phase.name for phase in phases] == ["columns", "pairwise", "three-way", "parities"]
    with pytest.raises(StudyError, match="class_share"):
        plan(5, target=None, class_share=0.1)


def test_a_mixture_has_no_columns_apart_from_its_look():
    with pytest.raises(StudyError, match="class_share"):
        plan(5, model="mixture", class_share=0.1)


def with_sets(columns: int, most: int, items: int = 30) -> Plan:
    """Returns the plan of a study with a set beside other columns."""
    numbers = [{"name": f"c{i}", "kind": "integer", "min": 0, "max": 9} for i in range(columns)]
    values = [f"i{i}" for i in range(items)]
    of_items = {"name": "s", "kind": "set", "values": values, "max_items": most}
    schema = Schema.from_dict({"column": [*numbers, of_items]})
    raw = {
        "study": {"name": "s", "schema": "x"},
        "privacy": {"epsilon": 1.0, "delta": 1e-5},
        "site": [{"name": "one"}],
    }
    return resolve_plan(parse_study(raw, schema), schema, version="0.1.0")


def test_items_are_counted_beside_columns_and_pairs_and_share_with_them_by_their_norms():
    phases = with_sets(4, 3).phases
    names = ["columns", "items", "pairwise", "item-pairs", "three-way", "parities"]
    assert [phase.name for phase in phases] == names
    norms = [math.sqrt(n) for n in (6, 3, math.comb(5, 2), 3 + 3 * 5 + 3)]
    assert [phase.l2_norm for phase in phases[:4]] == pytest.approx(norms)
    shares = [phase.share for phase in phases[:4]]
    assert shares[0] + shares[1] == pytest.approx(0.16)
    assert shares[0] / norms[0] == pytest.approx(shares[1] / norms[1])
    assert shares[2] / norms[2] == pytest.approx(shares[3] / norms[3])
    assert sum(phase.share for phase in phases) == pytest.approx(1.0)


def test_a_table_of_one_set_is_counted_too():
    phases = with_sets(0, 2).phases
    assert [phase.name for phase in phases] == ["one-way", "items", "item-pairs"]
    assert sum(phase.share for phase in phases) == pytest.approx(1.0)


@pytest.mark.parametrize("model", ["mixture", "vae"])
def test_models_that_know_no_sets_refuse_them(model):
    values = {"name": "s", "kind": "set", "values": ["a", "b"], "max_items": 2}
    schema = Schema.from_dict(
        {"column": [values, {"name": "n", "kind": "integer", "min": 0, "max": 3}]}
    )
    raw = {
        "study": {"name": "s", "schema": "x"},
        "privacy": {"epsilon": 1.0, "delta": 1e-5},
        "model": {"kind": model},
        "site": [{"name": "one"}],
    }
    with pytest.raises(StudyError):
        resolve_plan(parse_study(raw, schema), schema, version="0.1.0")
