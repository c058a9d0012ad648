"""What a `tree` is made from: columns, pairs, coarse triples and parities, with their shares.

Everything follows from public values. A column's counts give rare values and the cells of all that
follows; pairs within classes are what the tree is fitted to and take most; columns within classes
say by themselves what the label has to do with each; triples on coarse groups take a seventh where
a table is narrow enough for their cells to stand out from noise; parities, one number for each set
of columns, find what more columns say together, also in wider tables. Items of sets are counted
twice: all of them beside the columns, and frequent ones with the columns and each other beside the
pairs. They take no share of their own: two sums beside each other split theirs in proportion to
what a record adds to them (its L2 norm), which makes the sum of the variances of their cells least.
The shares are of the budget
as 1 / noise variance; docs/decisions/ tells on which tables they were chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from fedloom.common.class_column_marginals import ClassColumnMarginals
from fedloom.common.column_marginals import ColumnMarginals
from fedloom.common.encoding import Encoding
from fedloom.common.errors import StudyError
from fedloom.common.marginals import OneWayMarginals, TwoWayMarginals, groups_of_one
from fedloom.common.parities import Parities, parity_rows, parity_sets
from fedloom.common.set_marginals import ItemCounts, ItemPairs, item_codes, item_pair_cells
from fedloom.common.study import MarginalKind, StatisticsSettings, Study
from fedloom.common.three_way_marginals import ThreeWayMarginals
from fedloom.privacy.measures import Measures, statistic_draft
from fedloom.privacy.phases import Draft
from fedloom.privacy.plan_size import check_statistics_size, max_pair_cells

__all__ = ["tree_measures"]

_ONE_WAY_SHARE, _CLASS_SHARE, _THREE_WAY_SHARE = 0.16, 0.14, 0.14
# Of parities: a part for each set, so that few sets do not bear less noise than they need to.
_PARITY_SHARE, _LEAST_PARITY_SHARE, _SHARE_OF_A_SET = 0.10, 0.02, 5e-6
# In wider tables a cell of triples holds little but noise.
_MOST_COLUMNS_OF_TRIPLES = 20
Counted = (
    OneWayMarginals
    | ColumnMarginals
    | TwoWayMarginals
    | ClassColumnMarginals
    | ThreeWayMarginals
    | Parities
    | ItemCounts
    | ItemPairs
)
_KINDS: tuple[MarginalKind, ...] = ("one-way", "pairwise", "three-way")


def tree_measures(study: Study, coder: Encoding) -> Measures:
    """Returns the counts that a tree is made from.

    Args:
      study: the agreement.
      coder: the encoding of its schema.

    Raises:
      StudyError: a setting does not fit, or the counts need too much memory.
    """
    settings = _resolved(study, coder)
    check_statistics_size(coder, settings)
    share, kind = settings.share or 0.0, settings.kind

    def draft(name: str, part: float, counted: Counted, max_cells: int) -> Draft:
        norm = counted.l2_norm
        return statistic_draft(study, name, share=part, record_norm=norm, max_cells=max_cells)

    # Sensitivity does not depend on the groups: one for each column is the smallest layout.
    one_group, cells = groups_of_one(coder) * 0, max_pair_cells(settings)
    no_items = np.zeros(coder.num_items, dtype=np.int32)
    of_items = [("items", ItemCounts(coder))] if coder.sets else []
    if item_pair_cells(coder, (), 0) > cells:
        raise StudyError(
            f"the items of sets have {item_pair_cells(coder, (), 0):,} counts within classes, "
            f"which do not fit into [statistics] memory_mb = {settings.memory_mb}; raise it, or "
            "list fewer items"
        )
    items_beside = [("item-pairs", ItemPairs(coder, one_group, no_items))] if coder.sets else []
    if kind == "one-way":  # classes and one column: all that there is to count, but for its items
        one_way = OneWayMarginals(coder)
        first = share * (settings.one_way_share or 0.0) if coder.sets else share
        looks = _beside(first, [("one-way", one_way), *of_items])
        drafts = [draft(name, part, counted, counted.length) for name, part, counted in looks]
        drafts += [
            draft(name, part, counted, cells)
            for name, part, counted in _beside(share - first, items_beside)
        ]
        return Measures(settings=settings, drafts=drafts)
    first = share * (settings.one_way_share or 0.0)
    of_classes = share * (settings.class_share or 0.0)
    third = share * (settings.three_way_share or 0.0) if kind == "three-way" else 0.0
    fourth = share * (settings.parity_share or 0.0)
    left = share - first - of_classes - third - fourth
    looks = _beside(first, [("columns", ColumnMarginals(coder)), *of_items])
    drafts = [draft(name, part, counted, counted.length) for name, part, counted in looks]
    drafts += [
        draft(name, part, counted, cells)
        for name, part, counted in _beside(
            left, [("pairwise", TwoWayMarginals(coder)), *items_beside]
        )
    ]
    if of_classes > 0:
        # At most as many groups as cells, and as the pairs' tables leave room for;
        # one group a column there always is.
        most = min(
            coder.num_classes * coder.width, max(cells, coder.num_classes * len(coder.features))
        )
        drafts.append(
            draft("class-columns", of_classes, ClassColumnMarginals(coder, one_group), most)
        )
    if third > 0:
        triples = ThreeWayMarginals(coder, one_group)
        drafts.append(draft("three-way", third, triples, cells))
    if fourth > 0:
        parities = Parities(coder, one_group)
        drafts.append(draft("parities", fourth, parities, parities.length))
    return Measures(settings=settings, drafts=drafts)


def _beside(
    share: float, sums: Sequence[tuple[str, Counted]]
) -> Iterator[tuple[str, float, Counted]]:
    """Splits a share among sums in proportion to their norms; yields name, part and sum.

    A sum of norm n at the share s has noise of variance n^2 / s in units of the whole budget, so
    that s in proportion to n makes the sum of the variances least.
    """
    weights = [_in_records(counted) for _, counted in sums]
    for (name, counted), weight in zip(sums, weights, strict=True):
        yield name, share * weight / sum(weights), counted


def _in_records(counted: Counted) -> float:
    """Returns a sum's norm as the noise of a number of records; signs halve it."""
    if not isinstance(counted, ItemPairs):
        return counted.l2_norm
    return counted.l2_norm / int(item_codes(counted.encoding).min())


def _resolved(study: Study, encoding: Encoding) -> StatisticsSettings:
    """Fills in what is counted at the most, and the shares of the budget.

    Raises:
      StudyError: there are fewer columns than the counts need, or nothing is left for pairs.
    """
    given, columns = study.statistics, len(encoding.features)
    possible = _KINDS[: min(columns, len(_KINDS))]
    usual = "pairwise" if columns > _MOST_COLUMNS_OF_TRIPLES else possible[-1]
    kind, share = given.kind or usual, 1.0 - study.evaluation.share
    if kind not in possible or (kind == "one-way" and columns > 1):
        raise StudyError(
            f'[statistics] kind = "{kind}" does not fit a tree of {columns} columns beside the '
            f"label; leave it out for {usual}"
        )
    if given.share not in (None, share):
        raise StudyError(
            f'kind = "{study.model.kind}" has the whole budget for its statistics; remove '
            "[statistics] share"
        )
    first = _ONE_WAY_SHARE if given.one_way_share is None else given.one_way_share
    third = given.three_way_share
    if kind == "three-way" and third is None:
        third = _THREE_WAY_SHARE
    of_classes = given.class_share
    if of_classes is None and kind != "one-way" and encoding.num_classes > 1:
        of_classes = _CLASS_SHARE
    if of_classes and encoding.num_classes < 2:
        raise StudyError(
            "[statistics] class_share is for columns within classes, and the study has no target; "
            "remove it"
        )
    parity = _parity_share(given, encoding)
    if first + (of_classes or 0.0) + (third or 0.0) + parity >= 1.0:
        raise StudyError(
            "[statistics] one_way_share, class_share, three_way_share and parity_share leave "
            "nothing for pairs; lower one"
        )
    return msgspec.structs.replace(
        given,
        kind=kind,
        share=share,
        one_way_share=first,
        class_share=of_classes,
        three_way_share=third,
        parity_share=parity,
    )


def _parity_share(settings: StatisticsSettings, encoding: Encoding) -> float:
    """Returns the share of parities of a table: none if all their sums do not fit into memory.

    Raises:
      StudyError: a share is given and there are no sets to ask for.
    """
    given, columns = settings.parity_share, len(encoding.features)
    rows = parity_rows(encoding.class_sampleable)
    sets = len(parity_sets(columns, rows))
    if given and not sets:
        raise StudyError(
            f"[statistics] parity_share asks for parities, of which a table of {columns} columns "
            f"beside a label of {encoding.num_classes} classes has too many, or less than four "
            "columns; remove it"
        )
    if rows * sets > max_pair_cells(settings):
        if given:
            raise StudyError(
                f"[statistics] parity_share asks for {rows * sets:,} sums of parities, which do "
                f"not fit into [statistics] memory_mb = {settings.memory_mb}; raise it, or remove "
                "parity_share"
            )
        sets = 0
    if given is not None or not sets:
        return given or 0.0
    return min(max(_SHARE_OF_A_SET * sets, _LEAST_PARITY_SHARE), _PARITY_SHARE)
