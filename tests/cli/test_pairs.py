"""Any column that a schema may hold can be named on the command line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom.cli.options import column_value_pairs
from fedloom.common.errors import ConfigError
from fedloom.common.text import normal

NAMES = st.lists(st.text('ab="|. ', min_size=1, max_size=4), min_size=1, max_size=4, unique=True)


def split(*words: str, columns: list[str]) -> dict[str, str]:
    return column_value_pairs(words, columns, "--where", example="age=40..60")


def test_a_name_may_hold_equals_signs_bars_and_points() -> None:
    assert split("a.b=c|d=x,y", columns=["a.b", "a.b=c|d"]) == {"a.b=c|d": "x,y"}
    assert split('"a.b"=c|d=x,y', columns=["a.b", "a.b=c|d"]) == {"a.b": "c|d=x,y"}


@given(NAMES, st.text("xy,|. ", min_size=1, max_size=4))
def test_the_longest_name_of_the_schema_is_meant(columns: list[str], value: str) -> None:
    for name in columns:
        found = split(f"{name}={value}", columns=columns)
        assert found == {name: value}


def test_names_are_compared_in_one_normal_form() -> None:
    assert split("Gro\u0308ße=1", columns=[normal("Größe")]) == {normal("Größe"): "1"}


@pytest.mark.parametrize("words", [("age",), ("age=",), ("=1",), ("age=1", "age=2")])
def test_what_is_no_condition_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="--where age|--where ="):
        split(*words, columns=["age"])
