"""The files of a run's folder, known once: to the coordinator that writes them and to its readers.

    plan.json            the plan
    run.json             name and state of the run, sites, attempts, versions
    heads.json           how far the sites' ledgers have come, unless the key has such a file
    public.safetensors   the rows of a public table as codes, if the plan names one
    earlier/             plan and opened statistics of an earlier release, if the plan names one
    metrics.jsonl        one line a reported round, post-processing only
    tensorboard/         the same as TensorBoard events
    answers/             opened sums, and each site's signed part, mode 0600
    evaluation.json      scores on held-back records, if the plan asks for them
    generator/           the generator, once the run is done
    schema.toml          or the completed schema, of a study of kind "schema", and findings.json
    extracts/            each site's signed ledger extract
    coordinator.key      the key that the plan names: signs requests and releases, mode 0600
    checkpoints/         mode 0700, deleted when the run is done
    sites/               the sites' homes, in a simulation

What lies beside `sites/` is made of noised answers and public numbers.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from fedloom.common.artifact import Artifact
from fedloom.common.errors import ConfigError, ReleaseError
from fedloom.common.strict_json import read_json

__all__ = ["DONE", "RunFiles"]

DONE = "done"
"""State of a run that has come to its end."""


class RunFiles:
    """Reads the folder of one run; what is read is checked for its form alone."""

    def __init__(self, path: Path) -> None:
        """Names the folder; nothing is read yet."""
        self.path = Path(path)

    @property
    def plan_path(self) -> Path:
        """The plan, which stewards approve."""
        return self.path / "plan.json"

    @property
    def state_path(self) -> Path:
        """Name and state of the run."""
        return self.path / "run.json"

    @property
    def key_path(self) -> Path:
        """The key that signs requests and releases."""
        return self.path / "coordinator.key"

    @property
    def heads_path(self) -> Path:
        """What is known of the sites' ledgers: beside the key where one is shared by runs."""
        return Path(self.state().get("heads") or self.path / "heads.json")

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def generator_path(self) -> Path:
        """Folder of the generator."""
        return self.path / "generator"

    @property
    def public_path(self) -> Path:
        """The rows of the plan's public table."""
        return self.path / "public.safetensors"

    @property
    def earlier_path(self) -> Path:
        """What is kept of the earlier release that the plan names."""
        return self.path / "earlier"

    @property
    def schema_path(self) -> Path:
        """The completed schema of a study that learns one."""
        return self.path / "schema.toml"

    @property
    def metrics_path(self) -> Path:
        """One line a reported round."""
        return self.path / "metrics.jsonl"

    @property
    def evaluation_path(self) -> Path:
        """Scores on held-back units."""
        return self.path / "evaluation.json"

    def extract_path(self, site: str) -> Path:
        """A site's signed ledger extract."""
        return self.path / "extracts" / f"{site}.json"

    def exists(self) -> bool:
        """Whether the folder holds a run."""
        return self.state_path.is_file()

    def state(self) -> dict[str, Any]:
        """Reads `run.json`.

        Raises:
          ConfigError: there is none, or it cannot be read.
        """
        if not self.exists():
            remedy = "give the folder of a run"
            if (self.path / "manifest.json").is_file():
                remedy = "it is a release; open it with fedloom.Release"
            raise ConfigError(f"{self.path} holds no run: it has no run.json; {remedy}")
        return _object(self.state_path, "restore the run folder from a backup")

    def done(self) -> bool:
        """Whether the run has come to its end."""
        return bool(self.state().get("state") == DONE)

    def metrics(self) -> list[dict[str, Any]]:
        """Reads `metrics.jsonl`, whose last line is left out if a crash has cut it short.

        Raises:
          ConfigError: another line is no JSON.
        """
        text = self.metrics_path.read_text("utf-8") if self.metrics_path.exists() else ""
        lines = text.splitlines()
        values = []
        for number, line in enumerate(lines, 1):
            try:
                values.append(json.loads(line))
            except ValueError as error:
                if number == len(lines) and not text.endswith("\n"):
                    break
                raise ConfigError(
                    f"{self.metrics_path} line {number} is no JSON; remove that line"
                ) from error
        return values

    def has_extract(self, site: str) -> bool:
        """Whether the site's extract has arrived."""
        return self.extract_path(site).exists()

    def extracts(self, sites: Collection[str]) -> dict[str, dict[str, Any]]:
        """Reads the extracts that have arrived, by site.

        Raises:
          ConfigError: one cannot be read.
        """
        return {
            site: _object(self.extract_path(site), "resume the run to fetch it again")
            for site in sorted(sites)
            if self.has_extract(site)
        }

    def has_evaluation(self) -> bool:
        """Whether the held-back records were asked."""
        return self.evaluation_path.exists()

    def evaluation(self) -> dict[str, Any]:
        """Reads the scores on held-back units.

        Raises:
          ConfigError: they are not there, or cannot be read.
        """
        return _object(self.evaluation_path, "resume the run")

    def read_generator(self, *, learns_schema: bool) -> Artifact:
        """Reads the generator.

        Args:
          learns_schema: whether the plan completes a schema, and makes no generator.

        Raises:
          ConfigError: the run completed a schema, or is not done.
          ReleaseError: the generator is damaged.
        """
        if learns_schema:
            raise ConfigError(
                f"{self.path}: the run completed a schema, {self.schema_path}, and makes no "
                "records to draw or to release; run a study of another kind on that schema"
            )
        if not self.generator_path.is_dir():
            raise ConfigError(
                f"{self.path} holds no generator yet; finish the run by the command that began "
                "it, such as `fedloom simulate ... --resume`"
            )
        return Artifact.load(self.generator_path)


def _object(path: Path, remedy: str) -> dict[str, Any]:
    try:
        value = read_json(path)
    except ReleaseError as error:
        raise ConfigError(f"{path} cannot be read; {remedy}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path} holds no JSON object; {remedy}")
    return value
