"""What is kept of one person is a function of that person's rows and the key alone."""

from __future__ import annotations

from decimal import Decimal

import hypothesis.extra.numpy as hnp
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from fedloom.client.persons import kept_rows, person_ids

KEY = bytes(range(32))
TABLES = st.integers(0, 40).flatmap(
    lambda rows: st.tuples(
        st.lists(st.sampled_from(["a", "b", "c", "dd"]), min_size=rows, max_size=rows),
        hnp.arrays(np.int32, (rows, 2), elements=st.integers(0, 2)),
    )
)


def kept(ids, codes, cap, key=KEY, choose=kept_rows):
    """What is kept of each person, in the order in which it is kept."""
    ids = np.array(ids, dtype=object)
    rows, persons = choose(ids, (np.asarray(codes),), cap, key)
    assert np.array_equal(persons, np.sort(persons)) and len(set(rows)) == len(rows)
    names = [set(ids[rows[persons == person]]) for person in np.unique(persons)]
    assert all(len(name) == 1 for name in names)
    assert persons.size == 0 or list(np.unique(persons)) == list(range(persons[-1] + 1))
    return {
        str(ids[rows[persons == person]][0]): codes[rows[persons == person]].tolist()
        for person in np.unique(persons)
    }


def by_draw_over_the_table(ids, parts, cap, key):
    """The twin: one draw over all rows, so that a person's luck hangs on who else is there."""
    shuffled = np.random.default_rng(list(key)).permutation(len(ids))
    order = shuffled[np.argsort(ids[shuffled].astype(str), kind="stable")]
    _, persons = np.unique(ids[order].astype(str), return_inverse=True)
    place = np.arange(len(order)) - np.searchsorted(persons, persons)
    return order[place < cap], persons[place < cap]


def others_are_untouched(ids, codes, cap, choose):
    everybody = kept(ids, codes, cap, choose=choose)
    for name in set(ids):
        stay = np.array([other != name for other in ids], dtype=bool)
        fewer = kept(np.array(ids, dtype=object)[stay], codes[stay], cap, choose=choose)
        if fewer != {other: rows for other, rows in everybody.items() if other != name}:
            return False
    return True


@given(TABLES, st.integers(1, 6))
def test_adding_or_removing_a_person_changes_nothing_kept_of_others(table, cap):
    assert others_are_untouched(*table, cap, kept_rows)


def test_a_choice_over_the_whole_table_is_caught():
    """One fixed table of forty rows; the twin's choice for others changes with a person."""
    rng = np.random.default_rng(4)
    ids, codes = list(rng.choice(["a", "b", "c"], 40)), rng.integers(0, 9, (40, 2)).astype(np.int32)
    assert others_are_untouched(ids, codes, 2, kept_rows)
    assert not others_are_untouched(ids, codes, 2, by_draw_over_the_table)


@given(TABLES, st.integers(1, 6), st.randoms(use_true_random=False))
def test_the_order_of_the_table_has_no_part_in_it(table, cap, random):
    ids, codes = table
    shuffled = list(range(len(ids)))
    random.shuffle(shuffled)
    moved = kept([ids[i] for i in shuffled], codes[shuffled], cap)
    assert moved == kept(ids, codes, cap) and list(moved) == list(kept(ids, codes, cap))


@given(TABLES, st.integers(1, 6))
def test_no_person_has_more_rows_than_the_cap_nor_loses_any_below_it(table, cap):
    ids, codes = table
    result = kept(ids, codes, cap)
    assert set(result) == set(ids)
    assert all(len(rows) == min(cap, ids.count(name)) for name, rows in result.items())


def test_the_choice_is_uniform_over_a_persons_rows_also_over_equal_ones():
    """Chi-square at 0.001 over 4,000 fixed keys: false alarm once in 1000 choices of keys."""
    codes = np.array([[1], [1], [1], [2]], dtype=np.int32)
    drawn = [kept(["p"] * 4, codes, 1, key=b"%d" % number)["p"][0][0] for number in range(4000)]
    assert scipy.stats.chisquare(np.bincount(drawn)[1:], [3000, 1000]).pvalue > 1e-3


def test_rows_without_an_id_are_left_out():
    codes = np.arange(8, dtype=np.int32).reshape(4, 2)
    assert kept(["a", None, None, "b"], codes, 5) == {"a": [[0, 1]], "b": [[6, 7]]}
    rows, persons = kept_rows(np.array([None, None], dtype=object), (codes[:2],), 1, KEY)
    assert rows.shape == persons.shape == (0,)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(["7", " 7 ", None]),
        pd.Series([7, 7, None], dtype="Int64"),
        pd.Series([7.0, 7.0, np.nan]),
        pd.Series([Decimal("7"), 7, None], dtype=object),
        pd.Series(["7", "7", None], dtype="category"),
    ],
)
def test_an_id_is_its_text_whatever_its_type(column):
    assert person_ids(column).tolist() == ["7", "7", None]


def test_blank_text_is_nobodys_id():
    """A source may take no text for a missing value; blank ids would be one person of many rows."""
    column = pd.Series(["", " ", "\t\u00a0", "7", None], dtype=object)
    assert person_ids(column).tolist() == [None, None, None, "7", None]


def test_ids_that_are_written_differently_are_two_persons():
    assert person_ids(pd.Series(["7", "007"])).tolist() == ["7", "007"]
