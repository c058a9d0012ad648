"""On which cells a tree's pairs and triples are counted: chosen from the noisy columns alone.

Pairs, and columns within classes: of an ordered column the heavy cells and spikes stand alone, as
values that signal something of their own (zero gains, a round limit); the others are joined with
their neighbours to equal noisy mass, some twenty groups in all, fewer where records are few: an
average cell of a pair holds a standard deviation of its noise. Categories stand alone as far as
they weigh three times their noise, the rest of a column is one group; no column has fewer than two
groups, where it has two cells; under a hierarchy each rare
code joins the lowest node that stands out (`fedloom.server.code_groups`).

Triples: three groups a column, thirds of an ordered column's mass, or the two heaviest groups and
the rest. Parities: an ordered column is cut at its median, other groups are dealt, the heaviest
first, to the half that weighs less. Items of sets: `fedloom.server.item_design`.

All of it is deterministic post-processing; a record adds the same to pairs, triples and parities
whatever comes out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.encoding import Block
from fedloom.common.marginals import NoisyMarginals, group_sizes
from fedloom.common.public_counts import PublicRecords
from fedloom.privacy.answers.opened import OpenedRound, spread_of
from fedloom.privacy.answers.opened_marginals import noisy_statistics
from fedloom.privacy.phases import StatisticPhase
from fedloom.privacy.plan import Plan, RoundQuery
from fedloom.server.binning import Design
from fedloom.server.code_groups import code_groups
from fedloom.server.item_design import choose_items, frequent_items
from fedloom.server.learners.class_marginals import class_prior, log_marginals
from fedloom.server.learners.earlier_answers import same_records
from fedloom.server.learners.public_prior import with_public

__all__ = ["choose_coarse_groups", "choose_groups", "choose_halves", "tree_design"]

Array = NDArray[Any]

_MOST_ORDERED, _MOST_VALUES, _FEWEST = 20, 64, 2
# A group weighs so many standard deviations of a column's noise.
_STANDS_OUT = 3.0
# A spike: so many times its neighbours, and this share of the column at the least.
_SPIKE, _LEAST_SPIKE = 3.0, 0.01
# Records that an average cell of a pair should hold, in standard deviations of its noise.
_SIGNAL = 1.0
_COARSE = 3
# Where there is no noise a group of codes still has that share.
_LEAST = 1e-6
_SHRINK = 0.8


def tree_design(
    plan: Plan,
    asked: RoundQuery,
    opened: Sequence[OpenedRound],
    public: PublicRecords | NoisyMarginals | None = None,
) -> Design:
    """Designs a tree's next statistic.

    Columns as they are, then pairs, then columns within classes on the same groups, then triples
    and parities.

    Args:
      plan: that is carried out.
      asked: the round to ask.
      opened: the statistics rounds before it.
      public: the public table that is the fit's prior, an earlier study's answers about the same
        records, or None.
    """
    if not opened:
        return Design()
    assert isinstance(asked.phase, StatisticPhase)
    if asked.phase.statistic == "items":
        return Design()
    own, cells = noisy_statistics(plan, opened), asked.phase.max_cells
    statistics = own if public is None else with_public(own, public)
    earlier = public if isinstance(public, NoisyMarginals) else None
    again = None if earlier is None else _asked_again(own, earlier, asked.phase)
    if again is not None:
        return Design(arrays=again, told={"earlier answers": "asked again and put together"})
    if asked.phase.statistic == "item-pairs":
        groups, frequent = choose_items(statistics, most_cells=cells)
        return Design(
            arrays={"groups": groups, "frequent": frequent},
            told={"frequent items": frequent_items(statistics.encoding, frequent)},
        )
    if asked.phase.statistic == "three-way":
        return Design(arrays={"groups": choose_coarse_groups(statistics, most_cells=cells)})
    if asked.phase.statistic == "class-columns":
        assert statistics.groups is not None
        return Design(arrays={"groups": statistics.groups})
    if asked.phase.statistic == "parities":
        return Design(arrays={"halves": choose_halves(statistics)})
    std = asked.phase.noise_std * spread_of(plan, len(opened[0].sites))
    groups = choose_groups(statistics, pair_std=std, most_cells=cells)
    told = {
        block.name: [block.size, size]
        for block, size in zip(
            plan.encoding.features, group_sizes(plan.encoding, groups), strict=True
        )
    }
    return Design(arrays={"groups": groups}, told={"groups": told})


def _asked_again(
    statistics: NoisyMarginals, earlier: NoisyMarginals, phase: StatisticPhase
) -> dict[str, Array] | None:
    """Returns the groups of an earlier study, so that its answers and the new ones add up.

    None where the records have changed, the earlier study did not ask, or on more cells than this
    one may.
    """
    if not same_records(statistics, earlier):
        return None
    classes = statistics.encoding.num_classes
    if phase.statistic == "pairwise" and earlier.groups is not None and earlier.pairs is not None:
        cells = classes * sum(group_sizes(statistics.encoding, earlier.groups))
        fits = max(len(earlier.pairs), cells) <= phase.max_cells
        return {"groups": earlier.groups} if fits else None
    ours, theirs = statistics.groups, earlier.groups
    if ours is None or theirs is None or not np.array_equal(ours, theirs):
        return None
    if phase.statistic == "three-way" and earlier.triples is not None:
        fits = earlier.triples.counts.size <= phase.max_cells
        return {"groups": earlier.triples.groups} if fits else None
    if phase.statistic == "parities" and earlier.parities is not None:
        return {"halves": earlier.parities.halves}
    items = None if earlier.items is None else earlier.items.pairs
    if phase.statistic == "item-pairs" and items is not None:
        frequent = np.zeros(statistics.encoding.num_items, dtype=np.int32)
        frequent[items.measured.items] = 1
        return (
            {"groups": ours, "frequent": frequent} if len(items.sums) <= phase.max_cells else None
        )
    return None


def choose_groups(
    statistics: NoisyMarginals, *, pair_std: float, most_cells: int
) -> NDArray[np.int32]:
    """Returns the group of each cell within its block for pairs, (D,).

    Args:
      statistics: the columns' noisy counts.
      pair_std: standard deviation of the noise that each count of a pair will bear.
      most_cells: how many cells all tables of all classes may have together, and the tables of
        columns within classes, which are counted on the same groups.
    """
    encoding, shares = statistics.encoding, _shares(statistics)
    total = statistics.total()
    least = _STANDS_OUT * statistics.look_std / total
    tell = math.sqrt(total / max(_SIGNAL * pair_std, 1e-9))
    most = min(max(tell, float(_FEWEST)), float(_MOST_ORDERED))
    values = min(max(tell, float(_FEWEST)), float(_MOST_VALUES))
    while True:
        parts = [
            _groups(block, part, least=least, most=int(most), values=int(values))
            for block, part in zip(encoding.features, shares, strict=True)
        ]
        sizes = [int(part.max()) + 1 for part in parts]
        pairs = (sum(sizes) ** 2 - sum(size**2 for size in sizes)) // 2
        # Of two columns, one of which has one group, pairs are fewer than groups.
        cells = encoding.num_classes * max(pairs, sum(sizes))
        if cells <= most_cells or max(sizes) == 1:
            return np.concatenate(parts)
        most, values = max(most * _SHRINK, 1.0), max(values * _SHRINK, 1.0)


def choose_coarse_groups(statistics: NoisyMarginals, *, most_cells: int) -> NDArray[np.int32]:
    """Returns the coarse group of each cell within its block for triples, (D,).

    No group of the pairs is split.

    Args:
      statistics: the columns' noisy counts, and the pairs with their groups.
      most_cells: how many cells all tables of all classes may have together.
    """
    encoding, shares = statistics.encoding, _shares(statistics)
    assert statistics.groups is not None
    for parts in range(_COARSE, 0, -1):
        coarse = []
        for block, part in zip(encoding.features, shares, strict=True):
            of = statistics.groups[block.start : block.start + block.size].astype(np.int64)
            coarse.append(_coarse(np.bincount(of, part), _order(block, of), parts)[of])
        sizes = [int(part.max()) + 1 for part in coarse]
        first, second, third = (sum(size**power for size in sizes) for power in (1, 2, 3))
        if encoding.num_classes * (first**3 - 3 * first * second + 2 * third) // 6 <= most_cells:
            break
    return np.concatenate(coarse).astype(np.int32)


def choose_halves(statistics: NoisyMarginals) -> NDArray[np.int32]:
    """Returns the half, 0 or 1, of each cell within its block for parities, (D,).

    No group of the pairs is split. A column of one group lies in half 0.

    Args:
      statistics: the columns' noisy counts, and the pairs with their groups.
    """
    assert statistics.groups is not None
    halves = []
    for block, part in zip(statistics.encoding.features, _shares(statistics), strict=True):
        of = statistics.groups[block.start : block.start + block.size].astype(np.int64)
        shares = np.bincount(of, part)
        halves.append(_halves(shares, _order(block, of))[of])
    return np.concatenate(halves).astype(np.int32)


def _halves(shares: Array, order: Array | None) -> NDArray[np.int64]:
    """Returns the half of each group."""
    upper = np.zeros(len(shares), dtype=np.int64)
    if order is not None and len(order) > 1:
        below = np.cumsum(shares[order])[:-1]
        cut = int(np.abs(below - shares.sum() / 2.0).argmin()) + 1
        upper[order[cut:]] = 1
        return upper
    weights = np.zeros(2)
    for group in np.argsort(-shares, kind="stable"):
        upper[group] = int(weights[1] < weights[0])
        # A group of no share counts a little, so that the second one is not in the first's half.
        weights[upper[group]] += max(float(shares[group]), 1e-12)
    return upper


def _shares(statistics: NoisyMarginals) -> list[Array]:
    """Returns the share of each cell of each block over all classes."""
    shares = class_prior(statistics) @ np.exp(log_marginals(statistics))
    features = statistics.encoding.features
    return [shares[block.start : block.start + block.size] for block in features]


def _groups(
    block: Block, shares: Array, *, least: float, most: int, values: int
) -> NDArray[np.int32]:
    """Returns the groups of one block."""
    if most <= 1:
        return np.zeros(block.size, dtype=np.int32)
    if block.levels:
        return code_groups(block, shares, least=max(least, _LEAST), most=values)
    bins = block.num_bins if block.ordered else 0
    groups = np.zeros(block.size, dtype=np.int32)
    used = 0
    if bins:
        groups[:bins] = _ordered(shares[:bins], least, most)
        used = int(groups[:bins].max()) + 1
    ranked = bins + np.argsort(-shares[bins:], kind="stable")
    alone = [cell for cell in ranked if shares[cell] >= least][: max(values - 1, 0)]
    if not bins and not alone:
        alone = [ranked[0]]  # a column of one group would tell nothing
    rare = [cell for cell in ranked if cell not in set(alone)]
    for cell in alone:
        groups[cell] = used
        used += 1
    if rare:
        # What is left over has a group of its own if it weighs something, or none beside it.
        heavy = used < _FEWEST or shares[rare].sum() >= least / 2
        groups[rare] = used if heavy else used - 1
    return groups


def _ordered(shares: Array, least: float, most: int) -> NDArray[np.int32]:
    """Returns groups of neighbouring bins; heavy bins and spikes stand alone."""
    around = np.maximum(np.append(0.0, shares[:-1]), np.append(shares[1:], 0.0))
    heavy = (shares >= 1.0 / most) | ((shares > _SPIKE * around) & (shares > _LEAST_SPIKE))
    heavy &= shares > least
    room = max(most - _FEWEST, 0)
    if heavy.sum() > room:
        heavy &= shares >= (np.sort(shares)[-room] if room else np.inf)
    mass = float(shares[~heavy].sum())
    # Halves at the least: where the middle lies is told even by columns that noise drowns.
    parts = max(min(most - int(heavy.sum()), max(int(mass / max(least, 1e-9)), _FEWEST)), 1)
    groups = np.zeros(len(shares), dtype=np.int32)
    used, held, fresh = 0, 0.0, True
    for place, share in enumerate(shares):
        if heavy[place]:
            fresh = True
            used += 1
        elif fresh or held >= mass / parts:
            used, held, fresh = used + 1, float(share), False
        else:
            held += float(share)
        groups[place] = used - 1
    return groups


def _order(block: Block, groups: Array) -> Array | None:
    """Returns the groups in the order of an axis, those without a number last; None without one."""
    if not block.ordered:
        return None
    found, first = np.unique(groups, return_index=True)
    return np.asarray(found[np.argsort(first, kind="stable")])


def _coarse(shares: Array, order: Array | None, parts: int) -> NDArray[np.int64]:
    """Returns the coarse group of each group."""
    if len(shares) <= parts:
        return np.arange(len(shares))
    coarse = np.full(len(shares), parts - 1, dtype=np.int64)
    if order is None:
        heaviest = np.argsort(-shares, kind="stable")[: parts - 1]
        coarse[heaviest] = np.arange(len(heaviest))
    else:
        middle = np.cumsum(shares[order]) - shares[order] / 2
        coarse[order] = np.minimum((middle / max(shares.sum(), 1e-12) * parts), parts - 1)
    return np.asarray(np.unique(coarse, return_inverse=True)[1], dtype=np.int64)
