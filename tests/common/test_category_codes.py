"""A spelled text comes back, no text counts for more than the norm, and nothing else passes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.common.category_codes import (
    MAX_BYTES,
    NORM,
    CodeTable,
    decode_category,
    encode_category,
    tables,
)

TABLES = tables(64, 0)
texts = st.text(min_size=1, max_size=MAX_BYTES).map(str.strip).filter(str.isprintable)


def table_of(text: str) -> CodeTable:
    return next(table for table in TABLES if len(text.encode()) <= table.longest)


@settings(max_examples=300, deadline=None)
@given(texts.filter(lambda text: 1 <= len(text.encode()) <= MAX_BYTES))
def test_texts_come_back(text: str) -> None:
    table = table_of(text)
    bucket, symbols = encode_category(text, column="town", table=table)
    assert 0 <= bucket < table.buckets
    assert symbols.shape == (table.symbols,) and symbols.max() < 16
    assert decode_category(symbols, bucket=bucket, column="town", table=table) == text


def test_another_column_bucket_or_symbol_does_not_pass() -> None:
    table = table_of("north")
    bucket, symbols = encode_category("north", column="town", table=table)
    assert decode_category(symbols, bucket=bucket, column="city", table=table) is None
    assert decode_category(symbols, bucket=bucket ^ 1, column="town", table=table) is None
    for place in range(table.symbols):
        other = symbols.copy()
        other[place] ^= 1
        assert decode_category(other, bucket=bucket, column="town", table=table) is None


def test_random_symbols_do_not_pass() -> None:
    """A check of 16 bits and a bucket of 64: one of four million passes; 20,000 are drawn."""
    table, rng = TABLES[0], np.random.default_rng(20260101)
    for symbols in rng.integers(0, 16, (20_000, table.symbols)):
        assert decode_category(symbols, bucket=3, column="town", table=table) is None


@pytest.mark.parametrize("text", ["", " a", "a\x00b", "a\nb"])
def test_texts_that_are_not_spelled_are_not_read(text: str) -> None:
    table = table_of(text)
    bucket, symbols = encode_category(text, column="town", table=table)
    assert decode_category(symbols, bucket=bucket, column="town", table=table) is None


def test_no_table_is_louder_than_the_norm() -> None:
    for table in TABLES:
        assert NORM * 0.9 < table.weight * table.symbols**0.5 <= NORM


def test_tables_follow_one_another() -> None:
    for buckets in (64, 1024):
        made = tables(buckets, 2)
        assert made[0].start == 2 and made[-1].longest == MAX_BYTES
        for one, other in zip(made, made[1:], strict=False):
            assert other.start == one.start + one.size
            assert other.shortest == one.longest + 1
