"""Sentences of a release may be worded anew; numbers, flags and codes beside them may not."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from fedloom.common.errors import ReleaseError
from fedloom.privacy.keys import generate_key, public_key_hex
from fedloom.privacy.release.account import account_of
from fedloom.privacy.release.statement import make_statement
from fedloom.privacy.release.verify.stated import TEXT, compare
from tests.tampering import edit, failed, sign_again

TEXTS = ("README.md", "DATASHEET.md", "LICENSE", "codebook.md", "report.html")


def reworded(value: Any) -> Any:
    """Returns a statement of which each sentence says something else."""
    if isinstance(value, dict):
        return {
            key: f"In other words: {inner[::-1]}" if key == TEXT else reworded(inner)
            for key, inner in value.items()
        }
    return [reworded(inner) for inner in value] if isinstance(value, list) else value


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the path of every value that is no sentence."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            if key != TEXT:
                yield from leaves(inner, (*path, key))
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from leaves(inner, (*path, number))
    else:
        yield path


def other(value: Any) -> Any:
    """Returns another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value * 0.9 - 0.1
    return {"more": 1} if value == {} else ["more"] if value == [] else f"{value}?"


def test_a_release_whose_every_sentence_is_reworded_verifies(built, capsys):
    path = built.release / "dp_statement.json"
    before = path.read_text("utf-8")
    path.write_text(json.dumps(reworded(json.loads(before))), "utf-8")
    assert before.count(f'"{TEXT}"') > 20
    for name in TEXTS:
        (built.release / name).write_text("Said in quite other words.\n", "utf-8")
    sign_again(built.release, built.coordinator, title="Another title")
    assert failed(capsys, built.release, "--key", built.public_key) == set()


def test_one_number_beside_the_sentences_is_still_seen(built, capsys):
    def change(statement: dict[str, Any]) -> None:
        statement["held_back"]["chance"] = 0.5

    edit(built.release / "dp_statement.json", change)
    sign_again(built.release, built.coordinator)
    assert failed(capsys, built.release) == {"epsilon"}


@pytest.mark.parametrize("kind", ["per-site", "secure"])
def test_every_value_of_a_statement_that_is_no_sentence_is_compared(
    fake, site_keys, plan, tmp_path, kind
):
    if kind == "secure":
        site_keys = {name: generate_key(tmp_path / f"{name}.key") for name in fake.MORE_SITES}
        plan = fake.make_secure_plan({n: public_key_hex(key) for n, key in site_keys.items()})
    accounts = {
        name: account_of(fake.make_extract(key, plan, name), plan, fake.RUN, name)
        for name, key in site_keys.items()
    }
    computed = make_statement(plan, accounts)
    compare(reworded(computed), computed, "statement")
    paths = list(leaves(computed))
    assert len(paths) > 90
    for path in paths:
        stated = copy.deepcopy(computed)
        place: Any = stated
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = other(place[path[-1]])
        with pytest.raises(ReleaseError):
            compare(stated, computed, "statement")


def test_no_sentence_stands_under_another_key(plan, fake, site_keys):
    """A value of several words is a sentence: under another key it would be part of the format."""
    accounts = {
        name: account_of(fake.make_extract(key, plan, name), plan, fake.RUN, name)
        for name, key in site_keys.items()
    }
    statement = make_statement(plan, accounts)
    for path in leaves(statement):
        value: Any = statement
        for key in path:
            value = value[key]
        assert not (isinstance(value, str) and value.count(" ") > 1), path
