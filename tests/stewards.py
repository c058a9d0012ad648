"""Homes of stewards, made and used through the command line alone."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedloom.privacy.ledger import read_ledger
from tests.federation import Federation, Outcome, cli, make, table


@dataclass(frozen=True, kw_only=True)
class Stewards:
    """Homes of the sites of one study, none of them a rehearsal's."""

    homes: dict[str, Path]
    federation: Federation

    @property
    def words(self) -> list[str]:
        """The options --home of all sites."""
        return [word for name, home in self.homes.items() for word in ("--home", f"{name}={home}")]

    def approve(self, *more: str, sites: tuple[str, ...] | None = None) -> None:
        """Has the stewards approve the study."""
        for name in sites or tuple(self.homes):
            words = ("--home", self.homes[name], "--yes", *more)
            done = cli("site", "approve", self.federation.study, *words)
            assert done.code == 0, done.err

    def simulate(self, out: Path, *more: str) -> Outcome:
        """Runs the study in the stewards' homes."""
        return self.federation.simulate(out, *self.words, *more, sites=False)

    def kinds(self, site: str) -> list[str]:
        """The kinds of all entries of a site's ledger."""
        return [entry.read().kind for entry in read_ledger(self.homes[site]).entries]

    def budget(self, site: str) -> dict[str, Any]:
        """What `budget show` says of a site."""
        shown: dict[str, Any] = cli("budget", "show", self.homes[site], "--json").json
        return shown

    def everything(self) -> dict[str, list[str]]:
        """The kinds of all entries of all ledgers."""
        return {site: self.kinds(site) for site in self.homes}


def init(
    folder: Path, name: str, *, rows: int = 100, epsilon: float = 8.0, delta: str = "1e-3"
) -> Path:
    """Makes a home with a table of made-up people."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / f"{name}-records.csv"
    table(rows).to_csv(data, index=False)
    home = folder / name
    limits = ("--epsilon", epsilon, "--delta", delta)
    done = cli("site", "init", "--home", home, "--name", name, *limits, "--data", data)
    assert done.code == 0, done.err
    return home


def keys_of(home: Path) -> tuple[str, str]:
    """A site's signing key and exchange key, as `keygen` prints them."""
    keys = tomllib.loads(cli("site", "keygen", "--home", home).out)
    return keys["key"], keys["exchange-key"]


def stewards(
    folder: Path,
    model: str = "mixture",
    *,
    sites: tuple[str, ...] = ("north", "south"),
    limit: float = 8.0,
    epsilon: float = 1.0,
    trust: str = "per-site",
) -> Stewards:
    """Makes homes with a lifetime limit, and a study of that epsilon between them."""
    homes = {name: init(folder / "homes", name, epsilon=limit) for name in sites}
    keys = {name: keys_of(home) for name, home in homes.items()}
    study = make(folder / "study", model, sites=sites, keys=keys, epsilon=epsilon, trust=trust)
    return Stewards(homes=homes, federation=study)
