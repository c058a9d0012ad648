"""What only three columns say together: a `tree` finds it, a `mixture` is blind to it."""

from __future__ import annotations

import numpy as np
import pytest
from high_order import TABLES, TEST_ROWS, learned, made, run


@pytest.mark.slow
def test_a_tree_finds_a_parity_of_three_columns_to_which_a_mixture_is_blind():
    tree, mixture = (run("xor-3-of-10", model) for model in ("tree", "mixture"))
    assert tree["accuracy"] > 0.98
    assert abs(mixture["accuracy"] - 0.5) < 0.06


@pytest.mark.slow
def test_a_tree_keeps_a_decision_tree_of_depth_four():
    found = run("tree-4", "tree")
    assert found["accuracy"] > 0.83 and found["auc"] > 0.90


@pytest.mark.parametrize("table", list(TABLES))
def test_labels_follow_from_their_columns_and_from_no_single_one(table):
    records = made(table, TEST_ROWS, seed=1)
    label = records["label"] == "yes"
    if table != "tree-4":
        shares = [label[records["x0"] == value].mean() for value in records["x0"].unique()]
        assert np.ptp(shares) < 0.06
    assert learned(records[::2], records[1::2])["accuracy"] > 0.9
