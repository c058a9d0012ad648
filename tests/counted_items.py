"""All counts of a table with sets, with noise: what a tree's first two rounds give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fedloom.common.column_marginals import ColumnMarginals
from fedloom.common.encoding import Encoding
from fedloom.common.marginals import NoisyMarginals, TwoWayMarginals, groups_of_one
from fedloom.common.set_marginals import ItemCounts, ItemPairs, NoisyItemPairs, NoisyItems

__all__ = ["counted_items"]


def counted_items(
    encoding: Encoding, frame: pd.DataFrame, frequent: Any, *, std: float, rng: np.random.Generator
) -> NoisyMarginals:
    """Counts columns, pairs and items, each with noise of one standard deviation."""
    coded, groups = encoding.coded(frame), groups_of_one(encoding)

    def noisy(measured: Any) -> Any:
        exact = measured.sum(coded.features, coded.classes).astype(float)
        return exact + rng.normal(0.0, std, len(exact))

    pairs = ItemPairs(encoding, groups, frequent)
    return NoisyMarginals(
        encoding=encoding,
        look=noisy(ColumnMarginals(encoding)),
        look_std=std,
        groups=groups,
        pairs=noisy(TwoWayMarginals(encoding, groups)),
        pair_std=std,
        by_class=False,
        items=NoisyItems(
            counts=noisy(ItemCounts(encoding)),
            std=std,
            pairs=NoisyItemPairs(measured=pairs, sums=noisy(pairs), std=std),
        ),
    )
