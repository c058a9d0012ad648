"""Homes and plans for the pages' tests, made once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedloom.privacy.receipt import Receipt
from fedloom.server.provision.coordinator_home import CoordinatorHome
from tests.federation import cli
from tests.stewards import Stewards, stewards
from tests.web.browser import Browser, find

HOSTILE = "</p><script>document.title='taken'</script>"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stewards, Path]:
    """Homes of two stewards, and the plan of a study between them."""
    folder = tmp_path_factory.mktemp("web")
    these = stewards(folder, epsilon=1.0, limit=3.0)
    these.federation.edit('name = "tiny"', f"name = {json.dumps(HOSTILE)}")
    plan = folder / "plan.json"
    done = cli("study", "check", these.federation.study, "--out", plan)
    assert done.code == 0, done.err
    return these, plan


@pytest.fixture(scope="session")
def coordinated(made: tuple[Stewards, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a coordinator whose servers are down: two institutions, one finished run."""
    these, _ = made
    folder = tmp_path_factory.mktemp("coordinator")
    home, homes, cards = folder / "fed", {}, []
    ports = ("--port", "1", "--superlink-port", "2")  # nobody listens there
    assert cli("coordinator", "init", home, "--host", "localhost", *ports).code == 0
    for name, site in these.homes.items():
        homes[name] = folder / name
        shutil.copytree(site, homes[name])
        cards.append(folder / f"{name}.card.json")
        assert cli("site", "card", "--home", homes[name], "--out", cards[-1]).code == 0
    where = ("--coordinator", home)
    assert cli("coordinator", "invite", *cards, *where, "--out", folder / "kit.json").code == 0
    study = these.federation.study
    for name, site in homes.items():
        receipt = folder / f"{name}.receipt.json"
        words = ("--home", site, "--yes", "--receipt", receipt)
        assert cli("site", "approve", study, *words).code == 0
        CoordinatorHome.open(home).keep_receipt(Receipt.load(receipt))
    sites = [word for name, site in homes.items() for word in ("--home", f"{name}={site}")]
    key = ("--coordinator-key", these.federation.coordinator_key)
    done = cli("simulate", study, *sites, "--out", folder / "run", *key)
    assert done.code == 0, done.err
    CoordinatorHome.open(home).note_run(folder / "run")
    return home


@pytest.fixture
def home(made: tuple[Stewards, Path], tmp_path: Path) -> Path:
    """A fresh home of north."""
    copied = tmp_path / "north"
    shutil.copytree(made[0].homes["north"], copied)
    return copied


@pytest.fixture
def plan_text(made: tuple[Stewards, Path]) -> str:
    """What the coordinator sent."""
    return made[1].read_text()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    program = find()
    if program is None:
        pytest.skip("no browser on this machine")
    with Browser(program, tmp_path / "profile") as opened:
        yield opened
