"""Counts that describe a table: how often each code, and each pair of codes, occurs.

`OneWay` and `Pairwise` map a record to a vector of zeros and ones; a site sums it over its
records, adds noise and answers (query `statistic`). Every record adds the same number of ones,
because each column is a block with exactly one code a record, so the L2 norm of one record's
vector, `l2_norm`, is known from the encoding alone and is the sensitivity of the sum when one
record is added or removed. Nothing needs clipping, and nothing depends on the data but the sum.

`NoisyStatistics` is what the coordinator holds after the sum over sites: everything read from it
is post-processing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from fedloom.common.digest import canonical_json
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError

__all__ = ["NoisyStatistics", "OneWay", "Pairwise", "statistic"]

Array = np.ndarray[Any, np.dtype[Any]]


class OneWay:
    """The records of each class, and of each code within each class.

    A record adds m + 1 ones, with m feature blocks.

    Layout, for each class: its count (1), then the counts of all codes of all blocks (D).
    """

    kind = "oneway"

    def __init__(self, encoding: Encoding) -> None:
        """Takes the layout from a public encoding."""
        self.encoding = encoding
        self._width = 1 + encoding.width
        self.length = encoding.num_classes * self._width
        self.l2_norm = math.sqrt(len(encoding.features) + 1)

    def sum(self, feature_codes: Array, classes: Array) -> Array:
        """Returns the exact counts of a table.

        Args:
          feature_codes: (N, m) codes, each within its block.
          classes: (N,) class of each record.
        """
        total = np.zeros((self.encoding.num_classes, self._width), dtype=np.int64)
        total[:, 0] = np.bincount(classes, minlength=self.encoding.num_classes)
        for position, block in enumerate(self.encoding.features):
            cells = classes.astype(np.int64) * block.size + feature_codes[:, position]
            counts = np.bincount(cells, minlength=self.encoding.num_classes * block.size)
            span = slice(1 + block.start, 1 + block.start + block.size)
            total[:, span] = counts.reshape(-1, block.size)
        return total.reshape(-1)

    def counts(self, vector: Array) -> tuple[Array, float]:
        """Returns the classes' records, averaged over the count itself and each block's sum."""
        rows = vector.reshape(self.encoding.num_classes, self._width)
        weights = [1.0] + [1.0 / block.size for block in self.encoding.features]
        sums = [rows[:, 0]] + [part.sum(axis=1) for part in self._parts(rows)]
        return _weighted_mean(sums, weights), 1.0 / sum(weights)

    def one_way(self, vector: Array, label: int) -> list[Array]:
        """Returns the counts of each block's codes within a class, made to agree on its size."""
        size = self.counts(vector)[0][label]
        row = vector.reshape(self.encoding.num_classes, self._width)[label : label + 1]
        return [part[0] + (size - part.sum()) / part.shape[1] for part in self._parts(row)]

    def _parts(self, rows: Array) -> Iterator[Array]:
        for block in self.encoding.features:
            yield rows[:, 1 + block.start : 1 + block.start + block.size]


class Pairwise:
    """How often each code, and each pair of codes of two columns, occurs within each class.

    This is the upper triangle with diagonal of the sum of x x^T over the class's one-hot rows x,
    without the entries inside a block, which are zero for every table. A record adds
    m (m + 1) / 2 ones, with m feature blocks.

    Layout, for each class: the counts of all codes (D), then for each pair of blocks a < b, in
    the order (0, 1), (0, 2), ..., their table with the codes of b running fastest.
    """

    kind = "pairwise"

    def __init__(self, encoding: Encoding) -> None:
        """Takes the layout from a public encoding."""
        blocks = encoding.features
        self.encoding = encoding
        self._spans: dict[tuple[int, int], slice] = {}
        offset = encoding.width
        for a, first in enumerate(blocks):
            for b in range(a + 1, len(blocks)):
                end = offset + first.size * blocks[b].size
                self._spans[a, b] = slice(offset, end)
                offset = end
        self._width = offset
        self.length = encoding.num_classes * offset
        self.l2_norm = math.sqrt(len(blocks) * (len(blocks) + 1) / 2)

    def sum(self, feature_codes: Array, classes: Array) -> Array:
        """Returns the exact counts of a table.

        Args:
          feature_codes: (N, m) codes, each within its block.
          classes: (N,) class of each record.
        """
        blocks, num_classes = self.encoding.features, self.encoding.num_classes
        total = np.zeros((num_classes, self._width), dtype=np.int64)
        columns = [np.ascontiguousarray(feature_codes[:, a]) for a in range(len(blocks))]
        for a, first in enumerate(blocks):
            rows = classes.astype(np.int64) * first.size + columns[a]
            span = slice(first.start, first.start + first.size)
            total[:, span] = _histogram(rows, num_classes, first.size)
            for b in range(a + 1, len(blocks)):
                second = blocks[b]
                cells = rows * second.size + columns[b]
                total[:, self._spans[a, b]] = _histogram(
                    cells, num_classes, first.size * second.size
                )
        return total.reshape(-1)

    def counts(self, vector: Array) -> tuple[Array, float]:
        """Returns the classes' records, averaged over the sums of all blocks and tables."""
        rows = vector.reshape(self.encoding.num_classes, self._width)
        sums, weights = [], []
        for block in self.encoding.features:
            sums.append(rows[:, block.start : block.start + block.size].sum(axis=1))
            weights.append(1.0 / block.size)
        for span in self._spans.values():
            sums.append(rows[:, span].sum(axis=1))
            weights.append(1.0 / (span.stop - span.start))
        return _weighted_mean(sums, weights), 1.0 / sum(weights)

    def one_way(self, vector: Array, label: int) -> list[Array]:
        """Returns the counts of each block's codes within a class: the least-squares estimate.

        A block's own counts have unit variance a cell, the margins of its table with block b
        have variance `size(b)`; their deviations from uniform are averaged with inverse
        variances, and all blocks get the class's size from `counts`.
        """
        size = float(self.counts(vector)[0][label])
        row = vector.reshape(self.encoding.num_classes, self._width)[label]
        tables = dict(self.tables(vector, label))
        result = []
        for a, block in enumerate(self.encoding.features):
            parts, weights = [row[block.start : block.start + block.size]], [1.0]
            for (first, second), table in tables.items():
                if a in (first, second):
                    axis = 1 if a == first else 0
                    parts.append(table.sum(axis=axis))
                    weights.append(1.0 / table.shape[axis])
            mean = _weighted_mean([part - part.mean() for part in parts], weights)
            result.append(mean + size / block.size)
        return result

    def tables(self, vector: Array, label: int) -> Iterator[tuple[tuple[int, int], Array]]:
        """Yields ((a, b), table) for each pair of blocks a < b of a class; tables are views."""
        row = vector.reshape(self.encoding.num_classes, self._width)[label]
        blocks = self.encoding.features
        for (a, b), span in self._spans.items():
            yield (a, b), row[span].reshape(blocks[a].size, blocks[b].size)

    def gram(self, vector: Array, label: int) -> Array:
        """Returns the whole symmetric (D, D) matrix sum x x^T of a class, as measured."""
        blocks, width = self.encoding.features, self.encoding.width
        row = vector.reshape(self.encoding.num_classes, self._width)[label]
        gram = np.zeros((width, width), dtype=vector.dtype)
        np.fill_diagonal(gram, row[:width])
        for (a, b), table in self.tables(vector, label):
            rows = slice(blocks[a].start, blocks[a].start + blocks[a].size)
            columns = slice(blocks[b].start, blocks[b].start + blocks[b].size)
            gram[rows, columns] = table
            gram[columns, rows] = table.T
        return gram


def statistic(kind: str, encoding: Encoding) -> OneWay | Pairwise:
    """Returns the statistic of that kind.

    Raises:
      ConfigError: there is no such kind.
    """
    kinds: dict[str, type[OneWay] | type[Pairwise]] = {"oneway": OneWay, "pairwise": Pairwise}
    if kind not in kinds:
        raise ConfigError(f"statistic {kind!r} is unknown; known: {', '.join(sorted(kinds))}")
    return kinds[kind](encoding)


@dataclass(frozen=True, kw_only=True)
class NoisyStatistics:
    """The sum over sites of a statistic, with its noise: what the coordinator may know.

    Attributes:
      encoding: the public encoding that the sites counted with.
      kind: "oneway" or "pairwise".
      vector: the noisy sum over sites.
      noise_std: standard deviation of the noise in each coordinate of that sum.
      site_totals: noisy number of records of each site, at least 1.
    """

    encoding: Encoding
    kind: str
    vector: Array
    noise_std: float
    site_totals: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses a vector of the wrong length or with numbers that are not finite."""
        expected = (self.statistic.length,)
        if self.vector.shape != expected or not np.isfinite(self.vector).all():
            raise ConfigError(
                f"a {self.kind} statistic of this schema has shape {expected} and finite numbers; "
                f"got shape {self.vector.shape}"
            )

    @property
    def statistic(self) -> OneWay | Pairwise:
        """The statistic that was summed."""
        return statistic(self.kind, self.encoding)

    def save(self, path: Path) -> None:
        """Writes `path` with the suffixes `.json` and `.safetensors`."""
        header = {
            "kind": self.kind,
            "noise_std": float(self.noise_std),
            "site_totals": {name: float(total) for name, total in self.site_totals.items()},
        }
        path.with_suffix(".json").write_bytes(canonical_json(header) + b"\n")
        arrays = {"vector": np.ascontiguousarray(self.vector)}
        path.with_suffix(".safetensors").write_bytes(safetensors.numpy.save(arrays))

    @classmethod
    def load(cls, path: Path, encoding: Encoding) -> NoisyStatistics:
        """Reads what `save` wrote.

        Raises:
          ConfigError: a file is missing, damaged or belongs to another schema.
        """
        try:
            header = json.loads(path.with_suffix(".json").read_bytes())
            arrays = safetensors.numpy.load(path.with_suffix(".safetensors").read_bytes())
            return cls(
                encoding=encoding,
                kind=header["kind"],
                vector=arrays["vector"],
                noise_std=header["noise_std"],
                site_totals=header["site_totals"],
            )
        except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
            raise ConfigError(
                f"{path}.json and {path}.safetensors should hold noisy statistics, but cannot be "
                f"read ({error}); run the study again with --resume"
            ) from error

    def class_counts(self) -> Array:
        """Returns the estimated records of each class, (num_classes,), never negative."""
        counts: Array = np.maximum(self.statistic.counts(self.vector)[0], 0.0)
        return counts

    def count_std(self) -> float:
        """Returns the standard deviation of each of `class_counts`."""
        return self.noise_std * math.sqrt(self.statistic.counts(self.vector)[1])

    def total(self) -> float:
        """Returns the estimated number of records over all sites, at least 1."""
        return max(1.0, float(self.statistic.counts(self.vector)[0].sum()))

    def one_way(self, label: int) -> list[Array]:
        """Returns estimated counts of each block's codes in a class; some may be negative."""
        return self.statistic.one_way(self.vector, label)

    def gram(self, label: int) -> Array:
        """Returns the noisy (D, D) pair counts of a class.

        Raises:
          ConfigError: the statistic is not pairwise.
        """
        measured = self.statistic
        if not isinstance(measured, Pairwise):
            raise ConfigError("only pairwise statistics hold pair counts")
        return measured.gram(self.vector, label)


def _histogram(cells: Array, num_classes: int, size: int) -> Array:
    return np.bincount(cells, minlength=num_classes * size).reshape(num_classes, size)


def _weighted_mean(values: list[Array], weights: list[float]) -> Array:
    total = sum(weight * value for value, weight in zip(values, weights, strict=True))
    mean: Array = np.asarray(total / sum(weights))
    return mean
