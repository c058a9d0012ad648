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
    from fedloom.common.artifact import Artifact
    from fedloom.privacy.plan import Plan

    if not (source / "plan.json").is_file():
        raise ConfigError(f"{source} is neither a run nor a release: it holds no plan.json")
    plan = Plan.load(source / "plan.json")
    if plan.learns_schema:
        raise ConfigError(
            f"{source}: the run completed a schema, {source / 'schema.toml'}, and draws no "
            "records; run a study of another kind on that schema"
        )
    if not (source / "generator").is_dir():
        raise ConfigError(
            f"{source} holds no generator; finish the run first, by the command that began it, "
            "such as `fedloom simulate --resume`"
        )
    return Artifact.load(source / "generator"), plan
