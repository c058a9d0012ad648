"""Is the ledger of this site, and that of each fellow, the one that was here before, grown?

A disk that was put back to an older state holds a ledger that was once whole, and nothing in it
says that it is old. Others can: the coordinator and every fellow site remember signed heads
(`fedloom.common.signed_heads`). A vault answers a request if

- it names the head and nonce that this vault promised its answer with, and holds in memory alone;
- the head of every fellow site on the roster is signed by it, goes on from the newest that this
  site remembers of it in the run, and, unless its number is lower, from the newest of all runs;
- no signed head of this site itself is known that its ledger does not go on from.

Guarantee: with a secure sum, whose masks are made for the heads, a restored or copied home gives
nothing that opens while one fellow site of the roster, honest and not put back itself, has seen a
newer head of it, in the run that is asked or, in a run that it has not seen yet, in any; an answer
to the same request is given once. Not covered: of two runs at one time, one may go on from a disk
from before heads of the other, while its ledger stays shorter than what was seen. In per-site trust
each answer is open by itself, so there it is the coordinator that must show what it knows
(docs/decisions, record on restored disks).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import msgspec

from fedloom.client.home import Home
from fedloom.client.refusals import Refusal
from fedloom.client.vault_memory import VaultMemory
from fedloom.common.files import write_whole
from fedloom.common.messages import Request
from fedloom.common.signed_heads import HeadNote, KnownHead, SeenHead, SignedHead
from fedloom.common.vocabulary import Status
from fedloom.privacy.keys import PrivateKey, verify
from fedloom.privacy.ledger import Ledger, goes_on
from fedloom.privacy.plan import Plan

__all__ = ["Continuity"]


class Continuity:
    """What one vault knows of the past of ledgers, its own and its fellows'.

    Args:
      home: the site's home; it is marked once its ledger is known to be an older copy.
      ledger: the site's ledger.
      key: the site's signing key.
      folder: where the vault's memory outlives its process; None for nowhere.

    Raises:
      HomeInUseError: another copy of this home is at work on this machine.
    """

    def __init__(self, home: Home, ledger: Ledger, key: PrivateKey, folder: Path | None) -> None:
        self._home, self._ledger = home, ledger
        self._memory = VaultMemory(ledger, key, home.path, folder)
        if self._memory.turned_back is not None:
            self._mark(self._memory.turned_back)

    @property
    def turned_back(self) -> bool:
        """Whether this home is known to be older than an answer that it gave."""
        return self._home.turned_back_path.exists()

    def mark(self) -> HeadNote | None:
        """Returns what the home's mark says was seen of its ledger; None if it bears none."""
        if not self.turned_back:
            return None
        head = msgspec.json.decode(self._home.turned_back_path.read_bytes(), type=SeenHead)
        return HeadNote(head=head, plans={})

    def check_own(self, request: Request) -> None:
        """Holds what the coordinator knows of this site's ledger against the ledger.

        Raises:
          Refusal: the ledger does not go on from there, now or ever before.
        """
        known = request.known.get(self._ledger.site)
        if known is not None:
            if not any(_signed(key, known) for key in self._ledger.signing_keys):
                raise Refusal(Status.MALFORMED)
            if self._ledger.links(known.head.seen) is None:
                self._mark(known.head.seen)
        if self.turned_back:
            raise Refusal(Status.TURNED_BACK, turned_back=(self._ledger.site,))

    def check(
        self, plan: Plan, request: Request, former: Mapping[str, Sequence[str]]
    ) -> dict[str, SeenHead]:
        """Holds the heads of a round against this vault's promise and what it has seen of fellows.

        In per-site trust the heads of fellows may be missing: their answers are others.

        Args:
          plan: the approved plan.
          request: of a round.
          former: signing keys of fellows before theirs changed, by site: the ledger is the same.

        Returns:
          By signing key, the heads of the fellow sites, to be remembered with the attempt.

        Raises:
          Refusal: this vault did not promise the answer, or a ledger went back.
        """
        self.check_own(request)
        own = request.heads.get(self._ledger.site)
        whole = not request.masked or request.heads.keys() == set(request.roster)
        if own is None or not whole or not self._promised(request, own):
            raise Refusal(Status.STALE)
        seen, back = {}, []
        for name, head in sorted(request.heads.items()):
            if name == self._ledger.site:
                continue
            key = plan.site(name).key if name in plan.site_names else None
            known = KnownHead(plan=request.plan, run=request.run, head=head)
            if key is None or not _signed(key, known):
                raise Refusal(Status.MALFORMED)
            keys = (key, *former.get(name, ()))
            held = {self._ledger.seen.get(request.plan, request.run, *keys)}
            newest = self._ledger.seen.newest_of(keys)
            if not _is_before(head, newest):
                held.add(newest)
            if not all(goes_on(one, head, request.links.get(name, ())) for one in held):
                back.append(name)
            seen[key] = head.seen
        if back:
            raise Refusal(Status.TURNED_BACK, turned_back=tuple(back))
        return seen

    def seen(
        self, plan: Plan, run: str, former: Mapping[str, Sequence[str]]
    ) -> dict[str, SeenHead]:
        """Returns what the heads of a run's next request are held against, by fellow site."""
        found = {
            entry.name: self._ledger.seen.get(
                plan.digest(), run, entry.key or "", *former.get(entry.name, ())
            )
            for entry in plan.sites
            if entry.name != self._ledger.site
        }
        return {name: head for name, head in found.items() if head is not None}

    def begin(self, request: Request) -> None:
        """Notes that the request's run was reserved just now: nothing was answered before."""
        self._memory.begin(request.plan, request.run)

    def promise(self, request: Request) -> tuple[SignedHead, tuple[str, ...]]:
        """Returns the promise of the next answer in the request's run, and the links to it.

        A coordinator that knows nothing of this ledger gets all links: fellow sites may have seen
        earlier heads of it in studies of other coordinators. Once the run has ended it promises
        nothing: it is the head with which the run has left.
        """
        site = self._ledger.site
        if self._ledger.is_unfinished(request.plan, request.run):
            head = self._memory.promise(request.plan, request.run)
        else:
            head = self._memory.signed_head(request.plan, request.run)
        known = request.known.get(site)
        before = request.heads.get(site) if known is None else known.head
        if before is None:
            links = self._ledger.all_links()
        else:
            links = self._ledger.links(before.seen) or ()
        ahead = self._ledger.head[0] - head.seq
        return head, links[: max(len(links) - ahead, 0)]

    def used(self, request: Request) -> None:
        """Notes that the promised answer is stored."""
        self._memory.used(request.plan, request.run)

    def end(self, plan: str, run: str) -> None:
        """Has a run that ends count in full, if the ledger may not hold all that was answered."""
        if not self._memory.whole(plan, run) and self._ledger.is_unfinished(plan, run):
            self._ledger.lose(plan, run)
        self._memory.forget(plan, run)

    def keep(self) -> None:
        """Notes in memory how far the ledger has come; called before an answer leaves."""
        self._memory.keep()

    def close(self) -> None:
        """Gives the memory free."""
        self._memory.close()

    def _promised(self, request: Request, own: SignedHead) -> bool:
        return self._memory.holds(request.plan, request.run, own.nonce)

    def _mark(self, head: SeenHead) -> None:
        if not self.turned_back:
            write_whole(self._home.turned_back_path, msgspec.json.encode(head), private=True)
            self._home.log(
                f"this home is older than one of its answers: entry {head.seq} of its ledger, that "
                "an answer named, is not here. Nothing is answered from now on; run fedloom site "
                "restore, which counts what is missing as spent"
            )


def _is_before(head: SignedHead, newest: SeenHead | None) -> bool:
    """Whether an answer may have been promised before another run made the ledger grow.

    No run goes on over a restoration, so an earlier epoch never is.
    """
    return newest is not None and len(head.lost) == newest.epoch and head.seq < newest.seq


@lru_cache(maxsize=1 << 15)
def _signed(key: str, known: KnownHead) -> bool:
    """Every site of a roster checks the same heads, and a simulation is one process."""
    return verify(key, known.signed_bytes(), known.head.signature)
