"""Requests and answers as bytes: round trips, what the digest covers, hostile bytes."""

import dataclasses
import json

import numpy as np
import pytest
import safetensors.numpy

from fedloom.common.errors import ConfigError
from fedloom.common.message_bytes import VERSION
from fedloom.common.messages import (
    Answer,
    Request,
    arrays_digest,
    from_record,
    to_record,
)
from fedloom.common.signed_heads import SignedHead
from tests.made_answers import answer_header

ARRAYS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "empty": np.zeros((0, 4))}
REQUEST = Request(
    query="train",
    study="s" * 64,
    plan="p" * 64,
    run="r",
    round=3,
    params={"sample_rate": 0.1, "local_steps": 5},
    roster=("a", "b"),
    arrays=ARRAYS,
    nonce="n1",
)


def test_a_request_survives_its_bytes():
    again = Request.unpack(REQUEST.pack())
    assert again.digest() == REQUEST.digest()
    assert again.params == REQUEST.params and again.roster == REQUEST.roster
    assert arrays_digest(again.arrays) == arrays_digest(ARRAYS)
    assert again.pack() == REQUEST.pack()


@pytest.mark.parametrize(
    "change",
    [
        {"query": "gradient"},
        {"study": "x"},
        {"plan": "x"},
        {"run": "x"},
        {"round": 4},
        {"void": (("a", "b"),)},
        {"params": {"sample_rate": 0.2, "local_steps": 5}},
        {"roster": ("a",)},
        {"arrays": {"w": ARRAYS["w"] + 1, "empty": ARRAYS["empty"]}},
        {"arrays": {"v": ARRAYS["w"], "empty": ARRAYS["empty"]}},
        {"arrays": {"w": ARRAYS["w"].astype(np.float64), "empty": ARRAYS["empty"]}},
    ],
)
def test_the_digest_covers_all_that_the_answer_depends_on(change):
    assert dataclasses.replace(REQUEST, **change).digest() != REQUEST.digest()


def test_the_digest_covers_heads_of_ledgers_where_masks_are_made_for_it_and_nowhere_else():
    head = SignedHead(lost=(), seq=1, hash="a" * 64, nonce="b" * 32, signature="c")
    for masked in (False, True):
        bare = dataclasses.replace(REQUEST, masked=masked)
        shown = dataclasses.replace(bare, heads={"north": head})
        assert (shown.digest() != bare.digest()) == masked
        assert shown.signed_bytes() != bare.signed_bytes()
        linked = dataclasses.replace(shown, links={"north": ("d" * 64,)})
        assert linked.digest() == shown.digest() and linked.signed_bytes() != shown.signed_bytes()
        assert Request.unpack(linked.pack()).heads == linked.heads


@pytest.mark.parametrize("change", [{"nonce": "\ud800"}, {"params": {"a": "\ud800"}}])
def test_a_text_that_cannot_be_written_is_refused(change):
    plain = dataclasses.replace(REQUEST, arrays={})
    ledgers = {"heads": {}, "links": {}, "known": {}}
    header = {**plain._covered(), **ledgers, "version": VERSION, "nonce": "", "signature": ""}
    good = safetensors.numpy.save({}, metadata={"header": json.dumps(header)})
    assert Request.unpack(good).digest() == plain.digest()
    bad = safetensors.numpy.save({}, metadata={"header": json.dumps({**header, **change})})
    with pytest.raises(ConfigError, match="canonical"):
        Request.unpack(bad)


def test_an_answer_whose_arrays_were_exchanged_is_refused():
    header = answer_header("a", arrays_digest=arrays_digest(ARRAYS))
    assert Answer.unpack(Answer(header=header, arrays=ARRAYS).pack()).ok
    forged = Answer(header=header, arrays={**ARRAYS, "w": ARRAYS["w"] * 2})
    with pytest.raises(ConfigError):
        Answer.unpack(forged.pack())


def test_flower_carries_the_very_bytes():
    assert from_record(to_record(REQUEST.pack())) == REQUEST.pack()
