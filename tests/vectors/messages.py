"""Vectors of messages: requests that a coordinator signed, answers that a site signed."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

import msgspec
import numpy as np

from fedloom.common.message_bytes import VERSION
from fedloom.common.messages import (
    Answer,
    AnswerHeader,
    Finished,
    Prepared,
    Request,
    arrays_digest,
)
from fedloom.common.signed_heads import KnownHead, SeenHead, SignedHead
from fedloom.common.vocabulary import Query, Status
from fedloom.privacy.keys import PrivateKey, public_key_hex, sign
from fedloom.privacy.plan import Plan
from tests.vectors.actors import COORDINATOR, NONCE, RUN, SITES, STRANGER, Vector, bad, encoded
from tests.vectors.ledgers import chain, run_told
from tests.vectors.plans import plan_of


def signed_request(request: Request, key: PrivateKey = COORDINATOR) -> bytes:
    return dataclasses.replace(request, signature=sign(key, request.signed_bytes())).pack()


def round_request(plan: Plan, arrays: dict[str, np.ndarray[Any, Any]]) -> Request:
    asked = plan.rounds[0]
    return Request(
        query=asked.query,
        study=plan.study_digest,
        plan=plan.digest(),
        run=RUN,
        round=asked.round,
        params=asked.params,
        roster=tuple(sorted(plan.site_names)),
        arrays=arrays,
        masked=True,
        heads={name: promised(plan, name) for name in sorted(plan.site_names)},
        links={"north": ("e" * 64, "f" * 64)},
        nonce=NONCE,
    )


def promised(plan: Plan, site: str) -> SignedHead:
    """What a site signs when it promises its next answer."""
    head = SignedHead(lost=(9,), seq=3, hash="c" * 64, nonce="a" * 32, signature="")
    signature = sign(SITES[site], head.signed_bytes(plan.digest(), RUN))
    return msgspec.structs.replace(head, signature=signature)


def requests() -> Vector:
    plan = plan_of("trained over a secure sum, for persons")
    asked = round_request(plan, {})
    known = KnownHead(plan=plan.digest(), run=RUN, head=promised(plan, "north"))
    ends = dataclasses.replace(
        asked,
        query=Query.FINISH,
        round=0,
        params={},
        masked=False,
        heads={},
        links={},
        known={"north": known},
    )
    weights = {
        "b": np.array([[0.5, -1.5], [2.0**-20, 3e38]], dtype=np.float32),
        "a": np.arange(3, dtype=np.int32),
        "none": np.zeros((0, 4)),
    }
    again = dataclasses.replace(asked, arrays=weights, void=(asked.roster,))

    def vector(name: str, request: Request) -> Vector:
        return {
            "name": name,
            "version": VERSION,
            "coordinator_key": public_key_hex(COORDINATOR),
            "digest": request.digest(),
            "bytes": encoded(signed_request(request)),
        }

    whole = vector("a second attempt, with arrays", again)
    data = base64.b64decode(whole["bytes"])
    linked = dataclasses.replace(again, signature=sign(COORDINATOR, again.signed_bytes()))
    flipped = data[:-1] + bytes([data[-1] ^ 1])
    moved = dataclasses.replace(
        again, signature=sign(COORDINATOR, again.signed_bytes()), run="another"
    )
    old = data.replace(b'\\"version\\":%d' % VERSION, b'\\"version\\":%d' % (VERSION - 1))
    wrong = data.replace(b'\\"query\\":\\"statistic\\"', b'\\"query\\":\\"describe_\\"')
    assert old != data and wrong != data
    return {
        "good": [vector("a round", asked), vector("the end of a run", ends), whole],
        "bad": [
            bad(
                whole,
                "signed by a stranger",
                "signature",
                "unsigned",
                bytes=encoded(signed_request(again, STRANGER)),
            ),
            bad(
                whole, "moved to another run", "signature", "unsigned", bytes=encoded(moved.pack())
            ),
            bad(
                whole,
                "with other links",
                "signature",
                "unsigned",
                bytes=encoded(dataclasses.replace(linked, links={}).pack()),
            ),
            bad(whole, "an array was exchanged", "arrays", "malformed", bytes=encoded(flipped)),
            bad(whole, "of another version", "format", "malformed", bytes=encoded(old)),
            bad(
                whole, "a query that does not exist", "signature", "malformed", bytes=encoded(wrong)
            ),
            bad(whole, "cut short", "format", "malformed", bytes=encoded(data[:-4])),
        ],
    }


def answers() -> Vector:
    plan, key = plan_of("trained over a secure sum, for persons"), SITES["north"]
    request = round_request(plan, {})
    head = SeenHead(epoch=0, seq=3, hash="c" * 64)
    sums = {"sum": np.array([-(2**63), -1, 0, 2**63 - 1], dtype=np.int64)}

    def answer(arrays: dict[str, Any] | None = None, **parts: Any) -> Answer:
        arrays = arrays or {}
        values = {
            "site": "north",
            "status": Status.OK,
            "request_digest": request.digest(),
            "nonce": NONCE,
            "head": head,
            "arrays_digest": arrays_digest(arrays),
        }
        return Answer(header=AnswerHeader(**{**values, **parts}), arrays=arrays)

    def packed(made: Answer, by: PrivateKey = key) -> str:
        return encoded(dataclasses.replace(made, signature=sign(by, made.signed_bytes())).pack())

    def vector(name: str, made: Answer) -> Vector:
        return {
            "name": name,
            "version": VERSION,
            "site": "north",
            "site_key": public_key_hex(key),
            "nonce": NONCE,
            "request_digest": request.digest(),
            "status": made.header.status.value,
            "bytes": packed(made),
        }

    prepared = Prepared(
        plan_digest=plan.digest(),
        study_digest=plan.study_digest,
        schema_digest=plan.schema_digest,
        runs=1,
        versions={"fedloom": "0.1.0"},
        seen={"south": SeenHead(epoch=1, seq=7, hash="d" * 64)},
    )
    told = chain(key, run_told(plan, "north"))
    whole = vector("a masked sum", answer(sums))
    data = base64.b64decode(whole["bytes"])
    signature = sign(key, answer(sums).signed_bytes())
    raised = {"sum": sums["sum"] + np.array([0, 1, 0, 0])}
    forged = dataclasses.replace(answer(raised), signature=signature)
    return {
        "good": [
            vector("ready", answer(prepared=prepared, promise=promised(plan, "north"))),
            whole,
            vector("the end", answer(finished=Finished(plan_digest=plan.digest(), extract=told))),
            vector("a refusal", answer(status=Status.USED_UP, runs=1)),
        ],
        "bad": [
            bad(
                whole,
                "an array was exchanged",
                "arrays",
                "Rejected",
                bytes=encoded(data[:-1] + b"\x00"),
            ),
            bad(
                whole,
                "a sum that the site did not sign",
                "signature",
                "Rejected",
                bytes=encoded(forged.pack()),
            ),
            bad(
                whole,
                "signed by another site",
                "signature",
                "Rejected",
                bytes=packed(answer(sums), SITES["south"]),
            ),
            bad(
                whole,
                "of another site",
                "site",
                "Rejected",
                bytes=packed(answer(sums, site="south")),
            ),
            bad(
                whole,
                "to an earlier message",
                "nonce",
                "Rejected",
                bytes=packed(answer(sums, nonce="f" * 32)),
            ),
            bad(
                whole,
                "to another request",
                "request_digest",
                "Rejected",
                bytes=packed(answer(sums, request_digest="0" * 64)),
            ),
        ],
    }
