from __future__ import annotations

import numpy as np
import pytest

from fedloom.common.messages import Answer, arrays_digest
from fedloom.common.signed_heads import SeenHead
from fedloom.privacy.keys import generate_key, public_key_hex, sign
from fedloom.server.admission import Rejected, admit, check_arrays
from tests.made_answers import answer_header


@pytest.fixture
def key(tmp_path):
    return generate_key(tmp_path / "key.pem")


def packed(key, **changes) -> bytes:
    arrays = {"sum": np.zeros(3)}
    own = {"nonce": "n", "request_digest": "d", "arrays_digest": arrays_digest(arrays)}
    header = answer_header(**{"site": "north", **own, **changes})
    unsigned = Answer(header=header, arrays=arrays)
    signature = sign(key, unsigned.signed_bytes())
    return Answer(header=header, arrays=arrays, signature=signature).pack()


def admitted(key, data, /, **changes):
    values = {"site": "north", "key": public_key_hex(key), "nonce": "n", "request_digest": "d"}
    return admit(data, **{**values, **changes})


def test_an_answer_of_the_site_to_this_message_is_admitted(key):
    answer = admitted(key, packed(key))
    assert answer.ok and answer.header.head == SeenHead(epoch=0, seq=3, hash="c" * 64)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"site": "south"}, "name"),
        ({"nonce": "yesterday"}, "earlier"),
        ({"request_digest": "other"}, "another request"),
        ({"arrays_digest": "0" * 64}, "signed"),
    ],
)
def test_what_the_answer_says_of_itself_must_hold(key, changes, reason):
    with pytest.raises(Rejected, match=reason):
        admitted(key, packed(key, **changes))


def test_the_signature_must_be_the_sites(key, tmp_path):
    stranger = generate_key(tmp_path / "stranger.pem")
    with pytest.raises(Rejected, match="signature"):
        admitted(key, packed(stranger))
    with pytest.raises(Rejected, match="signature"):
        admitted(key, packed(key), key=None)


@pytest.mark.parametrize("data", [b"", b"x", b"\x00" * 64])
def test_silence_and_noise_are_rejected(key, data):
    with pytest.raises(Rejected):
        admitted(key, data)


def test_one_changed_byte_is_rejected(key):
    data = packed(key)
    for position in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[position] ^= 1
        with pytest.raises(Rejected):
            admitted(key, bytes(damaged))


@pytest.mark.parametrize("head", [None, {}, {"seq": "3", "hash": "h"}, {"seq": True, "hash": "h"}])
def test_an_answer_names_the_head_of_its_ledger(key, head):
    with pytest.raises(Rejected, match="head"):
        admitted(key, packed(key, head=head))


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"other": np.zeros(3)},
        {"sum": np.zeros(3), "more": np.zeros(1)},
        {"sum": np.zeros(4)},
        {"sum": np.zeros((3, 1))},
        {"sum": np.zeros(3, dtype=np.float32)},
        {"sum": np.zeros(3, dtype=np.int64)},
        {"sum": np.array([0.0, np.nan, 0.0])},
        {"sum": np.array([0.0, np.inf, 0.0])},
        {"sum": np.array([0.0, -1e17, 0.0])},
    ],
)
def test_arrays_of_another_name_shape_type_or_beyond_reason_are_rejected(arrays):
    expected = {"sum": ((3,), "float64")}
    check_arrays({"sum": np.array([1e6, -3.5, 0.0])}, expected)
    with pytest.raises(Rejected):
        check_arrays(arrays, expected)
