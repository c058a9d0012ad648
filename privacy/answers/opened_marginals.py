"""The noisy statistics of a plan, from its opened rounds: the same at coordinator and verifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedloom.common.class_column_marginals import ClassColumnMarginals, NoisyClassColumns
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.marginals import NoisyMarginals
from fedloom.common.parities import NoisyParities, class_signs
from fedloom.common.parts import load_part
from fedloom.common.set_marginals import ItemPairs, NoisyItemPairs, NoisyItems
from fedloom.common.three_way_marginals import NoisyTriples
from fedloom.privacy.answers.opened import OpenedRound
from fedloom.privacy.plan import Plan

__all__ = ["noisy_statistics", "opened_statistics"]


def opened_statistics(plan: Plan, rounds: Sequence[OpenedRound]) -> Any:
    """Returns what the statistics rounds say, as the plan's kind of model reads them.

    Args:
      plan: a plan that makes records.
      rounds: its opened `statistic` rounds in order, as far as they were asked.

    Returns:
      A `fedloom.common.records.base.Statistics`: what the learner starts from.

    Raises:
      ConfigError: a sum is not that of the plan's schema.
    """
    return load_part(plan.kind.statistics)(plan, rounds)


def noisy_statistics(plan: Plan, rounds: Sequence[OpenedRound]) -> NoisyMarginals:
    """Returns what the statistics rounds of a model of tables say; post-processing of their sums.

    A site's number of records is the one that it declared, else, in per-site trust, the one that
    its own noisy look says.

    Args:
      plan: a plan that makes records.
      rounds: its opened `statistic` rounds in order, as far as they were asked already.

    Raises:
      ConfigError: a sum is not that of the plan's schema.
    """
    encoding, look = plan.encoding, rounds[0]
    by_class = look.sums[0].name != "columns"
    totals = {
        site: NoisyMarginals(
            encoding=encoding,
            look=look.values(site),
            look_std=look.sums[0].own_std or 0.0,
            by_class=by_class,
        ).total()
        for site in sorted(look.own)
    }
    for entry in plan.sites:
        if entry.records is not None:
            totals[entry.name] = float(entry.records)
    further = {opened.sums[0].name: opened for opened in rounds[1:]}
    pairs, triples = further.get("pairwise"), further.get("three-way")
    of_classes = further.get("class-columns")
    parities = further.get("parities")
    return NoisyMarginals(
        encoding=encoding,
        look=look.values(),
        look_std=look.sums[0].std,
        groups=None if pairs is None else pairs.request_arrays["groups"],
        pairs=None if pairs is None else pairs.values(),
        pair_std=None if pairs is None else pairs.sums[0].std,
        site_totals=totals,
        by_class=by_class,
        triples=None
        if triples is None
        else NoisyTriples(
            groups=triples.request_arrays["groups"],
            counts=triples.values().reshape(encoding.num_classes, -1),
            std=triples.sums[0].std,
        ),
        class_columns=None if of_classes is None else _class_columns(encoding, of_classes, pairs),
        parities=None
        if parities is None
        else NoisyParities(
            halves=parities.request_arrays["halves"],
            sums=parities.values().reshape(len(class_signs(encoding.class_sampleable)), -1),
            std=parities.sums[0].std,
        ),
        items=_items(encoding, further, pairs) if "items" in further else None,
    )


def _items(
    encoding: Encoding, further: Mapping[str, OpenedRound], pairs: OpenedRound | None
) -> NoisyItems:
    counts, opened = further["items"], further.get("item-pairs")
    with_others = None
    if opened is not None:
        arrays, sums, std = opened.request_arrays, opened.values(), opened.sums[0].std
        measured = ItemPairs(encoding, arrays["groups"], arrays["frequent"])
        with_others = NoisyItemPairs(measured=measured, sums=sums, std=std)
    items = NoisyItems(counts=counts.values(), std=counts.sums[0].std, pairs=with_others)
    items.check(encoding, None if pairs is None else pairs.request_arrays["groups"])
    return items


def _class_columns(
    encoding: Encoding, opened: OpenedRound, pairs: OpenedRound | None
) -> NoisyClassColumns:
    groups = opened.request_arrays["groups"]
    if pairs is None or not np.array_equal(groups, pairs.request_arrays["groups"]):
        raise ConfigError(
            "columns within classes must be counted on the groups of the pairs; the coordinator "
            "that asked for others must be asked why"
        )
    measured = ClassColumnMarginals(encoding, groups)
    return NoisyClassColumns(counts=tuple(measured.blocks(opened.values())), std=opened.sums[0].std)
