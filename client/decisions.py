"""What a steward decided by file, written into the ledger.

The ledger has one writer. While a vault runs, that is the vault, so `site pause` and
`site revoke` change files in the home (`paused`, `approved/`). Whoever opens the ledger for
writing brings it up to date with them: the vault before every answer, at its start and its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fedloom.client.continuity import Continuity
from fedloom.client.home import Home
from fedloom.client.vault_memory import memory_folder
from fedloom.common.errors import LedgerError
from fedloom.privacy.ledger import Ledger

__all__ = ["decided_ledger", "record_decisions"]


@contextmanager
def decided_ledger(home: Home) -> Iterator[Ledger]:
    """Opens a home's ledger for a steward's command, brought up to date with what was decided.

    Raises:
      HomeInUseError: a vault holds it, and does so itself.
      LedgerError: the home is an older copy of itself, and its loss is not counted yet.
    """
    key = home.private_key()
    with Ledger.open(home.path, key) as ledger:
        continuity = Continuity(home, ledger, key, memory_folder())
        try:
            if continuity.turned_back:
                raise LedgerError(
                    f"the home {home.path} is older than one of its answers, so what it has spent "
                    "is not known; count what is missing with `fedloom site restore` first"
                )
            record_decisions(home, ledger, continuity)
            yield ledger
        finally:
            continuity.close()


def record_decisions(home: Home, ledger: Ledger, continuity: Continuity) -> list[str]:
    """Records pause, resume and revocations that are not in the ledger yet.

    With an approval end the runs of its plan: nothing of them can be answered any more, so they
    count for what they had answered, and the rest of their budget is free again.

    Returns:
      Digests of the plans whose approval ended.
    """
    paused = home.paused_path.exists()
    if paused and not ledger.is_paused:
        ledger.pause()
    elif not paused and ledger.is_paused:
        ledger.resume()
    revoked: list[str] = []
    if continuity.turned_back:  # what an approval has cost is not known before its loss is counted
        return revoked
    for plan in ledger.plans:
        grant = ledger.grants(plan)[-1]
        if not (grant.ended or home.plan_path(plan).exists()):
            ledger.revoke(plan)
            for run in grant.unfinished:
                continuity.end(plan, run.run)
                ledger.finish(plan, run.run)
            revoked.append(plan)
    return revoked
