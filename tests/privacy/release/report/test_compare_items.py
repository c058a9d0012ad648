"""The report's comparison of items."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fedloom.common.column import Column
from fedloom.common.column_marginals import ColumnMarginals
from fedloom.common.encoding import Encoding
from fedloom.common.marginals import NoisyMarginals
from fedloom.common.schema import Schema
from fedloom.common.set_marginals import NoisyItems
from fedloom.privacy.release.report.compare_items import SHOWN_ITEMS, compare_items

VALUES = tuple(f"i{number}" for number in range(60))
ENCODING = Encoding(
    Schema(
        (
            Column("s", "set", values=VALUES, maximum=2),
            Column("x", "category", values=("0", "1")),
        )
    )
)


def statistics(counts: np.ndarray, std: float) -> NoisyMarginals:
    look = np.zeros(ColumnMarginals(ENCODING).length)
    look[0] = look[1] = look[-3] = 100.0
    items = NoisyItems(counts=counts, std=std)
    return NoisyMarginals(encoding=ENCODING, look=look, look_std=1e-9, by_class=False, items=items)


def test_the_commonest_items_come_first_and_the_distance_is_of_all():
    counts = np.arange(60.0)
    frame = pd.DataFrame({"s": ["i59", "i59|i0", None, "i1"], "x": "0"})
    (found,) = compare_items(frame, statistics(counts, 5.0))
    assert found.name == "s" and found.labels[:2] == ("i59", "i58")
    assert len(found.labels) == len(found.noisy) == len(found.errors) == SHOWN_ITEMS
    assert found.synthetic[0] == 0.5 and found.noisy[0] == pytest.approx(0.59)
    synthetic = np.zeros(60)
    synthetic[[0, 1, 59]] = 0.25, 0.25, 0.5
    assert found.distance == pytest.approx(np.abs(synthetic - counts / 100).mean())
    assert found.errors[0] == pytest.approx(0.05)


def test_without_items_there_is_nothing_to_compare():
    look = np.zeros(ColumnMarginals(ENCODING).length)
    plain = NoisyMarginals(encoding=ENCODING, look=look, look_std=1.0, by_class=False)
    assert compare_items(pd.DataFrame({"s": ["i1"], "x": "0"}), plain) == []
