"""Draws from `vae` and `gan` under conditions, by rejection of latents.

Given its latent, a decoder draws columns on their own, so the probability of a condition given
the latent is known. A latent is accepted in proportion to it, and the columns are then drawn
within the condition. A pilot of latents sets the envelope: twice the largest probability that it
met. Draws are exact, except that latents beyond the envelope count as if at it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.models.mixture import Mixture, within_classes
from fedloom.common.sampling.decoder import LatentDecoder

__all__ = ["MIN_ACCEPTANCE", "DecoderSource"]

Array = npt.NDArray[Any]

MIN_ACCEPTANCE = 1 / 500
_PILOT = 16_384
_ENVELOPE = 2.0
_LATENTS, _MAX_CELLS = 4096, 1 << 26
_BATCH = 1 << 16
_PATIENCE = 20
_BELOW_ONE = 1.0 - 1e-9


class DecoderSource:
    """A `vae` or `gan` as a source; see `fedloom.common.sampling.sources.Source`."""

    def __init__(self, artifact: Artifact, encoding: Encoding, shares: Mapping[str, Array]) -> None:
        """Takes a generator and conditions.

        Raises:
          ConfigError: records that meet the conditions are too rare to be drawn.
        """
        self._artifact, self._encoding = artifact, encoding
        self._decoder = LatentDecoder(artifact, encoding)
        features = {block.name for block in encoding.features}
        self._shares = {name: share for name, share in shares.items() if name in features}
        prior = np.asarray(artifact.arrays["class_prior"], dtype=np.float64)
        for name, share in shares.items():
            prior = prior if name in features else prior * share
        if prior.sum() <= 0:
            raise ConfigError("the generator never draws such a label; choose another")
        self._prior = prior / prior.sum()
        self._envelope, self._acceptance = 1.0, 1.0
        if self._shares:
            self._envelope, self._acceptance = self._pilot()

    def draw(self, rows: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draws feature codes (N, m) and classes (N,) of as many records."""
        if not self._shares:
            classes = rng.choice(len(self._prior), size=rows, p=self._prior)
            drawn = [np.empty((0, len(self._encoding.features)), dtype=np.int32)]
            for _, cells in self._decoder.cells(classes, rng):
                drawn.append(_draw_cells(self._encoding, cells, rng))
            return np.concatenate(drawn), classes
        codes, labels, found, tried = [], [], 0, 0
        while found < rows:
            if tried > _PATIENCE * (rows + _BATCH) / self._acceptance:
                raise self._too_rare(self._envelope * found / tried)
            wanted = int(1.2 * (rows - found) / self._acceptance) + 64
            for classes, cells in self._latents(min(wanted, _BATCH), rng):
                tried += len(classes)
                kept = rng.random(len(classes)) * self._envelope < self._cut(cells)
                codes.append(_draw_cells(self._encoding, cells[kept], rng))
                labels.append(classes[kept])
                found += int(kept.sum())
        return np.concatenate(codes)[:rows], np.concatenate(labels)[:rows]

    def mixture(self) -> Mixture:
        """Returns a mixture of latents drawn once, in each class; conditions are kept."""
        num_classes, width = len(self._prior), self._encoding.width
        latents = int(np.clip(_MAX_CELLS // (num_classes * width), 64, _LATENTS))
        classes = np.repeat(np.arange(num_classes), latents)
        rng = np.random.default_rng(0)
        cells = np.concatenate([part for _, part in self._cells_of(classes, rng)])
        mixture = Mixture.from_parts(
            self._encoding, self._prior, cells.reshape(num_classes, latents, width)
        )
        conditioned, _ = mixture.conditioned(self._shares)
        return mixture if conditioned is None else conditioned

    def _pilot(self) -> tuple[float, float]:
        chances = np.concatenate(
            [self._cut(cells) for _, cells in self._latents(_PILOT, np.random.default_rng(0))]
        )
        envelope = min(1.0, _ENVELOPE * float(chances.max()))
        mean = float(chances.mean())
        if mean <= 0 or mean / envelope < MIN_ACCEPTANCE:
            raise self._too_rare(mean)
        return envelope, mean / envelope

    def _cut(self, cells: Array) -> Array:
        """Cuts cells (B, D) to the conditions, in place; returns how likely they were, (B,)."""
        chances = np.ones(len(cells))
        for block in self._encoding.features:
            if block.name in self._shares:
                part = cells[:, block.start : block.start + block.size]
                part *= self._shares[block.name]
                chances *= part.sum(axis=1, dtype=np.float64)
        return chances

    def _latents(self, count: int, rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
        classes = rng.choice(len(self._prior), size=count, p=self._prior)
        return self._cells_of(classes, rng)

    def _cells_of(self, classes: Array, rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
        """Yields classes (B,) and the probabilities (B, D) of their cells, one latent each."""
        for labels, cells in self._decoder.cells(classes, rng):
            yield labels, within_classes(self._encoding, labels, cells)

    def _too_rare(self, probability: float) -> ConfigError:
        return ConfigError(
            f"the conditions on {', '.join(self._shares)} hold in about {probability:.1g} of this "
            f"{self._artifact.kind}'s records, and fewer than one latent in "
            f"{round(1 / MIN_ACCEPTANCE)} would be accepted; leave a condition out, widen it, or "
            "draw without it and filter. A generator of kind mixture meets any condition exactly"
        )


def _draw_cells(encoding: Encoding, cells: Array, rng: np.random.Generator) -> Array:
    """Draws a code per block from rows (B, D) of which each block has some probability."""
    codes = np.empty((len(cells), len(encoding.features)), dtype=np.int32)
    for position, block in enumerate(encoding.features):
        sums = np.cumsum(cells[:, block.start : block.start + block.size], axis=1, dtype=np.float64)
        draws = rng.random((len(cells), 1)) * _BELOW_ONE * sums[:, -1:]
        codes[:, position] = (sums <= draws).sum(axis=1)
    return codes
