"""How far the ledgers of fellow sites have come, as this site has seen: what may not go back.

A request names a signed head of every site that is asked (`fedloom.common.signed_heads`). A site
remembers each, by signing key and run, in the transaction that opens its attempt, and refuses a
later request in which one has gone back. A run is held against what was seen in the same run;
its first request against the newest head seen in any, as two runs at one time take turns. A head
with the number of that newest or a higher one must go on from it (`fedloom.client.continuity`), so
the newest head of a ledger is never replaced by one of a fork.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from fedloom.common.errors import LedgerError
from fedloom.common.signed_heads import HeadNote, SeenHead, SignedHead, follow

__all__ = ["SeenHeads", "goes_on"]

Heads = dict[str, SeenHead]
Run = tuple[str, str]

_ENDED = ""
"""In place of a run's name: where the newest heads of a plan's ended runs are kept."""


def goes_on(seen: SeenHead | None, head: SignedHead, links: Sequence[str]) -> bool:
    """Tells whether a head is of the ledger that was seen before, and not older.

    A restored ledger goes on from one that it counts as spent up to what was seen at least.

    Args:
      seen: what is remembered; None if nothing is, when any head is taken.
      head: the head; whose signature it bears is not checked here.
      links: of the entries before it, to its own.
    """
    if seen is None:
        return True
    epoch = len(head.lost)
    if epoch != seen.epoch:
        return epoch > seen.epoch and head.lost[seen.epoch] >= seen.seq
    missing = head.seq - seen.seq
    if missing < 0 or missing > len(links):
        return False
    return follow(seen, tuple(links[len(links) - missing :])) == head.seen


class SeenHeads:
    """The newest heads of fellow sites, by signing key, in each run."""

    def __init__(self, rows: Mapping[Run, Heads]) -> None:
        """Takes what a ledger's file holds."""
        self._rows = {run: dict(heads) for run, heads in rows.items()}

    def get(self, plan: str, run: str, key: str, *former: str) -> SeenHead | None:
        """Returns the head that the next one in this run is held against.

        Args:
          plan: the plan's digest.
          run: the run's name.
          key: that signs the ledger in this run.
          *former: keys that signed it before.
        """
        seen = self._rows.get((plan, run), {}).get(key)
        return self.newest_of((key, *former)) if seen is None else seen

    def newest_of(self, keys: Iterable[str]) -> SeenHead | None:
        """Returns the newest head of the ledger that these keys have signed, one after another."""
        newest = self.newest()
        return max((newest[key] for key in keys if key in newest), default=None)

    def newest(self) -> Heads:
        """Returns the newest head of every key."""
        found: Heads = {}
        for heads in self._rows.values():
            _merge(found, heads)
        return found

    def notes(self, former: Mapping[str, Sequence[str]]) -> dict[str, HeadNote]:
        """Returns what a steward who restores a home must know, by signing key.

        Args:
          former: keys that signed a ledger before, by the key that signs it now.
        """
        plans: dict[str, Heads] = {}
        for (plan, _), heads in sorted(self._rows.items()):
            for key, head in heads.items():
                _merge(plans.setdefault(key, {}), {plan: head})
        return {
            key: HeadNote(head=head, plans=plans[key], former=tuple(former.get(key, ())))
            for key, head in sorted(self.newest().items())
        }

    def with_run(self, plan: str, run: str, heads: Heads) -> SeenHeads:
        """Returns what is remembered once `heads` were seen in a run."""
        return SeenHeads({**self._rows, (plan, run): {**self._rows.get((plan, run), {}), **heads}})

    def without_run(self, plan: str, run: str) -> SeenHeads:
        """Returns what is remembered once a run has ended: its heads, if the newest of the plan."""
        ended = dict(self._rows.get((plan, _ENDED), {}))
        _merge(ended, self._rows.get((plan, run), {}))
        rest = {key: heads for key, heads in self._rows.items() if key != (plan, run)}
        return SeenHeads({**rest, (plan, _ENDED): ended} if ended else rest)

    def rows(self) -> dict[Run, bytes]:
        """Returns what a file holds, by run."""
        return {run: msgspec.json.encode(heads) for run, heads in self._rows.items()}

    @classmethod
    def of_rows(cls, rows: Mapping[Run, bytes]) -> SeenHeads:
        """Reads what `rows` wrote.

        Raises:
          LedgerError: it is damaged.
        """
        try:
            return cls({run: msgspec.json.decode(heads, type=Heads) for run, heads in rows.items()})
        except (msgspec.DecodeError, TypeError) as error:
            raise LedgerError(
                "what the ledger remembers of fellow sites is damaged; put the newest backup of "
                "the home back with `fedloom site restore`"
            ) from error


def _merge(into: Heads, heads: Heads) -> None:
    for key, head in heads.items():
        into[key] = max(into.get(key, head), head)
