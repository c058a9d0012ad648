"""The public grid on which every noised sum lives: integers in steps of a power of two.

Sites turn their exact sum into integers once, and everything after that (noise, masks, the sum
over sites) is exact arithmetic modulo 2^64. The step comes from public numbers alone:

- one share of the noise spans at least 2^10 steps, so that rounding the shares costs nothing
  that could be measured (`fedloom.privacy.secure_sum.shares`);
- counts are exact multiples of it (`integer_valued`), and lose nothing;
- for real numbers it is so fine that rounding moves two neighbouring tables at most a thousandth
  of `l2_norm` further apart. `sensitivity_on_grid` says how far, and the noise grows with it.

A site's coordinates are clamped to 2^52 steps. A clamp never moves two values further apart, so
it costs no privacy. The total of 1,024 sites without noise stays within 2^62; the sum wraps around
only if the noise, at most 2^53 steps of standard deviation, exceeds 2^62: 2^9 deviations, rarer
than 2^-100000. Wrapping around is post-processing: it could cost truth, never privacy.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedloom.common.errors import ConfigError

__all__ = [
    "MAX_SITES",
    "check_grid_step",
    "from_grid",
    "sensitivity_on_grid",
    "to_grid",
    "grid_step_of",
]

MAX_SITES = 1024
_SHARE_BITS = 10
_ROUNDING_BITS = 10
_BOX_BITS = 52
_MAX_STD_BITS = 48


def grid_step_of(
    std: float, num_sites: int, *, l2_norm: float, length: int, integer_valued: bool
) -> float:
    """Returns the step of a sum's grid: a power of two, from public numbers alone.

    Args:
      std: Planned standard deviation of the noise in the opened sum, >= 0.
      num_sites: Sites of the study, 1 to 1,024.
      l2_norm: Bound on the L2 norm by which one unit of privacy changes a site's exact sum.
      length: Coordinates of the sum, at least 1.
      integer_valued: Whether every exact sum is a vector of integers.

    Raises:
      ConfigError: a number is out of range, or the noise is too small or too large for the grid.

    >>> grid_step_of(50.0, 10, l2_norm=1.0, length=100, integer_valued=True)
    0.0078125
    >>> grid_step_of(1e9, 10, l2_norm=1.0, length=100, integer_valued=True)
    1.0
    """
    _check(l2_norm, length)
    if not (math.isfinite(std) and std >= 0.0):
        raise ConfigError(f"the noise of a sum must be finite and at least 0, got {std!r}")
    if type(num_sites) is not int or not 1 <= num_sites <= MAX_SITES:
        raise ConfigError(f"a sum is over 1 to {MAX_SITES} sites, got {num_sites!r}")
    bounds = [1.0 if integer_valued else l2_norm * 2.0**-_ROUNDING_BITS / math.sqrt(length)]
    if std > 0.0:
        bounds.append(std / math.sqrt(num_sites) * 2.0**-_SHARE_BITS)
    grid_step = _power_of_two_below(min(bounds))
    if grid_step < 2.0**-_BOX_BITS or std / grid_step > 2.0**_MAX_STD_BITS:
        raise ConfigError(
            f"noise of standard deviation {std:g} beside contributions of norm {l2_norm:g} does "
            "not fit a grid of 64 bits; choose a norm and an epsilon of a usual size"
        )
    return grid_step


def sensitivity_on_grid(
    l2_norm: float, grid_step: float, length: int, integer_valued: bool
) -> float:
    """Returns the bound on how far one unit of privacy moves a site's sum on the grid.

    Each coordinate of two neighbouring sums is rounded by at most half a grid grid_step, so their
    difference grows by at most one grid step a coordinate: sqrt(length) of them in L2 norm.

    >>> sensitivity_on_grid(1.0, 0.25, 16, integer_valued=True)
    1.0
    >>> sensitivity_on_grid(1.0, 0.25, 16, integer_valued=False)
    2.0
    """
    _check(l2_norm, length)
    check_grid_step(grid_step, integer_valued=integer_valued)
    return l2_norm if integer_valued else l2_norm + grid_step * math.sqrt(length)


def to_grid(values: ArrayLike, grid_step: float) -> NDArray[np.int64]:
    """Returns `values` in grid steps: clamped to 2^52 of them, then rounded to the nearest.

    Args:
      values: A site's exact sum, any shape, int64 or float64 (private). NaN counts as 0: a
        vault that has begun to read always answers.
      grid_step: The grid's step.

    >>> to_grid([0.9, -3.0, float("nan")], 0.5).tolist()
    [2, -6, 0]
    """
    check_grid_step(grid_step)
    exact = np.asarray(values)
    if exact.dtype.kind in "iu" and grid_step <= 1.0:
        most = max(int(2.0**_BOX_BITS * grid_step), 1)
        whole: NDArray[np.int64] = np.clip(exact, -most, most).astype(np.int64)
        whole *= int(1.0 / grid_step)
        return whole
    with np.errstate(over="ignore"):  # what overflows is clamped
        scaled = np.asarray(exact, dtype=np.float64) / grid_step
    np.nan_to_num(scaled, copy=False, nan=0.0, posinf=np.inf, neginf=-np.inf)
    np.clip(scaled, -(2.0**_BOX_BITS), 2.0**_BOX_BITS, out=scaled)
    return np.rint(scaled, out=scaled).astype(np.int64)


def from_grid(
    total: NDArray[np.int64] | NDArray[np.uint64], grid_step: float
) -> NDArray[np.float64]:
    """Returns a sum modulo 2^64 as numbers, centred on 0.

    Args:
      total: int64 or uint64, any shape; the same bits mean the same sum.
      grid_step: The grid's step.

    >>> from_grid(np.array([2**64 - 6], dtype=np.uint64), 0.5).tolist()
    [-3.0]
    """
    check_grid_step(grid_step)
    if total.dtype not in (np.dtype(np.int64), np.dtype(np.uint64)):
        raise ConfigError(f"a sum on the grid has 64-bit integers, got {total.dtype}")
    values = np.ascontiguousarray(total).view(np.int64).astype(np.float64)
    values *= grid_step
    return values


def check_grid_step(grid_step: float, *, integer_valued: bool = False) -> None:
    """Refuses what cannot be a grid's step.

    Raises:
      ConfigError: `grid_step` is not a power of two in its range, or above 1 for integers.
    """
    in_range = isinstance(grid_step, float) and 2.0**-_BOX_BITS <= grid_step <= 2.0**_BOX_BITS
    if not in_range or math.frexp(grid_step)[0] != 0.5:
        raise ConfigError(f"a grid's step is a power of two, got {grid_step!r}")
    if integer_valued and grid_step > 1.0:
        raise ConfigError(f"a grid for counts has a step of at most 1, got {grid_step!r}")


def _check(l2_norm: float, length: int) -> None:
    if not 0.0 < l2_norm < math.inf:
        raise ConfigError(f"the norm of a contribution must be finite and > 0, got {l2_norm!r}")
    if type(length) is not int or length < 1:
        raise ConfigError(f"a sum has at least 1 coordinate, got {length!r}")


def _power_of_two_below(bound: float) -> float:
    return math.ldexp(0.5, math.frexp(bound)[1])
