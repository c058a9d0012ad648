"""The coordinator's run folder: what a run writes into it (`fedloom.common.run_files`)."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from fedloom.common.artifact import Artifact
from fedloom.common.errors import ConfigError
from fedloom.common.files import replacing, write_whole
from fedloom.common.marginals import NoisyMarginals
from fedloom.common.public_counts import PublicRecords
from fedloom.common.run_files import DONE, RunFiles
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
from fedloom.privacy.release.earlier import keep_earlier, load_earlier

__all__ = ["RunFolder"]


class RunFolder(RunFiles):
    """A run's folder, to be written."""

    @classmethod
    def create(
        cls,
        path: Path,
        plan: Plan,
        *,
        run: str,
        details: dict[str, Any],
        key: PrivateKey | None = None,
        public: PublicRecords | None = None,
        earlier: Path | None = None,
    ) -> RunFolder:
        """Makes a run folder.

        Args:
          path: the folder.
          plan: the plan; it names the public half of the key.
          run: the run's name at the sites.
          details: joins `run.json`.
          key: signs requests and the release; None for the key that lies in the folder already.
          public: rows of the public table that the plan names, or None.
          earlier: the earlier release that it names, checked, or None.

        Raises:
          ConfigError: the folder holds a run already, or the plan names another key.
        """
        folder = cls(path)
        if folder.exists():
            raise ConfigError(
                f"{path} holds a run already; resume it with --resume or choose another --out"
            )
        held = folder.take_key(key)
        if held != plan.coordinator_key:
            raise ConfigError(
                f"the plan names the coordinator's key {plan.coordinator_key}, {folder.key_path} "
                f"holds {held}; run the plan with the key that it names"
            )
        plan.save(folder.plan_path)
        if public is not None:
            public.save(folder.public_path)
        if earlier is not None:
            keep_earlier(earlier, folder.earlier_path)
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
        folder.state()
        return folder

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

    def public_prior(self) -> PublicRecords | NoisyMarginals | None:
        """Reads what the fit begins with beside the answers.

        Returns:
          Rows of a public table, an earlier release's answers about the same records, or None.
        """
        public = self.plan().public
        if public is None:
            return None
        if public.same_records:
            return load_earlier(self.earlier_path, public).statistics
        return PublicRecords.load(self.public_path)

    def write_state(self, state: dict[str, Any]) -> None:
        """Replaces `run.json`, whole or not at all."""
        write_whole(self.state_path, json.dumps(state, indent=2, sort_keys=True) + "\n")

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

    def mark_done(self) -> None:
        """Notes the end of the run."""
        self.update_state(state=DONE, finished=_now())

    def append_metrics(self, values: dict[str, Any]) -> None:
        """Appends one line to `metrics.jsonl`."""
        with self.metrics_path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(values, sort_keys=True) + "\n")

    def keep_metrics_until(self, round_number: int) -> None:
        """Drops lines of rounds that a resumed run will report again."""
        kept = [line for line in self.metrics() if line["round"] <= round_number]
        text = "".join(json.dumps(line, sort_keys=True) + "\n" for line in kept)
        write_whole(self.metrics_path, text)

    def save_extract(self, site: str, public_key: str, entries: list[dict[str, Any]]) -> None:
        """Keeps a site's signed ledger extract."""
        self.extract_path(site).parent.mkdir(exist_ok=True)
        text = json.dumps({"public_key": public_key, "entries": entries}, sort_keys=True)
        write_whole(self.extract_path(site), text + "\n")

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

    def generator(self) -> Artifact:
        """Reads the generator; see `read_generator`."""
        return self.read_generator(learns_schema=self.plan().learns_schema)

    def save_generator(self, artifact: Artifact) -> None:
        """Keeps the generator, whole or not at all."""
        with replacing(self.generator_path) as partial:
            artifact.save(partial)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
