"""The answers of an earlier release of the same records, and what a run and a release hold of it.

    earlier/manifest.json, manifest.sig              as its publisher signed them
    earlier/plan.json, dp_statement.json             the earlier plan, and what it cost
    earlier/answers/round-NNNN.safetensors           its opened statistics

The files are the earlier release's own, byte for byte, so that anybody can check them: the plan
names the manifest by its SHA-256, the manifest names each file by its own. An earlier release that
is a prior only lies in the run's folder, for the report's table of drift, and not in the release.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from fedloom.common.digest import file_sha256
from fedloom.common.errors import ConfigError, ReleaseError
from fedloom.common.marginals import NoisyMarginals
from fedloom.common.public_data import PublicData
from fedloom.common.vocabulary import Stage
from fedloom.privacy.answers.opened import OpenedRound, answer_path
from fedloom.privacy.answers.opened_marginals import noisy_statistics
from fedloom.privacy.plan import Plan
from fedloom.privacy.release.manifest import MANIFEST, SIGNATURE, read_manifest

__all__ = ["EARLIER", "Earlier", "check_alike", "keep_earlier", "load_earlier"]

EARLIER = "earlier"
"""Folder of a run and of a release in which the files lie."""

_PLAN, _STATEMENT = "plan.json", "dp_statement.json"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Earlier:
    """What an earlier release says.

    Attributes:
      plan: that it carried out.
      statistics: its noisy sums over sites.
    """

    plan: Plan
    statistics: NoisyMarginals


def keep_earlier(release: Path, folder: Path) -> None:
    """Copies what is kept of a release into a new folder.

    Args:
      release: the release's folder, or one that holds what was kept of it.
      folder: to make.
    """
    plan = Plan.load(release / _PLAN)
    for path in (MANIFEST, SIGNATURE, _PLAN, _STATEMENT, *_answers(plan)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(release / path, folder / path)


def load_earlier(folder: Path, public: PublicData) -> Earlier:
    """Reads what is kept of a release, or a whole one, and checks it against its manifest.

    Args:
      folder: where it lies.
      public: `[public]` of the later plan.

    Raises:
      ReleaseError: a file is missing or changed, or it is another release.
    """
    if not (folder / MANIFEST).is_file() or file_sha256(folder / MANIFEST) != public.manifest:
        raise ReleaseError(f"{folder} is not of the earlier release that the plan names")
    manifest = read_manifest(folder)
    named = {entry.path: entry.sha256 for entry in manifest.files}
    _check_file(folder, _PLAN, named)
    plan = Plan.load(folder / _PLAN)
    if plan.digest() != manifest.plan:
        raise ReleaseError(f"{folder / _PLAN} is not the plan that {MANIFEST} names")
    for path in (_STATEMENT, *_answers(plan)):
        _check_file(folder, path, named)
    rounds = [OpenedRound.load(folder / path) for path in _answers(plan)]
    return Earlier(plan=plan, statistics=noisy_statistics(plan, rounds))


def check_alike(earlier: Plan, plan: Plan) -> None:
    """Refuses an earlier plan whose answers cannot be about the same counts of the same records.

    Raises:
      ConfigError: says in what they differ.
    """
    differs = {
        "kind of model": earlier.model.kind != plan.model.kind,
        "schema": earlier.schema_digest != plan.schema_digest,
        "label": earlier.target != plan.target,
        "unit of privacy": earlier.privacy.unit != plan.privacy.unit,
        "rows per person": earlier.privacy.rows_per_person != plan.privacy.rows_per_person,
        "sites": set(earlier.site_names) != set(plan.site_names),
        "part held back": earlier.evaluation is not None or plan.evaluation is not None,
    }
    if names := [name for name, apart in differs.items() if apart]:
        raise ConfigError(
            f"[public] same_records: the earlier release has another {' and another '.join(names)};"
            " its answers can be combined only with answers to the same questions, so remove "
            "same_records: its rows then serve as prior"
        )


def _answers(plan: Plan) -> list[str]:
    rounds = [asked for asked in plan.rounds if asked.phase.stage is Stage.STATISTICS]
    return [str(answer_path(asked.round)) for asked in rounds]


def _check_file(folder: Path, path: str, named: dict[str, str]) -> None:
    if not (folder / path).is_file() or file_sha256(folder / path) != named.get(path):
        raise ReleaseError(f"{folder / path} is missing or not as the earlier release has it")
