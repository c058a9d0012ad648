"""How far the ledgers of a run's sites have come: what its requests show, what its answers tell.

Every answer promises the site's next one by a signed head. A round's request names the promises of
its roster, and holds for each ledger the links since the oldest head that a fellow site of the
roster remembers of it; see `fedloom.common.signed_heads`. What sites remember they say when they
are prepared, and from then on they have seen what the requests showed that they answered.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from fedloom.common.messages import Answer, Request
from fedloom.common.signed_heads import KnownHead, SeenHead, SignedHead
from fedloom.privacy.keys import verify
from fedloom.privacy.plan import Plan
from fedloom.server.admission import Rejected
from fedloom.server.head_registry import HeadRegistry

__all__ = ["OLDER", "LedgerHeads"]

OLDER = "its ledger does not hold"
"""How the reason begins why an answer is dropped whose ledger went back."""


class LedgerHeads:
    """Promises and known heads of the sites of one run.

    Args:
      plan: names sites and keys.
      registry: what is known from all runs.
    """

    def __init__(self, plan: Plan, registry: HeadRegistry) -> None:
        self._plan, self._registry = plan, registry
        self._keys = {site.name: site.key or "" for site in plan.sites}
        self._promises: dict[str, SignedHead] = {}
        self._seen: dict[str, dict[str, SeenHead]] = {}

    def known(self) -> dict[str, KnownHead]:
        """Returns the newest head that is known of each site, for the site itself to check."""
        newest = {name: self._registry.newest(key) for name, key in self._keys.items()}
        return {name: known for name, known in newest.items() if known is not None}

    def promises(self, roster: Collection[str]) -> dict[str, SignedHead]:
        """Returns the heads that promised the next answers of a roster, as far as there are any."""
        return {name: self._promises[name] for name in roster if name in self._promises}

    def links(self, heads: Mapping[str, SignedHead]) -> dict[str, tuple[str, ...]]:
        """Returns the links that every site of a roster needs to follow all others' heads."""
        seen = {id(held): held for name in heads if (held := self._seen.get(name))}
        found = {}
        for name, head in heads.items():
            numbers = [
                known.seq
                for held in seen.values()
                if (known := held.get(name)) is not None and known.epoch == len(head.lost)
            ]
            links = self._registry.links(self._keys[name], head, min([head.seq, *numbers]))
            if links:
                found[name] = links
        return found

    def take(self, site: str, request: Request, answer: Answer) -> None:
        """Takes in what an answer tells of the site's ledger.

        Raises:
          Rejected: the ledger is not the one that was known, grown, or nothing is promised.
        """
        header, key = answer.header, self._keys[site]
        newest = self._registry.newest(key)
        if newest is not None and not self._registry.goes_on(key, header.head):
            raise Rejected(_went_back(newest))
        if not answer.ok:
            return
        if header.promise is None:
            raise Rejected("it promises no further answer by a head of its ledger")
        known = KnownHead(plan=request.plan, run=request.run, head=header.promise)
        if not verify(key, known.signed_bytes(), known.head.signature):
            raise Rejected("its head is not signed by the key in the plan")
        if not self._registry.learn(key, known, header.links):
            raise Rejected(_went_back(newest or known))
        self._promises[site] = header.promise
        if header.prepared is not None:
            self._seen[site] = dict(header.prepared.seen)

    def shown(self, request: Request, sites: Collection[str]) -> None:
        """Notes which sites remember the heads that a round named: those that computed it now."""
        heads = {name: head.seen for name, head in request.heads.items()}
        for site in sites:
            held = self._seen.get(site, {})
            self._seen[site] = heads if held.keys() <= heads.keys() else {**held, **heads}

    def save(self) -> None:
        """Keeps what was learned."""
        self._registry.save()


def _went_back(known: KnownHead) -> str:
    return (
        f"{OLDER} entry {known.head.seq}, which it has signed: it was cut or replaced by an older "
        "copy; its steward restores it with `fedloom site restore`, which counts what is missing "
        "as spent"
    )
