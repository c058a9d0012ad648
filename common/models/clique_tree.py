"""A clique tree: a joint distribution of columns, exact to sum, to condition and to draw from.

Columns are divided into cliques that form a tree; every column's cliques are connected (the
running intersection), so the distribution is the product of the cliques' tables over that of the
separators', and two passes over the tree give every clique's marginal ("belief propagation").
Tables are dense; a structure is chosen so that they stay small.

Source: Lauritzen & Spiegelhalter 1988; Koller & Friedman 2009, chapter 10. Draws are systematic
within each state of what is given (Madow 1949), so counts of a clique vary less than independent
draws would make them, while each record has exactly its distribution.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CliqueTree", "stratified"]

Array = NDArray[Any]

_TINY = 1e-300
_BELOW_ONE = 1.0 - 1e-9


@dataclass(frozen=True, eq=False)
class CliqueTree:
    """The structure: which columns stand together, and how the cliques hang together.

    Attributes:
      sizes: number of codes of each column.
      cliques: columns of each clique, ascending; every column is in one.
      parents: the clique that each hangs on, -1 for the root; a parent comes before its children.
    """

    sizes: tuple[int, ...]
    cliques: tuple[tuple[int, ...], ...]
    parents: tuple[int, ...]

    @cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each clique's table."""
        return tuple(tuple(self.sizes[c] for c in clique) for clique in self.cliques)

    @cached_property
    def separators(self) -> tuple[tuple[int, ...], ...]:
        """Columns that each clique shares with its parent."""
        return tuple(
            () if parent < 0 else tuple(sorted(set(clique) & set(self.cliques[parent])))
            for clique, parent in zip(self.cliques, self.parents, strict=True)
        )

    @cached_property
    def homes(self) -> dict[tuple[int, ...], int]:
        """The first clique that holds each column, and each pair of columns a < b."""
        found: dict[tuple[int, ...], int] = {}
        for number, clique in enumerate(self.cliques):
            for key in [(c,) for c in clique] + list(itertools.combinations(clique, 2)):
                found.setdefault(key, number)
        return found

    @cached_property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """All pairs a < b of columns that stand in one clique, in order."""
        pairs = {pair for clique in self.cliques for pair in itertools.combinations(clique, 2)}
        return tuple(sorted(pairs))

    @property
    def num_cells(self) -> int:
        """Cells of all cliques' tables."""
        return sum(math.prod(shape) for shape in self.shapes)

    def is_tree(self) -> bool:
        """Whether parents come first, and the cliques of every column are connected."""
        for number, parent in enumerate(self.parents):
            if not (parent == -1 if number == 0 else 0 <= parent < number):
                return False
        held = set(self.cliques[0]) if self.cliques else set()
        for clique, separator in zip(self.cliques[1:], self.separators[1:], strict=True):
            if set(clique) & held != set(separator):
                return False
            held |= set(clique)
        return held == set(range(len(self.sizes)))

    def marginal(self, table: Array, clique: int, columns: Sequence[int]) -> Array:
        """Sums a clique's table down to some of its columns, ascending."""
        axes = tuple(i for i, c in enumerate(self.cliques[clique]) if c not in columns)
        return table.sum(axis=axes) if axes else table

    def margins(self, tables: Sequence[Array]) -> tuple[list[Array], list[Array]]:
        """Sums calibrated tables down to all single columns, and to all `pairs`.

        A clique's columns are summed out one after the other, the largest first, so that few
        sums go over the whole table.
        """
        pairs: dict[tuple[int, int], Array] = {}
        for number, clique in enumerate(self.cliques):
            left, table = list(clique), tables[number]
            for column in sorted(clique, key=lambda c: -self.sizes[c])[:-1]:
                for other in left:
                    pair = (min(column, other), max(column, other))
                    if other != column and self.homes[pair] == number:
                        axes = tuple(i for i, c in enumerate(left) if c not in pair)
                        pairs[pair] = table.sum(axis=axes) if axes else table
                table = table.sum(axis=left.index(column))
                left.remove(column)
        singles: dict[int, Array] = {}
        for (one, other), table in pairs.items():
            singles.setdefault(one, table.sum(axis=1))
            singles.setdefault(other, table.sum(axis=0))
        columns = range(len(self.sizes))
        alone = [c for c in columns if c not in singles]
        singles |= {c: tables[self.homes[c,]].reshape(self.sizes[c]) for c in alone}
        return [singles[c] for c in columns], [pairs[pair] for pair in self.pairs]

    def spread(self, table: Array, columns: Sequence[int], clique: int) -> Array:
        """Gives a table of some of a clique's columns the shape to multiply the clique's."""
        shape = [self.sizes[c] if c in columns else 1 for c in self.cliques[clique]]
        return table.reshape(shape)

    def calibrate(self, potentials: Sequence[Array]) -> tuple[list[Array], float]:
        """Returns each clique's marginal, and the logarithm of the sum over all cells.

        Args:
          potentials: nonnegative table of each clique; they are overwritten. Their product need
            not sum to 1; where it sums to 0 the logarithm is -inf and there are no marginals.
        """
        tables, log_total = list(potentials), 0.0
        messages: dict[int, Array] = {}
        for number in range(len(tables) - 1, 0, -1):
            parent, columns = self.parents[number], self.separators[number]
            message = self.marginal(tables[number], number, columns)
            top = float(message.max())
            if top <= 0.0:
                return tables, -math.inf
            log_total += math.log(top)
            messages[number] = message / top
            tables[number] /= top
            tables[parent] *= self.spread(messages[number], columns, parent)
        total = float(tables[0].sum())
        if total <= 0.0:
            return tables, -math.inf
        log_total += math.log(total)
        tables[0] /= total
        for number in range(1, len(tables)):
            parent, columns = self.parents[number], self.separators[number]
            wanted = self.marginal(tables[parent], parent, columns)
            ratio = wanted / np.maximum(messages[number], _TINY)
            tables[number] *= self.spread(ratio, columns, number)
        return tables, log_total

    def draw(self, marginals: Sequence[Array], rows: int, rng: np.random.Generator) -> Array:
        """Draws codes (columns, rows) int32: clique by clique, each given its separator."""
        codes = np.zeros((len(self.sizes), rows), dtype=np.int32)
        for number, clique in enumerate(self.cliques):
            given = self.separators[number]
            new = [c for c in clique if c not in given]
            if not new:
                continue
            order = [clique.index(c) for c in (*given, *new)]
            table = np.transpose(marginals[number], order)
            states = math.prod(self.sizes[c] for c in given)
            state = np.zeros(rows, dtype=np.int64)
            for c in given:
                state = state * self.sizes[c] + codes[c]
            cell = stratified(table.reshape(states, -1), state, rng)
            for c in reversed(new):
                codes[c] = cell % self.sizes[c]
                cell //= self.sizes[c]
        return codes


def stratified(chances: Array, state: Array, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draws an outcome for each record, given its state: systematically among those of a state.

    Each record's outcome has exactly the chances of its state; of n records of a state, within
    one of n times its chance get an outcome.

    Args:
      chances: (S, K), nonnegative, of each outcome in each state; a state that occurs has some.
      state: (N,) of each record.
      rng: source of the draws.
    """
    num_states, outcomes = chances.shape
    # Records of a state in random order, each with a part of [0, 1) of its own.
    order = np.argsort(state + rng.random(len(state)) * _BELOW_ONE, kind="stable")
    counts = np.bincount(state, minlength=num_states)
    starts = np.cumsum(counts) - counts
    held = state[order]
    shifts = np.asarray(rng.random(num_states))
    places = np.arange(len(state)) - starts[held] + shifts[held]
    at = held + np.minimum(places / np.maximum(counts, 1)[held], _BELOW_ONE)
    sums = np.cumsum(chances, axis=1, dtype=np.float64)
    total = np.where(sums[:, -1:] > 0, sums[:, -1:], 1.0)
    keys = (np.arange(num_states)[:, None] + sums / total).reshape(-1)
    found = np.empty(len(state), dtype=np.int64)
    chosen = np.searchsorted(keys, at, side="right") - held * outcomes
    found[order] = np.clip(chosen, 0, outcomes - 1)
    return found
