"""A published `tree`: within each class a clique tree of columns, reweighted by further tables.

Within class c a record of groups g (each column's cells are joined to a few groups) has a chance
in proportion to

    exp(sum base[g_a] + sum edges[g_a, g_b]
        + sum columns[g_a] + sum pairs[g_a, g_b] + sum triples[h_a, h_b, h_d]
        + sum parities[b_s])

`base` and `edges` hold what the tree holds exactly: single columns, and pairs within a clique.
`columns`, `pairs` (all of them), `triples` (on coarser groups h) and `parities` (of a few sets s of
columns; b_s is 1 where an odd number of them lie in their upper half) are the tilt: they bring
relations that no clique holds. They were fitted to a pool of rows that seed and number give again
(`Tree.pool`); on other rows of the same tree they hold nearly, but not as closely.

Frequent items of sets are columns of two groups, absent and present, after all others; triples and
parities do not hold them. A row that has more frequent items of a set than the group of its number
of items allows is in no pool (`fedloom.common.models.set_rules`). How other items are drawn, says
`item_rates`: the share of a class's records that have each item.

Given its group, a column's cell is drawn on its own, from `cells`. `log_scale` is the logarithm of
one over the sum of a class, so that classes can be weighed against each other under conditions.
Groups, cliques, coarse groups and pools stand in the artifact's settings.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.models.cell_tables import CellTables
from fedloom.common.models.clique_tree import CliqueTree
from fedloom.common.models.set_rules import SetRules
from fedloom.common.parities import odd_rows
from fedloom.common.set_marginals import MOST_FREQUENT
from fedloom.common.typed import Section, read_typed

__all__ = ["Tree", "TreeShape", "log_mean", "log_potentials", "marginals", "tree_shapes"]

Array = NDArray[Any]

# A published tree with more cells takes more memory than reading a release should.
_MAX_CELLS = 1 << 23
_MAX_PARITIES = 1 << 10

Code = Annotated[int, Meta(ge=0)]
Parent = Annotated[int, Meta(ge=-1)]
Half = Annotated[int, Meta(ge=0, le=1)]
PoolRows = Annotated[int, Meta(ge=0, le=1 << 20)]


class TreeShape(Section, frozen=True, kw_only=True):
    """The settings of a published tree: all that its arrays' shapes follow from.

    Attributes:
      groups: for each feature the group of each of its cells; numbered from 0 without a gap. Those
        of frequent items follow, absent and present.
      frequent: items, counted over all sets, that are columns of their own; ascending.
      cliques: features of each clique, ascending.
      parents: the clique that each hangs on, -1 for the first.
      coarse: for each feature the coarse group of each of its groups; empty without triples.
      parities: ascending features of each set whose parity is tilted.
      halves: for each feature the half of each of its groups; empty without parities.
      pool_rows: for each class the rows of the pool that its tilt was fitted to; 0 without a tilt.
      pool_seed: of these pools.
    """

    groups: tuple[tuple[Code, ...], ...]
    frequent: tuple[Code, ...] = ()
    cliques: tuple[tuple[Code, ...], ...]
    parents: tuple[Parent, ...]
    coarse: tuple[tuple[Code, ...], ...] = ()
    parities: Annotated[tuple[tuple[Code, ...], ...], Meta(max_length=_MAX_PARITIES)] = ()
    halves: tuple[tuple[Half, ...], ...] = ()
    pool_rows: tuple[PoolRows, ...]
    pool_seed: Code

    @classmethod
    def read(cls, config: Mapping[str, Any], encoding: Encoding) -> TreeShape:
        """Reads an artifact's settings.

        Raises:
          ConfigError: they are none of a tree of this schema.
        """
        shape = read_typed(dict(config), cls, where="the generator's")
        sizes = [block.size for block in encoding.features] + [2] * len(shape.frequent)
        # More would take more memory than reading a release should.
        few = len(shape.frequent) <= MOST_FREQUENT * len(encoding.sets)
        good = few and sorted(set(shape.frequent) & set(range(encoding.num_items))) == list(
            shape.frequent
        )
        good = (
            good
            and [len(part) for part in shape.groups] == sizes
            and all(map(_numbered, shape.groups))
        )
        measured = list(shape.sizes[: len(encoding.features)]) if good else []
        good = good and all(part == (0, 1) for part in shape.groups[len(measured) :])
        if good and shape.coarse:
            good = [len(part) for part in shape.coarse] == measured
            good = good and all(map(_numbered, shape.coarse))
        if good and shape.parities:
            good = [len(part) for part in shape.halves] == measured
        features = range(len(sizes))
        good = good and len(shape.pool_rows) == encoding.num_classes
        good = good and len(shape.cliques) == len(shape.parents) > 0
        good = good and all(
            part and all(c in features for c in part) and sorted(set(part)) == list(part)
            for part in (*shape.cliques, *shape.parities)
        )
        good = good and all(c < len(measured) for part in shape.parities for c in part)
        if not good or not shape.tree.is_tree():
            raise ConfigError(
                "the generator's groups and cliques are none of a tree of this schema; use the "
                "schema that it was made with"
            )
        if shape.tree.num_cells > _MAX_CELLS:
            raise ConfigError(
                f"the generator's cliques have {shape.tree.num_cells:,} cells, at most "
                f"{_MAX_CELLS:,} are read"
            )
        return shape

    def config(self) -> dict[str, Any]:
        """Returns JSON-able values; `read` reads them back."""
        return {
            "groups": [list(part) for part in self.groups],
            "frequent": list(self.frequent),
            "cliques": [list(clique) for clique in self.cliques],
            "parents": list(self.parents),
            "coarse": [list(part) for part in self.coarse],
            "parities": [list(columns) for columns in self.parities],
            "halves": [list(part) for part in self.halves],
            "pool_rows": list(self.pool_rows),
            "pool_seed": self.pool_seed,
        }

    @property
    def sizes(self) -> tuple[int, ...]:
        """Groups of each feature."""
        return tuple(max(part) + 1 for part in self.groups)

    @property
    def coarse_sizes(self) -> tuple[int, ...]:
        """Coarse groups of each feature; empty without triples."""
        return tuple(max(part) + 1 for part in self.coarse)

    def coarse_codes(self, groups: Array) -> Array:
        """Returns the coarse groups (features, N) of groups; items of sets have none."""
        parts = zip(self.coarse, groups[: len(self.coarse)], strict=True)
        return np.stack([np.asarray(of)[part] for of, part in parts])

    def parity_codes(self, groups: Array) -> Array:
        """Returns whether an odd number of each set lie in upper halves, (sets, N), of groups."""
        parts = zip(self.halves, groups[: len(self.halves)], strict=True)
        upper = np.stack([np.asarray(of, dtype=np.uint8)[part] for of, part in parts])
        return odd_rows(upper, self.parities)

    @property
    def tree(self) -> CliqueTree:
        """The structure."""
        return CliqueTree(self.sizes, self.cliques, self.parents)

    @property
    def columns(self) -> CellTables:
        """Tables of the single columns."""
        return _all_tables(self.sizes, 1)

    @property
    def edges(self) -> CellTables:
        """Tables of the pairs within cliques."""
        return CellTables(self.sizes, self.tree.pairs)

    @property
    def pairs(self) -> CellTables:
        """Tables of all pairs."""
        return _all_tables(self.sizes, 2)

    @property
    def triples(self) -> CellTables:
        """Tables of all triples of coarse groups."""
        return _all_tables(self.coarse_sizes, 3)

    @property
    def parity_tables(self) -> CellTables:
        """Tables of the parities, each with the cells even and odd."""
        return _all_tables((2,) * len(self.parities), 1)


@dataclass(frozen=True, eq=False)
class Tree:
    """A published tree, read.

    Attributes:
      encoding: of the schema.
      shape: groups and cliques.
      arrays: as `tree_shapes` lists them.
    """

    encoding: Encoding
    shape: TreeShape
    arrays: Mapping[str, Array]

    @classmethod
    def of(cls, artifact: Artifact, encoding: Encoding) -> Tree:
        """Reads a published tree.

        Raises:
          ConfigError: it was made for another schema.
        """
        shapes = tree_shapes(artifact.config, encoding)
        if {name: array.shape for name, array in artifact.arrays.items()} != shapes:
            raise ConfigError(
                "the generator's arrays do not fit the schema; use the schema that it was made with"
            )
        arrays = {
            name: np.asarray(array, dtype=np.float64) for name, array in artifact.arrays.items()
        }
        return cls(encoding, TreeShape.read(artifact.config, encoding), arrays)

    def group_shares(self, label: int, feature: int) -> Array:
        """Returns the share of each cell of a feature within its group, in a class, (G, size)."""
        if feature >= len(self.encoding.features):  # an item of a set
            return np.eye(2)
        block = self.encoding.features[feature]
        groups = np.asarray(self.shape.groups[feature])
        cells = self.arrays["cells"][label, block.start : block.start + block.size]
        shares = np.zeros((self.shape.sizes[feature], block.size))
        shares[groups, np.arange(block.size)] = cells
        total = shares.sum(axis=1, keepdims=True)
        return np.asarray(shares / np.where(total > 0, total, 1.0))

    def log_potentials(self, label: int) -> list[Array]:
        """Returns the logarithms of the cliques' tables in a class; their product is the tree."""
        return log_potentials(
            self.shape.tree, self.arrays["base"][label], self.arrays["edges"][label]
        )

    def marginals(self, label: int) -> tuple[list[Array], float]:
        """Returns each clique's marginal in a class without its tilt, and the log of their sum."""
        return marginals(self.shape.tree, self.arrays["base"][label], self.arrays["edges"][label])

    def pool(self, label: int) -> Array:
        """Returns the rows that the tilt of a class was fitted to, as groups (features, R).

        They are `pool_rows` at the most: rows whose sets cannot be are left out.
        """
        tables, _ = self.marginals(label)
        rng = np.random.default_rng([self.shape.pool_seed, label])
        return self.possible(self.shape.tree.draw(tables, self.shape.pool_rows[label], rng))

    def possible(self, groups: Array) -> Array:
        """Returns the rows, as groups (features, N), whose sets can be; all if none can."""
        rules = SetRules.of(self.encoding, self.shape.groups, self.shape.frequent)
        kept = rules.kept(groups)
        return groups[:, kept] if kept.any() else groups

    def log_tilt(self, label: int, groups: Array) -> Array:
        """Returns the logarithm of the tilt's weight of each record (N,).

        Args:
          label: class of the records.
          groups: (features, N) groups.
        """
        logs = self.shape.columns.sums(self.arrays["columns"][label], groups)
        logs += self.shape.pairs.sums(self.arrays["pairs"][label], groups)
        if self.shape.coarse:
            coarse = self.shape.coarse_codes(groups)
            logs += self.shape.triples.sums(self.arrays["triples"][label], coarse)
        if self.shape.parities:
            odd = self.shape.parity_codes(groups)
            logs += self.shape.parity_tables.sums(self.arrays["parities"][label], odd)
        return logs


def log_potentials(tree: CliqueTree, base: Array, edges: Array) -> list[Array]:
    """Returns the logarithms of the cliques' tables.

    Args:
      tree: the structure.
      base: (sum of sizes,) of each column's groups, one column after the other.
      edges: (length,) of the pairs within cliques, as `CellTables` of them lays them out.
    """
    logs = [np.zeros(shape) for shape in tree.shapes]
    ends = np.cumsum([0, *tree.sizes])
    for column, (start, end) in enumerate(itertools.pairwise(ends)):
        home = tree.homes[column,]
        logs[home] += tree.spread(base[start:end], (column,), home)
    for pair, table in CellTables(tree.sizes, tree.pairs).split(edges):
        home = tree.homes[pair]
        logs[home] += tree.spread(table, pair, home)
    return logs


def marginals(tree: CliqueTree, base: Array, edges: Array) -> tuple[list[Array], float]:
    """Returns each clique's marginal, and the logarithm of the sum over all records' chances."""
    logs = log_potentials(tree, base, edges)
    tops = [float(table.max()) for table in logs]
    tables, log_total = tree.calibrate(
        [np.exp(table - top) for table, top in zip(logs, tops, strict=True)]
    )
    return tables, log_total + sum(tops)


def log_mean(logs: Array) -> float:
    """Returns the logarithm of the mean of weights that are given as logarithms."""
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).mean()))


def tree_shapes(config: Mapping[str, Any], encoding: Encoding) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each array that a tree is published with.

    Raises:
      ConfigError: the settings are none of a tree of this schema.
    """
    shape, classes = TreeShape.read(config, encoding), encoding.num_classes
    shapes: dict[str, tuple[int, ...]] = {
        "class_prior": (classes,),
        "log_scale": (classes,),
        "base": (classes, sum(shape.sizes)),
        "edges": (classes, shape.edges.length),
        "columns": (classes, shape.columns.length),
        "pairs": (classes, shape.pairs.length),
        "cells": (classes, encoding.width),
    }
    if encoding.sets:
        shapes["item_rates"] = (classes, encoding.num_items)
    if shape.coarse:
        shapes["triples"] = (classes, shape.triples.length)
    if shape.parities:
        shapes["parities"] = (classes, shape.parity_tables.length)
    return shapes


def _all_tables(sizes: Sequence[int], order: int) -> CellTables:
    return CellTables(tuple(sizes), tuple(itertools.combinations(range(len(sizes)), order)))


def _numbered(codes: Sequence[int]) -> bool:
    return len(codes) > 0 and set(codes) == set(range(max(codes) + 1))
