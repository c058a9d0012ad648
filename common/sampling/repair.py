"""Changes records so that they keep the schema's constraints, as little as can be.

An order: from below, a number that is out of place is drawn anew from the class's marginal of its
column, cut to what the others leave it. That is never nothing: each column's upper limit is the
largest number that still leaves room for all above it. A combination: among those that change the
fewest columns one is drawn in proportion to its probability, columns taken on their own.

All of it is post-processing of the generator.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fedloom.common.constraints import applies, combination_ids, combination_table
from fedloom.common.encoding import Encoding
from fedloom.common.grid import Grid
from fedloom.common.models.mixture import Mixture
from fedloom.common.sampling.allowed import AllowedValues
from fedloom.common.sampling.combined import cells_of_numbers
from fedloom.common.sampling.conditions import any_value
from fedloom.common.sampling.rows import Rows
from fedloom.common.sampling.sources import Source
from fedloom.common.schema_constraint import Constraint, in_topological_order

__all__ = ["Repair"]

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

_CHUNK = 1 << 22
_TINY = 1e-12


class Repair:
    """Mends records of one generator under given conditions."""

    def __init__(
        self, encoding: Encoding, source: Source, allowed: Mapping[str, AllowedValues]
    ) -> None:
        """Takes what records were drawn from, and what conditions allow of each column."""
        self._encoding = encoding
        self._source = source
        schema = encoding.schema
        self._index = {name: i for i, name in enumerate(schema.names)}
        self._orders = [c for c in schema.constraints if c.kind == "order"]
        self._combinations = [c for c in schema.constraints if c.kind != "order"]
        self._allowed = {
            name: allowed.get(name) or any_value(encoding, self._index[name])
            for constraint in schema.constraints
            for name in constraint.columns
        }

    def __call__(self, rows: Rows, rng: np.random.Generator, fixed: Mask | None = None) -> None:
        """Mends records in place.

        Args:
          rows: Records, of which some break constraints.
          rng: Source of the draws.
          fixed: Cells (N, columns) that must not change; where they contradict a constraint
            themselves, the record still breaks it afterwards.
        """
        if fixed is None:
            fixed = np.zeros(rows.codes.shape, dtype=bool)
        for constraint in self._combinations:
            self._mend_combination(constraint, rows, fixed, rng)
        active = np.array(
            [applies([rows.column(name) for name in order.columns]) for order in self._orders]
        ).reshape(len(self._orders), len(rows))
        for pattern in np.unique(active, axis=1).T:
            orders = [order for order, on in zip(self._orders, pattern, strict=True) if on]
            if orders:
                places = np.flatnonzero((active == pattern[:, None]).all(axis=0))
                part = rows.take(places)
                self._mend_orders(orders, part, fixed[places], rng)
                rows.put(places, part, np.arange(len(places)))

    @cached_property
    def _mixture(self) -> Mixture:
        return self._source.mixture()

    @cached_property
    def _marginals(self) -> Array:
        """Probabilities (C, D) of the features' cells within each class."""
        return self._mixture.marginals()

    def _chances(self, name: str) -> Array:
        """Returns the probabilities (C, size) of a column's cells within each class."""
        for block in self._encoding.features:
            if block.name == name:
                return self._marginals[:, block.start : block.start + block.size]
        return np.broadcast_to(self._mixture.prior(), (self._encoding.num_classes,) * 2)

    def _mend_orders(
        self, orders: list[Constraint], rows: Rows, fixed: Mask, rng: np.random.Generator
    ) -> None:
        steps = [
            (below, above, order.strict)
            for order in orders
            for below, above in zip(order.columns, order.columns[1:], strict=False)
        ]
        names = in_topological_order(orders)
        tops: dict[str, Array] = {}
        for name in reversed(names):
            limit = np.full(len(rows), np.inf)
            for below, above, strict in steps:
                if below == name:
                    top = np.nextafter(tops[above], -np.inf) if strict else tops[above]
                    limit = np.minimum(limit, top)
            own = rows.values[self._index[name]]
            assert own is not None
            held = fixed[:, self._index[name]]
            tops[name] = np.where(held, own, self._allowed[name].largest(limit))
        for name in names:
            values = rows.values[self._index[name]]
            assert values is not None
            floor = np.full(len(rows), -np.inf)
            for below, above, strict in steps:
                if above == name:
                    lower = rows.values[self._index[below]]
                    assert lower is not None
                    floor = np.maximum(floor, np.nextafter(lower, np.inf) if strict else lower)
            wrong = ((values < floor) | (values > tops[name])) & ~fixed[:, self._index[name]]
            wrong &= (floor <= tops[name]) & (tops[name] > -np.inf)
            places = np.flatnonzero(wrong)
            if len(places):
                self._draw_between(name, rows, places, floor[places], tops[name][places], rng)

    def _draw_between(
        self, name: str, rows: Rows, places: Array, low: Array, high: Array, rng: Any
    ) -> None:
        """Draws a column anew at some records, each between two numbers of its own."""
        allowed, index = self._allowed[name], self._index[name]
        grid, values = allowed.grid, rows.values[index]
        assert grid is not None and values is not None
        chances = self._chances(name)
        classes = self._encoding.classes(rows.codes[places])
        chunk = max(1, _CHUNK // len(allowed.lows))
        for start in range(0, len(places), chunk):
            part = slice(start, start + chunk)
            lows = np.maximum(allowed.lows, low[part, None])
            highs = np.minimum(allowed.highs, high[part, None])
            if grid.discrete:
                lows, highs = np.ceil(lows), np.floor(highs)
            shares = allowed.sizes * _overlap(allowed, lows, highs, grid)
            weights = shares * chances[classes[part]][:, allowed.cells]
            none = weights.sum(axis=1) <= 0
            weights[none] = shares[none]
            sums = np.cumsum(weights, axis=1)
            draws = rng.random((len(sums), 1)) * sums[:, -1:]
            chosen = np.minimum((sums <= draws).sum(axis=1), sums.shape[1] - 1)
            each = np.arange(len(chosen))
            drawn = allowed.uniform(lows[each, chosen], highs[each, chosen], rng)
            # Between two reals without room for a part there is the upper one itself.
            stuck = (sums[:, -1] <= 0) | (drawn < low[part]) | (drawn > high[part])
            values[places[part]] = np.where(stuck, high[part], drawn)
        rows.codes[places, index] = cells_of_numbers(self._encoding, index, values[places])

    def _mend_combination(
        self, constraint: Constraint, rows: Rows, fixed: Mask, rng: np.random.Generator
    ) -> None:
        columns = [rows.column(name) for name in constraint.columns]
        found = combination_ids(constraint, self._encoding.schema, [c for c, _ in columns])
        places = np.flatnonzero((found < 0) & applies(columns))
        if not len(places):
            return
        table = np.array(combination_table(constraint, self._encoding.schema))
        indices = [self._index[name] for name in constraint.columns]
        cells = np.stack(
            [cells_of_numbers(self._encoding, i, table[:, j]) for j, i in enumerate(indices)],
            axis=1,
        )
        possible, logs = self._weigh(constraint, table, cells)
        if not possible.any():
            return
        table, cells, logs = table[possible], cells[possible], logs[:, possible]
        classes = self._encoding.classes(rows.codes)
        chunk = max(1, _CHUNK // len(table))
        for start in range(0, len(places), chunk):
            part = places[start : start + chunk]
            present = np.stack([values[part] for values, _ in columns], axis=1)
            differs = present[:, None, :] != table[None, :, :]
            distance = differs.sum(axis=2).astype(float)
            held = fixed[part][:, indices]
            distance[(differs & held[:, None, :]).any(axis=2)] = np.inf
            nearest = distance.min(axis=1)
            near = distance == nearest[:, None]
            scores = np.where(near, logs[classes[part]], -np.inf)
            scores += rng.gumbel(size=scores.shape)
            chosen, can = scores.argmax(axis=1), np.isfinite(nearest)
            for j, index in enumerate(indices):
                rows.codes[part[can], index] = cells[chosen[can], j]
                values = rows.values[index]
                if values is not None:
                    values[part[can]] = table[chosen[can], j]

    def _weigh(self, constraint: Constraint, table: Array, cells: Array) -> tuple[Mask, Array]:
        """Returns which combinations (R,) are allowed, and logarithms (C, R) of their chances."""
        possible = np.ones(len(table), dtype=bool)
        logs = np.zeros((self._encoding.num_classes, len(table)))
        own = np.arange(self._encoding.num_classes)[:, None]
        if self._encoding.target in constraint.columns:
            column = constraint.columns.index(str(self._encoding.target))
            own = self._encoding.class_of_cell[cells[:, column]][None, :]
        for j, name in enumerate(constraint.columns):
            possible &= self._allowed[name].holds(cells[:, j], table[:, j].astype(float))
            logs += np.log(self._chances(name)[own, cells[None, :, j]] + _TINY)
        return possible, logs


def _overlap(allowed: AllowedValues, lows: Array, highs: Array, grid: Grid) -> Array:
    """Returns which share (N, parts) of each part lies between the ends given."""
    if grid.discrete:
        whole = allowed.highs - allowed.lows + 1
        return np.asarray(np.maximum(highs - lows + 1, 0) / whole)
    widths = allowed.highs - allowed.lows
    within = (highs >= lows).astype(float)
    ratio = np.maximum(highs - lows, 0) / np.where(widths > 0, widths, 1.0)
    return np.asarray(np.where(widths > 0, ratio, within))
