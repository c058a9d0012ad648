"""Canonical JSON and digests."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom.common.digest import canonical_json, digest, file_sha256

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


def test_a_golden_value():
    assert canonical_json({"é": [1, 2.5, True]}) == '{"é":[1,2.5,true]}'.encode()
    assert digest({}) == hashlib.sha256(b"{}").hexdigest()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, b"bytes"])
def test_numbers_without_a_canonical_form_are_refused(value):
    with pytest.raises(ValueError):
        canonical_json([value])


def test_a_file_has_the_digest_of_its_bytes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 3_000_000)
    assert file_sha256(path) == hashlib.sha256(b"x" * 3_000_000).hexdigest()
