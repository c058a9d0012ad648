"""What a condition allows: shares of cells, and draws that meet it exactly."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pandas as pd
import pytest

from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.sampling.conditions import any_value, conditions_of
from fedloom.common.schema import Column, Schema

SCHEMA = Schema(
    (
        Column("age", "integer", minimum=0, maximum=99, bins=10, special=(15, 120), nullable=True),
        Column("income", "real", minimum=0, maximum=100, special=(0,), bins=4),
        Column("day", "datetime", minimum="2020-01-01", maximum="2020-12-31", bins=12),
        Column(
            "time", "datetime", minimum="2020-01-01T00:00:00", maximum="2020-01-10T00:00:00", bins=9
        ),
        Column("town", "category", values=("a|b", "c", "1", "missing"), nullable=True, other="far"),
        Column("plain", "category", values=("x", "y")),
    )
)
ENCODING = Encoding(SCHEMA, "plain")


def allowed(name, wanted):
    return conditions_of({name: wanted}, ENCODING)[name]


def drawn(name, wanted, rows=4000):
    """Draws uniformly over all that a condition leaves of its cells."""
    rng = np.random.default_rng(20260101)
    given = allowed(name, wanted)
    cells = np.flatnonzero(given.shares)
    codes = rng.choice(cells, size=rows, p=given.shares[cells] / given.shares[cells].sum())
    return codes, given.draw(codes, rng), given


@pytest.mark.parametrize(
    "wanted, shares",
    [
        ("40..60", {4: 1.0, 5: 1.0, 6: 0.1}),
        ((40, 60), {4: 1.0, 5: 1.0, 6: 0.1}),
        ("10..19", {1: 1.0, 10: 1.0}),
        ("10 to 14", {1: 5 / 9}),
        ("15", {10: 1.0}),
        ("41|43|42..44", {4: 0.4}),
        ([41, "43", (42, 44)], {4: 0.4}),
        ("95..", {9: 0.5, 11: 1.0}),
        ("..4|missing", {0: 0.5, 12: 1.0}),
        ([None, (None, 4)], {0: 0.5, 12: 1.0}),
        (math.nan, {12: 1.0}),
        (pd.NA, {12: 1.0}),
        ("-50..500", {**dict.fromkeys(range(10), 1.0), 10: 1.0, 11: 1.0}),
    ],
)
def test_integers(wanted, shares):
    expected = np.zeros(14)
    expected[list(shares)] = list(shares.values())
    np.testing.assert_allclose(allowed("age", wanted).shares, expected)


@pytest.mark.parametrize("wanted", ["13..17|58..62|120", [(3, 4), 15, 99], "14..16"])
def test_drawn_integers_are_uniform_over_exactly_what_is_allowed(wanted):
    """All allowed values occur: of 12 values at 4,000 draws one stays away once in 10^100."""
    codes, values, _ = drawn("age", wanted)
    parts = {
        "13..17|58..62|120": {13, 14, 15, 16, 17, 58, 59, 60, 61, 62, 120},
        "14..16": {14, 15, 16},
    }
    expected = parts[wanted] if isinstance(wanted, str) else {3, 4, 15, 99}
    assert set(values) == expected
    assert ((values == 15) == (codes == 10)).all()
    ordinary = values[(codes < 10) & (codes == codes.min())]
    counts = np.unique(ordinary, return_counts=True)[1]
    assert abs(counts / counts.mean() - 1).max() < 5 / np.sqrt(counts.mean())


def test_reals_are_cut_within_bins():
    codes, values, given = drawn("income", "0|20..30")
    np.testing.assert_allclose(given.shares[:2], [0.2, 0.2])
    assert (((values >= 20) & (values <= 30)) | (values == 0)).all()
    assert ((values == 0) == (codes == 4)).all()
    inside = values[(codes == 0) & (values > 0)]
    assert inside.min() < 20.2 and inside.max() > 24.8
    assert (np.round(inside, 3) == inside).all(), "values are short decimals"


def test_a_single_real_number_is_met_exactly():
    _, values, given = drawn("income", [12.3456789, 80])
    assert set(values) == {12.3456789, 80.0} and given.shares[0] == given.shares[3] > 0
    assert set(drawn("income", 100)[1]) == {100.0}
    assert set(drawn("income", "100..500")[1]) == {100.0}


def test_times_and_days():
    _, days, _ = drawn("day", "2020-03-30..2020-04-02")
    assert set(days) == {18_351, 18_352, 18_353, 18_354}
    _, same, _ = drawn("day", dt.date(2020, 3, 30))
    assert set(same) == {18_351}
    start = 18_262 * 86_400
    _, times, _ = drawn("time", "2020-01-02")
    assert times.min() >= start + 86_400 and times.max() < start + 2 * 86_400
    _, times, _ = drawn("time", (pd.Timestamp("2020-01-02T12:00:00"), dt.date(2020, 1, 3)))
    assert times.min() >= start + 1.5 * 86_400 and times.max() < start + 3 * 86_400


@pytest.mark.parametrize(
    "wanted, cells",
    [
        ("a|b", [0]),
        ("c|1", [1, 2]),
        (1.0, [2]),
        (["c", "far"], [1, 5]),
        ("missing", [3]),
        ("(missing)", [4]),
        (None, [4]),
        ({"c", None}, [1, 4]),
    ],
)
def test_categories(wanted, cells):
    assert np.flatnonzero(allowed("town", wanted).shares).tolist() == cells


@pytest.mark.parametrize(
    "where, message",
    [
        ({"town": "d"}, "no value 'd' to sample; known: a|b, c, 1, missing, far"),
        ({"town": []}, "lists no value"),
        ({"plain": "missing"}, "'plain' is never missing"),
        ({"plain": "z"}, "no value 'z'"),
        ({"age": (1, 2, 3)}, "use a list for alternatives"),
        ({"age": "5..4"}, "ends before it begins"),
        ({"age": "100..119"}, "from 0 to 99, or 15, 120"),
        ({"age": 40.5}, "no value of 'age'"),
        ({"day": 5}, "is compared with times"),
        ({"time": "2020-01-01T00:00:00+01:00"}, "is compared with times"),
        ({"agee": 5}, "did you mean 'age'"),
    ],
)
def test_conditions_without_a_meaning_say_so(where, message):
    with pytest.raises(ConfigError, match=message.replace("|", r"\|").replace("(", r"\(")):
        conditions_of(where, ENCODING)


def test_any_value_is_all_that_may_be_synthesised():
    for index, block in enumerate(ENCODING.blocks):
        np.testing.assert_allclose(any_value(ENCODING, index).shares, block.sampleable)


def test_the_largest_allowed_number_up_to_a_bound():
    given = allowed("age", "13..17|58..62|120")
    bounds = np.array([12, 13, 15, 57.5, 60.5, 200])
    assert given.largest(bounds).tolist() == [-np.inf, 13, 15, 17, 60, 120]
