"""What only three columns say together: a `tree` finds it, a `mixture` is blind to it."""

from __future__ import annotations

import numpy as np
import pytest
from high_order import TABLES, TARGET, TEST_ROWS, learned, made, run, schema_of, study_of

import fedloom


@pytest.mark.slow
def test_a_tree_finds_a_parity_of_three_columns_to_which_a_mixture_is_blind():
    tree, mixture = (run("xor-3-of-10", model) for model in ("tree", "mixture"))
    assert tree["accuracy"] > 0.98
    assert abs(mixture["accuracy"] - 0.5) < 0.06


@pytest.mark.slow
@pytest.mark.parametrize("table", ["xor-4-of-8", "xor-5-of-20"])
def test_a_tree_finds_parities_of_which_it_has_no_table(table):
    assert run(table, "tree")["follows"] > 0.95


@pytest.mark.slow
def test_a_parity_is_refitted_and_follows_a_condition(tmp_path):
    table, sites = "xor-4-of-8", ["one", "two", "three"]
    fitted, schema = made(table, 24_000, 5), schema_of(table)
    study = study_of("high-order", schema, TARGET, sites, epsilon=1.0, model={"kind": "tree"})
    tables = {site: fitted.iloc[number::3] for number, site in enumerate(sites)}
    done = fedloom.simulate(study, tables, schema=schema, out=tmp_path / "run", insecure_seed=5)
    drawn = done.sample(2_000, where={"x0": "1", "x1": "0"}, seed=1)
    odd = drawn[["x0", "x1", "x2", "x3"]].astype(int).sum(axis=1) % 2 == 1
    assert (odd == (drawn[TARGET] == "yes")).mean() > 0.97
    verified = fedloom.Release(done.release(tmp_path / "release")).verify(refit=True)
    assert {"refit"} <= {check.name for check in verified.checks if check.ok}


@pytest.mark.slow
def test_a_tree_keeps_a_decision_tree_of_depth_four():
    found = run("tree-4", "tree")
    assert found["accuracy"] > 0.83 and found["auc"] > 0.90


# Of wider tables boosting learns a parity from more records than these.
@pytest.mark.parametrize("table", [name for name in TABLES if TABLES[name][0] <= 14])
def test_labels_follow_from_their_columns_and_from_no_single_one(table):
    records = made(table, TEST_ROWS, seed=1)
    label = records["label"] == "yes"
    if not table.startswith("tree"):
        shares = [label[records["x0"] == value].mean() for value in records["x0"].unique()]
        assert np.ptp(shares) < 0.06
    assert learned(records[::2], records[1::2])["accuracy"] > 0.9
