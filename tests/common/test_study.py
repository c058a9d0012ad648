"""The study file: defaults, digest, and clear errors."""

import copy
import dataclasses

import pytest

from fedloom.common.errors import StudyError
from fedloom.common.study import load_study, parse_study

RAW = {
    "study": {"name": "toy", "schema": "schema.toml"},
    "privacy": {"epsilon": 1.0, "delta": 1e-5},
    "model": {"kind": "mixture"},
    "site": [{"name": "north"}, {"name": "south"}],
}
KEY = "ab" * 32


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


def test_the_short_form_is_complete(toy_schema):
    study = parse_study(RAW, toy_schema)
    assert (study.unit, study.trust, study.target) == ("record", "local", None)


def test_the_digest_depends_on_every_section_and_on_the_schema(toy_schema):
    base = parse_study(RAW, toy_schema).digest()
    variants = [
        changed(["study", "name"], "other"),
        changed(["privacy", "epsilon"], 2.0),
        changed(["model", "kind"], "vae"),
        changed(["site", 0, "records"], 10),
        changed(["site", 0, "key"], KEY),
        {**RAW, "release": {"rows": 10}},
        {**RAW, "training": {"num_rounds": 2}},
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
        (["privacy", "epsilon"], 0.0, "epsilon"),
        (["privacy", "epsilon"], "one", "epsilon"),
        (["privacy", "epsilon"], True, "epsilon"),
        (["privacy", "delta"], 1.0, "delta"),
        (["privacy", "unit"], "person", "not available yet"),
        (["privacy", "unit"], "house", "house"),
        (["privacy", "trust"], "secure-sum", "not available yet"),
        (["model", "kind"], "diffusion", "diffusion"),
        (["training"], {"exchange": "pigeons"}, "pigeons"),
        (["release"], {"rows": 0}, "rows"),
        (["site"], [], "site"),
        (["site", 0, "name"], "../north", "name"),
        (["site", 1, "name"], "north", "north"),
        (["site", 0, "key"], "123", "key"),
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
    assert parse_study({**RAW, "release": release}, toy_schema).release == release
    assert parse_study(changed(["site", 0, "records"], 10**12), toy_schema).sites[0].records


def test_two_sites_may_not_share_a_key(toy_schema):
    raw = changed(["site", 0, "key"], KEY)
    raw["site"][1]["key"] = KEY
    with pytest.raises(StudyError, match="same key"):
        parse_study(raw, toy_schema)


def test_keys_are_filled_in_but_never_replaced(toy_schema):
    study = parse_study(RAW, toy_schema).with_keys({"north": KEY})
    assert study.sites[0].key == KEY and study.sites[1].key is None
    with pytest.raises(StudyError, match="north"):
        study.with_keys({"north": "cd" * 32})


def test_a_file_that_is_missing_or_broken_is_named(tmp_path):
    with pytest.raises(StudyError, match="no such study"):
        load_study(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[study\n")
    with pytest.raises(StudyError, match=r"broken\.toml"):
        load_study(broken)


def test_a_study_is_a_value(toy_schema):
    study = parse_study(RAW, toy_schema)
    with pytest.raises(dataclasses.FrozenInstanceError):
        study.name = "other"
