"""Draws what a record lacks from a mixture, given what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fedloom.common.models.mixture import Mixture

__all__ = ["Posterior"]

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

# A cell that no component of the record's class would draw still leaves the others their say.
_TINY = 1e-30
_BELOW_ONE = 1.0 - 1e-6


class Posterior:
    """A mixture's components given the known cells of records."""

    def __init__(self, mixture: Mixture, fillable: Mapping[str, Array]) -> None:
        """Takes a mixture, and by column the share (size,) of each cell that may fill a gap."""
        self._mixture, self._fillable = mixture, fillable
        self._encoding = mixture.encoding
        names = self._encoding.schema.names
        target = self._encoding.target
        features = {block.name for block in self._encoding.features}
        self._label = None if target is None or target in features else names.index(target)
        self._places = [names.index(block.name) for block in self._encoding.features]
        self._tables: dict[int, tuple[Array, Array, list[Array]]] = {}

    def draw(self, codes: Array, known: Mask, gaps: Mask, rng: np.random.Generator) -> Array:
        """Draws the gaps of records.

        Args:
          codes: Cells of all columns, (N, columns); what stands in a gap is not looked at.
          known: Which cells are given, (N, columns).
          gaps: Which cells are drawn; cells that are neither are left out of account.
          rng: Source of the draws.

        Returns:
          The cells (N, columns) with the gaps filled.
        """
        codes = codes.copy()
        labels = np.full(len(codes), -1)
        if self._label is not None:
            given = known[:, self._label]
            labels[given] = self._encoding.classes(codes[given])
        for label in np.unique(labels):
            rows = np.flatnonzero(labels == label)
            codes[rows] = self._draw_of(int(label), codes[rows], known[rows], gaps[rows], rng)
        return codes

    def _draw_of(
        self, label: int, codes: Array, known: Mask, gaps: Mask, rng: np.random.Generator
    ) -> Array:
        components, prior, tables = self._table(label)
        logs = np.broadcast_to(prior, (len(codes), len(prior))).copy()
        for block, place, table in zip(self._encoding.features, self._places, tables, strict=True):
            cells = np.where(known[:, place], codes[:, place], block.size)
            cells[gaps[:, place]] = block.size + 1
            logs += table[cells]
        logs -= logs.max(axis=1, keepdims=True)
        sums = np.cumsum(np.exp(logs, out=logs), axis=1)
        draws = rng.random((len(codes), 1), dtype=np.float32) * _BELOW_ONE * sums[:, -1:]
        drawn = components[np.minimum((sums <= draws).sum(axis=1), len(components) - 1)]
        for block, place in zip(self._encoding.features, self._places, strict=True):
            rows = np.flatnonzero(gaps[:, place])
            if len(rows):
                cells = self._mixture.cells[drawn[rows], block.start : block.start + block.size]
                part = np.cumsum(cells * self._fillable[block.name], axis=1)
                at = rng.random((len(rows), 1)) * _BELOW_ONE * part[:, -1:]
                codes[rows, place] = np.minimum((part <= at).sum(axis=1), block.size - 1)
        if self._label is not None:
            rows = np.flatnonzero(gaps[:, self._label])
            codes[rows, self._label] = self._mixture.classes[drawn[rows]]
        return codes

    def _table(self, label: int) -> tuple[Array, Array, list[Array]]:
        """Returns the components of a class and their logarithms.

        Of -1, and of a class that the generator never draws, these are all that can be drawn.
        Per feature there is one row for each cell, a row of zeros for a cell that is left out of
        account, and one with the probability that the cell may fill a gap.
        """
        if label in self._tables:
            return self._tables[label]
        mixture = self._mixture
        own = (mixture.classes == label) & (mixture.weights > 0)
        if own.any():
            components = np.flatnonzero(own)
        elif self._label is not None:
            share = self._fillable[str(self._encoding.target)]
            components = np.flatnonzero(share[mixture.classes] * mixture.weights > 0)
        else:
            components = np.flatnonzero(mixture.weights > 0)
        prior = np.log(mixture.weights[components] + _TINY).astype(np.float32)
        tables = []
        for block in self._encoding.features:
            cells = mixture.cells[components, block.start : block.start + block.size]
            free = (cells * self._fillable[block.name]).sum(axis=1)
            rows = [np.log(cells.T + _TINY), np.zeros((1, len(components)))]
            table = np.concatenate([*rows, np.log(free + _TINY)[None, :]]).astype(np.float32)
            tables.append(table)
        self._tables[label] = components, prior, tables
        return self._tables[label]
