"""A finished run, made without running one: real plan, ledger entries, noise and generator."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import fedloom
from fedloom.common.schema import Schema
from fedloom.common.scores import EvaluationQueries
from fedloom.common.study import parse_study
from fedloom.privacy.keys import generate_key, load_private_key, public_key_hex, save_key
from fedloom.privacy.ledger import Ledger
from fedloom.privacy.plan import Plan
from fedloom.privacy.release import build_release
from fedloom.privacy.resolve import assemble, drafts_of
from fedloom.server.evaluation import evaluation_result
from tests.federation import COORDINATOR
from tests.given import given
from tests.known_genesis import DELTA, EPSILON, known_genesis
from tests.made_answers import (
    MadeAnswers,
    make_answers,
    make_evaluation,
    make_generator,
    make_statistics,
)

SITES = ("north", "south")
MORE_SITES = ("east", "north", "south", "west")
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
    privacy: dict[str, Any] | None = None,
    statistics: dict[str, Any] | None = None,
    evaluation: dict[str, Any] | None = None,
    learned: Sequence[dict[str, Any]] = (),
) -> Plan:
    """Fills in and prices a plan like any other, at noise that needs no search."""
    origins = {"learned": list(learned)} if learned else {}
    schema = Schema.from_dict({"column": columns or COLUMNS, **origins})
    given = {"exchange": "weights", **(training or {})} if kind != "mixture" else {}
    noise = {
        "one-way": 8.0,
        "pairwise": 2.5,
        "training": given.pop("noise_multiplier", 2.0),
        "evaluation": 12.0,
    }
    agreed = {"epsilon": 3.0, "delta": 1e-5, "trust": "per-site", **(privacy or {})}
    min_sites = 1 if agreed["trust"] == "per-site" else max(3, agreed["colluding"] + 2)
    raw: dict[str, Any] = {
        "study": {"name": "toy", "schema": "schema.toml", "target": "visited"},
        "privacy": agreed,
        "model": {"kind": kind},
        "statistics": statistics or {},
        "training": given,
        "coordination": {"min_sites": min_sites},
        "evaluation": evaluation or {},
        "release": release or {},
        "coordinator": {"key": public_key_hex(COORDINATOR)},
        "site": [
            {"name": name, "key": key, "exchange-key": hashlib.sha256(key.encode()).hexdigest()}
            for name, key in keys.items()
        ],
    }
    study = parse_study(raw, schema)
    phases = [draft.at(noise[draft.name]) for draft in drafts_of(study, schema)]
    return assemble(study, schema, phases, version=fedloom.__version__)


def make_secure_plan(keys: dict[str, str], **options: Any) -> Plan:
    """A plan of a mixture by a secure sum, with spare rounds and units held back."""
    privacy = {"epsilon": 6.0, "trust": "secure-sum", "colluding": 1, **options.pop("privacy", {})}
    settings = {
        "statistics": {"spare_rounds": 1},
        "evaluation": {"share": 0.1, "hold_back": 0.2},
        **options,
    }
    return make_plan(keys, privacy=privacy, **settings)


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
    attempts: Mapping[int, Mapping[int, str]] | None = None,
    rosters: Mapping[str, Sequence[str]] | None = None,
    unit: tuple[str, str | None] | None = None,
    answers: MadeAnswers | None = None,
) -> dict[str, Any]:
    """Returns the signed extract of a site that answered the first `rounds` rounds of each run.

    The ledger stays in `home`, if one is given. `attempts` says, for a round, which attempts the
    site answered, each with its request's digest; by default the first alone. `rosters`
    says whom a request asked, by its digest; by default every site. `unit` is what the
    site approved the plan for, if that is another unit than the plan's. `answers` are what it
    answered to which requests; by default noise to the request "bb...".
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
                attempts=attempts,
                rosters=rosters,
                unit=unit,
                answers=answers,
            )
    with (
        known_genesis(),
        Ledger.create(
            home,
            private_key=key,
            site=site,
            epsilon_limit=EPSILON,
            delta_limit=DELTA,
            rehearsal=rehearsal,
            insecure_noise=insecure,
        ) as ledger,
    ):
        digest, everyone = plan.digest(), sorted(entry.name for entry in plan.sites)
        ledger.approve(
            study=plan.study_digest,
            plan=digest,
            name=plan.name,
            event=plan.event(),
            unit=unit[0] if unit else plan.privacy.unit,
            id=unit[1] if unit else plan.privacy.id,
            coordinator=plan.coordinator_key or "",
            runs=len(runs),
            learned=[origin.plan for origin in plan.schema.learned],
            snapshot_commitment="a" * 64,
            summary={},
        )
        for run in runs:
            ledger.reserve(plan=digest, run=run, event=plan.event())
            for asked in plan.rounds[:rounds]:
                arrays, usual = given(b"noise"), "b" * 64
                if answers is not None:
                    arrays = answers.parts[asked.round][site].arrays
                    usual = answers.requests[asked.round].digest()
                requests = (attempts or {}).get(asked.round, {1: usual})
                asked_of = {
                    number: list((rosters or {}).get(request, everyone))
                    for number, request in requests.items()
                }
                for number, request in requests.items():
                    attempt = {"plan": digest, "run": run, "round": asked.round, "attempt": number}
                    ledger.open_attempt(
                        **attempt,
                        query=asked.query,
                        roster=asked_of[number],
                        void=[asked_of.get(earlier, everyone) for earlier in range(1, number)],
                        request_digest=request,
                        event=asked.event,
                    )
                    ledger.commit(**attempt, arrays=arrays)
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


def make_run_answers(plan: Plan, keys: dict[str, Ed25519PrivateKey]) -> MadeAnswers:
    """Returns what the sites of `write_run` answered; the same at every call."""
    return make_answers(
        plan,
        keys,
        make_rows(2000, insecure_seed=1),
        make_rows(500, insecure_seed=4),
        make_generator,
        run=RUN,
        insecure_seed=2,
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
    answers = make_run_answers(plan, keys)
    answers.save(folder, plan)
    assert answers.generator is not None
    answers.generator.save(folder / "generator")
    if plan.evaluation is not None:
        asked = answers.opened[plan.rounds[-1].round]
        record = evaluation_result(
            answers.generator,
            EvaluationQueries(plan.encoding),
            asked.request_arrays,
            asked.values(),
            asked.stds,
            hold_back=plan.evaluation.hold_back,
            seed=3,
        )
        (folder / "evaluation.json").write_text(json.dumps(record), encoding="utf-8")
    (folder / "extracts").mkdir()
    for name, key in keys.items():
        text = json.dumps(extract(key, plan, name, answers=answers))
        (folder / "extracts" / f"{name}.json").write_text(text, encoding="utf-8")
    save_key(folder / "coordinator.key", COORDINATOR)
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
        MORE_SITES=MORE_SITES,
        make_plan=make_plan,
        make_secure_plan=make_secure_plan,
        make_extract=make_extract,
        make_rows=make_rows,
        make_statistics=make_statistics,
        make_evaluation=make_evaluation,
        make_generator=make_generator,
        make_run_answers=make_run_answers,
        write_run=write_run,
    )


@pytest.fixture(scope="session")
def _built(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """One run with its homes and its release, made once."""
    folder = tmp_path_factory.mktemp("built")
    keys = {name: generate_key(folder / f"{name}.pem") for name in SITES}
    plan = make_plan({name: public_key_hex(key) for name, key in keys.items()})

    def extract(
        key: Ed25519PrivateKey, plan: Plan, site: str, *, answers: MadeAnswers
    ) -> dict[str, Any]:
        return make_extract(key, plan, site, home=folder / "homes" / site, answers=answers)

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
