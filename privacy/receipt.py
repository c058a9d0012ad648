"""A steward's receipt: the signed word of a site that it approved a plan.

The coordinator needs to know that all sites are ready before it begins. A receipt says which plan,
for how many runs, and where the site's ledger stood; it grants nothing by itself, for a vault
reads its own ledger. It is signed with the site's key, which the plan names.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from fedloom.common.digest import canonical_json
from fedloom.common.errors import VerificationError
from fedloom.common.study import SiteName
from fedloom.common.typed import Section, Sha256, plain, read_typed
from fedloom.privacy.card import read_document
from fedloom.privacy.keys import PrivateKey, sign, verify
from fedloom.privacy.plan import Plan

__all__ = ["Receipt"]

_PREFIX = b"fedloom receipt v1\n"


class Receipt(Section, frozen=True, kw_only=True, rename="kebab"):
    """What a steward signed.

    Attributes:
      site: the site.
      plan: digest of the approved plan.
      runs: how many runs were granted.
      epsilon: price of all of them, as the steward was told.
      delta: of that price.
      entry: number of the ledger's last entry, the approval or a later one.
      entry_hash: of that entry.
      signature: by the site's key.
    """

    kind: Literal["fedloom-receipt"] = "fedloom-receipt"
    site: SiteName
    plan: Sha256
    runs: Annotated[int, Meta(ge=1)]
    epsilon: float
    delta: float
    entry: Annotated[int, Meta(ge=0)]
    entry_hash: Sha256
    signature: str = ""

    @classmethod
    def signed(
        cls, plan: Plan, *, site: str, runs: int, head: tuple[int, str], key: PrivateKey
    ) -> Receipt:
        """Returns the receipt of the site whose key is given."""
        bare = cls(
            site=site,
            plan=plan.digest(),
            runs=runs,
            epsilon=plan.price(runs).epsilon,
            delta=plan.delta,
            entry=head[0],
            entry_hash=head[1],
        )
        return msgspec.structs.replace(bare, signature=sign(key, bare._signed_bytes()))

    @classmethod
    def load(cls, path: Path) -> Receipt:
        """Reads a receipt; `check` says whether it holds.

        Raises:
          ConfigError: it cannot be read.
        """
        return read_typed(read_document(path, "a steward's receipt"), cls, where=f"{path}:")

    def check(self, plan: Plan) -> None:
        """Holds a receipt against a plan.

        Raises:
          VerificationError: it is of another plan or of no site of it, or its signature does not
            hold for that site's key.
        """
        if self.plan != plan.digest():
            raise VerificationError(
                f"the receipt of {self.site!r} is for plan {self.plan[:12]}, not for "
                f"{plan.digest()[:12]}; have its steward approve this one with --receipt"
            )
        keys = {site.name: site.key or "" for site in plan.sites}
        if not verify(keys.get(self.site, ""), self._signed_bytes(), self.signature):
            raise VerificationError(
                f"the receipt of {self.site!r} does not hold for the key that the plan names for "
                "it; have its steward send it again"
            )

    def _signed_bytes(self) -> bytes:
        return _PREFIX + canonical_json(plain(msgspec.structs.replace(self, signature="")))

    def save(self, path: Path) -> None:
        """Writes the receipt."""
        path.write_text(json.dumps(plain(self), indent=2) + "\n", encoding="utf-8")
