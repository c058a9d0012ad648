"""The study file: defaults, digest, and clear errors."""

import copy

import pytest

from fedloom.common.errors import StudyError
from fedloom.common.records.image import ImageSettings
from fedloom.common.schema import Column, Schema
from fedloom.common.study import ReleaseSettings, load_study, parse_study

RAW = {
    "study": {"name": "toy", "schema": "schema.toml"},
    "privacy": {"epsilon": 1.0, "delta": 1e-5},
    "model": {"kind": "mixture"},
    "site": [{"name": "north"}, {"name": "south"}],
}
KEY = "ab" * 32
OTHER_KEY = "cd" * 32


def changed(path, value):
    raw = copy.deepcopy(RAW)
    table = raw
    for key in path[:-1]:
        table = table[key]
    if value is None:
        del table[path[-1]]
    else:
        table[path[-1]] = value
    return raw


def test_the_coordinators_key_is_filled_in_once_and_never_replaced(toy_schema):
    study = parse_study(RAW, toy_schema)
    named = parse_study({**RAW, "coordinator": {"key": KEY}}, toy_schema)
    assert study.coordinator.key is None
    assert study.with_coordinator(KEY).digest() == named.with_coordinator(KEY).digest()
    with pytest.raises(StudyError, match=r"\[coordinator\] key"):
        named.with_coordinator(OTHER_KEY)


def test_the_short_form_is_complete(toy_schema):
    study = parse_study(RAW, toy_schema)
    assert (study.privacy.unit, study.privacy.trust, study.target) == ("record", "per-site", None)


def test_a_study_without_a_model_gets_the_usual_one_of_its_records(toy_schema):
    without = {name: value for name, value in RAW.items() if name != "model"}
    assert parse_study(without, toy_schema).model.kind == "tree"
    assert parse_study({**RAW, "model": {"max_clique": 500}}, toy_schema).model.max_clique == 500
    column = {"name": "x", "kind": "integer", "bounds": "private"}
    assert parse_study(without, Schema.from_dict({"column": [column]})).model.kind == "schema"
    images = Schema(
        (Column("label", "category", values=("a", "b")),), records=ImageSettings(height=8, width=8)
    )
    assert parse_study(without, images).model.kind == "image-mixture"


def test_the_digest_depends_on_every_section_and_on_the_schema(toy_schema):
    base = parse_study(RAW, toy_schema).digest()
    variants = [
        changed(["study", "name"], "other"),
        changed(["privacy", "epsilon"], 2.0),
        changed(["model", "kind"], "vae"),
        changed(["site", 0, "records"], 10),
        changed(["site", 0, "key"], KEY),
        {**RAW, "coordinator": {"key": KEY}},
        {**RAW, "release": {"rows": 10}},
        {**RAW, "coordination": {"timeout_s": 2.0}},
    ]
    digests = [parse_study(raw, toy_schema).digest() for raw in variants]
    assert len({base, *digests}) == len(digests) + 1
    assert parse_study(copy.deepcopy(RAW), toy_schema).digest() == base


@pytest.mark.parametrize(
    "path, value, word",
    [
        (["study", "name"], None, "name"),
        (["study", "target"], "nothing", "nothing"),
        (["study", "colour"], "red", "colour"),
        (["coordinator"], {"key": "ab"}, "coordinator"),
        (["coordinator"], {"name": "me"}, "name"),
        (["privacy", "epsilon"], 0.0, "epsilon"),
        (["privacy", "epsilon"], "one", "epsilon"),
        (["privacy", "epsilon"], True, "epsilon"),
        (["privacy", "delta"], 1.0, "delta"),
        (["privacy", "unit"], "person", "id"),
        (["privacy", "id"], "number", "unit = .person"),
        (["privacy", "overlap"], 2, "unit = .person"),
        (["privacy", "unit"], "house", "house"),
        (["privacy", "trust"], "secure-sum", "3 sites or more"),
        (["privacy", "trust"], "hope", "hope"),
        (["privacy", "colluding"], 1, "secure-sum"),
        (["model", "kind"], "diffusion", "diffusion"),
        (["training"], {"exchange": "weights"}, "training"),
        (["evaluation"], {"share": 1.0}, "share"),
        (["statistics"], {"kind": "triples"}, "triples"),
        (["release"], {"rows": 0}, "rows"),
        (["site"], [], "site"),
        (["site", 0, "name"], "../north", "name"),
        (["site", 1, "name"], "north", "north"),
        (["site", 0, "key"], "123", "key"),
        (["site", 0, "exchange-key"], "123", "exchange-key"),
        (["site", 0, "records"], 0, "records"),
        (["site", 0, "records"], 10**12 + 1, "records"),
        (["study", "name"], "toy\n# (0.01, 1e-09)-DP", "name"),
        (["study", "name"], "n" * 201, "name"),
        (["release"], {"title": "two\nlines"}, "title"),
        (["release"], {"title": "t" * 201}, "title"),
        (["release"], {"title": 7}, "title"),
        (["release"], {"licence": "CC0\x1b[2J"}, "licence"),
        (["release"], {"contact": "right to left \u202e"}, "contact"),
        (["release"], {"contact": ["a"]}, "contact"),
        (["extra"], {}, "extra"),
    ],
)
def test_what_cannot_be_used_is_named(toy_schema, path, value, word):
    with pytest.raises(StudyError, match=word):
        parse_study(changed(path, value), toy_schema, where="toy.toml")


def test_texts_of_two_hundred_characters_and_any_script_are_fine(toy_schema):
    release = {"title": "Übersicht 概要 " + "t" * 187, "licence": "CC0-1.0", "contact": "a@b.org"}
    assert parse_study({**RAW, "release": release}, toy_schema).release == ReleaseSettings(
        **release
    )
    assert parse_study(changed(["site", 0, "records"], 10**12), toy_schema).sites[0].records


def test_two_sites_may_not_share_a_key(toy_schema):
    raw = changed(["site", 0, "key"], KEY)
    raw["site"][1]["key"] = KEY
    with pytest.raises(StudyError, match="same key"):
        parse_study(raw, toy_schema)


def test_keys_are_filled_in_but_never_replaced(toy_schema):
    study = parse_study(RAW, toy_schema).with_keys({"north": (KEY, OTHER_KEY)})
    assert (study.sites[0].key, study.sites[0].exchange_key) == (KEY, OTHER_KEY)
    assert study.sites[1].key is None
    for keys in ((OTHER_KEY, OTHER_KEY), (KEY, KEY)):
        with pytest.raises(StudyError, match="north"):
            study.with_keys({"north": keys})


def test_trust_follows_the_number_of_sites(toy_schema):
    two = parse_study(RAW, toy_schema)
    assert (two.privacy.trust, two.privacy.colluding) == ("per-site", 0)
    three = parse_study({**RAW, "site": [{"name": name} for name in "abc"]}, toy_schema)
    assert (three.privacy.trust, three.privacy.colluding) == ("secure-sum", 1)


def test_at_least_two_sites_must_be_honest(toy_schema):
    raw = {**changed(["privacy", "colluding"], 2), "site": [{"name": name} for name in "abcd"]}
    assert parse_study(raw, toy_schema).privacy.colluding == 2
    raw["privacy"]["colluding"] = 3
    with pytest.raises(StudyError, match="at most 2 may collude"):
        parse_study(raw, toy_schema)


def test_a_person_needs_an_id_that_is_no_column_of_the_schema_and_a_cap(toy_schema):
    raw = changed(["privacy", "unit"], "person")
    raw["privacy"] |= {"id": "number", "rows_per_person": 3, "overlap": 2}
    study = parse_study(raw, toy_schema)
    assert (
        study.privacy.unit,
        study.privacy.id,
        study.privacy.rows_per_person,
        study.privacy.overlap,
    ) == (
        "person",
        "number",
        3,
        2,
    )
    for key, value, words in (
        ("id", toy_schema.names[0], "never synthesised"),
        ("rows_per_person", None, "needs rows_per_person"),
        ("rows_per_person", 0, "rows_per_person"),
        ("overlap", 3, "overlap"),
    ):
        changes = copy.deepcopy(raw)
        changes["privacy"].pop(key)
        if value is not None:
            changes["privacy"][key] = value
        with pytest.raises(StudyError, match=words):
            parse_study(changes, toy_schema)


def test_a_secure_sum_never_shows_the_weights_of_one_site(toy_schema):
    raw = {**changed(["model", "kind"], "vae"), "training": {"exchange": "weights"}}
    raw["site"] = [{"name": name} for name in "abc"]
    with pytest.raises(StudyError, match="each site's own"):
        parse_study(raw, toy_schema)


def test_a_file_that_is_missing_or_broken_is_named(tmp_path):
    with pytest.raises(StudyError, match="No such file"):
        load_study(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[study\n")
    with pytest.raises(StudyError, match=r"broken\.toml"):
        load_study(broken)


def test_what_sites_send_is_a_word_that_is_known(toy_schema):
    raw = {**changed(["model", "kind"], "vae"), "training": {"exchange": "pigeons"}}
    with pytest.raises(StudyError, match="pigeons"):
        parse_study(raw, toy_schema)


def test_a_study_is_a_value(toy_schema):
    study = parse_study(RAW, toy_schema)
    with pytest.raises(AttributeError):
        study.name = "other"
