"""Verifies a release offline, without torch: files, signatures, ledgers, and the price itself.

Epsilon is computed again from the events that the sites' signed ledgers hold, and every number,
flag and code of statement and codebook from plan and ledgers. What is taken on trust: that each
site's key in the plan is that site's, that the sites ran fedloom as it is, and, with the
publisher's signature as the only witness, what the texts for people say. The rows are drawn again
from the generator and compared. Whoever hands in a function that fits, which takes torch, has the
generator fitted again from the answers; else that step is the publisher's word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from fedloom.common.artifact import Artifact
from fedloom.common.digest import canonical_json
from fedloom.common.errors import ConfigError, FedloomError, ReleaseError
from fedloom.common.schema import Schema
from fedloom.common.strict_json import parse_json, read_json
from fedloom.privacy.answers.opened import OpenedRound
from fedloom.privacy.keys import fingerprint
from fedloom.privacy.plan import Plan
from fedloom.privacy.plan_check import check_plan
from fedloom.privacy.release.account import SiteAccount
from fedloom.privacy.release.attempts import check_rosters
from fedloom.privacy.release.codebook import codebook
from fedloom.privacy.release.data_files import data_files
from fedloom.privacy.release.derived import TEXTS, json_text
from fedloom.privacy.release.earlier import EARLIER
from fedloom.privacy.release.manifest import MANIFEST, Manifest, Signer, read_manifest
from fedloom.privacy.release.marginals import MARGINALS
from fedloom.privacy.release.public_file import PUBLIC, check_public
from fedloom.privacy.release.statement import STATEMENT_FORMAT
from fedloom.privacy.release.verify.answers import check_answers
from fedloom.privacy.release.verify.evaluation import check_evaluation
from fedloom.privacy.release.verify.evidence import check_evidence
from fedloom.privacy.release.verify.files import problems_of_files
from fedloom.privacy.release.verify.generator import (
    Prior,
    Refit,
    check_refit,
    must_have_parts,
    read_generator,
)
from fedloom.privacy.release.verify.ledgers import account_in, check_ledgers, notes_on
from fedloom.privacy.release.verify.marginals import check_marginals
from fedloom.privacy.release.verify.result import DO_NOT_USE, Check, CheckFailed, Verification
from fedloom.privacy.release.verify.rows import check_drawn, check_rows, note_on_seed
from fedloom.privacy.release.verify.signer import check_publisher, check_signer
from fedloom.privacy.release.verify.stated import (
    check_learned_prices,
    check_price,
    check_statement,
    notes_on_learning,
)

__all__ = ["check_release", "verify_release"]

_CREATED = "%Y-%m-%dT%H:%M:%SZ"
_SHOWN = 8
T = TypeVar("T")


Progress = Callable[[str, int, int], None]
"""Is told the check, the rows that it has looked at, and how many there are."""


def verify_release(
    folder: Path,
    key: str | None = None,
    *,
    evidence: Path | None = None,
    quick: bool = False,
    refit: Refit | None = None,
) -> Verification:
    """Verifies a release, and raises if anything is not what it claims to be.

    Args:
      folder: the release.
      key: the publisher's public key (64 hexadecimal digits); None leaves the signer unchecked.
      evidence: folder of the sites' own signed parts; None leaves them unchecked.
      quick: do not draw the rows again.
      refit: fits the generator again, as `fedloom.server.refit.refit` does; None leaves out the
        check that it was made from the answers.

    Raises:
      ConfigError: there is no such folder, `key` is no key, or refitting takes evidence that is not
        given.
      ReleaseError: a check failed; the message names it, the file and what to do.
    """
    found = check_release(folder, key, evidence=evidence, quick=quick, refit=refit)
    if found.failure is not None:
        raise ReleaseError(f"{folder}: {found.failure}")
    return found


def check_release(
    folder: Path,
    key: str | None = None,
    *,
    evidence: Path | None = None,
    quick: bool = False,
    refit: Refit | None = None,
    on_progress: Progress = lambda check, rows, of: None,
) -> Verification:
    """Checks everything that can be checked in a release, and reports each result.

    Args:
      folder: the release.
      key: the publisher's public key (64 hexadecimal digits); None leaves the signer unchecked.
      evidence: folder of the sites' own signed parts; None leaves them unchecked.
      quick: do not draw the rows again.
      refit: fits the generator again, as `fedloom.server.refit.refit` does; None leaves out the
        check that it was made from the answers.
      on_progress: is told how far the checks of rows have come.

    Raises:
      ConfigError: there is no such folder, `key` is no key, or refitting takes evidence that is not
        given.
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
    return _Inspection(folder, key, evidence, quick, refit, on_progress).result()


class _Inspection:
    """Makes the checks one after another; a later one needs what an earlier one has read."""

    def __init__(
        self,
        folder: Path,
        key: str | None,
        evidence: Path | None,
        quick: bool,
        refit: Refit | None,
        on_progress: Progress,
    ) -> None:
        self._folder = folder
        self._key = key
        self._evidence = evidence
        self._quick = quick
        self._refit = refit
        self._on_progress = on_progress
        self._checks: list[Check] = []
        self._notes: list[str] = []
        self._accounts: dict[str, SiteAccount] = {}
        self._generator: Artifact | None = None
        self._statement: Mapping[str, Any] | None = None

    def result(self) -> Verification:
        public_key: str | None = None
        manifest = self._read("manifest", "manifest.json", self._manifest)
        if manifest is not None:
            public_key = manifest.signer.public_key
            self._look_at_signer(manifest.signer)
            if self._files(manifest):
                self._contents(manifest)
        return Verification(
            checks=tuple(self._checks),
            public_key=public_key,
            fingerprint=None if public_key is None else fingerprint(public_key),
            signer_checked=any(check.name == "signer" and check.ok for check in self._checks),
            notes=tuple(self._notes),
            epsilon=_number(self._statement, "epsilon"),
            delta=_number(self._statement, "delta"),
        )

    def _contents(self, manifest: Manifest) -> None:
        plan = self._read("plan", "plan.json", lambda: self._plan(manifest))
        self._statement = self._read("statement", "dp_statement.json", self._read_statement)
        if plan is not None:
            if self._refit is not None:
                must_have_parts(plan, self._evidence)
            self._look("publisher", "manifest.json", lambda: check_publisher(manifest, plan))
            self._look("schema", "schema.json", lambda: self._schema(manifest, plan))
            self._look_at_rows(manifest, plan)
            self._look_at_ledgers(manifest, plan)
            self._look("price", "plan.json", lambda: check_price(plan))
            self._look("learned", "schema.json", lambda: self._learned(plan))
            stated = self._statement
            if stated is not None:
                self._look("epsilon", "dp_statement.json", lambda: self._epsilon(plan, stated))
            self._look("codebook", "codebook.json", lambda: self._codebook(plan))
            self._look_at_answers(manifest, plan)
        detail = f"{', '.join(TEXTS)} are as signed; what they say is not checked"
        self._checks.append(Check(name="texts", ok=None, detail=detail))

    def _look_at_rows(self, manifest: Manifest, plan: Plan) -> None:
        folder, rows = self._folder, manifest.rows
        fit = self._look(
            "data",
            "data/",
            partial(check_rows, folder, manifest, plan, self._counter("data", rows)),
        )
        generator = self._read("generator", "generator/", partial(read_generator, folder, plan))
        self._generator = generator
        if self._quick or not fit or generator is None:
            why = "asked to be quick" if self._quick else "data or generator did not hold"
            detail = f"not done, {why}: that the generator gives these rows is not checked"
            self._checks.append(Check(name="drawn", ok=None, detail=detail))
            return
        count = self._counter("drawn", rows)
        self._look(
            "drawn",
            data_files(plan.schema.kind).main,
            partial(check_drawn, folder, manifest, plan, generator, count),
        )
        self._notes += note_on_seed(manifest, plan)

    def _look_at_ledgers(self, manifest: Manifest, plan: Plan) -> None:
        for site in sorted({site.name for site in plan.sites} & set(manifest.ledgers)):
            read = partial(account_in, self._folder, manifest, plan, site)
            account = self._read(f"ledger {site}", f"ledger/{site}.json", read)
            if account is not None:
                self._accounts[site] = account
        self._look("ledgers", "ledger/", lambda: check_ledgers(manifest, self._accounts))
        self._notes += notes_on(plan, self._accounts)
        self._look("sums", "ledger/", lambda: check_rosters(plan, self._accounts))

    def _look_at_answers(self, manifest: Manifest, plan: Plan) -> None:
        folder, run, accounts = self._folder, manifest.run, self._accounts
        listed = [entry.path for entry in manifest.files]
        read = partial(check_answers, folder, plan, run, accounts, listed)
        found = self._read("answers", "answers/", read)
        opened = found or {}
        self._look("marginals", MARGINALS, lambda: check_marginals(folder, plan, opened))
        self._look("evaluation", "evaluation.json", lambda: check_evaluation(folder, plan, opened))
        whole = self._look_at_evidence(plan, run, opened) and found is not None
        public: Prior = None
        file = f"{EARLIER}/" if (folder / EARLIER).exists() else PUBLIC
        if plan.public is not None or (folder / file).exists():
            had = self._read("public", file, partial(_with_prior, folder, plan, opened))
            whole &= had is not None
            public = None if had is None else had[0]
        self._look_at_fit(manifest, plan, opened, whole, public)

    def _look_at_evidence(self, plan: Plan, run: str, opened: Mapping[int, OpenedRound]) -> bool:
        """Looks at the sites' parts, and returns whether none that was given is wrong."""
        evidence = self._evidence
        if evidence is not None:
            check = partial(check_evidence, evidence, plan, run, self._accounts, opened)
            return self._look("evidence", str(evidence), check)
        detail = (
            "not given; what each site answered is in its ledger"
            if plan.colluding is None
            else "not given; for the opened sums the publisher is trusted"
        )
        self._checks.append(Check(name="evidence", ok=None, detail=detail))
        return True

    def _look_at_fit(
        self,
        manifest: Manifest,
        plan: Plan,
        opened: Mapping[int, OpenedRound],
        whole: bool,
        public: Prior,
    ) -> None:
        generator, refit, evidence = self._generator, self._refit, self._evidence
        if refit is None or not whole or generator is None:
            why = "not asked for" if refit is None else "what it takes did not hold"
            detail = f"not done, {why}: that the answers give this generator is not checked"
            self._checks.append(Check(name="refit", ok=None, detail=detail))
            return
        check = partial(check_refit, generator, manifest, plan, opened, evidence, refit, public)
        self._look("refit", "generator/", check)

    def _look(self, name: str, file: str, check: Callable[[], str]) -> bool:
        """Makes a check that returns what was found, and returns whether it held."""
        return self._read(name, file, lambda: (True, check())) is not None

    def _read(self, name: str, file: str, check: Callable[[], tuple[T, str]]) -> T | None:
        """Makes a check that returns what it read, and what was found; None if it failed."""
        try:
            value, detail = check()
        except CheckFailed as error:
            self._failed(name, str(error), error.file, error.remedy)
            return None
        except ModuleNotFoundError:  # says something about this machine, not about the release
            raise
        except FedloomError as error:
            self._failed(name, str(error), file, DO_NOT_USE)
            return None
        except Exception as error:  # a release is hostile input: whatever it breaks, it is bad
            self._failed(name, f"cannot be read: {type(error).__name__}: {error}", file, DO_NOT_USE)
            return None
        self._checks.append(Check(name=name, ok=True, detail=detail))
        return value

    def _failed(self, name: str, detail: str, file: str, remedy: str) -> None:
        self._checks.append(Check(name=name, ok=False, detail=detail, file=file, remedy=remedy))

    def _manifest(self) -> tuple[Manifest, str]:
        manifest = read_manifest(self._folder)
        created = manifest.created
        if datetime.strptime(created, _CREATED).strftime(_CREATED) != created:
            raise ReleaseError(f"the manifest's time {created!r} is no time")
        return manifest, "its signature holds"

    def _look_at_signer(self, signer: Signer) -> None:
        if self._key is None:
            detail = "unchanged since signing; signer not checked"
            self._checks.append(Check(name="signer", ok=None, detail=detail))
        else:
            self._look("signer", MANIFEST, partial(check_signer, signer, self._key))

    def _files(self, manifest: Manifest) -> bool:
        """Looks at the files, and returns whether they may be opened."""
        problems = problems_of_files(self._folder, manifest)
        if not problems:
            detail = f"{len(manifest.files)} files, each as signed, none added or missing"
            self._checks.append(Check(name="files", ok=True, detail=detail))
            return True
        told = "; ".join(f"{problem.file} {problem.what}" for problem in problems[:_SHOWN])
        more = len(problems) - _SHOWN
        told += f"; and {more} more" if more > 0 else ""
        self._failed("files", told, problems[0].file, problems[0].remedy)
        return not any(problem.unreadable for problem in problems)

    def _plan(self, manifest: Manifest) -> tuple[Plan, str]:
        plan = Plan.from_dict(read_json(self._folder / "plan.json"))
        named = (manifest.plan, manifest.study, manifest.name)
        if named != (plan.digest(), plan.study_digest, plan.name):
            raise ReleaseError("plan.json is not the plan that the manifest names")
        if plan.release.title not in (None, manifest.title):
            raise ReleaseError("the manifest has another title than the plan")
        check_plan(plan)
        return plan, plan.digest()

    def _read_statement(self) -> tuple[dict[str, Any], str]:
        statement = read_json(self._folder / "dp_statement.json")
        if not isinstance(statement, dict) or statement.get("format") != STATEMENT_FORMAT:
            raise ReleaseError(f"dp_statement.json is not of the format {STATEMENT_FORMAT}")
        return statement, f"of the format {STATEMENT_FORMAT}"

    def _schema(self, manifest: Manifest, plan: Plan) -> str:
        digests = {
            Schema.from_dict(read_json(self._folder / "schema.json")).digest(),
            plan.schema.digest(),
            plan.schema_digest,
            manifest.schema,
        }
        if len(digests) != 1:
            raise ReleaseError("schema.json, plan and manifest do not mean the same schema")
        return manifest.schema

    def _counter(self, check: str, rows: int) -> Callable[[int], None]:
        """Returns what a check of rows tells how many more it has looked at."""
        seen = 0

        def count(more: int) -> None:
            nonlocal seen
            seen += more
            self._on_progress(check, seen, rows)

        return count

    def _epsilon(self, plan: Plan, statement: Mapping[str, Any]) -> str:
        detail = check_statement(plan, self._accounts, statement)
        if plan.schema.learned:
            whole = statement["with_the_schema"]
            self._notes.append(
                "bounds or categories were learned from records by an earlier study: with it, "
                f"epsilon {whole['epsilon']:.4g} at delta {whole['delta']:g}"
            )
        return detail

    def _learned(self, plan: Plan) -> str:
        self._notes += notes_on_learning(plan, self._accounts)
        return check_learned_prices(plan, self._accounts)

    def _codebook(self, plan: Plan) -> str:
        made = parse_json(json_text(codebook(plan.encoding)).encode(), "codebook.json")
        if canonical_json(read_json(self._folder / "codebook.json")) != canonical_json(made):
            raise ReleaseError("codebook.json is not the codebook of the plan's schema")
        return "every column as the plan's schema has it"


def _with_prior(
    folder: Path, plan: Plan, opened: Mapping[int, OpenedRound]
) -> tuple[tuple[Prior], str]:
    prior, detail = check_public(folder, plan, opened)
    return (prior,), detail


def _number(statement: Mapping[str, Any] | None, key: str) -> float | None:
    value = None if statement is None else statement.get(key)
    return float(value) if isinstance(value, int | float) else None
