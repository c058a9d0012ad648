"""Who may ask a vault for anything: the coordinator that an approved plan names, and nobody else.

A message's size is checked, then its signature, before its arrays are read and before anything is
looked up, computed or written. So whoever reaches the vault without the coordinator's key, another
process of this machine or somebody on the network, changes nothing: no run is begun or finished, no
attempt is used up, and no line is logged, so that not even the disk fills.
"""

from __future__ import annotations

from fedloom.client.home import Home
from fedloom.client.refusals import Refusal
from fedloom.client.request_check import largest_request
from fedloom.common.errors import ConfigError
from fedloom.common.messages import MAX_HEADER_BYTES, Unopened
from fedloom.common.vocabulary import Query, Status
from fedloom.privacy.keys import verify
from fedloom.privacy.ledger import Ledger
from fedloom.privacy.plan import Plan

__all__ = ["Gate"]

_NO_ARRAYS = 8 + MAX_HEADER_BYTES


class Gate:
    """Checks where messages come from.

    Args:
      home: the site's home.
      ledger: its ledger, which knows the key of each approved plan's coordinator.
    """

    def __init__(self, home: Home, ledger: Ledger) -> None:
        self._home = home
        self._ledger = ledger
        self._sizes: dict[str, dict[Query, int]] = {}

    def largest_request(self) -> int:
        """Returns the most bytes that a message may have, over all approved plans.

        It may be called by any thread, also while a request is being answered.
        """
        approved = [plan for plan in self._ledger.plans if self._ledger.approval(plan)]
        sizes = [max(self._sizes_of(plan).values()) for plan in approved]
        return max(sizes, default=_NO_ARRAYS)

    def read(self, data: bytes) -> Unopened:
        """Reads a message's header.

        Raises:
          Refusal: the message is too large for any approved plan, or is not a request.
        """
        if len(data) > self.largest_request():
            raise Refusal(Status.MALFORMED)
        try:
            return Unopened.read(data)
        except ConfigError as error:
            raise Refusal(Status.MALFORMED) from error

    def check(self, unopened: Unopened) -> None:
        """Checks who sent it, and its size against the plan that it names.

        A plan that was revoked still has its coordinator, who may finish its runs.

        Raises:
          Refusal: the plan was never approved here, its coordinator did not sign this, or it is
            larger than what the plan can ask.
        """
        key = self._ledger.coordinator(unopened.header.plan)
        if key is None:
            raise Refusal(Status.NOT_APPROVED)
        if not verify(key, unopened.signed_bytes(), unopened.header.signature):
            raise Refusal(Status.UNSIGNED)
        if len(unopened.data) > self._sizes_of(unopened.header.plan).get(
            unopened.header.query, _NO_ARRAYS
        ):
            raise Refusal(Status.MALFORMED)

    def _sizes_of(self, digest: str) -> dict[Query, int]:
        """Returns the largest request of an approved plan, by query."""
        if digest not in self._sizes:
            try:
                plan = Plan.load(self._home.plan_path(digest))
            except ConfigError:  # revoked, or it cannot be read: nothing can be asked
                return {Query.FINISH: _NO_ARRAYS}
            if plan.digest() != digest:
                return {Query.FINISH: _NO_ARRAYS}
            self._sizes[digest] = {query: largest_request(plan, query) for query in Query}
        return self._sizes[digest]
