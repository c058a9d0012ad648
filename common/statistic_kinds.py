"""The kinds of statistic: one entry each.

A statistic maps a record to a vector of bounded L2 norm, whatever the record holds; a site answers
with the noisy sum over its records. An entry says how the sum is laid out, which arrays a request
carries and what they may hold, and how people read it. A new statistic is its class and an entry
here: docs/extending.md walks through one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from numpy.typing import NDArray

from fedloom.common.arrays import Shapes, check_shapes
from fedloom.common.class_column_marginals import ClassColumnMarginals, check_class_groups
from fedloom.common.column_marginals import ColumnMarginals
from fedloom.common.discovery import Discovery
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.images.statistics import (
    ColumnSum,
    LookSum,
    check_request,
    image_sum,
    request_shapes,
)
from fedloom.common.images.votes import VOTES, VoteSum, check_candidates, vote_shapes
from fedloom.common.marginals import OneWayMarginals, TwoWayMarginals, check_groups
from fedloom.common.parities import Parities, check_halves
from fedloom.common.set_marginals import ItemCounts, ItemPairs, check_frequent
from fedloom.common.three_way_marginals import ThreeWayMarginals, check_coarse_groups

__all__ = ["STATISTICS", "Statistic", "StatisticKind", "statistic_kind"]

Array = NDArray[Any]
Arrays = Mapping[str, Array]


class Statistic(Protocol):
    """A sum over records whose layout is known."""

    @property
    def length(self) -> int:
        """Coordinates of the sum."""
        ...

    @property
    def l2_norm(self) -> float:
        """Most that one record adds, in the L2 norm."""
        ...

    def sum(self, features: Array, classes: Array) -> Array:
        """Returns the exact sum over records, (length,): int64, or float64 of real numbers."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticKind:
    """What fedloom knows of a kind of statistic.

    Attributes:
      name: as plans say it.
      words: what is counted, for people.
      of: the statistic, from the coder of records and the arrays of a request.
      arrays: shape and type of each array of a request.
      check: refuses arrays of the right shapes that say what they may not.
      counts_columns: whether it is the one-way counts of the schema's columns.
      fixed_length: whether the layout follows from the schema alone.
      integer_valued: whether every exact sum is a vector of integers; sums of real numbers are
        rounded to a finer grid, which adds to their noise.
    """

    name: str
    words: str
    of: Callable[[Any, Arrays], Statistic]
    arrays: Callable[[Any], Shapes] = lambda coder: {}
    check: Callable[[Any, Arrays, int], None] = lambda coder, arrays, max_cells: None
    fixed_length: bool = True
    counts_columns: bool = False
    integer_valued: bool = True

    def check_arrays(self, coder: Any, arrays: Arrays, max_cells: int) -> None:
        """Checks the arrays of a request.

        Args:
          coder: the encoding, or the discovery of an open schema.
          arrays: of the request.
          max_cells: most coordinates that the sum may have.

        Raises:
          ConfigError: a name, shape, type or value is not what the statistic takes.
        """
        check_shapes(self.name, arrays, self.arrays(coder))
        self.check(coder, arrays, max_cells)


def _pairwise(coder: Encoding, arrays: Arrays) -> TwoWayMarginals:
    return TwoWayMarginals(coder, arrays.get("groups"))


def _groups(coder: Encoding) -> Shapes:
    return {"groups": ((coder.width,), "int32")}


def _check_groups(coder: Encoding, arrays: Arrays, max_cells: int) -> None:
    check_groups(coder, arrays["groups"], max_cells)


def _one_way(coder: Encoding, arrays: Arrays) -> OneWayMarginals:
    return OneWayMarginals(coder)


def _columns(coder: Encoding, arrays: Arrays) -> ColumnMarginals:
    return ColumnMarginals(coder)


def _class_columns(coder: Encoding, arrays: Arrays) -> ClassColumnMarginals:
    return ClassColumnMarginals(coder, arrays["groups"])


def _check_class_columns(coder: Encoding, arrays: Arrays, max_cells: int) -> None:
    check_class_groups(coder, arrays["groups"], max_cells)


def _three_way(coder: Encoding, arrays: Arrays) -> ThreeWayMarginals:
    return ThreeWayMarginals(coder, arrays["groups"])


def _check_three_way(coder: Encoding, arrays: Arrays, max_cells: int) -> None:
    check_coarse_groups(coder, arrays["groups"], max_cells)


def _parities(coder: Encoding, arrays: Arrays) -> Parities:
    return Parities(coder, arrays["halves"])


def _halves(coder: Encoding) -> Shapes:
    return {"halves": ((coder.width,), "int32")}


def _check_parities(coder: Encoding, arrays: Arrays, max_cells: int) -> None:
    check_halves(coder, arrays["halves"])


def _items(coder: Encoding, arrays: Arrays) -> ItemCounts:
    return ItemCounts(coder)


def _item_pairs(coder: Encoding, arrays: Arrays) -> ItemPairs:
    return ItemPairs(coder, arrays["groups"], arrays["frequent"])


def _frequent(coder: Encoding) -> Shapes:
    return {**_groups(coder), "frequent": ((coder.num_items,), "int32")}


@dataclass(frozen=True, slots=True)
class _OpenColumns:
    """The discovery of an open schema; its records have no classes."""

    discovery: Discovery

    @property
    def length(self) -> int:
        return self.discovery.length

    @property
    def l2_norm(self) -> float:
        return self.discovery.l2_norm

    def sum(self, features: Array, classes: Array) -> Array:
        return self.discovery.sum(features)


def _discovery(coder: Discovery, arrays: Arrays) -> _OpenColumns:
    return _OpenColumns(coder)


_IMAGE_WORDS = {
    "image-means": "sums of the images of each class in a public basis, each image clipped",
    "image-spread": "second moments of all images about the means of their classes, each clipped",
    "image-class-spread": "second moments of the images of each class in directions that are "
    "chosen from the sums before, each clipped",
    "image-group-means": "counts and sums of the images nearest to each of a few centres in a "
    "class, each clipped",
    "image-group-spread": "counts, sums and second moments of the images nearest to each of a few "
    "centres in a class, each clipped",
}

STATISTICS: dict[str, StatisticKind] = {
    entry.name: entry
    for entry in (
        StatisticKind(
            name="one-way",
            words="counts of every column's values within each class",
            of=_one_way,
            counts_columns=True,
        ),
        StatisticKind(
            name="pairwise",
            words="counts of pairs of columns within each class, on cells that are chosen from "
            "the first counts",
            of=_pairwise,
            arrays=_groups,
            check=_check_groups,
            fixed_length=False,
        ),
        StatisticKind(
            name="columns",
            words="counts of each column's values and, of fine axes, of wider ranges, and of the "
            "classes",
            of=_columns,
            counts_columns=True,
        ),
        StatisticKind(
            name="class-columns",
            words="counts of single columns within each class, on the cells of the pairs",
            of=_class_columns,
            arrays=_groups,
            check=_check_class_columns,
            fixed_length=False,
        ),
        StatisticKind(
            name="three-way",
            words="counts of triples of columns within each class, on two or three coarse groups "
            "of each column's values",
            of=_three_way,
            arrays=_groups,
            check=_check_three_way,
            fixed_length=False,
        ),
        StatisticKind(
            name="parities",
            words="for each set of three, four or five columns, each cut in two halves, how many "
            "more records of a class have an even number of values in upper halves than have an "
            "odd one (of two classes, the difference between them)",
            of=_parities,
            arrays=_halves,
            check=_check_parities,
        ),
        StatisticKind(
            name="items",
            words="counts of the items of sets, of each record as many as are kept at the most",
            of=_items,
        ),
        StatisticKind(
            name="item-pairs",
            words="counts within each class of the items of sets and, of items that are frequent "
            "by the first counts, with the cells of every column and with each other",
            of=_item_pairs,
            arrays=_frequent,
            check=check_frequent,
            fixed_length=False,
        ),
        StatisticKind(
            name="discovery",
            words="counts that give bounds and categories of the columns that the schema leaves "
            "open",
            of=_discovery,
        ),
        *(
            StatisticKind(
                name=name,
                words="counts of the images nearest to each of a few candidate images in a class",
                of=VoteSum,
                arrays=vote_shapes,
                check=check_candidates,
            )
            for name in VOTES
        ),
        StatisticKind(
            name="image-columns",
            words="counts of every column's values within each class",
            of=ColumnSum,
            counts_columns=True,
        ),
        StatisticKind(
            name="image-look",
            words="histograms of the images' values within each class, and sums of coarse images "
            "without and with a frame of their own",
            of=LookSum,
        ),
        *(
            StatisticKind(
                name=name,
                words=words,
                of=image_sum(name),
                arrays=partial(request_shapes, name),
                check=check_request(name),
                fixed_length=False,
            )
            for name, words in _IMAGE_WORDS.items()
        ),
    )
}


def statistic_kind(name: str) -> StatisticKind:
    """Returns the entry of a kind.

    Raises:
      ConfigError: there is no such kind.
    """
    if name not in STATISTICS:
        raise ConfigError(f"statistic {name!r} must be one of {', '.join(STATISTICS)}")
    return STATISTICS[name]
