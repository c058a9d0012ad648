"""Verifies a release offline, without torch: files, signatures, ledgers, and the price itself.

Epsilon is computed again from the events that the sites' signed ledgers hold, and every number,
flag and code of statement and codebook from plan and ledgers. What is taken on trust: that each
site's key in the plan is that site's, that the sites ran fedloom as it is, and, with the
publisher's signature as the only witness, that data and generator were made from the sites'
answers, and what the texts for people say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from fedloom.common.artifact import Artifact
from fedloom.common.digest import canonical_json
from fedloom.common.errors import ConfigError, FedloomError, ReleaseError
from fedloom.common.schema import Schema
from fedloom.privacy.keys import fingerprint
from fedloom.privacy.plan import Plan
from fedloom.privacy.plan_check import check_plan
from fedloom.privacy.release.account import SiteAccount, account_of
from fedloom.privacy.release.attempts import check_rosters
from fedloom.privacy.release.codebook import codebook
from fedloom.privacy.release.data import PARQUET, problems_of_data
from fedloom.privacy.release.derived import TEXTS, json_text
from fedloom.privacy.release.manifest import changed_files, read_manifest
from fedloom.privacy.release.reading import parse_json, read_json
from fedloom.privacy.release.statement import STATEMENT_FORMAT
from fedloom.privacy.release.verify.comparison import must_equal
from fedloom.privacy.release.verify.evaluation import check_evaluation
from fedloom.privacy.release.verify.result import Check, Verification
from fedloom.privacy.release.verify.statement import check_statement

__all__ = ["check_release", "verify_release"]

_CREATED = "%Y-%m-%dT%H:%M:%SZ"
T = TypeVar("T")


def verify_release(folder: Path, key: str | None = None) -> Verification:
    """Verifies a release, and raises if anything is not what it claims to be.

    Args:
      folder: the release.
      key: the publisher's public key (64 hexadecimal digits); None leaves the signer unchecked.

    Raises:
      ConfigError: there is no such folder, or `key` is no key.
      ReleaseError: a check failed; the message names each.
    """
    found = check_release(folder, key)
    failed = [f"{check.name}: {check.detail}" for check in found.checks if check.ok is False]
    if failed:
        raise ReleaseError(f"{folder} does not verify: " + "; ".join(failed))
    return found


def check_release(folder: Path, key: str | None = None) -> Verification:
    """Checks everything that can be checked in a release, and reports each result.

    Args:
      folder: the release.
      key: the publisher's public key (64 hexadecimal digits); None leaves the signer unchecked.

    Raises:
      ConfigError: there is no such folder, or `key` is no key.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder; give the folder of a release")
    if key is not None:
        key = key.strip().lower()
        if len(key) != 64 or set(key) - set("0123456789abcdef"):
            raise ConfigError(
                "a public key has 64 hexadecimal digits; give the publisher's key, not its "
                "fingerprint"
            )
    return _Inspection(folder, key).result()


class _Inspection:
    """Runs the checks one after another; a later one needs what an earlier one has read."""

    def __init__(self, folder: Path, key: str | None) -> None:
        self._folder = folder
        self._key = key
        self._checks: list[Check] = []
        self._notes: list[str] = []
        self._accounts: dict[str, SiteAccount] = {}

    def result(self) -> Verification:
        manifest = self._run("manifest", self._manifest)
        statement: Mapping[str, Any] | None = None
        public_key: str | None = None
        if manifest is not None:
            public_key = str(manifest["signer"]["public_key"])
            self._signer(public_key)
            self._run("files", partial(self._files, manifest))
            plan = self._run("plan", partial(self._plan, manifest))
            statement = self._run("statement", self._read_statement)
            if plan is not None:
                self._run("schema", partial(self._schema, manifest, plan))
                self._run("data", partial(self._data, plan))
                for site in sorted({site.name for site in plan.sites} & set(manifest["ledgers"])):
                    self._run(f"ledger {site}", partial(self._ledger, manifest, plan, site))
                self._run("ledgers", partial(self._ledgers, manifest))
                self._run("runs", partial(self._note_accounts, plan))
                self._run("sums", lambda: (None, check_rosters(plan, self._accounts)))
                self._run("price", partial(self._price, plan))
                if statement is not None:
                    self._run("epsilon", partial(self._epsilon, plan, statement))
                self._run("codebook", partial(self._codebook, plan))
                self._run("evaluation", lambda: (None, check_evaluation(self._folder, plan)))
            self._run("generator", self._generator)
            detail = f"{', '.join(TEXTS)} are as signed; what they say is not checked"
            self._checks.append(Check(name="texts", ok=None, detail=detail))
        return Verification(
            checks=tuple(self._checks),
            public_key=public_key,
            fingerprint=None if public_key is None else fingerprint(public_key),
            signer_checked=self._key is not None and public_key == self._key,
            notes=tuple(self._notes),
            epsilon=_number(statement, "epsilon"),
            delta=_number(statement, "delta"),
        )

    def _run(self, name: str, check: Callable[[], tuple[T, str]]) -> T | None:
        try:
            value, detail = check()
        except FedloomError as error:
            self._checks.append(Check(name=name, ok=False, detail=str(error)))
            return None
        except Exception as error:  # a release is hostile input: whatever it breaks, it is bad
            detail = f"cannot be read: {type(error).__name__}: {error}"
            self._checks.append(Check(name=name, ok=False, detail=detail))
            return None
        self._checks.append(Check(name=name, ok=True, detail=detail))
        return value

    def _manifest(self) -> tuple[dict[str, Any], str]:
        manifest = read_manifest(self._folder)
        created = str(manifest["created"])
        if datetime.strptime(created, _CREATED).strftime(_CREATED) != created:
            raise ReleaseError(f"the manifest's time {created!r} is no time")
        return manifest, "its signature holds"

    def _signer(self, public_key: str) -> None:
        if self._key is None:
            detail = "unchanged since signing; signer not checked"
            self._checks.append(Check(name="signer", ok=None, detail=detail))
        elif self._key == public_key:
            detail = "signed by the key that you gave"
            self._checks.append(Check(name="signer", ok=True, detail=detail))
        else:
            detail = f"signed by another key, {public_key}; do not trust this release"
            self._checks.append(Check(name="signer", ok=False, detail=detail))

    def _files(self, manifest: Mapping[str, Any]) -> tuple[None, str]:
        problems = changed_files(self._folder, manifest)
        if problems:
            raise ReleaseError("; ".join(problems))
        return None, f"{len(manifest['files'])} files, each as signed, none added or missing"

    def _plan(self, manifest: Mapping[str, Any]) -> tuple[Plan, str]:
        plan = Plan(read_json(self._folder / "plan.json"))
        named = (manifest["plan"], manifest["study"], manifest["name"])
        if named != (plan.digest(), plan.study_digest, plan.name):
            raise ReleaseError("plan.json is not the plan that the manifest names")
        if plan.body["release"].get("title") not in (None, manifest["title"]):
            raise ReleaseError("the manifest has another title than the plan")
        check_plan(plan)
        return plan, plan.digest()

    def _read_statement(self) -> tuple[dict[str, Any], str]:
        statement = read_json(self._folder / "dp_statement.json")
        if not isinstance(statement, dict) or statement.get("format") != STATEMENT_FORMAT:
            raise ReleaseError(f"dp_statement.json is not of the format {STATEMENT_FORMAT}")
        return statement, f"of the format {STATEMENT_FORMAT}"

    def _schema(self, manifest: Mapping[str, Any], plan: Plan) -> tuple[None, str]:
        digests = {
            Schema.from_dict(read_json(self._folder / "schema.json")).digest(),
            plan.schema.digest(),
            plan.body["schema_digest"],
            manifest["schema"],
        }
        if len(digests) != 1:
            raise ReleaseError("schema.json, plan and manifest do not mean the same schema")
        return None, str(manifest["schema"])

    def _data(self, plan: Plan) -> tuple[None, str]:
        problems = problems_of_data(self._folder, plan.encoding)
        if problems:
            raise ReleaseError("; ".join(problems[:5]))
        rows = len(pd.read_parquet(self._folder / PARQUET))
        asked = plan.body["release"].get("rows")
        if asked is not None and rows != asked:
            raise ReleaseError(f"the data have {rows} rows, the plan asks for {asked}")
        return None, "CSV and Parquet agree and conform to the schema"

    def _ledger(self, manifest: Mapping[str, Any], plan: Plan, site: str) -> tuple[None, str]:
        extract = read_json(self._folder / "ledger" / f"{site}.json")
        account = account_of(extract, plan, manifest["run"], site)
        stated = manifest["ledgers"][site]
        if (account.seq, account.head, account.key) != (
            stated["seq"],
            stated["hash"],
            stated["public_key"],
        ):
            raise ReleaseError(f"the ledger of {site} ends at another head than the manifest says")
        self._accounts[site] = account
        return None, (
            f"{account.seq} entries to its head, signed; {account.rounds} of "
            f"{len(plan.rounds)} rounds answered, {len(account.answered)} attempts charged, "
            "within what was reserved"
        )

    def _ledgers(self, manifest: Mapping[str, Any]) -> tuple[None, str]:
        listed = {str(entry["path"]) for entry in manifest["files"]}
        extracts = {path for path in listed if path.startswith("ledger/")}
        if extracts != {f"ledger/{site}.json" for site in manifest["ledgers"]} or not extracts:
            raise ReleaseError("the ledgers in the folder are not those that the manifest names")
        if set(manifest["ledgers"]) != set(self._accounts):
            raise ReleaseError(
                "a ledger does not hold, or is that of a site the plan does not have"
            )
        return None, f"{len(extracts)} sites"

    def _price(self, plan: Plan) -> tuple[None, str]:
        computed, stated = plan.price(), plan.body["price"]
        must_equal(stated["epsilon"], computed.epsilon, "the plan's epsilon")
        must_equal(stated["epsilon_rdp"], computed.epsilon_rdp, "the plan's epsilon by RDP")
        if stated["delta"] != plan.delta:
            raise ReleaseError("the plan is priced at another delta than its own")
        return None, f"the plan costs epsilon {computed.epsilon:.6g} at delta {plan.delta:g}"

    def _epsilon(self, plan: Plan, statement: Mapping[str, Any]) -> tuple[None, str]:
        detail = check_statement(plan, self._accounts, statement)
        if plan.schema.learned:
            whole = statement["with_the_schema"]
            self._notes.append(
                "bounds or categories were learned from records by an earlier study: with it, "
                f"epsilon {whole['epsilon']:.4g} at delta {whole['delta']:g}"
            )
        return None, detail

    def _codebook(self, plan: Plan) -> tuple[None, str]:
        made = parse_json(json_text(codebook(plan.encoding)).encode(), "codebook.json")
        if canonical_json(read_json(self._folder / "codebook.json")) != canonical_json(made):
            raise ReleaseError("codebook.json is not the codebook of the plan's schema")
        return None, "every column as the plan's schema has it"

    def _generator(self) -> tuple[None, str]:
        artifact = Artifact.load(self._folder / "generator")
        return None, f"{artifact.kind}, {len(artifact.arrays)} arrays"

    def _note_accounts(self, plan: Plan) -> tuple[None, str]:
        accounts = self._accounts.values()
        self._note("rehearsal: covers this run alone", [a.site for a in accounts if a.rehearsal])
        self._note(
            "noise from a known seed: this protects nobody",
            [a.site for a in accounts if a.insecure],
        )
        absent = [site.name for site in plan.sites if site.name not in self._accounts]
        self._note("no ledger here: it took no part, or its ledger was left out", absent)
        for account in accounts:
            if account.runs > 1:
                together = account.epsilon_of_all_runs(plan.delta)
                self._note(
                    f"{account.runs} runs of this plan answered, together at epsilon "
                    f"{together:.4g}: this release may have been chosen among them",
                    [account.site],
                )
        most = max((account.runs for account in accounts), default=0)
        return None, f"runs of this plan that a site answered: {most}"

    def _note(self, note: str, sites: list[str]) -> None:
        if sites:
            self._notes.append(f"{note} ({', '.join(sites)})")


def _number(statement: Mapping[str, Any] | None, key: str) -> float | None:
    value = None if statement is None else statement.get(key)
    return float(value) if isinstance(value, int | float) else None
