"""An extract shows one plan, hides the others, and cannot be altered."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from fedloom.common.errors import ConfigError, LedgerError, RefusedError
from fedloom.common.messages import arrays_digest
from fedloom.privacy.events import gaussian, repeat
from fedloom.privacy.keys import generate_key, public_key_hex
from fedloom.privacy.ledger import read_ledger, verify_extract
from fedloom.privacy.ledger.entries import FORMAT, Entry, check_data
from tests.given import given

if TYPE_CHECKING:
    from pathlib import Path

    from tests.privacy.ledger.conftest import SmallHome

GENESIS: dict[str, Any] = {
    "format": FORMAT,
    "site": "seattle",
    "public_key": "a" * 64,
    "epsilon_limit": 3.0,
    "delta_limit": 1e-5,
    "renyi_order": 8.0,
    "rehearsal": False,
    "insecure_noise": False,
}


@pytest.fixture
def extract(small: SmallHome) -> list[dict[str, Any]]:
    """The extract of a run with two answers, in a ledger that has another study as well."""
    with small.open() as ledger:
        small.approve(ledger, "secret-plan", gaussian(50.0))
        small.reserve(ledger)
        ledger.reserve(plan="secret-plan", run="r", event=gaussian(50.0))
        small.answer(ledger, 1, answer=b"one")
        ledger.pause()
        ledger.resume()
        small.open_attempt(ledger, 2)
        small.answer(ledger, 2, attempt=2, answer=b"two")
        ledger.finish(small.plan, small.run)
        found = ledger.extract(small.plan, small.run)
    assert read_ledger(small.path).extract(small.plan, small.run) == found
    return json.loads(json.dumps(found))


def test_an_extract_says_what_was_reserved_and_answered(
    small: SmallHome, extract: list[dict[str, Any]]
) -> None:
    summary = verify_extract(extract, public_key_hex(small.key))
    run = summary.run(small.plan, small.run)
    assert run.reserved == repeat(small.step, 3)
    assert run.committed == (small.step, small.step)
    assert run.answers == (arrays_digest(given(b"one")), arrays_digest(given(b"two")))
    assert run.finished
    assert summary.head == read_ledger(small.path).head
    assert summary.plan == small.plan
    assert (summary.site, summary.rehearsal, summary.num_hidden) == ("seattle", False, 4)
    assert summary.grants[0].approval["snapshot_commitment"] == "salted"
    with pytest.raises(LedgerError, match="does not show"):
        summary.run("secret-plan", "r")


def test_other_studies_are_not_in_the_extract(
    small: SmallHome, extract: list[dict[str, Any]]
) -> None:
    assert "secret-plan" not in json.dumps(extract)
    assert "50.0" not in json.dumps(extract)
    with small.open() as ledger, pytest.raises(ConfigError, match="not in this ledger"):
        ledger.extract("plan-a", "no such run")


def entry(extract: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next(e for e in extract if e.get("body", {}).get("kind") == kind)


def hide_the_commit(extract: list[dict[str, Any]]) -> None:
    """As if it were an entry of another study; the chain and all rules still hold."""
    del entry(extract, "commit")["body"]


def hide_the_approval(extract: list[dict[str, Any]]) -> None:
    del entry(extract, "approve")["body"]


def hide_the_end(extract: list[dict[str, Any]]) -> None:
    del extract[-1]["body"]


def cut_the_end(extract: list[dict[str, Any]]) -> None:
    extract.pop()


def drop_a_commit(extract: list[dict[str, Any]]) -> None:
    extract.remove(entry(extract, "commit"))


def hide_an_open(extract: list[dict[str, Any]]) -> None:
    del entry(extract, "open")["body"]


def hide_the_reservation(extract: list[dict[str, Any]]) -> None:
    del entry(extract, "reserve")["body"]


def hide_the_genesis(extract: list[dict[str, Any]]) -> None:
    del extract[0]["body"]


def raise_the_noise(extract: list[dict[str, Any]]) -> None:
    entry(extract, "open")["body"]["data"]["event"]["noise_multiplier"] = 16.0


def call_it_no_rehearsal(extract: list[dict[str, Any]]) -> None:
    extract[0]["body"]["data"]["rehearsal"] = None


def reorder(extract: list[dict[str, Any]]) -> None:
    extract[2], extract[3] = extract[3], extract[2]


def forge_a_signature(extract: list[dict[str, Any]]) -> None:
    extract[-1]["signature"] = extract[-2]["signature"]


def start_later(extract: list[dict[str, Any]]) -> None:
    del extract[0]


def add_a_field(extract: list[dict[str, Any]]) -> None:
    extract[1]["note"] = "x"


def make_a_number_a_flag(extract: list[dict[str, Any]]) -> None:
    extract[1]["seq"] = True


def nest_deeply(extract: list[dict[str, Any]]) -> None:
    body: dict[str, Any] = {}
    for _ in range(100_000):
        body = {"a": body}
    extract[1]["body"] = body


def empty(extract: list[dict[str, Any]]) -> None:
    extract.clear()


@pytest.mark.parametrize(
    "tamper",
    [
        hide_the_commit,
        hide_the_approval,
        hide_the_end,
        cut_the_end,
        drop_a_commit,
        hide_an_open,
        hide_the_reservation,
        hide_the_genesis,
        raise_the_noise,
        call_it_no_rehearsal,
        reorder,
        forge_a_signature,
        start_later,
        add_a_field,
        make_a_number_a_flag,
        nest_deeply,
        empty,
    ],
)
def test_every_alteration_is_found(
    small: SmallHome,
    extract: list[dict[str, Any]],
    tamper: Callable[[list[dict[str, Any]]], None],
) -> None:
    altered = copy.deepcopy(extract)
    tamper(altered)
    with pytest.raises(LedgerError):
        verify_extract(altered, public_key_hex(small.key))
    verify_extract(extract, public_key_hex(small.key))


def test_an_extract_signed_by_another_key_is_refused(
    extract: list[dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(LedgerError, match="another key"):
        verify_extract(extract, public_key_hex(generate_key(tmp_path / "other.pem")))


def two_runs(small: SmallHome) -> list[dict[str, Any]]:
    with small.open() as ledger:
        for run in ("first", "second"):
            small.run = run
            if run == "second":
                small.approve(ledger, small.plan, repeat(small.step, 3))
            small.reserve(ledger)
            small.answer(ledger, 1)
            ledger.finish(small.plan, run)
        ledger.record_release(plan=small.plan, run="first", digest="ab")
        found = ledger.extract(small.plan, "second")
        assert ledger.extract(small.plan, "first") == found, "the last end shows all runs"
    return found


def test_no_other_run_of_the_plan_can_be_hidden(small: SmallHome) -> None:
    extract, key = two_runs(small), public_key_hex(small.key)
    assert [run.run for run in verify_extract(extract, key).runs] == ["first", "second"]
    hidden = []
    for value in extract:
        body, again = value["body"], value["seq"] > 1 and value["body"]["kind"] == "approve"
        if value["seq"] and (again or body["data"].get("run") == "first"):
            value = {name: value[name] for name in value if name != "body"}
        hidden.append(value)
    with pytest.raises(LedgerError, match="one of them was left out"):
        verify_extract(hidden, key)


def test_an_unfinished_run_has_no_extract(small: SmallHome) -> None:
    with small.open() as ledger:
        small.reserve(ledger)
        with pytest.raises(ConfigError, match="not finished"):
            ledger.extract(small.plan, small.run)


def test_an_extract_holds_days_and_no_time_of_day(extract: list[dict[str, Any]]) -> None:
    bodies = [value["body"] for value in extract if "body" in value]
    assert all(set(body) == {"kind", "day", "nonce", "data"} for body in bodies)
    assert all(date.fromisoformat(body["day"]).isoformat() == body["day"] for body in bodies)
    bodies[1]["day"] += "T12:00:00Z"
    with pytest.raises(LedgerError):
        Entry.from_dict(extract[1]).read()


def test_a_number_of_400_digits_is_refused_like_any_other() -> None:
    huge = 10**400
    with pytest.raises(RefusedError, match="unusable value under epsilon_limit"):
        check_data("genesis", {**GENESIS, "epsilon_limit": huge})
    event = {"class_name": "GaussianDpEvent", "noise_multiplier": huge}
    with pytest.raises(RefusedError, match="unusable value under event"):
        check_data("reserve", {"plan": "p", "run": "r", "event": event})
