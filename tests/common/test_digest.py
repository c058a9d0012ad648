"""Canonical JSON and digests."""

import hashlib

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from fedloom.common.digest import canonical_json, canonically_equal, digest, file_sha256

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), plain))
def test_the_order_of_keys_does_not_matter(value):
    reordered = dict(reversed(list(value.items())))
    assert canonical_json(value) == canonical_json(reordered)


@given(st.dictionaries(st.text(), plain) | plain)
def test_the_bytes_are_those_of_the_library(value):
    assert canonical_json(value) == rfc8785.dumps(value)


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1.0},
        [-0.0, 1e16, 1e-7, 1e21, 0.1],
        {"\ue000": 1, "\U0001f600": 2},
        ['\u2028\x7f\x00\x1f"\\/'],
        [10**15, -(10**15), 2**53 - 1],
        {"e": "1e-5", "f": "ab1234567890123456789"},
        [True, None, "", [], {}],
    ],
)
def test_what_encoders_write_differently_is_written_as_the_library_does(value):
    assert canonical_json(value) == rfc8785.dumps(value)


def test_a_golden_value():
    assert canonical_json({"é": [1, 2.5, True]}) == '{"é":[1,2.5,true]}'.encode()
    assert digest({}) == hashlib.sha256(b"{}").hexdigest()


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 2**53, b"bytes", {(1, 2): 3}, "\ud800"]
)
def test_numbers_without_a_canonical_form_are_refused(value):
    with pytest.raises(ValueError):
        canonical_json([value])


def test_a_file_has_the_digest_of_its_bytes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 3_000_000)
    assert file_sha256(path) == hashlib.sha256(b"x" * 3_000_000).hexdigest()


@pytest.mark.parametrize(
    "one, other, equal",
    [
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1, "b": 2.5}, {"b": 2.5, "a": 1}, True),
        ([1], [True], False),
        ([1], ["1"], False),
        ([0.0], [-0.0], True),
        ((1, 2), [1, 2], True),
    ],
)
def test_values_are_equal_as_their_bytes_are(one, other, equal):
    assert (canonical_json(one) == canonical_json(other)) is equal
    assert canonically_equal(one, other) is equal


@pytest.mark.parametrize("value", [2**53, -(2**53), "\ud800"])
def test_equal_values_without_a_canonical_form_are_refused(value):
    with pytest.raises(ValueError):
        canonically_equal({"a": value}, {"a": value})
