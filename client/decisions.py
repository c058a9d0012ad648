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
    revoked = [plan for plan in ledger.approved_plans if not home.plan_path(plan).exists()]
    for plan in revoked:
        ledger.revoke(plan)
        for row in ledger.budget()["studies"]:
            if row["plan"] == plan and row["run"] is not None:
                ledger.finish(plan, row["run"])
    return revoked
