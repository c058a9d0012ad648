"""Verdicts say what noise and generator did, leaks are found, and the page is readable by all."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from fedloom.common.schema import Column, Schema
from fedloom.privacy.release.report.axis_labels import bin_labels
from fedloom.privacy.release.report.compare import compare_marginals
from fedloom.privacy.release.report.good_for import good_for
from fedloom.privacy.release.report.verdict_map import verdict_map
from fedloom.privacy.release.report.verdicts import column_verdicts, leaks, pair_verdicts
from tests.inferred import counted, drawn

ROWS = 6000


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return drawn(ROWS, np.random.default_rng(1))


def levels(frame: pd.DataFrame, synthetic: pd.DataFrame, std: float) -> dict[object, str]:
    statistics = counted(frame, "sick", stds=(std, std), rng=np.random.default_rng(2))
    found = column_verdicts(compare_marginals(synthetic, statistics), len(synthetic), statistics)
    found += pair_verdicts(synthetic, statistics)
    return {one.names: one.level for one in found}


def test_rows_drawn_from_the_records_with_little_noise_fit_everywhere(frame):
    again = frame.sample(ROWS, replace=True, random_state=7, ignore_index=True)
    assert set(levels(frame, again, 0.5).values()) == {"fits"}


def test_a_wrong_column_and_a_lost_relation_are_blurred(frame):
    wrong = frame.copy()
    wrong["group"] = "a"
    # Each column alone stays as it is; what sex has to do with age is gone.
    wrong["sex"] = np.random.default_rng(3).permutation(wrong["sex"])
    found = levels(frame, wrong, 0.5)
    assert found["group",] == "blurred" and found["sex",] == "fits"
    assert found["age", "sex"] == "blurred"


def test_noise_that_hides_all_drowns(frame):
    found = levels(frame, frame, 400.0)
    assert found["age",] == "drowned" and found["age", "score"] == "drowned"


def test_the_worst_come_first(frame):
    statistics = counted(frame, "sick", stds=(60.0, 60.0))
    found = pair_verdicts(frame, statistics)
    order = ["drowned", "blurred", "fits"]
    ranks = [order.index(one.level) for one in found]
    assert ranks == sorted(ranks) and len(set(ranks)) > 1


def leaking(frame: pd.DataFrame) -> tuple[Schema, pd.DataFrame]:
    schema = Schema(
        (
            Column("code", kind="category", values=("p", "q", "r")),
            Column("note", kind="category", values=("x", "y"), nullable=True),
            Column("sick", kind="category", values=("no", "yes")),
        )
    )
    rng = np.random.default_rng(4)
    code = np.where(frame["sick"] == "yes", "p", np.where(rng.random(ROWS) < 0.5, "q", "r"))
    note = pd.Series(np.where(rng.random(ROWS) < 0.3, "x", None), dtype=object)
    return schema, pd.DataFrame({"code": code, "note": note, "sick": frame["sick"]})


def test_a_column_that_tells_the_label_and_one_that_is_mostly_missing_are_named(frame):
    schema, told = leaking(frame)
    statistics = counted(told, "sick", schema=schema, stds=(5.0, 5.0))
    assert [leak.column for leak in leaks(statistics)] == ["code"]
    marginals = compare_marginals(told, statistics)
    flags = {one.names[0]: one.flags for one in column_verdicts(marginals, len(told), statistics)}
    assert "mostly missing" in flags["note"][0] and not flags["code"]
    page = str(good_for(told, statistics, marginals))
    assert "<b>code</b> tells the label" in page and "mostly missing" in page


def test_nothing_leaks_where_nothing_does(frame):
    assert leaks(counted(frame, "sick", stds=(5.0, 5.0))) == []
    assert leaks(counted(frame, None, stds=(5.0, 5.0))) == []


def test_a_rare_class_that_noise_hides_in_every_cell_is_not_told_by_a_column():
    rng = np.random.default_rng(5)
    schema = Schema(
        (
            Column("age", kind="integer", minimum=1, maximum=60),
            Column("sick", kind="category", values=("no", "yes")),
        )
    )
    sick = np.where(rng.random(ROWS) < 0.1, "yes", "no")
    frame = pd.DataFrame({"age": rng.integers(1, 61, ROWS), "sick": sick})
    statistics = counted(frame, "sick", schema=schema, stds=(10.0, 10.0))
    of_class = [statistics.one_way(label)[0] for label in range(2)]
    assert (of_class[0] > 40.0).sum() > 55 and (of_class[1] > 40.0).sum() < 5
    assert leaks(statistics) == []


def test_the_map_tells_levels_without_colours():
    names = ["a", "b", "c"]
    text = verdict_map(names, {("a", "a"): "fits", ("a", "b"): "blurred", ("c", "b"): "drowned"},
                       title="t")  # fmt: skip
    root = ElementTree.fromstring(text)
    marks = [mark.get("class") for mark in root.iter("circle")]
    assert sorted(marks) == ["mark-blurred"] * 2 + ["mark-drowned"] * 2
    assert 'class="verdict-unknown"' in text


def test_a_page_without_pairs_says_so(frame):
    statistics = counted(frame, None, stds=(2.0, 2.0), pairs=False)
    page = str(good_for(frame, statistics, compare_marginals(frame, statistics)))
    assert "No pairs were counted" in page and not re.search(r"style=", page)


@pytest.mark.parametrize(
    "labels, texts",
    [
        ([f"{k} to {k + 4}" for k in range(0, 100, 5)], ["0", "20", "40", "60", "80"]),
        ([str(k) for k in range(17, 91)], ["20", "40", "60", "80"]),
        (["0", "1", "2 to 9", "10 to 99", "100 to 999", "1000 to 9999"],
         ["0", "1", "10", "100", "1,000"]),
        (["2020-01-01 to 2020-01-31", "2020-02-01 to 2020-02-29"], ["2020-01-01", "2020-02-01"]),
    ],
)  # fmt: skip
def test_axes_bear_round_numbers(labels, texts):
    found = bin_labels(labels)
    assert [text for _, text in found] == texts
    places = [place for place, _ in found]
    assert places == sorted(places) and places[-1] <= len(labels)
