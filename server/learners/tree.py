"""Makes a clique tree with a tilt from noisy counts: no gradient of any record is needed.

The look gives each class's single columns (`marginals.log_marginals`); the pairs say which columns
stand together (`tree_structure`), how (`tree_fit`), and, with whatever further tables were bought,
how rows drawn from the tree are to be reweighted (`tilt`). Frequent items of sets are columns of
the tree, absent or present (`item_tables`). Without pairs, or where noise hides all
that a class could tell, its columns stay independent. All of this is post-processing.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Block, Encoding
from fedloom.common.marginals import NoisyMarginals, groups_of_one
from fedloom.common.models.cell_tables import CellTables
from fedloom.common.models.clique_tree import CliqueTree
from fedloom.common.models.registry import TreeSettings
from fedloom.common.models.tree import Tree, TreeShape, log_mean
from fedloom.common.parities import class_signs
from fedloom.privacy.phases import TrainingPhase
from fedloom.server.learners.class_marginals import class_prior, log_marginals
from fedloom.server.learners.item_tables import ItemTables
from fedloom.server.learners.learner import State, UntrainedLearner
from fedloom.server.learners.parity_terms import WeightedRows, missed_parities
from fedloom.server.learners.tilt import NoisyTables, tilt
from fedloom.server.learners.tree_fit import ClassCounts, fit_classes
from fedloom.server.learners.tree_structure import choose_tree
from fedloom.server.learners.with_margins import with_margins

__all__ = ["TreeLearner"]

Array = NDArray[Any]

# The start of the fit, and the pool of rows, count as that many records beside the noisy counts,
# but no more than this part of all.
_PRIOR_RECORDS, _MOST_STRENGTH = 2_000.0, 0.12
# A pair's distance from independence tells something from so many standard deviations of noise on.
_TELLS = 2.0
# Cells of all cliques of all classes.
_MAX_CELLS = 2_000_000
# Rows of the pool that is reweighted, by record, and at the least and most over all classes.
_POOL, _MIN_POOL, _MAX_POOL = 3.0, 50_000, 300_000
# Pairs that are tilted: of a wide table those that are furthest from independence.
_MAX_TILTED = 600
# Classes below this part of the largest one tell nothing of their own where noise hides them; nor
# does a class of a few records.
_LEAST, _FEWEST = 0.05, 20.0
# Counts are whole numbers: noise below this is none.
_MIN_STD = 0.05
_SEEDS = 1 << 53  # whole numbers up to there are exact in JSON
_IMPOSSIBLE = -1e4


class TreeLearner(UntrainedLearner):
    """Learns a `tree` from statistics alone; see `fedloom.server.learners.learner.Learner`."""

    def __init__(
        self,
        model: TreeSettings,
        training: TrainingPhase | None,
        encoding: Encoding,
        *,
        num_sites: int = 1,
    ) -> None:
        """Takes the plan's model and the encoding; there is no training."""
        self._encoding = encoding
        self._max_clique = model.max_clique

    def initialise(self, statistics: NoisyMarginals, seed: int) -> State:
        """Fits tree and tilt; nothing remains for training rounds."""
        groups = statistics.groups
        if groups is None:
            groups = groups_of_one(self._encoding)
        fit = _ClassFits(statistics, groups, seed, self._max_clique)
        return State(arrays=fit.arrays(), meta={"tree": fit.shape.config()})

    def export(self, state: State) -> Artifact:
        """Returns the fitted tree."""
        return Artifact(kind="tree", config=dict(state.meta["tree"]), arrays=dict(state.arrays))


class _ClassFits:
    """The fits of all classes, on one structure.

    Attributes:
      shape: groups and cliques.
    """

    def __init__(
        self, statistics: NoisyMarginals, groups: Array, seed: int, max_clique: int
    ) -> None:
        self._statistics, self._seed, self._max_clique = statistics, seed, max_clique
        encoding = statistics.encoding
        self._parts = [
            groups[block.start : block.start + block.size].astype(np.int64)
            for block in encoding.features
        ]
        self._prior = class_prior(statistics)
        self._records = np.maximum(self._prior * statistics.total(), 1.0)
        self._cells = _sampleable(np.exp(log_marginals(statistics)), encoding)
        self._items = ItemTables(statistics, self._cells, self._records)
        self._parts += [np.arange(2)] * len(self._items.frequent)
        self._std = max(statistics.pair_std or self._items.std or 0.0, _MIN_STD)
        self._told = None if statistics.prior is None else statistics.prior.pair_std
        pairs = itertools.combinations(range(len(encoding.features)), 2)
        self._places: dict[tuple[int, ...], int] = {pair: i for i, pair in enumerate(pairs)}
        self._strength = min(_MOST_STRENGTH, _PRIOR_RECORDS / statistics.total())
        std = self._std if self._told is None else np.sqrt(np.square(self._told).mean(axis=1))
        least = np.maximum(np.minimum(std, _LEAST * float(self._records.max())), _FEWEST)
        has_tables = statistics.has_pairs or len(self._items.frequent) > 0
        used = (self._prior > 0) & (self._records > least) & has_tables
        self._telling = [int(label) for label in np.flatnonzero(used)]
        self._base = [self._log_shares(c) for c in range(encoding.num_classes)]
        sizes = tuple(len(part) for part in self._base[0])
        columns = tuple(itertools.combinations(range(len(sizes)), 2))
        self._all_pairs = CellTables(sizes, columns)
        tree = self._structure()
        triples, parities = statistics.triples, statistics.parities
        self.shape = TreeShape(
            groups=tuple(tuple(map(int, part)) for part in self._parts),
            frequent=tuple(map(int, self._items.frequent)),
            cliques=tree.cliques,
            parents=tree.parents,
            coarse=() if triples is None else self._of_groups(triples.groups),
            halves=() if parities is None else self._of_groups(parities.halves),
            pool_rows=tuple(map(self._pool_rows, range(encoding.num_classes))),
            pool_seed=seed % _SEEDS,
        )

    def arrays(self) -> dict[str, Array]:
        """Returns what is published."""
        num_classes, shape = len(self._prior), self.shape
        arrays: dict[str, Array] = {
            "class_prior": self._prior,
            "log_scale": np.zeros(num_classes),
            "base": np.array([np.concatenate(part) for part in self._base], dtype=np.float32),
            "edges": np.zeros((num_classes, shape.edges.length), dtype=np.float32),
            "columns": np.zeros((num_classes, shape.columns.length), dtype=np.float32),
            "pairs": np.zeros((num_classes, shape.pairs.length), dtype=np.float32),
            "cells": self._cells.astype(np.float32),
        }
        if self._statistics.encoding.sets:
            arrays["item_rates"] = self._items.rates.astype(np.float32)
        if shape.coarse:
            arrays["triples"] = np.zeros((num_classes, shape.triples.length), dtype=np.float32)
        self._fit_trees(arrays)
        asked = {label: self._fit_tilt(label, arrays) for label in self._telling}
        self._add_parities(asked, arrays)
        for label in map(int, np.flatnonzero(self._prior > 0)):
            arrays["log_scale"][label] = -self._log_total(label, arrays)
        return arrays

    def _fit_trees(self, arrays: dict[str, Array]) -> None:
        """Fits the trees of all classes and puts them into the arrays."""
        edges = self.shape.edges
        known = [
            ClassCounts(
                base=np.concatenate(self._base[label]),
                records=float(self._records[label]),
                counts=self._counts(label, edges),
                stds=self._stds(label, edges),
            )
            for label in self._telling
        ]
        fitted = fit_classes(self.shape.tree, known, strength=self._strength)
        for label, (base, theta) in zip(self._telling, fitted, strict=True):
            arrays["base"][label], arrays["edges"][label] = base, theta

    def _fit_tilt(self, label: int, arrays: dict[str, Array]) -> list[NoisyTables]:
        """Fits the tilt of a class and puts it into the arrays.

        Returns:
          What the tilt was to meet.
        """
        # The pool is drawn from the tree as it will be published, so that it can be drawn again.
        pool = self._published(arrays).pool(label)
        asked = self._asked(label, pool)
        self._tilt(label, asked, arrays)
        return asked

    def _tilt(self, label: int, asked: list[NoisyTables], arrays: dict[str, Array]) -> None:
        tilts = tilt(asked, float(self._records[label]), strength=self._strength)
        arrays["columns"][label] = tilts[0]
        spans = dict(zip(self.shape.pairs.columns, self.shape.pairs.spans, strict=True))
        for tables, theta in zip(self._tilted, tilts[1:], strict=False):
            for columns, span in zip(tables.columns, tables.spans, strict=True):
                arrays["pairs"][label][spans[columns]] = theta[span]
        further = [name for name in ("triples", "parities") if name in arrays]
        for name, theta in zip(further, tilts[1 + len(self._tilted) :], strict=True):
            arrays[name][label] = theta

    def _add_parities(self, asked: dict[int, list[NoisyTables]], arrays: dict[str, Array]) -> None:
        """Tilts anew, with the parities that the tree and its tilt certainly miss."""
        noisy = self._statistics.parities
        if noisy is None:
            return
        tree, rows, others = self._published(arrays), {}, {}
        halves = [np.asarray(of, dtype=np.uint8) for of in self.shape.halves]
        for label, of_class in asked.items():
            pool = of_class[0].codes
            logs = tree.log_tilt(label, pool)
            weights = np.exp(logs - logs.max())
            weights *= float(self._records[label]) / weights.sum()
            parts = zip(halves, pool[: len(halves)], strict=True)
            upper = np.stack([of[part] for of, part in parts])
            rows[label] = WeightedRows(halves=upper, weights=weights)
        signs = 1.0 - 2.0 * noisy.halves
        for label in set(range(len(self._prior))) - set(asked):
            means = [
                float(self._cells[label, block.start : block.start + block.size] @ part)
                for block, part in _by_block(signs, self._statistics.encoding)
            ]
            records = float(self._prior[label]) * self._statistics.total()
            others[label] = (records, np.array(means))
        of_classes = class_signs(self._statistics.encoding.class_sampleable)
        terms = missed_parities(noisy, of_classes, rows, others=others, strength=self._strength)
        if terms is None:
            self.shape = msgspec.structs.replace(self.shape, halves=())
            return
        self.shape = msgspec.structs.replace(self.shape, parities=terms.sets)
        length = self.shape.parity_tables.length
        arrays["parities"] = np.zeros((len(self._prior), length), dtype=np.float32)
        for label, of_class in asked.items():
            odd = self.shape.parity_codes(of_class[0].codes)
            self._tilt(label, [*of_class, terms.asked(label, odd)], arrays)

    def _asked(self, label: int, pool: Array) -> list[NoisyTables]:
        """Returns what a class's pool is to meet: columns, all pairs, and triples if there are."""
        shape, margins, triples = self.shape, self._margins(label), self._statistics.triples
        columns = CellTables(shape.sizes, tuple((c,) for c in range(len(shape.sizes))))
        known = np.concatenate(margins)
        asked = [NoisyTables(tables=columns, codes=pool, counts=known, std=_MIN_STD)]
        asked += [
            NoisyTables(
                tables=tables,
                codes=pool,
                counts=self._counts(label, tables),
                std=self._stds(label, tables),
            )
            for tables in self._tilted
        ]
        if triples is not None and shape.coarse:
            prior = self._statistics.prior
            stds = None if prior is None else prior.triple_std
            parts = zip(shape.coarse, margins[: len(shape.coarse)], strict=True)
            coarse = [np.bincount(of, part) for of, part in parts]
            asked.append(
                NoisyTables(
                    tables=shape.triples,
                    codes=shape.coarse_codes(pool),
                    counts=with_margins(shape.triples, triples.counts[label], coarse),
                    std=triples.std if stds is None else stds[label],
                )
            )
        return asked

    def _log_total(self, label: int, arrays: dict[str, Array]) -> float:
        """Returns the logarithm of the sum of all chances of a class, by its pool."""
        tree = self._published(arrays)
        _, log_total = tree.marginals(label)
        if label not in self._telling:
            return log_total
        pool = tree.pool(label)
        # Rows that cannot be were drawn, and have no chance.
        log_total += math.log(pool.shape[1] / self.shape.pool_rows[label])
        return log_total + log_mean(tree.log_tilt(label, pool))

    def _published(self, arrays: dict[str, Array]) -> Tree:
        """Returns the tree as whoever gets the arrays reads it, in the same precision."""
        artifact = Artifact(kind="tree", config=self.shape.config(), arrays=arrays)
        return Tree.of(artifact, self._statistics.encoding)

    def _pool_rows(self, label: int) -> int:
        if label not in self._telling:
            return 0
        total = float(self._records.sum())
        wanted = min(max(_POOL * total, _MIN_POOL), _MAX_POOL)
        share = float(self._records[label]) / total
        return max(math.ceil(wanted * share), _MIN_POOL // (4 * len(self._telling)))

    def _structure(self) -> CliqueTree:
        pairs, classes = self._all_pairs, len(self._telling)
        scores: dict[tuple[int, ...], float] = dict.fromkeys(pairs.columns, 0.0)
        chance: dict[tuple[int, ...], float] = {}
        for label in self._telling:
            shares = [np.exp(logs) for logs in self._base[label]]
            for pair, table in pairs.split(self._counts(label, pairs)):
                apart = table - self._records[label] * np.outer(*(shares[c] for c in pair))
                # Margins are known, so noise has (rows - 1) (columns - 1) degrees of freedom; the
                # distance that it makes by itself has this mean and, over classes, this deviation.
                free = math.prod(size - 1 for size in table.shape)
                std = self._noise_of(label, pair)
                noise = std * math.sqrt(2.0 / math.pi * free * table.size)
                scores[pair] += float(np.abs(apart).sum()) - noise
                spread = std * math.sqrt(table.size * (1.0 - 2.0 / math.pi))
                chance[pair] = math.hypot(chance.get(pair, 0.0), spread)
        strongest = sorted(scores, key=lambda pair: (-scores[pair], pair))[:_MAX_TILTED]
        # Pairs with no, one and two items: a like noise.
        by_items: dict[int, list[tuple[int, ...]]] = {0: []}
        for pair in sorted(strongest):
            items = sum(c >= len(self._statistics.encoding.features) for c in pair)
            by_items.setdefault(items, []).append(pair)
        self._tilted = [CellTables(pairs.sizes, tuple(found)) for found in by_items.values()]
        return choose_tree(
            pairs.sizes,
            {pair: scores[pair] for pair in chance if scores[pair] > _TELLS * chance[pair]},
            max_cells=self._max_clique,
            max_total=_MAX_CELLS // max(classes, 1),
        )

    def _counts(self, label: int, tables: CellTables) -> Array:
        """Returns the noisy counts of pairs of a class, with the margins that all counts tell."""
        margins = self._margins(label)
        held = self._items.tables(label, margins)
        if self._statistics.has_pairs:
            held |= dict(self._statistics.tables(label))
        parts = [held[a, b].reshape(-1) for a, b in tables.columns]
        counts = np.concatenate(parts) if parts else np.zeros(0)
        return with_margins(tables, counts, margins)

    def _noise_of(self, label: int, pair: tuple[int, ...]) -> float:
        """Returns the standard deviation of the noise of a pair's table in a class."""
        if max(pair) >= len(self._statistics.encoding.features):
            return max(self._items.noise_of(pair), _MIN_STD)
        if self._told is None:
            return self._std
        return max(float(self._told[label, self._places[pair]]), _MIN_STD)

    def _stds(self, label: int, tables: CellTables) -> Array:
        """Returns the standard deviation of the noise of each pair's table in a class, (T,)."""
        return np.array([self._noise_of(label, pair) for pair in tables.columns], dtype=np.float64)

    def _margins(self, label: int) -> list[Array]:
        """Returns the estimated records of each group of each feature in a class."""
        return [float(self._records[label]) * np.exp(logs) for logs in self._base[label]]

    def _of_groups(self, cells: Array) -> tuple[tuple[int, ...], ...]:
        """Returns of each group of each feature what is said of its cells."""
        found, blocks = [], _by_block(cells, self._statistics.encoding)
        for (_, own), part in zip(blocks, self._parts[: len(blocks)], strict=True):
            first = np.unique(part, return_index=True)[1]
            found.append(tuple(int(own[cell]) for cell in first))
        return tuple(found)

    def _log_shares(self, label: int) -> list[Array]:
        """Returns the logarithms of the shares of each feature's groups in a class."""
        logs = []
        blocks = _by_block(self._cells[label], self._statistics.encoding)
        for (_, cells), part in zip(blocks, self._parts[: len(blocks)], strict=True):
            shares = np.bincount(part, cells)
            logs.append(np.where(shares > 0, np.log(np.maximum(shares, 1e-300)), _IMPOSSIBLE))
        return logs + self._items.log_shares(label, impossible=_IMPOSSIBLE)


def _by_block(cells: Array, encoding: Encoding) -> list[tuple[Block, Array]]:
    return [(block, cells[block.start : block.start + block.size]) for block in encoding.features]


def _sampleable(shares: Array, encoding: Encoding) -> Array:
    """Removes cells that a class may not have; what is left of each block sums to one."""
    result = shares.astype(np.float64)
    for block in encoding.features:
        allowed = np.tile(np.asarray(block.sampleable, dtype=bool), (len(shares), 1))
        if block.name == encoding.target:
            allowed &= encoding.class_of_cell[None, :] == np.arange(len(shares))[:, None]
        _keep(result, block, allowed)
    return result


def _keep(result: Array, block: Block, allowed: Array) -> None:
    part = result[:, block.start : block.start + block.size]
    part *= allowed
    none = part.sum(axis=1) <= 0
    # A class without a cell of its own is never drawn; its shares only have to be finite.
    part[none] = np.where(allowed[none].any(axis=1, keepdims=True), allowed[none], 1.0)
    part /= part.sum(axis=1, keepdims=True)
