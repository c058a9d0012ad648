"""Is this answer well-formed, fresh, and from the site whose name it bears?

An answer that fails any check is dropped, and the quorum decides whether the round counts. The
checks use the plan's public keys, so the coordinator's transport need not be trusted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fedloom.common.errors import ConfigError
from fedloom.common.messages import Answer, Request
from fedloom.privacy.keys import verify
from fedloom.privacy.plan import Plan

__all__ = ["Rejected", "admit", "check_shapes"]


class Rejected(Exception):
    """An answer that must not be used; the text is the coordinator's own."""


def admit(data: bytes, *, site: str, request: Request, plan: Plan) -> Answer:
    """Checks who answered and what was asked.

    Args:
      data: packed answer as it arrived.
      site: the site that was asked.
      request: what it was asked, with a fresh nonce.
      plan: holds the sites' public keys.

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
    key = plan.site(site).key
    if answer.site != site:
        raise Rejected(f"it bears the name {answer.site!r}")
    if key is None or not verify(key, answer.signed_bytes(), answer.signature):
        raise Rejected("its signature does not hold for the key in the plan")
    if answer.header.get("nonce") != request.nonce:
        raise Rejected("it answers an earlier message")
    if answer.header.get("request_digest") != request.digest():
        raise Rejected("it answers another request")
    return answer


def check_shapes(
    arrays: dict[str, np.ndarray[Any, np.dtype[Any]]], expected: dict[str, tuple[int, ...]]
) -> None:
    """Checks names, shapes and finiteness of an answer's arrays.

    Raises:
      Rejected: something differs, or a value is not finite.
    """
    if set(arrays) != set(expected):
        raise Rejected("its arrays are not those that were asked for")
    for name, shape in expected.items():
        if arrays[name].shape != shape or not np.issubdtype(arrays[name].dtype, np.floating):
            raise Rejected(f"{name} has the wrong shape or type")
        if not np.isfinite(arrays[name]).all():
            raise Rejected(f"{name} holds values that are not finite")
