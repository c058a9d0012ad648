"""The public grid on which every noised sum lives: integers in units of a power of two.

Sites turn their exact sum into integers once, and everything after that (noise, masks, the sum
over sites) is exact arithmetic modulo 2^64. The unit comes from public numbers alone:

- one share of the noise spans at least 2^10 units, so that rounding the shares costs nothing
  that could be measured (`fedloom.privacy.secure_sum.shares`);
- counts are exact multiples of it (`whole`), and lose nothing;
- for real numbers it is so fine that rounding moves two neighbouring tables at most a thousandth
  of `l2_norm` further apart. `inflated` says how far, and the noise grows with it.

A site's coordinates are clamped to 2^52 units. A clamp never moves two values further apart, so
it costs no privacy. The total of 1,024 sites without noise stays within 2^62; the sum wraps around
only if the noise, at most 2^53 units of standard deviation, exceeds 2^62: 2^9 deviations, rarer
than 2^-100000. Wrapping around is post-processing: it could cost truth, never privacy.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedloom.common.errors import ConfigError

__all__ = ["MOST_SITES", "check_unit", "from_lattice", "inflated", "to_lattice", "unit_of"]

MOST_SITES = 1024
_SHARE_BITS = 10
_ROUNDING_BITS = 10
_BOX_BITS = 52
_MOST_STD_BITS = 48


def unit_of(std: float, num_sites: int, *, l2_norm: float, length: int, whole: bool) -> float:
    """Returns the unit of a sum's grid: a power of two, from public numbers alone.

    Args:
      std: Planned standard deviation of the noise in the opened sum, >= 0.
      num_sites: Sites of the study, 1 to 1,024.
      l2_norm: Bound on the L2 norm by which one unit of privacy changes a site's exact sum.
      length: Coordinates of the sum, at least 1.
      whole: Whether every exact sum is a vector of integers.

    Raises:
      ConfigError: a number is out of range, or the noise is too small or too large for the grid.

    >>> unit_of(50.0, 10, l2_norm=1.0, length=100, whole=True)
    0.0078125
    >>> unit_of(1e9, 10, l2_norm=1.0, length=100, whole=True)
    1.0
    """
    _check(l2_norm, length)
    if not (math.isfinite(std) and std >= 0.0):
        raise ConfigError(f"the noise of a sum must be finite and at least 0, got {std!r}")
    if type(num_sites) is not int or not 1 <= num_sites <= MOST_SITES:
        raise ConfigError(f"a sum is over 1 to {MOST_SITES} sites, got {num_sites!r}")
    bounds = [1.0 if whole else l2_norm * 2.0**-_ROUNDING_BITS / math.sqrt(length)]
    if std > 0.0:
        bounds.append(std / math.sqrt(num_sites) * 2.0**-_SHARE_BITS)
    unit = _power_of_two_below(min(bounds))
    if unit < 2.0**-_BOX_BITS or std / unit > 2.0**_MOST_STD_BITS:
        raise ConfigError(
            f"noise of standard deviation {std:g} beside contributions of norm {l2_norm:g} does "
            "not fit a grid of 64 bits; choose a norm and an epsilon of a usual size"
        )
    return unit


def inflated(l2_norm: float, unit: float, length: int, whole: bool) -> float:
    """Returns the bound on how far one unit of privacy moves a site's sum on the grid.

    Each coordinate of two neighbouring sums is rounded by at most half a grid unit, so their
    difference grows by at most one grid unit a coordinate: sqrt(length) of them in L2 norm.

    >>> inflated(1.0, 0.25, 16, whole=True), inflated(1.0, 0.25, 16, whole=False)
    (1.0, 2.0)
    """
    _check(l2_norm, length)
    check_unit(unit, whole=whole)
    return l2_norm if whole else l2_norm + unit * math.sqrt(length)


def to_lattice(values: ArrayLike, unit: float) -> NDArray[np.int64]:
    """Returns `values` in grid units: clamped to 2^52 of them, then rounded to the nearest.

    Args:
      values: A site's exact sum, any shape, int64 or float64 (private). NaN counts as 0: a
        vault that has begun to read always answers.
      unit: The grid's unit.

    >>> to_lattice([0.9, -3.0, float("nan")], 0.5).tolist()
    [2, -6, 0]
    """
    check_unit(unit)
    exact = np.asarray(values)
    if exact.dtype.kind in "iu" and unit <= 1.0:
        most = max(int(2.0**_BOX_BITS * unit), 1)
        whole: NDArray[np.int64] = np.clip(exact, -most, most).astype(np.int64)
        whole *= int(1.0 / unit)
        return whole
    with np.errstate(over="ignore"):  # what overflows is clamped
        scaled = np.asarray(exact, dtype=np.float64) / unit
    np.nan_to_num(scaled, copy=False, nan=0.0, posinf=np.inf, neginf=-np.inf)
    np.clip(scaled, -(2.0**_BOX_BITS), 2.0**_BOX_BITS, out=scaled)
    return np.rint(scaled, out=scaled).astype(np.int64)


def from_lattice(total: NDArray[np.int64] | NDArray[np.uint64], unit: float) -> NDArray[np.float64]:
    """Returns a sum modulo 2^64 as numbers, centred on 0.

    Args:
      total: int64 or uint64, any shape; the same bits mean the same sum.
      unit: The grid's unit.

    >>> from_lattice(np.array([2**64 - 6], dtype=np.uint64), 0.5).tolist()
    [-3.0]
    """
    check_unit(unit)
    if total.dtype not in (np.dtype(np.int64), np.dtype(np.uint64)):
        raise ConfigError(f"a sum on the grid has 64-bit integers, got {total.dtype}")
    values = np.ascontiguousarray(total).view(np.int64).astype(np.float64)
    values *= unit
    return values


def check_unit(unit: float, *, whole: bool = False) -> None:
    """Refuses what cannot be a grid's unit.

    Raises:
      ConfigError: `unit` is not a power of two in its range, or above 1 where sums are `whole`.
    """
    in_range = isinstance(unit, float) and 2.0**-_BOX_BITS <= unit <= 2.0**_BOX_BITS
    if not in_range or math.frexp(unit)[0] != 0.5:
        raise ConfigError(f"a grid's unit is a power of two, got {unit!r}")
    if whole and unit > 1.0:
        raise ConfigError(f"a grid for counts has a unit of at most 1, got {unit!r}")


def _check(l2_norm: float, length: int) -> None:
    if not 0.0 < l2_norm < math.inf:
        raise ConfigError(f"the norm of a contribution must be finite and > 0, got {l2_norm!r}")
    if type(length) is not int or length < 1:
        raise ConfigError(f"a sum has at least 1 coordinate, got {length!r}")


def _power_of_two_below(bound: float) -> float:
    return math.ldexp(0.5, math.frexp(bound)[1])
