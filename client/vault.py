"""The vault: holds a site's records, ledger and policy, and answers queries.

Order of every answer (design, section 5, rule 3): the request is checked in full against the
approved plan; the attempt is opened in the ledger, on disk; records are read; answer and commit
are stored in one transaction; only then the answer is returned. The same request gets the same
stored answer; another request under the same key is refused. After a crash an opened attempt
without a stored answer is computed anew, from a fresh sample and fresh noise.

What leaves a vault is a signed answer, a signed refusal with a code, or silence (empty bytes).
A refusal never depends on records. Once records are read, whatever goes wrong is silence.
"""

from __future__ import annotations

import importlib.metadata
import threading
import traceback
from pathlib import Path
from typing import Any

import fedloom
from fedloom.client.approval import check_policy
from fedloom.client.device import torch_device
from fedloom.client.home import Home
from fedloom.client.queries import answer_arrays, check_arrays
from fedloom.client.records import Records, load_records
from fedloom.client.site_config import SiteConfig
from fedloom.common.errors import (
    BudgetExceededError,
    ConfigError,
    FedloomError,
    NotApprovedError,
    PolicyError,
    RefusedError,
)
from fedloom.common.messages import Answer, Request, arrays_digest
from fedloom.privacy.keys import sign
from fedloom.privacy.ledger import Ledger
from fedloom.privacy.noise import NoiseSource
from fedloom.privacy.plan import Plan, RoundQuery
from fedloom.privacy.policy import Policy

__all__ = ["Vault"]

_REPORTED_PACKAGES = ("torch", "opacus", "dp-accounting", "flwr", "numpy")


class _Refusal(Exception):
    """Carries the code of a refusal to the one place that answers."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Vault:
    """One site's vault; holds the home's lock until closed.

    Args:
      home: the site's home.
      policy: the site's own rules, held against every plan; None in a rehearsal.
      device: where torch computes.
      insecure_seed: makes the noise repeatable, which voids privacy; only for a home whose
        ledger says from its first entry that its noise is insecure.

    Raises:
      HomeInUseError: another vault holds the home.
      LedgerError: the ledger is damaged; the vault does not start.
    """

    def __init__(
        self,
        home: Home,
        *,
        policy: Policy | None = None,
        device: str = "cpu",
        insecure_seed: int | None = None,
    ) -> None:
        self._home = home
        self._policy = policy
        self._private_key = home.private_key()
        self._ledger = Ledger.open(home.path, self._private_key)
        if self._ledger.insecure_noise != (insecure_seed is not None):
            self._ledger.close()
            raise ConfigError(
                f"{home.path}: a seed for noise is accepted only in a home that was made with "
                "one, and such a home only opens with it"
            )
        self._noise = (
            NoiseSource() if insecure_seed is None else NoiseSource.from_insecure_seed(insecure_seed)
        )
        self._device = device
        self._plans: dict[str, tuple[Plan, Records]] = {}
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path) -> Vault:
        """Opens the vault of the home at `path`, by its `site.toml` where it has one."""
        home = Home.open(path)
        if not home.config_path.exists():
            return cls(home)
        config = SiteConfig.load(home.config_path)
        return cls(home, policy=config.policy, device=torch_device(config.device))

    @property
    def site(self) -> str:
        """The site's name."""
        return self._ledger.site

    def close(self) -> None:
        """Closes the ledger and gives the home free."""
        with self._lock:
            self._plans.clear()
            self._ledger.close()

    def __enter__(self) -> Vault:
        """Returns the vault."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the vault."""
        self.close()

    def handle(self, data: bytes) -> bytes:
        """Answers one request.

        Args:
          data: a packed request, from anybody.

        Returns:
          A packed answer; empty bytes for silence.
        """
        with self._lock:
            request: Request | None = None
            try:
                request = Request.unpack(data)
                if request.query == "describe":
                    return self._describe(request)
                return self._query(request)
            except _Refusal as refusal:
                return self._signed(request, {"status": refusal.code})
            except ConfigError:
                return self._signed(request, {"status": "malformed"})
            except BudgetExceededError as error:
                self._home.log(f"refused: {error}")
                return self._signed(request, {"status": "budget"})
            except (NotApprovedError, PolicyError) as error:
                self._home.log(f"refused: {error}")
                return self._signed(request, {"status": "not-approved"})
            except RefusedError as error:
                self._home.log(f"refused: {error}")
                return self._signed(request, {"status": "conflict"})
            except Exception:  # the steward reads the reason, nobody else does
                self._home.log("silent: " + traceback.format_exc().replace("\n", " | "))
                return b""

    def _describe(self, request: Request) -> bytes:
        plan, _ = self._approved(request)
        header: dict[str, Any] = {
            "schema_digest": plan.body["schema_digest"],
            "study_digest": plan.study_digest,
            "plan_digest": request.plan,
            "versions": _versions(),
        }
        if request.finish:
            self._ledger.finish(plan=request.plan, run=request.run)
            header["extract"] = self._ledger.extract(request.plan, request.run)
        else:
            self._ledger.reserve(plan=request.plan, run=request.run, event=plan.event())
        return self._signed(request, {"status": "ok", **header})

    def _query(self, request: Request) -> bytes:
        plan, records = self._approved(request)
        asked = self._asked(plan, request)
        key = {
            "plan": request.plan,
            "run": request.run,
            "round": request.round,
            "attempt": request.attempt,
        }
        digest = request.digest()
        self._ledger.reserve(plan=request.plan, run=request.run, event=plan.event())
        stored = self._ledger.stored_answer(**key, request_digest=digest)
        if stored is None:
            check_arrays(plan, request)
            self._ledger.open_attempt(
                **key, query=request.query, request_digest=digest, event=asked.event
            )
            stored = self._compute(plan, request, records)
            self._ledger.commit(**key, answer=stored)
        return self._signed(request, {"status": "ok"}, Answer.unpack(stored))

    def _compute(self, plan: Plan, request: Request, records: Records) -> bytes:
        try:
            arrays = answer_arrays(plan, request, records, self._noise, device=self._device)
        except FedloomError as error:
            # Records are read by now, so no refusal may follow: it becomes silence.
            raise RuntimeError("a query failed after its records were read") from error
        return Answer(header={"arrays_digest": arrays_digest(arrays)}, arrays=arrays).pack()

    def _approved(self, request: Request) -> tuple[Plan, Records]:
        # A steward's decision takes effect at once, also while this process holds the ledger.
        self.record_decisions(request.plan)
        approval = self._ledger.approval(request.plan)
        if self._ledger.is_paused or approval is None:
            raise _Refusal("not-approved")
        if request.plan not in self._plans:
            plan = Plan.load(self._home.plan_path(request.plan))
            if plan.digest() != request.plan:
                raise _Refusal("not-approved")
            if self._policy is not None:
                check_policy(self._policy, plan)
            records = load_records(self._home, plan, approval["snapshot_commitment"])
            self._plans[request.plan] = (plan, records)
        plan, records = self._plans[request.plan]
        if request.study != plan.study_digest or not request.run:
            raise _Refusal("outside-plan")
        return plan, records

    def record_decisions(self, plan: str | None = None) -> None:
        """Writes into the ledger what the steward decided by file: pause, resume, revoke.

        Args:
          plan: digest of the plan whose revocation is looked for.
        """
        paused = self._home.paused_path.exists()
        if paused and not self._ledger.is_paused:
            self._ledger.pause()
        elif not paused and self._ledger.is_paused:
            self._ledger.resume()
        approved = plan is not None and self._ledger.approval(plan) is not None
        if plan is not None and approved and not self._home.plan_path(plan).exists():
            self._ledger.revoke(plan)
            self._plans.pop(plan, None)

    def _asked(self, plan: Plan, request: Request) -> RoundQuery:
        names = {site.name for site in plan.sites}
        roster = set(request.roster)
        roster_holds = (
            self.site in roster
            and roster <= names
            and len(request.roster) == len(roster)
            and len(roster) >= plan.coordination["min_sites"]
        )
        if not roster_holds or not 1 <= request.round <= len(plan.rounds):
            raise _Refusal("outside-plan")
        asked = plan.rounds[request.round - 1]
        if request.query != asked.query or request.params != asked.params or request.attempt < 1:
            raise _Refusal("outside-plan")
        return asked

    def _signed(
        self, request: Request | None, header: dict[str, Any], stored: Answer | None = None
    ) -> bytes:
        arrays = {} if stored is None else stored.arrays
        sequence, head = self._ledger.head
        full = {
            "site": self.site,
            "request_digest": "" if request is None else request.digest(),
            "nonce": "" if request is None else request.nonce,
            "head": {"seq": sequence, "hash": head},
            "arrays_digest": arrays_digest(arrays),
            **header,
        }
        answer = Answer(header=full, arrays=arrays)
        signature = sign(self._private_key, answer.signed_bytes())
        return Answer(header=full, arrays=arrays, signature=signature).pack()


def _versions() -> dict[str, str]:
    versions = {"fedloom": fedloom.__version__}
    for package in _REPORTED_PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
