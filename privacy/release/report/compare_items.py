"""What a report compares of sets: how often each item occurs in synthetic rows and noisy counts."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from fedloom.common.marginals import NoisyMarginals
from fedloom.common.set_cells import read_sets
from fedloom.privacy.release.report.compare import Marginal

__all__ = ["SHOWN_ITEMS", "compare_items"]

SHOWN_ITEMS = 40
"""Items of a set that are shown, the commonest by their noisy counts."""


def compare_items(frame: pd.DataFrame, statistics: NoisyMarginals) -> list[Marginal]:
    """Compares the share of records that have each item of each set.

    Args:
      frame: synthetic rows, in the types of the schema.
      statistics: the noisy sums over sites.

    Returns:
      One a set, in the schema's order, its commonest items first. `distance` is the mean
      difference of a share over all items, `expected` its mean if noise and rows alone made it.
    """
    noisy, encoding, rows = statistics.items, statistics.encoding, max(len(frame), 1)
    if noisy is None:
        return []
    found, total = [], statistics.total()
    std = noisy.std / total
    for block in encoding.sets:
        column = encoding.schema.columns[block.index]
        items = read_sets(column, frame[block.name]).items
        synthetic = np.bincount(items[items >= 0], minlength=block.size) / rows
        counts = noisy.counts[block.start : block.start + block.size] / total
        spread = np.sqrt(std**2 + synthetic * (1.0 - synthetic) / rows)
        shown = np.argsort(-counts, kind="stable")[:SHOWN_ITEMS]
        found.append(
            Marginal(
                name=block.name,
                labels=tuple(block.values[item] for item in shown),
                ordered=0,
                synthetic=tuple(float(synthetic[item]) for item in shown),
                noisy=tuple(float(counts[item]) for item in shown),
                errors=(std,) * len(shown),
                distance=float(np.abs(synthetic - counts).mean()),
                expected=float(spread.mean()) * math.sqrt(2.0 / math.pi),
            )
        )
    return found
