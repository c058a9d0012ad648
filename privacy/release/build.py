"""Builds a release from a finished run: post-processing from beginning to end.

The folder is made beside its place, its manifest is written last, the whole is verified as a
consumer would, and only then renamed: a release is complete or absent.
"""

from __future__ import annotations

import importlib.metadata
import math
import platform
import shutil
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import pyarrow.parquet as pq

import fedloom
from fedloom.common.digest import canonical_json
from fedloom.common.errors import ConfigError
from fedloom.common.files import replacing
from fedloom.common.run_files import RunFiles
from fedloom.common.sampling import sample
from fedloom.privacy.answers.opened import answer_path
from fedloom.privacy.drift.result import Drift, drift_between
from fedloom.privacy.keys import load_private_key, public_key_hex
from fedloom.privacy.plan_size import limits_of_training
from fedloom.privacy.release.account import SiteAccount, account_of
from fedloom.privacy.release.data import MAX_SEED, public_seed
from fedloom.privacy.release.data_files import data_files
from fedloom.privacy.release.derived import derived_files, json_text, title_of
from fedloom.privacy.release.earlier import EARLIER, keep_earlier
from fedloom.privacy.release.evidence import written_evidence
from fedloom.privacy.release.manifest import LedgerEnd, ReleaseFacts, Versions, write_manifest
from fedloom.privacy.release.marginals import (
    MARGINALS,
    counts_marginals,
    marginals_arrow,
    marginals_table,
)
from fedloom.privacy.release.public_file import PUBLIC, pack_public
from fedloom.privacy.release.report.html import render_report
from fedloom.privacy.release.run_files import FinishedRun
from fedloom.privacy.release.statement import make_statement
from fedloom.privacy.release.verify import verify_release

__all__ = ["build_release", "default_rows"]

_RELEASE_VERSION = "1"
_PACKAGES = ("numpy", "pandas", "pyarrow", "dp-accounting", "cryptography", "torch")


def default_rows(total: float) -> int:
    """Rounds a noisy number of records to two significant digits; at least 1.

    >>> default_rows(5638.4), default_rows(0.2)
    (5600, 1)
    """
    step: int = 10 ** max(math.floor(math.log10(max(total, 1.0))) - 1, 0)
    return max(round(total / step) * step, 1)


def build_release(
    run_dir: Path, out: Path, *, seed: int | None = None, evidence: Path | None = None
) -> Path:
    """Builds, signs and verifies the release of a finished run.

    Guarantee: everything in it is post-processing of the sites' noised answers, together with
    public values and the sites' signed ledger extracts; building it costs no privacy.

    Args:
      run_dir: folder of a finished run.
      out: folder to make; it must not exist.
      seed: of the draw of rows, stated in the manifest; None takes the one that follows from
        plan and run, which nobody can choose.
      evidence: folder to make for the sites' own signed parts of every round; None makes none.

    Returns:
      `out`.

    Raises:
      ConfigError: the run is not done, or `out` exists.
      VerificationError: an extract or the plan is not what it claims to be.
    """
    out = Path(out)
    if seed is not None and not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"the seed must lie between 0 and {MAX_SEED}, got {seed}")
    if out.exists():
        raise ConfigError(f"{out} exists; a release never changes, choose another folder")
    if evidence is not None and evidence.resolve().is_relative_to(out.resolve()):
        raise ConfigError(f"{evidence} lies in the release; choose a folder beside it")
    run = FinishedRun.load(Path(run_dir))
    accounts = {
        name: account_of(extract, run.plan, run.name, name)
        for name, extract in run.extracts.items()
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    key = public_key_hex(load_private_key(RunFiles(run.path).key_path))
    # The evidence is taken back if the release does not come about.
    with (
        nullcontext() if evidence is None else written_evidence(run, evidence),
        replacing(out, shared=True) as partial,
    ):
        partial.mkdir()
        _fill(partial, run, accounts, seed)
        verify_release(partial, key, evidence=evidence)
    return out


def _fill(
    folder: Path, run: FinishedRun, accounts: Mapping[str, SiteAccount], seed: int | None
) -> None:
    plan, key = run.plan, load_private_key(RunFiles(run.path).key_path)
    rows = plan.release.rows or default_rows(_records(run))
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    statement = make_statement(plan, accounts)
    seed = public_seed(plan, run.name) if seed is None else seed
    frame = sample(run.generator, plan.schema, plan.target, rows, seed=seed)

    data_files(plan.schema.kind).write(frame, folder)
    _copy_from_run(folder, run)
    (folder / "dp_statement.json").write_text(json_text(statement), encoding="utf-8")
    if run.evaluation is not None:
        (folder / "evaluation.json").write_text(json_text(run.evaluation), encoding="utf-8")
    derived = derived_files(
        plan, statement, rows=len(frame), created=created, public_key=public_key_hex(key)
    )
    for name, data in derived.items():
        (folder / name).write_bytes(data)
    report = render_report(
        title=title_of(plan),
        created=created,
        model=plan.model.kind,
        statement=statement,
        frame=frame,
        kind=plan.schema.kind,
        statistics=run.statistics,
        metrics=run.metrics,
        evaluation=None if run.evaluation is None else run.evaluation["figures"],
        limits=limits_of_training(plan, run.statistics.total()),
        drift=_drift(run),
    )
    (folder / "report.html").write_text(report, encoding="utf-8")
    facts = _facts(run, accounts, created=created, rows=rows, seed=seed)
    write_manifest(folder, facts, key, run.handovers(public_key_hex(key)))


def _drift(run: FinishedRun) -> Drift | None:
    """Compares the run with the earlier release that its plan names; None without one."""
    if run.earlier is None:
        return None
    alike = [
        plan.privacy.rows_per_person * plan.privacy.overlap for plan in (run.plan, run.earlier.plan)
    ]
    return drift_between(run.statistics, run.earlier.statistics, alike=(alike[0], alike[1]))


def _copy_from_run(folder: Path, run: FinishedRun) -> None:
    """Writes what a release takes from its run as it is: generator, ledgers, answers, plan."""
    plan = run.plan
    run.generator.save(folder / "generator")
    (folder / "ledger").mkdir()
    for name, extract in run.extracts.items():
        (folder / "ledger" / f"{name}.json").write_bytes(canonical_json(extract))
    (folder / "answers").mkdir()
    for number in run.opened:
        shutil.copyfile(run.path / answer_path(number), folder / answer_path(number))
    if counts_marginals(plan):
        table = marginals_table(plan, run.opened)
        pq.write_table(marginals_arrow(table), folder / MARGINALS, compression="NONE")
    if run.public is not None:
        (folder / PUBLIC).write_bytes(pack_public(plan, run.public, run.opened))
    if plan.public is not None and plan.public.same_records:
        keep_earlier(RunFiles(run.path).earlier_path, folder / EARLIER)
    plan.save(folder / "plan.json")


def _facts(
    run: FinishedRun, accounts: Mapping[str, SiteAccount], *, created: str, rows: int, seed: int
) -> ReleaseFacts:
    """Says what the release is: of which plan and run, drawn how, made with what."""
    plan = run.plan
    return ReleaseFacts(
        name=plan.name,
        title=title_of(plan),
        version=_RELEASE_VERSION,
        created=created,
        plan=plan.digest(),
        run=run.name,
        study=plan.study_digest,
        schema=plan.schema_digest,
        rows=rows,
        seed=seed,
        ledgers={
            name: LedgerEnd(seq=account.seq, hash=account.head, public_key=account.key)
            for name, account in accounts.items()
        },
        versions=Versions(
            coordinator=_versions(),
            sites={
                name: site.get("versions", {})
                for name, site in run.state["sites"].items()
                if name in accounts
            },
        ),
    )


def _records(run: FinishedRun) -> float:
    """Returns the noisy number of records, the held-back ones included."""
    evaluation = run.plan.evaluation
    chance = 0.0 if evaluation is None else evaluation.hold_back
    return run.statistics.total() / (1.0 - chance)


def _versions() -> dict[str, str]:
    versions = {"fedloom": fedloom.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
