"""A finished run, made without running one: real plan, ledger entries, noise and generator."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import fedloom
from fedloom.common.artifact import Artifact
from fedloom.common.schema import Schema
from fedloom.common.statistics import NoisyStatistics, statistic
from fedloom.common.study import parse_study
from fedloom.privacy.keys import generate_key, load_private_key, public_key_hex
from fedloom.privacy.ledger import Ledger
from fedloom.privacy.plan import Plan
from fedloom.privacy.release import build_release
from fedloom.privacy.resolve import assemble

SITES = ("north", "south")
RUN = "00ff00ff00ff00ff"
COLUMNS: list[dict[str, Any]] = [
    {"name": "age", "kind": "integer", "min": 0, "max": 90, "bins": 10},
    {"name": "sex", "kind": "category", "values": ["female", "male"]},
    {"name": "income", "kind": "real", "min": 0, "max": 100, "special": [0], "bins": 8},
    {"name": "seen", "kind": "datetime", "min": "2020-01-01", "max": "2020-12-31", "bins": 4},
    {"name": "town", "kind": "category", "values": ["east", "west"], "nullable": True},
    {"name": "visited", "kind": "category", "values": ["no", "yes"]},
]
VAE_TRAINING = {
    "exchange": "weights",
    "num_rounds": 3,
    "local_steps": 10,
    "sample_rate": 0.05,
    "noise_multiplier": 1.5,
    "max_grad_norm": 1.0,
}


def make_plan(
    keys: dict[str, str],
    *,
    kind: str = "mixture",
    training: dict[str, Any] | None = None,
    release: dict[str, Any] | None = None,
    columns: list[dict[str, Any]] | None = None,
) -> Plan:
    """Fills in and prices a plan like any other, at noise that needs no search."""
    schema = Schema.from_dict({"column": columns or COLUMNS})
    given = dict(training or {})
    noise = (2.0, given.pop("noise_multiplier", None))
    raw: dict[str, Any] = {
        "study": {"name": "toy", "schema": "schema.toml", "target": "visited"},
        "privacy": {"epsilon": 3.0, "delta": 1e-5},
        "model": {"kind": kind},
        "training": {**given, "min_sites": 1},
        "release": release or {},
        "site": [{"name": name, "key": key} for name, key in keys.items()],
    }
    return assemble(parse_study(raw, schema), schema, version=fedloom.__version__, noise=noise)


def make_extract(
    key: Ed25519PrivateKey,
    plan: Plan,
    site: str,
    *,
    home: Path | None = None,
    rounds: int | None = None,
    runs: tuple[str, ...] = (RUN,),
    rehearsal: bool = True,
    insecure: bool = False,
) -> dict[str, Any]:
    """Returns the signed extract of a site that answered the first `rounds` rounds of each run.

    The ledger stays in `home`, if one is given.
    """
    if home is None:
        with tempfile.TemporaryDirectory() as folder:
            return make_extract(
                key,
                plan,
                site,
                home=Path(folder) / "home",
                rounds=rounds,
                runs=runs,
                rehearsal=rehearsal,
                insecure=insecure,
            )
    with Ledger.create(
        home,
        private_key=key,
        site=site,
        epsilon_limit=6.0,
        delta_limit=1e-5,
        rehearsal=rehearsal,
        insecure_noise=insecure,
    ) as ledger:
        digest = plan.digest()
        ledger.approve(
            study=plan.study_digest,
            plan=digest,
            name=plan.name,
            event=plan.event(),
            unit=plan.body["privacy"]["unit"],
            id=plan.body["privacy"]["id"],
            snapshot_commitment="a" * 64,
            summary={},
        )
        for run in runs:
            ledger.reserve(plan=digest, run=run, event=plan.event())
            for asked in plan.rounds[:rounds]:
                attempt = {"plan": digest, "run": run, "round": asked.round, "attempt": 1}
                ledger.open_attempt(
                    **attempt, query=asked.query, request_digest="b" * 64, event=asked.event
                )
                ledger.commit(**attempt, answer=b"noise")
            ledger.finish(digest, run)
        entries = ledger.extract(digest, runs[-1])
    return {"public_key": public_key_hex(key), "entries": entries}


def make_rows(num_rows: int, *, insecure_seed: int) -> pd.DataFrame:
    """Draws a toy table whose columns depend on each other."""
    rng = np.random.default_rng(insecure_seed)
    age = rng.integers(0, 91, num_rows)
    return pd.DataFrame(
        {
            "age": age,
            "sex": rng.choice(["female", "male"], num_rows),
            "income": np.where(rng.random(num_rows) < 0.3, 0.0, rng.uniform(1, 99, num_rows)),
            "seen": pd.Timestamp("2020-01-01") + pd.to_timedelta(age * 4, unit="D"),
            "town": rng.choice(np.array(["east", "west", None], dtype=object), num_rows),
            "visited": np.where(age + rng.normal(0, 20, num_rows) > 45, "yes", "no"),
        }
    )


def make_statistics(plan: Plan, frame: pd.DataFrame, *, insecure_seed: int) -> NoisyStatistics:
    """Returns the noisy sums that the plan's sites would give for a table."""
    encoding = plan.encoding
    codes = encoding.encode(frame).codes
    measured = statistic(plan.statistics["kind"], encoding)
    exact = measured.sum(encoding.feature_codes(codes), encoding.classes(codes))
    std = plan.statistics["noise_multiplier"] * measured.l2_norm * len(plan.sites) ** 0.5
    rng = np.random.default_rng(insecure_seed)
    return NoisyStatistics(
        encoding=encoding,
        kind=measured.kind,
        vector=exact + rng.normal(0.0, std, measured.length),
        noise_std=std,
        site_totals={site.name: len(frame) / len(plan.sites) for site in plan.sites},
    )


def make_generator(statistics: NoisyStatistics) -> Artifact:
    """Returns a mixture of one component a class: the noisy one-way marginals."""
    encoding = statistics.encoding
    probabilities = np.zeros((encoding.num_classes, 1, encoding.width))
    for label in range(encoding.num_classes):
        for block, counts in zip(encoding.features, statistics.one_way(label), strict=True):
            kept = np.maximum(counts, 0.0) * np.array(block.sampleable)
            span = slice(block.start, block.start + block.size)
            probabilities[label, 0, span] = kept / max(kept.sum(), 1e-12)
    prior = statistics.class_counts() * np.array(encoding.class_sampleable)
    return Artifact(
        kind="mixture",
        config={},
        arrays={"probabilities": probabilities, "class_prior": prior / prior.sum()},
    )


def write_run(
    folder: Path,
    plan: Plan,
    keys: dict[str, Ed25519PrivateKey],
    *,
    extract: Callable[..., dict[str, Any]] = make_extract,
) -> Path:
    """Writes what a coordinator leaves when a run is done."""
    folder.mkdir()
    plan.save(folder / "plan.json")
    statistics = make_statistics(plan, make_rows(2000, insecure_seed=1), insecure_seed=2)
    statistics.save(folder / "statistics")
    make_generator(statistics).save(folder / "generator")
    (folder / "extracts").mkdir()
    for name, key in keys.items():
        text = json.dumps(extract(key, plan, name))
        (folder / "extracts" / f"{name}.json").write_text(text, encoding="utf-8")
    generate_key(folder / "coordinator.key")
    names = list(keys)
    state = {
        "run": RUN,
        "state": "done",
        "plan": plan.digest(),
        "study": plan.study_digest,
        "sites": {name: {"versions": {"fedloom": "0.1.0"}} for name in names},
    }
    (folder / "run.json").write_text(json.dumps(state), encoding="utf-8")
    lines = [
        {
            "round": number,
            "query": "statistic",
            "sites": names,
            "distance": 0.1 / number,
            "epsilon": dict.fromkeys(names, 0.5 * number),
        }
        for number in (1, 2)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def site_keys(tmp_path: Path) -> dict[str, Ed25519PrivateKey]:
    """The sites' private keys."""
    return {name: generate_key(tmp_path / f"{name}.pem") for name in SITES}


@pytest.fixture
def plan(site_keys: dict[str, Ed25519PrivateKey]) -> Plan:
    """A plan of the mixture."""
    return make_plan({name: public_key_hex(key) for name, key in site_keys.items()})


@pytest.fixture
def finished_run(tmp_path: Path, plan: Plan, site_keys: dict[str, Ed25519PrivateKey]) -> Path:
    """The folder of a finished run."""
    return write_run(tmp_path / "run", plan, site_keys)


@pytest.fixture(scope="session")
def fake() -> SimpleNamespace:
    """The builders of this file, for tests that need another run than `finished_run`."""
    return SimpleNamespace(
        RUN=RUN,
        VAE_TRAINING=VAE_TRAINING,
        COLUMNS=COLUMNS,
        make_plan=make_plan,
        make_extract=make_extract,
        make_rows=make_rows,
        make_statistics=make_statistics,
        write_run=write_run,
    )


@pytest.fixture(scope="session")
def _built(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """One run with its homes and its release, made once."""
    folder = tmp_path_factory.mktemp("built")
    keys = {name: generate_key(folder / f"{name}.pem") for name in SITES}
    plan = make_plan({name: public_key_hex(key) for name, key in keys.items()})

    def extract(key: Ed25519PrivateKey, plan: Plan, site: str) -> dict[str, Any]:
        return make_extract(key, plan, site, home=folder / "homes" / site)

    run = write_run(folder / "run", plan, keys, extract=extract)
    build_release(run, folder / "release", seed=9)
    return SimpleNamespace(folder=folder, keys=keys, plan=plan)


@pytest.fixture
def built(_built: SimpleNamespace, tmp_path: Path) -> SimpleNamespace:
    """A fresh copy of a run, its homes and its release, with the keys that signed them."""
    shutil.copytree(_built.folder, tmp_path, dirs_exist_ok=True)
    coordinator = load_private_key(tmp_path / "run" / "coordinator.key")
    return SimpleNamespace(
        run=tmp_path / "run",
        homes=tmp_path / "homes",
        release=tmp_path / "release",
        keys=_built.keys,
        plan=_built.plan,
        coordinator=coordinator,
        public_key=public_key_hex(coordinator),
    )
