"""Verification of ledger extracts through the command line: what is hidden or altered is seen."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fedloom.common.digest import canonical_json
from fedloom.privacy.keys import generate_key
from tests.tampering import failed, manifest_of, sign_again, verify


def test_another_run_of_the_plan_cannot_be_hidden(built, capsys, fake):
    """The site answered twice; the publisher shows the second run as if it were alone."""
    extract = fake.make_extract(
        built.keys["north"], built.plan, "north", runs=("another", fake.RUN)
    )
    for entry in extract["entries"][1:]:
        if entry["body"]["data"].get("run") == "another":
            del entry["body"]
    (built.release / "ledger" / "north.json").write_bytes(canonical_json(extract))
    last = extract["entries"][-1]
    ledgers = dict(manifest_of(built.release)["ledgers"])
    ledgers["north"] = {**ledgers["north"], "seq": last["seq"], "hash": last["hash"]}
    sign_again(built.release, built.coordinator, ledgers=ledgers)
    assert "ledger north" in failed(capsys, built.release)


def _cut_middle(entries: list[dict[str, Any]]) -> None:
    del entries[2]


def _cut_tail(entries: list[dict[str, Any]]) -> None:
    entries.pop()


def _alter(entries: list[dict[str, Any]]) -> None:
    entries[0]["body"]["data"]["epsilon_limit"] = 1.0


def _leave_out(entries: list[dict[str, Any]]) -> None:
    commit = next(e for e in entries if e["body"]["kind"] == "commit")
    del commit["body"]


def _other_signature(entries: list[dict[str, Any]]) -> None:
    entries[1]["signature"] = entries[0]["signature"]


def _empty(entries: list[dict[str, Any]]) -> None:
    entries.clear()


def _not_an_entry(entries: list[dict[str, Any]]) -> None:
    entries[1] = {}


@pytest.mark.parametrize(
    "change", [_cut_middle, _cut_tail, _alter, _leave_out, _other_signature, _empty, _not_an_entry]
)
@pytest.mark.parametrize("dishonest_publisher", [False, True])
def test_an_extract_with_an_entry_cut_or_altered_is_seen(
    built, capsys, change, dishonest_publisher
):
    path = built.release / "ledger" / "north.json"
    extract = json.loads(path.read_text("utf-8"))
    change(extract["entries"])
    path.write_bytes(canonical_json(extract))
    if dishonest_publisher:
        ledgers = dict(manifest_of(built.release)["ledgers"])
        last = extract["entries"][-1] if extract["entries"] else {"seq": 0, "hash": "0" * 64}
        ledgers["north"] = {**ledgers["north"], "seq": last["seq"], "hash": last["hash"]}
        sign_again(built.release, built.coordinator, ledgers=ledgers)
        assert failed(capsys, built.release) >= {"ledger north"}
    assert verify(built.release) == 4


def test_an_extract_signed_by_another_key_than_the_plan_names_is_seen(
    built, capsys, fake, tmp_path
):
    forged = fake.make_extract(generate_key(tmp_path / "forger.pem"), built.plan, "north")
    (built.release / "ledger" / "north.json").write_bytes(canonical_json(forged))
    sign_again(built.release, built.coordinator)
    assert failed(capsys, built.release) >= {"ledger north"}


def test_the_extract_of_another_run_is_seen(built, capsys, fake):
    other = fake.make_extract(built.keys["north"], built.plan, "north", runs=("another",))
    (built.release / "ledger" / "north.json").write_bytes(canonical_json(other))
    sign_again(built.release, built.coordinator)
    assert failed(capsys, built.release) >= {"ledger north"}


def test_a_site_cannot_be_left_out_of_the_manifest(built, capsys):
    ledgers = dict(manifest_of(built.release)["ledgers"])
    ledgers.pop("south")
    sign_again(built.release, built.coordinator, ledgers=ledgers)
    assert failed(capsys, built.release) >= {"ledgers", "epsilon"}


def test_a_head_that_the_ledger_does_not_have_is_seen(built, capsys):
    ledgers = dict(manifest_of(built.release)["ledgers"])
    ledgers["south"] = {**ledgers["south"], "hash": "0" * 64}
    sign_again(built.release, built.coordinator, ledgers=ledgers)
    assert failed(capsys, built.release) >= {"ledger south"}
