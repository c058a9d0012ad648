"""A mixture of products: within a class, each component draws every column on its own.

Published are the probabilities of all codes in each component of each class,
`probabilities` (C, K, D), and `class_prior` (C,). Components of a class have equal weight.
Cells that may not be synthesised have probability zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError

__all__ = ["sample_codes"]

Array = np.ndarray[Any, np.dtype[Any]]

# Keeps a draw below 1 when a component's number, up to 10^6, is added to it in float64.
_BELOW_ONE = 1.0 - 1e-9


def sample_codes(artifact: Artifact, encoding: Encoding, classes: Array, seed: int) -> Array:
    """Draws one record for each given class.

    Args:
      artifact: of kind "mixture".
      encoding: of the schema that the artifact was made for.
      classes: (N,) class of each record.
      seed: makes the draw repeatable.

    Returns:
      (N, m) int32 codes of the feature blocks.

    Raises:
      ConfigError: the artifact was made for another schema.
    """
    probabilities = artifact.arrays["probabilities"]
    num_components = probabilities.shape[1]
    if (probabilities.shape[0], probabilities.shape[2]) != (encoding.num_classes, encoding.width):
        raise ConfigError(
            f"the generator has {probabilities.shape[0]} classes and {probabilities.shape[2]} "
            f"cells, the schema {encoding.num_classes} and {encoding.width}; "
            "use the schema that it was made with"
        )
    rng = np.random.default_rng(seed)
    components = classes * num_components + rng.integers(0, num_components, len(classes))
    order = np.argsort(components, kind="stable")
    ordered = components[order]
    codes = np.empty((len(classes), len(encoding.features)), dtype=np.int32)
    for position, block in enumerate(encoding.features):
        part = probabilities[:, :, block.start : block.start + block.size]
        keys = _cumulative(part.reshape(-1, block.size))
        draws = ordered + rng.random(len(ordered)) * _BELOW_ONE
        found = np.searchsorted(keys, draws, side="right")
        codes[order, position] = found - ordered * block.size
    return codes


def _cumulative(probabilities: Array) -> Array:
    """Distribution functions of all components end to end, each raised by its number.

    The sequence never falls, so one binary search finds component and code together.
    """
    sums = np.cumsum(probabilities, axis=1, dtype=np.float64)
    # A class without components of its own is never drawn; any distribution will do for it.
    total = np.where(sums[:, -1:] > 0, sums[:, -1:], 1.0)
    return (np.arange(len(sums))[:, None] + sums / total).reshape(-1)
