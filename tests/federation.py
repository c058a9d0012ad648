"""A federation small enough for every test: two sites, three columns, a cheap study.

The tables are made up. Studies are cheap because all records take part in every step, so that
their price has a closed form, and because their models are tiny; nothing is tuned to look good.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import fedloom
from fedloom.cli.main import main
from fedloom.client.approval import approve
from fedloom.client.home import Home
from fedloom.client.link import Handler
from fedloom.common.messages import Answer, Request
from fedloom.common.signed_heads import SignedHead
from fedloom.common.study import load_study
from fedloom.common.vocabulary import Query, Status
from fedloom.privacy.keys import PrivateKey, public_key_hex, save_key, sign
from fedloom.privacy.ledger import Ledger
from fedloom.privacy.plan import Plan
from fedloom.privacy.resolve import resolve_plan
from tests.advice import unknown_advice

SITES = ("north", "south")
# The coordinator of every plan that is resolved between homes.
COORDINATOR = Ed25519PrivateKey.from_private_bytes(b"coordinator of the tests, no one")
RUN = "00ff00ff00ff00ff"
SCHEMA = """
[[column]]
name = "age"
kind = "integer"
min = 0
max = 9
nullable = true

[[column]]
name = "sex"
kind = "category"
values = ["female", "male"]

[[column]]
name = "visited"
kind = "category"
values = ["no", "yes"]
"""
MODELS = {
    "tree": '[model]\nkind = "tree"\n',
    "mixture": '[model]\nkind = "mixture"\ncomponents = 8\n',
    "weights": '[model]\nkind = "vae"\nhidden = 8\nlatent = 2\n[training]\nexchange = "weights"\n'
    'engine = "fused"\nnum_rounds = 2\nlocal_steps = 2\nsample_rate = 1.0\n',
    "gradients": '[model]\nkind = "vae"\nhidden = 8\nlatent = 2\n[training]\n'
    'exchange = "gradients"\nnum_rounds = 3\nsample_rate = 1.0\n',
    "gan": '[model]\nkind = "gan"\nhidden = 8\nlatent = 2\ncritic_hidden = 8\n[training]\n'
    'engine = "fused"\nnum_rounds = 1\nlocal_steps = 2\ngenerator_steps = 2\nsample_rate = 1.0\n',
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def cli(*words: str | Path) -> Outcome:
    """Runs a command in this process; if it fails, it may only advise options that it has."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    if code:
        assert unknown_advice(err.getvalue(), [str(word) for word in words]) == []
    return Outcome(code=code, out=out.getvalue(), err=err.getvalue())


def table(rows: int, *, seed: int = 1) -> pd.DataFrame:
    """Returns made-up people who fit the schema; the older visit more often."""
    rng = np.random.default_rng(seed)
    age = rng.integers(0, 10, rows)
    return pd.DataFrame(
        {
            "age": pd.array(np.where(rng.random(rows) < 0.1, None, age), dtype="Int64"),
            "sex": rng.choice(["female", "male"], rows),
            "visited": np.where(age + rng.normal(0, 2, rows) > 4, "yes", "no"),
        }
    )


@dataclass(frozen=True, kw_only=True)
class Federation:
    """Files of one study in a folder."""

    folder: Path
    study: Path
    sites: tuple[str, ...]

    def data(self, site: str) -> Path:
        return self.folder / f"{site}.csv"

    @property
    def coordinator_key(self) -> Path:
        """The key file that the study names; there if the study names all keys."""
        return self.folder / "coordinator.key"

    def pairs(self) -> list[str]:
        """The options --site of all sites."""
        return [word for name in self.sites for word in ("--site", f"{name}={self.data(name)}")]

    def simulate(self, out: Path, *more: str | Path, sites: bool = True) -> Outcome:
        named = self.coordinator_key.exists()
        key = ["--coordinator-key", self.coordinator_key] if named else []
        pairs = self.pairs() if sites else []
        return cli("simulate", self.study, *pairs, "--out", out, *key, *more)

    def edit(self, old: str, new: str) -> None:
        text = self.study.read_text()
        assert old in text
        self.study.write_text(text.replace(old, new))


def make(
    folder: Path,
    model: str = "mixture",
    *,
    sites: tuple[str, ...] = SITES,
    rows: int = 200,
    epsilon: float = 8.0,
    keys: dict[str, tuple[str, str]] | None = None,
    more: str = "",
    trust: str = "per-site",
) -> Federation:
    """Writes schema, study and tables."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "schema.toml").write_text(SCHEMA)
    entries = [f'[[site]]\nname = "{name}"\n' for name in sites]
    if keys is not None:
        entries = [
            f'{entry}key = "{keys[name][0]}"\nexchange-key = "{keys[name][1]}"\n'
            for entry, name in zip(entries, sites, strict=True)
        ]
        entries.append(f'[coordinator]\nkey = "{public_key_hex(COORDINATOR)}"\n')
        if not (folder / "coordinator.key").exists():
            save_key(folder / "coordinator.key", COORDINATOR)
    head = '[study]\nname = "tiny"\nschema = "schema.toml"\ntarget = "visited"\n'
    budget = f'[privacy]\nepsilon = {epsilon}\ndelta = 1e-3\ntrust = "{trust}"\n'
    text = "\n".join([head, budget, MODELS[model] + more, *entries])
    (folder / "study.toml").write_text(text)
    for number, name in enumerate(sites):
        table(rows + number, seed=number).to_csv(folder / f"{name}.csv", index=False)
    return Federation(folder=folder, study=folder / "study.toml", sites=sites)


def make_home(path: Path, site: str = "north", *, insecure: bool = False) -> Home:
    """Makes a home whose ledger is not a rehearsal; limit epsilon 8."""
    home = Home.create(path)
    Ledger.create(
        path,
        private_key=home.private_key(),
        site=site,
        epsilon_limit=8.0,
        delta_limit=1e-3,
        insecure_noise=insecure,
    ).close()
    return home


def make_plan(
    folder: Path,
    homes: dict[str, Home],
    model: str = "mixture",
    more: str = "",
    trust: str = "per-site",
) -> Plan:
    """Resolves a study between homes."""
    keys = {name: (home.public_key(), home.exchange_public_key()) for name, home in homes.items()}
    federation = make(folder, model, sites=tuple(homes), keys=keys, more=more, trust=trust)
    return resolve_plan(*load_study(federation.study), version=fedloom.__version__)


def approve_at(home: Home, plan: Plan, frame: pd.DataFrame, *, clamp: bool = False) -> None:
    """Does what a steward does."""
    with Ledger.open(home.path, home.private_key()) as ledger:
        approve(home, ledger, plan, frame, policy=None, clamp=clamp)


def request(
    plan: Plan,
    query: str = "prepare",
    round_number: int = 0,
    /,
    *,
    attempt: int = 1,
    **changes: Any,
) -> Request:
    """Returns the request that an honest coordinator would send, with `changes`.

    Later attempts say that all sites were asked before, unless `void` says otherwise.
    """
    params = plan.rounds[round_number - 1].params if round_number else {}
    everyone = tuple(sorted(site.name for site in plan.sites))
    values: dict[str, Any] = {
        "query": Query(query),
        "study": plan.study_digest,
        "plan": plan.digest(),
        "run": RUN,
        "round": round_number,
        "params": params,
        "roster": everyone,
        "void": (everyone,) * (attempt - 1),
        "masked": bool(round_number) and plan.colluding is not None,
        "nonce": "n",
    }
    return Request(**{**values, **changes})


def signed(asked: Request, key: PrivateKey = COORDINATOR) -> bytes:
    """Returns the message that the holder of a coordinator's key would send."""
    signature = sign(key, asked.signed_bytes())
    return dataclasses.replace(asked, signature=signature).pack()


def send(vault: Handler, asked: Request, key: PrivateKey = COORDINATOR) -> bytes:
    """Returns the bytes of a vault's answer.

    A vault that has not promised this answer is prepared first, and asked again, as a coordinator
    does. In a secure sum the request must name all promises: see `promises`.
    """
    data = vault.handle(signed(asked, key))
    answer = Answer.unpack(data) if data else None
    if answer is None or answer.header.status is not Status.STALE or asked.masked:
        return data
    heads = promises(asked, {answer.site: vault}, key)
    return vault.handle(signed(dataclasses.replace(asked, heads=heads), key))


def ask(vault: Handler, asked: Request, key: PrivateKey = COORDINATOR) -> Answer | None:
    """Returns a vault's answer, prepared if need be; None for silence."""
    data = send(vault, asked, key)
    return Answer.unpack(data) if data else None


def promises(
    asked: Request, vaults: Mapping[str, Handler], key: PrivateKey = COORDINATOR
) -> dict[str, SignedHead]:
    """Returns the heads with which vaults promise their next answers in the run of a request."""
    prepare = Request(
        query=Query.PREPARE,
        study=asked.study,
        plan=asked.plan,
        run=asked.run,
        roster=tuple(sorted(vaults)),
        nonce="n",
    )
    found = {}
    for name, vault in vaults.items():
        answer = Answer.unpack(vault.handle(signed(prepare, key)))
        if answer.header.promise is not None:
            found[name] = answer.header.promise
    return found


def status(vault: Handler, asked: Request, key: PrivateKey = COORDINATOR) -> str:
    """Returns the status of a vault's answer, or "silence"."""
    answer = ask(vault, asked, key)
    return "silence" if answer is None else answer.header.status.value
