"""A filled column is of one kind: texts among texts, numbers among numbers."""

from __future__ import annotations

import pandas as pd

from fedloom.common.sampling.imputing import Imputation

DRAWN = {
    "age": pd.Series(pd.array([7, 8], dtype="Int64"), index=[1, 2]),
    "seen": pd.Series(pd.to_datetime(["2020-05-01 00:00", "2020-05-02 10:00"]), index=[1, 2]),
    "sex": pd.Series(["f", "m"], index=[1, 2]),
}


def filled(**columns: list[object]) -> pd.DataFrame:
    values = {name: DRAWN[name] for name in columns}
    frame = pd.DataFrame({name: pd.Series(c, dtype=object) for name, c in columns.items()})
    return Imputation(values=values, unused={}, left=0).apply(frame)


def test_a_column_of_texts_is_filled_with_texts() -> None:
    frame = filled(age=["39", None, None], seen=["2020-01-01", None, None], sex=["f", None, None])
    assert frame["age"].tolist() == ["39", "7", "8"]
    assert frame["seen"].tolist() == ["2020-01-01", "2020-05-01", "2020-05-02 10:00:00"]
    assert frame["sex"].tolist() == ["f", "f", "m"]


def test_a_column_of_numbers_or_of_nothing_is_filled_with_numbers() -> None:
    assert filled(age=[39, None, None])["age"].tolist() == [39, 7, 8]
    gaps = Imputation(
        values={"age": pd.Series(pd.array([5, 7, 8], dtype="Int64"))}, unused={}, left=0
    )
    assert gaps.apply(pd.DataFrame({"age": [None] * 3}))["age"].tolist() == [5, 7, 8]
