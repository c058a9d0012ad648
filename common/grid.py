"""Public grids: how an axis of numbers is cut into bins, and how a number is drawn from a bin.

A grid depends on bounds and special values of the schema alone, never on records. Integers and
times lie on a discrete axis (whole numbers; days or seconds since 1970), reals on a continuous
one. No bin is empty: each holds at least one value that is not special.

The log scale has edges `min + expm1(linspace(0, log1p(max - min)))`: linear up to one unit above
the minimum, then of constant ratio. Where zero lies between the bounds it is signed instead: edges
are equally spaced in `sign(x) log1p(|x|)`, fine around zero and of constant ratio on both sides.
`auto` takes it for ranges of at least 10,000 that start at zero or far below their width, or that
reach across zero: money and counts with long tails, but no years, coordinates, clock times or
epochs.

Explicit edges, where a schema gives them, are the whole grid: the first values of all bins but the
first, such as quantiles that a priced study has learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "DEFAULT_BINS",
    "FINE_BINS",
    "KEEP_ALL",
    "Grid",
    "integer_grid",
    "real_grid",
    "uses_log_scale",
]

DEFAULT_BINS = 64
FINE_BINS = 4096
"""For models that look at an axis at several widths and join cells themselves."""
KEEP_ALL = 128
_LOG_RATIO = 10_000
_STEPS_PER_BIN = 100
_GOLDEN = 0.381966

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Bins of one axis, from left to right.

    Attributes:
      starts: Smallest value of each bin, (bins,), increasing.
      stops: Discrete: the largest value of each bin. Continuous: its upper end, which belongs to
        the next bin, and in the last bin to the bin itself.
      specials: Values that have cells of their own and are never drawn, increasing.
      discrete: Whether the axis holds whole numbers only.
    """

    starts: Floats
    stops: Floats
    specials: Floats
    discrete: bool

    @property
    def size(self) -> int:
        """The number of bins."""
        return len(self.starts)

    def locate(self, values: Floats) -> Codes:
        """Returns the bin of each value; values are finite and within the bounds."""
        codes = np.searchsorted(self.starts, values, side="right") - 1
        return np.clip(codes, 0, self.size - 1).astype(np.int32)

    def draw(self, codes: npt.NDArray[Any], rng: np.random.Generator) -> Floats:
        """Draws a value uniformly from each bin of `codes`, never a special one.

        Reals are drawn on a decimal grid of at least a hundred steps a bin, so that they print
        short and always lie in their bin.
        """
        draws = rng.random(len(codes))
        return self._draw_whole(codes, draws) if self.discrete else self._draw_real(codes, draws)

    def _draw_whole(self, codes: npt.NDArray[Any], draws: Floats) -> Floats:
        starts, stops = self.starts[codes], self.stops[codes]
        counts = self.stops - self.starts + 1
        for special in self.specials:
            counts = counts - ((self.starts <= special) & (special <= self.stops))
        values: Floats = starts + np.minimum(np.floor(draws * counts[codes]), counts[codes] - 1)
        for special in self.specials:
            values += (starts <= special) & (special <= stops) & (values >= special)
        return values

    def _draw_real(self, codes: npt.NDArray[Any], draws: Floats) -> Floats:
        digits = np.ceil(-np.log10((self.stops - self.starts) / _STEPS_PER_BIN))
        digits = np.clip(digits, -290, 290)
        up, down = 10.0 ** np.maximum(digits, 0), 10.0 ** np.maximum(-digits, 0)
        first = np.ceil(self.starts * up / down)
        last = np.ceil(self.stops * up / down) - 1
        steps = first[codes] + np.floor(draws * (last - first + 1)[codes])
        values: Floats = steps * down[codes] / up[codes]
        for shift in (1.0, -1.0):
            wrong = self._misplaced(values, codes)
            if not wrong.any():
                return values
            moved = (steps[wrong] + shift) * down[codes[wrong]] / up[codes[wrong]]
            values[wrong] = moved
        wrong = self._misplaced(values, codes)
        fallback = self.starts + _GOLDEN * (self.stops - self.starts)
        values[wrong] = fallback[codes[wrong]]
        return values

    def _misplaced(self, values: Floats, codes: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        wrong: npt.NDArray[np.bool_] = values < self.starts[codes]
        wrong |= values >= self.stops[codes]
        for special in self.specials:
            wrong |= values == special
        return wrong


def uses_log_scale(minimum: float, maximum: float, scale: str) -> bool:
    """Tells whether an axis with these bounds is cut on the log scale.

    >>> uses_log_scale(0, 250_000, "auto"), uses_log_scale(1900, 2100, "auto")
    (True, False)
    >>> uses_log_scale(-8_000, 102_000, "auto"), uses_log_scale(-180, 180, "auto")
    (True, False)
    """
    if scale != "auto":
        return scale == "log"
    crosses_zero = minimum < 0 < maximum
    return (minimum >= 0 or crosses_zero) and maximum - minimum >= _LOG_RATIO * max(minimum, 1)


def _log_borders(low: float, high: float, parts: int) -> Floats:
    """Returns parts + 1 borders from low to high on the log scale, signed across zero."""
    if low < 0 < high:
        ends = np.sign([low, high]) * np.log1p(np.abs([low, high]))
        steps = np.linspace(ends[0], ends[1], parts + 1)
        borders: Floats = np.sign(steps) * np.expm1(np.abs(steps))
    else:
        borders = low + np.expm1(np.linspace(0.0, np.log1p(high - low), parts + 1))
    borders[0] = low
    return borders


def integer_grid(
    minimum: int,
    maximum: int,
    *,
    bins: int | None,
    scale: str,
    specials: tuple[float, ...] = (),
    edges: tuple[float, ...] = (),
    default_bins: int = DEFAULT_BINS,
) -> Grid:
    """Cuts the whole numbers from `minimum` to `maximum` into bins.

    Args:
      minimum: Smallest value.
      maximum: Largest value, included.
      bins: Wanted number; None keeps every value of a range of up to 128, or `default_bins` if
        that is more, and takes at most `default_bins` for a wider one. There may be fewer, as no
        bin is empty.
      scale: `auto`, `linear` or `log`.
      specials: Values that have cells of their own.
      edges: Smallest values of all bins but the first; then `bins` and `scale` say nothing.
      default_bins: At most so many where `bins` is None.
    """
    count = maximum - minimum + 1
    kept_all = count <= max(KEEP_ALL, default_bins)
    wanted = (count if kept_all else default_bins) if bins is None else bins
    if edges:
        starts = np.array([minimum, *edges], dtype=np.float64)
    elif count <= wanted:
        starts = np.arange(minimum, maximum + 1, dtype=np.float64)
    elif uses_log_scale(minimum, maximum, scale):
        starts = _log_starts(minimum, maximum, wanted)
    else:
        starts = np.array([minimum + i * count // wanted for i in range(wanted)], dtype=np.float64)
    stops = np.append(starts[1:] - 1, float(maximum))
    special_values = np.array(sorted(specials), dtype=np.float64)
    ordinary = stops - starts + 1
    for special in special_values:
        ordinary -= (starts <= special) & (special <= stops)
    kept = ordinary > 0
    return Grid(starts[kept], stops[kept], special_values, discrete=True)


def real_grid(
    minimum: float,
    maximum: float,
    *,
    bins: int | None,
    scale: str,
    specials: tuple[float, ...] = (),
    edges: tuple[float, ...] = (),
    default_bins: int = DEFAULT_BINS,
) -> Grid:
    """Cuts the interval from `minimum` to `maximum` into bins; see `integer_grid`."""
    wanted = default_bins if bins is None else bins
    if edges:
        borders = np.array([minimum, *edges, maximum], dtype=np.float64)
    elif uses_log_scale(minimum, maximum, scale):
        borders = _log_borders(minimum, maximum, wanted)
    else:
        borders = np.linspace(minimum, maximum, wanted + 1)
    borders[0], borders[-1] = minimum, maximum
    borders = np.unique(borders)
    special_values = np.array(sorted(specials), dtype=np.float64)
    return Grid(borders[:-1], borders[1:], special_values, discrete=False)


def _log_starts(minimum: int, maximum: int, wanted: int) -> Floats:
    """Returns the first values of at most `wanted` bins of whole numbers, on the log scale.

    Rounding merges the narrow bins, so the ratio is made finer until `wanted` distinct ones are
    there.
    """
    best = np.array([float(minimum)])
    for fineness in range(wanted, 16 * wanted):
        borders = _log_borders(minimum, maximum, fineness)[:-1]
        starts = np.unique(np.ceil(borders - 1e-9))
        if len(starts) > wanted:
            break
        best = starts
    return best
