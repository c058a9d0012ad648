"""Products of signs of three to five columns and the label: the parity look.

Each column is cut into two halves, and a record is +1 or -1 in it. For a set of columns the look
sums the product of the record's signs, times the sign of its class. A label that is the parity of
some columns makes the sum of that set as large as the table; columns that have nothing to do with
each other make it small. One number a set is so little that sets of four and five columns can be
asked for together, of which no table would stand out from noise. It is blind to what halves hide.

Which sets there are follows from the numbers of columns and classes alone. A record adds +1 or -1
to the sum of each set, whatever it holds and whatever the halves, so sensitivity, noise and price
are fixed beforehand, and halves may follow earlier answers. Two classes have the signs +1 and -1;
of more classes, and without a label, each has sums of its own, of which a record is in one at the
most.

Source: Walsh-Hadamard coefficients as private queries, Barak et al. 2007 (PODS), section 3.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.marginals import check_numbered

__all__ = [
    "NoisyParities",
    "Parities",
    "check_halves",
    "class_signs",
    "odd_rows",
    "parity_rows",
    "parity_sets",
    "parity_sums",
]

Array = NDArray[Any]
Sets = tuple[tuple[int, ...], ...]

# Columns of a set, and how many sets are asked for at the most. Below so many columns triples say
# all that there is to say.
_ORDERS, _MOST_SETS, _FEWEST_COLUMNS = (3, 4, 5), 40_000, 4
# Sums of all sets and classes, and classes with sums of their own: what a site can hold and add up.
_MOST_SUMS, _MOST_ROWS = 2_000_000, 1_000
# Records that are multiplied at a time: sums of so many signs are exact in single precision.
_CHUNK_ROWS = 1 << 12


def parity_sets(columns: int, rows: int) -> Sets:
    """Returns the sets of columns that are asked for, ascending: all threes, then fours, fives.

    A size is asked for as a whole, as far as all sets together stay below a fixed number: all three
    sizes up to 22 columns, threes and fours up to 31, threes up to 63, beyond that none. With
    classes that have sums of their own all sums together are bounded as well, at 2,000,000, which
    50 classes reach; beyond 1,000 classes there are no sets.

    Args:
      columns: number of columns beside the label.
      rows: sums of a set, from `parity_rows`.

    >>> len(parity_sets(14, 1)), len(parity_sets(40, 1)), len(parity_sets(64, 1))
    (3367, 9880, 0)
    >>> len(parity_sets(22, 300)), len(parity_sets(22, 1001))
    (1540, 0)
    """
    if rows > _MOST_ROWS:
        return ()
    asked, total = [], 0
    for order in _ORDERS if columns >= _FEWEST_COLUMNS else ():
        total += math.comb(columns, order)
        if total > _MOST_SETS or total * rows > _MOST_SUMS:
            break
        asked.append(order)
    sets = (itertools.combinations(range(columns), order) for order in asked)
    return tuple(itertools.chain.from_iterable(sets))


def parity_rows(sampleable: Sequence[bool]) -> int:
    """Returns how many rows `class_signs` has, without making them.

    Args:
      sampleable: of each class, whether it may be synthesised.

    >>> parity_rows([True, True, False]), parity_rows([True, True, True])
    (1, 3)
    """
    count = int(np.count_nonzero(sampleable))
    return 1 if count == 2 else count


def class_signs(sampleable: Sequence[bool]) -> NDArray[np.int64]:
    """Returns the sign of each class (columns) in each of the sums of a set (rows), or 0.

    Args:
      sampleable: of each class, whether it may be synthesised; what a value that the schema does
        not know is put into may not, and adds nothing.

    >>> class_signs([True, True, False]).tolist()
    [[1, -1, 0]]
    """
    own: NDArray[np.int64] = np.eye(len(sampleable), dtype=np.int64)[np.flatnonzero(sampleable)]
    return np.subtract(own[:1], own[1:]) if len(own) == 2 else own


class Parities:
    """The sum of each set's products of signs, of all classes with a sign or class by class.

    A record changes one sum of each set by one, or none: the L2 norm is the root of the number of
    sets. Integers; one Gaussian mechanism under adding or removing one unit of privacy.

    Layout, for each row of `class_signs`: the sets in the order of `parity_sets`.
    """

    kind = "parities"

    def __init__(self, encoding: Encoding, halves: Array) -> None:
        """Takes the layout from a public encoding, and the half (0 or 1) of each cell, (D,)."""
        self.encoding, self.halves = encoding, halves
        self.sets = parity_sets(len(encoding.features), parity_rows(encoding.class_sampleable))
        self.signs = class_signs(encoding.class_sampleable)
        self.length = len(self.signs) * len(self.sets)
        self.l2_norm = math.sqrt(len(self.sets))

    def sum(self, feature_codes: Array, classes: Array) -> Array:
        """Returns the exact sums of a table, (length,) int64.

        Args:
          feature_codes: (N, m) codes, each within its block.
          classes: (N,) class of each record.
        """
        halves = np.stack(
            [
                self.halves[block.start + feature_codes[:, column]]
                for column, block in enumerate(self.encoding.features)
            ]
        )
        sums = [parity_sums(halves, of[classes.astype(np.int64)], self.sets) for of in self.signs]
        return np.rint(np.concatenate(sums)).astype(np.int64)


def parity_sums(halves: Array, weights: Array, sets: Sets) -> NDArray[np.float64]:
    """Returns each set's sum of weighted products of signs, (sets,); a half 0 is +1, a half 1 -1.

    The columns of a set are parted in two, and all products of two parts are one product of
    matrices. With weights of -1, 0 and 1 the sums are exact.

    Args:
      halves: (m, N) half of each record in each column, 0 or 1.
      weights: (N,) of the records.
      sets: ascending columns of each set.
    """
    used = np.flatnonzero(weights)
    signs, weights = 1.0 - 2.0 * halves[:, used].astype(np.float32), weights[used]
    found = np.zeros(len(sets))
    by_order: dict[int, list[int]] = {}
    for place, columns in enumerate(sets):
        by_order.setdefault(len(columns), []).append(place)
    for order, places in by_order.items():
        first = _Parts([sets[place][: order // 2] for place in places])
        second = _Parts([sets[place][order // 2 :] for place in places])
        products = np.zeros((len(first.columns), len(second.columns)))
        for start in range(0, len(used), _CHUNK_ROWS):
            rows = slice(start, start + _CHUNK_ROWS)
            left = first.products(signs[:, rows]) * weights[rows].astype(np.float32)
            products += left @ second.products(signs[:, rows]).T
        found[places] = products[first.places, second.places]
    return found


def odd_rows(halves: Array, sets: tuple[tuple[int, ...], ...]) -> Array:
    """Returns whether an odd number of each set's columns lie in upper halves, (sets, N) uint8.

    Args:
      halves: (m, N) half of each row in each column, 0 or 1.
      sets: columns of each set.
    """
    found = np.zeros((len(sets), halves.shape[1]), dtype=np.uint8)
    for number, columns in enumerate(sets):
        found[number] = halves[list(columns)].sum(axis=0) % 2
    return found


class _Parts:
    """The different parts of some sets, and where the part of each set is among them."""

    def __init__(self, parts: list[tuple[int, ...]]) -> None:
        self.columns, self.places = np.unique(np.array(parts), axis=0, return_inverse=True)
        self.places = self.places.reshape(-1)

    def products(self, signs: Array) -> Array:
        """Returns the product of the signs (m, N) of the columns of each part, (parts, N)."""
        found: Array = signs[self.columns[:, 0]]
        for columns in self.columns.T[1:]:
            found = found * signs[columns]
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class NoisyParities:
    """The noisy `Parities` sum over sites.

    Attributes:
      halves: (D,) int32 half of each cell.
      sums: (rows of `class_signs`, sets) noisy sums.
      std: standard deviation of their noise.
    """

    halves: Array
    sums: Array
    std: float

    @property
    def count(self) -> int:
        """Sets."""
        return int(self.sums.shape[1])


def check_halves(encoding: Encoding, halves: Array) -> None:
    """Refuses an array that does not say for each cell in which half of its column it lies.

    Args:
      encoding: the public encoding.
      halves: (D,) int32; within each block 0, or 0 and 1.

    Raises:
      ConfigError: says what is wrong.
    """
    check_numbered(encoding, halves)
    if halves.max() > 1:
        raise ConfigError(
            f"a parity look cuts a column into the halves 0 and 1, got {int(halves.max())}"
        )
