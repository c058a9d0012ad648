"""A published generator, under conditions, as a source of cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.models.mixture import Mixture
from fedloom.common.models.registry import MODELS
from fedloom.common.parts import load_part
from fedloom.common.records import Coder

__all__ = ["Source", "array_shapes", "as_mixture", "source_of"]

Array = npt.NDArray[Any]


class Source(Protocol):
    """What records are drawn from."""

    def draw(self, rows: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draws coded records (N, m + item_places) and classes (N,) of as many records."""

    def mixture(self) -> Mixture:
        """Returns the source as a mixture: itself, or a sketch of it for what needs one."""


def source_of(
    artifact: Artifact, encoding: Encoding, shares: Mapping[str, Array] | None = None
) -> Source:
    """Returns a generator, conditioned on columns.

    Args:
      artifact: The generator.
      encoding: Of the schema that it was made with.
      shares: By column, the share of each cell that is allowed, (size,), in [0, 1].

    Raises:
      ConfigError: the kind is unknown, or the generator gives the condition no chance, or too
        small a one to draw from it.
    """
    kind = MODELS.get(artifact.kind)
    if kind is None or kind.source is None or "table" not in kind.records:
        known = ", ".join(
            name
            for name, entry in MODELS.items()
            if entry.source is not None and "table" in entry.records
        )
        raise ConfigError(f"a generator must be of a kind among {known}, got {artifact.kind!r}")
    source: Source = load_part(kind.source)(artifact, encoding, shares or {})
    return source


def as_mixture(artifact: Artifact, encoding: Encoding) -> Mixture:
    """Returns a generator as a mixture; `vae` and `gan` become one of several thousand latents."""
    return source_of(artifact, encoding).mixture()


def array_shapes(artifact: Artifact, coder: Coder) -> dict[str, tuple[int, ...]]:
    """Returns the names and shapes of the arrays that a generator of this kind and size has.

    Args:
      artifact: The generator; its kind and its settings are looked at.
      coder: Of the schema's records.

    Raises:
      ConfigError: the kind is unknown, or the settings are none of that kind.
    """
    shapes = MODELS[artifact.kind].shapes if artifact.kind in MODELS else None
    if shapes is None:
        raise ConfigError(f"no generator is of the kind {artifact.kind!r}")
    found: dict[str, tuple[int, ...]] = load_part(shapes)(artifact.config, coder)
    return found
