"""What leaves a vault: answers and refusals, each signed with the site's key.

Every answer names the site, echoes the request's nonce and carries the head of the site's ledger,
refusals too: whoever has the plan's public keys can tell who answered what, and when. The vault's
memory holds that head before anything is signed, so that nobody is told more than it remembers.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from functools import lru_cache
from typing import Any

from fedloom.client.continuity import Continuity
from fedloom.common.messages import (
    Answer,
    AnswerHeader,
    Arrays,
    Unopened,
    arrays_digest,
)
from fedloom.common.signed_heads import SeenHead
from fedloom.common.version import VERSION
from fedloom.common.vocabulary import Status
from fedloom.privacy.keys import PrivateKey, sign
from fedloom.privacy.ledger import Ledger

__all__ = ["AnswerSigner", "software_versions"]

_REPORTED_PACKAGES = ("torch", "opacus", "dp-accounting", "flwr", "numpy")


class AnswerSigner:
    """Signs a site's answers.

    Args:
      ledger: the site's ledger, whose head each answer carries.
      private_key: the site's key.
      continuity: notes how far the ledger has come.
    """

    def __init__(self, ledger: Ledger, private_key: PrivateKey, continuity: Continuity) -> None:
        self._ledger = ledger
        self._private_key = private_key
        self._continuity = continuity

    def sign(
        self,
        unopened: Unopened | None,
        status: Status = Status.OK,
        *,
        arrays: Arrays | None = None,
        **said: Any,
    ) -> bytes:
        """Returns a packed answer.

        Args:
          unopened: the request; None if the message could not be read as one.
          status: "ok", or why the site refuses.
          arrays: the noised answer.
          said: other fields of the header; see `AnswerHeader`.
        """
        self._continuity.keep()
        arrays = arrays or {}
        sequence, head = self._ledger.head
        header = AnswerHeader(
            site=self._ledger.site,
            status=status,
            request_digest="" if unopened is None else unopened.digest,
            nonce="" if unopened is None else unopened.header.nonce,
            head=SeenHead(epoch=len(self._ledger.lost), seq=sequence, hash=head),
            arrays_digest=arrays_digest(arrays),
            **said,
        )
        answer = Answer(header=header, arrays=arrays)
        return replace(answer, signature=sign(self._private_key, answer.signed_bytes())).pack()


@lru_cache(maxsize=1)
def software_versions() -> dict[str, str]:
    """Returns the versions of what computes a site's answers, by package."""
    versions = {"fedloom": VERSION}
    for package in _REPORTED_PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
