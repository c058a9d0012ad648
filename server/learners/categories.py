"""Reads the categories of an open column back from the noisy sum of their spellings.

In each bucket every symbol is first read as the likeliest of its 16 values; if the whole fails its
check, the readings next in likelihood are tried, up to `_READINGS` of them (Chase 1972). A text
counts only if its bytes are printable UTF-8 of the table's length and check and bucket are those
of its own SHA-256, so that noise passes for a text less than once in 1,000 columns. Where several
texts share a bucket the loudest is read first, taken away, and the rest read again.

All of it is post-processing of noised sums.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fedloom.common.category_codes import SYMBOL_CELLS, CodeTable, decode_category, encode_category
from fedloom.common.discovery import OpenColumn

__all__ = ["records_needed", "read_categories"]

Array = NDArray[np.float64]

# Mean and deviation of the largest of eight magnitudes of standard normals; simulated.
_PEAK_MEAN, _PEAK_STD = 1.7833, 0.5268
# Mean square of the other seven.
_REST = (SYMBOL_CELLS - _PEAK_MEAN**2 - _PEAK_STD**2) / (SYMBOL_CELLS - 1)
_STANDS_OUT = 3.1
_READINGS = 512
_ALTERNATIVES = 32
_MAX_TEXTS = 4
# Signal to noise in a symbol's cell from which a text alone in its bucket is read 19 times of 20,
# for each length; simulated in tests/server/learners/test_categories.py.
_READABLE = {4: 3.4, 8: 3.7, 16: 4.0, 32: 4.3, 48: 4.7}


def records_needed(open_column: OpenColumn, noise_std: float) -> dict[int, int]:
    """Returns from how many records on a category is found, by the most bytes of its text.

    A category alone in its bucket with that many records is found at least 19 times of 20.

    Args:
      open_column: A category.
      noise_std: Standard deviation of the noise in each cell of the sum.
    """
    return {
        table.longest: math.ceil(_READABLE[table.longest] * noise_std / table.weight)
        for table in open_column.tables
    }


def read_categories(open_column: OpenColumn, cells: Array, noise_std: float) -> dict[str, float]:
    """Returns the texts that stand out of the noise, with their noisy numbers of records.

    Args:
      open_column: A category.
      cells: Its cells of the noisy sum, (size,).
      noise_std: Standard deviation of the noise in each of them.
    """
    found: dict[str, float] = {}
    for table in open_column.tables:
        part = cells[table.start : table.start + table.size] / table.weight
        buckets = part.reshape(table.buckets, table.symbols, SYMBOL_CELLS)
        std = noise_std / table.weight
        for bucket in np.flatnonzero(_stands_out(buckets, std)):
            found |= _read_bucket(
                buckets[bucket], int(bucket), std, column=open_column.column.name, table=table
            )
    return found


def _stands_out(rows: Array, std: float) -> NDArray[np.bool_]:
    """Tells of (..., m, 8) cells whether their peaks are more than noise, once in 1,000 wrongly.

    A crowd of rare texts looks like louder noise, so noise is what the cells beside the peaks say
    where that is more than what the plan says.
    """
    symbols = rows.shape[-2]
    limit = _PEAK_MEAN * symbols + _STANDS_OUT * _PEAK_STD * math.sqrt(symbols)
    peaks = np.abs(rows).max(axis=-1)
    energy = np.square(rows).sum(axis=(-1, -2)) - np.square(peaks).sum(axis=-1)
    level = np.sqrt(energy / (symbols * (SYMBOL_CELLS - 1) * _REST))
    result: NDArray[np.bool_] = peaks.sum(axis=-1) > limit * np.maximum(level, std)
    return result


def _read_bucket(
    rows: Array, bucket: int, std: float, *, column: str, table: CodeTable
) -> dict[str, float]:
    texts: list[str] = []
    words: list[Array] = []
    rest = rows
    while len(texts) < _MAX_TEXTS and bool(_stands_out(rest, std)):
        text = _read(rest, bucket, column, table)
        if text is None or text in texts:
            break
        texts.append(text)
        words.append(_word(text, column, table))
        counts = _counts(rows, words)
        if len(words) == 1:
            # Of two texts that share symbols the first would be counted too high by a mean, and
            # its excess would hide the second; not so by a low quartile.
            counts = np.quantile((rows * words[0]).sum(axis=1), [0.25])
        rest = rows - np.tensordot(counts, np.array(words), axes=1)
    counts = _counts(rows, words)
    return {text: float(count) for text, count in zip(texts, counts, strict=True) if count > 0}


def _read(rows: Array, bucket: int, column: str, table: CodeTable) -> str | None:
    for symbols in _readings(rows):
        text = decode_category(symbols, bucket=bucket, column=column, table=table)
        if text is not None:
            return text
    return None


def _readings(rows: Array) -> Iterator[NDArray[np.intp]]:
    """Yields values of all symbols, (m,), the likeliest first."""
    signals = np.concatenate([rows, -rows], axis=1)
    best = signals.argmax(axis=1)
    yield best
    gaps = np.take_along_axis(signals, best[:, None], axis=1) - signals
    gaps[np.arange(len(best)), best] = np.inf
    nearest = np.argsort(gaps, axis=None)[:_ALTERNATIVES]
    symbols, values = np.unravel_index(nearest, gaps.shape)
    costs = gaps[symbols, values].tolist()
    heap: list[tuple[float, tuple[int, ...]]] = [(costs[0], (0,))]
    for _ in range(_READINGS):
        cost, chosen = heapq.heappop(heap)
        if len(set(symbols[list(chosen)].tolist())) == len(chosen):
            other = best.copy()
            other[symbols[list(chosen)]] = values[list(chosen)]
            yield other
        last = chosen[-1] + 1
        if last < len(costs):
            heapq.heappush(heap, (cost + costs[last], (*chosen, last)))
            moved = cost + costs[last] - costs[last - 1]
            heapq.heappush(heap, (moved, (*chosen[:-1], last)))


def _word(text: str, column: str, table: CodeTable) -> Array:
    """Returns what one record of a text adds to its bucket's rows, in units of the weight."""
    _, symbols = encode_category(text, column=column, table=table)
    word = np.zeros((table.symbols, SYMBOL_CELLS))
    signs = np.where(symbols < SYMBOL_CELLS, 1.0, -1.0)
    word[np.arange(table.symbols), symbols % SYMBOL_CELLS] = signs
    return word


def _counts(rows: Array, words: list[Array]) -> Array:
    """Returns the records of each text, by least squares."""
    if not words:
        return np.zeros(0)
    flat = np.array(words).reshape(len(words), -1)
    solution = np.linalg.lstsq(flat.T, rows.reshape(-1), rcond=None)[0]
    return np.asarray(solution, dtype=np.float64)
