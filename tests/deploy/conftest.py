from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fedloom.privacy.keys import generate_key, public_key_hex

TOY = Path(__file__).parent / "toy"


@dataclass(frozen=True)
class Toy:
    """A federation whose vaults sign what they are asked and whose coordinator only counts."""

    folder: Path
    sites: tuple[str, ...]

    @property
    def run_dir(self) -> Path:
        return self.folder / "run"

    @property
    def site_command(self) -> list[str]:
        return [sys.executable, str(TOY / "site_program.py")]

    def home(self, site: str) -> Path:
        return self.folder / "sites" / site

    def asked(self, site: str) -> list[str]:
        log = self.home(site) / "asked.log"
        return log.read_text().split() if log.exists() else []

    def processes(self) -> dict[str, int]:
        return json.loads((self.run_dir / "run.json").read_text())["processes"]


@pytest.fixture
def make_toy(tmp_path, monkeypatch) -> Iterator[object]:
    def make(*, sites: int = 2, messages: int = 3, quorum: int = 2, timeout_s: float = 60) -> Toy:
        toy = Toy(tmp_path, tuple(f"site{number}" for number in range(sites)))
        keys = {}
        for site in toy.sites:
            toy.home(site).mkdir(parents=True)
            keys[site] = public_key_hex(generate_key(toy.home(site) / "key.pem"))
            (toy.home(site) / "records.csv").write_text("age\n93\n")
        (tmp_path / "shims").mkdir()
        toy.run_dir.mkdir()
        homes = {site: str(toy.home(site)) for site in toy.sites}
        run = {"state": "prepared", "homes": homes, "sites": {}}
        (toy.run_dir / "run.json").write_text(json.dumps(run))
        settings = {"keys": keys, "messages": messages, "quorum": quorum, "timeout_s": timeout_s}
        (tmp_path / "toy.json").write_text(json.dumps(settings))
        monkeypatch.setenv("FEDLOOM_TOY", str(tmp_path / "toy.json"))
        monkeypatch.setenv("PYTHONPATH", str(TOY))
        return toy

    yield make
