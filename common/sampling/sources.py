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

__all__ = ["Source", "as_mixture", "source_of"]

Array = npt.NDArray[Any]

_NEURAL = ("vae", "gan")
_KINDS = ("mixture", *_NEURAL)


class Source(Protocol):
    """What records are drawn from."""

    def draw(self, rows: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draws feature codes (N, m) and classes (N,) of as many records."""

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
    _check(artifact)
    if artifact.kind in _NEURAL:
        from fedloom.common.sampling.latents import DecoderSource

        return DecoderSource(artifact, encoding, shares or {})
    mixture = Mixture.of(artifact, encoding)
    conditioned, _ = mixture.conditioned(shares) if shares else (mixture, 1.0)
    if conditioned is None:
        raise ConfigError(
            "the generator gives these conditions together no chance at all; leave one out or "
            "widen it"
        )
    return conditioned


def as_mixture(artifact: Artifact, encoding: Encoding) -> Mixture:
    """Returns a generator as a mixture; `vae` and `gan` become one of several thousand latents."""
    return source_of(artifact, encoding).mixture()


def _check(artifact: Artifact) -> None:
    if artifact.kind not in _KINDS:
        raise ConfigError(
            f"generators of kind {artifact.kind!r} are unknown; known: {', '.join(_KINDS)}"
        )
