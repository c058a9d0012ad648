"""Backup and restore through the command line: a restored home answers once its loss is counted."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from fedloom.client.home import Home
from fedloom.client.vault import Vault
from fedloom.client.vault_memory import memory_folder
from fedloom.privacy.ledger import read_ledger
from tests.federation import Outcome, cli
from tests.stewards import Stewards, stewards


@pytest.fixture
def made(tmp_path: Path) -> Stewards:
    """Two homes with room for several runs, and a backup of one from before it approved any."""
    found = stewards(tmp_path, limit=8.0, epsilon=1.0)
    done = cli("site", "backup", tmp_path / "north.tar", "--home", found.homes["north"])
    assert done.code == 0, done.err
    return found


def run(made: Stewards, out: Path) -> Outcome:
    """Has both stewards approve, and the coordinator carry the study out."""
    made.approve()
    return made.simulate(out)


def known(made: Stewards) -> Path:
    """What the coordinator remembers under its key."""
    return made.federation.coordinator_key.with_suffix(".heads.json")


def another_machine() -> None:
    """Forgets what vaults on this machine hold in memory."""
    folder = memory_folder()
    if folder is not None:
        shutil.rmtree(folder)


def restored(made: Stewards, tmp_path: Path, *words: object) -> Outcome:
    """Restores `north` from its backup, in place of the home that was lost."""
    shutil.rmtree(made.homes["north"])
    backup = tmp_path / "north.tar"
    return cli("site", "restore", backup, "--home", made.homes["north"], "--yes", *map(str, words))


def test_a_restored_home_counts_what_it_lost_and_answers_again(made, tmp_path):
    assert run(made, tmp_path / "one").code == 0
    spent = made.budget("north")["epsilon_spent"]
    plan = tmp_path / "one" / "plan.json"
    done = restored(made, tmp_path, "--heads", known(made), "--since", plan)
    assert done.code == 0, done.err
    budget = made.budget("north")
    assert budget["epsilon_spent"] == 0.0 and budget["epsilon_reserved"] >= spent
    assert {row["status"] for row in budget["studies"] if row["epsilon_reserved"]} == {
        "counted in full"
    }
    assert run(made, tmp_path / "two").code == 0
    assert made.budget("north")["epsilon_reserved"] > 1.3 * spent
    assert cli("ledger", "verify", made.homes["north"]).code == 0
    assert cli("release", "build", tmp_path / "two", "--out", tmp_path / "release").code == 0


def test_nothing_is_answered_or_approved_before_the_loss_is_counted(made, tmp_path):
    assert run(made, tmp_path / "one").code == 0
    assert restored(made, tmp_path).code == 2  # nobody was asked for heads
    home = made.homes["north"]
    before = made.kinds("north")
    assert cli("site", "approve", made.federation.study, "--home", home, "--yes").code == 4
    # The plan is known to the coordinator and to nobody here.
    refused = cli("site", "restore", "--home", home, "--yes", "--heads", known(made))
    assert refused.code == 2 and "--since" in refused.err
    assert made.kinds("north") == before and Home(home).turned_back_path.exists()


def test_a_steward_who_counts_too_little_is_refused_by_who_knows_more(made, tmp_path):
    assert run(made, tmp_path / "one").code == 0
    plan = tmp_path / "one" / "plan.json"
    shutil.copy(known(made), tmp_path / "old.json")
    assert run(made, tmp_path / "two").code == 0
    another_machine()
    assert restored(made, tmp_path, "--heads", tmp_path / "old.json", "--since", plan).code == 0
    refused = run(made, tmp_path / "three")
    assert refused.code == 4 and "north" in refused.err
    assert Home(made.homes["north"]).turned_back_path.exists()
    # Now the home itself knows how much is missing.
    words = ("--home", made.homes["north"], "--yes", "--heads", known(made))
    assert cli("site", "restore", *words, "--since", plan).code == 0
    made.approve(sites=("north",))
    resumed = made.simulate(tmp_path / "three", "--resume")
    assert resumed.code == 0, resumed.err


def test_a_disk_that_was_put_back_is_refused_until_it_is_counted(made, tmp_path):
    made.approve()
    home = made.homes["north"]
    shutil.copytree(home, tmp_path / "image")
    assert made.simulate(tmp_path / "one").code == 0
    shutil.rmtree(home)
    shutil.copytree(tmp_path / "image", home)
    made.approve(sites=("south",))
    before = made.kinds("north")
    refused = made.simulate(tmp_path / "two")
    assert refused.code == 4 and "north" in refused.err
    assert made.kinds("north") == before
    assert cli("site", "restore", "--home", home, "--yes").code == 0
    assert made.kinds("north")[len(before) :] == ["lost", "restore"]
    made.approve(sites=("north",))
    assert made.simulate(tmp_path / "two", "--resume").code == 0


def test_a_backup_is_made_while_the_vault_serves_and_holds_no_record(made, tmp_path):
    made.approve()
    with Vault(Home(made.homes["north"])):
        done = cli("site", "backup", tmp_path / "live.tar", "--home", made.homes["north"])
    assert done.code == 0, done.err
    assert (tmp_path / "live.tar").stat().st_mode & 0o077 == 0
    with tarfile.open(tmp_path / "live.tar") as tar:
        names = tar.getnames()
    assert "key.pem" in names and not [name for name in names if "snapshots" in name]
    again = tmp_path / "again"
    cli("site", "restore", tmp_path / "live.tar", "--home", again, "--yes")
    assert read_ledger(again).head == read_ledger(made.homes["north"]).head
    assert cli("site", "backup", tmp_path / "live.tar", "--home", again).code == 2


def test_a_backup_that_is_unpacked_by_hand_answers_nothing_until_it_is_counted(made, tmp_path):
    home = made.homes["north"]
    shutil.rmtree(home)
    with tarfile.open(tmp_path / "north.tar") as tar:
        tar.extractall(home, filter="data")
    before = made.kinds("north")
    assert cli("site", "approve", made.federation.study, "--home", home, "--yes").code == 4
    # Its mark says nothing of what came after the backup.
    assert cli("site", "restore", "--home", home, "--yes").code == 2
    assert made.kinds("north") == before
    assert cli("site", "restore", "--home", home, "--yes", "--unseen").code == 0
    assert not Home(home).turned_back_path.exists()


def test_a_plan_that_was_approved_again_after_the_backup_must_be_named(made, tmp_path):
    assert run(made, tmp_path / "one").code == 0
    backup = tmp_path / "later.tar"
    assert cli("site", "backup", backup, "--home", made.homes["north"]).code == 0
    assert run(made, tmp_path / "two").code == 0
    fellow = tmp_path / "south.json"
    assert cli("site", "heads", "--home", made.homes["south"], "--out", fellow).code == 0
    another_machine()
    plan = tmp_path / "two" / "plan.json"
    for number, heads in enumerate((known(made), fellow)):
        words = ("site", "restore", backup, "--home", tmp_path / str(number), "--yes")
        refused = cli(*words, "--heads", heads)
        assert refused.code == 2 and "--since" in refused.err
        shutil.rmtree(tmp_path / str(number))
        assert cli(*words, "--heads", heads, "--since", plan).code == 0


def test_a_plan_that_ended_before_the_backup_need_not_be_named(made, tmp_path):
    assert run(made, tmp_path / "one").code == 0
    backup = tmp_path / "later.tar"
    assert cli("site", "backup", backup, "--home", made.homes["north"]).code == 0
    words = ("site", "restore", backup, "--home", tmp_path / "new", "--yes")
    assert cli(*words, "--heads", known(made)).code == 0


@pytest.mark.parametrize("damage", ["cut", "foreign", "link"])
def test_what_is_no_backup_is_not_unpacked(made, tmp_path, damage):
    path, out = tmp_path / "north.tar", tmp_path / "out"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    elif damage == "foreign":
        with tarfile.open(path, "a") as tar:
            tar.add(made.federation.study, arcname="../../elsewhere")
    else:
        with tarfile.open(path, "a") as tar:
            entry = tarfile.TarInfo("site.toml")
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(entry)
    assert cli("site", "restore", path, "--home", out, "--yes").code == 2
    assert not out.exists()


def test_heads_are_what_a_site_has_seen_of_its_fellows(made, tmp_path):
    assert run(made, tmp_path / "one").code == 0
    done = cli("site", "heads", "--home", made.homes["south"])
    notes = json.loads(done.out)
    north = read_ledger(made.homes["north"])
    seen = notes[north.public_key]["head"]
    assert north.entries[seen["seq"]].hash == seen["hash"]
    (tmp_path / "noise.json").write_text("{}")
    words = ("--home", made.homes["north"], "--yes", "--heads", tmp_path / "noise.json")
    before = made.kinds("north")
    assert cli("site", "restore", *words).code == 2  # the file knows nothing of this home
    assert made.kinds("north") == before
    assert cli("site", "restore", *words, "--unseen").code == 0
    assert made.kinds("north")[-1] == "restore"
