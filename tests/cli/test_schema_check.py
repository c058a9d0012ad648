"""`schema check` of a plan, and of the records that a home's `site.toml` names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.federation import Federation, cli, make, table
from tests.stewards import init

PERSONS = 'unit = "person"\nid = "patient"\nrows_per_person = 2\n'


@pytest.fixture
def federation(tmp_path: Path) -> Federation:
    return make(tmp_path / "study")


def schema_of(federation: Federation) -> Path:
    return federation.folder / "schema.toml"


def plan_of(federation: Federation) -> Path:
    plan = federation.folder / "plan.json"
    done = cli("study", "check", federation.study, "--out", plan)
    assert done.code == 0, done.err
    return plan


def contents(home: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in home.rglob("*") if file.is_file()}


def foreign_home(folder: Path, *words: str) -> Path:
    """A home whose records are written with semicolons, as its site.toml says if `words` do."""
    data = folder / "records.csv"
    table(50).to_csv(data, index=False, sep=";")
    home = folder / "clinic"
    limits = ("--epsilon", "8", "--delta", "1e-3")
    done = cli("site", "init", "--home", home, "--name", "north", *limits, "--data", data, *words)
    assert done.code == 0, done.err
    return home


def test_a_plan_says_the_schema_that_it_holds(federation):
    data, plan = federation.data("north"), plan_of(federation)
    by_plan = cli("schema", "check", plan, data, "--json")
    by_schema = cli("schema", "check", schema_of(federation), data, "--json")
    assert (by_plan.code, by_schema.code) == (0, 0), by_plan.err
    assert by_plan.json == by_schema.json


def test_records_that_do_not_fit_a_plan_are_told(federation):
    frame = table(50)
    frame["sex"] = "unheard of"
    data = federation.folder / "other.csv"
    frame.to_csv(data, index=False)
    done = cli("schema", "check", plan_of(federation), data)
    assert done.code == 2 and "'sex'" in done.err


def test_the_ids_are_those_of_the_plan_and_of_no_other_column(federation):
    federation.edit("[privacy]\n", f"[privacy]\n{PERSONS}")
    plan, data = plan_of(federation), federation.data("north")
    lacking = cli("schema", "check", plan, data)
    assert lacking.code == 2 and "patient" in lacking.err
    table(50).assign(patient=[f"p{row // 2}" for row in range(50)]).to_csv(data, index=False)
    done = cli("schema", "check", plan, data, "--json")
    assert done.code == 0 and done.json["persons"]["persons"] == 25
    assert cli("schema", "check", plan, data, "--id", "patient").code == 0
    other = cli("schema", "check", plan, data, "--id", "age")
    assert other.code == 2 and "--id age" in other.err


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plan.json", "{}"),
        ("plan.json", "no JSON"),
        ("schema.txt", "neither"),
        ("schema.toml", '[study]\nname = "a study"\n'),
    ],
)
def test_a_file_that_is_neither_schema_nor_plan_is_refused_by_name(name, text, federation):
    path = federation.folder / "sent" / name
    path.parent.mkdir()
    path.write_text(text)
    done = cli("schema", "check", path, federation.data("north"))
    assert done.code == 2 and str(path) in done.err and "Traceback" not in done.err


def test_a_home_is_read_as_its_site_toml_says_and_left_as_it_is(federation, tmp_path):
    home = foreign_home(tmp_path, "--separator", ";")
    before = contents(home)
    done = cli("schema", "check", plan_of(federation), "--home", home, "--json")
    assert done.code == 0, done.err
    assert done.json["records"] == 50
    assert contents(home) == before


def test_a_home_that_does_not_say_how_its_records_are_written_is_told_to(federation, tmp_path):
    home = foreign_home(tmp_path)
    done = cli("schema", "check", schema_of(federation), "--home", home)
    assert done.code == 2 and "--separator" in done.err
    words = ("--home", home, "--separator", ";")
    assert cli("schema", "check", schema_of(federation), *words).code == 0


def test_a_home_whose_records_do_not_fit_is_told(federation, tmp_path):
    home = init(tmp_path, "north", rows=40)
    frame = table(40)
    frame["age"] = 1000
    frame.to_csv(tmp_path / "north-records.csv", index=False)
    done = cli("schema", "check", schema_of(federation), "--home", home)
    assert done.code == 2 and "'age'" in done.err


def test_the_ids_of_a_schema_alone_are_those_of_the_homes_policy(federation, tmp_path):
    home = init(tmp_path, "north", rows=40)
    config = home / "site.toml"
    config.write_text(config.read_text().replace("# id =", "id =").replace("# unit =", "unit ="))
    lacking = cli("schema", "check", schema_of(federation), "--home", home)
    assert lacking.code == 2 and "patient" in lacking.err
    records = table(40).assign(patient=[f"p{row // 4}" for row in range(40)])
    records.to_csv(tmp_path / "north-records.csv", index=False)
    done = cli("schema", "check", schema_of(federation), "--home", home, "--json")
    assert done.code == 0 and done.json["persons"]["persons"] == 10


def test_records_are_a_file_or_a_home_and_not_both_nor_neither(federation, tmp_path):
    home, schema = init(tmp_path, "north", rows=40), schema_of(federation)
    assert cli("schema", "check", schema).code == 2
    assert cli("schema", "check", schema, federation.data("north"), "--home", home).code == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    done = cli("schema", "check", schema, "--home", empty)
    assert done.code == 2 and "site.toml" in done.err


def test_what_an_approval_would_accept_is_said_before_it(federation, tmp_path):
    home, schema = init(tmp_path, "north", rows=200), schema_of(federation)
    records = tmp_path / "north-records.csv"
    frame = table(200)
    frame.loc[0, "age"] = 50
    frame.to_csv(records, index=False)
    asked = ("schema", "check", schema, "--home", home)
    assert cli(*asked).code == 2
    done = cli(*asked, "--clamp", "--json")
    assert done.code == 0 and done.json["accepted"] and not done.json["fits"]
    assert cli(*asked, "--clamp-column", "sex").code == 2
    frame["sex"] = "unheard of"
    frame.to_csv(records, index=False)
    never = cli(*asked, "--clamp", "--clamp-column", "sex", "--json")
    assert never.code == 2 and not never.json["accepted"]
