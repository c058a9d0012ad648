"""Makes a clique tree with a tilt from noisy counts: no gradient of any record is needed.

The look gives each class's single columns (`marginals.log_marginals`); the pairs say which columns
stand together (`tree_structure`), how (`tree_fit`), and, with whatever further tables were bought,
how rows drawn from the tree are to be reweighted (`tilt`). Without pairs, or where noise hides all
that a class could tell, its columns stay independent. All of this is post-processing.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Block, Encoding
from fedloom.common.marginals import NoisyMarginals, groups_of_one
from fedloom.common.models.cell_tables import CellTables
from fedloom.common.models.clique_tree import CliqueTree
from fedloom.common.models.registry import TreeSettings
from fedloom.common.models.tree import TreeShape, log_mean
from fedloom.privacy.phases import TrainingPhase
from fedloom.server.learners.class_marginals import class_prior, log_marginals
from fedloom.server.learners.learner import State
from fedloom.server.learners.tilt import NoisyTables, tilt
from fedloom.server.learners.tree_fit import TreeFit, marginals
from fedloom.server.learners.tree_structure import choose_tree

__all__ = ["TreeLearner"]

Array = NDArray[Any]

# How much the pool of rows and the start of the fit count, in units of the noise's own weight.
_STRENGTH = 0.12
# Cells of all cliques of all classes.
_MAX_CELLS = 2_000_000
# Rows of the pool that is reweighted, by record, and at the least and most over all classes.
_POOL, _MIN_POOL, _MAX_POOL = 3.0, 50_000, 300_000
# Classes below this part of the largest one tell nothing of their own where noise hides them; nor
# does a class of a few records.
_LEAST, _FEWEST = 0.05, 20.0
# Counts are whole numbers: noise below this is none.
_MIN_STD = 0.05
_IMPOSSIBLE = -1e4


class TreeLearner:
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

    def request_arrays(self, state: State) -> dict[str, NDArray[np.float32]]:
        """Returns nothing: there are no training rounds."""
        return {}

    def answer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns nothing: there are no training rounds."""
        return {}

    def update(
        self, state: State, aggregate: dict[str, Array], normaliser: float, seed: int
    ) -> State:
        """Returns the state unchanged: there are no training rounds."""
        return state

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
        self._std = max(statistics.pair_std or 0.0, _MIN_STD)
        least = max(min(self._std, _LEAST * float(self._records.max())), _FEWEST)
        used = np.flatnonzero(self._prior > 0)
        self._telling = [int(c) for c in used if statistics.has_pairs and self._records[c] > least]
        self._base = [self._log_shares(c) for c in range(encoding.num_classes)]
        tree = self._structure()
        self.shape = TreeShape(
            groups=tuple(tuple(map(int, part)) for part in self._parts),
            cliques=tree.cliques,
            parents=tree.parents,
        )

    def arrays(self) -> dict[str, Array]:
        """Returns what is published."""
        num_classes, tree = len(self._prior), self.shape.tree
        edges = np.zeros((num_classes, self.shape.edges.length), dtype=np.float32)
        pairs = np.zeros((num_classes, self.shape.pairs.length), dtype=np.float32)
        scale = np.zeros(num_classes)
        base = np.array([np.concatenate(part) for part in self._base], dtype=np.float32)
        for label in np.flatnonzero(self._prior > 0):
            if int(label) in self._telling:
                edges[label] = TreeFit(
                    tree,
                    base[label].astype(np.float64),
                    self._counts(int(label), self.shape.edges),
                    self._std,
                    float(self._records[label]),
                    strength=_STRENGTH,
                ).solve()
            tables, log_total = marginals(
                tree, base[label].astype(np.float64), edges[label].astype(np.float64)
            )
            scale[label] = -log_total
            if int(label) in self._telling:
                pairs[label], log_mean = self._tilted(int(label), tables)
                scale[label] -= log_mean
        return {
            "class_prior": self._prior,
            "log_scale": scale,
            "base": base,
            "edges": edges,
            "pairs": pairs,
            "cells": self._cells.astype(np.float32),
        }

    def _tilted(self, label: int, tables: list[Array]) -> tuple[Array, float]:
        """Returns the tilt of a class, and the logarithm of its mean weight in the pool."""
        rng = np.random.default_rng([self._seed, label])
        pool = self.shape.tree.draw(tables, self._pool_rows(label), rng)
        asked = NoisyTables(
            tables=self.shape.pairs,
            codes=pool,
            counts=self._counts(label, self.shape.pairs),
            std=self._std,
        )
        (theta,) = tilt([asked], float(self._records[label]), strength=_STRENGTH)
        logs = self.shape.pairs.sums(theta.astype(np.float32).astype(np.float64), pool)
        return theta, log_mean(logs)

    def _pool_rows(self, label: int) -> int:
        total = float(self._records.sum())
        wanted = min(max(_POOL * total, _MIN_POOL), _MAX_POOL)
        share = float(self._records[label]) / total
        return max(math.ceil(wanted * share), _MIN_POOL // (4 * len(self._telling)))

    def _structure(self) -> CliqueTree:
        sizes = [int(part.max()) + 1 for part in self._parts]
        scores = dict.fromkeys(itertools.combinations(range(len(sizes)), 2), 0.0)
        noise = self._std * math.sqrt(2.0 / math.pi)
        for label in self._telling:
            shares = [np.exp(logs) for logs in self._base[label]]
            for (a, b), table in self._statistics.tables(label):
                apart = table - self._records[label] * np.outer(shares[a], shares[b])
                scores[a, b] += float(np.abs(apart).sum()) - apart.size * noise
        return choose_tree(
            sizes,
            scores,
            max_cells=self._max_clique,
            max_total=_MAX_CELLS // max(len(self._telling), 1),
        )

    def _counts(self, label: int, tables: CellTables) -> Array:
        held = dict(self._statistics.tables(label))
        parts = [held[a, b].reshape(-1) for a, b in tables.columns]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _log_shares(self, label: int) -> list[Array]:
        """Returns the logarithms of the shares of each feature's groups in a class."""
        logs = []
        for block, part in zip(self._statistics.encoding.features, self._parts, strict=True):
            cells = self._cells[label, block.start : block.start + block.size]
            shares = np.bincount(part, cells)
            logs.append(np.where(shares > 0, np.log(np.maximum(shares, 1e-300)), _IMPOSSIBLE))
        return logs


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
