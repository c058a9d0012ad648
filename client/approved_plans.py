"""The plans that a vault may answer: as they were approved, and as `site.toml` allows them now.

A plan is read once and held against its digest and the steward's rules; when the rules change, all
are read again. A reason to refuse goes to the home's private log alone.
"""

from __future__ import annotations

from contextlib import suppress

from fedloom.client.home import Home
from fedloom.client.refusals import Refusal
from fedloom.client.site_rules import SiteRules
from fedloom.common.errors import ConfigError, OtherVersionError
from fedloom.common.vocabulary import Status
from fedloom.privacy.ledger import Ledger, Limits
from fedloom.privacy.plan import Plan
from fedloom.privacy.plan_check import check_plan

__all__ = ["ApprovedPlans"]


class ApprovedPlans:
    """Approved plans by digest.

    Args:
      home: the site's home, which holds the plans.
      ledger: what was approved.
      rules: the steward's.
    """

    def __init__(self, home: Home, ledger: Ledger, rules: SiteRules) -> None:
        self._home, self._ledger, self._rules = home, ledger, rules
        self._plans: dict[str, Plan] = {}

    @property
    def limits(self) -> Limits | None:
        """What the policy allows over the life of the records."""
        return self._rules.limits

    @property
    def former_keys(self) -> dict[str, tuple[str, ...]]:
        """Signing keys that other sites had before, by site."""
        return self._rules.former_keys

    def get(self, digest: str) -> Plan:
        """Returns an approved plan.

        Raises:
          Refusal: it cannot be read, is not what was approved, or is not this version's.
          PolicyError: it goes beyond the rules.
        """
        if digest not in self._plans:
            self._plans[digest] = self._load(digest)
        return self._plans[digest]

    def forget(self, digest: str) -> None:
        """Gives up a plan whose approval has ended."""
        self._plans.pop(digest, None)

    def read_rules(self) -> None:
        """Lets rules that have changed bind.

        Raises:
          Refusal: they cannot be read.
        """
        try:
            changed = self._rules.read()
        except ConfigError as error:
            self._log(error)
            raise Refusal(Status.UNAVAILABLE) from error
        if changed:
            self._plans.clear()

    def _load(self, digest: str) -> Plan:
        path = self._home.plan_path(digest)
        try:
            plan = Plan.load(path)
            check_plan(plan)
        except OtherVersionError as error:
            self._log(error)
            raise Refusal(Status.OTHER_VERSION) from error
        except ConfigError as error:
            self._log(error)
            raise Refusal(Status.UNAVAILABLE) from error
        if plan.digest() != digest:
            self._log(f"{path} is not the plan that was approved")
            raise Refusal(Status.UNAVAILABLE)
        grant = self._ledger.grant(digest)
        if grant is not None:
            self._rules.check(plan, grant.num_runs, site=self._ledger.site)
        return plan

    def _log(self, reason: object) -> None:
        with suppress(OSError):  # a full disk must not change what leaves the site
            self._home.log(f"refused: {reason}")
