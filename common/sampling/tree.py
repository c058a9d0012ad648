"""Draws from a `tree`, under conditions: a pool from the cliques, thinned out by the tilt.

Without conditions the pool of each class is the one that its tilt was fitted to. A condition on
columns multiplies the cliques' tables by the share of each group that it allows, which keeps the
tree exact; from it a pool of several rows for each that is wanted is drawn. Of the pool the rows
are taken in proportion to the tilt's weights (sampling-importance resampling, Rubin 1987), so that
the counts of pairs and triples are those of the weighted pool
(`fedloom.common.sampling.balanced`). A row that weighs more than a row of the result is taken
more than once; its values within groups are drawn anew each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.item_blocks import item_feature
from fedloom.common.models.cell_tables import CellTables
from fedloom.common.models.clique_tree import stratified
from fedloom.common.models.mixture import Mixture
from fedloom.common.models.tree import Tree, log_mean
from fedloom.common.sampling.balanced import balanced_choice
from fedloom.common.sampling.items import ItemFiller

__all__ = ["TreeSource"]

Array = npt.NDArray[Any]

# Rows of the pool for each that is wanted, and at the least.
_POOL, _MIN_POOL = 6, 8192
# Pairs that a choice of rows keeps; of a wider table it keeps single columns.
_MAX_BALANCED = 600
# Rows that stand for the tree where a mixture is asked for, and how much each one blurs.
_SKETCH_ROWS, _BLUR, _MAX_CELLS = 4096, 0.1, 1 << 26


class TreeSource:
    """A `tree` as a source; see `fedloom.common.sampling.sources.Source`."""

    def __init__(self, artifact: Artifact, encoding: Encoding, shares: Mapping[str, Array]) -> None:
        """Takes a generator and conditions.

        Raises:
          ConfigError: no record satisfies the conditions.
        """
        self._tree, self._encoding = Tree.of(artifact, encoding), encoding
        self._filler = ItemFiller(encoding, artifact.arrays)
        features = {block.name: place for place, block in enumerate(encoding.features)}
        features |= self._items()
        self._check_items(set(shares) - set(features) - {str(encoding.target)})
        prior = np.asarray(artifact.arrays["class_prior"], dtype=np.float64)
        for name, share in shares.items():
            prior = prior if name in features else prior * share
        self._shares = {features[name]: share for name, share in shares.items() if name in features}
        self._marginals: dict[int, list[Array]] = {}
        logs = np.full(len(prior), -np.inf)
        for label in np.flatnonzero(prior > 0):
            tables, log_total = self._conditioned(int(label))
            if log_total > -np.inf:
                self._marginals[int(label)] = tables
                logs[label] = np.log(prior[label]) + log_total
        if not self._marginals:
            raise ConfigError(
                "no record of this generator satisfies all of these conditions; remove one or "
                "widen it"
            )
        self._log_mass = logs + self._tree.arrays["log_scale"]
        if not self._shares:
            self._log_mass = np.log(np.maximum(prior, 1e-300))

    def _items(self) -> dict[str, int]:
        """Returns the places of the frequent items of sets by the names of their columns."""
        first, places = len(self._encoding.features), {}
        for place, item in enumerate(self._tree.shape.frequent):
            for block in self._encoding.sets:
                if block.start <= item < block.start + block.size:
                    name = item_feature(block.name, block.values[item - block.start])
                    places[name] = first + place
        return places

    def _check_items(self, rare: set[str]) -> None:
        """Refuses conditions on items that are no columns of the tree."""
        for name in sorted(rare):
            column, item = name.split("\0")
            known = [
                held.split("\0")[1] for held in self._items() if held.startswith(f"{column}\0")
            ]
            raise ConfigError(
                f"the generator knows {item!r} of '{column}' by its rate alone, so that it can be "
                f"no condition; items that can: {', '.join(known) or 'none'}"
            )

    def draw(self, rows: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draws coded records (N, m + item_places) and classes (N,) of as many records."""
        groups, classes = self._groups(rows, rng)
        codes = np.empty((rows, len(self._encoding.features)), dtype=np.int32)
        for label in self._marginals:
            own = np.flatnonzero(classes == label)
            for feature in range(codes.shape[1]):
                cells = self._cells(label, feature)
                codes[own, feature] = stratified(cells, groups[feature, own].astype(np.int64), rng)
        present = groups[codes.shape[1] :].T > 0
        frequent = np.asarray(self._tree.shape.frequent, dtype=np.int64)
        # The conditions on items ask all that they be there.
        places = codes.shape[1] + np.arange(len(frequent))
        filled = self._filler.fill(
            codes,
            classes,
            rng,
            frequent=frequent,
            present=present,
            required=np.isin(places, list(self._shares)),
        )
        return filled, classes

    def _groups(self, rows: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draws groups (features, N) and classes (N,)."""
        pool_rows = max(_POOL * rows, _MIN_POOL)
        labels = sorted(self._marginals)
        mass = np.exp(self._log_mass[labels] - self._log_mass[labels].max())
        counts = np.ceil(pool_rows * mass / mass.sum()).astype(int)
        pools, logs = [], []
        for label, part, count in zip(labels, mass, counts, strict=True):
            pool = self._pool(label, int(count), rng)
            drawn = count if self._shares else pool.shape[1]
            tilt = self._tree.log_tilt(label, pool)
            if not self._shares:  # then a class has its share, whatever this pool is like
                tilt -= log_mean(tilt)
            pools.append(pool)
            logs.append(tilt + np.log(part / drawn))
        top = max(float(part.max()) for part in logs)
        weights = [np.exp(part - top) for part in logs]
        whole = sum(float(part.sum()) for part in weights)
        taken = np.concatenate(
            [
                balanced_choice(rows * part / whole, self._balanced(pool), rng)
                for part, pool in zip(weights, pools, strict=True)
            ]
        )
        chosen = np.repeat(np.arange(len(taken)), taken)
        missing = rows - len(chosen)
        if missing > 0:
            every = np.concatenate(weights)
            chosen = np.append(chosen, rng.choice(len(every), missing, p=every / every.sum()))
        chosen = rng.permutation(chosen)[:rows]
        classes = np.repeat(labels, [pool.shape[1] for pool in pools])
        return np.concatenate(pools, axis=1)[:, chosen], classes[chosen]

    def _pool(self, label: int, rows: int, rng: np.random.Generator) -> Array:
        if not self._shares and self._tree.shape.pool_rows[label]:
            return self._tree.pool(label)
        return self._tree.possible(self._tree.shape.tree.draw(self._marginals[label], rows, rng))

    def _balanced(self, pool: Array) -> list[tuple[CellTables, Array]]:
        """Returns the tables that a choice of rows of a pool keeps: all that was counted."""
        shape = self._tree.shape
        pairs = shape.pairs
        if len(pairs.columns) > _MAX_BALANCED or not pairs.columns:
            pairs = CellTables(shape.sizes, tuple((c,) for c in range(len(shape.sizes))))
        if not shape.coarse:
            return [(pairs, pool)]
        return [(pairs, pool), (shape.triples, shape.coarse_codes(pool))]

    def mixture(self) -> Mixture:
        """Returns a mixture of drawn rows: each a component, blurred by the single columns.

        Exact in its single columns up to the draw; relations of columns are weakened by the blur.
        """
        width = self._encoding.width
        rows = int(np.clip(_MAX_CELLS // width, 64, _SKETCH_ROWS))
        groups, classes = self._groups(rows, np.random.default_rng(0))
        cells = np.zeros((rows, width), dtype=np.float32)
        for label in self._marginals:
            own = np.flatnonzero(classes == label)
            for feature, block in enumerate(self._encoding.features):
                chances = self._cells(label, feature)[groups[feature, own]]
                chances = (1.0 - _BLUR) * chances + _BLUR * chances.mean(axis=0, keepdims=True)
                cells[own, block.start : block.start + block.size] = chances
        return Mixture(self._encoding, np.full(rows, 1.0 / rows), classes, cells)

    def _conditioned(self, label: int) -> tuple[list[Array], float]:
        """Returns the cliques' marginals of a class under the conditions, and log of their sum."""
        tree = self._tree.shape.tree
        logs = self._tree.log_potentials(label)
        tops = [float(table.max()) for table in logs]
        tables = [np.exp(table - top) for table, top in zip(logs, tops, strict=True)]
        for feature, share in self._shares.items():
            home = tree.homes[feature,]
            allowed = self._tree.group_shares(label, feature) @ share
            tables[home] *= tree.spread(allowed, (feature,), home)
        found, log_total = tree.calibrate(tables)
        return found, log_total + sum(tops)

    def _cells(self, label: int, feature: int) -> Array:
        """Returns the share of each cell within its group, as conditions allow it, (G, size)."""
        shares = self._tree.group_shares(label, feature)
        if feature in self._shares:
            shares = shares * self._shares[feature]
        return shares
