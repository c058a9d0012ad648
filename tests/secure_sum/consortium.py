"""Four real vaults that have approved one study with a secure sum, asked as a coordinator would.

Three sites are enough, one may collude; a look, then three gradient rounds with one spare. A town
of 1,000 makes each sum long enough to tell the size of its noise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.stats

import fedloom
from fedloom.client.home import Home
from fedloom.client.vault import Vault
from fedloom.common.marginals import OneWayMarginals
from fedloom.common.messages import Request
from fedloom.common.models import PrivateModel, build_model
from fedloom.common.signed_heads import SignedHead
from fedloom.common.study import load_study
from fedloom.privacy.ledger import read_ledger
from fedloom.privacy.plan import Plan
from fedloom.privacy.resolve import resolve_plan
from fedloom.privacy.secure_sum import from_grid, open_sum
from tests.federation import SCHEMA, ask, make, promises, request, status, table
from tests.noise_size import has_std

__all__ = [
    "LOOK",
    "SITES",
    "STEP",
    "THREE",
    "Consortium",
    "exact_look",
    "frame",
    "near",
    "opened",
    "resolve",
    "uniform",
]

SITES = ("east", "north", "south", "west")
THREE = ("east", "north", "south")
LOOK, STEP = 1, 2
TOWNS = [f"town {number}" for number in range(1000)]
TOWN = f'[[column]]\nname = "town"\nkind = "category"\nvalues = {TOWNS}\n'


def resolve(folder: Path, homes: dict[str, Home], swapped: tuple[str, ...] = ()) -> Plan:
    """Resolves the study; the exchange keys of two sites may be swapped."""
    keys = {name: (home.public_key(), home.exchange_public_key()) for name, home in homes.items()}
    if swapped:
        one, two = swapped
        keys[one], keys[two] = (keys[one][0], keys[two][1]), (keys[two][0], keys[one][1])
    # A share that gives the look other noise than a gradient: one cannot stand in for the other.
    more = "spare_rounds = 1\n[statistics]\nshare = 0.4\n"
    federation = make(folder, "gradients", sites=SITES, keys=keys, more=more, trust="secure-sum")
    (folder / "schema.toml").write_text(f"{TOWN}\n{SCHEMA}")
    return resolve_plan(*load_study(federation.study), version=fedloom.__version__)


def frame(site: str) -> pd.DataFrame:
    """A site's records."""
    rows = table(100, seed=SITES.index(site))
    return rows.assign(town=[TOWNS[7 * number % 1000] for number in range(len(rows))])


class Consortium:
    """The vaults of one test, and the plan that they approved."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.plan = plan
        self.homes = {name: Home.open(folder / name) for name in SITES}
        self.memory = folder / "memory"
        self.memory.mkdir(mode=0o700, exist_ok=True)
        self.vaults = {name: self.open(name) for name in SITES}

    def open(self, site: str) -> Vault:
        """A vault that finds what the one before it had in memory."""
        return Vault(self.homes[site], memory=self.memory)

    def close(self) -> None:
        for vault in self.vaults.values():
            vault.close()

    def request(self, round_number: int, **changes) -> Request:
        """What an honest coordinator would ask of all, with `changes`."""
        query, arrays = "statistic", {}
        if round_number >= STEP:
            query, arrays = "gradient", self.weights(0.01)
        made = request(self.plan, query, round_number, **{"arrays": arrays, **changes})
        if "heads" in changes:
            return made
        heads = promises(made, {name: self.vaults[name] for name in made.roster if name in SITES})
        return dataclasses.replace(made, heads=heads, links=self.links(heads))

    def links(self, heads: Mapping[str, SignedHead]) -> dict[str, tuple[str, ...]]:
        """All links of all ledgers, up to each head."""
        found = {}
        for site, head in heads.items():
            entries = read_ledger(self.homes[site].path).entries[1 : head.seq + 1]
            found[site] = tuple(entry.body_sha256 for entry in entries)
        return found

    def model(self) -> PrivateModel:
        return build_model(self.plan.model, self.plan.encoding)

    def weights(self, value: float) -> dict[str, np.ndarray]:
        shapes = self.model().request_shapes()
        return {name: np.full(shape, value, np.float32) for name, shape in shapes.items()}

    def status(self, site: str, asked: Request) -> str:
        return status(self.vaults[site], asked)

    def answer(self, site: str, asked: Request) -> np.ndarray:
        """Returns a site's part of the sum, as it leaves the vault."""
        answer = ask(self.vaults[site], asked)
        assert answer is not None and answer.ok, answer
        assert list(answer.arrays) == ["sum"] and answer.arrays["sum"].dtype == np.int64
        return answer.arrays["sum"]

    def answers(self, asked: Request, sites: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
        return {site: self.answer(site, asked) for site in sites or asked.roster}

    def kinds(self, site: str) -> list[str]:
        return [entry.read().kind for entry in read_ledger(self.homes[site].path).entries]

    def charged(self) -> list[int]:
        """Numbers of answers that the ledgers hold, by site."""
        return [self.kinds(site).count("commit") for site in SITES]

    def restart(self, site: str) -> None:
        self.vaults[site].close()
        self.vaults[site] = self.open(site)


def opened(shares: dict[str, np.ndarray], asked: Request) -> np.ndarray:
    """Opens the sum of a roster as the coordinator does."""
    return from_grid(open_sum(shares, roster=asked.roster), asked.params["grid_step"])


def exact_look(plan: Plan, sites: tuple[str, ...] = SITES) -> np.ndarray:
    """What the sites' tables sum up to, computed once more."""
    encoding = plan.encoding
    codes = [encoding.encode(frame(site)).codes for site in sites]
    measured = OneWayMarginals(encoding)
    return sum(measured.sum(encoding.feature_codes(c), encoding.classes(c)) for c in codes)


def near(asked: Request, values: np.ndarray, exact: np.ndarray) -> bool:
    """Whether `values` are `exact` with the noise of a look over the roster, one site colluding.

    Chi-square on 3,000 cells and more (`tests.noise_size`): an honest sum fails once in 10^9
    runs; two thirds, a half or four thirds of the variance pass less than once in 10^6.
    """
    assert exact.size >= 3000
    honest = len(asked.roster) - 1
    std = asked.params["noise_multiplier"] * asked.params["l2_norm"]
    return has_std(values - exact, std * np.sqrt(len(asked.roster) / honest))


def uniform(total: np.ndarray) -> bool:
    """Whether words are uniform: chi-square on the top four bits, false alarm 10^-6."""
    top = (total.view(np.uint64) >> np.uint64(60)).astype(np.int64)
    return bool(scipy.stats.chisquare(np.bincount(top, minlength=16)).pvalue > 1e-6)
