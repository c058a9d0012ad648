"""Quantiles of a column, of all records or by group, by inverting the distribution function.

The distribution function at the ends of cells is a share, and has that share's error. The interval
of a quantile holds the numbers at which the share may be the one that is asked for (Woodruff 1952).
Within a cell values count as evenly spread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.errors import ConfigError
from fedloom.privacy.inference.groups import Group, mean_of
from fedloom.privacy.inference.result import Estimate, Z
from fedloom.privacy.inference.sums import Sums
from fedloom.privacy.inference.terms import Term, number

__all__ = ["quantiles"]

Array = NDArray[Any]

_MAX_PLACES = 32


def quantiles(sums: Sums, column: str, share: float, groups: Sequence[Group]) -> list[Estimate]:
    """Returns the quantile of a column in each group.

    Args:
      sums: of the study.
      column: of numbers.
      share: of records below the quantile, strictly between 0 and 1.
      groups: as of `fedloom.privacy.inference.groups.groups_of`.

    Raises:
      ConfigError: the column holds no numbers, or the share is out of range.
      NotMeasuredError: the columns were not counted together.
    """
    if not 0.0 < share < 1.0:
        raise ConfigError(f"a quantile's share must lie between 0 and 1, got {share:g}")
    return [_quantile(sums, column, share, group) for group in groups]


def _quantile(sums: Sums, column: str, share: float, group: Group) -> Estimate:
    numbers = number(sums.tables, column)
    ends = _ends(sums, column, group)
    below, stds = [0.0], [(0.0, 0.0)]
    for end in ends[1:-1]:
        term = Term(
            name=f"{column} below {end:g}",
            column=column,
            points=(numbers.points < end) * numbers.observed[:, None],
            observed=numbers.observed,
        )
        found = mean_of(sums, term, group)
        if found is None:
            return Estimate(name=group.name, value=None)
        noise, sampling = sums.covariances([found[1]])
        below.append(found[0])
        stds.append((float(noise[0, 0]), float(sampling[0, 0])))
    below.append(1.0)
    stds.append((0.0, 0.0))
    # A distribution function never falls; of all that do not, the mean of the nearest from above
    # and from below is unbiased where noise alone makes it fall.
    kept = np.clip(below, 0.0, 1.0)
    rising = (np.maximum.accumulate(kept) + np.minimum.accumulate(kept[::-1])[::-1]) / 2
    place = int(np.argmin(np.abs(rising[1:-1] - share))) + 1 if len(rising) > 2 else 0
    noise_part, sampling_part = stds[place]
    whole = noise_part + sampling_part
    std = float(np.sqrt(whole))
    low, value, high = (
        float(np.interp(min(max(level, 0.0), 1.0), rising, ends))
        for level in (share - Z * std, share, share + Z * std)
    )
    error = (high - low) / (2 * Z)
    part = noise_part / whole if whole > 0 else 0.0
    return Estimate(
        name=group.name,
        value=value,
        std_error=error,
        std_noise=error * float(np.sqrt(part)),
        std_sampling=error * float(np.sqrt(1.0 - part)),
        lower=low,
        upper=high,
    )


def _ends(sums: Sums, column: str, group: Group) -> Array:
    """Returns ends of cells, or of what was counted together with the groups, increasing."""
    tables = sums.tables
    grid = tables.encoding.grids[tables.block(column).index]
    assert grid is not None
    starts = grid.starts
    if group.member is not None:
        places = sums.places(column, group.member.column)[: grid.size]
        starts = starts[np.concatenate([[True], places[1:] != places[:-1]])]
    held = np.interp(starts, grid.starts, np.cumsum(tables.shares(column)[: grid.size]))
    if len(starts) > _MAX_PLACES:
        wanted = np.linspace(0.0, held[-1], _MAX_PLACES)
        starts = starts[np.unique(np.searchsorted(held, wanted).clip(0, len(starts) - 1))]
        starts = np.unique(np.append(grid.starts[:1], starts))
    return np.append(starts, grid.stops[-1])
