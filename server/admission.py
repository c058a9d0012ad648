"""Is this answer well-formed, fresh, and from the site whose name it bears?

An answer that fails any check is dropped, and the quorum decides whether the round counts. The
checks use the plan's public keys, so the coordinator's transport need not be trusted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fedloom.common.errors import ConfigError
from fedloom.common.messages import Answer
from fedloom.privacy.keys import verify

__all__ = ["Rejected", "Shapes", "admit", "check_arrays"]

Shapes = dict[str, tuple[tuple[int, ...], str]]
"""Expected shape and dtype by name."""

# Sums over records, gradients and weights stay far below; what does not would overflow later.
_LARGEST = 2.0**53


class Rejected(Exception):
    """An answer that must not be used; the text is the coordinator's own."""


def admit(data: bytes, *, site: str, key: str | None, nonce: str, request_digest: str) -> Answer:
    """Checks who answered and what was asked.

    Args:
      data: packed answer as it arrived.
      site: the site that was asked.
      key: that site's public key in the plan.
      nonce: the message's fresh text.
      request_digest: what the site was asked.

    Returns:
      The answer, a refusal included.

    Raises:
      Rejected: silence, damage, a wrong name, key, nonce or request.
    """
    if not data:
        raise Rejected("silence")
    try:
        answer = Answer.unpack(data)
    except ConfigError as error:
        raise Rejected(str(error)) from error
    if answer.site != site:
        raise Rejected(f"it bears the name {answer.site!r}")
    if key is None or not verify(key, answer.signed_bytes(), answer.signature):
        raise Rejected("its signature does not hold for the key in the plan")
    if answer.header.nonce != nonce:
        raise Rejected("it answers an earlier message")
    if answer.header.request_digest != request_digest:
        raise Rejected("it answers another request")
    return answer


def check_arrays(arrays: dict[str, np.ndarray[Any, np.dtype[Any]]], expected: Shapes) -> None:
    """Checks names, shapes, types and size of an answer's arrays.

    Raises:
      Rejected: something differs, or a value is not finite or beyond all reason.
    """
    if set(arrays) != set(expected):
        raise Rejected("its arrays are not those that were asked for")
    for name, (shape, dtype) in expected.items():
        if arrays[name].shape != shape or arrays[name].dtype != np.dtype(dtype):
            raise Rejected(f"{name} has the wrong shape or type")
        if arrays[name].dtype.kind in "iu":
            continue  # a masked sum takes any value
        if not np.isfinite(arrays[name]).all():
            raise Rejected(f"{name} holds values that are not finite")
        if arrays[name].size and float(np.abs(arrays[name]).max()) > _LARGEST:
            raise Rejected(f"{name} holds values above {_LARGEST:.0g}, which no sum can reach")
