"""A mixture of products: within a class, each component draws every column on its own.

Published are the probabilities of all codes in each component of each class,
`probabilities` (C, K, D), and `class_prior` (C,). Components of a class have equal weight.
Cells that may not be synthesised have probability zero.

Conditions on columns keep the form: a component's weight is multiplied by the probability of the
condition within it, and its columns are cut to what the condition allows. So conditional draws are
exact, at the price of unconditional ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Block, Encoding
from fedloom.common.errors import ConfigError

__all__ = ["Mixture", "end_to_end", "mixture_shapes", "mixture_source", "within_classes"]

Array = np.ndarray[Any, np.dtype[Any]]

# Keeps a draw below 1 when a component's number, up to 10^6, is added to it in float64.
_BELOW_ONE = 1.0 - 1e-9
_ROUNDING = 1e-5


@dataclass(frozen=True, eq=False)
class Mixture:
    """Components of all classes, one after the other.

    Attributes:
      encoding: Of the schema.
      weights: How likely each component is, (L,), with sum 1.
      classes: The class of each component, (L,).
      cells: Probabilities (L, D) of the features' cells; each block of a component sums to 1.
    """

    encoding: Encoding
    weights: Array
    classes: Array
    cells: Array

    @classmethod
    def of(cls, artifact: Artifact, encoding: Encoding) -> Mixture:
        """Reads a published mixture.

        Raises:
          ConfigError: the artifact was made for another schema, or a component that it draws
            from has no cell of some column.
        """
        probabilities = artifact.arrays["probabilities"]
        num_classes, num_components, width = probabilities.shape
        if (num_classes, width) != (encoding.num_classes, encoding.width):
            raise ConfigError(
                f"the generator has {num_classes} classes and {width} cells, the schema "
                f"{encoding.num_classes} and {encoding.width}; use the schema that it was made with"
            )
        prior = np.asarray(artifact.arrays["class_prior"], dtype=np.float64)
        for block in encoding.features:
            total = probabilities[:, :, block.start : block.start + block.size].sum(axis=2)
            if (total[prior > 0] <= 0).any():
                raise ConfigError(
                    f"the generator draws nothing for '{block.name}' in some component; make it "
                    "again"
                )
        return cls.from_parts(encoding, prior, probabilities)

    @classmethod
    def from_parts(cls, encoding: Encoding, prior: Array, probabilities: Array) -> Mixture:
        """Puts a mixture together from a prior (C,) and components (C, K, D) of each class."""
        num_classes, num_components, width = probabilities.shape
        classes = np.repeat(np.arange(num_classes), num_components)
        cells = np.array(probabilities, dtype=np.float32).reshape(len(classes), width)
        for block in encoding.features:
            part = cells[:, block.start : block.start + block.size]
            total = part.sum(axis=1, keepdims=True)
            # A class without components of its own is never drawn; it keeps its zeros.
            part /= np.where(total > 0, total, 1.0)
        weights = np.repeat(prior / prior.sum() / num_components, num_components)
        return cls(encoding, weights, classes, within_classes(encoding, classes, cells))

    def conditioned(self, shares: Mapping[str, Array]) -> tuple[Mixture | None, float]:
        """Conditions on columns.

        Args:
          shares: By column, the share of each of its cells that is allowed, (size,), in [0, 1].

        Returns:
          The mixture given the condition, and the condition's probability; None if that is zero.
        """
        weights, cells = self.weights.copy(), self.cells.copy()
        features = {block.name: block for block in self.encoding.features}
        for name, share in shares.items():
            block = features.get(name)
            if block is None:
                weights *= share[self.classes]
                continue
            part = cells[:, block.start : block.start + block.size]
            part *= share
            mass = part.sum(axis=1, dtype=np.float64)
            weights *= mass
            part /= np.where(mass > 0, mass, 1.0)[:, None]
        total = float(weights.sum())
        if total <= 0:
            return None, 0.0
        return replace(self, weights=weights / total, cells=cells), total

    def draw(self, rows: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draws codes (N, m) int32 of the features and classes (N,) of as many records."""
        components, codes = self.draw_sorted(rows, rng)
        order = rng.permutation(rows)
        return codes[order], self.classes[components[order]]

    def draw_sorted(self, rows: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draws components (N,), in their order, and codes (N, m) int32 from each."""
        counts = rng.multinomial(rows, self.weights)
        components = np.repeat(np.arange(len(counts)), counts)
        codes = np.empty((rows, len(self.encoding.features)), dtype=np.int32)
        for position, (block, keys) in enumerate(zip(self._blocks, self._keys, strict=True)):
            draws = components + rng.random(rows) * _BELOW_ONE
            found = np.searchsorted(keys, draws, side="right")
            codes[:, position] = found - components * block.size
        return components, codes

    def mixture(self) -> Mixture:
        """Returns itself; neural generators return a sketch."""
        return self

    def marginals(self) -> Array:
        """Returns the probabilities (C, D) of the features' cells within each class.

        Those of a class without weight are zero.
        """
        sums = np.zeros((self.encoding.num_classes, self.encoding.width))
        for label in range(self.encoding.num_classes):
            own = self.classes == label
            weights = self.weights[own]
            sums[label] = weights @ self.cells[own] / max(float(weights.sum()), 1e-300)
        return sums

    def prior(self) -> Array:
        """Returns the probability of each class, (C,)."""
        return np.bincount(self.classes, self.weights, minlength=self.encoding.num_classes)

    @property
    def _blocks(self) -> tuple[Block, ...]:
        return self.encoding.features

    @cached_property
    def _keys(self) -> list[Array]:
        return [
            end_to_end(self.cells[:, block.start : block.start + block.size])
            for block in self._blocks
        ]


def mixture_source(artifact: Artifact, encoding: Encoding, shares: Mapping[str, Array]) -> Mixture:
    """Returns a published mixture, conditioned on columns; see `fedloom.common.sampling.sources`.

    Raises:
      ConfigError: no record satisfies the conditions.
    """
    mixture = Mixture.of(artifact, encoding)
    conditioned, _ = mixture.conditioned(shares) if shares else (mixture, 1.0)
    if conditioned is None:
        raise ConfigError(
            "no record of this generator satisfies all of these conditions; remove one or widen it"
        )
    return conditioned


def mixture_shapes(config: Mapping[str, Any], encoding: Encoding) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each array that a mixture is published with.

    Raises:
      ConfigError: the settings are none of a mixture.
    """
    components = config.get("components")
    if type(components) is not int or components < 1:
        raise ConfigError("the generator's settings lack its number of components")
    return {
        "probabilities": (encoding.num_classes, components, encoding.width),
        "class_prior": (encoding.num_classes,),
    }


def within_classes(encoding: Encoding, classes: Array, cells: Array) -> Array:
    """Cuts the cells of a numeric target to each row's class, as `Encoding.column_codes` draws.

    Args:
      encoding: Of the schema.
      classes: Class of each row, (N,).
      cells: Probabilities (N, D) of the features' cells.

    Returns:
      `cells` itself without a numeric target; otherwise a copy in which probability outside the
      class is spread evenly over the class's cells.
    """
    for block in encoding.features:
        if block.name != encoding.target:
            continue
        cells = cells.copy()
        member = encoding.class_of_cell[None, :] == np.arange(encoding.num_classes)[:, None]
        inside = member[classes]
        part = cells[:, block.start : block.start + block.size]
        part *= inside
        lost = 1.0 - part.sum(axis=1, keepdims=True)
        lost[lost < _ROUNDING] = 0.0
        part += inside * lost / inside.sum(axis=1, keepdims=True)
    return cells


def end_to_end(probabilities: Array) -> Array:
    """Returns the distribution functions of rows (N, size) one after the other, (N * size,).

    Each is raised by its number. The sequence never falls, so one binary search finds row and code
    together.
    """
    sums = np.cumsum(probabilities, axis=1, dtype=np.float64)
    total = np.where(sums[:, -1:] > 0, sums[:, -1:], 1.0)
    return np.asarray((np.arange(len(sums))[:, None] + sums / total).reshape(-1))
