"""Counting what a restored home has lost, before it answers again.

A home that comes from an older disk lacks entries: what was answered since, and perhaps approvals.
How far the ledger had come, others know: the coordinators (`heads.json`) and every fellow site
(`fedloom site heads`). What the lost entries were need not be known. Every plan that was approved
when the backup was made and not at its end, and every plan that the steward names as approved
since, counts for all its runs in full and is closed. That is the most that can have been answered,
as nothing is answered that was not approved.

Then the ledger goes on in another epoch (`fedloom.common.signed_heads`). Whoever has seen a head
beyond what was counted refuses it, so a head that was forgotten here is found there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from fedloom.client.home import Home
from fedloom.common.errors import ConfigError
from fedloom.common.signed_heads import HeadNote, KnownLedger, SeenHead
from fedloom.common.typed import PublicKey
from fedloom.privacy.ledger import Ledger
from fedloom.privacy.plan import Plan

__all__ = ["ApprovedSince", "Lost", "count_lost", "find_lost", "read_notes"]

_NOT_KEPT = "0" * 64
"""Stands for the commitment to records that were frozen under a lost approval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovedSince:
    """A plan that was approved after the backup was made, for so many runs."""

    plan: Plan
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """What a restoration counts as spent.

    Attributes:
      until: of each epoch of the ledger so far, up to which entry.
      plans: digests of approved plans whose grants count in full and are closed.
      since: plans that were approved later, which count in full as well.
    """

    until: tuple[int, ...]
    plans: tuple[str, ...]
    since: tuple[ApprovedSince, ...]


def read_notes(path: Path, keys: Sequence[str]) -> list[HeadNote]:
    """Reads what a coordinator's `heads.json`, or a fellow's `site heads`, says of a site.

    Args:
      path: the file.
      keys: with which the site has signed its ledger. What was seen under a later key, of which
        the copy that is restored knows nothing, is told as that of the same ledger.

    Returns:
      The notes; none if the file says nothing of it.

    Raises:
      ConfigError: the file is neither.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    try:
        found = msgspec.json.decode(data, type=dict[PublicKey, HeadNote])
    except msgspec.DecodeError:
        found = {}
        try:
            known = msgspec.json.decode(data, type=dict[PublicKey, KnownLedger])
        except msgspec.DecodeError as error:
            raise ConfigError(
                f"{path} is not a file of heads: give a coordinator's heads.json, or what `fedloom "
                f"site heads` wrote at another site ({error})"
            ) from error
        for key, ledger in known.items():
            head = ledger.newest.head.seen
            plans = {ledger.newest.plan: head}
            found[key] = HeadNote(head=head, plans=plans, former=ledger.former)
    return [note for key, note in found.items() if {key, *note.former} & set(keys)]


def find_lost(
    ledger: Ledger, notes: Sequence[HeadNote], since: Sequence[ApprovedSince] = ()
) -> Lost:
    """Says what a restoration must count; writes nothing.

    Args:
      ledger: of the restored home.
      notes: what others have seen of it.
      since: plans that were approved after the backup was made.

    Raises:
      ConfigError: a head that the ledger lacks is of a plan that it does not know, or whose last
        approval has ended in it, and nobody names the plan; or a head is of an epoch before which
        another is unknown.
    """
    grants = {plan: ledger.grants(plan)[-1] for plan in ledger.plans}
    plans = sorted(plan for plan, grant in grants.items() if not grant.ended)
    named = {*plans, *(one.plan.digest() for one in since)}
    lacking = {
        plan for note in notes for plan, head in note.plans.items() if ledger.links(head) is None
    }
    unknown = sorted(lacking - named)
    if unknown:
        raise ConfigError(
            f"plan {unknown[0]} was answered by this home and approved after the backup was made; "
            "give its file with --since PLAN, or --since PLAN=RUNS if it was approved for several "
            "runs"
        )
    own = SeenHead(epoch=len(ledger.lost), seq=ledger.head[0], hash=ledger.head[1])
    heads = [own, *(note.head for note in notes)]
    until = []
    for epoch in range(max(head.epoch for head in heads) + 1):
        seqs = [head.seq for head in heads if head.epoch == epoch] + [
            *ledger.lost[epoch : epoch + 1]
        ]
        if not seqs:
            raise ConfigError(
                f"this home was restored before, and nothing given here knows its ledger after "
                f"restoration {epoch}; ask the coordinators and the other sites for their heads"
            )
        until.append(max(seqs))
    return Lost(until=tuple(until), plans=tuple(plans), since=tuple(since))


def count_lost(home: Home, ledger: Ledger, lost: Lost) -> None:
    """Writes into the ledger what is lost, and lets the home answer what is approved from now on.

    The mark of the home is deleted last: until then nothing is answered, also after a crash.
    """
    for approved in lost.plans:
        _close(ledger, approved)
        home.forget_records(approved)
    for one in lost.since:
        plan, digest = one.plan, one.plan.digest()
        ledger.approve(
            study=plan.study_digest,
            plan=digest,
            name=plan.name,
            unit=plan.privacy.unit,
            id=plan.privacy.id,
            coordinator=plan.coordinator_key or "",
            event=plan.event(),
            runs=one.runs,
            learned=[origin.plan for origin in plan.schema.learned],
            snapshot_commitment=_NOT_KEPT,
            summary={"restored": True},
        )
        plan.save(home.plan_path(digest))
        _close(ledger, digest)
    until, own = list(lost.until), len(ledger.lost)
    until[own] = max(until[own], ledger.head[0])
    ledger.restore(until)
    home.turned_back_path.unlink(missing_ok=True)


def _close(ledger: Ledger, plan: str) -> None:
    ledger.lose(plan)
    for run in ledger.grants(plan)[-1].unfinished:
        ledger.finish(plan, run.run)
