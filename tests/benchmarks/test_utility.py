import numpy as np
import pandas as pd
import pytest
from utility import utility

from fedloom.common.errors import DataError
from fedloom.common.schema import Column, Schema

ROWS = 600


@pytest.fixture
def schema():
    return Schema(
        (
            Column("x", "real", minimum=-5, maximum=5, nullable=True),
            Column("kind", "category", values=("a", "b", "c"), nullable=True),
            Column("y", "category", values=("no", "yes"), nullable=True),
            Column("many", "category", values=("0", "1", "2")),
            Column("z", "real", minimum=-10, maximum=10),
        )
    )


def table(seed, *, shuffled=False):
    rng = np.random.default_rng(seed)
    x, kind = rng.normal(size=ROWS), rng.integers(0, 3, ROWS)
    score = 2 * x + 2 * (kind == 1)
    noise = rng.normal(size=ROWS)
    frame = pd.DataFrame(
        {
            "x": np.where(rng.random(ROWS) < 0.1, np.nan, x),
            "kind": np.array(["a", "b", "c", None], dtype=object)[
                np.where(rng.random(ROWS) < 0.1, 3, kind)
            ],
            "y": np.where(score + noise > 0.5, "yes", "no").astype(object),
            "many": np.digitize(score + noise, [-1.0, 1.5]).astype(str),
            "z": score + noise,
        }
    )
    frame.loc[:20, "y"] = None
    if shuffled:
        for name in ("y", "many", "z"):
            frame[name] = rng.permutation(frame[name].to_numpy())
    return frame


@pytest.mark.parametrize("target", ["y", "many", "z"])
@pytest.mark.parametrize("shuffled", [False, True])
def test_scores_tell_a_table_with_signal_from_one_without(schema, target, shuffled):
    """With targets that are kept as they are: the other two would give the answer away."""
    columns = [c for c in schema.columns if c.name in ("x", "kind", target)]
    narrow = Schema(tuple(columns))
    result = utility(table(1, shuffled=shuffled), table(2), narrow, target)
    for area in (result.boosting, result.logistic):
        assert bool(area > 0.8) is not shuffled
        assert 0.0 <= area <= 1.0


def test_a_single_class_in_training_scores_as_chance(schema):
    train = table(1)
    train["y"] = "yes"
    assert utility(train, table(2), schema, "y").boosting == 0.5


def test_a_class_missing_from_training_scores_as_chance_for_that_class(schema):
    train = table(1)
    train = train[train["many"] != "2"]
    result = utility(train, table(2), schema, "many")
    assert 0.5 < result.boosting < 0.95


def test_columns_that_are_all_missing_in_training_do_no_harm(schema):
    train = table(1).assign(x=np.nan, kind=None)
    result = utility(train, table(2), schema, "many")
    assert 0.0 <= result.logistic <= 1.0


def test_a_test_table_with_one_class_is_refused(schema):
    test = table(2).assign(y="yes")
    with pytest.raises(DataError, match="fewer than two classes of 'y'"):
        utility(table(1), test, schema, "y")
