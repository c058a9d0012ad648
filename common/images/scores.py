"""What `evaluate` counts on held-back records with images: scores that see pixels too.

The histograms, their guarantee and what a record adds to them are those of a table
(`fedloom.common.scores`): a record adds at most one to a bin of each question, whatever its image
and the request hold. A score is that of the columns' cells, and a weighted sum of the image's
levels. Weights of pixels are whole numbers of a fixed unit, so that this sum is exact, and a
record's bin does not depend on which records are scored beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.artifact import Artifact
from fedloom.common.errors import ConfigError
from fedloom.common.images.coder import CODES, PIXELS, ImageCoder
from fedloom.common.images.coordinates import Coordinates
from fedloom.common.images.sampler import ImageSampler
from fedloom.common.images.vectors import LEVELS, blocks_of
from fedloom.common.scores import EvaluationQueries

__all__ = ["MAX_PIXEL_WEIGHT", "ImageScores"]

Array = NDArray[Any]

MAX_PIXEL_WEIGHT = 1 << 20
"""In units; 64 x 64 pixels of three colours at the lightest level stay below 2^53, where sums of
whole numbers are exact in double precision."""
_UNIT = 2.0**-23
# A linear scorer learns little from finer frequencies, and each one asks for time.
_FREQUENCIES = 196


class ImageScores(EvaluationQueries):
    """The histograms of held-back records with images; see `EvaluationQueries`."""

    def __init__(self, coder: ImageCoder) -> None:
        """Takes the layout from the coder."""
        super().__init__(coder.encoding)
        self._record_type = coder.record_type
        self._coordinates = Coordinates(coder.shape, _FREQUENCIES)
        self._pixels = (coder.shape.height, coder.shape.width, coder.shape.channels)

    def request_arrays(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Returns shape and type of each array of a request.

        Beside those of a table `pixels` (Q, height, width, channels) holds what one of 255 levels
        of each value adds to a score, in units of 2^-23.
        """
        arrays = super().request_arrays()
        if self.num_questions:
            arrays["pixels"] = ((self.num_questions, *self._pixels), "int32")
        return arrays

    def check(self, arrays: Mapping[str, Array]) -> None:
        """Checks the arrays of a request.

        Raises:
          ConfigError: a name, type, shape or value is not what `request_arrays` says.
        """
        super().check(arrays)
        if not self.num_questions:
            return
        # Not the absolute value: that of the least integer is itself.
        least, most = int(arrays["pixels"].min()), int(arrays["pixels"].max())
        if not -MAX_PIXEL_WEIGHT <= least <= most <= MAX_PIXEL_WEIGHT:
            raise ConfigError(f"weights of pixels must be at most {MAX_PIXEL_WEIGHT}")

    def drawn(self, artifact: Artifact, count: int, seed: int) -> tuple[Array, Array]:
        """Draws synthetic records, the same for the same seed: features (N,), classes (N,)."""
        encoding = self.encoding
        sampler = ImageSampler(artifact, encoding.schema, encoding.target)
        drawn, _ = sampler.rows(count, np.random.default_rng(seed))
        features = np.zeros(count, dtype=self._record_type)
        features[CODES] = encoding.feature_codes(drawn.rows.codes)
        features[PIXELS] = drawn.images
        return features, encoding.classes(drawn.rows.codes)

    def codes(self, features: Array) -> Array:
        """Returns the codes (N, m) of the columns of records."""
        codes: Array = features[CODES]
        return codes

    def numbers(self, features: Array) -> Array:
        """Returns the lowest frequencies of images, (N, K) float64."""
        found = np.zeros((len(features), self._coordinates.count))
        for rows, levels in blocks_of(features[PIXELS]):
            found[rows] = self._coordinates.of(levels) / LEVELS
        return found

    def scorer_arrays(self, weights: Array, of_numbers: Array) -> dict[str, Array]:
        """Returns fitted scorers as arrays of a request; see `EvaluationQueries`."""
        # Frequencies are products with orthonormal waves, so weights go back by the same waves.
        units = np.rint(self._coordinates.images(of_numbers) / (LEVELS * _UNIT))
        pixels = np.clip(units, -MAX_PIXEL_WEIGHT, MAX_PIXEL_WEIGHT).astype(np.int32)
        return {**super().scorer_arrays(weights, of_numbers), "pixels": pixels}

    def scores(self, features: Array, arrays: Mapping[str, Array], number: int) -> Array:
        """Returns a question's score of each record, (N,) float64, each by itself."""
        weights = arrays["pixels"][number].reshape(-1).astype(np.float64)
        found = np.zeros(len(features))
        for rows, levels in blocks_of(features[PIXELS]):
            found[rows] = (levels.reshape(len(levels), -1) @ weights) * _UNIT
        total: Array = super().scores(features, arrays, number) + found
        return total
