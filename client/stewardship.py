"""What a steward does in a home: approve, revoke, pause. The command line and the page call this.

Each function signs into the ledger what it did. While a vault runs it holds the ledger: it obeys a
pause or a revocation at its next message and writes it down itself; an approval has to wait until
it is down.
"""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from fedloom.client import approval
from fedloom.client.decisions import decided_ledger
from fedloom.client.home import Home
from fedloom.client.site_config import SiteConfig
from fedloom.common.errors import HomeInUseError, NotApprovedError
from fedloom.privacy.ledger import read_ledger
from fedloom.privacy.plan import Plan
from fedloom.privacy.receipt import Receipt

__all__ = ["private_records", "receipt_of", "revoke", "set_paused", "sign_approval"]


def private_records(config: SiteConfig, plan: Plan) -> pd.DataFrame:
    """Reads the site's records with the columns that a plan uses; they stay with the steward."""
    return plan.schema.kind.load(config.source, plan.schema, id_column=plan.privacy.id)


def sign_approval(
    home: Home,
    config: SiteConfig,
    plan: Plan,
    private_frame: pd.DataFrame,
    *,
    runs: int = 1,
    clamp: bool = False,
    clamp_columns: Collection[str] = (),
    ids_as_written: bool = False,
) -> Receipt:
    """Approves a plan; see `fedloom.client.approval.approve`.

    Returns:
      The receipt for the coordinator.

    Raises:
      HomeInUseError: a vault runs.
      FedloomError: as `approve` says.
    """
    with decided_ledger(home) as ledger:
        approval.approve(
            home,
            ledger,
            plan,
            private_frame,
            policy=config.policy,
            runs=runs,
            peers=config.peers,
            where=config.source.where,
            clamp=clamp,
            clamp_columns=clamp_columns,
            ids_as_written=ids_as_written,
        )
        return Receipt.signed(
            plan, site=config.name, runs=runs, head=ledger.head, key=home.private_key()
        )


def receipt_of(home: Home, digest: str) -> Receipt:
    """Signs the receipt of an approval again, for a coordinator who has not got it.

    Raises:
      NotApprovedError: the plan of that digest is not approved, or its approval is used up.
    """
    view = read_ledger(home.path)
    grants = view.grants(digest)
    if not grants or grants[-1].ended or not home.plan_path(digest).exists():
        raise NotApprovedError(
            f"plan {digest[:12]} is not approved in {home.path}, or its approval is used up; a "
            "receipt is signed for an approval with runs left"
        )
    return Receipt.signed(
        Plan.load(home.plan_path(digest)),
        site=view.site,
        runs=grants[-1].num_runs,
        head=view.head,
        key=home.private_key(),
    )


def revoke(home: Home, digest: str) -> bool:
    """Withdraws the approval of a plan and deletes its frozen records; what was answered stays.

    Returns:
      Whether it is in the ledger now; if not, the running vault writes it.

    Raises:
      NotApprovedError: the plan is not approved, or nothing is left of its approval.
    """
    grants = read_ledger(home.path).grants(digest)
    if not grants or grants[-1].revoked:
        raise NotApprovedError(f"{digest} is not approved in {home.path}")
    if grants[-1].ended:
        raise NotApprovedError(
            f"the approval of {digest} in {home.path} is used up; nothing is left of it"
        )
    home.forget_plan(digest)
    return _record(home)


def set_paused(home: Home, paused: bool) -> bool:
    """Has the vault refuse every query, or answer again.

    Returns:
      Whether it is in the ledger now; if not, the running vault writes it.
    """
    if paused:
        home.paused_path.touch(mode=0o600)
    else:
        home.paused_path.unlink(missing_ok=True)
    return _record(home)


def _record(home: Home) -> bool:
    """Has the decision written into the ledger: here, or by the vault that holds it."""
    try:
        with decided_ledger(home):
            return True
    except HomeInUseError:
        return False
