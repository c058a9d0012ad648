"""Vectors of ledger entries: chains of signed entries, as extracts publish them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from fedloom.common.digest import canonical_json, digest, sha256_hex
from fedloom.privacy.events import event_to_json
from fedloom.privacy.keys import PrivateKey, public_key_hex, sign
from fedloom.privacy.ledger.entries import FIRST_PREV, FORMAT, check_data
from fedloom.privacy.plan import Plan
from tests.vectors.actors import COORDINATOR, RUN, SITES, STRANGER, Vector, bad
from tests.vectors.plans import plan_of


def entry(key: PrivateKey, seq: int, prev: str, kind: str, data: dict[str, Any]) -> Vector:
    """One signed entry of a ledger, as a ledger makes it, but on a fixed day."""
    body = {"kind": kind, "day": "2026-11-28", "nonce": f"{seq:032x}", "data": data}
    links = {"seq": seq, "prev": prev, "body_sha256": sha256_hex(canonical_json(body))}
    chained = digest(links)
    signature = sign(key, b"fedloom ledger entry " + chained.encode())
    return {**links, "hash": chained, "signature": signature, "body": body}


def chain(key: PrivateKey, told: list[tuple[str, dict[str, Any]]]) -> list[Vector]:
    entries: list[Vector] = []
    for kind, data in told:
        check_data(kind, data)
        prev = entries[-1]["hash"] if entries else FIRST_PREV
        entries.append(entry(key, len(entries), prev, kind, data))
    return entries


def run_told(plan: Plan, site: str) -> list[tuple[str, dict[str, Any]]]:
    """What a ledger tells of a run that answered its first round."""
    of_run = {"plan": plan.digest(), "run": RUN}
    first = plan.rounds[0]
    attempt = {**of_run, "round": 1, "attempt": 1, "request_digest": "ab" * 32}
    return [
        (
            "genesis",
            {
                "format": FORMAT,
                "site": site,
                "public_key": public_key_hex(SITES[site]),
                "epsilon_limit": 4.0,
                "delta_limit": 1e-5,
                "renyi_order": 8.0,
                "rehearsal": False,
                "insecure_noise": False,
            },
        ),
        (
            "approve",
            {
                "study": plan.study_digest,
                "plan": plan.digest(),
                "name": plan.name,
                "unit": plan.privacy.unit.value,
                "id": plan.privacy.id,
                "coordinator": public_key_hex(COORDINATOR),
                "event": event_to_json(plan.event()),
                "runs": 1,
                "learned": [],
                "snapshot_commitment": "cd" * 32,
                "summary": {"epsilon": plan.stated_price.epsilon, "delta": plan.delta},
            },
        ),
        ("reserve", {**of_run, "event": event_to_json(plan.event())}),
        (
            "open",
            {
                **attempt,
                "query": first.query.value,
                "roster": sorted(plan.site_names),
                "void": [],
                "event": event_to_json(first.event),
            },
        ),
        ("commit", {**attempt, "answer_digest": "ef" * 32}),
        ("finish", {**of_run, "entries": [1, 2, 3, 4]}),
    ]


def keys_of(key: PrivateKey, name: str) -> dict[str, str]:
    """Public keys of a site; two of them are made up."""
    made_up = sha256_hex(name.encode())
    return {
        "key": public_key_hex(key),
        "exchange-key": made_up,
        "node-key": "02" + made_up + made_up[:32],
    }


def rotated(
    made: list[Vector],
    *,
    by: PrivateKey = SITES["east"],
    new: PrivateKey = SITES["north"],
    counter: PrivateKey = SITES["north"],
    **changes: Any,
) -> list[Vector]:
    """The entries, one that changes the keys of east, and one under the new key."""
    old = keys_of(SITES["east"], "old")
    said = {"site": "east", "ledger": made[0]["hash"], "old": old, "new": keys_of(new, "new")}
    said |= {name: value for name, value in changes.items() if name in said}
    seq, prev = len(made), made[-1]["hash"]
    covered = [said[name] for name in ("site", "ledger", "old", "new")]
    place = [changes.get("seq", seq), prev]
    data = canonical_json([*covered, *place])
    signature = sign(counter, b"fedloom rotation of a site's keys\n" + data)
    change = entry(by, seq, prev, "key-rotated", {**said, "countersignature": signature})
    return [*made, change, entry(new, seq + 1, change["hash"], "pause", {})]


def handed_on(whole: Vector) -> Vector:
    last = public_key_hex(SITES["north"])
    name = "keys that change, and an entry under the new one"
    return {**whole, "name": name, "last_key": last, "entries": rotated(whole["entries"])}


def not_handed_on(whole: Vector) -> list[Vector]:
    """Changes of keys that no reader may follow."""
    made = whole["entries"]
    north = public_key_hex(SITES["north"])
    hidden = copy.deepcopy(rotated(made))
    hidden[-2].pop("body")
    cases: list[tuple[str, str, list[Vector]]] = [
        ("the old key has not signed", "signature", rotated(made, by=SITES["north"])),
        ("the new key has not countersigned", "signature", rotated(made, counter=STRANGER)),
        ("countersigned for another place in the chain", "signature", rotated(made, seq=1)),
        ("of another ledger", "chain", rotated(made, ledger="ab" * 32)),
        ("from a key that is not in force", "chain", rotated(made, old=keys_of(STRANGER, "old"))),
        ("the change of keys left out", "signature", hidden),
    ]
    return [
        bad(whole, f"keys that change: {name}", code, "LedgerError", last_key=north, entries=found)
        for name, code, found in cases
    ]


def entries() -> Vector:
    plan, key = plan_of("counts at two sites"), SITES["east"]
    told = run_told(plan, "east")
    made = chain(key, told)
    known = public_key_hex(key)
    whole = {
        "name": "a run that answered once",
        "public_key": known,
        "last_key": known,
        "entries": made,
    }
    hidden = copy.deepcopy(made[:2])
    hidden[1].pop("body")
    good = [whole, {**whole, "name": "a body left out", "entries": hidden}]

    def changed(change: Callable[[list[Vector]], None]) -> list[Vector]:
        copied = copy.deepcopy(made)
        change(copied)
        return copied

    def lower(found: list[Vector]) -> None:
        found[1]["body"]["data"]["runs"] = 2

    return {
        "good": [*good, handed_on(whole)],
        "bad": [
            *not_handed_on(whole),
            bad(whole, "a body was changed", "digest", "LedgerError", entries=changed(lower)),
            bad(whole, "an entry is missing", "chain", "LedgerError", entries=made[:3] + made[4:]),
            bad(
                whole,
                "two entries change places",
                "chain",
                "LedgerError",
                entries=[*made[:3], made[4], made[3], made[5]],
            ),
            bad(
                whole,
                "signed by another key",
                "signature",
                "LedgerError",
                entries=chain(STRANGER, told),
            ),
            bad(
                whole,
                "an unknown field",
                "format",
                "LedgerError",
                entries=[{**made[0], "note": ""}, *made[1:]],
            ),
            bad(
                whole,
                "an answer that nobody opened, rightly signed",
                "rules",
                "LedgerError",
                entries=chain(key, [told[i] for i in (0, 1, 2, 4)]),
            ),
            bad(
                whole,
                "a run that nobody approved, rightly signed",
                "rules",
                "LedgerError",
                entries=chain(key, [told[0], told[2]]),
            ),
            bad(
                whole,
                "an entry of a kind that is unknown, rightly signed",
                "rules",
                "LedgerError",
                entries=[*made[:1], entry(key, 1, made[0]["hash"], "refund", {})],
            ),
        ],
    }
