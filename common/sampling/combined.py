"""A mixture given the fixed combinations of a schema: exact, without a draw in vain.

Within a component columns are independent, so the probability of each listed combination is a
product, and so is that of a record in which some column of the constraint is missing and the
constraint therefore holds. Components are weighed by the sum of these, and a record's combination,
or "some column is missing", is drawn in proportion to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fedloom.common.constraints import combination_table
from fedloom.common.decoding import has_no_value
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.models.mixture import Mixture, end_to_end
from fedloom.common.sampling.allowed import AllowedValues
from fedloom.common.sampling.conditions import any_value
from fedloom.common.sampling.sources import Source
from fedloom.common.schema_constraint import Constraint

__all__ = ["ConditionedMixture", "cells_of_numbers"]

Array = npt.NDArray[Any]

# Components times combinations; beyond it constraints are kept by rejection and repair.
_MAX_CHANCES = 1 << 24
_BELOW_ONE = 1.0 - 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class _Member:
    """A column of a constraint.

    Attributes:
      name: Its name.
      chances: Probability of each of its cells in each component, (L, size).
      missing: Which cells (size,) have no value.
      cells: Its cell in each combination, (R,).
      numbers: Its number in each combination, (R,), or None for a category.
      feature: Its place among the features, or None for the label.
    """

    name: str
    chances: Array
    missing: Array
    cells: Array
    numbers: Array | None
    feature: int | None


@dataclass(frozen=True, slots=True, eq=False)
class _Joint:
    """A constraint's columns, together.

    Attributes:
      members: Its columns.
      keys: Distribution functions of all components end to end, over the combinations and then
        which column is the first that is missing: (L * (R + J),).
      choices: R + J.
    """

    members: tuple[_Member, ...]
    keys: Array
    choices: int


class ConditionedMixture:
    """Draws from a mixture given all fixed combinations."""

    def __init__(self, mixture: Mixture, joints: list[_Joint]) -> None:
        self._mixture, self._joints = mixture, joints

    @classmethod
    def of(cls, source: Source, allowed: Mapping[str, AllowedValues]) -> ConditionedMixture | None:
        """Weighs a mixture by the fixed combinations of its schema.

        Args:
          source: What records are drawn from, conditioned.
          allowed: What the conditions allow, by column.

        Returns:
          None if there are no such constraints, or the source is no mixture, or one too large.

        Raises:
          ConfigError: no combination meets the conditions.
        """
        if not isinstance(source, Mixture):
            return None
        constraints = [c for c in source.encoding.schema.constraints if c.kind != "order"]
        size = sum(len(constraint.rows) for constraint in constraints) * len(source.weights)
        if not constraints or size > _MAX_CHANCES:
            return None
        weights, joints = source.weights, []
        for constraint in constraints:
            chances, members = _chances(source, constraint, allowed)
            weights = weights * chances.sum(axis=1)
            if weights.sum() <= 0:
                raise ConfigError(
                    "the conditions contradict the schema's constraints: the "
                    f"{constraint.name} list none that meets them; widen the conditions"
                )
            joints.append(_Joint(members, end_to_end(chances), chances.shape[1]))
        return cls(replace(source, weights=weights / weights.sum()), joints)

    def draw(self, rows: int, rng: np.random.Generator) -> tuple[Array, Array, dict[str, Array]]:
        """Draws records.

        Returns:
          Feature codes (N, m), classes (N,), and by column of an integer constraint the number of
          each record, (N,), NaN where it is still to be drawn.
        """
        components, codes = self._mixture.draw_sorted(rows, rng)
        numbers = {}
        for joint in self._joints:
            draws = components + rng.random(rows) * _BELOW_ONE
            choice = np.searchsorted(joint.keys, draws, side="right") - components * joint.choices
            combinations = joint.choices - len(joint.members)
            listed = choice < combinations
            for position, member in enumerate(joint.members):
                if member.feature is not None:
                    column = codes[:, member.feature]
                    column[listed] = member.cells[choice[listed]]
                    first = choice - combinations
                    _set_cells(member, column, components, first == position, True, rng)
                    _set_cells(member, column, components, first > position, False, rng)
                if member.numbers is not None:
                    given = np.full(rows, np.nan)
                    given[listed] = member.numbers[choice[listed]]
                    numbers[member.name] = given
        order = rng.permutation(rows)
        numbers = {name: given[order] for name, given in numbers.items()}
        return codes[order], self._mixture.classes[components[order]], numbers


def cells_of_numbers(encoding: Encoding, index: int, numbers: Array) -> Array:
    """Returns the cells of a column for numbers to compare (R,); see `Comparable`."""
    grid, block = encoding.grids[index], encoding.blocks[index]
    if grid is None:
        return np.where(numbers >= block.num_bins, block.size - 1, numbers)
    cells = grid.locate(np.clip(numbers, grid.starts[0], grid.stops[-1])).astype(np.int64)
    for position, special in enumerate(grid.specials):
        cells[numbers == special] = grid.size + position
    return cells


def _chances(
    mixture: Mixture, constraint: Constraint, allowed: Mapping[str, AllowedValues]
) -> tuple[Array, tuple[_Member, ...]]:
    """Returns the probability of each choice (L, R + J) in each component, and the columns.

    A choice is a combination, or the first column, in the constraint's order, that is missing.
    """
    table = np.array(combination_table(constraint, mixture.encoding.schema))
    members = tuple(
        _member(mixture, name, table[:, position])
        for position, name in enumerate(constraint.columns)
    )
    listed = np.ones((len(mixture.weights), len(table)))
    present, firsts = np.ones(len(mixture.weights)), []
    for member in members:
        listed *= member.chances[:, member.cells] * _shares(mixture.encoding, member, allowed)
        missing = (member.chances * member.missing).sum(axis=1)
        firsts.append(present * missing)
        present = present * (1.0 - missing)
    return np.concatenate([listed, np.stack(firsts, axis=1)], axis=1), members


def _member(mixture: Mixture, name: str, wanted: Array) -> _Member:
    encoding = mixture.encoding
    index = encoding.schema.names.index(name)
    column, block = encoding.schema.columns[index], encoding.blocks[index]
    missing = has_no_value(column, block, np.arange(block.size))
    cells = cells_of_numbers(encoding, index, wanted)
    numbers = None if encoding.grids[index] is None else wanted.astype(np.float64)
    for position, feature in enumerate(encoding.features):
        if feature.name == name:
            chances = mixture.cells[:, feature.start : feature.start + feature.size]
            chances = chances.astype(np.float64)
            return _Member(name, chances, missing, cells, numbers, position)
    label = np.eye(encoding.num_classes)[mixture.classes]
    return _Member(name, label, missing, cells, numbers, None)


def _shares(encoding: Encoding, member: _Member, allowed: Mapping[str, AllowedValues]) -> Array:
    """Returns, for each combination (R,), the probability of its value given its cell."""
    given = allowed.get(member.name)
    if given is None:
        given = any_value(encoding, encoding.schema.names.index(member.name))
    if member.numbers is None:
        return (given.shares[member.cells] > 0).astype(np.float64)
    good = given.holds(member.cells, member.numbers)
    shares = np.zeros(len(member.cells))
    for row in np.flatnonzero(good):
        parts = given.cells == member.cells[row]
        shares[row] = 1.0 / (given.highs[parts] - given.lows[parts] + 1).sum()
    return shares


def _set_cells(
    member: _Member,
    column: Array,
    components: Array,
    chosen: Array,
    missing: bool,
    rng: np.random.Generator,
) -> None:
    """Draws a column anew at chosen records: among cells without a value, or those with one."""
    places = np.flatnonzero(chosen)
    if len(places):
        part = member.chances[components[places]] * (member.missing == missing)
        sums = np.cumsum(part, axis=1)
        draws = rng.random((len(places), 1)) * _BELOW_ONE * sums[:, -1:]
        column[places] = np.minimum((sums <= draws).sum(axis=1), sums.shape[1] - 1)
