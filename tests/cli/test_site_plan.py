"""What a steward reads before deciding: columns, label, ids, what is changed; and the warnings."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from fedloom.privacy.ledger import read_ledger
from tests.federation import SITES, Federation, Outcome, cli, make, table
from tests.stewards import init, keys_of

PERSONS = 'unit = "person"\nid = "patient"\nrows_per_person = 3\n'
HALF_KNOWN = """
[[column]]
name = "weight"
kind = "real"
bounds = "private"

[[column]]
name = "ward"
kind = "category"
values = "private"

[[column]]
name = "sex"
kind = "category"
values = ["female", "male"]
"""


@pytest.fixture
def homes(tmp_path: Path) -> dict[str, Path]:
    """Homes that would let a study go far beyond what is sensible."""
    return {name: init(tmp_path / "homes", name, epsilon=60.0, delta="0.5") for name in SITES}


@pytest.fixture
def study(tmp_path: Path, homes: dict[str, Path]) -> Federation:
    """A mixture with epsilon 8 and delta 1/1000; no site declares a size."""
    keys = {name: keys_of(home) for name, home in homes.items()}
    return make(tmp_path / "study", keys=keys)


def plan_words(study: Federation, home: Path, *more: str) -> str:
    done = cli("site", "plan", study.study, "--home", home, *more)
    assert done.code == 0, done.err
    return done.out


def of_persons(study: Federation) -> None:
    study.edit("delta = 1e-3\n", f"delta = 1e-3\n{PERSONS}")


def warned(out: str) -> list[str]:
    return [line for line in out.splitlines() if line.startswith("Warning: ")]


def everywhere(study: Federation, home: Path) -> list[list[str]]:
    """The warnings of all commands, for people and for machines; the last one approves."""
    site = ("--home", home)
    words: list[tuple[str | Path, ...]] = [
        ("study", "check", study.study),
        ("site", "plan", study.study, *site),
        ("site", "approve", study.study, *site, "--yes"),
    ]
    found = []
    for command in words:
        done = cli(*command, "--json")
        assert done.code == 0, done.err
        found.append(done.json["warnings"])
        if command[1] == "approve":
            assert cli("site", "revoke", study.study, *site).code == 0
        done = cli(*command)
        assert done.code == 0, done.err
        found.append([line.removeprefix("Warning: ") for line in warned(done.out)])
    return found


def test_every_column_is_named_with_its_kind_and_which_is_the_label(study, homes):
    out = plan_words(study, homes["north"])
    lines = [line.strip() for line in out.splitlines()]
    assert "age: integer, 0 to 9; may be missing" in lines
    assert "sex: category, 2 values" in lines
    assert "visited: category, 2 values; the label (target)" in lines
    assert "The label (target) is 'visited'" in out and "no id column" in out
    assert "Clamped: " in out and "Set aside: " in out
    assert "rows_per_person" not in out and "hold_back" not in out


def test_the_id_column_the_lot_and_the_held_back_are_named(study, homes):
    of_persons(study)
    study.edit("[model]", "[evaluation]\nshare = 0.2\nhold_back = 0.25\n[model]")
    out = plan_words(study, homes["north"])
    assert "The id column is 'patient'" in out and "no id column" not in out
    assert "3 rows at most are used (rows_per_person)" in out and "the lot decides" in out
    assert "About 0.25 of your persons" in out and "hold_back" in out


def test_a_table_without_numbers_has_nothing_to_clamp(study, homes):
    schema = study.folder / "schema.toml"
    schema.write_text(schema.read_text().split("\n\n", 1)[1])
    out = plan_words(study, homes["north"])
    assert "Clamped: " not in out and "Set aside: " in out and "age" not in out


def test_a_study_that_learns_the_schema_says_which_columns_it_counts(study, homes):
    (study.folder / "schema.toml").write_text(HALF_KNOWN)
    study.edit('kind = "mixture"\ncomponents = 8\n', 'kind = "schema"\n')
    study.edit('target = "visited"\n', "")
    lines = [line.strip() for line in plan_words(study, homes["north"]).splitlines()]
    assert "weight: real, bounds not known, learned by this study" in lines
    assert "ward: category, values not known, learned by this study" in lines
    assert "sex: category, 2 values; known, so not counted" in lines
    assert "It has no label (target)." in lines


def test_approve_says_the_same_before_it_asks(study, homes, monkeypatch):
    said = plan_words(study, homes["north"])
    monkeypatch.setattr(click, "confirm", lambda *_, **__: False)
    asked = cli("site", "approve", study.study, "--home", homes["north"])
    assert asked.code == 3 and asked.out.startswith(said)


def test_the_explanation_for_machines_holds_columns_and_ids(study, homes):
    of_persons(study)
    told = cli("site", "plan", study.study, "--home", homes["north"], "--json").json
    kinds = {column["name"]: column["kind"] for column in told["columns"]}
    assert kinds == {"age": "integer", "sex": "category", "visited": "category"}
    assert (told["target"], told["id"], told["rows_per_person"]) == ("visited", "patient", 3)
    assert told["fits"] is True and told["warnings"] == [] and told["hold_back"] is None
    assert told["plan_digest"] == cli("study", "check", study.study, "--json").json["plan_digest"]


def test_approve_for_machines_asks_nothing_so_it_wants_yes(study, homes):
    words = ("site", "approve", study.study, "--home", homes["north"], "--json")
    refused = cli(*words)
    assert refused.code == 2 and "--yes" in refused.json["error"]
    assert [entry.read().kind for entry in read_ledger(homes["north"]).entries] == ["genesis"]
    done = cli(*words, "--yes").json
    assert done["approved"] is True and done["table"]["fits"] is True
    assert read_ledger(homes["north"]).approval(done["plan_digest"]) is not None


def sized(study: Federation, north: int, south: int) -> None:
    for name, number in (("north", north), ("south", south)):
        study.edit(f'name = "{name}"\n', f'name = "{name}"\nrecords = {number}\n')


@pytest.mark.parametrize(
    ("old", "new", "sizes", "said"),
    [
        ("delta = 1e-3", "delta = 0.00101", None, ["above 1/1000"]),
        ("delta = 1e-3", "delta = 1e-3", (1001, 5000), ["1,001 records that site 'north'"]),
        ("delta = 1e-3", "delta = 1e-6", (10**7, 10**6 + 1), ["1,000,001 records that site 'sout"]),
        ("epsilon = 8.0", "epsilon = 10.01", None, ["is above 10"]),
        (
            "epsilon = 8.0\ndelta = 1e-3",
            "epsilon = 20.0\ndelta = 0.01",
            (200, 300),
            ["above 1/1000", "200 records", "is above 10"],
        ),
    ],
)
def test_a_price_that_protects_little_is_warned_of_everywhere(study, homes, old, new, sizes, said):
    study.edit(old, new)
    if sizes is not None:
        sized(study, *sizes)
    for warnings in everywhere(study, homes["north"]):
        assert len(warnings) == len(said)
        for line, words in zip(warnings, said, strict=True):
            assert words in line and "in [privacy] of the study" in line


def test_a_price_just_at_the_limits_is_not_warned_of(study, homes):
    """The twin: delta is 1/1000 and one over the smaller site, epsilon is 10."""
    study.edit("epsilon = 8.0", "epsilon = 10.0")
    sized(study, 1000, 5000)
    assert everywhere(study, homes["north"]) == [[]] * 6


def test_several_runs_are_warned_of_together(study, homes):
    words = ("site", "plan", study.study, "--home", homes["north"], "--json")
    assert cli(*words).json["warnings"] == []
    (line,) = cli(*words, "--runs", "3").json["warnings"]
    assert "for 3 runs together is above 10" in line and "fewer runs" in line


def test_a_site_of_persons_is_told_that_they_are_fewer_than_records(study, homes):
    sized(study, 2000, 5000)
    words = ("site", "plan", study.study, "--home", homes["north"], "--json")
    (of_rows,) = cli(*words).json["warnings"]
    of_persons(study)
    (of_people,) = cli(*words).json["warnings"]
    assert "one person may have many records" in of_people and "person" not in of_rows


def test_warnings_are_the_same_whatever_the_records_are(study, homes, tmp_path):
    """They are made from the plan alone: another table, or none, changes no word."""

    def told() -> Outcome:
        return cli("site", "plan", study.study, "--home", homes["north"], "--json")

    sized(study, 150, 5000)
    study.edit("delta = 1e-3", "delta = 0.01")
    before = told()
    data = tmp_path / "homes" / "north-records.csv"
    table(3).to_csv(data, index=False)
    assert told().out == before.out
    data.unlink()
    assert told().out == before.out and len(before.json["warnings"]) == 2
