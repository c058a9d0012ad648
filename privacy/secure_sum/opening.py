"""Masking one site's noised share, and opening the sum of the whole roster's."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from fedloom.common.errors import ConfigError
from fedloom.privacy.secure_sum.masks import RequestMask

__all__ = ["masked_share", "open_sum"]


def masked_share(share: NDArray[np.int64], mask: RequestMask) -> NDArray[np.int64]:
    """Masks a noised share in its place, so that no unmasked copy stays behind.

    Args:
      share: The site's sum in grid units with its share of the noise; it is overwritten.
      mask: Of the request that the share answers. One request masks one share: two under one
        mask tell their difference.

    Returns:
      The same array; its words look uniform to all who lack the pairs' keys.

    Raises:
      ConfigError: the share has other than 64-bit integers in one piece; it is untouched then.
    """
    if share.dtype != np.dtype(np.int64) or not share.flags.c_contiguous:
        raise ConfigError(f"a share has 64-bit integers in one piece, got {share.dtype}")
    words = mask.words(share.size)
    bits = share.view(np.uint64)
    bits += words.reshape(share.shape)
    return share


def open_sum(
    shares: Mapping[str, NDArray[np.int64]], *, roster: Collection[str]
) -> NDArray[np.int64]:
    """Adds the answers of a whole roster, modulo 2^64, in units of their grid.

    Masks cancel only in the sum of all: without one of them the rest is uniform noise, so a
    sum that lacks a site is refused. Answers that were never masked are added just the same.

    Args:
      shares: By site, its answer.
      roster: The sites that the request named.

    Raises:
      ConfigError: a site of the roster is missing, another is there, or the answers differ in
        shape or type.
    """
    if not shares or sorted(shares) != sorted(roster):
        raise ConfigError(
            f"a sum opens with the answers of {', '.join(sorted(roster))} alone and all, got "
            f"{', '.join(sorted(shares)) or 'none'}; ask them all again in a new attempt"
        )
    arrays = list(shares.values())
    if any(array.dtype != np.int64 or array.shape != arrays[0].shape for array in arrays):
        raise ConfigError("the answers to one request are 64-bit integers of one shape")
    total = np.zeros(arrays[0].shape, dtype=np.uint64)
    for array in arrays:
        total += np.ascontiguousarray(array).view(np.uint64)
    return total.view(np.int64)
