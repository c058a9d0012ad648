"""What the report says about held-back units: as much as the noise lets it say, and no more."""

from __future__ import annotations

from typing import Any

import pytest

from fedloom.privacy.release.report.held_back import held_back_view


def figures(
    *,
    auc: float = 0.9,
    std: float = 0.01,
    hidden: bool = False,
    distance: float = 0.05,
    records: float = 500.0,
) -> dict[str, Any]:
    runs = [{"synthetic": 0.1 * k, "held_back": 0.1 * k, "std": 0.02} for k in range(4)]
    return {
        "records": {"estimate": records, "std": 20.0},
        "questions": [
            {
                "asks_for": ["yes"],
                "against": ["no"],
                "held_back": {"auc": auc, "std": std, "hidden": hidden},
                "synthetic": {"auc": 0.9, "std": 0.002, "hidden": False},
                "accuracy": {"share": 0.8, "std": 0.01, "hidden": hidden},
                "calibration": runs,
            }
        ],
        "columns": [{"name": "age", "distance": distance, "expected": 0.05, "std": 0.01}],
    }


@pytest.mark.parametrize(
    "auc, hidden, words",
    [
        (0.89, False, "no difference that an error bar of 0.020 would show"),
        (0.80, False, "harder to tell apart"),
        (0.95, False, "easier to tell apart"),
        (0.50, True, "nothing can be said"),
    ],
)
def test_a_reading_claims_no_more_than_its_error_bar(auc, hidden, words):
    (question,) = held_back_view(figures(auc=auc, hidden=hidden))["questions"]
    assert words in question["reading"]
    assert question["words"] == "yes or no"
    assert (question["held_back"] == "hidden by the noise") is hidden
    assert (question["accuracy"] == "hidden by the noise") is hidden


@pytest.mark.parametrize("distance, apart", [(0.06, 0), (0.071, 1)])
def test_columns_differ_beyond_two_standard_deviations(distance, apart):
    view = held_back_view(figures(distance=distance))
    assert view["num_apart"] == apart
    assert ("differ" in view["columns"][0]["reading"]) is bool(apart)


def test_few_records_are_said_to_be_few():
    assert held_back_view(figures(records=60.0))["faint"]
    assert not held_back_view(figures())["faint"]


def test_many_classes_are_asked_one_by_one():
    value = figures()
    value["questions"] = [
        {**value["questions"][0], "asks_for": [name], "against": ["others", "more"]}
        for name in "abcdefgh"
    ]
    view = held_back_view(value)
    assert [question["words"] for question in view["questions"]][:2] == ["a or not", "b or not"]
    assert len(view["charts"]) == 6
    value["questions"][0].update(asks_for=["5 to 9", "10 to 14"], against=["0 to 4"])
    assert held_back_view(value)["questions"][0]["words"] == "5 to 9 and above or not"
