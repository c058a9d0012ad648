import numpy as np
import pandas as pd
import pytest
from marginal_distance import absent_categories, as_text, marginals

from fedloom.common.errors import DataError
from fedloom.common.schema import Column, Schema


def test_equal_tables_have_distance_zero(toy_schema, toy_table):
    result = marginals(toy_table, toy_table.sample(frac=1, random_state=1), toy_schema)
    assert result.mean_one_way == 0.0 and result.mean_two_way == 0.0
    assert len(result.one_way) == 7 and len(result.two_way) == 21


def test_distances_are_those_counted_by_hand():
    schema = Schema(
        (Column("a", "category", values=("x", "y")), Column("b", "category", values=("0", "1")))
    )
    real = pd.DataFrame({"a": ["x", "x", "y", "y"], "b": ["0", "1", "0", "1"]})
    made = pd.DataFrame({"a": ["x", "x", "x", "y"], "b": [0, 1, 0, 1]})
    result = marginals(real, made, schema)
    assert result.one_way == {"a": pytest.approx(0.25), "b": 0.0}
    assert result.two_way["a", "b"] == pytest.approx(0.25)


def test_two_way_distance_sees_dependence_that_one_way_does_not(toy_schema, toy_table):
    rng = np.random.default_rng(20260101)
    shuffled = toy_table.apply(lambda column: rng.permutation(column.to_numpy()))
    result = marginals(toy_table, shuffled.astype(toy_table.dtypes.to_dict()), toy_schema)
    assert result.mean_one_way == pytest.approx(0.0, abs=1e-12)
    assert result.two_way["visits", "label"] > 0.1


def test_deciles_are_those_of_the_test_table_and_missing_is_a_category():
    schema = Schema((Column("a", "real", minimum=0, maximum=1000, nullable=True),))
    real = pd.DataFrame({"a": np.arange(1000.0)})
    lowest = pd.DataFrame({"a": np.full(10, 3.0)})
    nothing = pd.DataFrame({"a": np.full(10, np.nan)})
    assert marginals(real, lowest, schema).mean_one_way == pytest.approx(0.9, abs=1e-3)
    assert marginals(real, nothing, schema).mean_one_way == pytest.approx(1.0)
    assert marginals(nothing, lowest, schema).mean_one_way == pytest.approx(1.0)


def test_one_column_has_no_pairs():
    schema = Schema((Column("a", "category", values=("x", "y")),))
    frame = pd.DataFrame({"a": ["x", "y"]})
    assert marginals(frame, frame, schema).mean_two_way == 0.0


def test_an_empty_table_is_refused(toy_schema, toy_table):
    with pytest.raises(DataError, match="synthetic table is empty"):
        marginals(toy_table, toy_table.iloc[:0], toy_schema)


def test_categories_are_compared_whatever_their_type():
    assert as_text(pd.Series([1.0, None])).tolist() == as_text(pd.Series(["1", None])).tolist()
    assert as_text(pd.Series([1])).tolist() == as_text(pd.Series([" 1.0"])).tolist()


def test_absent_categories_are_named():
    schema = Schema((Column("a", "category", values=("0", "1", "2"), nullable=True),))
    real = pd.DataFrame({"a": ["0"] * 900 + ["1"] * 60 + [None] * 35 + ["2"] * 5})
    assert absent_categories(real, pd.DataFrame({"a": ["0"]}), schema) == [
        ("a", "1"),
        ("a", "missing"),
    ]
