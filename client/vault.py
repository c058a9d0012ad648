"""The vault: holds a site's records, ledger and policy, and answers queries.

Before anything else a request's size is checked, and its signature against the key of the
coordinator that the approved plan names: what anybody else sends changes nothing here. A request
that is sent again by whoever recorded it can do only what the coordinator did with it: an answer
is answered again from what was stored, a run that is finished stays so.

The plan is reserved in the ledger before the first record is read. Order of every answer
(design, section 5, rule 3): the request is checked in full against the approved plan; the
attempt is opened in the ledger, on disk; it is computed from the records; answer and commit are
stored in one transaction; only then the answer is returned. The same request gets the same
stored answer; another request under the same key is refused. After a crash an opened attempt
without a stored answer is computed anew, from a fresh sample and fresh noise, if the vault still
knows that it promised it: a home that was restored or copied answers nothing
(`fedloom.client.continuity`).

What leaves a vault is a signed answer, a signed refusal with a code, or silence (empty bytes).
A refusal never depends on what records hold. Once an attempt is open, whatever goes wrong is
silence. Reasons go to the home's private log alone.
"""

from __future__ import annotations

import hashlib
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from fedloom.client.approved_plans import ApprovedPlans
from fedloom.client.continuity import Continuity
from fedloom.client.decisions import record_decisions
from fedloom.client.device import torch_device
from fedloom.client.gate import Gate
from fedloom.client.home import Home
from fedloom.client.membership import check_coordinator
from fedloom.client.message_audit import Handled
from fedloom.client.queries import Arrays, MaskShare, answer_arrays
from fedloom.client.records import Snapshot, load_records
from fedloom.client.refusals import Refusal, refusal_header, status_of
from fedloom.client.request_check import (
    asked_round,
    check_arrays,
    check_nothing_more,
    check_parts_are_here,
    kernels_are_row_invariant,
)
from fedloom.client.signed_answers import AnswerSigner, software_versions
from fedloom.client.site_config import SiteConfig
from fedloom.client.site_rules import SiteRules
from fedloom.client.tidy import forget_ended
from fedloom.client.vault_memory import memory_folder
from fedloom.common.errors import (
    BudgetExceededError,
    ConfigError,
    FedloomError,
    NotApprovedError,
    RefusedError,
)
from fedloom.common.messages import Finished, Prepared, Request, Unopened
from fedloom.common.vocabulary import Query, Status
from fedloom.privacy.ledger import Ledger
from fedloom.privacy.noise import NoiseSource
from fedloom.privacy.plan import Plan
from fedloom.privacy.secure_sum import RequestMask, masked_share

__all__ = ["Vault"]


class Vault:
    """One site's vault; holds the home's lock until closed.

    Args:
      home: the site's home.
      device: where torch computes.
      insecure_seed: makes the noise repeatable, which voids privacy; only for a home whose
        ledger says from its first entry that its noise is insecure.
      memory: a folder in memory, where the nonces of coming answers outlive this process; None if
        they must not.
      note: told of each message before its answer leaves; what it raises makes that silence.

    Raises:
      ConfigError: the home's `site.toml` cannot be used.
      HomeInUseError: another vault holds the home.
      LedgerError: the ledger is damaged; the vault does not start.
    """

    def __init__(
        self,
        home: Home,
        *,
        device: str = "cpu",
        insecure_seed: int | None = None,
        memory: Path | None = None,
        note: Callable[[Handled], None] = lambda handled: None,
    ) -> None:
        self._home = home
        rules = SiteRules(home)
        self._private_key = home.private_key()
        self._ledger = Ledger.open(home.path, self._private_key)
        if self._ledger.insecure_noise != (insecure_seed is not None):
            self._ledger.close()
            raise ConfigError(
                f"{home.path}: a seed for noise is accepted only in a home that was made with "
                "one, and such a home only opens with it"
            )
        try:
            self._continuity = Continuity(home, self._ledger, self._private_key, memory)
        except BaseException:
            self._ledger.close()
            raise
        self._gate = Gate(home, self._ledger)
        self._answers = AnswerSigner(self._ledger, self._private_key, self._continuity)
        self._noise = NoiseSource()
        self._insecure_seed = insecure_seed
        self._device = device
        self._note = note
        self._plans = ApprovedPlans(home, self._ledger, rules)
        self._records: dict[str, Snapshot] = {}
        self._lock = threading.Lock()
        self.record_decisions()
        for plan in self._ledger.plans:
            self._forget(plan)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        device: str | None = None,
        insecure_seed: int | None = None,
        note: Callable[[Handled], None] = lambda handled: None,
    ) -> Vault:
        """Opens the vault of the home at `path`, under the rules of its `site.toml` if it has one.

        Args:
          path: the home.
          device: where torch computes; by default what `site.toml` says, else the CPU.
          insecure_seed: see the class.
          note: see the class.
        """
        home = Home.open(path)
        if device is None and home.config_path.exists():
            device = SiteConfig.load(home.config_path).device
        return cls(
            home,
            device=torch_device(device or "cpu"),
            insecure_seed=insecure_seed,
            memory=memory_folder(),
            note=note,
        )

    @property
    def site(self) -> str:
        """The site's name."""
        return self._ledger.site

    def close(self) -> None:
        """Closes the ledger and gives the home free."""
        with self._lock:
            try:
                self.record_decisions()
            finally:
                self._records.clear()
                self._continuity.close()
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
            answer, handled = self._handle(data)
            try:
                self._note(handled)
            except Exception as error:
                self._log(f"silent: the message could not be noted: {error}")
                return b""
            return answer

    def _handle(self, data: bytes) -> tuple[bytes, Handled]:
        unopened: Unopened | None = None
        sender: str | None = None
        try:
            unopened = self._gate.read(data)
            self._gate.check(unopened)
            sender = self._ledger.coordinator(unopened.header.plan)
            answer, stored = self._answer(unopened, unopened.open())
            outcome = Status.OK.value
        except FedloomError as error:
            if not isinstance(error, Refusal):
                self._log(f"refused: {error}")
            answer, stored = self._answers.sign(unopened, **refusal_header(error)), False
            outcome = status_of(error).value
        except Exception:  # the steward reads the reason, nobody else does
            self._log("silent: " + traceback.format_exc().replace("\n", " | "))
            answer, stored, outcome = b"", False, "silence"
        handled = Handled(message=unopened, sender=sender, outcome=outcome, stored=stored)
        return answer, handled

    def _answer(self, unopened: Unopened, request: Request) -> tuple[bytes, bool]:
        """Returns the answer's bytes, and whether it was given before."""
        arrays: Arrays = {}
        said: dict[str, Any] = {}
        match request.query:
            case Query.PREPARE:
                said["prepared"] = self._prepare(request)
            case Query.FINISH:
                said["finished"] = self._finish(request)
            case _:
                arrays, said["stored"] = self._query(request, unopened.digest)
        promise, links = self._continuity.promise(request)
        answer = self._answers.sign(unopened, arrays=arrays, promise=promise, links=links, **said)
        return answer, bool(said.get("stored"))

    def largest_request(self) -> int:
        """Returns the most bytes that a message may have; also while a request is answered."""
        return self._gate.largest_request()

    def _log(self, text: str) -> None:
        with suppress(OSError):  # a full disk must not change what leaves the site
            self._home.log(text)

    def _prepare(self, request: Request) -> Prepared:
        """Reserves the plan, then reads the records: what can fail fails before a round."""
        check_nothing_more(request)
        plan = self._approved(request)
        self._continuity.check_own(request)
        self._reserve(plan, request)
        self._read(plan)
        return Prepared(
            plan_digest=request.plan,
            study_digest=plan.study_digest,
            schema_digest=plan.schema_digest,
            runs=sum(grant.num_priced for grant in self._ledger.grants(request.plan)),
            versions=software_versions(),
            seen=self._continuity.seen(plan, request.run, self._plans.former_keys),
        )

    def _finish(self, request: Request) -> Finished:
        """Closes a run, also one whose plan was revoked meanwhile, and gives its extract."""
        check_nothing_more(request)
        self._obey()
        if self._ledger.is_paused:
            raise Refusal(Status.NOT_APPROVED)
        self._continuity.check_own(request)
        self._continuity.end(request.plan, request.run)
        self._ledger.finish(plan=request.plan, run=request.run)
        self._forget(request.plan)
        extract = self._ledger.extract(request.plan, request.run)
        return Finished(plan_digest=request.plan, extract=extract)

    def _query(self, request: Request, digest: str) -> tuple[Arrays, bool]:
        """Returns the answer's arrays, and whether they were stored before."""
        plan = self._approved(request)
        asked = asked_round(plan, request, site=self.site)
        key: dict[str, Any] = {
            "plan": request.plan,
            "run": request.run,
            "round": request.round,
            "attempt": request.attempt,
        }
        self._reserve(plan, request)
        stored = self._ledger.stored_answer(**key, request_digest=digest)
        if stored is not None:
            return stored, True
        check_arrays(plan, request)
        if request.query in (Query.GRADIENT, Query.TRAIN) and not kernels_are_row_invariant(
            plan, self._device
        ):
            self._log("refused: this machine's kernels round the rows of a batch differently")
            raise Refusal(Status.UNAVAILABLE)
        seen = self._continuity.check(plan, request, self._plans.former_keys)
        mask_share = self._mask_share_of(plan, request, digest)
        self._ledger.open_attempt(
            **key,
            query=request.query,
            roster=request.roster,
            void=request.void,
            request_digest=digest,
            event=asked.event,
            seen=seen,
        )
        try:
            arrays = self._compute(plan, request, mask_share)
            self._ledger.commit(**key, arrays=arrays)
            self._continuity.used(request)
        except FedloomError as error:
            # Records are read by now, so no refusal may follow: it becomes silence.
            raise RuntimeError("an attempt failed after it was opened") from error
        return arrays, False

    def _reserve(self, plan: Plan, request: Request) -> None:
        known = self._ledger.is_unfinished(request.plan, request.run)
        if not known:  # what was begun under a coordinator's former key is ended under it
            check_coordinator(self._home, plan)
        try:
            self._ledger.reserve(
                plan=request.plan,
                run=request.run,
                event=plan.event(),
                policy=self._plans.limits,
            )
        except (BudgetExceededError, NotApprovedError):
            raise
        except RefusedError as error:
            raise Refusal(Status.CLOSED) from error
        if not known:
            self._continuity.begin(request)

    def _compute(self, plan: Plan, request: Request, mask_share: MaskShare) -> Arrays:
        snapshot, noise = self._read(plan), self._noise_for(request)
        return answer_arrays(
            plan, request, snapshot, noise, device=self._device, mask_share=mask_share
        )

    def _mask_share_of(self, plan: Plan, request: Request, digest: str) -> MaskShare:
        """Returns what hides this site's part of a sum; in per-site trust nothing needs hiding."""
        if plan.colluding is None:
            return lambda part: part
        keys = {name: plan.site(name).exchange_key or "" for name in request.roster}

        # Made here: keys that do not serve are found before anything opens.
        mask = RequestMask(
            site=self.site,
            roster=keys,
            private_key=self._home.exchange_private_key(),
            request_digest=digest,
            colluding=plan.colluding,
        )
        return lambda part: masked_share(part, mask)

    def _noise_for(self, request: Request) -> NoiseSource:
        """The vault's own source; from a seed, one that a resumed run draws alike."""
        if self._insecure_seed is None:
            return self._noise
        text = f"{self._insecure_seed}/{request.round}/{request.attempt}"
        return NoiseSource.from_insecure_seed(
            int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
        )

    def _read(self, plan: Plan) -> Snapshot:
        """Reads the frozen records, once; only after the plan is reserved."""
        digest = plan.digest()
        if digest not in self._records:
            approval = self._ledger.approval(digest)
            if approval is None:
                raise Refusal(Status.NOT_APPROVED)
            self._records[digest] = load_records(
                self._home, plan, str(approval["snapshot_commitment"])
            )
        return self._records[digest]

    def _approved(self, request: Request) -> Plan:
        self._obey()
        try:
            self._ledger.check_run(request.plan, request.run)
        except NotApprovedError:
            raise
        except RefusedError as error:
            raise Refusal(Status.CLOSED) from error
        plan = self._plans.get(request.plan)
        if request.study != plan.study_digest or not request.run:
            raise Refusal(Status.OUTSIDE_PLAN)
        check_parts_are_here(plan)
        return plan

    def _forget(self, plan: str) -> None:
        """Gives up a plan's records, and deletes them where nothing more can be answered."""
        self._records.pop(plan, None)
        try:
            forget_ended(self._home, self._ledger, plan)
        except OSError as error:  # the run is over all the same; `site tidy` finds them
            self._log(f"frozen records of plan {plan[:12]} could not be deleted: {error}")

    def _obey(self) -> None:
        """Lets what the steward decided take effect, also while this process holds the ledger."""
        self.record_decisions()
        self._plans.read_rules()

    def record_decisions(self) -> None:
        """Writes into the ledger what the steward decided by file: pause, resume, revoke."""
        for plan in record_decisions(self._home, self._ledger, self._continuity):
            self._plans.forget(plan)
            self._forget(plan)
