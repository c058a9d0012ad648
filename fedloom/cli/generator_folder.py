"""The generator in a folder: of a run or of a release."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fedloom.common.errors import ConfigError

if TYPE_CHECKING:
    from fedloom.common.artifact import Artifact
    from fedloom.privacy.plan import Plan

__all__ = ["load_generator"]


def load_generator(source: Path) -> tuple[Artifact, Plan]:
    """Loads what records are drawn from, and the plan that it was made by.

    Raises:
      ConfigError: the folder is neither a run nor a release, or holds no generator yet.
      ReleaseError: the generator is damaged.
    """
    from fedloom.common.run_files import RunFiles
    from fedloom.privacy.plan import Plan

    files = RunFiles(source)  # a release has plan and generator in the same places
    if not files.plan_path.is_file():
        raise ConfigError(f"{source} is neither a run nor a release: it holds no plan.json")
    plan = Plan.load(files.plan_path)
    return files.read_generator(learns_schema=plan.learns_schema), plan
