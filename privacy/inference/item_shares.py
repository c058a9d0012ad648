"""Shares of records that have an item of a set, of all records or within classes of the label.

An item's noisy count over all classes and the sum of its counts within them are two measurements
with noise of known variance, and are averaged by precision; within a class there is one. A share is
a count over the number of records, which other noisy sums tell. Its error is, to first order, that
of count less share times number, and the noises are independent. Sampling adds p (1 - p) / n.

All of it is post-processing of opened sums.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fedloom.common.errors import ConfigError, NotMeasuredError
from fedloom.common.item_blocks import ItemBlock
from fedloom.common.marginals import NoisyMarginals
from fedloom.privacy.inference.formula import Factor
from fedloom.privacy.inference.result import Estimate, estimated

__all__ = ["item_shares"]

# A class is told only if its count is so many standard deviations of its noise.
_SIGNAL = 3.0


@dataclass(frozen=True, slots=True)
class _Number:
    """A number of records, and the variance of its noise."""

    value: float
    variance: float


def item_shares(
    statistics: NoisyMarginals,
    factor: Factor,
    by: Factor | None,
    *,
    differences: bool,
    alike: int = 1,
) -> list[Estimate]:
    """Returns the share of records that have each item of a set, or one item.

    Args:
      statistics: the opened sums of a study.
      factor: the column of sets, or "column == item".
      by: the label, for shares within its classes; None for all records.
      differences: whether differences to the first class are returned in place of shares.
      alike: most records of one unit; multiplies the variance of sampling.

    Raises:
      ConfigError: the set has no such item, or the grouping makes no classes.
      NotMeasuredError: items were not counted in such groups, or noise hides every group.
    """
    encoding = statistics.encoding
    block = next(one for one in encoding.sets if one.name == factor.column)
    items = _items(block, factor)
    groups: list[tuple[str, int | None]] = [("", None)]
    if by is not None:
        if by.column != encoding.target or by.form != "column":
            raise NotMeasuredError(
                f"items of {block.name} are counted for all records and within the classes of the "
                "label alone; leave --by out, or name the label"
            )
        groups = [
            (f", {by.column}: {name}", label)
            for label, name in enumerate(encoding.class_labels)
            if encoding.class_sampleable[label]
        ]
    sizes = [_records(statistics, label) for _, label in groups]
    if all(size is None for size in sizes):
        raise NotMeasuredError(
            f"noise hides every class; a larger epsilon buys less noise for shares of {block.name}"
        )
    if differences and len(groups) < 2:
        raise ConfigError("a difference needs at least two groups; name what makes them")
    found = []
    for item in items:
        shares = [
            None if size is None else _share(statistics, block.start + item, label, size, alike)
            for (_, label), size in zip(groups, sizes, strict=True)
        ]
        names = [f"{block.values[item]}{name}" for name, _ in groups]
        found += _apart(names, shares) if differences else _as_they_are(names, shares)
    return found


_Share = tuple[float, float, float] | None
"""A share, and the variances of its noise and of sampling; None where noise hides it."""


def _items(block: ItemBlock, factor: Factor) -> Sequence[int]:
    if factor.form == "column":
        return range(block.size)
    if factor.form != "equals" or factor.value not in block.values:
        raise ConfigError(
            f"{factor.text} names no item of {block.name}; write '{block.name} == ITEM' with one "
            "of its values"
        )
    return [block.values.index(factor.value)]


def _records(statistics: NoisyMarginals, label: int | None) -> _Number | None:
    counts, variance = statistics.class_counts(), statistics.count_std() ** 2
    if label is None:
        return _Number(statistics.total(), variance * len(counts))
    if counts[label] <= _SIGNAL * math.sqrt(variance):
        return None
    return _Number(float(counts[label]), variance)


def _count(statistics: NoisyMarginals, item: int, label: int | None) -> _Number:
    noisy, classes = statistics.items, statistics.encoding.num_classes
    assert noisy is not None
    looked = _Number(float(noisy.counts[item]), noisy.std**2)
    if noisy.pairs is None:
        if label is not None:
            raise NotMeasuredError("the study did not count items within classes")
        return looked
    measured, sums, variance = noisy.pairs.measured, noisy.pairs.sums, noisy.pairs.std**2
    within = [float(measured.alone(sums, one)[item]) for one in range(classes)]
    if label is not None:
        return _Number(within[label], variance)
    weights = 1.0 / max(looked.variance, 1e-18), 1.0 / max(classes * variance, 1e-18)
    mean = (weights[0] * looked.value + weights[1] * sum(within)) / sum(weights)
    return _Number(mean, 1.0 / sum(weights))


def _share(
    statistics: NoisyMarginals, item: int, label: int | None, size: _Number, alike: int
) -> _Share:
    count, records = _count(statistics, item, label), max(size.value, 1.0)
    share = count.value / records
    noise = (count.variance + share**2 * size.variance) / records**2
    inside = min(max(share, 0.0), 1.0)
    return share, noise, alike * inside * (1.0 - inside) / records


def _as_they_are(names: Sequence[str], shares: Sequence[_Share]) -> list[Estimate]:
    return [
        Estimate(name=name, value=None)
        if share is None
        else estimated(name, share[0], noise=share[1], sampling=share[2], low=0.0, high=1.0)
        for name, share in zip(names, shares, strict=True)
    ]


def _apart(names: Sequence[str], shares: Sequence[_Share]) -> list[Estimate]:
    """Returns how the share of each class but the first differs from the first's."""
    base, found = shares[0], []
    for name, share in zip(names[1:], shares[1:], strict=True):
        name = f"{name} − {names[0].partition(', ')[2]}"  # noqa: RUF001
        if share is None or base is None:
            found.append(Estimate(name=name, value=None))
            continue
        gap, noise, sampling = share[0] - base[0], share[1] + base[1], share[2] + base[2]
        found.append(estimated(name, gap, noise=noise, sampling=sampling, low=-1.0, high=1.0))
    return found
