"""Which cells pairs are counted on: chosen from the noisy look alone, never from a record.

Neighbouring bins are joined until each group holds roughly the same noisy mass, and rare
categories until they have some (under a hierarchy node by node: `fedloom.server.code_groups`), so
that a cell of a table of pairs can be expected to stand out
from the noise that is to come, and all tables together stay below a limit. It is deterministic
post-processing of the look; a record adds the same to the pairs whatever comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.encoding import Block
from fedloom.common.marginals import NoisyMarginals, group_sizes, wanted_groups
from fedloom.privacy.answers.opened import OpenedRound, spread_of
from fedloom.privacy.answers.opened_marginals import noisy_statistics
from fedloom.privacy.phases import StatisticPhase
from fedloom.privacy.plan import Plan, RoundQuery
from fedloom.server.code_groups import code_groups
from fedloom.server.learners.class_marginals import class_prior, log_marginals

__all__ = ["Design", "merge_cells", "pair_design"]

Array = NDArray[Any]

_SHRINK = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """How the next statistic is asked.

    Attributes:
      arrays: of the request.
      told: what people may want to know of it, JSON-able; it joins the run's state.
    """

    arrays: dict[str, Array] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)


def pair_design(plan: Plan, asked: RoundQuery, opened: Sequence[OpenedRound]) -> Design:
    """Designs the statistics of a model of tables: the look as it is, pairs on groups of cells.

    Args:
      plan: that is carried out.
      asked: the round to ask.
      opened: the statistics rounds before it.
    """
    if not opened:
        return Design()
    assert isinstance(asked.phase, StatisticPhase)
    groups = merge_cells(
        noisy_statistics(plan, opened),
        pair_std=asked.phase.noise_std * spread_of(plan, len(opened[0].sites)),
        most_cells=asked.phase.max_cells,
    )
    sizes = group_sizes(plan.encoding, groups)
    counted = {
        block.name: [block.size, size]
        for block, size in zip(plan.encoding.features, sizes, strict=True)
    }
    return Design(arrays={"groups": groups}, told={"groups": counted})


def merge_cells(
    statistics: NoisyMarginals, *, pair_std: float, most_cells: int
) -> NDArray[np.int32]:
    """Returns the group of each cell within its block, (D,).

    Args:
      statistics: the look.
      pair_std: standard deviation of the noise that each count of a pair will bear.
      most_cells: how many cells all tables of all classes may have together; one group a column
        is the coarsest there is, whatever the limit.
    """
    encoding = statistics.encoding
    shares = class_prior(statistics) @ np.exp(log_marginals(statistics))
    wanted = wanted_groups(statistics.total(), pair_std)
    while True:
        parts = [
            _groups(block, shares[block.start : block.start + block.size], wanted)
            for block in encoding.features
        ]
        sizes = [int(part.max()) + 1 for part in parts]
        pairs = (sum(sizes) ** 2 - sum(size**2 for size in sizes)) // 2
        if encoding.num_classes * pairs <= most_cells or wanted <= 1.0:
            return np.concatenate(parts)
        wanted = max(wanted * _SHRINK, 1.0)


def _groups(block: Block, shares: Array, wanted: float) -> NDArray[np.int32]:
    """Returns the groups of one block, each with a share of about 1 / wanted or more."""
    if wanted <= 1.0:
        return np.zeros(block.size, dtype=np.int32)
    least = 1.0 / wanted
    if block.levels:
        return code_groups(block, shares, least=least / 2, most=max(int(2 * wanted), 1))
    bins = block.num_bins if block.ordered else 0
    groups = np.zeros(block.size, dtype=np.int32)
    if bins:
        middle = np.cumsum(shares[:bins]) - shares[:bins] / 2
        groups[:bins] = np.unique(np.floor(middle / least), return_inverse=True)[1]
    used = int(groups[:bins].max()) + 1 if bins else 0
    order = bins + np.argsort(-shares[bins:], kind="stable")
    rare = [cell for cell in order if shares[cell] < least / 2]
    for cell in order[: len(order) - len(rare)]:
        groups[cell] = used
        used += 1
    if rare:
        # What is left over has a group of its own if it weighs something, or none beside it.
        heavy = used == 0 or shares[rare].sum() >= least / 2
        groups[rare] = used if heavy else used - 1
    return groups
