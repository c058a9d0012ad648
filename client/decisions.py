"""What a steward decided by file, written into the ledger.

The ledger has one writer. While a vault runs, that is the vault, so `site pause` and
`site revoke` change files in the home (`paused`, `approved/`). Whoever opens the ledger for
writing brings it up to date with them: the vault before every answer, at its start and its end.
"""

from __future__ import annotations

from fedloom.client.home import Home
from fedloom.privacy.ledger import Ledger

__all__ = ["record_decisions"]


def record_decisions(home: Home, ledger: Ledger) -> list[str]:
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
    revoked = []
    for plan in ledger.plans:
        grant = ledger.grants(plan)[-1]
        if not (grant.ended or home.plan_path(plan).exists()):
            ledger.revoke(plan)
            for run in grant.unfinished:
                ledger.finish(plan, run.run)
            revoked.append(plan)
    return revoked
