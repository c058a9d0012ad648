"""The coordinator's run folder: what a run keeps, and how a reader finds it.

    plan.json            the plan
    run.json             name and state of the run, sites, attempts, versions
    heads.json           how far the sites' ledgers have come, unless the key has such a file
    metrics.jsonl        one line a reported round, post-processing only
    tensorboard/         the same as TensorBoard events
    answers/             opened sums, and each site's signed part, mode 0600 (`kept_answers`)
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
import time
from pathlib import Path
from typing import Any

from fedloom.common.artifact import Artifact
from fedloom.common.errors import ConfigError
from fedloom.common.files import replacing, write_whole
from fedloom.common.vocabulary import Stage
from fedloom.privacy.answers.opened import OpenedRound, answer_path
from fedloom.privacy.answers.opened_marginals import opened_statistics
from fedloom.privacy.keys import (
    PrivateKey,
    generate_key,
    load_private_key,
    public_key_hex,
    save_key,
)
from fedloom.privacy.plan import Plan

__all__ = ["RunFolder"]

_DONE = "done"


class RunFolder:
    """Paths and small files of one run."""

    def __init__(self, path: Path) -> None:
        """Names the folder; nothing is read yet."""
        self.path = Path(path)

    @classmethod
    def create(
        cls,
        path: Path,
        plan: Plan,
        *,
        run: str,
        details: dict[str, Any],
        key: PrivateKey | None = None,
    ) -> RunFolder:
        """Makes a run folder.

        Args:
          path: the folder.
          plan: the plan; it names the public half of the key.
          run: the run's name at the sites.
          details: joins `run.json`.
          key: signs requests and the release; None for the key that lies in the folder already.

        Raises:
          ConfigError: the folder holds a run already, or the plan names another key.
        """
        folder = cls(path)
        if folder.exists():
            raise ConfigError(
                f"{path} holds a run already; resume it with --resume or choose another --out"
            )
        public = folder.take_key(key)
        if public != plan.coordinator_key:
            raise ConfigError(
                f"the plan names the coordinator's key {plan.coordinator_key}, {folder.key_path} "
                f"holds {public}; run the plan with the key that it names"
            )
        plan.save(folder.plan_path)
        folder.write_state(
            {
                "run": run,
                "state": "prepared",
                "plan": plan.digest(),
                "study": plan.study_digest,
                "name": plan.name,
                "started": _now(),
                "finished": None,
                "sites": {site.name: {} for site in plan.sites},
                **details,
            }
        )
        return folder

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Returns an existing run folder.

        Raises:
          ConfigError: the folder holds no run.
        """
        folder = cls(path)
        if not folder.exists():
            remedy = "give the folder of a run"
            if (path / "manifest.json").is_file():
                remedy = "it is a release; open it with fedloom.Release"
            raise ConfigError(f"{path} holds no run: it has no run.json; {remedy}")
        return folder

    def exists(self) -> bool:
        """Whether the folder holds a run."""
        return (self.path / "run.json").exists()

    @property
    def plan_path(self) -> Path:
        """The plan, which stewards approve."""
        return self.path / "plan.json"

    @property
    def key_path(self) -> Path:
        """The key that signs releases."""
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

    def take_key(self, key: PrivateKey | None = None) -> str:
        """Puts the coordinator's key into the folder, which is made if it is missing.

        Args:
          key: the key; None makes one, unless the folder has one.

        Returns:
          Its public half, 64 hexadecimal digits.

        Raises:
          ConfigError: the folder has another key.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        # Statistics and metrics tell more than a release does.
        self.path.chmod(0o700)
        if key is None and not self.key_path.exists():
            key = generate_key(self.key_path)
        elif key is not None and not self.key_path.exists():
            save_key(self.key_path, key)
        held = public_key_hex(self.key())
        if key is not None and public_key_hex(key) != held:
            raise ConfigError(
                f"{self.key_path} holds another key than the one given; use that one, or choose "
                "another --out"
            )
        return held

    def key(self) -> PrivateKey:
        """Reads the key that signs requests and the release."""
        return load_private_key(self.key_path)

    def plan(self) -> Plan:
        """Reads the plan."""
        return Plan.load(self.plan_path)

    def state(self) -> dict[str, Any]:
        """Reads `run.json`.

        Raises:
          ConfigError: it cannot be read.
        """
        try:
            state: dict[str, Any] = json.loads((self.path / "run.json").read_text("utf-8"))
            return state
        except (OSError, json.JSONDecodeError) as error:
            raise ConfigError(f"{self.path}: run.json cannot be read") from error

    def write_state(self, state: dict[str, Any]) -> None:
        """Replaces `run.json`, whole or not at all."""
        write_whole(self.path / "run.json", json.dumps(state, indent=2, sort_keys=True) + "\n")

    def update_state(self, **changes: Any) -> None:
        """Changes some keys of `run.json`."""
        self.write_state({**self.state(), **changes})

    def keep_versions(self, versions: dict[str, Any]) -> None:
        """Notes which software each site says it runs."""
        self._update_sites("versions", versions)

    def keep_runs(self, runs: dict[str, int]) -> None:
        """Notes how many runs of the plan each site has answered, or may under an approval."""
        self._update_sites("runs", runs)

    def priced_runs(self) -> int:
        """Returns how many runs of the plan are priced together: at the site with most of them."""
        return max([1, *(int(site.get("runs", 1)) for site in self.state()["sites"].values())])

    def _update_sites(self, key: str, values: dict[str, Any]) -> None:
        state = self.state()
        for site, value in values.items():
            state["sites"].setdefault(site, {})[key] = value
        self.write_state(state)

    def done(self) -> bool:
        """Whether the run has come to its end."""
        return bool(self.state()["state"] == _DONE)

    def mark_done(self) -> None:
        """Notes the end of the run."""
        self.update_state(state=_DONE, finished=_now())

    def append_metrics(self, values: dict[str, Any]) -> None:
        """Appends one line to `metrics.jsonl`."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(values, sort_keys=True) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """Reads `metrics.jsonl`; a line that a crash cut short is left out."""
        path = self.path / "metrics.jsonl"
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        values = []
        for line in lines:
            try:
                values.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return values

    def keep_metrics_until(self, round_number: int) -> None:
        """Drops lines of rounds that a resumed run will report again."""
        kept = [line for line in self.metrics() if line["round"] <= round_number]
        text = "".join(json.dumps(line, sort_keys=True) + "\n" for line in kept)
        write_whole(self.path / "metrics.jsonl", text)

    def save_extract(self, site: str, public_key: str, entries: list[dict[str, Any]]) -> None:
        """Keeps a site's signed ledger extract."""
        (self.path / "extracts").mkdir(exist_ok=True)
        text = json.dumps({"public_key": public_key, "entries": entries}, sort_keys=True)
        write_whole(self.path / f"extracts/{site}.json", text + "\n")

    def has_extract(self, site: str) -> bool:
        """Whether the site's extract has arrived."""
        return (self.path / "extracts" / f"{site}.json").exists()

    def statistics(self) -> Any:
        """Returns the noisy statistics, from the sums that were opened so far.

        They are what the plan's kind of model makes of them; see
        `fedloom.privacy.answers.opened_marginals`.

        Raises:
          ReleaseError: there is none yet, or one cannot be read.
        """
        plan = self.plan()
        paths = [
            self.path / answer_path(asked.round)
            for asked in plan.rounds
            if asked.phase.stage is Stage.STATISTICS
        ]
        there = [path for path in paths if path == paths[0] or path.exists()]
        return opened_statistics(plan, [OpenedRound.load(path) for path in there])

    def save_evaluation(self, record: dict[str, Any]) -> None:
        """Keeps what the held-back records said."""
        write_whole(
            self.path / "evaluation.json", json.dumps(record, indent=2, sort_keys=True) + "\n"
        )

    def has_evaluation(self) -> bool:
        """Whether the held-back records were asked."""
        return (self.path / "evaluation.json").exists()

    def save_generator(self, artifact: Artifact) -> None:
        """Keeps the generator, whole or not at all."""
        with replacing(self.generator_path) as partial:
            artifact.save(partial)

    def generator(self) -> Artifact:
        """Reads the generator.

        Raises:
          ConfigError: the run is not done.
        """
        if self.plan().learns_schema:
            raise ConfigError(
                f"{self.path}: the run completed a schema, {self.path / 'schema.toml'}, and draws "
                "no records; run a study of another kind on that schema"
            )
        if not self.generator_path.exists():
            raise ConfigError(
                f"{self.path}: the run has no generator yet; finish it with "
                "`fedloom simulate ... --resume`"
            )
        return Artifact.load(self.generator_path)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
