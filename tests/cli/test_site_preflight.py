"""`site preflight` where no coordinator answers: what does not need one is checked all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedloom.privacy.kit import Kit
from tests.federation import cli, make
from tests.stewards import init


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home that joined a federation of one, and a plan beside it."""
    made, kit, card = init(tmp_path, "north"), tmp_path / "kit.json", tmp_path / "card.json"
    at = ("--coordinator", tmp_path / "c")
    ports = ("--port", 1, "--superlink-port", 2)  # nobody listens there
    assert cli("coordinator", "init", tmp_path / "c", "--host", "localhost", *ports).code == 0
    assert cli("site", "card", "--home", made, "--out", card).code == 0
    assert cli("coordinator", "invite", card, *at, "--out", kit).code == 0
    told = ("--yes", "--fingerprint", Kit.load(kit).fingerprint())
    assert cli("site", "join", kit, "--home", made, *told).code == 0
    study = make(tmp_path / "study", sites=("north",)).study
    assert cli("study", "check", study, *at, "--out", tmp_path / "plan.json").code == 0
    return made


def found(home: Path) -> dict[str, bool]:
    done = cli("site", "preflight", "--home", home, "--plan", home.parent / "plan.json", "--json")
    assert done.code == 5, done.err
    return {entry["check"]: entry["passed"] for entry in done.json["checks"]}


def test_each_check_passes_or_says_how_to_fix_it(home):
    shown = found(home)
    assert shown == {
        "name": True, "port": False, "peers": True, "flower": True, "disk": True, "device": True,
        "plan": True, "version": True, "approval": False, "data": True,
    }  # fmt: skip
    approved = cli("site", "approve", home.parent / "plan.json", "--home", home, "--yes")
    assert approved.code == 0, approved.err
    assert found(home)["approval"] is True
    told = cli("site", "preflight", "--home", home)
    assert told.code == 5 and "fix:" in told.out


def test_records_that_do_not_fit_and_another_key_are_found(home):
    data = home.parent / "north-records.csv"
    data.write_text(data.read_text().replace("female", "7"))
    (home / "exchange.pem").unlink()
    assert cli("site", "keygen", "--home", home).code == 0
    shown = found(home)
    assert (shown["data"], shown["peers"]) == (False, False)


def test_a_home_that_joined_nobody_is_told_so(tmp_path):
    done = cli("site", "preflight", "--home", init(tmp_path, "alone"), "--json")
    checks = {entry["check"]: entry["passed"] for entry in done.json["checks"]}
    assert done.code == 5 and checks["federation"] is False
