"""The values of a column that a condition allows: a share of each cell, and the parts of its bins.

A generator knows cells; a condition is about values. Where it cuts through a bin, the share of
the bin is the probability that a value of the bin meets it, values being uniform within a bin,
and a draw is uniform over the part that is left. So a condition is exact, not rounded to bins.

A single real number has no share of a bin; it counts as a hundredth of the narrowest bin, in
every bin alike, so that single numbers are weighed among each other by their density.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedloom.common.encoding import Block
from fedloom.common.grid import Grid

__all__ = ["AllowedValues", "Range", "allowed_cells", "allowed_numbers"]

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Range = tuple[float, float]

_POINT = 0.01
_BELOW_ONE = 1.0 - 1e-9
_STEPS = 100


@dataclass(frozen=True, slots=True, eq=False)
class AllowedValues:
    """Which values of one column are allowed.

    Attributes:
      shares: Of each cell of the column's block, (size,), in [0, 1].
      grid: The column's grid, None for a category; then there are no parts.
      lows: Smallest value of each part, (parts,), increasing; no part holds a special value of a
        discrete axis. Special values that are allowed come last, each a part of its own.
      highs: Discrete: the largest value of each part. Continuous: its end; equal to the low end
        for a part that is a single number.
      cells: The cell that each part lies in.
      sizes: Share of its cell that each part is.
    """

    shares: Floats
    grid: Grid | None
    lows: Floats
    highs: Floats
    cells: npt.NDArray[np.int64]
    sizes: Floats

    def draw(self, codes: Array, rng: np.random.Generator) -> Floats:
        """Draws a number for each cell (N,), uniform over what is allowed of it.

        Cells without a number get 0.
        """
        values = np.zeros(len(codes))
        has_parts = np.isin(codes, self.cells)
        chosen = np.asarray(codes[has_parts], dtype=np.int64)
        order = np.argsort(self.cells, kind="stable")
        ends = np.cumsum(self.sizes[order])
        first = np.searchsorted(self.cells[order], chosen, side="left")
        last = np.searchsorted(self.cells[order], chosen, side="right") - 1
        low = np.where(first > 0, ends[first - 1], 0.0)
        at = low + rng.random(len(chosen)) * (ends[last] - low)
        parts = order[np.clip(np.searchsorted(ends, at, side="right"), first, last)]
        values[has_parts] = self.uniform(self.lows[parts], self.highs[parts], rng)
        return values

    def uniform(self, lows: Floats, highs: Floats, rng: np.random.Generator) -> Floats:
        """Draws numbers (N,) uniformly between two ends that lie in one part each."""
        draws = rng.random(len(lows)) * _BELOW_ONE
        assert self.grid is not None
        if self.grid.discrete:
            return np.asarray(lows + np.floor(draws * (highs - lows + 1)))
        widths = highs - lows
        raw = lows + draws * widths
        wide = widths > 0
        digits = np.zeros(len(lows))
        digits[wide] = np.ceil(-np.log10(widths[wide] / _STEPS)).clip(-290, 290)
        up, down = 10.0 ** np.maximum(digits, 0), 10.0 ** np.maximum(-digits, 0)
        short = np.floor(raw * up / down) * down / up
        fits = wide & (short >= lows) & (short < highs) & ~np.isin(short, self.grid.specials)
        return np.where(fits, short, raw)

    def holds(self, codes: Array, values: Floats) -> npt.NDArray[np.bool_]:
        """Tells which records (N,) have an allowed value, given as its cell and its number."""
        good = self.shares[codes] > 0
        if self.grid is not None:
            number = np.isin(codes, np.unique(self.cells))
            inside = np.zeros(len(codes), dtype=bool)
            for low, high in zip(self.lows, self.highs, strict=True):
                inside |= (values >= low) & (values <= high)
            good &= inside | ~number
        return good

    def largest(self, bounds: Floats) -> Floats:
        """Returns the largest allowed number up to each bound (N,), or -inf where there is none."""
        fitting = self.lows[None, :] <= bounds[:, None]
        tops = np.minimum(self.highs[None, :], bounds[:, None])
        if self.grid is not None and self.grid.discrete:
            tops = np.floor(tops)
        return np.asarray(np.where(fitting, tops, -np.inf).max(axis=1, initial=-np.inf))


def allowed_cells(block: Block, cells: Iterable[int]) -> AllowedValues:
    """Allows whole cells of a category."""
    shares = np.zeros(block.size)
    shares[list(cells)] = 1.0
    none = np.zeros(0)
    return AllowedValues(shares, None, none, none, np.zeros(0, dtype=np.int64), none)


def allowed_numbers(
    block: Block, grid: Grid, ranges: Iterable[Range], cells: Iterable[int] = ()
) -> AllowedValues:
    """Allows the numbers of some ranges, both ends included, and whole cells beside them.

    Args:
      block: The column's block.
      grid: Its grid.
      ranges: On the column's axis; they may overlap and reach beyond the bounds.
      cells: Cells without a number that are allowed, such as the missing one.
    """
    ranges = list(ranges)
    parts: list[tuple[float, float, int, float]] = []
    narrowest = float((grid.stops - grid.starts).min()) if not grid.discrete else 0.0
    for low, high in _merged(grid, ranges):
        first, last = grid.locate(np.array([low, high]))
        for cell in range(int(first), int(last) + 1):
            start, stop = float(grid.starts[cell]), float(grid.stops[cell])
            if grid.discrete:
                gaps = _between_specials(grid, max(low, start), min(high, stop))
                total = sum(b - a + 1 for a, b in _between_specials(grid, start, stop))
                parts += [(a, b, cell, (b - a + 1) / total) for a, b in gaps]
            elif low == high:
                if low not in grid.specials:
                    parts.append((low, low, cell, _POINT * narrowest / (stop - start)))
            else:
                a, b = max(low, start), min(high, stop)
                if a < b:
                    parts.append((a, b, cell, (b - a) / (stop - start)))
    for position, special in enumerate(grid.specials):
        if any(low <= special <= high for low, high in ranges):
            parts.append((float(special), float(special), grid.size + position, 1.0))
    shares = np.zeros(block.size)
    shares[list(cells)] = 1.0
    for _, _, cell, share in parts:
        shares[cell] += share
    columns = list(zip(*parts, strict=True)) or [(), (), (), ()]
    return AllowedValues(
        np.minimum(shares, 1.0),
        grid,
        np.array(columns[0], dtype=np.float64),
        np.array(columns[1], dtype=np.float64),
        np.array(columns[2], dtype=np.int64),
        np.array(columns[3], dtype=np.float64),
    )


def _merged(grid: Grid, ranges: Iterable[Range]) -> list[Range]:
    """Cuts ranges to the grid's bounds and joins those that overlap."""
    bottom, top = float(grid.starts[0]), float(grid.stops[-1])
    merged: list[Range] = []
    for low, high in sorted(ranges):
        low, high = max(low, bottom), min(high, top)
        if grid.discrete:
            low, high = float(np.ceil(low)), float(np.floor(high))
        if low > high:
            continue
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return merged


def _between_specials(grid: Grid, low: float, high: float) -> list[Range]:
    """Splits whole numbers from `low` to `high` at the special values among them."""
    gaps = []
    for special in grid.specials[(grid.specials >= low) & (grid.specials <= high)]:
        if low < special:
            gaps.append((low, float(special) - 1))
        low = float(special) + 1
    return [*gaps, (low, high)] if low <= high else gaps
